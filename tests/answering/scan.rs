//! Every kind of request is answered, and recorded, as the table of the public port says: on a plain port
//! over IPv4 and IPv6, by TLS, and behind proxies that send a PROXY header before either.
//!
//! The rows are sent by a real HTTP client; those that no client would send (an absolute-form request
//! line, no `Host`) are sent as bytes. What
//! was recorded is read back from the store, in the order of the rows.

use std::net::SocketAddr;

use crate::support::refuse::Refused;
use crate::support::way::Way;
use crate::support::{Edge, PHONE, Setup, http, wait_for};
use jiff::Timestamp;
use ureq::http::{Method, Request};

/// What a row expects to find in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    code: String,
    outcome: String,
    channel: String,
    lang: String,
    served: String,
}

struct Row {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    bytes: Option<Vec<u8>>,
    status: u16,
    location: Option<&'static str>,
    tells: &'static str,
    record: Option<Record>,
}

fn get(path: impl Into<String>) -> Row {
    let path = path.into();
    Row { method: "GET", path, headers: Vec::new(), bytes: None, status: 404, location: None, tells: "", record: None }
}

impl Row {
    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn accept(mut self, languages: &'static str) -> Self {
        self.headers.push(("Accept-Language", languages));
        self
    }

    fn bytes(mut self, bytes: &str) -> Self {
        self.bytes = Some(bytes.as_bytes().to_vec());
        self
    }

    fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn leads_to(mut self, location: &'static str) -> Self {
        (self.status, self.location) = (302, Some(location));
        self
    }

    /// The page of a place, with this text.
    fn tells(mut self, text: &'static str) -> Self {
        (self.status, self.tells) = (200, text);
        self
    }

    fn recorded(mut self, facts: &str) -> Self {
        let facts: Vec<String> = facts.split(' ').map(|word| word.replace('_', "")).collect();
        let [code, outcome, channel, lang, served] = facts.try_into().expect("five facts");
        self.record = Some(Record { code, outcome, channel, lang, served });
        self
    }
}

const VI: &str = "https://example.vn/vi/many";
const EN: &str = "https://example.vn/en/many";
const ZH: &str = "https://example.vn/zh/many";
const HANT: &str = "https://example.vn/hant/hant";
const HANS: &str = "https://example.vn/zh/hant";

const PLACES: &str = "\
place,area,name,name:en,target,target:en,target:zh,target:zh-Hant,about,about:en,about:zh,about:zh-Hant,about:ko
many,Kỳ Lừa,Nhiều,Many,https://example.vn/vi/many,https://example.vn/en/many,https://example.vn/zh/many,,,,,,
hant,Kỳ Lừa,Phồn,Hant,https://example.vn/vi/hant,,https://example.vn/zh/hant,https://example.vn/hant/hant,,,,,
only,Kỳ Lừa,Một,One,https://example.vn/vi/only,,,,,,,,
past,Kỳ Lừa,Trước,Before,https://example.vn/past,,,,,,,,
now,Kỳ Lừa,Nay,Now,https://example.vn/now,,,,,,,,
next,Kỳ Lừa,Sau,After,https://example.vn/next,,,,,,,,
told,Kỳ Lừa,Kể,Told,,,,,Danh tướng.,A general.,名将。,名將。,장군.
mono,Kỳ Lừa,Đơn,Mono,,,,,Một thứ tiếng.,,,,
both,Kỳ Lừa,Đôi,Both,https://example.vn/both,,,,Danh tướng.,A general.,,,
hans,Kỳ Lừa,Giản,Hans,,,,,Danh tướng.,,名将。,,
bare,Kỳ Lừa,Trống,Bare,,,,,,,,,
told.past,Kỳ Lừa,Kể trước,Told,,,,,Danh tướng.,A general.,,,
told.now,Kỳ Lừa,Kể nay,Told,,,,,Danh tướng.,A general.,,,
told.next,Kỳ Lừa,Kể sau,Told,,,,,Danh tướng.,A general.,,,
";

const SIGNS: &str = "\
code,place,status,target,target:en,successor,aliases
7K3M-9QX5,many,active,,,,/vi/duong/hung-vuong?id=12 /cu/%C4%91uong /cu/sign/
HANT1,hant,active,,,,
ON1,only,active,,,,
PLAN1,only,planned,,,,
0WN1,only,active,https://example.vn/own,https://example.vn/en/own,,
GONE1,many,retired,,,ON1,/old/gone
PAST1,past,active,,,,
NOW1,now,active,,,,
NOW2,now,active,,,,
NEXT1,next,active,,,,
T01D1,told,active,,,,/cu/told?id=7 /index?c=page&id=7
T01D2,told,planned,,,,
T01D3,told,active,https://example.vn/own,,,
T01D4,told,retired,,,,
M0N01,mono,active,,,,
B0TH1,both,active,,,,
HANS1,hans,active,,,,
BARE1,bare,retired,,,,
BARE2,bare,active,https://example.vn/own,,,
T01DPAST,told.past,active,,,,
T01DN0W,told.now,active,,,,
T01DNEXT,told.next,active,,,,
";

fn rows() -> Vec<Row> {
    let mut rows = rows_of_targets();
    rows.extend(rows_of_texts());
    rows
}

/// Where a place has a text.
fn rows_of_texts() -> Vec<Row> {
    vec![
        // A place with a text and no target is answered by a page of ours, in the best language of the text.
        get("/T01D1").tells("Danh tướng.").recorded("T01D1 found qr _ vi"),
        get("/told-1/").tells("Danh tướng.").recorded("T01D1 found qr _ vi"),
        get("/cu/told?id=7").tells("Danh tướng.").recorded("T01D1 found qr _ vi"),
        get("/T01D1?c=nfc").tells("Danh tướng.").recorded("T01D1 found nfc _ vi"),
        get("/T01D1?c=typed").tells("Danh tướng.").recorded("T01D1 found typed _ vi"),
        get("/T01D1").accept("vi-VN,vi;q=0.9").tells("Danh tướng.").recorded("T01D1 found qr vi vi"),
        get("/T01D1").accept("en-US,en;q=0.9").tells("A general.").recorded("T01D1 found qr en en"),
        get("/T01D1").accept("zh-CN,zh;q=0.9").tells("名将。").recorded("T01D1 found qr zh zh"),
        get("/T01D1").accept("zh-TW,zh;q=0.9").tells("名將。").recorded("T01D1 found qr zh zh-Hant"),
        get("/T01D1").accept("ko-KR").tells("장군.").recorded("T01D1 found qr ko ko"),
        get("/T01D1").accept("fr, de;q=0.5").tells("Danh tướng.").recorded("T01D1 found qr fr vi"),
        get("/T01D1").accept("*").tells("Danh tướng.").recorded("T01D1 found qr _ vi"),
        get("/HANS1").accept("zh-TW").tells("名将。").recorded("HANS1 found qr zh zh"),
        get("/T01D1?lang=ko").accept("en").tells("장군.").recorded("T01D1 found qr ko ko"),
        get("/T01D1?lang=xx").accept("en").tells("A general.").recorded("T01D1 found qr other en"),
        get("/T01D2").tells("Danh tướng.").recorded("T01D2 found qr _ vi"),
        get("/M0N01").accept("en").tells("Một thứ tiếng.").recorded("M0N01 found qr en vi"),
        // Another language of it, chosen on the page, is no scan; nor is anything else that says so.
        get("/T01D1?lang=en&c=page").accept("vi").tells("A general."),
        get("/T01D1/?c=page").tells("Danh tướng."),
        get("/7K3M9QX5?c=page").leads_to(VI),
        // An old address that is printed somewhere says it of its own: that is a scan.
        get("/index?c=page&id=7").tells("Danh tướng.").recorded("T01D1 found qr _ vi"),
        get("/T01D1").method("HEAD").answers(200),
        get("/T01D1").method("POST").answers(405),
        get("/T01D1+").tells("Danh tướng."),
        get("/T01D1+").accept("en").tells("A general."),
        // A target comes first: the sign's own, the place's, an override's in its time.
        get("/T01D3").accept("en").leads_to("https://example.vn/own").recorded("T01D3 found qr en vi"),
        get("/BARE2").leads_to("https://example.vn/own").recorded("BARE2 found qr _ vi"),
        get("/B0TH1").accept("en").leads_to("https://example.vn/both").recorded("B0TH1 found qr en vi"),
        get("/T01DPAST").tells("Danh tướng.").recorded("T01DPAST found qr _ vi"),
        get("/T01DN0W").accept("en").leads_to("https://example.vn/festival").recorded("T01DN0W found qr en vi"),
        get("/T01DNEXT").accept("en").tells("A general.").recorded("T01DNEXT found qr en en"),
        // A retired sign is gone, whatever its place has.
        get("/T01D4").answers(410).recorded("T01D4 retired qr _ _"),
        get("/BARE1").answers(410).recorded("BARE1 retired qr _ _"),
        get("/BARE1+").answers(200),
    ]
}

fn rows_of_targets() -> Vec<Row> {
    let many = |spelling: &str| get(spelling).leads_to(VI).recorded("7K3M9QX5 found qr _ vi");
    let wanted = |languages, location, facts| get("/7K3M9QX5").accept(languages).leads_to(location).recorded(facts);
    vec![
        // Spellings of one code.
        many("/7K3M9QX5"),
        many("/7k3m9qx5"),
        many("/7k3m-9qx5"),
        many("/7K3M-9QX5"),
        many("/7K3M%2D9QX5"),
        many("/7k3m%209qx5"),
        many("/%37k3m9qx5"),
        get("/oN1").leads_to("https://example.vn/vi/only").recorded("0N1 found qr _ vi"),
        get("/0nL").leads_to("https://example.vn/vi/only").recorded("0N1 found qr _ vi"),
        get("/OWN1").leads_to("https://example.vn/own").recorded("0WN1 found qr _ vi"),
        get("/plan1").leads_to("https://example.vn/vi/only").recorded("P1AN1 found qr _ vi"),
        // A slash at the end changes nothing for what is ours.
        many("/7K3M9QX5/"),
        many("/7k3m-9qx5/"),
        many("/7k3m%2D9qx5/"),
        get("/7K3M9QX5/?c=nfc").leads_to(VI).recorded("7K3M9QX5 found nfc _ vi"),
        get("/7K3M9QX5/?lang=zh").leads_to(ZH).recorded("7K3M9QX5 found qr zh zh"),
        get("/GONE1/").answers(410).recorded("G0NE1 retired qr _ _"),
        get("/7K3M9QX2/").answers(404).recorded("7K3M9QX2 unknown qr _ _"),
        get("/7K3M9QX5+/").answers(200),
        get("/go/?code=7k3m-9qx5").answers(303),
        get("/robots.txt/").answers(200),
        get("/7K3M9QX5//"),
        get("/7K3M9QX5%2F"),
        get("//7K3M9QX5"),
        get("//"),
        // Aliases, matched exactly.
        many("/vi/duong/hung-vuong?id=12"),
        many("/cu/%C4%91uong"),
        get("/vi/duong/hung-vuong?id=13"),
        get("/vi/duong/hung-vuong"),
        get("/vi/duong/hung-vuong/?id=12"),
        many("/cu/sign/"),
        get("/cu/sign"),
        get("/VI/duong/hung-vuong?id=12"),
        // Languages.
        wanted("vi-VN,vi;q=0.9", VI, "7K3M9QX5 found qr vi vi"),
        wanted("en-US,en;q=0.9", EN, "7K3M9QX5 found qr en en"),
        wanted("zh-CN,zh;q=0.9,en;q=0.8", ZH, "7K3M9QX5 found qr zh zh"),
        wanted("zh-Hans-CN", ZH, "7K3M9QX5 found qr zh zh"),
        wanted("zh-TW", ZH, "7K3M9QX5 found qr zh zh"),
        wanted("fr;q=1, en;q=0.2, vi;q=0.3", VI, "7K3M9QX5 found qr fr vi"),
        wanted("en;q=0.5, zh;q=0.7", ZH, "7K3M9QX5 found qr zh zh"),
        wanted("en;q=0, fr", VI, "7K3M9QX5 found qr fr vi"),
        wanted("*", VI, "7K3M9QX5 found qr _ vi"),
        wanted("tlh", VI, "7K3M9QX5 found qr other vi"),
        get("/HANT1").accept("zh-TW,zh;q=0.9").leads_to(HANT).recorded("HANT1 found qr zh zh-Hant"),
        get("/HANT1").accept("zh-CN").leads_to(HANS).recorded("HANT1 found qr zh zh"),
        get("/7K3M9QX5?lang=zh").accept("en").leads_to(ZH).recorded("7K3M9QX5 found qr zh zh"),
        get("/7K3M9QX5?lang=xx").accept("en").leads_to(EN).recorded("7K3M9QX5 found qr other en"),
        get("/OWN1").accept("en").leads_to("https://example.vn/en/own").recorded("0WN1 found qr en en"),
        // Channels; no other query is read and none is forwarded.
        get("/7K3M9QX5?c=nfc").leads_to(VI).recorded("7K3M9QX5 found nfc _ vi"),
        get("/7K3M9QX5?c=typed").leads_to(VI).recorded("7K3M9QX5 found typed _ vi"),
        get("/7K3M9QX5?c=fax&utm_source=x").leads_to(VI).recorded("7K3M9QX5 found qr _ vi"),
        // Overrides, before, in and after their time.
        get("/PAST1").leads_to("https://example.vn/past").recorded("PAST1 found qr _ vi"),
        get("/NOW1").leads_to("https://example.vn/festival").recorded("N0W1 found qr _ vi"),
        get("/NOW2").leads_to("https://example.vn/sign-festival").recorded("N0W2 found qr _ vi"),
        get("/NEXT1").leads_to("https://example.vn/next").recorded("NEXT1 found qr _ vi"),
        // What is not a redirect.
        get("/GONE1").accept("en").answers(410).recorded("G0NE1 retired qr en _"),
        get("/old/gone").answers(410).recorded("G0NE1 retired qr _ _"),
        get("/7K3M9QX2").answers(404).recorded("7K3M9QX2 unknown qr _ _"),
        get("/admin").answers(404).recorded("ADM1N unknown qr _ _"),
        get("/7K3M9QX5+").answers(200),
        get("/NOSUCH+").answers(404),
        get("/wp-login.php"),
        get("/.env"),
        get("/a/b"),
        get("/%ff%fe"),
        get("/").answers(200),
        get("/robots.txt").answers(200),
        get("/favicon.ico").answers(200),
        get("/go?code=7k3m-9qx5").answers(303),
        get("/go?code=%3Cb%3E").answers(404),
        get("/ABCDEFGHIJKLMNOPQRSTU"),
        get(format!("/{}", "a".repeat(9000))),
        get("/7K3M9QX5").method("HEAD").leads_to(VI),
        get("/GONE1").method("HEAD").answers(410),
        get("/7K3M9QX2").method("HEAD").answers(404),
        get("/7K3M9QX5").method("POST").answers(405),
        get("/7K3M9QX5").method("DELETE").answers(405),
        get("/").method("OPTIONS").answers(405),
        // What no client sends.
        get("")
            .bytes("GET http://qr.example.vn/7k3m9qx5?c=nfc HTTP/1.1\r\nHost: x\r\n\r\n")
            .leads_to(VI)
            .recorded("7K3M9QX5 found nfc _ vi"),
        get("").bytes("GET /7K3M9QX5 HTTP/1.1\r\n\r\n").leads_to(VI).recorded("7K3M9QX5 found qr _ vi"),
        get("").bytes("GET /7K3M9QX5 HTTP/1.0\r\n\r\n").leads_to(VI).recorded("7K3M9QX5 found qr _ vi"),
        get("").bytes("GET * HTTP/1.1\r\nHost: x\r\n\r\n").answers(404),
        get("").bytes("CONNECT qr.example.vn:443 HTTP/1.1\r\nHost: x\r\n\r\n").answers(405),
        get("")
            .bytes("GET /7K3M9QX5 HTTP/1.1\r\nHost: x\r\nAccept-Language: \u{ff}\r\n\r\n")
            .leads_to(VI)
            .recorded("7K3M9QX5 found qr _ vi"),
    ]
}

/// Overrides around the present: over, in force (the sign's beats its place's), to come.
fn overrides() -> String {
    let at = |hours: i64| Timestamp::from_second(Timestamp::now().as_second() + hours * 3600).unwrap();
    format!(
        "scope,from,until,target\n\
         past,{},{},https://example.vn/festival\n\
         now,{},{},https://example.vn/older-festival\n\
         now,{},{},https://example.vn/festival\n\
         NOW2,{},{},https://example.vn/sign-festival\n\
         next,{},{},https://example.vn/festival\n\
         told.past,{},{},https://example.vn/festival\n\
         told.now,{},{},https://example.vn/festival\n\
         told.next,{},{},https://example.vn/festival\n",
        at(-48),
        at(-24),
        at(-72),
        at(24),
        at(-1),
        at(1),
        at(-2),
        at(2),
        at(24),
        at(48),
        at(-48),
        at(-24),
        at(-1),
        at(1),
        at(24),
        at(48)
    )
}

fn setup() -> Setup {
    Setup::new()
        .set("edge", "listen", "[\"127.0.0.1:0\", \"[::1]:0\"]")
        .registry(PLACES, SIGNS)
        .file("config/overrides.csv", overrides())
}

fn edge() -> Edge {
    setup().start()
}

/// Sends a row and gives status, `Location` and body.
fn play(row: &Row, way: Way, address: SocketAddr) -> (u16, Option<String>, String) {
    if let Some(bytes) = &row.bytes {
        let answer = http::raw_over(way.open(address).unwrap(), bytes);
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).map(str::to_owned);
        return (status, location, answer);
    }
    let mut request = Request::builder().method(Method::from_bytes(row.method.as_bytes()).unwrap());
    request = request.uri(format!("http://{address}{}", row.path)).header("User-Agent", PHONE);
    for (name, value) in &row.headers {
        request = request.header(*name, *value);
    }
    let mut reply = way.agent(address).run(request.body(()).unwrap()).unwrap();
    let location = reply.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    (reply.status().as_u16(), location, reply.body_mut().read_to_string().unwrap())
}

fn recorded(edge: &Edge) -> Vec<Record> {
    let database = edge.database();
    let mut rows =
        database.prepare("SELECT code, outcome, channel, lang, served FROM scans ORDER BY batch, seq").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Record {
            code: row.get(0)?,
            outcome: row.get(1)?,
            channel: row.get(2)?,
            lang: row.get(3)?,
            served: row.get(4)?,
        })
    };
    rows.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Sends all rows to each of the addresses, and compares what was recorded.
fn every_row_is_answered_and_recorded(way: Way, mut edge: Edge, addresses: &[SocketAddr]) {
    let mut expected = Vec::new();
    for &address in addresses {
        for row in rows() {
            let what = format!("{} {} {:?} to {address}, {way:?}", row.method, row.path, row.headers);
            let (status, location, body) = play(&row, way, address);
            assert_eq!(status, row.status, "{what}");
            assert!(body.contains(row.tells), "{what}: {body}");
            if row.status == 302 || location.is_some() && row.status != 303 {
                assert_eq!(location.as_deref(), row.location, "{what}");
            }
            expected.extend(row.record);
        }
    }
    edge.stop();
    let recorded = recorded(&edge);
    for (at, (found, wanted)) in recorded.iter().zip(&expected).enumerate() {
        assert_eq!(found, wanted, "record {at}");
    }
    assert_eq!(recorded.len(), expected.len());
}

#[test]
fn every_row_is_answered_and_recorded_over_ipv4_and_ipv6() {
    let edge = edge();
    let addresses = edge.addresses.clone();
    every_row_is_answered_and_recorded(Way::Plain, edge, &addresses);
}

#[test]
fn every_row_is_answered_and_recorded_the_same_by_tls_and_behind_proxies() {
    for way in Way::ALL {
        let edge = setup().open_to(way).start();
        let address = edge.door(way);
        every_row_is_answered_and_recorded(way, edge, &[address]);
    }
}

#[test]
fn the_headers_are_those_of_the_table() {
    let edge = edge();
    let reply = edge.scan("/7K3M9QX5");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-length"), Some("0"));
    assert_eq!(reply.header("vary"), Some("Accept-Language"), "the place has targets in several languages");
    assert_eq!(edge.scan("/ON1").header("vary"), None, "the place has one");
    let typed = edge.scan("/go?code=7k3m-9qx5");
    assert_eq!((typed.status, typed.location()), (303, Some("/7K3M9QX5?c=typed")));
    for path in ["/go/?code=7k3m-9qx5", "/go?code=7k3m+9qx5", "/go?x=1&code=%37k3m9qx5"] {
        assert_eq!(edge.scan(path).location(), Some("/7K3M9QX5?c=typed"), "{path}");
    }
    let refused = http::request(edge.address(), "POST", "/7K3M9QX5", &[]).unwrap();
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
}

#[test]
fn a_head_request_gets_the_headers_of_a_get() {
    let edge = edge();
    for path in ["/7K3M9QX5", "/GONE1", "/NOSUCH", "/", "/7K3M9QX5+", "/T01D1", "/T01D1+"] {
        let get = edge.scan(path);
        let head = http::request(edge.address(), "HEAD", path, &[("User-Agent", PHONE)]).unwrap();
        let without_date = |reply: &http::Reply| {
            let headers = reply.headers.iter().filter(|(name, _)| name != "date");
            headers.cloned().collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((head.status, without_date(&head)), (get.status, without_date(&get)), "{path}");
    }
}

#[test]
fn what_is_chosen_on_the_page_of_a_place_is_counted_as_a_page_and_no_scan() {
    let edge = edge();
    let counts = || {
        let metrics = edge.metrics();
        ["found", "page"].map(|outcome| metrics.get(&format!("waypost_requests_total{{outcome=\"{outcome}\"}}")))
    };
    edge.scan("/T01D1");
    assert_eq!(counts(), [1.0, 0.0]);
    edge.scan("/T01D1?lang=en&c=page");
    edge.scan("/T01D1?c=page&lang=en");
    assert_eq!(counts(), [1.0, 2.0]);
    edge.wait_until_stored();
    assert_eq!(edge.counts().values().sum::<u64>(), 1);
}

#[test]
fn an_override_takes_effect_by_the_clock_without_a_reload() {
    let soon = Timestamp::from_millisecond(Timestamp::now().as_millisecond() + 3000).unwrap();
    let end = Timestamp::from_millisecond(soon.as_millisecond() + 1500).unwrap();
    let edge = Setup::new()
        .file(
            "config/overrides.csv",
            format!("scope,from,until,target\none,{soon},{end},https://example.vn/festival\n"),
        )
        .start();
    let leads_to = |location: &str| {
        wait_for(location, || (edge.scan("/A1B2C3").location() == Some(location)).then(Timestamp::now))
    };
    leads_to("https://example.vn/vi/one");
    assert!(leads_to("https://example.vn/festival") >= soon);
    assert!(leads_to("https://example.vn/vi/one") >= end);
    assert_eq!(edge.metrics().get("waypost_registry_reloads_total{result=\"success\"}"), 1.0);
}

#[test]
fn a_host_without_ipv6_is_served_over_ipv4_and_says_so() {
    let (refused, setup) = Refused::in_edge(Setup::new().set("edge", "listen", "[\"[::]:0\"]"));
    refused.refuse("socket6", "");
    let mut edge = setup.start();
    assert!(edge.log().contains("no IPv6 here; listening on IPv4 alone"));
    assert!(edge.address().is_ipv4(), "{}", edge.address());
    assert_eq!(edge.scan("/A1B2C3").status, 302);
    edge.stop();
}
