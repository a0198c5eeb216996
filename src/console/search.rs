//! Signs and places that match what somebody types, and the filters, order and page of a list.
//!
//! Owns how a text is compared: without accents, `đ` as `d`, in small letters, word by word. And the filters, which are
//! all in the address, so that a list can be sent to a colleague. The index is made once for each generation of the
//! registry and kept until the next.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::fields::Fields;
use super::figures::Snapshot;
use super::map::Box;
use crate::core::{Code, lock};
use crate::health::State;
use crate::registry::{Answer, PlaceRef, Registry, SignRef, Status};

/// Longest text that is looked for, in characters; the rest is not looked at.
const MAX_QUERY: usize = 200;
/// Shortest text, in characters, that is also looked for as the beginning of a code in any spelling (`O` for `0`):
/// shorter ones would find codes by chance.
const MIN_CODE: usize = 4;
/// Rows on a page.
pub(super) const PAGE: usize = 50;

/// A text as it is compared: words of small letters and digits without accents, a space before each.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + 1);
    let mut in_word = false;
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        let c = match c {
            // The last is the Icelandic letter, which looks the same as a capital.
            'đ' | 'ð' => 'd',
            c => c,
        };
        if !c.is_alphanumeric() {
            in_word = false;
            continue;
        }
        // Chinese has no spaces: each of its characters begins a word.
        let stands_alone = ('\u{2e80}'..='\u{9fff}').contains(&c);
        if !in_word || stands_alone {
            folded.push(' ');
        }
        folded.push(c);
        in_word = !stands_alone;
    }
    folded
}

/// The search index of the latest generation, made when somebody first searches in it.
#[derive(Debug, Default)]
pub struct SearchIndex {
    latest: Mutex<Option<Arc<Index>>>,
}

impl SearchIndex {
    /// Of a generation. Made by the first that asks; the others wait for it meanwhile.
    pub(super) fn of(&self, registry: &Registry) -> Arc<Index> {
        let mut latest = lock(&self.latest);
        match &*latest {
            Some(index) if index.generation == registry.generation => index.clone(),
            _ => latest.insert(Arc::new(Index::new(registry))).clone(),
        }
    }
}

/// Folded texts of one generation.
#[derive(Debug)]
pub(super) struct Index {
    generation: u64,
    /// Names in each language, whom they are after, identifier; in the order of the table.
    places: Vec<String>,
    /// Code and old addresses; in the order of the table,
    signs: Vec<String>,
    /// and the number of each one's place.
    homes: Vec<usize>,
    /// Where each place stands in the order of names, and of areas and names.
    by_name: Vec<usize>,
    by_area: Vec<usize>,
    areas: Vec<String>,
    kinds: Vec<String>,
    /// Signs of each place, by numbers of both.
    of_place: Vec<Vec<usize>>,
}

impl Index {
    pub fn new(registry: &Registry) -> Self {
        let mut places = Vec::new();
        let mut numbers = HashMap::new();
        let (mut areas, mut kinds, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (number, place) in registry.places().enumerate() {
            let mut text = fold(place.id());
            place.names().chain(place.namesakes()).for_each(|(_, name)| text.push_str(&fold(name)));
            places.push(text);
            numbers.insert(place.id(), number);
            areas.push(place.area());
            kinds.push(place.kind());
            names.push((fold(place.area()), fold(place.name()), place.id()));
        }
        let mut signs = Vec::new();
        let mut homes = Vec::new();
        let mut by_code = HashMap::new();
        let mut of_place = vec![Vec::new(); places.len()];
        for (number, sign) in registry.signs().enumerate() {
            let code = sign.code();
            signs.push(format!("{} {}", fold(&code.grouped()), code.text().to_lowercase()));
            by_code.insert(code, number);
            let home = numbers.get(sign.place().id()).copied().unwrap_or(0);
            homes.push(home);
            if let Some(of_place) = of_place.get_mut(home) {
                of_place.push(number);
            }
        }
        for (alias, sign) in registry.aliases() {
            if let Some(&number) = by_code.get(&sign.code()) {
                signs[number].push_str(&fold(alias));
            }
        }
        let distinct = |mut texts: Vec<&str>| {
            texts.sort_unstable();
            texts.dedup();
            let mut texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).map(str::to_owned).collect();
            texts.sort_by_cached_key(|text| fold(text));
            texts
        };
        let (areas, kinds) = (distinct(areas), distinct(kinds));
        let by_name = ranks(&names, |(_, name, id)| (name, id));
        let by_area = ranks(&names, |(area, name, id)| (area, name, id));
        Self { generation: registry.generation, places, signs, homes, by_name, by_area, areas, kinds, of_place }
    }

    /// Every area, in the order of the alphabet without accents.
    pub fn areas(&self) -> &[String] {
        &self.areas
    }

    /// Every kind of place.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// Numbers of a place's signs, by its number.
    pub fn signs_of(&self, place: usize) -> &[usize] {
        self.of_place.get(place).map_or(&[], Vec::as_slice)
    }

    /// Signs whose code, or place, has each word's beginning; or whose code begins as the whole text does.
    fn signs_like(&self, query: &Query) -> Vec<bool> {
        let of_places: Vec<Vec<bool>> =
            query.terms.iter().map(|term| self.places.iter().map(|text| text.contains(term)).collect()).collect();
        let matches = |(number, text): (usize, &String)| {
            let home = self.homes[number];
            let has_terms =
                query.terms.iter().zip(&of_places).all(|(term, of_places)| {
                    of_places.get(home).copied().unwrap_or(false) || text.contains(term.as_str())
                });
            has_terms || query.code.as_ref().is_some_and(|code| text.contains(code.as_str()))
        };
        self.signs.iter().enumerate().map(matches).collect()
    }

    /// Places whose names, namesakes and identifier have each word's beginning, or that have a sign whose code begins so.
    fn places_like(&self, query: &Query) -> Vec<bool> {
        let has_terms = |text: &String| query.terms.iter().all(|term| text.contains(term.as_str()));
        let mut found: Vec<bool> = self.places.iter().map(has_terms).collect();
        if let Some(code) = &query.code {
            for (text, &home) in self.signs.iter().zip(&self.homes) {
                if text.contains(code.as_str())
                    && let Some(found) = found.get_mut(home)
                {
                    *found = true;
                }
            }
        }
        found
    }
}

/// What is looked for.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    /// Folded, each with a space before it: it is found where a word begins so.
    terms: Vec<String>,
    /// As the canonical text of codes stands in the index.
    code: Option<String>,
}

impl Query {
    fn new(text: &str) -> Self {
        let text: String = text.chars().take(MAX_QUERY).collect();
        // What a phone's camera shows, or an old address: the path counts.
        let text = match text.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            None => &text,
        };
        let folded = fold(text);
        let terms = folded.split_whitespace().map(|term| format!(" {term}")).collect();
        let code = Code::parse(text.trim().as_bytes()).ok().map(|code| code.text().to_lowercase());
        let code = code.filter(|code| code.len() >= MIN_CODE).map(|code| format!(" {code}"));
        Self { terms, code }
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    /// By name, without accents.
    #[default]
    Name,
    /// By code; of places by identifier.
    Code,
    /// By area, then name.
    Area,
    /// The most scans of the last 30 days first.
    Scans,
    /// The latest scan first; those never scanned last.
    Last,
}

impl Sort {
    pub const ALL: [Self; 5] = [Self::Name, Self::Code, Self::Area, Self::Scans, Self::Last];

    /// As in the address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Code => "code",
            Self::Area => "area",
            Self::Scans => "scans",
            Self::Last => "last",
        }
    }
}

/// The filters of a list; what an address has that is none is as if it were not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filters {
    /// `q`
    pub query: String,
    /// `place`: the identifier of one; empty: every one.
    pub place: String,
    /// `area`; empty: every one.
    pub area: String,
    /// `kind`; empty: every one.
    pub kind: String,
    /// `status`
    pub status: Option<Status>,
    /// `state`
    pub state: Option<State>,
    /// `answer`: what places are answered with; signs are not asked.
    pub answer: Option<Answer>,
    /// `box`: where the map shows them.
    pub within: Option<Box>,
    /// `sort`
    pub sort: Sort,
    /// `page`, from 1.
    pub page: usize,
}

impl Filters {
    /// Those of an address.
    pub fn read(fields: &Fields) -> Self {
        Self {
            query: fields.get("q").to_owned(),
            place: fields.get("place").to_owned(),
            area: fields.get("area").to_owned(),
            kind: fields.get("kind").to_owned(),
            status: Status::ALL.into_iter().find(|status| status.as_str() == fields.get("status")),
            state: State::ALL.into_iter().find(|state| state.as_str() == fields.get("state")),
            answer: Answer::ALL.into_iter().find(|answer| answer.as_str() == fields.get("answer")),
            within: Box::read_as_it_is(fields),
            sort: Sort::ALL.into_iter().find(|sort| sort.as_str() == fields.get("sort")).unwrap_or_default(),
            page: fields.get("page").parse().unwrap_or(1).max(1),
        }
    }

    /// Whether more is chosen than a text.
    pub fn narrows(&self) -> bool {
        let Self { query, page, .. } = self;
        *self != Self { query: query.clone(), page: *page, ..Self::default() }
    }

    fn has_place(&self, place: PlaceRef<'_>) -> bool {
        (self.place.is_empty() || place.id() == self.place)
            && (self.area.is_empty() || place.area() == self.area)
            && (self.kind.is_empty() || place.kind() == self.kind)
    }

    fn has_sign(&self, sign: SignRef<'_>, figures: &Snapshot) -> bool {
        self.status.is_none_or(|status| sign.status() == status)
            && self.within.is_none_or(|within| sign.position().is_some_and(|position| within.holds(position)))
            && self.state.is_none_or(|state| figures.has_states && state_of(sign, figures) == Some(state))
    }

    /// What is shown of what was found, the number of that page, and how many there are.
    pub fn shown<'f, T>(&self, found: &'f [T]) -> (&'f [T], usize, usize) {
        let pages = found.len().div_ceil(PAGE).max(1);
        let number = self.page.min(pages);
        (found.chunks(PAGE).nth(number - 1).unwrap_or_default(), number, pages)
    }

    /// The signs that are meant, in their order.
    pub fn signs<'r>(&self, registry: &'r Registry, index: &Index, figures: &Snapshot) -> Vec<SignRef<'r>> {
        let like = index.signs_like(&Query::new(&self.query));
        let found = registry.signs().enumerate().zip(like).filter(|(_, is_like)| *is_like).map(|(sign, _)| sign);
        let mut found: Vec<(usize, SignRef<'r>)> =
            found.filter(|(_, sign)| self.has_sign(*sign, figures) && self.has_place(sign.place())).collect();
        match self.sort {
            Sort::Name => found.sort_unstable_by_key(|(at, sign)| (index.by_name[index.homes[*at]], sign.code())),
            Sort::Code => found.sort_unstable_by_key(|(_, sign)| sign.code()),
            Sort::Area => found.sort_unstable_by_key(|(at, sign)| (index.by_area[index.homes[*at]], sign.code())),
            Sort::Scans => found.sort_by_cached_key(|(_, sign)| (Reverse(figures.scans(sign.code())), sign.code())),
            Sort::Last => found.sort_by_cached_key(|(_, sign)| (Reverse(last_of(sign.code(), figures)), sign.code())),
        }
        found.into_iter().map(|(_, sign)| sign).collect()
    }

    /// The places that are meant, in their order, with their numbers; with a status, a state or a box, those that
    /// have such a sign.
    pub fn places<'r>(&self, registry: &'r Registry, index: &Index, figures: &Snapshot) -> Vec<(usize, PlaceRef<'r>)> {
        let like = index.places_like(&Query::new(&self.query));
        let has_signs: Option<Vec<bool>> = (self.status.is_some() || self.state.is_some() || self.within.is_some())
            .then(|| {
                let mut has = vec![false; like.len()];
                for (sign, &home) in registry.signs().zip(&index.homes) {
                    if self.has_sign(sign, figures)
                        && let Some(has) = has.get_mut(home)
                    {
                        *has = true;
                    }
                }
                has
            });
        let found = registry.places().enumerate().zip(like);
        let found = found.filter(|((number, place), is_like)| {
            let has_answer = self.answer.is_none_or(|answer| place.answer() == answer);
            *is_like && has_answer && self.has_place(*place) && has_signs.as_ref().is_none_or(|has| has[*number])
        });
        let mut found: Vec<(usize, PlaceRef<'r>)> = found.map(|(place, _)| place).collect();
        let codes: Vec<Code> = if matches!(self.sort, Sort::Scans | Sort::Last) {
            registry.signs().map(SignRef::code).collect()
        } else {
            Vec::new()
        };
        let codes = |number: usize| index.signs_of(number).iter().map(|&sign| codes[sign]);
        match self.sort {
            Sort::Name => found.sort_unstable_by_key(|(number, _)| index.by_name[*number]),
            Sort::Code => found.sort_unstable_by_key(|(_, place)| place.id()),
            Sort::Area => found.sort_unstable_by_key(|(number, _)| index.by_area[*number]),
            Sort::Scans => found
                .sort_by_cached_key(|(number, _)| Reverse(codes(*number).map(|code| figures.scans(code)).sum::<u64>())),
            Sort::Last => found
                .sort_by_cached_key(|(number, _)| Reverse(codes(*number).filter_map(|c| last_of(c, figures)).max())),
        }
        found
    }
}

/// Where each item would stand if the list were sorted by a key.
fn ranks<'l, T, K: Ord>(list: &'l [T], key: impl Fn(&'l T) -> K) -> Vec<usize> {
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_by(|&a, &b| key(&list[a]).cmp(&key(&list[b])));
    let mut ranks = vec![0; list.len()];
    order.into_iter().enumerate().for_each(|(rank, at)| ranks[at] = rank);
    ranks
}

/// How a sign is, as far as it is known.
pub(super) fn state_of(sign: SignRef<'_>, figures: &Snapshot) -> Option<State> {
    figures.signs.get(&sign.code()).and_then(|sign| sign.state)
}

/// When a sign was last scanned, as far as it is known.
pub(super) fn last_of(code: Code, figures: &Snapshot) -> Option<jiff::Timestamp> {
    figures.signs.get(&code).and_then(|sign| sign.last)
}

/// Signs whose codes are nearly a text that is none: one character is another, is missing or is too many, or two were
/// swapped. At most ten, in the order of codes.
pub(super) fn near(registry: &Registry, text: &str) -> Vec<Code> {
    const MOST: usize = 10;
    let wanted: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).take(40).collect();
    let wanted = wanted.to_ascii_uppercase();
    let mut found: Vec<Code> =
        registry.signs().map(SignRef::code).filter(|code| is_near(&wanted, code.text().as_bytes())).collect();
    found.sort_unstable();
    found.truncate(MOST);
    found
}

/// Whether two texts differ by one such slip at most.
fn is_near(a: &[u8], b: &[u8]) -> bool {
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[start..], &b[start..]);
    match (a, b) {
        ([], []) => true,
        ([_, a @ ..], []) => a.is_empty(),
        ([], [_, b @ ..]) => b.is_empty(),
        ([x, a_rest @ ..], [y, b_rest @ ..]) => {
            let is_swapped =
                a_rest.first() == Some(y) && b_rest.first() == Some(x) && a_rest.get(1..) == b_rest.get(1..);
            a_rest == b_rest || a_rest == b || a == b_rest || is_swapped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::trial;
    use crate::source::Sources;

    fn tables() -> Sources {
        Sources {
            places: "place,kind,area,name,name:zh,target\n\
                st002,street,Phường Lương Văn Tri,Đường Hùng Vương,雄王路,https://langson.gov.vn/1\n\
                re001,relic,Phường Đông Kinh,Thành nhà Mạc,,https://langson.gov.vn/2\n"
                .into(),
            signs: "code,place,status,lat,lon,aliases\n\
                7K3M-9QX5,st002,active,21.84744,106.75843,/vi/duong/cu-hon?id=12\n\
                SE2Z-4E6W,st002,retired,,,\n\
                XFCZ-CFSX,re001,active,21.85,106.76,\n"
                .into(),
            overrides: Vec::new(),
        }
    }

    fn codes(query: &str) -> Vec<String> {
        let registry = trial::registry(&tables());
        let filters = Filters::read(&Fields::parse(query));
        let found = filters.signs(&registry, &Index::new(&registry), &Snapshot::default());
        found.iter().map(|sign| sign.code().text().to_string()).collect()
    }

    #[test]
    fn accents_and_forms_of_unicode_do_not_count() {
        let decomposed: String = "Đường Hùng Vương".nfd().collect();
        for text in ["Đường Hùng Vương", &decomposed, "DUONG  hung-vuong", "đường HÙNG vương", "Ðường Hùng Vương"]
        {
            assert_eq!(fold(text), " duong hung vuong", "{text}");
        }
        assert_eq!(fold("雄王路 1"), " 雄 王 路 1");
        assert_eq!(fold("<script>\u{202e}"), " script");
        assert_eq!(fold(""), "");
    }

    #[test]
    fn a_sign_is_found_by_name_code_old_address_and_identifier() {
        for query in [
            "q=hung+vuong",
            "q=vuong+hung",
            "q=H%C3%B9ng+V",
            "q=st002",
            "q=%E9%9B%84%E7%8E%8B",
            "q=7K3M-9QX5",
            "q=7k3m9qx5",
            "q=7k3m+9qx5",
            "q=7K3M",
            "q=https%3A%2F%2Fqr.langson.gov.vn%2F7k3m9qx5",
            "q=%2Fvi%2Fduong%2Fcu-hon%3Fid%3D12",
        ] {
            assert!(codes(query).contains(&"7K3M9QX5".to_owned()), "{query}: {:?}", codes(query));
        }
        assert_eq!(codes("q=cu+hon"), ["7K3M9QX5"]);
        assert_eq!(codes("q=vuong+mac"), [""; 0]);
        // The beginning of a word, and not its middle.
        assert_eq!(codes("q=uong"), [""; 0]);
    }

    #[test]
    fn filters_are_those_of_the_address() {
        assert_eq!(codes("").len(), 3);
        assert_eq!(codes("status=retired"), ["SE2Z4E6W"]);
        assert_eq!(codes("kind=relic"), ["XFCZCFSX"]);
        assert_eq!(codes("area=Ph%C6%B0%E1%BB%9Dng+%C4%90%C3%B4ng+Kinh"), ["XFCZCFSX"]);
        assert_eq!(codes("status=nonsense&page=-1&sort=x").len(), 3);
        assert_eq!(codes("place=st002").len(), 2);
        assert_eq!(codes("place=st00"), [""; 0]);
        assert_eq!(codes("sort=code"), ["7K3M9QX5", "SE2Z4E6W", "XFCZCFSX"]);
        assert_eq!(codes("box=106.758,21.847,106.759,21.848"), ["7K3M9QX5"]);
        assert_eq!(codes("box=106.758,21.847").len(), 3, "no box");
        // Nothing is called silent before anything is known.
        assert_eq!(codes("state=silent"), [""; 0]);
    }

    #[test]
    fn a_place_is_found_by_its_signs_too() {
        let registry = trial::registry(&tables());
        let index = Index::new(&registry);
        let ids = |query: &str| -> Vec<&str> {
            let found = Filters::read(&Fields::parse(query)).places(&registry, &index, &Snapshot::default());
            found.into_iter().map(|(_, place)| place.id()).collect()
        };
        assert_eq!(ids("q=xfcz-cfsx"), ["re001"]);
        assert_eq!(ids("q=thanh+mac"), ["re001"]);
        assert_eq!(ids("status=retired"), ["st002"]);
        assert_eq!(ids("box=106.758,21.847,106.759,21.848"), ["st002"]);
        assert_eq!(ids("sort=code"), ["re001", "st002"]);
    }

    #[test]
    fn a_place_is_found_by_whom_it_is_named_after_and_by_its_answer() {
        let places = "place,name,namesake,namesake:en,about,target\n\
            st1,Đường Lý Thường Kiệt,Thái úy (1019–1105),a general of Đại Việt,Ông sinh năm 1019.,\n\
            st2,Đường Hùng Vương,,,Vua Hùng.,https://langson.gov.vn/2\n\
            st3,Đường Mới,,,,\n";
        let registry = trial::registry(&Sources {
            places: places.into(),
            signs: "code,place,status\n7K3M-9QX5,st1,active\n".into(),
            overrides: Vec::new(),
        });
        let index = Index::new(&registry);
        let ids = |query: &str| -> Vec<&str> {
            let found = Filters::read(&Fields::parse(query)).places(&registry, &index, &Snapshot::default());
            found.into_iter().map(|(_, place)| place.id()).collect()
        };
        for query in ["q=thai+uy", "q=1019", "q=general+dai+viet", "q=ly+thuong+kiet+thai", "answer=own_page"] {
            assert_eq!(ids(query), ["st1"], "{query}");
        }
        assert_eq!((ids("answer=target"), ids("answer=neither")), (vec!["st2"], vec!["st3"]));
        assert_eq!(ids("answer=nonsense").len(), 3);
        let signs = Filters::read(&Fields::parse("q=thai+uy")).signs(&registry, &index, &Snapshot::default());
        assert_eq!(signs.len(), 1);
    }

    #[test]
    fn a_code_with_a_slip_finds_its_neighbours() {
        let registry = trial::registry(&tables());
        for text in ["7K3M-9QX6", "7K3M9QX", "7K3M9QX55", "K73M9QX5", "7k3m 9xq5"] {
            assert_eq!(near(&registry, text).iter().map(|c| c.text().to_string()).collect::<Vec<_>>(), ["7K3M9QX5"]);
        }
        assert_eq!(near(&registry, "7K3MXXX5"), []);
        assert_eq!(near(&registry, ""), []);
    }

    #[test]
    fn an_index_is_made_once_for_each_generation() {
        let search = SearchIndex::default();
        let mut registry = trial::registry(&tables());
        let first = search.of(&registry);
        assert!(Arc::ptr_eq(&first, &search.of(&registry)));
        registry.generation += 1;
        assert!(!Arc::ptr_eq(&first, &search.of(&registry)));
    }
}
