//! The operator's port tells the truth, in the forms that machines read: metrics that Prometheus
//! takes, health, a status, a reload that says what it did. Signals do what they do elsewhere:
//! SIGHUP reads the registry again, SIGTERM ends the edge with every answered scan stored. Two
//! edges never share a journal.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{BINARY, Edge, Metrics, PHONE, SetOnDrop, Setup, files_below, http, load::Load, wait_for};
use serde_json::{Value, json};

const PLACES: &str = "place,name,target\none,Đường Một,https://example.vn/one\n";
const SIGNS: &str = "code,place,status\nA1,one,active\nA2,one,active\nB1,one,planned\nC1,one,retired\n";

fn edge() -> Edge {
    Setup::new().registry(PLACES, SIGNS).start()
}

/// For load: a segment that lasts for more than a second, so that the next is ready on a busy machine too.
fn busy() -> Setup {
    Setup::new().set("edge", "workers", "2").set("journal", "segment", "\"4MiB\"").registry(PLACES, SIGNS)
}

fn write_registry(edge: &Edge, places: &str, signs: &str) {
    fs::write(edge.setup.path("config/places.csv"), places).unwrap();
    fs::write(edge.setup.path("config/signs.csv"), signs).unwrap();
}

fn generation(edge: &Edge) -> u64 {
    edge.status()["registry"]["generation"].as_u64().unwrap()
}

/// What `POST /reload` answers.
fn reload(edge: &Edge, query: &str) -> (u16, Value) {
    let reply = edge.admin("POST", &format!("/reload{query}"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    (reply.status, serde_json::from_str(&reply.body).unwrap())
}

/// Fails with what promtool has against a scrape.
#[track_caller]
fn assert_promtool_accepts(scrape: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool =
        promtool.spawn().expect("no promtool (Debian package prometheus): start the tests with tests/run");
    promtool.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{scrape}", String::from_utf8_lossy(&said));
}

#[test]
fn every_scrape_under_load_is_whole_and_its_books_balance() {
    let edge = busy().start();
    let mut load = Load::start(edge.address(), 4, &["A1", "A2", "B1"].map(str::to_owned));
    let mut before: Option<f64> = None;
    for _ in 0..5 {
        let seen = load.received();
        wait_for("more scans", || (load.received() > seen + 500).then_some(()));
        let reply = edge.admin("GET", "/metrics");
        assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let samples =
            reply.body.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0);
        let (count, names) = (samples.clone().count(), samples.collect::<BTreeSet<_>>());
        assert_eq!(count, names.len(), "a sample is there once");
        assert!(names.iter().all(|name| name.starts_with("waypost_") || name.starts_with("process_")), "{names:?}");
        let scraped = Metrics::parse(&reply.body);
        scraped.assert_books_balance();
        let now = scraped.get("waypost_scans_recorded_total");
        assert!(before.is_none_or(|before| now > before));
        before = Some(now);
    }
    load.stop();
    let metrics = edge.metrics();
    let recorded = metrics.sum("waypost_scans_recorded_total") + metrics.sum("waypost_scans_dropped_total");
    assert_eq!(recorded, metrics.sum("waypost_requests_total"));
}

#[test]
fn a_sign_is_a_label_and_an_unknown_code_never_is() {
    let edge = edge();
    let of = |agent: &str, code: &str, times: usize| {
        for _ in 0..times {
            http::request(edge.address(), "GET", &format!("/{code}"), &[("User-Agent", agent)]).unwrap();
        }
    };
    of(PHONE, "A1", 3);
    of("curl/8.5.0", "a-1", 2);
    of(PHONE, "C1", 4);
    of(PHONE, "S0MEB0DY", 5);
    of(PHONE, "wp-login.php", 1);
    of(PHONE, "A2+", 2);
    http::request(edge.address(), "HEAD", "/A1", &[]).unwrap();
    http::request(edge.address(), "POST", "/A1", &[]).unwrap();

    let page = edge.admin("GET", "/metrics").body;
    let metrics = Metrics::parse(&page);
    let of_sign =
        |code: &str, kind: &str| metrics.get(&format!("waypost_sign_scans_total{{sign=\"{code}\",kind=\"{kind}\"}}"));
    assert_eq!([of_sign("A1", "scans"), of_sign("A1", "bots"), of_sign("C1", "retired")], [3.0, 2.0, 4.0]);
    assert_eq!(metrics.sum("waypost_sign_scans_total"), 9.0, "nothing else is counted by sign:\n{page}");
    let of_outcome = |outcome: &str| metrics.get(&format!("waypost_requests_total{{outcome=\"{outcome}\"}}"));
    let outcomes = ["found", "retired", "unknown", "inspected", "page", "other", "method_not_allowed"];
    assert_eq!(outcomes.map(of_outcome), [6.0, 4.0, 5.0, 2.0, 0.0, 1.0, 1.0]);
    assert_eq!(metrics.get("waypost_head_requests_total"), 1.0);
    for text in ["S0MEB0DY", "wp-login", "curl", "Android", "127.0.0.1"] {
        assert!(!page.contains(text), "{text} is in\n{page}");
    }
}

#[test]
fn counters_by_sign_can_be_turned_off() {
    let edge = Setup::new().set("admin", "per_sign_metrics", "false").start();
    edge.scan("/A1B2C3");
    let page = edge.admin("GET", "/metrics").body;
    assert!(!page.contains("A1B2C3") && !page.contains("waypost_sign_scans_total"));
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn promtool_accepts_a_scrape_under_load_with_and_without_counters_by_sign() {
    for per_sign in ["true", "false"] {
        let edge = busy().set("admin", "per_sign_metrics", per_sign).start();
        // Active, retired, unknown and no code at all.
        for path in ["/A1", "/C1", "/S0MEB0DY", "/wp-login.php", "/A2+"] {
            edge.scan(path);
        }
        let mut load = Load::start(edge.address(), 4, &["A1", "A2", "B1"].map(str::to_owned));
        for _ in 0..5 {
            let seen = load.received();
            wait_for("more scans", || (load.received() > seen + 500).then_some(()));
            assert_promtool_accepts(&edge.admin("GET", "/metrics").body);
        }
        load.stop();
    }
}

#[test]
fn health_is_a_word_and_a_status() {
    let edge = edge();
    for (path, body) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let reply = edge.admin("GET", path);
        assert_eq!((reply.status, reply.body.as_str()), (200, body));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let head = edge.admin("HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
    }
}

#[test]
fn the_status_says_how_everything_stands() {
    let edge = edge();
    edge.scan("/A1");
    edge.scan("/C1");
    edge.wait_until_stored();
    let reply = edge.admin("GET", "/status");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let status: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((&status["edge"], &status["workers"]), (&json!("test"), &json!(1)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["listen"], json!([edge.address().to_string()]));
    assert!(status["started"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let registry = &status["registry"];
    // Milliseconds since 1970: what no lost file can make it give again.
    assert!(registry["generation"].as_u64().unwrap() > 1_700_000_000_000, "{registry}");
    assert_eq!(registry["places"], 1);
    let hash = registry["content_hash"].as_str().unwrap();
    assert!(hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
    assert_eq!(edge.metrics().get(&format!("waypost_registry_info{{content_hash=\"{hash}\"}}")), 1.0);
    assert_eq!(registry["unsettled"], json!([]));
    assert_eq!(registry["signs"], json!({ "planned": 1, "active": 2, "retired": 1 }));
    assert_eq!((&registry["languages"], &registry["problems"]), (&json!(["vi"]), &json!([])));
    assert_eq!((&registry["last_reload_successful"], &registry["from_last_good"]), (&json!(true), &json!(false)));
    let scans = &status["scans"];
    for (name, count) in [("recorded", 2), ("recovered", 0), ("stored", 2), ("pending", 0), ("quarantined", 0)] {
        assert_eq!(scans[name], count, "{name}");
    }
    assert!(scans["dropped"].as_object().unwrap().values().all(|count| count == 0));
    assert_eq!((&status["store"]["kind"], &status["journal"]["quarantine_files"]), (&json!("sqlite"), &json!(0)));
    assert!(status["store"]["last_success"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(status["definition"].as_str().unwrap().starts_with("scans = "));
}

#[test]
fn every_place_is_counted_once_by_what_it_has() {
    let places = "place,name,target,about\n\
        both,Một,https://example.vn/one,Kể về một.\ntarget,Hai,https://example.vn/two,\n\
        ours-1,Ba,,Kể về ba.\nours-2,Bốn,,Kể về bốn.\nours-3,Năm,,Kể về năm.\nneither,Sáu,,\n";
    let edge = Setup::new().registry(places, "code,place,status\nA1,both,active\n").start();
    let has = |edge: &Edge| {
        ["target", "own_page", "neither"]
            .map(|has| edge.metrics().get(&format!("waypost_registry_places{{has=\"{has}\"}}")))
    };
    assert_eq!(has(&edge), [2.0, 3.0, 1.0]);
    assert_eq!(edge.metrics().sum("waypost_registry_places"), 6.0);
    assert_eq!(edge.status()["registry"]["places"], 6);
    // They are those of the registry that serves.
    let places = places.replace("neither,Sáu,,", "neither,Sáu,,Kể về sáu.").replace("/two", "/second");
    fs::write(edge.setup.path("config/places.csv"), places).unwrap();
    assert_eq!(reload(&edge, "").0, 200);
    assert_eq!(has(&edge), [2.0, 4.0, 0.0]);
}

#[test]
fn a_reload_says_whether_it_published() {
    let edge = edge();
    let first = generation(&edge);
    assert_eq!(reload(&edge, ""), (200, json!({ "result": "unchanged", "generation": first })));
    // The folder is watched too, and may be quicker than we are; then the next change is asked for.
    let (number, answer) = wait_for("a reload that publishes", || {
        let number = generation(&edge);
        write_registry(&edge, &PLACES.replace("/one", &format!("/{number}")), SIGNS);
        let (status, answer) = reload(&edge, "");
        assert_eq!(status, 200);
        (answer["result"] == "published").then_some((number, answer))
    });
    assert!(answer["generation"].as_u64().unwrap() > number, "it rises");
    assert_eq!(edge.scan("/A1").location(), Some(format!("https://example.vn/{number}").as_str()), "at the next scan");
    assert_eq!(reload(&edge, "").1["result"], "unchanged");
}

#[test]
fn a_reload_that_is_refused_lists_every_problem_and_the_old_registry_serves() {
    let edge = edge();
    let first = generation(&edge);
    write_registry(&edge, PLACES, &format!("{SIGNS}D1,nowhere,active\nD!,one,active\nD2,one,lost\n"));
    let (status, answer) = reload(&edge, "");
    assert_eq!((status, &answer["result"], &answer["generation"]), (422, &json!("refused"), &json!(first)));
    let problems: Vec<&str> =
        answer["problems"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    for (problem, line) in problems.iter().zip(6..) {
        assert!(problem.starts_with(&format!("signs.csv:{line}: ")), "{problem}");
    }
    assert_eq!(edge.status()["registry"]["problems"], answer["problems"]);
    let metrics = edge.metrics();
    assert_eq!(metrics.get("waypost_registry_last_reload_successful"), 0.0);
    assert!(metrics.get("waypost_registry_reloads_total{result=\"refused\"}") >= 1.0);
    assert_eq!((edge.scan("/A1").status, edge.scan("/D1").status), (302, 404));
    write_registry(&edge, PLACES, SIGNS);
    assert_eq!(reload(&edge, "").0, 200);
    assert_eq!(edge.metrics().get("waypost_registry_last_reload_successful"), 1.0);
}

#[test]
fn a_registry_that_shrinks_is_taken_only_by_force() {
    let edge = edge();
    let first = generation(&edge);
    write_registry(&edge, PLACES, "code,place,status\nA1,one,active\n");
    for query in ["", "?force=false"] {
        let (status, answer) = reload(&edge, query);
        assert_eq!((status, &answer["result"]), (422, &json!("refused")));
        let problem = answer["problems"][0].as_str().unwrap();
        assert!(problem.contains("75.0 % of the 4 signs") && problem.contains("force=true"), "{problem}");
    }
    assert_eq!(edge.scan("/A2").status, 302);
    assert_eq!(edge.admin("POST", "/reload?force=please").status, 400);
    let (status, answer) = reload(&edge, "?force=true");
    assert_eq!((status, &answer["result"]), (200, &json!("published")));
    assert!(answer["generation"].as_u64().unwrap() > first, "{answer}");
    assert_eq!((edge.scan("/A1").status, edge.scan("/A2").status), (302, 404));
}

#[test]
fn other_methods_and_paths_are_told_what_there_is() {
    let edge = edge();
    let first = generation(&edge);
    for path in ["/metrics", "/livez", "/readyz", "/status", "/"] {
        for method in ["POST", "DELETE"] {
            let reply = edge.admin(method, path);
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    let reply = edge.admin("GET", "/reload");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    for path in ["/metric", "/metrics/", "/reload/", "/A1", "/debug/pprof"] {
        assert_eq!(edge.admin("GET", path).status, 404, "{path}");
    }
    assert_eq!(edge.admin("GET", "/").status, 200);
    assert_eq!(generation(&edge), first);
}

#[test]
fn sighup_reads_the_registry_again() {
    let edge = edge();
    let first = generation(&edge);
    let read = || edge.metrics().get("waypost_registry_reloads_total{result=\"success\"}");
    // Nothing has changed, so nothing but the signal makes it read.
    let before = read();
    edge.signal("HUP");
    wait_for("the signal's reload", || (read() > before).then_some(()));
    assert_eq!(generation(&edge), first);
    write_registry(&edge, &PLACES.replace("/one", "/new"), SIGNS);
    edge.signal("HUP");
    wait_for("the new target", || (edge.scan("/A1").location() == Some("https://example.vn/new")).then_some(()));
}

#[test]
fn sigterm_under_load_ends_with_every_answered_scan_stored() {
    let mut edge = busy().start();
    let codes = ["A1", "A2", "B1"].map(str::to_owned);
    let mut load = Load::start(edge.address(), 8, &codes);
    for _ in 0..3 {
        let seen = load.received();
        wait_for("more scans", || (load.received() > seen + 2000).then_some(()));
        // SIGTERM; the edge must say of itself that it succeeded.
        load.wait();
        edge.stop();
        edge.start();
        load.go_to(edge.address());
    }
    let seen = load.received();
    wait_for("scans after the last start", || (load.received() > seen + 100).then_some(()));
    edge.stop();
    load.stop();
    assert!(!edge.log().contains("panicked"));
    let stored = edge.counts();
    for (code, counts) in load.signs.iter() {
        let (received, sent) = (counts.received.load(Ordering::Relaxed), counts.sent.load(Ordering::Relaxed));
        let stored = stored.get(code).copied().unwrap_or(0);
        assert!(received <= stored && stored <= sent, "{code}: {received} received, {stored} stored, {sent} sent");
    }
    let left = files_below(&edge.setup.path("data/journal"));
    assert!(left.iter().all(|path| path.extension().is_none()), "nothing waits in the journal: {left:?}");
}

#[test]
fn a_signal_right_after_the_start_is_handled() {
    let mut edge = edge();
    for _ in 0..20 {
        edge.signal("HUP");
        edge.stop();
        edge.start();
    }
    edge.scan("/A1");
    edge.stop();
    assert_eq!(edge.counts().get("A1"), Some(&1));
}

#[test]
fn a_second_edge_on_the_same_journal_does_not_start() {
    let edge = edge();
    let second = edge.setup.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("the journal ") && last.ends_with("data/journal is in use by another process"), "{said}");
    edge.scan("/A1");
    edge.wait_until_stored();
    assert_eq!(edge.counts().get("A1"), Some(&1), "the first goes on");
}

#[test]
fn an_edge_that_does_not_start_takes_no_connection_from_the_one_that_runs() {
    let edge = busy().start();
    // The same port and the same journal: what a slip of the hand starts.
    let listen = format!("listen = [\"{}\"]", edge.address());
    let second = edge.setup.toml().replace("listen = [\"127.0.0.1:0\"]", &listen);
    assert!(second.contains(&listen));
    fs::write(edge.setup.path("config/second.toml"), second).unwrap();
    let done = AtomicBool::new(false);
    let scan_until_done = || {
        while !done.load(Ordering::Relaxed) {
            // Each on a connection of its own; panics if that is reset.
            assert_eq!(edge.scan("/A1").status, 302);
        }
    };
    std::thread::scope(|scope| {
        let clients = [(); 3].map(|()| scope.spawn(scan_until_done));
        let ends = SetOnDrop(&done);
        for _ in 0..20 {
            let mut second = Command::new(BINARY);
            second.arg("serve").arg("--config").arg(edge.setup.path("config/second.toml"));
            assert_eq!(second.output().unwrap().status.code(), Some(1));
        }
        drop(ends);
        for client in clients {
            client.join().unwrap();
        }
    });
}

#[test]
fn every_answered_request_has_a_service_time() {
    let edge = edge();
    for path in ["/A1", "/A1", "/C1", "/N0PE", "/robots.txt"] {
        edge.scan(path);
    }
    // Two in one write have two answers.
    let mut stream = std::net::TcpStream::connect(edge.address()).unwrap();
    stream
        .write_all(b"GET /A1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /A2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    let metrics = edge.metrics();
    let of = |le: &str| metrics.get(&format!("waypost_request_duration_seconds_bucket{{le=\"{le}\"}}"));
    assert_eq!(metrics.get("waypost_request_duration_seconds_count"), 7.0);
    assert_eq!((of("+Inf"), of("1")), (7.0, 7.0), "a loopback answer takes less than a second");
    let sum = metrics.get("waypost_request_duration_seconds_sum");
    assert!(sum > 0.0 && sum < 7.0, "{sum}");
}
