//! How far the programme is: what places and signs have, and what they lack.
//!
//! Owns what is counted. Overrides are not: they pass. A place is counted by its own cells, also where its signs have
//! targets of their own.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::{Answer, PlaceRef, Registry, SignRef, Status};

/// What some places and their signs have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// All of them.
    pub places: usize,
    /// By [`Answer`], in the order of [`Answer::ALL`]; together they are all places.
    pub answers: [usize; 3],
    /// In the order of [`Registry::languages`].
    pub languages: Vec<InLanguage>,
    /// Places with the date on which their text was compiled.
    pub compiled: usize,
    /// Of these, those compiled before a day.
    pub older: usize,
    /// By [`Status`], in the order of [`Status::ALL`].
    pub signs: [usize; 3],
    /// Of the planned and active signs, those with a position.
    pub position: usize,
    /// Of the active signs, those with the day on which they were mounted.
    pub mounting_date: usize,
}

/// Places that have something in one language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InLanguage {
    /// A name.
    pub named: usize,
    /// A text.
    pub told: usize,
    /// A target.
    pub targeted: usize,
}

/// A place, or a sign of it, that lacks something.
pub struct Gap<'r> {
    /// The place.
    pub place: PlaceRef<'r>,
    /// The sign, if it is one that lacks it.
    pub sign: Option<SignRef<'r>>,
    /// What it lacks, as the tables name their columns; `target|about` where either would do.
    pub lacks: Vec<String>,
}

impl Coverage {
    /// Of no places.
    fn none(registry: &Registry) -> Self {
        Self {
            places: 0,
            answers: [0; 3],
            languages: vec![InLanguage::default(); registry.languages().len()],
            compiled: 0,
            older: 0,
            signs: [0; 3],
            position: 0,
            mounting_date: 0,
        }
    }

    /// Groups of places by what `group` says of each, by name; and all together. A text is old if it was compiled before
    /// a day, counted from 1 January 1970.
    pub fn by<'r>(
        registry: &'r Registry,
        group: impl Fn(PlaceRef<'r>) -> &'r str,
        before: i32,
    ) -> (BTreeMap<&'r str, Self>, Self) {
        let mut groups: BTreeMap<&str, Self> = BTreeMap::new();
        for place in registry.places() {
            let group = groups.entry(group(place)).or_insert_with(|| Self::none(registry));
            group.add_place(registry, place, before);
        }
        for sign in registry.signs() {
            let group = groups.entry(group(sign.place())).or_insert_with(|| Self::none(registry));
            group.add_sign(sign);
        }
        let mut total = Self::none(registry);
        for group in groups.values() {
            total += group;
        }
        (groups, total)
    }

    fn add_place(&mut self, registry: &Registry, place: PlaceRef<'_>, before: i32) {
        self.places += 1;
        self.answers[place.answer() as usize] += 1;
        for (language, figures) in registry.languages().iter().zip(&mut self.languages) {
            let language = language.as_str();
            figures.named += usize::from(place.names().any(|(tag, _)| tag == language));
            figures.told += usize::from(place.abouts().any(|(tag, _)| tag == language));
            figures.targeted += usize::from(place.targets().iter().any(|target| target.language == language));
        }
        self.compiled += usize::from(place.compiled().is_some());
        self.older += usize::from(place.compiled().is_some_and(|day| day < before));
    }

    fn add_sign(&mut self, sign: SignRef<'_>) {
        self.signs[sign.status() as usize] += 1;
        self.position += usize::from(sign.status() != Status::Retired && sign.position().is_some());
        self.mounting_date += usize::from(sign.status() == Status::Active && sign.mounted().is_some());
    }
}

impl AddAssign<&Self> for Coverage {
    fn add_assign(&mut self, other: &Self) {
        let add = |ours: &mut [usize; 3], theirs: &[usize; 3]| ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        self.places += other.places;
        add(&mut self.answers, &other.answers);
        for (ours, theirs) in self.languages.iter_mut().zip(&other.languages) {
            ours.named += theirs.named;
            ours.told += theirs.told;
            ours.targeted += theirs.targeted;
        }
        self.compiled += other.compiled;
        self.older += other.older;
        add(&mut self.signs, &other.signs);
        self.position += other.position;
        self.mounting_date += other.mounting_date;
    }
}

/// Every place that lacks something, and after it its signs that do. Of a retired sign nothing is missed.
pub fn gaps(registry: &Registry) -> Vec<Gap<'_>> {
    let mut signs: BTreeMap<&str, Vec<Gap<'_>>> = BTreeMap::new();
    for sign in registry.signs().filter(|sign| sign.status() != Status::Retired) {
        let mut lacks = Vec::new();
        if sign.position().is_none() {
            lacks.extend(["lat", "lon"].map(str::to_owned));
        }
        if sign.status() == Status::Active && sign.mounted().is_none() {
            lacks.push("mounted".to_owned());
        }
        if !lacks.is_empty() {
            let place = sign.place();
            signs.entry(place.id()).or_default().push(Gap { place, sign: Some(sign), lacks });
        }
    }
    let mut gaps = Vec::new();
    for place in registry.places() {
        let lacks = lacks(registry, place);
        if !lacks.is_empty() {
            gaps.push(Gap { place, sign: None, lacks });
        }
        gaps.extend(signs.remove(place.id()).unwrap_or_default());
    }
    gaps
}

/// What a place lacks. Only what it has in one language is missed in the others.
fn lacks(registry: &Registry, place: PlaceRef<'_>) -> Vec<String> {
    let (mut lacks, targets) = (Vec::new(), place.targets());
    if place.answer() == Answer::Neither {
        lacks.push("target|about".to_owned());
    }
    for language in registry.languages().iter().skip(1) {
        let language = language.as_str();
        let mut other = |column: &str, has_any: bool, has_this: bool| {
            if has_any && !has_this {
                lacks.push(format!("{column}:{language}"));
            }
        };
        other("name", true, place.names().any(|(tag, _)| tag == language));
        let is_targeted = targets.iter().any(|target| target.language == language);
        other("target", place.answer() == Answer::Target, is_targeted);
        other("about", place.abouts().len() > 0, place.abouts().any(|(tag, _)| tag == language));
    }
    if place.abouts().len() > 0 {
        lacks.extend(place.source().is_empty().then(|| "source".to_owned()));
        lacks.extend(place.compiled().is_none().then(|| "compiled".to_owned()));
    }
    lacks
}
