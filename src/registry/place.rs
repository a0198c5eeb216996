//! A place of a generation: its names and targets, what is told of it, and what its signs are answered with.

use super::story::Story;
use super::{NO_DATE, PageSpans, Period, Place, Registry, Scope, TargetSource, Targets, Variants};
use crate::core::{Day, LanguagePreference};

/// What a place's signs are answered with that have no target of their own, while no override holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its target.
    Target,
    /// A page of our own with what is told of it.
    OwnPage,
    /// Neither: no sign may be in use.
    Neither,
}

impl Answer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Target, Self::OwnPage, Self::Neither];

    /// The word in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::OwnPage => "own_page",
            Self::Neither => "neither",
        }
    }
}

/// A page of a place in one language, made before the registry serves, so that no worker has to: three parts, and
/// [`CODE_HOLE`] in the last two for the sign's code. What all pages have in common is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacePage<T> {
    /// Up to the style.
    pub head: T,
    /// From there to what it says of the sign.
    pub before: T,
    /// The rest.
    pub after: T,
}

/// Stands for the code on a page. A name or an area may hold it: whoever makes the page leaves control characters out.
pub const CODE_HOLE: char = '\u{1}';

/// Makes a page of a place in one of the languages of its text.
pub type MakePage = dyn Fn(PlaceRef<'_>, &str) -> PlacePage<String> + Send + Sync;

/// A place of one generation.
#[derive(Clone, Copy)]
pub struct PlaceRef<'a> {
    pub(super) registry: &'a Registry,
    pub(super) number: u32,
}

impl<'a> PlaceRef<'a> {
    fn row(self) -> &'a Place {
        &self.registry.places[self.number as usize]
    }

    /// Its identifier.
    #[must_use]
    pub fn id(self) -> &'a str {
        self.registry.str(self.row().id)
    }

    /// Street, relic, …; empty where its row says nothing.
    #[must_use]
    pub fn kind(self) -> &'a str {
        self.registry.str(self.row().kind)
    }

    /// The commune or ward; empty where its row says nothing.
    #[must_use]
    pub fn area(self) -> &'a str {
        self.registry.str(self.row().area)
    }

    /// Its name in the default language.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.names().next().map_or("", |(_, name)| name)
    }

    /// Its name in a language, or else in the default one.
    #[must_use]
    pub fn name_in(self, language: &str) -> &'a str {
        self.names().find(|(tag, _)| *tag == language).map_or(self.name(), |(_, name)| name)
    }

    /// Languages and names, the default first.
    pub fn names(self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        self.pairs(self.row().names)
    }

    /// Its targets, without overrides.
    #[must_use]
    pub fn targets(self) -> Targets<'a> {
        let registry = self.registry;
        Targets { registry, variants: registry.variants(self.row().targets), source: TargetSource::Place }
    }

    /// What its signs are answered with, without overrides and targets of their own.
    #[must_use]
    pub fn answer(self) -> Answer {
        match (self.row().targets.len, self.story().map_or(0, |story| story.abouts.len)) {
            (0, 0) => Answer::Neither,
            (0, _) => Answer::OwnPage,
            _ => Answer::Target,
        }
    }

    fn story(self) -> Option<&'a Story> {
        self.registry.stories.get(&self.number)
    }

    /// Languages, and whom or what it is named after, the default first.
    pub fn namesakes(self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        self.pairs(self.story().map(|story| story.namesakes).unwrap_or_default())
    }

    /// Languages and texts about it, the default first. Lines end with `\n`.
    pub fn abouts(self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone {
        self.pairs(self.story().map(|story| story.abouts).unwrap_or_default())
    }

    /// The language and the text about it that are best for a visitor; `None` where there is no text.
    #[must_use]
    pub fn choose_about(self, preference: &LanguagePreference<'_>) -> Option<(&'a str, &'a str)> {
        self.abouts().nth(self.best_about(preference))
    }

    /// Where its text is from: an https address, or else text; empty where its row says nothing.
    #[must_use]
    pub fn source(self) -> &'a str {
        self.story().map_or("", |story| self.registry.str(story.source))
    }

    /// The day on which its text was put together.
    #[must_use]
    pub fn compiled(self) -> Option<Day> {
        self.story().map(|story| story.compiled).filter(|&days| days != NO_DATE)
    }

    /// The page of ours that is best for a visitor, and its language; `None` where it has a target or no text, or
    /// [`Registry::make_pages`] was not called.
    #[must_use]
    pub fn page(self, preference: &LanguagePreference<'_>) -> Option<(&'a str, PlacePage<&'a str>)> {
        let (pages, text) = (self.registry.pages.get(&self.number)?, &self.registry.page_text);
        let at = self.best_about(preference);
        let &PageSpans { start, ends: [head, before, after] } = pages.get(at)?;
        let page = PlacePage { head: &text[start..head], before: &text[head..before], after: &text[before..after] };
        let (language, _) = self.abouts().nth(at)?;
        Some((language, page))
    }

    /// Its overrides, the earliest start first.
    pub fn overrides(self) -> impl Iterator<Item = Period<'a>> {
        self.registry.periods(Scope::Place(self.number), TargetSource::PlaceOverride)
    }

    /// Which of its texts is best for a visitor.
    fn best_about(self, preference: &LanguagePreference<'_>) -> usize {
        preference.choose(self.abouts().map(|(language, _)| language)).unwrap_or(0)
    }

    fn pairs(self, run: Variants) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone {
        let registry = self.registry;
        registry.variants(run).iter().map(|variant| registry.pair(*variant))
    }
}
