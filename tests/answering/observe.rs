//! What is recorded about a scan is right: which device, system and application it came from,
//! whether a person asked, a program or a browser ahead of a person, whether it is a repeat, and
//! which language was asked for. The user agents are those that come to the plates.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::support::{Edge, PHONE, Setup, http, wait_for};

const ANDROID_VIEW: &str = "Mozilla/5.0 (Linux; Android 13; SM-A536E Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/109.0.5414.117 Mobile Safari/537.36";
const IPHONE_VIEW: &str =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";

/// Scans `A1B2C3` once with each list of headers, and gives back some columns of each, in that order.
fn recorded(edge: &Edge, columns: &str, scans: &[&[(&str, &str)]]) -> Vec<String> {
    for headers in scans {
        let reply = http::request(edge.address(), "GET", "/A1B2C3", headers).unwrap();
        assert_eq!(reply.status, 302, "{headers:?}");
    }
    edge.wait_until_stored();
    // One worker writes in the order of its answers.
    let sql = format!("SELECT {} FROM scans ORDER BY batch, seq", columns.replace(' ', " || ' ' || "));
    let database = edge.database();
    let mut statement = database.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_applications_that_scan_and_the_programs_that_follow_are_told_apart() {
    let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
    let on_android = |app: &str| format!("{ANDROID_VIEW} {app}");
    let on_iphone = |app: &str| format!("{IPHONE_VIEW} {app}");
    let table = [
        // A bare `Zalo` in an in-app browser is a person: most scans of the province come so.
        (on_android("Zalo android/12100676 ZaloTheme/light ZaloLanguage/vi"), "phone android zalo person"),
        (on_iphone("Zalo iOS/640 ZaloTheme/light ZaloLanguage/vi"), "phone ios zalo person"),
        (on_android("Zalo"), "phone android zalo person"),
        (
            on_android(
                "XWEB/1160065 MMWEBSDK/20231202 MicroMessenger/8.0.48.2580(0x28003036) WeChat/arm64 Weixin NetType/WIFI Language/zh_CN",
            ),
            "phone android wechat person",
        ),
        (on_iphone("MicroMessenger/8.0.49(0x18003137) NetType/4G Language/zh_CN"), "phone ios wechat person"),
        (
            on_android(
                "NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:WIFI,ws:360|0|3.0) AliApp(AP/10.5.88) AlipayClient/10.5.88 Language/zh-Hans",
            ),
            "phone android alipay person",
        ),
        (on_android("[FB_IAB/FB4A;FBAV/443.0.0.23.229;]"), "phone android facebook person"),
        (
            on_iphone("[FBAN/FBIOS;FBAV/443.0.0.44.82;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBLC/vi_VN]"),
            "phone ios facebook person",
        ),
        (on_android("[FB_IAB/Orca-Android;FBAV/440.0.0.37.111;]"), "phone android facebook person"),
        (
            on_iphone("[FBAN/MessengerForiOS;FBAV/440.0.0.29.108;FBDV/iPhone12,1;FBLC/vi_VN]"),
            "phone ios facebook person",
        ),
        (safari.to_owned(), "phone ios safari person"),
        (PHONE.to_owned(), "phone android chrome person"),
        (chrome.to_owned(), "desktop windows chrome person"),
        (
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)".to_owned(),
            "other other other bot",
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)".to_owned(),
            "other other other bot",
        ),
        (format!("{PHONE} (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), "phone android chrome bot"),
        ("Mozilla/5.0 (compatible; ZaloBot/1.0; +https://zalo.me)".to_owned(), "other other zalo bot"),
        ("curl/8.5.0".to_owned(), "other other other bot"),
    ];
    let headers: Vec<_> = table.iter().map(|(agent, _)| [("User-Agent", agent.as_str())]).collect();
    let mut scans: Vec<&[(&str, &str)]> = headers.iter().map(|headers| &headers[..]).collect();
    // Without a user agent, and with an empty one.
    scans.extend([&[][..], &[("User-Agent", "")]]);
    let edge = Setup::new().start();
    let found = recorded(&edge, "device os app agent", &scans);
    assert_eq!(found.len(), scans.len());
    for ((agent, expected), found) in table.iter().zip(&found) {
        assert_eq!(found, expected, "{agent}");
    }
    assert_eq!(found[table.len()..], ["other other other bot"; 2]);
    assert_eq!(edge.usage(&[])["total"]["scans"], 13, "only people are in the headline");
}

#[test]
fn a_browser_that_fetches_ahead_is_no_person_yet() {
    let phone = ("User-Agent", PHONE);
    let scans: &[&[(&str, &str)]] = &[
        &[phone, ("Sec-Purpose", "prefetch")],
        &[phone, ("Sec-Purpose", "prefetch;prerender")],
        &[phone, ("Sec-Purpose", "prefetch;anonymous-client-ip")],
        &[phone, ("Purpose", "prefetch")],
        &[phone, ("X-Purpose", "preview")],
        &[phone, ("X-Moz", "prefetch")],
        &[phone, ("sec-purpose", " prefetch ")],
        &[("User-Agent", "curl/8.5.0"), ("Sec-Purpose", "prefetch")],
        &[phone, ("Sec-Purpose", "")],
        &[phone, ("Purpose", "reading")],
        &[phone],
    ];
    let edge = Setup::new().start();
    let found = recorded(&edge, "agent", scans);
    assert_eq!(found[..7], ["prefetch"; 7]);
    assert_eq!(found[7..], ["bot", "person", "person", "person"]);
    let total = edge.usage(&[])["total"].clone();
    assert_eq!((&total["scans"], &total["bots"]), (&3.into(), &8.into()));
}

#[test]
fn the_language_asked_for_is_a_word_of_a_list() {
    let of = |header: &'static str| [("User-Agent", PHONE), ("Accept-Language", header)];
    let table = [
        ("vi-VN,vi;q=0.9,en-US;q=0.8", "vi"),
        ("zh-CN,zh;q=0.9", "zh"),
        ("zh-Hans-CN;q=1.0", "zh"),
        ("en;q=0.3,zh-TW;q=0.7", "zh"),
        ("tyz", "tyz"),
        ("qqq-Someones-Name", "other"),
        ("xx", "other"),
        ("*", ""),
        ("", ""),
        ("\u{1f600}", ""),
    ];
    let headers: Vec<_> = table.iter().map(|(header, _)| of(header)).collect();
    let mut scans: Vec<&[(&str, &str)]> = headers.iter().map(|headers| &headers[..]).collect();
    scans.push(&[("User-Agent", PHONE)]);
    let edge = Setup::new().start();
    let found = recorded(&edge, "lang", &scans);
    for ((header, expected), found) in table.iter().zip(&found) {
        assert_eq!(found, expected, "{header:?}");
    }
    assert_eq!(found.last().unwrap(), "", "no header at all");
}

#[test]
fn the_language_that_was_sent_and_the_way_of_coming_are_recorded() {
    let edge = Setup::new().start();
    for path in
        ["/A1B2C3", "/a1b2-c3?c=nfc", "/A1B2C3?c=typed&lang=en", "/A1B2C3?c=poster&lang=zh", "/A1B2C3?lang=../etc"]
    {
        assert_eq!(edge.scan(path).status, 302, "{path}");
    }
    let found = recorded(&edge, "code outcome channel lang served", &[]);
    assert_eq!(
        found,
        [
            "A1B2C3 found qr  vi",
            "A1B2C3 found nfc  vi",
            "A1B2C3 found typed en en",
            "A1B2C3 found qr zh vi",
            "A1B2C3 found qr  vi"
        ]
    );
}

#[test]
fn the_same_visitor_at_the_same_sign_within_the_window_is_a_repeat() {
    let edge =
        Setup::new().set("observe", "repeat_window", "\"1s\"").set("edge.trust", "proxies", "[\"127.0.0.1\"]").start();
    let safari = format!("{IPHONE_VIEW} Version/17.5 Safari/604.1");
    // Codes, user agents and addresses of two: eight visits, each of which opens a window of its own.
    let mut visits = Vec::new();
    let mut visit = |code: &'static str, agent: &str, address: &'static str| {
        let headers = [("User-Agent", agent), ("X-Forwarded-For", address)];
        let reply = http::request(edge.address(), "GET", &format!("/{code}"), &headers).unwrap();
        assert_eq!(reply.status, 302);
        visits.push((code, agent.to_owned(), address));
    };
    for code in ["A1B2C3", "A1B2C4"] {
        for agent in [PHONE, &safari] {
            for address in ["203.0.113.7", "2001:db8::7"] {
                visit(code, agent, address);
            }
        }
    }
    let begun = Instant::now();
    // Another spelling is the same code; a repeat opens no new window.
    let until = |time| {
        wait_for("the window is over", || (begun.elapsed() >= Duration::from_millis(time)).then_some(()));
    };
    visit("A1B2C3", PHONE, "203.0.113.7");
    visit("a1b2-c3", PHONE, "203.0.113.7");
    until(700);
    visit("A1B2C3", PHONE, "203.0.113.7");
    until(1200);
    visit("A1B2C3", PHONE, "203.0.113.7");
    visit("A1B2C3", PHONE, "203.0.113.7");

    let found = recorded(&edge, "ts repeat", &[]);
    assert_eq!(found.len(), visits.len());
    // The times are the edge's own, so this holds on a machine that is slow between two visits.
    let mut open: HashMap<_, i64> = HashMap::new();
    let mut repeats = Vec::new();
    for ((code, agent, address), found) in visits.iter().zip(&found) {
        let (ts, repeat) = found.split_once(' ').unwrap();
        let (ts, repeat): (i64, bool) = (ts.parse().unwrap(), repeat == "1");
        let window = open.entry((code.replace('-', "").to_uppercase(), agent, address)).or_insert(i64::MIN);
        let expected = ts < window.saturating_add(1000);
        if !expected {
            *window = ts;
        }
        assert_eq!(repeat, expected, "{code} {address} at {ts}");
        repeats.push(repeat);
    }
    assert_eq!(repeats[..8], [false; 8], "another code, agent or address is no repeat");
    assert!(repeats[8..].contains(&true) && !repeats[11], "{repeats:?}");
}

#[test]
fn unknown_and_retired_codes_are_recorded_as_what_they_are() {
    let edge = Setup::new()
        .registry(
            "place,name,target\none,Đường Một,https://example.vn/one\n",
            "code,place,status,successor\nA1,one,active,\nB1,one,retired,A1\nC1,one,planned,\n",
        )
        .start();
    let outcomes = [("/A1", 302), ("/B1", 410), ("/C1", 302), ("/N0PE", 404), ("/A1+", 200), ("/wp-login.php", 404)];
    for (path, status) in outcomes {
        assert_eq!(edge.scan(path).status, status, "{path}");
    }
    let found = recorded(&edge, "code outcome agent", &[]);
    assert_eq!(found, ["A1 found person", "B1 retired person", "C1 found person", "N0PE unknown person"]);
    assert_eq!(edge.usage(&[])["total"]["all"], 2, "the headline is of what was found");
}
