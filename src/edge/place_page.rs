//! The page of a place that has a text and no target, and what is told of any place on the page about its plate.
//!
//! Owns how that looks. The page is made when the registry is, in each language of the text; a worker joins its
//! parts with the style, and with what is the sign's own, in one piece of memory. Everything of a table is text here,
//! and none of it reaches out of its element, whichever way it is written.

use arrayvec::ArrayString;
use hyper::StatusCode;

use super::pages::{AREA, LANGUAGES, Pages, Phrase, STYLE, endonym, escaped, ours};
use super::response::{self, Response};
use crate::core::{Day, Tag, date_of};
use crate::registry::{CODE_HOLE, MakePage, PlacePage, PlaceRef, SignRef};

/// Characters of the text that go with a link that is shared.
const DESCRIPTION: usize = 200;
/// Most bytes of a position as a link: its two numbers, of at most 11 bytes each, three times.
const MOST_OF_POSITION: usize = 128;

const NAMESAKE: Phrase = ["Đặt tên theo", "Named after", "名称来源"];
/// Chinese has its own colon, and no space after it.
const COLON: Phrase = [": ", ": ", "："];
const SIGN: Phrase = ["Biển", "Sign", "标牌"];
const COMPILED: Phrase = ["Biên soạn ngày", "Compiled on", "编写日期"];
const SOURCE: Phrase = ["Nguồn", "Source", "来源"];

impl Pages {
    /// What makes the pages of places when a registry is read: see [`crate::registry::Registry::make_pages`].
    #[must_use]
    pub fn make_place(&self) -> Box<MakePage> {
        let pages = self.clone();
        Box::new(move |place, language| pages.place_page(place, language))
    }

    fn place_page(&self, place: PlaceRef<'_>, language: &str) -> PlacePage<String> {
        let words = words_for(language, self.default_language);
        let (tag, name) = in_language(place.names(), language).unwrap_or_default();
        let text = place.abouts().find(|(tag, _)| *tag == language).map_or("", |(_, text)| text);
        let (title, description) = (escaped(name), escaped(&beginning(text)));
        let head = format!(
            "<!doctype html><html lang={language}><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width,initial-scale=1\"><meta name=robots content=noindex>\
             <title>{title}</title><meta name=description content=\"{description}\">\
             <meta property=\"og:type\" content=\"article\"><meta property=\"og:title\" content=\"{title}\">\
             <meta property=\"og:description\" content=\"{description}\">\
             <meta property=\"og:site_name\" content=\"{}\"><meta property=\"og:locale\" content=\"{}\">\
             <style>",
            escaped(&self.authority[words]),
            locale(language),
        );
        let mut before = format!("</style><main><h1 dir=auto lang={tag}>{title}</h1>");
        let label = |phrase: Phrase| Label { phrase, words, page: language };
        before += &told(place, language, text, words, language);
        before += "<dl>";
        if !place.area().is_empty() {
            before += &label(AREA).fact(&format!("<bdi>{}</bdi>", escaped(place.area())));
        }
        before += &format!("<div>{}<dd><span class=code>{}</span>", label(SIGN).term(), CODE_HOLE);
        let mut after = "</dd></div>".to_owned();
        for (phrase, value) in provenance(place, words) {
            after += &label(phrase).fact(&value);
        }
        after += "</dl>";
        let others: Vec<&str> = place.abouts().map(|(tag, _)| tag).filter(|tag| *tag != language).collect();
        if !others.is_empty() {
            after += "<nav>";
            for tag in others {
                after += &format!(
                    "<a href=\"/{}?lang={tag}&amp;c=page\" lang={tag} hreflang={tag}>{}</a>",
                    CODE_HOLE,
                    endonym(tag)
                );
            }
            after += "</nav>";
        }
        after += "</main></html>";
        PlacePage { head, before, after }
    }
}

/// The page of a sign's place, with what is the sign's own: its code and where it hangs.
pub(super) fn place(sign: SignRef<'_>, page: PlacePage<&str>) -> Response {
    use std::fmt::Write as _;
    let code = sign.code().grouped();
    let mut position = ArrayString::<MOST_OF_POSITION>::new();
    if let Some((lat, lon)) = sign.position() {
        // RFC 5870; the second time it has Android show a pin there.
        write!(position, "<br><a href=\"geo:{lat},{lon}?q={lat},{lon}\">{lat}, {lon}</a>").expect("it has room");
    }
    let parts = [page.before, page.after];
    let holes = parts.iter().map(|part| part.matches(CODE_HOLE).count()).sum::<usize>();
    // To the byte, so that the response takes it as it is: each hole is one byte.
    let of_sign = holes * (code.len() - 1) + position.len();
    let length = page.head.len() + STYLE.len() + parts.map(str::len).iter().sum::<usize>() + of_sign;
    let mut html = String::with_capacity(length);
    html.push_str(page.head);
    html.push_str(STYLE);
    fill(&mut html, page.before, &code);
    html.push_str(&position);
    fill(&mut html, page.after, &code);
    response::page(StatusCode::OK, html, sign.place().abouts().len() > 1)
}

fn fill(html: &mut String, part: &str, code: &str) {
    let mut pieces = part.split(CODE_HOLE);
    html.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        html.push_str(code);
        html.push_str(piece);
    }
}

/// What a place is named after and its text in a language, on a page in `page` whose words are ours.
pub(super) fn told(place: PlaceRef<'_>, language: &str, text: &str, words: usize, page: &str) -> String {
    let mut html = String::new();
    if let Some((tag, namesake)) = in_language(place.namesakes(), language) {
        let name = Label { phrase: NAMESAKE, words, page }.span();
        html += &format!("<p class=soft>{name}{}<bdi lang={tag}>{}</bdi></p>", COLON[words], escaped(namesake));
    }
    if !text.is_empty() {
        html += &format!("<p class=text dir=auto lang={language}>{}</p>", escaped(text));
    }
    html
}

/// When and from what the text was put together.
pub(super) fn provenance(place: PlaceRef<'_>, words: usize) -> impl Iterator<Item = (Phrase, String)> {
    let compiled = place.compiled().map(|day| (COMPILED, date(day, words)));
    let source = match place.source() {
        "" => None,
        url if url.starts_with("https://") => {
            Some(format!("<a href=\"{0}\" rel=\"nofollow noopener noreferrer\">{0}</a>", escaped(url)))
        }
        text => Some(format!("<bdi>{}</bdi>", escaped(text))),
    };
    compiled.into_iter().chain(source.map(|source| (SOURCE, source)))
}

/// The name of a thing beside its value, in our words on a page in perhaps another language.
struct Label<'p> {
    phrase: Phrase,
    words: usize,
    page: &'p str,
}

impl Label<'_> {
    fn lang(&self) -> String {
        let ours = LANGUAGES[self.words].0;
        if ours == self.page { String::new() } else { format!(" lang={ours}") }
    }

    fn span(&self) -> String {
        let words = self.phrase[self.words];
        match self.lang() {
            lang if lang.is_empty() => words.to_owned(),
            lang => format!("<span{lang}>{words}</span>"),
        }
    }

    fn term(&self) -> String {
        format!("<dt{}>{}</dt>", self.lang(), self.phrase[self.words])
    }

    fn fact(&self, value: &str) -> String {
        format!("<div>{}<dd>{value}</dd></div>", self.term())
    }
}

/// The language of our words on a page: its own, or its relative, the configured one, or English.
fn words_for(language: &str, default: Tag) -> usize {
    let primary = |tag: &str| ours(tag.split('-').next().unwrap_or(tag));
    primary(language).or_else(|| primary(default.as_str())).unwrap_or(1)
}

/// The text in a language, or else in the default one, with its language.
fn in_language<'a>(
    mut texts: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    language: &str,
) -> Option<(&'a str, &'a str)> {
    texts.clone().find(|(tag, _)| *tag == language).or_else(|| texts.next())
}

/// The first words of a text, on one line.
fn beginning(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((cut, _)) = line.char_indices().nth(DESCRIPTION) else { return line };
    // A language without spaces is cut where it is.
    let end = line[..cut].rfind(' ').filter(|&end| end > cut / 2).unwrap_or(cut);
    format!("{}…", &line[..end])
}

/// A language and its country as Open Graph has them; of a language that we know no country of, itself.
fn locale(language: &str) -> &str {
    match language {
        "vi" => "vi_VN",
        "en" => "en_GB",
        "zh" | "zh-Hans" => "zh_CN",
        "zh-Hant" => "zh_TW",
        other => other,
    }
}

fn date(day: Day, words: usize) -> String {
    date_of(day).strftime(["%-d/%-m/%Y", "%-d %B %Y", "%Y年%-m月%-d日"][words]).to_string()
}
