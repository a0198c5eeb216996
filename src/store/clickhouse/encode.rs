//! Blocks in ClickHouse's Native format, built as columns.
//!
//! Owns the bytes of an insert (<https://clickhouse.com/docs/interfaces/formats/Native>).
//! Native says how many rows follow before the first of them, so a body that is cut
//! anywhere is refused whole; a cut `RowBinary` body is accepted up to its last whole row,
//! and its deduplication token is used up. Strings are sent as `String`; the server casts
//! them to its `LowCardinality` columns.

use std::ops::Range;

use uuid::Uuid;

use crate::core::Day;
use crate::core::scan::{COLUMNS, Column, Field, Scan};
use crate::health::Report;
use crate::registry::{Registry, SignRef, Targets};
use crate::system::pace;

/// One block under construction.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
}

impl Block {
    fn new(columns: usize, rows: usize, capacity: usize) -> Self {
        let mut block = Self { bytes: Vec::with_capacity(capacity) };
        block.number(columns as u64);
        block.number(rows as u64);
        block
    }

    /// A part of one, in memory that an earlier one had.
    fn within(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes }
    }

    /// Begins a column; as many values follow as the block has rows.
    fn column(&mut self, name: &str, kind: &str) {
        self.text(name);
        self.text(kind);
    }

    /// A number of variable length (LEB128).
    fn number(&mut self, mut value: u64) {
        let lowest = |value: u64| value.to_le_bytes()[0];
        while value >= 0x80 {
            self.bytes.push(lowest(value) | 0x80);
            value >>= 7;
        }
        self.bytes.push(lowest(value));
    }

    fn text(&mut self, text: &str) {
        if let Some(short) = with_length(text.as_bytes()) {
            // A store of 16 bytes, and back to those that count: a copy of any number of bytes is a call, and half of what a
            // scan's 11 texts cost.
            let end = self.bytes.len() + 1 + text.len();
            self.bytes.extend_from_slice(&short);
            self.bytes.truncate(end);
            return;
        }
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn texts<'t>(&mut self, name: &str, texts: impl Iterator<Item = &'t str>) {
        self.column(name, "String");
        texts.for_each(|text| self.text(text));
    }

    fn fixed<const N: usize>(&mut self, name: &str, kind: &str, values: impl Iterator<Item = [u8; N]>) {
        self.column(name, kind);
        self.values(values);
    }

    fn values<const N: usize>(&mut self, values: impl Iterator<Item = [u8; N]>) {
        values.for_each(|value| self.bytes.extend_from_slice(&value));
    }

    /// `None` is a set byte before the values, and a zero among them.
    fn nullable<const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        values: impl Iterator<Item = Option<[u8; N]>> + Clone,
    ) {
        self.column(name, &format!("Nullable({kind})"));
        values.clone().for_each(|value| self.bytes.push(u8::from(value.is_none())));
        values.for_each(|value| self.bytes.extend_from_slice(&value.unwrap_or([0; N])));
    }

    /// Where each row's entries end, all keys, all values.
    fn maps<'t, M: Iterator<Item = (&'t str, &'t str)>>(&mut self, name: &str, maps: impl Iterator<Item = M> + Clone) {
        self.column(name, "Map(String, String)");
        self.ends(maps.clone().map(Iterator::count));
        maps.clone().flatten().for_each(|(key, _)| self.text(key));
        maps.flatten().for_each(|(_, value)| self.text(value));
    }

    /// Where each row's entries end, then all of them.
    fn arrays<'t, A: Iterator<Item = &'t str>>(&mut self, name: &str, arrays: impl Iterator<Item = A> + Clone) {
        self.column(name, "Array(String)");
        self.ends(arrays.clone().map(Iterator::count));
        arrays.flatten().for_each(|text| self.text(text));
    }

    fn ends(&mut self, lengths: impl Iterator<Item = usize>) {
        let mut end = 0;
        for length in lengths {
            end += length as u64;
            self.bytes.extend_from_slice(&end.to_le_bytes());
        }
    }
}

/// Scans that go into all columns between two steps of the pace: some 20 µs. They are read from memory once, and not for each
/// column: a segment's take 30 MB.
pub(super) const PIECE: usize = 256;

/// Signs of which a column is made between two steps.
const SIGNS_AT_ONCE: u32 = 512;

/// A text of up to 15 bytes behind its length, and zeros.
fn with_length(text: &[u8]) -> Option<[u8; 16]> {
    let len = text.len();
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number: u128, &byte| number << 8 | u128::from(byte));
    // Two pieces of one size, which lie over each other where the text is shorter than both.
    let pieces = |first: &[u8], last: &[u8]| number(first) | number(last) << (8 * (len - last.len()));
    let value = if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        if len > 15 {
            return None;
        }
        pieces(first, last)
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        pieces(first, last)
    } else if let (Some(first), Some(last)) = (text.first_chunk::<2>(), text.last_chunk::<2>()) {
        pieces(first, last)
    } else {
        number(text)
    };
    Some((value << 8 | len as u128).to_le_bytes())
}

/// CRC-32 (IEEE 802.3) of a block, at this thread's pace.
pub(super) fn checksum<B: AsRef<[u8]>>(block: &[B]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for piece in block.iter().flat_map(|bytes| bytes.as_ref().chunks(1 << 18)) {
        hasher.update(piece);
        pace::step();
    }
    hasher.finalize()
}

/// A column of the table `scans`.
enum Sent<'b> {
    /// What a scan holds.
    Scan(&'b Column),
    /// The same of all rows.
    Edge(&'b str),
    Batch(Uuid),
    /// The position in the batch.
    Seq,
}

impl Sent<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Scan(column) => column.name,
            Self::Edge(_) => "edge",
            Self::Batch(_) => "batch",
            Self::Seq => "seq",
        }
    }

    /// Its type in ClickHouse.
    fn kind(&self) -> &'static str {
        match self {
            Self::Scan(column) => match column.field {
                Field::Time(_) => "DateTime64(3, 'UTC')",
                Field::Code(_) | Field::Text(_) => "String",
                Field::Flag(_) => "UInt8",
                Field::Number(_) => "UInt64",
            },
            Self::Edge(_) => "String",
            Self::Batch(_) => "UUID",
            Self::Seq => "UInt32",
        }
    }

    /// Bytes of a value, about.
    fn width(&self) -> usize {
        match self {
            Self::Scan(column) => match column.field {
                Field::Time(_) | Field::Number(_) => 8,
                Field::Code(_) | Field::Text(_) => 9,
                Field::Flag(_) => 1,
            },
            Self::Edge(edge) => 1 + edge.len(),
            Self::Batch(_) => 16,
            Self::Seq => 4,
        }
    }

    /// Adds some rows' values. What a column holds is looked at once, and not for each.
    fn add(&self, rows: &[&(u32, Scan)], to: &mut Block) {
        let each = || rows.iter().map(|(_, scan)| scan);
        match self {
            Self::Scan(column) => match column.field {
                Field::Time(time) => to.values(each().map(|scan| time(scan).to_le_bytes())),
                Field::Code(code) => each().for_each(|scan| to.text(&code(scan).text())),
                Field::Text(text) => each().for_each(|scan| to.text(text(scan))),
                Field::Flag(flag) => to.values(each().map(|scan| [u8::from(flag(scan))])),
                Field::Number(number) => to.values(each().map(|scan| number(scan).to_le_bytes())),
            },
            Self::Edge(edge) => each().for_each(|_| to.text(edge)),
            // Two halves of 64 bits, the upper one first, each little-endian.
            Self::Batch(id) => to.values(each().map(|_| id.as_u128().rotate_left(64).to_le_bytes())),
            Self::Seq => to.values(rows.iter().map(|(seq, _)| seq.to_le_bytes())),
        }
    }
}

/// Columns of a block that a batch's checksum is of.
const CHECKSUMMED_COLUMNS: usize = 17;

/// The scans of a batch for the table `scans`, and the checksum (CRC-32) in its deduplication token.
///
/// A batch whose response was lost is offered again under the same token, perhaps by the next
/// release. So the checksum is that of the block as it was when tokens were first made, whatever is
/// sent later: a column that joins the table goes behind these, and is not in it. `tests/storing/token.rs`
/// holds it. The block's bytes come in a part for each column. `memory`: the parts of an earlier block, or none.
#[must_use]
pub fn scans(id: Uuid, edge: &str, rows: &[&(u32, Scan)], memory: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, u32) {
    let [columns @ .., generation] = &COLUMNS;
    let behind = [Sent::Edge(edge), Sent::Scan(generation), Sent::Batch(id), Sent::Seq];
    let columns: Vec<Sent> = columns.iter().map(Sent::Scan).chain(behind).collect();
    let memory = memory.into_iter().chain(std::iter::repeat_with(Vec::new));
    let mut parts: Vec<Block> = columns.iter().zip(memory).map(|(_, bytes)| Block::within(bytes)).collect();
    if let Some(first) = parts.first_mut() {
        first.number(CHECKSUMMED_COLUMNS as u64);
        first.number(rows.len() as u64);
    }
    for (part, column) in parts.iter_mut().zip(&columns) {
        part.bytes.reserve(64 + rows.len() * column.width());
        part.column(column.name(), column.kind());
    }
    for rows in rows.chunks(PIECE) {
        for (part, column) in parts.iter_mut().zip(&columns) {
            column.add(rows, part);
        }
        pace::step();
    }
    let parts: Vec<Vec<u8>> = parts.into_iter().map(|part| part.bytes).collect();
    let checksum = checksum(&parts);
    (parts, checksum)
}

/// Days since 1970 in 16 bits: until 2149. Any other day is left out.
fn date(day: Day) -> Option<[u8; 2]> {
    Some(u16::try_from(day).ok()?.to_le_bytes())
}

/// Where a sign leads when no override holds.
fn usual(sign: SignRef<'_>) -> Targets<'_> {
    sign.targets(i64::MIN)
}

/// The languages of targets.
fn tags(targets: Targets<'_>) -> impl Iterator<Item = &str> {
    targets.iter().map(|target| target.language).collect::<Vec<_>>().into_iter()
}

/// A block of the registry has at most so many signs, and is full with the one that brings it to [`FULL`].
pub(super) const SIGNS: u32 = 65_536;
/// Bytes of a block of the registry, about: so much of a generation is in memory, however long its texts are. Signs with a
/// name in two languages and targets in three take 344 bytes each, so that 44,000 of them are one; 1.9 MB on the wire.
const FULL: usize = 16 << 20;

/// Where the block that begins with a sign ends, and its bytes, about: the same for the same registry.
pub(super) fn block_of_signs(edge: &str, registry: &Registry, first: u32) -> (Range<u32>, usize) {
    let all = u32::try_from(registry.signs().len()).unwrap_or(u32::MAX);
    let (mut bytes, mut end) = (0, first);
    for sign in registry.signs_numbered(first..all.min(first.saturating_add(SIGNS))) {
        if bytes >= FULL {
            break;
        }
        bytes += edge.len() + weight(sign);
        end += 1;
    }
    (first..end, bytes)
}

/// Bytes of a sign in a block, about: what is of one size, and texts with their lengths.
fn weight(sign: SignRef<'_>) -> usize {
    const FIXED: usize = 128;
    let place = sign.place();
    let names: usize = place.names().map(|(tag, name)| 2 * tag.len() + name.len() + 4).sum();
    let targets: usize = usual(sign).iter().map(|target| 2 * target.language.len() + target.url.len() + 4).sum();
    let told: usize = place.abouts().map(|(tag, _)| tag.len() + 1).sum();
    let targeted: usize = place.targets().iter().map(|target| target.language.len() + 1).sum();
    let namesake = place.namesakes().next().map_or(0, |(_, text)| text.len());
    let texts = place.id().len() + place.kind().len() + place.area().len() + namesake;
    FIXED + names + targets + told + targeted + texts
}

/// A checksum (CRC-32) of what decides how a generation is in the store: the contents of its tables, the default language,
/// and the columns that this release sends.
pub(super) fn digest(registry: &Registry) -> u32 {
    let mut digest = crc32fast::Hasher::new();
    // Without signs it is the columns' names and types.
    digest.update(&signs("", 0, registry, 0..0, 0));
    digest.update(&registry.content_hash.to_le_bytes());
    digest.update(registry.languages().first().map_or(&[], |tag| tag.as_str().as_bytes()));
    digest.finalize()
}

/// Signs of a generation for the table `registry_signs`, in so many bytes, about. There is no time in it: it is the same at
/// every try.
pub(super) fn signs(edge: &str, digest: u32, registry: &Registry, range: Range<u32>, bytes: usize) -> Vec<u8> {
    let each = || {
        range.clone().step_by(SIGNS_AT_ONCE as usize).flat_map(|from| {
            pace::step();
            registry.signs_numbered(from..range.end.min(from + SIGNS_AT_ONCE))
        })
    };
    let mut block = Block::new(21, range.len(), 1024 + bytes);
    block.texts("edge", each().map(|_| edge));
    block.fixed("generation", "UInt64", each().map(|_| registry.generation.to_le_bytes()));
    block.fixed("digest", "UInt32", each().map(|_| digest.to_le_bytes()));
    block.column("code", "String");
    each().for_each(|sign| block.text(&sign.code().text()));
    block.texts("status", each().map(|sign| sign.status().as_str()));
    block.texts("place", each().map(|sign| sign.place().id()));
    block.texts("kind", each().map(|sign| sign.place().kind()));
    block.texts("area", each().map(|sign| sign.place().area()));
    block.texts("name", each().map(|sign| sign.place().name()));
    block.maps("names", each().map(|sign| sign.place().names().skip(1)));
    block.nullable("lat", "Float64", each().map(|sign| Some(sign.position()?.0.to_le_bytes())));
    block.nullable("lon", "Float64", each().map(|sign| Some(sign.position()?.1.to_le_bytes())));
    block.nullable("mounted", "Date", each().map(|sign| date(sign.mounted()?)));
    block.texts("target", each().map(|sign| usual(sign).iter().next().map_or("", |target| target.url)));
    block.maps(
        "targets",
        each().map(|sign| usual(sign).iter().skip(1).map(|t| (t.language, t.url)).collect::<Vec<_>>().into_iter()),
    );
    let tag = |(tag, _)| tag;
    block.arrays("languages", each().map(|sign| tags(usual(sign))));
    block.texts("namesake", each().map(|sign| sign.place().namesakes().next().map_or("", |(_, text)| text)));
    block.arrays("named", each().map(|sign| sign.place().names().map(tag)));
    block.arrays("told", each().map(|sign| sign.place().abouts().map(tag)));
    block.arrays("targeted", each().map(|sign| tags(sign.place().targets())));
    block.nullable("compiled", "Date", each().map(|sign| date(sign.place().compiled()?)));
    block.bytes
}

/// What the table `registry_generations` says of a generation all of whose signs are in the store.
pub(super) fn generation(edge: &str, digest: u32, published_ms: i64, registry: &Registry) -> Vec<u8> {
    let mut block = Block::new(6, 1, 256);
    block.texts("edge", [edge].into_iter());
    block.fixed("generation", "UInt64", [registry.generation.to_le_bytes()].into_iter());
    block.fixed("digest", "UInt32", [digest.to_le_bytes()].into_iter());
    block.fixed("published", "DateTime64(3, 'UTC')", [published_ms.to_le_bytes()].into_iter());
    block.texts("content_hash", [registry.content_hash_text().as_str()].into_iter());
    block.fixed("signs", "UInt64", [(registry.signs().len() as u64).to_le_bytes()].into_iter());
    block.bytes
}

/// A report for the table `sign_health`.
pub(super) fn sign_health(edge: &str, computed_ms: i64, report: &Report) -> Vec<u8> {
    let rows = report.rows.len();
    let mut block = Block::new(15, rows, 1024 + rows * 128);
    let each = || report.rows.iter();
    let groups = || each().map(|row| report.group_of(row));
    block.texts("edge", each().map(|_| edge));
    block.fixed("day", "Date", each().map(|_| date(report.day).unwrap_or_default()));
    block.fixed("computed", "DateTime64(3, 'UTC')", each().map(|_| computed_ms.to_le_bytes()));
    block.column("code", "String");
    each().for_each(|row| block.text(&row.code.text()));
    block.texts("state", each().map(|row| row.state.as_str()));
    block.nullable("since", "DateTime64(3, 'UTC')", each().map(|row| Some(row.since_ms?.to_le_bytes())));
    block.fixed("per_day", "Float64", each().map(|row| row.per_day.to_le_bytes()));
    block.fixed("expected", "Float64", each().map(|row| row.expected.to_le_bytes()));
    block.nullable("one_in", "Float64", each().map(|row| Some(row.one_in?.to_le_bytes())));
    block.nullable("alarm_on", "Date", each().map(|row| date(row.alarm_on?)));
    block.texts("looks_copied", each().map(|row| row.looks_copied.map_or("", |suspicion| suspicion.as_str())));
    block.texts("group_kind", groups().map(|group| group.map_or("", |group| group.kind.as_str())));
    block.texts("group_name", groups().map(|group| group.map_or("", |group| &group.name)));
    block.fixed("ended_alarms", "UInt8", each().map(|row| [row.ended_alarms]));
    block.fixed("budget", "Float64", each().map(|_| report.budget.to_le_bytes()));
    block.bytes
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::core::parse_tag;
    use crate::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Word};
    use crate::registry::{
        HostPattern, PlaceRow, PlaceRows, RegistryBuilder, Rules, SignRow, SignRows, TableNames, Text,
    };

    #[test]
    fn a_block_is_the_same_in_however_many_pieces_its_rows_come() {
        let code = |n: u32| format!("A{n}").parse().expect("a code");
        let scan = |n: u32| Scan {
            ts_ms: i64::from(n),
            generation: 7,
            code: code(n),
            outcome: Outcome::Found,
            channel: Channel::Qr,
            client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
            repeat: n.is_multiple_of(3),
            lang: Word::from("vi").expect("short"),
            served: Word::from(&"zh-hant"[..2 + n as usize % 6]).expect("short"),
            origin: Origin::default(),
        };
        let scans: Vec<(u32, Scan)> = (0..600).map(|n| (n, scan(n))).collect();
        let rows: Vec<_> = scans.iter().collect();
        let (parts, _) = super::scans(Uuid::nil(), "edge", &rows, Vec::new());
        let mut memory = parts.clone();
        memory.reverse();
        assert_eq!(super::scans(Uuid::nil(), "edge", &rows, memory).0, parts, "in any memory");
        let all: usize = COLUMNS.len() + 3;
        assert_eq!((parts.len(), parts[0].first()), (all, Some(&u8::try_from(all).expect("few"))));
        for (part, column) in parts.iter().zip(&COLUMNS[..COLUMNS.len() - 1]) {
            let mut values = Block { bytes: Vec::new() };
            for row in &rows {
                Sent::Scan(column).add(&[row], &mut values);
            }
            assert!(part.ends_with(&values.bytes), "{}", column.name);
        }
    }

    #[test]
    fn a_text_stands_behind_its_length_however_long_it_is() {
        let all = "Lạng Sơn, cửa khẩu quốc tế Hữu Nghị";
        for len in (0..=all.len()).filter(|&len| all.is_char_boundary(len)) {
            let mut block = Block { bytes: vec![7] };
            block.text(&all[..len]);
            block.text("vi");
            let expected = [&[7, u8::try_from(len).expect("short")], &all.as_bytes()[..len], &[2], b"vi"].concat();
            assert_eq!(block.bytes, expected, "{len}");
        }
        // A long one's length takes two bytes.
        let mut block = Block { bytes: Vec::new() };
        block.text(&"x".repeat(300));
        assert_eq!((block.bytes.len(), &block.bytes[..3]), (302, &[0xac, 2, b'x'][..]));
    }

    /// Signs of two places in turn, of which one has a long name.
    fn registry(default_language: &str, signs: u32, name: &str) -> Registry {
        let rules = Rules {
            default_language: parse_tag(default_language).expect("a tag"),
            timezone: TimeZone::UTC,
            allowed_hosts: vec![HostPattern::parse("example.vn").expect("a host")],
            allow_http: false,
            public_host: "qr.example.vn".to_owned(),
        };
        let tables = TableNames { places: "places.csv", signs: "signs.csv", overrides: "overrides.csv" };
        let mut builder = RegistryBuilder::new(&rules, tables);
        let text = |text| [Text { language: None, text }];
        let languages = builder.languages().to_vec();
        let mut places = PlaceRows::new(&rules, tables, &languages);
        for (line, place, name) in [(2, "long", name), (3, "short", "Phố")] {
            places.add(&PlaceRow {
                line,
                place,
                kind: "street",
                area: "Kỳ Lừa",
                names: &text(name),
                targets: &text("https://example.vn/vi/place"),
                namesakes: &[],
                abouts: &[],
                source: "",
                compiled: "",
            });
        }
        builder.places(places);
        builder.signs(|builder, registry| {
            let mut rows = SignRows::new(&rules, tables, registry);
            for number in 0..signs {
                rows.add(&SignRow {
                    line: u64::from(number) + 2,
                    code: &format!("S{number:05}"),
                    place: if number % 2 == 0 { "long" } else { "short" },
                    status: "active",
                    lat: "21.85",
                    lon: "106.75",
                    mounted: "2026-03-14",
                    targets: &[],
                    successor: "",
                    aliases: "",
                });
            }
            builder.add(rows);
        });
        builder.build().expect("no problem")
    }

    /// Each block: how many signs it has, about how many bytes, and how many it is.
    fn blocks(registry: &Registry) -> Vec<(u32, usize, usize)> {
        let (mut blocks, mut next) = (Vec::new(), 0);
        loop {
            let (range, bytes) = block_of_signs("lang-son", registry, next);
            if range.is_empty() {
                return blocks;
            }
            assert_eq!(range.start, next);
            next = range.end;
            let block = signs("lang-son", 0, registry, range.clone(), bytes);
            blocks.push((range.end - range.start, bytes, block.len()));
        }
    }

    #[test]
    fn a_block_of_the_registry_is_bounded_in_signs_and_in_bytes() {
        let few: Vec<u32> = blocks(&registry("vi", SIGNS + 1, "Phố")).iter().map(|block| block.0).collect();
        assert_eq!(few, [SIGNS, 1]);
        // The longest name that there may be: SIGNS of them are more than FULL.
        let cut = blocks(&registry("vi", 100_000, &"x".repeat(400)));
        assert_eq!(cut.iter().map(|block| block.0).sum::<u32>(), 100_000);
        assert_eq!(cut.len(), 3, "{cut:?}");
        for (signs, about, bytes) in cut {
            assert!(bytes < FULL + (64 << 10), "{signs} signs are {bytes} bytes");
            assert!((bytes..2 * bytes).contains(&(about + 1024)), "{signs} signs are {bytes} bytes, and not {about}");
        }
        assert!(blocks(&registry("vi", 0, "Phố")).is_empty());
    }

    #[test]
    fn a_generation_that_would_be_another_in_the_store_has_another_digest() {
        let mut registry = registry("vi", 2, "Phố");
        let known = digest(&registry);
        registry.generation += 1;
        assert_eq!(known, digest(&registry));
        registry.content_hash += 1;
        assert_ne!(known, digest(&registry), "other tables");
        assert_ne!(known, digest(&self::registry("en", 2, "Phố")), "names of another language come first");
    }
}
