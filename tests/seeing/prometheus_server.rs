//! The rules of `config/prometheus`, and a real Prometheus that evaluates them on a real edge.
//!
//! Prometheus and promtool are Debian's package `prometheus` (2.42), which `tests/run` installs.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{files_below, wait_for};

/// The folder that Prometheus has in production.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus")
}

/// A recording rule or an alert, as its file has it.
pub struct Rule {
    /// The series it makes; none for an alert.
    pub record: Option<String>,
    pub alert: Option<String>,
    pub expr: String,
    pub json: Value,
}

/// Every rule, of every file.
pub fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for path in files_below(&folder().join("rules")) {
        let file: Value = yaml_serde::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let groups = file["groups"].as_array().unwrap().iter();
        for json in groups.flat_map(|group| group["rules"].as_array().unwrap().clone()) {
            let text = |name: &str| json[name].as_str().map(str::to_owned);
            rules.push(Rule { record: text("record"), alert: text("alert"), expr: text("expr").unwrap(), json });
        }
    }
    rules
}

/// A recorded series' rule or a metric's own name in an expression: `waypost_scans_pending`,
/// `process_open_fds`, `job:waypost_unknown_requests:increase1d`.
pub fn names(expr: &str) -> Vec<&str> {
    let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words
        .filter(|word| {
            word.starts_with("waypost_") || word.starts_with("process_") || word.trim_matches(':').contains(':')
        })
        .collect()
}

/// One series of an answer.
#[derive(Debug)]
pub struct Series {
    pub labels: Value,
    pub value: f64,
}

/// A running Prometheus.
pub struct Prometheus {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// With the project's own configuration, but every second, and of this edge.
    pub fn start(edge: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = fs::read_to_string(self::folder().join("prometheus.yml")).unwrap();
        for (is, shall_be) in [
            ("  scrape_interval: 15s ", "  scrape_interval: 1s ".to_owned()),
            ("  evaluation_interval: 30s ", "  evaluation_interval: 1s ".to_owned()),
            ("- targets: [\"waypost:9090\"]", format!("- targets: [\"{edge}\"]")),
            ("- rules/", format!("- {}/rules/", self::folder().display())),
        ] {
            assert_eq!(config.matches(is).count(), 1, "{is} is once in prometheus.yml");
            config = config.replace(is, &shall_be);
        }
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("prometheus");
        command.current_dir(&folder).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let child = command.spawn().expect("no prometheus (Debian package prometheus): start the tests with tests/run");
        let mut prometheus = Self { folder, child, address: ([127, 0, 0, 1], 0).into() };
        prometheus.address = wait_for("Prometheus is ready", || {
            let log = fs::read_to_string(&log).unwrap();
            assert!(prometheus.child.try_wait().unwrap().is_none(), "Prometheus did not start: {log}");
            let (_, rest) = log.split_once("msg=\"Listening on\" address=")?;
            log.contains("Server is ready").then(|| rest.split_whitespace().next().unwrap().parse().unwrap())
        });
        prometheus
    }

    /// The answer to an expression at this moment, or what is wrong with it.
    pub fn query(&self, expr: &str) -> Result<Vec<Series>, String> {
        let data = self.ask("query", expr)?;
        let number = |text: &Value| text.as_str().unwrap().parse().unwrap();
        if data["resultType"] == "scalar" {
            return Ok(vec![Series { labels: Value::Null, value: number(&data["result"][1]) }]);
        }
        let series = data["result"].as_array().unwrap().iter();
        Ok(series.map(|one| Series { labels: one["metric"].clone(), value: number(&one["value"][1]) }).collect())
    }

    /// The names of the alerts that are pending or fire, sorted.
    pub fn alerts(&self) -> Vec<String> {
        let data = self.ask("alerts", "").unwrap();
        let alerts = data["alerts"].as_array().unwrap().iter();
        let mut names: Vec<_> = alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// What the evaluation of each rule has met, by the rule's name; empty where all is well.
    pub fn rule_errors(&self) -> Vec<String> {
        let data = self.ask("rules", "").unwrap();
        let groups = data["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        let wrong = rules.filter(|rule| rule["health"] != "ok");
        wrong.map(|rule| format!("{}: {} {}", rule["name"], rule["health"], rule["lastError"])).collect()
    }

    fn ask(&self, what: &str, expr: &str) -> Result<Value, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let request = agent.get(format!("http://{}/api/v1/{what}", self.address)).query("query", expr);
        let body = request.call().unwrap().body_mut().read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer["error"].to_string()) }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("Prometheus' log:\n{}", log.get(log.len().saturating_sub(2000)..).unwrap_or(&log));
        }
    }
}
