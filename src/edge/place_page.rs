//! The page of a place that has a text and no target.
//!
//! Owns how that page looks. It is made when the registry is, in each language of the text; a worker adds what it says
//! of the sign. Everything of a table is text on it.

use super::pages::Pages;
use super::response::{self, Response};
use crate::registry::{MakePage, PlacePage, PlaceRef, SignRef};

impl Pages {
    /// What makes the pages of places when a registry is read: see [`crate::registry::Registry::make_pages`].
    #[must_use]
    pub fn make_place(&self) -> Box<MakePage> {
        let pages = self.clone();
        Box::new(move |place, language| pages.place_page(place, language))
    }

    fn place_page(&self, _place: PlaceRef<'_>, _language: &str) -> PlacePage {
        todo!()
    }

    /// The page of a sign's place, with what is the sign's own.
    pub(super) fn place(&self, _sign: SignRef<'_>, _page: &PlacePage) -> Response {
        response::not_found()
    }
}
