//! The real binary, its folder, its port and its admin port, for scenarios of a dozen lines.
#![allow(dead_code, reason = "each program uses its part of this")]

pub mod browser;
pub mod clickhouse;
pub mod fault;
pub mod http;
pub mod load;
pub mod refuse;
pub mod tls;
pub mod way;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::tls::{HOST, Made, VALID};
use self::way::Way;
use serde_json::Value;
use tempfile::TempDir;
use waypost::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};
use waypost::journal::{self, Journal, OpenError};

pub const BINARY: &str = env!("CARGO_BIN_EXE_waypost");
/// A phone's browser, as most scans have it.
pub const PHONE: &str = "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";

/// A scan as most are: by a person with Zalo on Android, in Vietnamese.
pub fn scan_by_a_person(code: &str, ts_ms: i64) -> Scan {
    Scan {
        ts_ms,
        generation: 1,
        code: code.parse().unwrap(),
        outcome: Outcome::Found,
        channel: Channel::Qr,
        client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
        repeat: false,
        lang: "vi".try_into().unwrap(),
        served: "vi".try_into().unwrap(),
        origin: Origin::default(),
    }
}

/// Waits for a state instead of sleeping; says what it was waiting for if it never comes.
#[track_caller]
pub fn wait_for<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(state) = state() {
            return state;
        }
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sets a flag when it is dropped, so that threads of a scope end even where the test panics: the scope
/// waits for them.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A folder with a configuration and a registry, before the edge is started.
pub struct Setup {
    pub folder: TempDir,
    settings: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    environment: Vec<(&'static str, PathBuf)>,
    descriptors: Option<u32>,
    /// What `serve` is handed over, as systemd does it, with the names.
    sockets: (Vec<OwnedFd>, &'static str),
    user: Option<u32>,
}

impl Setup {
    /// One worker, quick to seal, loopback ports of the system's choice.
    pub fn new() -> Self {
        let setup = Self {
            folder: tempfile::tempdir().unwrap(),
            settings: BTreeMap::new(),
            environment: Vec::new(),
            descriptors: None,
            sockets: (Vec::new(), ""),
            user: None,
        };
        fs::create_dir(setup.folder.path().join("config")).unwrap();
        let setup = setup
            .set("edge", "name", "\"test\"")
            .set("edge", "listen", "[\"127.0.0.1:0\"]")
            .set("edge", "workers", "1")
            .set("edge", "public_url", "\"https://qr.example.vn\"")
            .set("admin", "listen", "\"127.0.0.1:0\"")
            .set("registry", "allowed_hosts", "[\"example.vn\", \"*.example.vn\"]")
            .set("registry", "poll", "\"100ms\"")
            .set("observe", "repeat_window", "\"0s\"")
            .set("journal", "segment", "\"256KiB\"")
            .set("journal", "seal_after", "\"100ms\"")
            .set("journal", "sync_every", "\"50ms\"")
            .set("journal", "min_free", "\"0\"")
            .set("log", "format", "\"json\"");
        setup.registry(
            "place,kind,area,name,name:en,target,target:en\n\
             one,street,Kỳ Lừa,Đường Một,One Street,https://example.vn/vi/one,https://example.vn/en/one\n",
            "code,place,status\nA1B2C3,one,active\nA1B2C4,one,active\n",
        )
    }

    /// Sets a key of `waypost.toml` to a TOML value.
    pub fn set(mut self, section: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        self.settings.entry(section).or_default().insert(key, value.into());
        self
    }

    /// Most files and sockets that the edge may have open.
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Runs as this user, who must own the folder.
    pub fn user(mut self, id: u32) -> Self {
        // Where it was built may be closed to others.
        fs::copy(BINARY, self.path("waypost")).unwrap();
        self.user = Some(id);
        self
    }

    /// Sets a variable of the edge's environment.
    pub fn env(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Hands over sockets at each start, two at most, with names such as `http:admin`; the test keeps them, too.
    pub fn sockets<S: AsFd>(mut self, sockets: &[&S], names: &'static str) -> Self {
        self.sockets = (sockets.iter().map(|socket| socket.as_fd().try_clone_to_owned().unwrap()).collect(), names);
        self
    }

    /// Replaces the registry.
    pub fn registry(self, places: &str, signs: &str) -> Self {
        self.file("config/places.csv", places).file("config/signs.csv", signs)
    }

    pub fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(path), text).unwrap();
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A file that its owner alone may read, put in place whole, as ACME clients do.
    pub fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let next = self.path(&format!("{path}.next"));
        fs::write(&next, text).unwrap();
        fs::set_permissions(&next, Permissions::from_mode(0o600)).unwrap();
        fs::rename(next, self.path(path)).unwrap();
    }

    /// A certificate and its key: `config/NAME.pem` and `config/NAME.key`.
    pub fn put_pair(&self, name: &str, made: &Made) {
        self.put(&format!("config/{name}.pem"), &made.chain);
        self.put(&format!("config/{name}.key"), &made.key);
    }

    /// Listens for TLS too, with these certificates.
    pub fn tls(self, pairs: &[(&str, &Made)]) -> Self {
        for (name, made) in pairs {
            self.put_pair(name, made);
        }
        let files = |(name, _): &(&str, &Made)| format!("{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}");
        let files: Vec<String> = pairs.iter().map(files).collect();
        self.set("edge.tls", "listen", "[\"127.0.0.1:0\"]").set(
            "edge.tls",
            "certificates",
            format!("[{}]", files.join(", ")),
        )
    }

    /// Demands a PROXY header on a port of its own, and before TLS where it listens for that.
    pub fn proxied(self) -> Self {
        self.set("edge.proxy_protocol", "listen", "[\"127.0.0.1:0\"]")
            .set("edge.proxy_protocol", "from", "[\"127.0.0.1\"]")
            .set("edge.tls", "proxy_protocol", "true")
    }

    /// Has a port for visitors who come on this way, beside the plain one.
    pub fn open_to(self, way: Way) -> Self {
        let setup = if way.has_tls() { self.tls(&[("cert", &tls::made(&[HOST], VALID))]) } else { self };
        if way.has_proxy_header() { setup.proxied() } else { setup }
    }

    /// The configuration's text.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        for (section, keys) in &self.settings {
            text += &format!("[{section}]\n");
            for (key, value) in keys {
                text += &format!("{key} = {value}\n");
            }
        }
        text
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.write_config();
        self.command(arguments).output().unwrap()
    }

    pub fn write_config(&self) {
        let path = self.path("config/waypost.toml");
        // A test may have written one of its own.
        if !path.exists() || !self.settings.is_empty() {
            fs::write(path, self.toml()).unwrap();
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        // The other programs become the edge.
        let mut command = match (self.descriptors, self.user) {
            (_, Some(user)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
                command.arg(self.path("waypost"));
                command
            }
            (Some(limit), None) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={limit}:{limit}")).arg(BINARY);
                command
            }
            (None, None) => Command::new(BINARY),
        };
        command.args(arguments).arg("--config").arg(self.path("config/waypost.toml"));
        command.env_remove("RUST_LOG");
        command
    }

    /// `serve`, with the sockets that are handed over.
    pub fn serve(&self, log: impl Into<Stdio>) -> Command {
        let serve = self.command(&["serve"]);
        let (sockets, names) = &self.sockets;
        let mut command = if sockets.is_empty() {
            serve
        } else {
            // The shell becomes the edge, so its number is right. The sockets come to it in the place of its
            // input and its output: other descriptors would go to the children of other tests, too.
            let mut shell = Command::new("sh");
            let hand_over = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$@\"";
            shell.args(["-c", hand_over, "sh"]).arg(serve.get_program()).args(serve.get_args()).env_remove("RUST_LOG");
            shell.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
            shell
        };
        let socket =
            |index| sockets.get(index).map_or(Stdio::null(), |socket: &OwnedFd| socket.try_clone().unwrap().into());
        command.envs(self.environment.iter().cloned()).stdin(socket(0)).stdout(socket(1)).stderr(log);
        command
    }

    /// Starts the edge with a log of one's own, and returns once it serves.
    pub fn start_with_log(self, log: impl Into<Stdio>) -> Edge {
        let (address, admin) = (free_address(), free_address());
        let setup =
            self.set("edge", "listen", format!("[\"{address}\"]")).set("admin", "listen", format!("\"{admin}\""));
        setup.write_config();
        let mut command = setup.command(&["serve"]);
        command.env("RUST_LOG", "debug").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = Some(command.spawn().unwrap());
        let edge = Edge { setup, child, addresses: vec![address], doors: Vec::new(), admin, starts: 0 };
        wait_for("the edge is ready", || edge.try_admin("GET", "/readyz", &[]).is_ok().then_some(()));
        edge
    }

    /// Starts the edge and waits until it serves.
    pub fn start(self) -> Edge {
        self.write_config();
        let admin = ([127, 0, 0, 1], 0).into();
        let mut edge = Edge { setup: self, child: None, addresses: Vec::new(), doors: Vec::new(), admin, starts: 0 };
        edge.start();
        edge
    }
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A running edge.
pub struct Edge {
    pub setup: Setup,
    child: Option<Child>,
    /// Where visitors come straight and unencrypted.
    pub addresses: Vec<SocketAddr>,
    /// The others: whether they have TLS, and whether they demand a PROXY header.
    doors: Vec<Door>,
    pub admin: SocketAddr,
    pub starts: usize,
}

impl Edge {
    /// Starts it again, after [`Edge::kill`] or [`Edge::stop`].
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it is running");
        self.starts += 1;
        let log = File::create(self.log_path()).unwrap();
        self.child = Some(self.setup.serve(log).env("RUST_LOG", "debug").spawn().unwrap());
        let log = self.log_path();
        let (doors, admin) = wait_for("the edge serves", || {
            let text = fs::read_to_string(&log).unwrap();
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the edge did not start: {text}");
            doors(&text)
        });
        let (plain, others) = doors.into_iter().partition(|door: &(_, bool, bool)| !door.1 && !door.2);
        let plain: Vec<(SocketAddr, _, _)> = plain;
        self.addresses = plain.into_iter().map(|(address, ..)| address).collect();
        (self.doors, self.admin) = (others, admin);
    }

    /// Where visitors come on a way.
    pub fn door(&self, way: Way) -> SocketAddr {
        let is_it = |door: &&(SocketAddr, bool, bool)| (door.1, door.2) == (way.has_tls(), way.has_proxy_header());
        self.doors.iter().find(is_it).map_or_else(|| self.address(), |door| door.0)
    }

    /// A kept connection on a way.
    pub fn connect(&self, way: Way) -> std::io::Result<http::Connection> {
        Ok(http::Connection::over(way.open(self.door(way))?))
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is running").id()
    }

    /// A figure of its memory in bytes, as `/proc/PID/status` has it: `VmHWM` is the most it ever had.
    pub fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// From now on it may open `more` files and sockets than it has.
    pub fn limit_descriptors(&self, more: usize) {
        // As it counts them itself: it shows /proc/PID/fd to root alone.
        let has = self.metrics().total_of("process_open_fds") as usize;
        let limit = format!("--nofile={0}:{0}", has + more);
        assert!(Command::new("prlimit").args(["--pid", &self.pid().to_string(), &limit]).status().unwrap().success());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it is running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end. The books balance before, whatever the test was about.
    pub fn stop(&mut self) {
        if let Ok(reply) = self.try_admin("GET", "/metrics", &[])
            && reply.status == 200
        {
            Metrics::parse(&reply.body).assert_books_balance();
        }
        self.signal("TERM");
        let status = self.child.take().expect("it is running").wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Waits for the end; returns how it ended.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("it is running");
        wait_for("the edge ends", || child.try_wait().unwrap())
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Everything this and earlier runs have logged.
    pub fn log(&self) -> String {
        (1..=self.starts).map(|n| fs::read_to_string(self.setup.path(&format!("log-{n}"))).unwrap()).collect()
    }

    fn log_path(&self) -> PathBuf {
        self.setup.path(&format!("log-{}", self.starts))
    }

    /// A page of the admin port.
    pub fn admin(&self, method: &str, path: &str) -> http::Reply {
        self.try_admin(method, path, &[]).expect("the admin port answers")
    }

    /// The same with headers of one's own, and perhaps in vain.
    pub fn try_admin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> std::io::Result<http::Reply> {
        let host = self.admin.to_string();
        http::request(self.admin, method, path, &[&[("Host", host.as_str())], headers].concat())
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.admin("GET", "/status").body).unwrap()
    }

    /// The samples of one scrape, by name and labels.
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin("GET", "/metrics").body)
    }

    /// A scan from a phone.
    pub fn scan(&self, path: &str) -> http::Reply {
        http::request(self.address(), "GET", path, &[("User-Agent", PHONE)]).expect("the edge answers")
    }

    /// Waits until nothing is pending.
    pub fn wait_until_stored(&self) {
        wait_for("everything is stored", || (self.metrics().get("waypost_scans_pending") == 0.0).then_some(()));
    }

    /// Waits until the store has the generation that serves.
    pub fn wait_until_registry_stored(&self) {
        wait_for("the registry is stored", || {
            let metrics = self.metrics();
            let serves = metrics.get("waypost_registry_generation");
            (metrics.get("waypost_store_registry_generation") == serves).then_some(())
        });
    }

    /// `waypost usage --format json`.
    pub fn usage(&self, arguments: &[&str]) -> Value {
        let output = self.setup.command(&[&["usage", "--format", "json"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.setup.path("data/waypost.db")).unwrap()
    }

    /// `all` of each sign, as `usage` counts it.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let usage = self.usage(&["--by", "sign"]);
        let row = |row: &Value| (row["sign"].as_str().unwrap().to_owned(), row["all"].as_u64().unwrap());
        usage["rows"].as_array().unwrap().iter().map(row).collect()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4000);
            eprintln!("the edge's log:\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}

/// An address of the visitors' port; whether it is spoken to by TLS, and begins with a PROXY header.
type Door = (SocketAddr, bool, bool);

/// Where it listens for visitors and for its operator, once its log says that it serves.
pub fn doors(log: &str) -> Option<(Vec<Door>, SocketAddr)> {
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |message: &str| -> Vec<Door> {
        let fields = lines.iter().map(|line| &line["fields"]).filter(|fields| fields["message"] == message);
        let address = |fields: &Value| fields["address"].as_str().unwrap().parse().unwrap();
        fields.map(|fields| (address(fields), fields["tls"] == true, fields["proxy_protocol"] == true)).collect()
    };
    lines.iter().any(|line| line["fields"]["message"] == "serving").then_some(())?;
    Some((of("listening"), of("admin listening").first()?.0))
}

/// The same without what is spoken there.
pub fn addresses(log: &str) -> Option<(Vec<SocketAddr>, SocketAddr)> {
    let (doors, admin) = doors(log)?;
    Some((doors.into_iter().map(|(address, ..)| address).collect(), admin))
}

/// The samples of a scrape.
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .filter_map(|line| line.rsplit_once(' '))
                .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
                .collect(),
        )
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no sample {name}"))
    }

    /// All samples of a metric, over its labels.
    pub fn sum(&self, name: &str) -> f64 {
        let samples = self.0.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
        samples.map(|(_, value)| value).sum()
    }

    /// One sample as a whole number.
    #[track_caller]
    #[allow(clippy::cast_sign_loss, reason = "a counter")]
    pub fn total_of(&self, name: &str) -> u64 {
        self.get(name) as u64
    }

    /// The same as a whole number.
    #[allow(clippy::cast_sign_loss, reason = "a counter")]
    pub fn total(&self, name: &str) -> u64 {
        self.sum(name) as u64
    }

    /// The identity that every scrape must satisfy.
    #[track_caller]
    pub fn assert_books_balance(&self) {
        let of = |name: &str| self.get(&format!("waypost_scans_{name}"));
        let came = of("recorded_total") + of("recovered_total");
        let is = of("stored_total") + of("pending") + of("quarantined_total") + self.sum("waypost_scans_lost_total");
        assert_eq!(came, is, "recorded + recovered = stored + pending + quarantined + lost");
    }
}

/// A journal's settings, with the smallest segments that there are.
pub fn journal_settings(folder: &Path) -> journal::Settings {
    journal::Settings {
        folder: folder.to_owned(),
        edge: "test".to_owned(),
        segment: 64 << 10,
        seal_after: Duration::from_secs(5),
        seal_after_outage: Duration::from_mins(5),
        sync_every: Duration::from_secs(1),
        max_size: 1 << 30,
        min_free: 0,
    }
}

/// A journal of this process. One that another test's thread starts has our locks as well, from its
/// fork to its exec.
pub fn open_journal(settings: &journal::Settings, workers: usize) -> Arc<Journal> {
    wait_for("the journal is free", || match Journal::open(settings.clone(), workers) {
        Err(OpenError::InUse(_)) => None,
        journal => Some(journal.unwrap()),
    })
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

/// Random numbers whose seed is printed, and can be set with `WAYPOST_TEST_SEED`.
/// (xorshift64*, Vigna 2016: enough to choose moments and rows.)
pub struct Random(u64);

impl Random {
    /// Others at every run.
    pub fn new() -> Self {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self::seeded(clock.as_nanos() as u64)
    }

    /// The same at every run.
    pub fn seeded(seed: u64) -> Self {
        let set = std::env::var("WAYPOST_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = set.unwrap_or(seed) | 1;
        eprintln!("WAYPOST_TEST_SEED={seed}");
        Self(seed)
    }

    /// One of its own for a thread.
    pub fn fork(&mut self) -> Self {
        Self(self.below(1 << 53) << 1 | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.index(list.len())]
    }
}

/// A registry of one place and many signs, `S0001` and on, and their codes.
pub fn many_signs(count: usize) -> (String, String, Vec<String>) {
    let codes: Vec<String> = (1..=count).map(|n| format!("S{n:04}")).collect();
    let places = "place,name,target\none,Một,https://example.vn/one\n".to_owned();
    let rows: String = codes.iter().map(|code| format!("{code},one,active\n")).collect();
    (places, format!("code,place,status\n{rows}"), codes)
}

/// A mounted file system of 8 MiB, unmounted at the end.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "waypost-test"]).arg(folder).output().unwrap();
        let error = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "only root may mount a file system: {error}");
        Self(folder.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}
