//! The bytes of a segment. Everything is little-endian.
//!
//! ```text
//! segment   block 0: header │ block 1 │ block 2 │ …            blocks of 4,096 bytes
//!
//! header    0  magic "WAYPOST1"
//!           8  identity (UUID version 7, RFC 9562), also the file's name
//!          24  created, milliseconds since the Unix epoch
//!          32  length of the edge's name │ 33  the name, up to 63 bytes
//!          96  CRC-32 of bytes 0 to 95
//!         128  published: records so far, and their complement in the upper half
//!
//! block     frame │ frame │ … │ zeros                           no frame spans blocks
//!
//! frame     0  word: length of the payload, and its complement in the upper half;
//!              stored last, so a frame is either whole or not there
//!           4  CRC-32 of sequence number and payload
//!           8  sequence number, from 0
//!          12  payload │ zeros up to a multiple of 4
//!
//! payload   ts i64 │ generation u64 │ code 16 bytes │ outcome, channel, device, os,
//!           app, agent, repeat: one byte each │ lang, served, country, region: one
//!           byte of length, then UTF-8
//! ```
//!
//! A number stored with its complement is never zero and no flipped bit makes it
//! another number. Frames keep within their block, so damage costs at most a block;
//! `published` tells exactly how many records there should be, so every loss is counted.
//! CRC-32 is that of IEEE 802.3, as `crc32fast` computes it.

use arrayvec::ArrayString;
use uuid::Uuid;

use crate::core::Code;
use crate::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};

/// Damage costs at most this many bytes of records.
pub(crate) const BLOCK: usize = 4096;
/// Where `published` lies in the header.
pub(crate) const PUBLISHED_AT: usize = 128;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER: usize = 12;
/// The longest edge name, in bytes.
pub const MAX_EDGE_NAME: usize = 63;
/// The longest payload, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 8 + 8 + 16 + 7 + (1 + 12) + (1 + 12) + (1 + 2) + (1 + 40);

const MAGIC: &[u8; 8] = b"WAYPOST1";
const EDGE_AT: usize = 32;
const CRC_AT: usize = 96;
/// Bytes of the header that are checksummed and never change.
pub(crate) const HEADER: usize = CRC_AT + 4;

/// What a segment's header says once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The segment's, and so the batch's, identity.
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// The edge's name.
    pub edge: String,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(self.id.as_bytes());
        bytes[24..32].copy_from_slice(&self.created_ms.to_le_bytes());
        let edge = &self.edge.as_bytes()[..self.edge.len().min(MAX_EDGE_NAME)];
        bytes[EDGE_AT] = byte_of(edge.len());
        bytes[EDGE_AT + 1..][..edge.len()].copy_from_slice(edge);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` where the bytes are not an intact header.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let crc = u32::from_le_bytes(array(bytes, CRC_AT)?);
        let edge = bytes.get(EDGE_AT + 1..)?.get(..usize::from(bytes[EDGE_AT]))?;
        if bytes[..8] != *MAGIC || crc32fast::hash(&bytes[..CRC_AT]) != crc {
            return None;
        }
        Some(Self {
            id: Uuid::from_bytes(array(bytes, 8)?),
            created_ms: i64::from_le_bytes(array(bytes, 24)?),
            edge: String::from_utf8(edge.to_vec()).ok()?,
        })
    }
}

/// A count and its complement.
pub(crate) const fn published_word(count: u32) -> u64 {
    count as u64 | (!count as u64) << 32
}

/// The count, unless the word is damaged.
#[allow(clippy::cast_possible_truncation, reason = "the halves of the word are meant")]
pub(crate) const fn published_count(word: u64) -> Option<u32> {
    let count = word as u32;
    if (word >> 32) as u32 == !count { Some(count) } else { None }
}

/// A payload's length and its complement.
pub(crate) const fn frame_word(len: u16) -> u32 {
    len as u32 | (!len as u32) << 16
}

/// The length of a frame's payload, unless the word is damaged or none.
#[allow(clippy::cast_possible_truncation, reason = "the halves of the word are meant")]
pub(crate) const fn frame_len(word: u32) -> Option<usize> {
    let len = word as u16;
    if (word >> 16) as u16 == !len { Some(len as usize) } else { None }
}

/// Bytes that a frame takes.
pub(crate) const fn frame_size(payload: usize) -> usize {
    (FRAME_HEADER + payload).next_multiple_of(4)
}

/// The checksum of a frame.
pub(crate) fn frame_crc(seq: u32, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&seq.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

/// The length of a text that its type or [`MAX_EDGE_NAME`] keeps below 256 bytes.
#[allow(clippy::cast_possible_truncation, reason = "the texts of a segment have at most 63 bytes")]
const fn byte_of(len: usize) -> u8 {
    debug_assert!(len <= MAX_EDGE_NAME);
    len as u8
}

/// The `N` bytes at a position.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A scan as the payload of a frame.
pub(crate) struct Payload {
    bytes: [u8; MAX_PAYLOAD],
    len: usize,
}

impl Payload {
    pub fn encode(scan: &Scan) -> Self {
        let mut payload = Self { bytes: [0; MAX_PAYLOAD], len: 0 };
        payload.put(&scan.ts_ms.to_le_bytes());
        payload.put(&scan.generation.to_le_bytes());
        payload.put(&scan.code.to_bytes());
        let Client { device, os, app, agent } = scan.client;
        payload.put(&[
            scan.outcome as u8,
            scan.channel as u8,
            device as u8,
            os as u8,
            app as u8,
            agent as u8,
            u8::from(scan.repeat),
        ]);
        for text in [&*scan.lang, &*scan.served, &*scan.origin.country, &*scan.origin.region] {
            payload.put(&[byte_of(text.len())]);
            payload.put(text.as_bytes());
        }
        payload
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Reads a payload back; `None` where it is not one of ours.
pub(crate) fn decode(payload: &[u8]) -> Option<Scan> {
    let [outcome, channel, device, os, app, agent, repeat] = array(payload, 32)?;
    let mut rest = payload.get(39..)?;
    let scan = Scan {
        ts_ms: i64::from_le_bytes(array(payload, 0)?),
        generation: u64::from_le_bytes(array(payload, 8)?),
        code: Code::from_bytes(array(payload, 16)?)?,
        outcome: Outcome::from_number(outcome)?,
        channel: Channel::from_number(channel)?,
        client: Client {
            device: Device::from_number(device)?,
            os: Os::from_number(os)?,
            app: App::from_number(app)?,
            agent: Agent::from_number(agent)?,
        },
        repeat: match repeat {
            0 => false,
            1 => true,
            _ => return None,
        },
        lang: take(&mut rest)?,
        served: take(&mut rest)?,
        origin: Origin { country: take(&mut rest)?, region: take(&mut rest)? },
    };
    rest.is_empty().then_some(scan)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<ArrayString<N>> {
    let (&len, after) = rest.split_first()?;
    let (text, after) = after.split_at_checked(usize::from(len))?;
    *rest = after;
    ArrayString::from(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::core::scan::{COLUMNS, Field};

    fn text<const N: usize>() -> impl Strategy<Value = ArrayString<N>> {
        proptest::collection::vec(any::<char>(), 0..=N).prop_map(|chars| {
            let mut text = ArrayString::new();
            // What does not fit is left out.
            for char in chars {
                text.try_push(char).ok();
            }
            text
        })
    }

    fn client() -> impl Strategy<Value = Client> {
        let parts = (select(Device::ALL), select(Os::ALL), select(App::ALL), select(Agent::ALL));
        parts.prop_map(|(device, os, app, agent)| Client { device, os, app, agent })
    }

    /// Any scan that the fields of one can hold.
    fn scan() -> impl Strategy<Value = Scan> {
        let code = "[0-9A-HJKMNP-TV-Z]{4,20}".prop_filter_map("no code", |code| code.parse::<Code>().ok());
        let origin = (text(), text()).prop_map(|(country, region)| Origin { country, region });
        let numbers = (any::<i64>(), any::<u64>(), code, select(Outcome::ALL), select(Channel::ALL));
        let rest = (client(), any::<bool>(), text(), text(), origin);
        (numbers, rest).prop_map(
            |((ts_ms, generation, code, outcome, channel), (client, repeat, lang, served, origin))| Scan {
                ts_ms,
                generation,
                code,
                outcome,
                channel,
                client,
                repeat,
                lang,
                served,
                origin,
            },
        )
    }

    /// A column's value, as a text.
    fn value(field: Field, scan: &Scan) -> String {
        match field {
            Field::Time(of) => of(scan).to_string(),
            Field::Code(of) => of(scan).text().to_string(),
            Field::Text(of) => of(scan).to_owned(),
            Field::Flag(of) => of(scan).to_string(),
            Field::Number(of) => of(scan).to_string(),
        }
    }

    /// The least of each field.
    fn least() -> Scan {
        Scan {
            ts_ms: 0,
            generation: 0,
            code: "0000".parse().expect("a code"),
            outcome: Outcome::Found,
            channel: Channel::Qr,
            client: Client { device: Device::Other, os: Os::Other, app: App::Other, agent: Agent::Person },
            repeat: false,
            lang: ArrayString::new(),
            served: ArrayString::new(),
            origin: Origin::default(),
        }
    }

    /// Differs from [`least`] in every column.
    pub fn golden() -> Scan {
        Scan {
            ts_ms: 1_795_400_000_123,
            generation: 1_795_399_999_000,
            code: "7K3M9QX2".parse().expect("a code"),
            outcome: Outcome::Retired,
            channel: Channel::Nfc,
            client: Client { device: Device::Phone, os: Os::Ios, app: App::Xiaomi, agent: Agent::Prefetch },
            repeat: true,
            lang: "vi".try_into().expect("a tag"),
            served: "zh-Hant".try_into().expect("a tag"),
            origin: Origin {
                country: "VN".try_into().expect("a country"),
                region: "Lạng Sơn".try_into().expect("a region"),
            },
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    #[test]
    fn no_column_of_a_scan_is_forgotten() {
        let read = decode(Payload::encode(&golden()).bytes()).expect("a payload");
        for column in COLUMNS {
            assert_ne!(value(column.field, &golden()), value(column.field, &least()), "{} is set", column.name);
            assert_eq!(value(column.field, &read), value(column.field, &golden()), "{} is read back", column.name);
        }
    }

    /// Segments outlive the release that wrote them: these bytes never change.
    #[test]
    fn the_bytes_of_a_payload_are_frozen() {
        let payload = Payload::encode(&golden());
        let frozen = [
            "7be22d06a2010000",                 // ts
            "18de2d06a2010000",                 // generation
            "0000000000000000000083b829175121", // code
            "01010102160201",                   // outcome, channel, device, os, app, agent, repeat
            "027669",                           // lang
            "077a682d48616e74",                 // served
            "02564e",                           // country
            "0b4ce1baa16e672053c6a16e",         // region
        ];
        assert_eq!(hex(payload.bytes()), frozen.concat());
    }

    #[test]
    fn the_bytes_of_a_header_are_frozen() {
        let id = "01a20875-d161-76a6-ba27-f1d0246aa83d".parse().expect("a UUID");
        let header = Header { id, created_ms: 1_795_400_000_123, edge: "lạng-sơn-1".to_owned() };
        let frozen = [
            "574159504f535431",                 // magic
            "01a20875d16176a6ba27f1d0246aa83d", // identity
            "7be22d06a2010000",                 // created
            "0d6ce1baa16e672d73c6a16e2d31",     // edge
            &"00".repeat(50),
            "5f3796a8", // CRC-32
        ];
        assert_eq!(hex(&header.encode()), frozen.concat());
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert_eq!(published_word(5).to_le_bytes(), [5, 0, 0, 0, 0xfa, 0xff, 0xff, 0xff]);
        assert_eq!(frame_word(90).to_le_bytes(), [90, 0, 0xa5, 0xff]);
        assert_eq!(frame_crc(7, b"payload"), 0x9dfc_1104);
    }

    proptest! {
        #[test]
        fn every_column_of_any_scan_is_read_back(scan in scan()) {
            let payload = Payload::encode(&scan);
            prop_assert!(payload.bytes().len() <= MAX_PAYLOAD);
            let read = decode(payload.bytes()).expect("a payload");
            for column in COLUMNS {
                prop_assert_eq!(value(column.field, &read), value(column.field, &scan), "{}", column.name);
            }
        }

        #[test]
        fn foreign_bytes_are_refused_or_read_back_the_same(payload in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(scan) = decode(&payload) {
                let again = Payload::encode(&scan);
                prop_assert_eq!(again.bytes(), &payload[..]);
            }
        }

        #[test]
        fn a_flipped_bit_never_makes_another_number(count: u32, len: u16, bit in 0u32..64) {
            prop_assert_eq!(published_count(published_word(count)), Some(count));
            prop_assert_eq!(published_count(published_word(count) ^ 1 << bit), None);
            prop_assert_eq!(frame_len(frame_word(len)), Some(usize::from(len)));
            prop_assert_eq!(frame_len(frame_word(len) ^ 1 << (bit % 32)), None);
            prop_assert_ne!(frame_word(len), 0);
        }
    }
}
