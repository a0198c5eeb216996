//! All places, signs and overrides: one immutable generation.
//!
//! Owns the resolution of a code to a target. A `Registry` is built whole off the
//! workers, published as one pointer and never changed, so a request sees one
//! generation and a viral sign makes no two cores write the same cache line. Texts lie in
//! one arena and signs are fixed-size rows beside a table of their numbers: a sign takes 48 bytes
//! and about 10 more in that index, besides its URLs.

mod builder;
mod coverage;
mod place;
mod route;
mod rows;
mod rules;
mod story;

use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::atomic::AtomicU32;

use hashbrown::{HashMap, HashTable};

pub use builder::{PlaceRows, RegistryBuilder, SignRows, SignsBuilder};
pub use coverage::{Coverage, Gap, InLanguage, gaps};
pub use place::{Answer, CODE_HOLE, MakePage, PlacePage, PlaceRef};
pub use route::{AliasError, Route, as_sent};
pub use rows::{OverrideRow, PlaceRow, SignRow, TableNames, Text};
pub use rules::{HostPattern, HostPatternError, Rules, TargetError, TimeError};
pub use story::MAX_ABOUT;

use self::story::Story;
use crate::core::{Code, LanguagePreference, Tag};
use crate::system::memory;

type Hasher = foldhash::fast::FixedState;

/// One generation of the registry.
#[derive(Debug, Default)]
pub struct Registry {
    /// Its number: never given twice by an edge, and always rising. It is the time of publishing, in
    /// milliseconds since 1970, or one more than the last if that is more. The same tables keep
    /// their number over a restart, by the last-known-good copy. Only where that is lost *and* the
    /// clock was set back may a number be given again.
    pub generation: u64,
    /// A hash of the contents of the tables: the same for the same tables, on whichever edge.
    pub content_hash: u64,
    /// Signs in each [`Status`], counted once and not at each scrape.
    by_status: [usize; 3],
    /// Places with each [`Answer`].
    by_answer: [usize; 3],
    text: String,
    /// The default language first.
    languages: Vec<Tag>,
    variants: Vec<Variant>,
    places: Vec<Place>,
    /// Of the places of which something is told, by number.
    stories: HashMap<u32, Story, Hasher>,
    /// Of the places that have a text and no target, by number: a page for each language of the text, in its order.
    pages: HashMap<u32, Vec<PageSpans>, Hasher>,
    /// Their text, in one piece of memory: it goes back to the system as a whole. In pieces of a few KB it would be spread
    /// over the heaps of all threads that read tables, and stay there.
    page_text: String,
    signs: Vec<Sign>,
    /// Numbers of signs, by code.
    by_code: HashTable<u32>,
    /// Numbers of places, by identifier.
    by_place: HashTable<u32>,
    by_alias: HashMap<Box<str>, u32, Hasher>,
    /// Latest start first.
    overrides: HashMap<Scope, Vec<Override>, Hasher>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    len: u32,
}

/// A name, a target or a text in one language.
#[derive(Debug, Clone, Copy)]
struct Variant {
    language: u8,
    text: Span,
}

/// A run of variants, the default language's first.
#[derive(Debug, Clone, Copy, Default)]
#[repr(Rust, packed)]
struct Variants {
    start: u32,
    len: u8,
}

impl Variants {
    /// The same where so many variants come before.
    fn behind(self, before: u32) -> Self {
        let Self { start, len } = self;
        Self { start: start + before, len }
    }
}

#[derive(Debug)]
struct Place {
    id: Span,
    kind: Span,
    area: Span,
    names: Variants,
    targets: Variants,
    overridden: bool,
}

#[derive(Debug)]
struct Sign {
    code: Code,
    place: u32,
    /// The sign's own, or its place's: a redirect need not look at the place.
    targets: Variants,
    /// [`NO_SIGN`] where there is none.
    successor: u32,
    /// Millionths of a degree (0.1 m); [`NO_POSITION`] where unknown.
    lat: i32,
    lon: i32,
    /// Days since 1 January 1970; [`NO_DATE`] where unknown.
    mounted: i32,
    /// The number of the tally of its scans; 0 until the first. The one field of a generation that is
    /// written after it is published: see `edge::Tallies`.
    tally: AtomicU32,
    status: Status,
    own_targets: bool,
    /// Whether there is an override for it or for its place.
    overridden: bool,
}

// As the module's first lines say.
const _: () = assert!(size_of::<Sign>() == 48);
// What is told of places lies elsewhere, so that those of which nothing is told stay as small.
const _: () = assert!(size_of::<Place>() == 36);

const NO_SIGN: u32 = u32::MAX;
const NO_POSITION: i32 = i32::MIN;
const NO_DATE: i32 = i32::MIN;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    Place(u32),
    Sign(u32),
}

#[derive(Debug, Clone, Copy)]
struct Override {
    /// Milliseconds since the Unix epoch, inclusive.
    from_ms: i64,
    /// Milliseconds since the Unix epoch, exclusive.
    until_ms: i64,
    targets: Variants,
}

/// Where a sign is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Printed or about to be; it already leads somewhere.
    Planned,
    /// Mounted.
    Active,
    /// Taken down; its code must not be used again.
    Retired,
}

impl Status {
    /// Every status, in the order of a sign's life.
    pub const ALL: [Self; 3] = [Self::Planned, Self::Active, Self::Retired];

    /// The word in `signs.csv`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

/// Where a page's three parts end in the text of all pages, and where the first begins.
#[derive(Debug, Clone, Copy)]
struct PageSpans {
    start: usize,
    ends: [usize; 3],
}

/// Which row gave a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSource {
    /// `overrides.csv`, for the sign.
    SignOverride,
    /// `overrides.csv`, for the place.
    PlaceOverride,
    /// `signs.csv`.
    Sign,
    /// `places.csv`.
    Place,
}

// === impl Registry ===

impl Registry {
    /// The sign of a code.
    #[must_use]
    pub fn sign(&self, code: Code) -> Option<SignRef<'_>> {
        let hash = Hasher::default().hash_one(code);
        let number = *self.by_code.find(hash, |&at| self.signs[at as usize].code == code)?;
        Some(SignRef { registry: self, number })
    }

    /// The sign that an old path and query mean, matched exactly.
    #[must_use]
    pub fn alias(&self, path_and_query: &str) -> Option<SignRef<'_>> {
        if self.by_alias.is_empty() {
            return None;
        }
        Some(SignRef { registry: self, number: *self.by_alias.get(path_and_query)? })
    }

    /// The place of an identifier.
    #[must_use]
    pub fn place(&self, id: &str) -> Option<PlaceRef<'_>> {
        let hash = Hasher::default().hash_one(id);
        let number = *self.by_place.find(hash, |&at| self.str(self.places[at as usize].id) == id)?;
        Some(PlaceRef { registry: self, number })
    }

    /// Every sign, in the order of the table.
    pub fn signs(&self) -> impl ExactSizeIterator<Item = SignRef<'_>> + Clone {
        self.signs_numbered(0..count(self.signs.len()))
    }

    /// Those of a range in the order of the table, which must have them all.
    pub fn signs_numbered(&self, range: Range<u32>) -> impl ExactSizeIterator<Item = SignRef<'_>> + Clone {
        range.map(|number| SignRef { registry: self, number })
    }

    /// Every place, in the order of the table.
    pub fn places(&self) -> impl ExactSizeIterator<Item = PlaceRef<'_>> {
        (0..count(self.places.len())).map(|number| PlaceRef { registry: self, number })
    }

    /// Every old address that leads to a sign, in no order.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, SignRef<'_>)> {
        self.by_alias.iter().map(|(alias, &number)| (&**alias, SignRef { registry: self, number }))
    }

    /// The hash of the content as it is shown: 16 hexadecimal digits.
    #[must_use]
    pub fn content_hash_text(&self) -> String {
        format!("{:016x}", self.content_hash)
    }

    /// How many signs have a status.
    #[must_use]
    pub fn signs_in(&self, status: Status) -> usize {
        self.by_status[status as usize]
    }

    /// How many places have an answer.
    #[must_use]
    pub fn places_with(&self, answer: Answer) -> usize {
        self.by_answer[answer as usize]
    }

    /// Makes the pages of the places that have a text and no target. Done once, before the registry serves.
    pub fn make_pages(&mut self, make: &MakePage) {
        let place = |number| PlaceRef { registry: self, number };
        let told = self.stories.keys().map(|&number| (number, place(number)));
        let told = told.filter(|(_, place)| place.answer() == Answer::OwnPage);
        let mut text = String::new();
        let mut keep = |page: PlacePage<String>| {
            let start = text.len();
            let ends = [page.head, page.before, page.after].map(|part| {
                text.push_str(&part);
                text.len()
            });
            PageSpans { start, ends }
        };
        let mut of = |place: PlaceRef<'_>| place.abouts().map(|(language, _)| keep(make(place, language))).collect();
        let pages = told.map(|(number, place)| (number, of(place))).collect();
        text.shrink_to_fit();
        (self.pages, self.page_text) = (pages, text);
    }

    /// The languages of names, targets and texts, the default first.
    #[must_use]
    pub fn languages(&self) -> &[Tag] {
        &self.languages
    }

    /// The share of this registry's signs that `next` no longer has, 0 to 1.
    #[must_use]
    pub fn loss(&self, next: &Self) -> f64 {
        if self.signs.is_empty() {
            return 0.0;
        }
        let lost = self.signs.iter().filter(|sign| next.sign(sign.code).is_none()).count();
        f64::from(count(lost)) / f64::from(count(self.signs.len()))
    }

    fn str(&self, span: Span) -> &str {
        &self.text[span.start as usize..][..span.len as usize]
    }

    fn variants(&self, run: Variants) -> &[Variant] {
        &self.variants[run.start as usize..][..usize::from(run.len)]
    }

    fn periods(&self, scope: Scope, source: TargetSource) -> impl Iterator<Item = Period<'_>> {
        let overrides = self.overrides.get(&scope).into_iter().flatten();
        overrides.rev().map(move |o| Period {
            from_ms: o.from_ms,
            until_ms: o.until_ms,
            targets: Targets { registry: self, variants: self.variants(o.targets), source },
        })
    }

    fn in_force(&self, scope: Scope, now_ms: i64) -> Option<Variants> {
        let overrides = self.overrides.get(&scope)?;
        overrides.iter().find(|o| o.from_ms <= now_ms && now_ms < o.until_ms).map(|o| o.targets)
    }
}

/// A count of rows or of bytes of text, which fits 32 bits: a table has at most 2 GiB, and the builder
/// bounds the text.
fn count(len: usize) -> u32 {
    u32::try_from(len).expect("rows are counted in 32 bits")
}

// === impl SignRef ===

/// A sign of one generation.
#[derive(Clone, Copy)]
pub struct SignRef<'a> {
    registry: &'a Registry,
    number: u32,
}

impl<'a> SignRef<'a> {
    fn row(self) -> &'a Sign {
        &self.registry.signs[self.number as usize]
    }

    /// Its canonical code.
    #[must_use]
    pub fn code(self) -> Code {
        self.row().code
    }

    /// Has fetched what its targets are chosen from.
    #[inline]
    pub fn prefetch_targets(self) {
        if let Some(first) = self.registry.variants.get(self.row().targets.start as usize) {
            memory::prefetch(first);
        }
    }

    /// The number of its tally, which is given by `edge::Tallies` at its first scan; 0 until then.
    pub fn tally(self) -> &'a AtomicU32 {
        &self.row().tally
    }

    /// Planned, active or retired.
    #[must_use]
    pub fn status(self) -> Status {
        self.row().status
    }

    /// What its page is about.
    #[must_use]
    pub fn place(self) -> PlaceRef<'a> {
        PlaceRef { registry: self.registry, number: self.row().place }
    }

    /// The sign that took its place.
    #[must_use]
    pub fn successor(self) -> Option<SignRef<'a>> {
        let number = self.row().successor;
        (number != NO_SIGN).then_some(SignRef { registry: self.registry, number })
    }

    /// Latitude and longitude in degrees (WGS 84).
    #[must_use]
    pub fn position(self) -> Option<(f64, f64)> {
        let Sign { lat, lon, .. } = *self.row();
        (lat != NO_POSITION).then(|| (f64::from(lat) / 1e6, f64::from(lon) / 1e6))
    }

    /// The day it was mounted, as days since 1 January 1970.
    #[must_use]
    pub fn mounted(self) -> Option<i32> {
        let days = self.row().mounted;
        (days != NO_DATE).then_some(days)
    }

    /// Where it leads at a time: the sign's override, its place's, its own target, its place's.
    #[must_use]
    pub fn targets(self, now_ms: i64) -> Targets<'a> {
        let (registry, row) = (self.registry, self.row());
        let (run, source) = 'found: {
            if row.overridden {
                if let Some(run) = registry.in_force(Scope::Sign(self.number), now_ms) {
                    break 'found (run, TargetSource::SignOverride);
                }
                if let Some(run) = registry.in_force(Scope::Place(row.place), now_ms) {
                    break 'found (run, TargetSource::PlaceOverride);
                }
            }
            (row.targets, if row.own_targets { TargetSource::Sign } else { TargetSource::Place })
        };
        Targets { registry, variants: registry.variants(run), source }
    }

    /// Whether it is answered by the page of its place while these targets hold: there is none of them, and its place
    /// has a text.
    #[must_use]
    pub fn has_own_page(self, targets: &Targets<'_>) -> bool {
        targets.variants.is_empty() && self.status() != Status::Retired && self.place().abouts().len() > 0
    }

    /// Its own targets; `None` where it leads to its place's.
    #[must_use]
    pub fn own_targets(self) -> Option<Targets<'a>> {
        let (registry, row) = (self.registry, self.row());
        let variants = registry.variants(row.targets);
        row.own_targets.then_some(Targets { registry, variants, source: TargetSource::Sign })
    }

    /// Its own overrides, the earliest start first.
    pub fn overrides(self) -> impl Iterator<Item = Period<'a>> {
        self.registry.periods(Scope::Sign(self.number), TargetSource::SignOverride)
    }
}

impl Registry {
    fn pair(&self, variant: Variant) -> (&str, &str) {
        (&self.languages[usize::from(variant.language)], self.str(variant.text))
    }
}

// === impl Targets ===

/// The targets that hold for a sign at one time, one for each language.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    registry: &'a Registry,
    variants: &'a [Variant],
    source: TargetSource,
}

/// The targets of an override, and when they hold.
#[derive(Clone, Copy)]
pub struct Period<'a> {
    /// Milliseconds since the Unix epoch, inclusive.
    pub from_ms: i64,
    /// Milliseconds since the Unix epoch, exclusive.
    pub until_ms: i64,
    /// Where it leads meanwhile.
    pub targets: Targets<'a>,
}

/// The target sent to one visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The language of the page it leads to.
    pub language: &'a str,
    /// An absolute URL, checked when the registry was read.
    pub url: &'a str,
}

impl<'a> Targets<'a> {
    /// The target in the best language. `None` where there is none: of a retired sign, or of a place with a page of
    /// ours (see [`PlaceRef::page`]).
    #[must_use]
    pub fn choose(&self, preference: &LanguagePreference<'_>) -> Option<Target<'a>> {
        let languages = &self.registry.languages;
        let tags = self.variants.iter().map(|v| languages[usize::from(v.language)].as_str());
        let at = if self.several_languages() { preference.choose(tags).unwrap_or(0) } else { 0 };
        let (language, url) = self.registry.pair(*self.variants.get(at)?);
        Some(Target { language, url })
    }

    /// Whether the target depends on the visitor's languages.
    #[must_use]
    pub fn several_languages(&self) -> bool {
        self.variants.len() > 1
    }

    /// All of them, the default language's first.
    pub fn iter(&self) -> impl Iterator<Item = Target<'a>> {
        let registry = self.registry;
        self.variants.iter().map(|variant| {
            let (language, url) = registry.pair(*variant);
            Target { language, url }
        })
    }

    /// Which row they come from.
    #[must_use]
    pub fn source(&self) -> TargetSource {
        self.source
    }
}
