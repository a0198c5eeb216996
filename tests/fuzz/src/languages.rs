//! `Accept-Language`: the choice is that of RFC 4647 section 3.4, read step by step; so is the primary language.

use waypost::core::{LanguagePreference, Tag, parse_tag};

/// Longest tag that can match, in bytes.
const MAX_TAG: usize = 12;
/// Well-formed ranges of a header that count.
const MAX_RANGES: usize = 16;

/// Three lines: `?lang=`, the header, and what is offered, with a comma between two tags.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let [lang, header, offered] = std::array::from_fn(|_| lines.next().unwrap_or(""));
    let offered: Vec<_> = offered.split(',').filter_map(parse_tag).collect();
    let offered: Vec<&str> = offered.iter().map(Tag::as_str).collect();
    for tag in &offered {
        assert_eq!(parse_tag(tag).as_deref(), Some(*tag), "a tag is canonical once it was read");
    }

    let preference = LanguagePreference::read(Some(lang), Some(header));
    let asked = asked(lang, header);
    let primary = asked.first().map_or("", |range| range.split('-').next().unwrap_or(""));
    assert_eq!(preference.primary(), primary, "{lang:?} {header:?}");
    let meant = asked.iter().find_map(|range| lookup(range, &offered));
    assert_eq!(preference.choose(offered.iter().copied()), meant, "{lang:?} {header:?} {offered:?}");
}

/// All ranges that are asked for, the best first, in lower case.
fn asked(lang: &str, header: &str) -> Vec<String> {
    let ranges = header.split(',').filter_map(|part| {
        let (range, parameters) = part.split_once(';').unwrap_or((part, "q=1"));
        let range = cut(trimmed(range));
        let weight = weight(if trimmed(parameters).is_empty() { "q=1" } else { parameters })?;
        (weight > 0 && is_tag(&range)).then_some((weight, range))
    });
    let mut ranges: Vec<_> = ranges.take(MAX_RANGES).collect();
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let lang = Some(trimmed(lang).to_ascii_lowercase()).filter(|lang| is_tag(lang));
    lang.into_iter().chain(ranges.into_iter().map(|(_, range)| range)).collect()
}

/// A range without the subtags at its end that make it too long.
fn cut(range: &str) -> String {
    let mut subtags: Vec<&str> = range.split('-').collect();
    while subtags.len() > 1 && subtags.join("-").len() > MAX_TAG {
        subtags.pop();
    }
    subtags.join("-").to_ascii_lowercase()
}

/// RFC 5646 section 2.1, as far as a phone's languages need it.
fn is_tag(range: &str) -> bool {
    let mut subtags = range.split('-');
    let primary = subtags.next().unwrap_or("");
    range.len() <= MAX_TAG
        && (2..=3).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags.all(|subtag| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// RFC 9110 section 12.4.2, in thousandths.
fn weight(parameters: &str) -> Option<u32> {
    let (name, value) = parameters.split_once('=')?;
    let value = trimmed(value);
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let is_sound = trimmed(name).eq_ignore_ascii_case("q")
        && (whole == "0" || whole == "1")
        && part.len() <= 3
        && part.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = if is_sound { format!("{whole}{part:0<3}").parse().ok()? } else { return None };
    (thousandths <= 1000).then_some(thousandths)
}

/// RFC 4647 section 3.4; Chinese by its script.
fn lookup(range: &str, offered: &[&str]) -> Option<usize> {
    let range = match range {
        "zh" | "zh-cn" | "zh-sg" | "zh-my" => "zh-hans",
        "zh-tw" | "zh-hk" | "zh-mo" => "zh-hant",
        range => range,
    };
    let mut subtags: Vec<&str> = range.split('-').collect();
    while !subtags.is_empty() {
        if let Some(at) = offered.iter().position(|tag| tag.eq_ignore_ascii_case(&subtags.join("-"))) {
            return Some(at);
        }
        subtags.pop();
        if subtags.len() > 1 && subtags.last().is_some_and(|last| last.len() == 1) {
            subtags.pop();
        }
    }
    None
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace())
}
