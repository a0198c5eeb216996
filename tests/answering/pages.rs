//! Our own pages are in the visitor's language, say what they should in a browser, and carry
//! nothing of anybody else: no script, nothing fetched, no name that becomes markup. The box takes
//! a code however it is typed. What Chromium shows is looked at as well as what was sent.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::http::{Reply, request};
use crate::support::{Edge, PHONE, Setup};

const LANGUAGES: [&str; 3] = ["vi", "en", "zh"];
const NASTY: &str = "Quán <b>\"A\" & 'B'</b><script>alert(1)</script>";

/// An active sign, a planned one, one with an override, and a retired one with and without a successor.
fn edge() -> Edge {
    let nasty = NASTY.replace('"', "\"\"");
    let places = format!(
        "place,kind,area,name,name:en,name:zh,target,target:en,target:zh\n\
         one,street,Kỳ Lừa,Đường Hùng Vương,Hung Vuong Street,雄王路,https://example.vn/vi/hv?a=1&b=2,https://example.vn/en/hv,https://example.vn/zh/hv\n\
         two,relic,Tam Thanh,Chùa Tam Thanh,Tam Thanh Pagoda,三清寺,https://example.vn/tt,,\n\
         bad,street,\"{nasty}\",\"{nasty}\",,,https://example.vn/bad?x='&y=1,,\n"
    );
    let signs = "code,place,status,successor\nACT1VE99,one,active,\nP1AN,two,planned,\nFEST,two,active,\n\
                 0LD1,one,retired,0LD2\n0LD2,two,retired,ACT1VE99\n0LD3,two,retired,\nBAD,bad,active,\nBADGONE,bad,retired,BAD\n";
    let overrides = "scope,from,until,target,target:en,target:zh\n\
                     FEST,2020-01-01T00:00,2090-01-01T00:00,https://example.vn/hoi,https://example.vn/festival,https://example.vn/jie\n";
    Setup::new()
        .set("pages", "authority", "\"Tỉnh Lạng Sơn\"")
        .set("pages", "authority_en", "\"Lang Son <Province>\"")
        .set("pages", "authority_zh", "\"谅山省\"")
        .registry(&places, signs)
        .file("config/overrides.csv", overrides)
        .start()
}

/// Every page: its path, status, and what it must show in each language.
fn pages() -> Vec<(&'static str, u16, [Vec<&'static str>; 3])> {
    let box_label = ["Nhập mã in trên biển", "Type the code printed on the sign", "请输入标牌上的编码"];
    let with_box = |title: [&'static str; 3], more: &[&'static str]| {
        std::array::from_fn(|at| [&[title[at], box_label[at]], more].concat())
    };
    let official = ["Biển chính thức", "Official sign", "官方标牌"];
    let of = ["Tỉnh Lạng Sơn", "Lang Son <Province>", "谅山省"];
    let retired = ["Biển này đã ngừng sử dụng", "This sign has been retired", "此标牌已停用"];
    let street = ["Đường Hùng Vương", "Hung Vuong Street", "雄王路"];
    let pagoda = ["Chùa Tam Thanh", "Tam Thanh Pagoda", "三清寺"];
    let leads = ["https://example.vn/vi/hv?a=1&b=2", "https://example.vn/en/hv", "https://example.vn/zh/hv"];
    let festival = ["https://example.vn/hoi", "https://example.vn/festival", "https://example.vn/jie"];
    let in_all = |texts: &[[&'static str; 3]], same: &[&'static str]| {
        std::array::from_fn(|at| texts.iter().map(|text| text[at]).chain(same.iter().copied()).collect())
    };
    vec![
        ("/", 200, with_box(["Biển chỉ dẫn", "Signs", "标牌"], &[])),
        (
            "/N0PE5555",
            404,
            with_box(
                ["Không có biển nào mang mã này", "No sign has this code", "没有使用此编码的标牌"],
                &["N0PE-5555"],
            ),
        ),
        (
            "/go?code=%3F",
            404,
            with_box(["Không có biển nào mang mã này", "No sign has this code", "没有使用此编码的标牌"], &[]),
        ),
        ("/0LD3", 410, in_all(&[retired, pagoda], &["01D3"])),
        // The last of the line, not the one between.
        ("/0LD1", 410, in_all(&[retired, street, ["Mở trang", "Open its page", "打开页面"]], &["01D1"])),
        (
            "/ACT1VE99+",
            200,
            in_all(&[official, of, street, leads], &["Kỳ Lừa", "ACT1-VE99", "Tiếng Việt, English, 中文"]),
        ),
        ("/P1AN+", 200, in_all(&[official, of, pagoda], &["Tam Thanh", "https://example.vn/tt", "Tiếng Việt"])),
        ("/FEST+", 200, in_all(&[official, of, pagoda, festival], &["Tiếng Việt, English, 中文"])),
        (
            "/0LD3+",
            200,
            in_all(&[retired, pagoda, ["là biển chính thức nhưng", "was official and", "曾为官方标牌"]], &["01D3"]),
        ),
    ]
}

fn with_lang(path: &str, lang: &str) -> String {
    format!("{path}{}lang={lang}", if path.contains('?') { '&' } else { '?' })
}

/// The text of a page as a person reads it.
pub(super) fn shown(html: &str) -> String {
    let body = html.split_once("</style>").map_or(html, |(_, body)| body);
    let mut text = String::new();
    for piece in body.split('<') {
        text += piece.split_once('>').map_or("", |(_, text)| text);
        text += " ";
    }
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn title(html: &str) -> &str {
    html.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0
}

/// What holds for every page of ours.
#[track_caller]
fn assert_own_page(reply: &Reply, lang: &str) {
    let html = &reply.body;
    assert!(html.starts_with("<!doctype html>") && html.contains(&format!("<html lang={lang}>")), "{html}");
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!((reply.header("cache-control"), reply.header("vary")), (Some("no-store"), Some("Accept-Language")));
    let policy = reply.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    let lower = html.to_lowercase();
    for loads in [
        "<script",
        "<link",
        "<img",
        "<iframe",
        "<object",
        "src=",
        "url(",
        "@import",
        "javascript:",
        " onclick",
        " onerror",
    ] {
        assert!(!lower.contains(loads), "{loads} in {html}");
    }
    // An address stands in links and in text, and nowhere that loads it.
    assert_eq!(
        lower.matches("http").count(),
        lower.matches("href=\"http").count() + lower.matches(">http").count(),
        "{html}"
    );
    // The other two languages are a link away.
    let others: BTreeSet<&str> = html.split("hreflang=").skip(1).map(|link| &link[..2]).collect();
    assert_eq!(others, LANGUAGES.into_iter().filter(|other| *other != lang).collect());
}

#[test]
fn every_page_is_in_the_language_asked_for_and_says_what_it_should() {
    let edge = edge();
    for (path, status, says) in pages() {
        for (lang, says) in LANGUAGES.into_iter().zip(says) {
            let header = match lang {
                "vi" => "vi-VN,vi;q=0.9,en;q=0.8",
                "en" => "en-GB,en;q=0.9,vi;q=0.1",
                _ => "zh-CN,zh;q=0.9,en;q=0.8",
            };
            let by_header = request(edge.address(), "GET", path, &[("Accept-Language", header)]).unwrap();
            let by_query =
                request(edge.address(), "GET", &with_lang(path, lang), &[("Accept-Language", "fr")]).unwrap();
            for reply in [by_header, by_query] {
                assert_eq!(reply.status, status, "{path} {lang}");
                assert_own_page(&reply, lang);
                let text = shown(&reply.body);
                for part in &says {
                    assert!(text.contains(part), "{path} in {lang} does not say {part}: {text}");
                }
                assert!(text.starts_with(title(&reply.body)), "{path} in {lang}: {text}");
            }
        }
    }
}

#[test]
fn who_asks_for_no_language_of_ours_gets_the_registrys_default() {
    let edge = edge();
    for header in ["fr,de;q=0.9", "*", "", ";;;"] {
        let reply = request(edge.address(), "GET", "/N0PE", &[("Accept-Language", header)]).unwrap();
        assert_own_page(&reply, "vi");
    }
    assert_own_page(&edge.scan("/ACT1VE99+?lang=xx"), "vi");
}

#[test]
fn a_retired_sign_leads_to_the_last_of_its_line_or_nowhere() {
    let edge = edge();
    let of = |path: &str| {
        let html = edge.scan(path).body;
        html.split_once("class=go href=\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
    };
    assert_eq!(of("/0LD1?lang=en").as_deref(), Some("https://example.vn/en/hv"));
    assert_eq!(of("/0LD2?lang=zh").as_deref(), Some("https://example.vn/zh/hv"));
    assert_eq!(of("/0LD2?lang=vi").as_deref(), Some("https://example.vn/vi/hv?a=1&amp;b=2"));
    assert_eq!(of("/0LD3"), None);
}

#[test]
fn the_page_of_a_code_shows_where_a_scan_leads_and_is_no_scan() {
    let edge = edge();
    for code in ["ACT1VE99", "P1AN", "FEST"] {
        for lang in LANGUAGES {
            let target = edge.scan(&format!("/{code}?lang={lang}")).location().unwrap().to_owned();
            for spelling in [code.to_owned(), code.to_lowercase(), format!("{}-{}", &code[..2], &code[2..])] {
                let page = edge.scan(&format!("/{spelling}+?lang={lang}"));
                assert!(shown(&page.body).contains(&target), "{spelling} in {lang}: {}", shown(&page.body));
            }
        }
    }
    assert!(!edge.scan("/0LD3+").body.contains("https://"), "a scan of it leads nowhere");
    assert_eq!(edge.scan("/N0PE+").status, 404);
    edge.wait_until_stored();
    assert_eq!(edge.counts().values().sum::<u64>(), 9, "the redirects alone");
    assert_eq!(edge.metrics().get("waypost_requests_total{outcome=\"inspected\"}"), 29.0);
}

#[test]
fn names_are_text_and_never_markup() {
    let edge = edge();
    for path in ["/BAD+", "/BADGONE", "/BADGONE+"] {
        let reply = edge.scan(path);
        assert_own_page(&reply, "vi");
        assert!(!reply.body.contains("<b>") && !reply.body.contains("alert(1)</script"), "{}", reply.body);
        assert!(shown(&reply.body).contains(NASTY), "{}", shown(&reply.body));
    }
    assert!(edge.scan("/BAD+").body.contains("href=\"https://example.vn/bad?x=%27&amp;y=1\""));
    // Of a request nothing but a canonical code comes back; a bare `<` is not even HTTP.
    let rude = [
        ("/go?code=%3Ci%3Ex", 404),
        ("/%3Ci%3E", 404),
        ("/N0PE?lang=%3Ci%3E", 404),
        ("/go?code=<i>", 400),
        ("/N0PE?lang=<i>", 400),
    ];
    for (path, status) in rude {
        let reply = edge.scan(path);
        assert_eq!(reply.status, status, "{path}");
        assert!(!reply.body.contains("<i>"), "{path}");
    }
}

#[test]
fn the_box_takes_a_code_as_people_type_it() {
    let edge = edge();
    let home = edge.scan("/").body;
    assert!(
        home.contains("<form action=\"/go\">")
            && home.contains("<label for=code>")
            && home.contains("id=code name=code")
    );
    for spelling in ["ACT1VE99", "act1-ve99", "+ACT1+VE99+", "ACT1%20VE99", "actl-ve99", "ACTIVE99", "a-c-t-1-v-e-9-9"]
    {
        let reply = edge.scan(&format!("/go?code={spelling}"));
        assert_eq!((reply.status, reply.location()), (303, Some("/ACT1VE99?c=typed")), "{spelling}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    // An O on the keyboard is the 0 on the plate, and a code that no sign has is looked up all the same.
    assert_eq!(edge.scan("/go?code=oldl").location(), Some("/01D1?c=typed"));
    assert_eq!(edge.scan("/go?code=nope").location(), Some("/N0PE?c=typed"));
    // A plus that was typed arrives as %2B, and is no space.
    for empty in [
        "/go?code=ACT1%2BVE99",
        "/go?code=ACT1VE99%2B",
        "/go",
        "/go?code=",
        "/go?code=+-+",
        "/go?code=ph%E1%BB%91",
        "/go?code=123456789012345678901",
    ] {
        assert_eq!(edge.scan(empty).status, 404, "{empty}");
    }
    assert_eq!(edge.scan("/ACT1VE99?c=typed").status, 302);
    edge.wait_until_stored();
    let channels = "SELECT group_concat(code || ' ' || channel || ' ' || outcome) FROM scans";
    let channels: String = edge.database().query_row(channels, [], |row| row.get(0)).unwrap();
    assert_eq!(channels, "ACT1VE99 typed found", "/go itself is no scan");
}

#[test]
fn a_home_of_ones_own_takes_the_place_of_ours() {
    let edge = Setup::new().set("edge", "home_url", "\"https://langson.example.vn/bien\"").start();
    let reply = edge.scan("/");
    assert_eq!((reply.status, reply.location()), (302, Some("https://langson.example.vn/bien")));
    assert_eq!(edge.scan("/N0PE").status, 404);
}

#[test]
fn the_small_fixed_answers_are_there() {
    let edge = edge();
    let robots = edge.scan("/robots.txt");
    assert_eq!((robots.status, robots.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    // Everybody but those that fetch what a link looks like where it is shared.
    let (previewers, others) = robots.body.split_once("\n\n").unwrap();
    assert_eq!(others, "User-agent: *\nDisallow: /\n");
    assert!(previewers.starts_with("User-agent: Discordbot\n") && previewers.ends_with("\nAllow: /"), "{previewers}");
    for name in ["facebookexternalhit", "TelegramBot", "Twitterbot", "WhatsApp"] {
        assert!(previewers.contains(&format!("User-agent: {name}\n")), "{previewers}");
    }
    let icon = edge.scan("/favicon.ico");
    assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/svg+xml")));
    assert!(icon.body.starts_with("<svg ") && !icon.body.contains("<script"));
    for path in ["/", "/N0PE", "/ACT1VE99+", "/robots.txt"] {
        let get = edge.scan(path);
        let head = request(edge.address(), "HEAD", path, &[("User-Agent", PHONE)]).unwrap();
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn chromium_shows_every_page() {
    let edge = edge();
    let show = |at: usize| {
        let (lang, profile) = (LANGUAGES[at], tempfile::tempdir().unwrap());
        for (path, _, says) in pages() {
            let url = format!("http://{}{}", edge.address(), with_lang(path, lang));
            let dom = dumped_by_chromium(profile.path(), &url);
            assert!(dom.contains(&format!("<html lang=\"{lang}\">")), "{url}: {dom}");
            let text = shown(&dom);
            assert!(text.starts_with(title(&dom)), "the title is the heading: {text}");
            for part in &says[at] {
                assert!(text.contains(part), "{url} does not show {part}: {text}");
            }
            // Had the markup a slip, the parser would have put things elsewhere.
            let (head, body) = dom.split_once("</head>").unwrap();
            assert!(head.contains("<title>") && head.contains("<style>") && head.contains("viewport"), "{head}");
            assert!(
                body.starts_with("<body><main><h1>") && body.trim_end().ends_with("</nav></main></body></html>"),
                "{body}"
            );
        }
    };
    // A browser of its own for each language, beside each other: a start takes half a second.
    std::thread::scope(|scope| {
        for at in 0..LANGUAGES.len() {
            let show = &show;
            scope.spawn(move || show(at));
        }
    });
}

/// The document as Chromium has it once it is loaded.
pub(super) fn dumped_by_chromium(profile: &std::path::Path, url: &str) -> String {
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    chromium.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=390,844",
    ]);
    chromium.arg(format!("--user-data-dir={}", profile.display())).args(["--dump-dom", url]);
    let output = chromium.output().expect("no chromium (Debian package chromium): start the tests with tests/run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
