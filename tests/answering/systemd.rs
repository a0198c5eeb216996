//! Waypost does what systemd asks of a service: it takes the sockets that it is handed over, tells when it
//! is ready, reloads and stops, and that it hangs; and the files in `config/systemd` say what holds.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener};
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::unistd::Pid;

use crate::support::http::{self, Connection};
use crate::support::{BINARY, Edge, Setup, addresses, free_address, wait_for};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What a start that fails says.
#[track_caller]
fn refused(setup: &Setup) -> String {
    setup.write_config();
    let output = setup.serve(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "it starts");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn sockets_are_known_by_their_names_and_nothing_else_is_bound() {
    let ((http, address), (admin, admin_address)) = (listener(), listener());
    let mut edge = Setup::new().set("edge", "workers", "3").sockets(&[&http, &admin], "http:admin").start();
    assert_eq!((&*edge.addresses, edge.admin), (&[address][..], admin_address));
    for _ in 0..30 {
        assert_eq!(edge.scan("/A1B2C3").status, 302);
    }
    assert_eq!(edge.status()["listen"][0], address.to_string());
    edge.stop();
    TcpStream::connect(address).expect("the socket is there, and waits for the next process");
}

#[test]
fn sockets_without_a_known_name_are_known_by_their_addresses() {
    let (socket, address) = listener();
    let other = free_address();
    let mut edge = Setup::new()
        .set("edge", "listen", format!("[\"{other}\", \"{address}\"]"))
        .sockets(&[&socket], "waypost.socket")
        .start();
    let mut listening = edge.addresses.clone();
    listening.sort_unstable();
    let mut expected = vec![address, other];
    expected.sort_unstable();
    assert_eq!(listening, expected);
    for address in listening {
        assert_eq!(http::request(address, "GET", "/A1B2C3", &[]).unwrap().status, 302);
    }
    edge.stop();
}

#[test]
fn a_socket_that_nothing_asks_for_or_that_is_none_ends_the_start() {
    let ((http, address), (other, _)) = (listener(), listener());
    let said = refused(&Setup::new().sockets(&[&http], "other"));
    assert!(said.contains(&format!("socket \"other\" on {address}: expected")), "{said}");
    let said = refused(&Setup::new().sockets(&[&http, &other], "http"));
    assert!(said.contains("LISTEN_FDNAMES: expected 2 names"), "{said}");
    let said = refused(&Setup::new().sockets(&[&http, &other], "admin:admin"));
    assert!(said.contains("expected one socket, found 2"), "{said}");

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let said = refused(&Setup::new().sockets(&[&udp], "http"));
    assert!(said.contains("socket 1 (\"http\"): expected a TCP socket that listens, found"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    assert!(refused(&Setup::new().sockets(&[&unix], "http")).contains("expected a TCP socket that listens"));
    let client = TcpStream::connect(address).unwrap();
    assert!(refused(&Setup::new().sockets(&[&client], "http")).contains("found one that does not listen"));
    let file = fs::File::open("/dev/null").unwrap();
    assert!(refused(&Setup::new().sockets(&[&file], "http")).contains("is not a socket"));
}

#[test]
fn an_admin_socket_beyond_loopback_needs_what_such_an_address_needs() {
    let admin = TcpListener::bind("0.0.0.0:0").unwrap();
    let said = refused(&Setup::new().sockets(&[&admin], "admin"));
    assert!(said.contains("expected an address on loopback, or a token"), "{said}");
    let setup = Setup::new().set("admin", "listen", "\"0.0.0.0:0\"").set("admin", "allow_without_token", "true");
    setup.sockets(&[&admin], "admin").start().stop();
}

#[test]
fn a_console_socket_is_served_and_beyond_loopback_wants_https() {
    let (console, address) = listener();
    let mut edge = Setup::new().sockets(&[&console], "console").start();
    let host = address.to_string();
    assert_eq!(http::request(address, "GET", "/login", &[("Host", &host)]).unwrap().status, 200);
    edge.stop();
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let said = refused(&Setup::new().sockets(&[&open], "console"));
    assert!(said.contains("expected an address on loopback, or console.origin that begins https://"), "{said}");
}

#[test]
fn a_socket_with_two_names_ends_the_start() {
    let (socket, _) = listener();
    let said = refused(&Setup::new().sockets(&[&socket, &socket], "http:proxy"));
    assert!(said.contains("socket 2 (\"proxy\"): expected another one, found socket 1 again"), "{said}");
}

#[test]
fn a_socket_that_could_serve_nobody_ends_the_start() {
    let (socket, address) = listener();
    let said = refused(&Setup::new().sockets(&[&socket], "https"));
    assert!(said.contains(&format!("\"https\" on {address}: expected a certificate")), "{said}");
    let said = refused(&Setup::new().sockets(&[&socket], "proxy"));
    assert!(said.contains(&format!("{address}: expected the networks of its proxies")), "{said}");
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let setup = Setup::new().env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
    setup.start().stop();
}

/// Where the service manager reads.
struct Manager(UnixDatagram);

impl Manager {
    fn at(setup: &Setup) -> Self {
        let socket = UnixDatagram::bind(setup.path("notify")).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_mins(1))).unwrap();
        Self(socket)
    }

    /// The next message that is not about the watchdog.
    fn next(&self) -> String {
        loop {
            let message = self.any();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn any(&self) -> String {
        let mut message = [0; 1024];
        let len = self.0.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..len]).into_owned()
    }

    /// Whether anything has come.
    fn has_message(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let came = self.0.recv(&mut [0; 1024]).is_ok();
        self.0.set_nonblocking(false).unwrap();
        came
    }
}

fn is_ready(message: &str) -> bool {
    message.starts_with("READY=1\nSTATUS=serving 2 signs of generation ")
}

#[test]
fn it_tells_when_it_is_ready_reloads_and_stops() {
    let setup = Setup::new();
    let manager = Manager::at(&setup);
    let socket = setup.path("notify");
    let mut edge = setup.env("NOTIFY_SOCKET", socket).start();
    let message = manager.next();
    assert!(is_ready(&message), "{message}");
    for _ in 0..2 {
        edge.signal("HUP");
        let message = manager.next();
        let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{message}"));
        assert!(time.trim_end().parse::<u64>().unwrap() > 0);
        assert!(is_ready(&manager.next()), "the reload is done");
    }
    // Tables that are refused end a reload, too.
    fs::write(edge.setup.path("config/signs.csv"), "code,place,status\n,,\n").unwrap();
    edge.signal("HUP");
    assert!(manager.next().starts_with("RELOADING=1\n"));
    assert!(is_ready(&manager.next()), "the generation before goes on");
    edge.stop();
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=stopping\n");
    assert!(!manager.has_message());
}

#[test]
fn a_name_in_the_abstract_namespace_is_understood_and_one_that_nobody_has_harms_nobody() {
    let name = format!("waypost-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&UnixAddress::from_abstract_name(&name).unwrap()).unwrap();
    let mut edge = Setup::new().env("NOTIFY_SOCKET", format!("@{name}")).start();
    assert!(is_ready(&Manager(socket).next()));
    // The socket is closed by now.
    edge.signal("HUP");
    wait_for("the warning", || edge.log().contains("the service manager can't be told").then_some(()));
    assert_eq!(edge.scan("/A1B2C3").status, 302);
    edge.stop();
}

/// The thread `worker-0`.
fn worker(edge: &Edge) -> Pid {
    let mut tasks = fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap().map(|task| task.unwrap().path());
    let is_worker = |task: &std::path::PathBuf| fs::read_to_string(task.join("comm")).unwrap() == "worker-0\n";
    let task = tasks.find(is_worker).unwrap();
    Pid::from_raw(task.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

#[test]
fn the_watchdog_is_fed_as_long_as_no_worker_hangs() {
    let setup = Setup::new();
    let manager = Manager::at(&setup);
    let socket = setup.path("notify");
    let edge = setup.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "2000000").start();
    for message in ["READY=1", "WATCHDOG=1\n", "WATCHDOG=1\n"] {
        assert!(manager.any().starts_with(message));
    }
    let hanging = |times: usize| {
        wait_for("it is said", || (edge.log().matches("a worker hangs").count() >= times).then_some(()));
    };
    let worker = worker(&edge);
    // The other threads go on.
    ptrace::seize(worker, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(worker).unwrap();
    hanging(1);
    while manager.has_message() {}
    hanging(3);
    assert!(!manager.has_message(), "the watchdog was fed");
    nix::sys::wait::waitpid(worker, Some(nix::sys::wait::WaitPidFlag::__WALL)).unwrap();
    ptrace::detach(worker, None).unwrap();
    assert_eq!(manager.any(), "WATCHDOG=1\n", "it goes on");
}

#[test]
#[ignore = "needs systemd's tools: tests/run"]
fn systemds_own_tool_hands_a_socket_over() {
    let setup = Setup::new();
    setup.write_config();
    let address = free_address();
    let mut activate = Command::new("systemd-socket-activate");
    activate.args(["--fdname=http", "--listen"]).arg(address.to_string()).args([BINARY, "serve", "--config"]);
    activate.arg(setup.path("config/waypost.toml")).stderr(fs::File::create(setup.path("log")).unwrap());
    let mut child = activate.spawn().unwrap();
    // It starts the edge with the first connection.
    let mut visitor = wait_for("the socket", || Connection::open(address).ok());
    assert_eq!(visitor.get("/A1B2C3", &[]).unwrap().status, 302);
    let logged = || addresses(&fs::read_to_string(setup.path("log")).unwrap());
    assert_eq!(wait_for("the log", logged).0, [address]);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

/// The unit files in a folder of their own, with commands that are there.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config/systemd")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().replace("/usr/bin/waypost", BINARY);
        // The manual is installed by the package.
        let text = text.replace("Documentation=man:waypost(1)\n", "");
        fs::write(folder.path().join(path.file_name().unwrap()), text).unwrap();
    }
    folder
}

#[test]
#[ignore = "needs systemd's tools: tests/run"]
fn the_units_are_understood_and_the_service_is_confined() {
    let units = units();
    let unit = |name: &str| units.path().join(name);
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").args(["waypost.service", "waypost-http.socket", "waypost-https.socket"].map(unit));
    let said = verify.output().unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && errors.is_empty(), "{errors}");
    // In tenths: 1.5.
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=15"]).arg(unit("waypost.service"));
    let said = security.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// The values of a key.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_units_say_what_the_process_does() {
    let service = include_str!("../../config/systemd/waypost.service");
    // Default times of the stop: lame duck and grace, the last delivery, and four seconds.
    let folder = tempfile::tempdir().unwrap();
    let shipped = include_str!("../../config/waypost.toml");
    let config = waypost::config::Config::parse("waypost.toml", shipped, folder.path()).unwrap();
    let stop = config.edge.lame_duck + config.edge.limits.grace + std::time::Duration::from_secs(14);
    let seconds: u64 = values(service, "TimeoutStopSec")[0].trim_end_matches('s').parse().unwrap();
    assert!(stop.as_secs() <= seconds, "{stop:?}");
    assert_eq!(values(service, "AmbientCapabilities"), ["CAP_NET_BIND_SERVICE"]);
    assert_eq!(values(service, "LimitCORE"), ["0"]);
    // Without the first a computation keeps a worker's core, without the second a neighbour does.
    assert!(values(service, "SystemCallFilter").iter().any(|calls| calls.contains("sched_setscheduler")));
    assert_eq!(values(service, "CPUWeight"), ["100"]);
    for (socket, name) in [
        (include_str!("../../config/systemd/waypost-http.socket"), "http"),
        (include_str!("../../config/systemd/waypost-https.socket"), "https"),
    ] {
        assert_eq!(values(socket, "FileDescriptorName"), [name]);
        assert!(waypost::system::activation::NAMES.contains(&name));
        assert_eq!(values(socket, "Service"), ["waypost.service"]);
        assert_eq!((&*values(socket, "Backlog"), &*values(socket, "DeferAcceptSec")), (&["4096"][..], &["1"][..]));
    }
}

#[test]
fn the_packages_configuration_differs_from_the_shipped_one_in_paths_and_the_port_alone() {
    const PATHS: [&str; 6] =
        ["registry.places", "registry.signs", "registry.overrides", "journal.dir", "store.path", "console.path"];
    let packaged = include_str!("../../config/systemd/waypost.toml");
    waypost::config::Config::parse("waypost.toml", packaged, std::path::Path::new("/")).unwrap();
    let shipped: toml::Table = include_str!("../../config/waypost.toml").parse().unwrap();
    let packaged: toml::Table = packaged.parse().unwrap();
    let mut paths = 0;
    for (section, keys) in &packaged {
        for (key, value) in keys.as_table().unwrap() {
            let name = format!("{section}.{key}");
            if PATHS.contains(&&*name) {
                assert!(value.as_str().unwrap().starts_with("/var/lib/waypost/"), "{name} = {value}");
                paths += 1;
            } else if name != "edge.listen" {
                // A key that it leaves out has its default.
                assert_eq!(value, &shipped[section][key], "{name}");
            }
        }
    }
    assert_eq!(paths, PATHS.len(), "each path is the package's");
}
