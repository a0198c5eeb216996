//! What is told of a place reaches a visitor as text, whatever it is: on its own page where there is no target, in the head
//! that goes with a link that is shared, on the page about its plate, and in Chromium. A target that is filled in
//! takes over, and back.

use crate::support::browser::{self, Browser};
use crate::support::http::{Reply, request};
use crate::support::{Edge, PHONE, Setup, wait_for};

/// Markup, quotes, a mark that writes from right to left and is never closed, a letter and its accents, a family of four.
const NASTY: &str = "<b>\"A\" & 'B'</b><script>document.title='run'</script> \u{200f}\u{202e}rtl \u{2066} Hu\u{31b}\u{300}ng \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466} \u{0627}";

/// One place with everything, and its signs: with a position, without one, with a successor.
fn setup(cells: &[(&str, &str)]) -> Setup {
    let cell = |name: &str| cells.iter().find(|(column, _)| *column == name).map_or("", |(_, text)| text);
    let columns =
        ["name", "name:en", "target", "area", "namesake", "about", "about:en", "about:ko", "source", "compiled"];
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let row: Vec<String> = columns.iter().map(|column| quoted(cell(column))).collect();
    let places =
        format!("place,{}\none,{}\ntwo,Hai,,https://example.vn/two,,,,,,,\n", columns.join(","), row.join(","));
    let signs = "code,place,status,lat,lon,successor,aliases\nT01D,one,active,21.84744,106.75843,,/old?id=1\n\
                 T02D,one,planned,,,,\n0LD1,two,retired,,,T01D,\n";
    Setup::new().set("pages", "authority", "\"Tỉnh <Lạng Sơn>\"").registry(&places, signs)
}

fn edge(cells: &[(&str, &str)]) -> Edge {
    setup(cells).start()
}

fn in_language(edge: &Edge, path: &str, language: &str) -> Reply {
    request(edge.address(), "GET", path, &[("Accept-Language", language)]).unwrap()
}

/// What stands between two texts, as the parser of HTML reads it.
#[track_caller]
fn between(html: &str, before: &str, after: &str) -> String {
    let rest = html.split_once(before).unwrap_or_else(|| panic!("no {before} in {html}")).1;
    let text = rest.split_once(after).unwrap().0;
    assert!(!text.contains(['<', '>']), "markup in {text}");
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
}

#[test]
fn whatever_a_table_says_is_text() {
    let about = format!("{NASTY}\r\nhàng hai\r\n\r\nhàng bốn");
    let edge = edge(&[("name", NASTY), ("area", NASTY), ("namesake", NASTY), ("about", &about), ("source", NASTY)]);
    let (page, inspected) = (edge.scan("/T01D").body, edge.scan("/T01D+").body);
    let text = about.replace("\r\n", "\n");
    for html in [&page, &inspected] {
        assert_eq!(between(html, "<p class=text dir=auto lang=vi>", "</p>"), text);
        assert_eq!(between(html, "<bdi lang=vi>", "</bdi>"), NASTY);
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    }
    assert_eq!(between(&page, "<title>", "</title>"), NASTY);
    assert_eq!(between(&page, "<h1 dir=auto lang=vi>", "</h1>"), NASTY);
    assert_eq!(between(&page, "<meta property=\"og:title\" content=\"", "\">"), NASTY);
    assert_eq!(between(&page, "<meta property=\"og:site_name\" content=\"", "\">"), "Tỉnh <Lạng Sơn>");
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in ["name=description", "property=\"og:description\""] {
        assert_eq!(between(&page, &format!("<meta {name} content=\""), "\">"), one_line);
    }
    assert_eq!(between(&page, "<dd><bdi>", "</bdi>"), NASTY);
}

#[test]
fn a_thousand_characters_are_told_whole_and_shared_in_part() {
    // Each letter is three signs as it is typed, and one as it is counted.
    let word = "nu\u{31b}\u{303}ng";
    let about = vec![word; 200].join(" ") + ".";
    let edge = edge(&[("name", "Một"), ("about", &about)]);
    let page = edge.scan("/T01D").body;
    assert_eq!(between(&page, "<p class=text dir=auto lang=vi>", "</p>"), about);
    let shared = between(&page, "<meta property=\"og:description\" content=\"", "\">");
    assert!(shared.chars().count() <= 201 && shared.ends_with(&format!(" {word}…")), "{shared}");
}

#[test]
fn the_page_says_of_the_sign_where_it_hangs_and_offers_the_other_languages() {
    let about = [("name", "Đường Một"), ("name:en", "First Street"), ("about", "Chuyện"), ("about:en", "A story")];
    let facts = [("area", "Kỳ Lừa"), ("source", "https://example.org/a?b=1&c=đ"), ("compiled", "2026-03-04")];
    let edge = edge(&[&about[..], &facts[..]].concat());
    for path in ["/T01D", "/old?id=1", "/t0-1d/"] {
        let page = in_language(&edge, path, "en").body;
        assert_eq!(between(&page, "<h1 dir=auto lang=en>", "</h1>"), "First Street");
        assert!(
            page.contains("<a href=\"geo:21.84744,106.75843?q=21.84744,106.75843\">21.84744, 106.75843</a>"),
            "{page}"
        );
        assert!(page.contains("<a href=\"/T01D?lang=vi&amp;c=page\" lang=vi hreflang=vi>Tiếng Việt</a>"), "{page}");
        let source = "https://example.org/a?b=1&amp;c=%C4%91";
        assert!(
            page.contains(&format!("<a href=\"{source}\" rel=\"nofollow noopener noreferrer\">{source}</a>")),
            "{page}"
        );
        assert!(page.contains("<dt>Compiled on</dt><dd>4 March 2026</dd>"), "{page}");
    }
    let other = in_language(&edge, "/T01D?lang=vi&c=page", "en");
    assert_eq!(
        (other.status, between(&other.body, "<p class=text dir=auto lang=vi>", "</p>").as_str()),
        (200, "Chuyện")
    );
    let page = in_language(&edge, "/T02D", "vi");
    assert!(!page.body.contains("geo:") && page.body.contains("<dd>4/3/2026</dd>"), "{}", page.body);
    assert_eq!(page.header("vary"), Some("Accept-Language"));
    edge.wait_until_stored();
    assert_eq!(edge.counts().values().sum::<u64>(), 4, "the language that was chosen on the page is no scan");
    assert_eq!(edge.metrics().get("waypost_requests_total{outcome=\"page\"}"), 1.0);
}

#[test]
fn a_text_in_a_language_of_no_words_of_ours_has_the_registrys() {
    let edge = edge(&[("name", "Một"), ("about", "Chuyện"), ("about:ko", "이야기"), ("area", "Kỳ Lừa")]);
    let page = in_language(&edge, "/T01D", "ko").body;
    assert!(page.starts_with("<!doctype html><html lang=ko>"), "{page}");
    assert!(page.contains("<h1 dir=auto lang=vi>Một</h1>") && page.contains("<dt lang=vi>Khu vực</dt>"), "{page}");
    assert!(page.contains("og:locale\" content=\"ko\""), "{page}");
}

#[test]
fn a_page_in_one_language_is_the_same_for_all() {
    let page = edge(&[("name", "Một"), ("about", "Chuyện")]).scan("/T01D");
    assert_eq!((page.header("vary"), page.header("cache-control")), (None, Some("no-store")));
    assert!(!page.body.contains("<nav>"), "{}", page.body);
}

#[test]
fn other_pages_lead_to_it_without_a_scan() {
    let edge = edge(&[("name", "Một"), ("about", "Chuyện"), ("about:en", "A story")]);
    let inspected = in_language(&edge, "/T01D+", "en").body;
    assert!(inspected.contains("<a href=\"/T01D?c=page\">Our own page about this place</a>"), "{inspected}");
    assert!(inspected.contains("Tiếng Việt, English"), "{inspected}");
    let retired = in_language(&edge, "/0LD1", "en").body;
    assert!(retired.contains("<a class=go href=\"/T01D?c=page\">"), "{retired}");
    assert_eq!(edge.scan("/T01D?c=page").status, 200);
    edge.wait_until_stored();
    assert_eq!(edge.counts().get("01D1"), None);
    assert_eq!(edge.counts().get("T01D"), None, "{:?}", edge.counts());
}

#[test]
fn a_target_takes_over_as_soon_as_it_is_filled_in_and_back() {
    let told = [("name", "Một"), ("about", "Chuyện")];
    let with_target = [&told[..], &[("target", "https://example.vn/one")]].concat();
    let edge = edge(&told);
    let answers = |status: u16| wait_for("another answer", || (edge.scan("/T01D").status == status).then_some(()));
    let places = |cells: &[(&str, &str)]| std::fs::read(setup(cells).start().setup.path("config/places.csv")).unwrap();
    let (without, with) = (places(&told), places(&with_target));
    answers(200);
    edge.setup.put("config/places.csv", with);
    answers(302);
    assert_eq!(edge.scan("/T01D").location(), Some("https://example.vn/one"));
    edge.setup.put("config/places.csv", without);
    answers(200);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn chromium_shows_it_as_it_was_written() {
    let about = format!("{NASTY}\nhàng hai");
    let long = "dài".repeat(100);
    let source = format!("https://example.org/{}", "x".repeat(2000));
    let edge = edge(&[("name", &long), ("about", &about), ("namesake", NASTY), ("area", &long), ("source", &source)]);
    let browser = Browser::start(browser::PHONE);
    for path in ["/T01D", "/T01D+"] {
        browser.go(&format!("http://{}{path}", edge.address()));
        let seen = |script: &str| browser.run(script);
        assert_eq!(seen("return document.querySelector('p.text').textContent"), about.as_str(), "{path}");
        assert!(seen("return document.querySelector('p.text').innerText").as_str().unwrap().ends_with("\nhàng hai"));
        assert_ne!(seen("return document.title"), "run");
        assert_eq!(
            seen(
                "return document.scripts.length + performance.getEntriesByType('resource').filter(one => !one.name.endsWith('/favicon.ico')).length"
            ),
            0
        );
        assert_eq!(browser.overflow(), 0, "{path} is no wider than the phone");
    }
    let head = request(edge.address(), "HEAD", "/T01D", &[("User-Agent", PHONE)]).unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}
