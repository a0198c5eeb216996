//! ClickHouse's own engine behind its HTTP interface, for a test to talk to and to kill.
//!
//! `tests/run` installs it (the wheel `chdb-core`) and names its Python in
//! `WAYPOST_TEST_PYTHON`. `WAYPOST_TEST_CLICKHOUSE=http://…` runs the tests against a
//! server instead; what needs the engine killed then leaves that out.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Setup;

/// A running engine.
pub struct ClickHouse {
    folder: TempDir,
    child: Option<Child>,
    /// Certificate and key of the port for https.
    certificate: Option<(PathBuf, PathBuf)>,
    pub tls_address: Option<SocketAddr>,
    pub address: SocketAddr,
    /// Its own for each test, so that tests can share a server.
    pub database: String,
}

impl ClickHouse {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// With a port for https besides; never a server of one's own.
    pub fn start_tls(certificate: PathBuf, key: PathBuf) -> Self {
        Self::start_with(Some((certificate, key)))
    }

    fn start_with(certificate: Option<(PathBuf, PathBuf)>) -> Self {
        let database = format!("waypost_test_{}", uuid::Uuid::now_v7().simple());
        let mut engine = Self {
            folder: tempfile::tempdir().unwrap(),
            child: None,
            certificate,
            tls_address: None,
            address: ([127, 0, 0, 1], 0).into(),
            database,
        };
        match std::env::var("WAYPOST_TEST_CLICKHOUSE") {
            Ok(url) if engine.certificate.is_none() => {
                engine.address = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
            }
            _ => engine.start_engine(),
        }
        engine
    }

    fn start_engine(&mut self) {
        let python = std::env::var("WAYPOST_TEST_PYTHON")
            .expect("WAYPOST_TEST_PYTHON is set by tests/run, which installs the engine");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clickhouse/server.py");
        let mut command = Command::new(python);
        command.arg(script).args(["--port", "0", "--data"]).arg(self.folder.path());
        if let Some((certificate, key)) = &self.certificate {
            command.arg("--tls").args([certificate, key]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut address = |what: &str| {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            let address = line.trim().strip_prefix(what).and_then(|address| address.trim().parse().ok());
            address.unwrap_or_else(|| panic!("the engine did not start: {line:?}"))
        };
        self.tls_address = self.certificate.is_some().then(|| address("tls"));
        self.address = address("listening");
        self.child = Some(child);
    }

    /// A new process on the same data, after SIGTERM. (After `kill -9` a table that is not
    /// replicated may remember a batch's token and have lost its rows: seen once in 181 kills
    /// within inserts.) Not for a server of one's own.
    pub fn restart(&mut self) {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").arg(child.id().to_string()).status().unwrap();
            child.wait().unwrap();
            self.start_engine();
        }
    }

    /// Runs a statement; the answer is tab-separated.
    #[track_caller]
    pub fn query(&self, sql: &str) -> String {
        let sql = sql.replace("{db}", &self.database);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .into();
        let mut reply = agent.post(format!("http://{}/", self.address)).send(sql.as_bytes()).unwrap();
        let body = reply.body_mut().read_to_string().unwrap();
        assert!(reply.status().is_success(), "{sql}: {body}");
        body.trim_end().to_owned()
    }

    /// One number.
    #[track_caller]
    pub fn number(&self, sql: &str) -> u64 {
        let answer = self.query(sql);
        answer.parse().unwrap_or_else(|_| panic!("{sql}: {answer:?} is no number"))
    }
}

impl ClickHouse {
    /// How Waypost's own store finds it, without a configuration; tables are made when it is opened.
    pub fn settings(&self) -> waypost::store::Settings {
        let clickhouse = waypost::store::ClickHouseSettings {
            urls: vec![format!("http://{}", self.address)],
            database: self.database.clone(),
            user: "default".to_owned(),
            password: waypost::core::Secret::default(),
            ca_file: None,
            cluster: String::new(),
            replicas: false,
            apply_schema: true,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
        };
        waypost::store::Settings {
            kind: waypost::store::Kind::ClickHouse,
            path: PathBuf::new(),
            limits: waypost::store::Limits::default(),
            clickhouse,
        }
    }

    /// Waypost's own store, in this process, with its tables made.
    pub fn store(&self, address: SocketAddr) -> waypost::store::ClickHouse {
        let settings = waypost::store::ClickHouseSettings {
            urls: vec![format!("http://{address}")],
            ..self.settings().clickhouse
        };
        let timezone = jiff::tz::TimeZone::get("Asia/Ho_Chi_Minh").unwrap();
        waypost::store::ClickHouse::open(&settings, &timezone).unwrap()
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        } else if !std::thread::panicking() {
            self.query("DROP DATABASE IF EXISTS {db}");
        }
    }
}

impl Setup {
    /// Delivers to an engine at an address, which may be a proxy's.
    pub fn clickhouse(self, engine: &ClickHouse, address: SocketAddr) -> Self {
        self.set("store", "kind", "\"clickhouse\"")
            .set("store", "url", format!("[\"http://{address}\"]"))
            .set("store", "database", format!("\"{}\"", engine.database))
            .set("store", "connect_timeout", "\"1s\"")
            .set("store", "timeout", "\"2s\"")
    }
}
