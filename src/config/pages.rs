//! `[pages]`: what our own pages say.

use super::reader::Section;
use crate::core::Tag;
use crate::edge::Pages;

/// The authority's names: by default the host on the plates, and in other languages the first.
pub(super) fn read(mut section: Section<'_, '_>, public_host: &str, home_url: String, default_language: Tag) -> Pages {
    let authority = section.string("authority", public_host);
    let english = section.string("authority_en", &authority);
    let chinese = section.string("authority_zh", &authority);
    section.finish();
    Pages { authority: [authority, english, chinese], home_url, default_language }
}
