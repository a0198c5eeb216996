//! Whether a browser fetches ahead of a person.
//!
//! Owns the headers that say so. A prefetch has the user agent of a person's browser; nothing but these
//! headers tells it apart.

use hyper::header::HeaderMap;

/// Whether a request is made ahead of a person: `Sec-Purpose` (Fetch standard), and what Chromium, Safari
/// and Firefox sent before it.
#[must_use]
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    // One walk over a request's eight or so headers costs less than four lookups.
    headers.iter().any(|(name, value)| {
        let words: &[&str] = match name.as_str() {
            "sec-purpose" => &["prefetch", "prerender"],
            "purpose" | "x-purpose" => &["prefetch", "preview"],
            "x-moz" => &["prefetch"],
            _ => return false,
        };
        value.to_str().is_ok_and(|value| words.iter().any(|word| value.trim_start().starts_with(word)))
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_prefetch_is_told_by_the_header_of_any_browser() {
        for (name, value, expected) in [
            ("sec-purpose", "prefetch", true),
            ("sec-purpose", "prefetch;prerender", true),
            ("purpose", " prefetch", true),
            ("x-purpose", "preview", true),
            ("x-moz", "prefetch", true),
            ("x-moz", "preview", false),
            ("sec-purpose", "", false),
            ("accept", "prefetch", false),
        ] {
            let header = (HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(is_prefetch(&HeaderMap::from_iter([header])), expected, "{name}: {value}");
        }
    }
}
