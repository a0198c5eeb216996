//! Which of a place's languages a visitor gets.
//!
//! Owns the reading of `Accept-Language` (RFC 9110 section 12.5.4) and the choice
//! by lookup (RFC 4647 section 3.4): each range in order of its weight, cut from
//! the right until a language matches; ties go by the header's order; what is not
//! matched gets the default. Allocates nothing.

use arrayvec::{ArrayString, ArrayVec};

/// Longest language tag, in bytes; what is longer matches nothing.
pub const MAX_TAG: usize = 12;
/// Ranges of a header that are read; phones send 1 to 8.
const MAX_RANGES: usize = 16;

/// A language tag in canonical case: `vi`, `zh-Hant`, `zh-Hant-TW`.
pub type Tag = ArrayString<MAX_TAG>;

/// Reads a tag: a primary language of 2 or 3 letters, then subtags of 1 to 8
/// letters or digits; script in title case, region in upper case (RFC 5646 2.1.1).
#[must_use]
pub fn parse_tag(text: &str) -> Option<Tag> {
    read_tag(text.as_bytes().trim_ascii())
}

/// Works on bytes, without searching or decoding characters: each phone sends four tags or so.
fn read_tag(text: &[u8]) -> Option<Tag> {
    let mut tag = [0; MAX_TAG];
    tag.get_mut(..text.len())?.copy_from_slice(text);
    let tag = &mut tag[..text.len()];
    for (at, subtag) in tag.split_mut(|&byte| byte == b'-').enumerate() {
        let letters = subtag.iter().all(u8::is_ascii_alphabetic);
        let well_formed = if at == 0 {
            (2..=3).contains(&subtag.len()) && letters
        } else {
            (1..=8).contains(&subtag.len()) && subtag.iter().all(u8::is_ascii_alphanumeric)
        };
        if !well_formed {
            return None;
        }
        let len = subtag.len();
        for (i, byte) in subtag.iter_mut().enumerate() {
            let upper = at > 0 && letters && (len == 2 || (len == 4 && i == 0));
            *byte = if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        }
    }
    Tag::from(std::str::from_utf8(tag).ok()?).ok()
}

/// What a request asks for: the language in its `?lang=`, then the ranges of its `Accept-Language`,
/// best first. The header is read as far as its first range, which nearly always decides; the
/// rest only where that one matches nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct LanguagePreference<'a> {
    first: Option<Tag>,
    header: &'a str,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    tag: Tag,
    /// Thousandths, 1 to 1000.
    weight: u16,
}

impl<'a> LanguagePreference<'a> {
    /// Reads the value of `?lang=` and the header. Malformed ranges are passed
    /// over, as are `*` (RFC 4647: it asks for the default) and weight 0.
    #[must_use]
    pub fn read(lang: Option<&str>, accept_language: Option<&'a str>) -> Self {
        let header = accept_language.unwrap_or("");
        let first = lang.and_then(parse_tag).or_else(|| {
            let first = parts(header).next().and_then(range)?;
            // Of those with the highest weight there is, the first counts.
            if first.weight == 1000 { Some(first.tag) } else { None }
        });
        Self { first: first.or_else(|| ranges(header).first().map(|range| range.tag)), header }
    }

    /// The primary language asked for first, such as `zh`; empty where none was named.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.first.as_ref().map_or("", |tag| tag.split('-').next().unwrap_or(""))
    }

    /// The position of the best of `available`; `None` where none matches, and the default holds.
    #[must_use]
    pub fn choose<'t>(&self, available: impl Iterator<Item = &'t str> + Clone) -> Option<usize> {
        let of = |tag| lookup(&with_script(tag), available.clone());
        of(self.first?).or_else(|| ranges(self.header).iter().find_map(|range| of(range.tag)))
    }
}

/// The ranges of a header, best first.
fn ranges(header: &str) -> ArrayVec<Range, MAX_RANGES> {
    let mut ranges: ArrayVec<Range, MAX_RANGES> = ArrayVec::new();
    for range in parts(header).filter_map(range).take(MAX_RANGES) {
        let at = ranges.iter().position(|before| before.weight < range.weight).unwrap_or(ranges.len());
        ranges.insert(at, range);
    }
    ranges
}

fn parts(header: &str) -> impl Iterator<Item = &[u8]> {
    header.as_bytes().split(|&byte| byte == b',')
}

fn range(part: &[u8]) -> Option<Range> {
    let (tag, parameters) = split_once(part, b';').unwrap_or((part, b""));
    let weight = weight(parameters).filter(|&weight| weight > 0)?;
    Some(Range { tag: read_tag(shortened(tag.trim_ascii()))?, weight })
}

/// A range without the subtags that do not fit: lookup cuts from the right anyway.
fn shortened(range: &[u8]) -> &[u8] {
    let mut range = range;
    while range.len() > MAX_TAG
        && let Some(rest) = without_last(range)
    {
        range = rest;
    }
    range
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == at)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The weight of `;q=0.8`, in thousandths; 1000 where none is given, `None` where it is malformed.
fn weight(parameters: &[u8]) -> Option<u16> {
    let parameters = parameters.trim_ascii();
    if parameters.is_empty() {
        return Some(1000);
    }
    let (name, value) = split_once(parameters, b'=')?;
    let value = value.trim_ascii();
    if !name.trim_ascii().eq_ignore_ascii_case(b"q") || value.is_empty() || value.len() > 5 {
        return None;
    }
    let mut thousandths = match value[0] {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    if value.len() > 1 && value[1] != b'.' {
        return None;
    }
    let mut place = 100;
    for &digit in value.get(2..).unwrap_or(&[]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * place;
        place /= 10;
    }
    (thousandths <= 1000).then_some(thousandths)
}

/// Chinese is asked for by region and offered by script: `zh-TW` means `zh-Hant-TW`,
/// `zh-CN` means `zh-Hans-CN` (the likely subtags of Unicode CLDR).
fn with_script(tag: Tag) -> Tag {
    let script = match tag.as_str() {
        "zh" | "zh-CN" | "zh-SG" | "zh-MY" => "zh-Hans",
        "zh-TW" | "zh-HK" | "zh-MO" => "zh-Hant",
        _ => return tag,
    };
    Tag::from(script).expect("a tag of seven letters fits")
}

fn lookup<'t>(range: &str, available: impl Iterator<Item = &'t str> + Clone) -> Option<usize> {
    let mut range = range.as_bytes();
    loop {
        if let Some(at) = available.clone().position(|tag| tag.as_bytes() == range) {
            return Some(at);
        }
        range = without_last(range)?;
        // A single letter introduces an extension and goes with what it introduced.
        if let [rest @ .., b'-', _] = range {
            range = rest;
        }
    }
}

fn without_last(range: &[u8]) -> Option<&[u8]> {
    Some(&range[..range.iter().rposition(|&byte| byte == b'-')?])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(lang: Option<&str>, header: &str, available: &[&'static str]) -> &'static str {
        let preference = LanguagePreference::read(lang, Some(header));
        preference.choose(available.iter().copied()).map_or("default", |at| available[at])
    }

    #[test]
    fn lookup_goes_by_weight_then_by_order_then_to_the_default() {
        let all = ["vi", "en", "zh"];
        for (header, expected) in [
            ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
            ("en-US,en;q=0.9", "en"),
            ("zh-CN,zh;q=0.9", "zh"),
            ("zh-Hans-CN;q=1.0", "zh"),
            ("zh-TW,zh;q=0.9,en;q=0.8", "zh"),
            ("fr;q=1, en;q=0.2, vi;q=0.3", "vi"),
            ("en;q=0.5,vi;q=0.5", "en"),
            ("fr,de", "default"),
            ("*", "default"),
            ("*, en;q=0.1", "en"),
            ("en;q=0, vi", "vi"),
            ("en;q=0", "default"),
            ("en;q=2, zh;q=0.1", "zh"),
            ("EN-gb", "en"),
            ("", "default"),
            (",,;q=,;;", "default"),
            ("en;q=0.8;level=1, zh;q=0.3", "zh"),
            ("zh-cmn-Hans-CN", "zh"),
            ("de-x-en", "default"),
        ] {
            assert_eq!(chosen(None, header, &all), expected, "{header}");
        }
    }

    #[test]
    fn traditional_and_simplified_chinese_go_to_their_own_where_there_is_one() {
        let both = ["vi", "zh", "zh-Hant"];
        assert_eq!(chosen(None, "zh-TW", &both), "zh-Hant");
        assert_eq!(chosen(None, "zh-Hant-HK", &both), "zh-Hant");
        assert_eq!(chosen(None, "zh-HK, zh-CN;q=0.5", &["vi", "zh"]), "zh");
        assert_eq!(chosen(None, "zh-CN", &both), "zh");
        assert_eq!(chosen(None, "zh", &["vi", "zh-Hans"]), "zh-Hans");
    }

    #[test]
    fn the_language_named_in_the_query_wins() {
        assert_eq!(chosen(Some("zh"), "vi;q=1.0", &["vi", "zh"]), "zh");
        assert_eq!(chosen(Some("xx"), "en", &["vi", "en"]), "en");
        assert_eq!(chosen(Some("../etc"), "en", &["vi", "en"]), "en");
        assert_eq!(LanguagePreference::read(Some("ZH-tw"), Some("vi")).primary(), "zh");
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(lang in ".{0,30}", header in ".{0,200}") {
            let preference = LanguagePreference::read(Some(&lang), Some(&header));
            let at = preference.choose(["vi", "en", "zh"].into_iter());
            prop_assert!(at.is_none_or(|at| at < 3));
        }

        #[test]
        fn weights_sort_ranges(a in 1u16..=999, b in 1u16..=999) {
            let header = format!("en;q=0.{a:03}, zh;q=0.{b:03}");
            let expected = if a >= b { "en" } else { "zh" };
            prop_assert_eq!(chosen(None, &header, &["en", "zh"]), expected);
        }
    }
}
