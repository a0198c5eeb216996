//! `docker compose up` starts what the files say. No container runs here, so the files are held
//! to each other: what is mounted exists, what is asked for listens, names, users and passwords
//! agree, the image is built from what it needs, and what can run without a container does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::grafana::Dashboard;
use crate::support::{BINARY, Setup, clickhouse::ClickHouse, files_below, free_address, http, wait_for};
use serde_json::Value;
use tempfile::TempDir;
use waypost::config::Config;

/// What the images listen on by themselves. Nothing that is mounted may change it.
const IMAGES: &[(&str, &[u16])] = &[("clickhouse", &[8123, 9000]), ("prometheus", &[9090]), ("grafana", &[3000])];
/// What the service takes to stop after its connections: the last delivery, with three seconds to spare.
const LAST_DELIVERY: Duration = Duration::from_secs(13);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Value {
    let mut value: yaml_serde::Value = yaml_serde::from_str(text).unwrap();
    value.apply_merge().unwrap();
    serde_json::to_value(value).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The members of a list; none where there is no list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The variables of `compose.yaml`: name, and a default or none where one must be set.
fn variables() -> Vec<(String, Option<String>)> {
    let file = read("config/compose.yaml");
    let lines = file.lines().filter(|line| !line.trim_start().starts_with('#'));
    let inside = |part: &str| {
        let (inside, _) = part.split_once('}').unwrap();
        let (name, rest) = inside.split_once(':').unwrap_or_else(|| panic!("${{{inside}}} has no default and no word"));
        match rest.split_at(1) {
            ("-", default) => (name.to_owned(), Some(default.to_owned())),
            ("?", said) if said.contains("compose/example.env") => (name.to_owned(), None),
            _ => panic!("${{{inside}}} has no default and does not say what to do"),
        }
    };
    lines.flat_map(|line| line.split("${").skip(1).map(inside).collect::<Vec<_>>()).collect()
}

/// `compose.yaml` as it is with only the passwords set, each to its variable's name.
fn compose() -> Value {
    let mut file = read("config/compose.yaml");
    for (name, default) in variables() {
        let (begin, value) = (format!("${{{name}:"), default.unwrap_or_else(|| name.clone()));
        while let Some(at) = file.find(&begin) {
            let end = at + file[at..].find('}').unwrap();
            file.replace_range(at..=end, &value);
        }
    }
    yaml(&file)
}

struct Mount {
    /// A file or folder of the tree; none for a named volume.
    source: Option<PathBuf>,
    volume: String,
    target: String,
    read_only: bool,
}

fn mounts(service: &Value) -> Vec<Mount> {
    let mount = |volume: &Value| {
        let (source, target, read_only) = match volume {
            Value::String(short) => {
                let parts: Vec<&str> = short.split(':').collect();
                (parts[0], parts[1], parts.get(2) == Some(&"ro"))
            }
            long => (text(&long["source"]), text(&long["target"]), long["read_only"] == true),
        };
        let path = source.starts_with('.').then(|| root().join("config").join(source));
        Mount { source: path, volume: source.to_owned(), target: target.to_owned(), read_only }
    };
    list(&service["volumes"]).iter().map(mount).collect()
}

/// The folders that a service sees, so far as they come from the tree.
fn container(service: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for mount in mounts(&compose()["services"][service]) {
        let Some(source) = mount.source else { continue };
        let target = folder.path().join(mount.target.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        symlink(source.canonicalize().unwrap(), target).unwrap();
    }
    folder
}

/// Waypost's configuration, read where the container has it.
fn waypost() -> (TempDir, Config) {
    let folder = container("waypost");
    let config = Config::read(&folder.path().join("waypost/config/waypost.toml"));
    (folder, config.unwrap_or_else(|problems| panic!("{problems}")))
}

#[track_caller]
fn assert_listens(service: &str, port: u16) {
    let (_folder, config) = waypost();
    let own: Vec<u16> =
        config.edge.listen.iter().chain([&config.admin.listen]).map(std::net::SocketAddr::port).collect();
    let ports = if service == "waypost" {
        own
    } else {
        IMAGES.iter().find(|(name, _)| *name == service).map_or(vec![], |(_, ports)| ports.to_vec())
    };
    assert!(ports.contains(&port), "{service} does not listen on {port}, only on {ports:?}");
}

#[test]
fn what_is_mounted_exists_and_only_the_tables_can_be_written_and_what_is_kept_is_a_volume() {
    let compose = compose();
    let mut kept = BTreeSet::new();
    for (name, service) in compose["services"].as_object().unwrap() {
        for mount in mounts(service) {
            if let Some(source) = mount.source {
                assert!(source.exists(), "{name}: {} is not there", source.display());
                assert_eq!(mount.read_only, mount.target != "/waypost/registry", "{name}: {}", source.display());
            } else {
                assert!(kept.insert(mount.volume.clone()), "{} belongs to two services", mount.volume);
            }
        }
    }
    let declared: BTreeSet<String> = compose["volumes"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(kept, declared);
}

#[test]
fn every_port_is_listened_on_and_only_the_visitors_is_open_to_others() {
    let (_folder, config) = waypost();
    let mut open = Vec::new();
    for (name, service) in compose()["services"].as_object().unwrap() {
        for port in list(&service["ports"]) {
            let (host, inside) = text(port).rsplit_once(':').unwrap();
            assert_listens(name, inside.parse().unwrap());
            if !host.starts_with("127.0.0.1:") {
                open.push((name.clone(), inside.parse::<u16>().unwrap()));
            }
        }
    }
    assert_eq!(open, [("waypost".to_owned(), config.edge.listen[0].port())]);
    // What would change an image's own ports is in nothing that it is given.
    for path in ["config/compose.yaml", "config/clickhouse/waypost.xml"] {
        for word in ["http_port", "tcp_port", "listen_host", "web.listen-address", "HTTP_PORT", "HTTP_ADDR"] {
            assert!(!read(path).contains(word), "{path} sets {word}: change IMAGES, too");
        }
    }
}

#[test]
fn every_service_is_started_again_and_takes_no_more_than_the_machine_has() {
    let mut memory = 0;
    for (name, service) in compose()["services"].as_object().unwrap() {
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(service["logging"]["options"]["max-size"].is_string(), "{name} logs without end");
        memory += text(&service["mem_limit"]).strip_suffix('m').unwrap().parse::<u32>().unwrap();
    }
    assert!(memory <= 4096, "{memory} MiB; config/compose.yaml promises 4 GiB");
}

#[test]
fn whatever_a_service_asks_another_for_is_answered_there() {
    let (_folder, config) = waypost();
    let compose = compose();
    let mut asked = config.store.clickhouse.urls.clone();
    for job in list(&yaml(&read("config/prometheus/prometheus.yml"))["scrape_configs"]) {
        let targets = list(&job["static_configs"]).iter().flat_map(|config| list(&config["targets"]));
        asked.extend(targets.map(|target| text(target).to_owned()));
    }
    for source in list(&yaml(&read("grafana/provisioning/datasources/waypost.yaml"))["datasources"]) {
        let host_and_port = &source["jsonData"];
        let address = || format!("{}:{}", text(&host_and_port["host"]), host_and_port["port"]);
        asked.push(source["url"].as_str().map_or_else(address, str::to_owned));
    }
    // A delivery, a scrape and two data sources; and the health of the images that are not ours.
    assert_eq!(asked.len(), 4, "{asked:?}");
    for (name, _) in IMAGES {
        let url = list(&compose["services"][name]["healthcheck"]["test"]).last();
        asked.push(text(url.unwrap_or_else(|| panic!("{name} has no healthcheck"))).replace("127.0.0.1", name));
    }
    for address in asked {
        let address = address.trim_start_matches("http://").split('/').next().unwrap();
        let (service, port) = address.split_once(':').unwrap();
        assert_listens(service, port.parse().unwrap());
    }
    assert!(config.admin.listen.ip().is_unspecified(), "Prometheus asks from another container");
    assert_eq!(config.admin.access.hosts, ["waypost"], "and by the service's name");
}

#[test]
fn the_configuration_is_good_where_it_is_mounted() {
    let (folder, config) = waypost();
    let compose = compose();
    let service = &compose["services"]["waypost"];
    let at =
        |path: &Path| format!("/{}", path.strip_prefix(folder.path()).unwrap().display()).replace("config/../", "");
    let file = folder.path().join("waypost/config/waypost.toml");
    let check = Command::new(BINARY).arg("check").arg("--config").arg(file).output().unwrap();
    let said = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert!(check.status.success() && said.starts_with("configuration OK"), "{said}");

    // The journal is on a volume, and the tables in a folder: a file that is renamed over one that is
    // mounted alone would never be seen.
    let mounts = mounts(service);
    let data = mounts.iter().find(|mount| mount.source.is_none()).unwrap();
    assert!(at(&config.journal.folder).starts_with(&format!("{}/", data.target)), "{:?}", config.journal.folder);
    assert!(read("config/Dockerfile").contains(&format!("VOLUME {}\n", data.target)));
    for table in [&config.registry.files.places, &config.registry.files.signs, &config.registry.files.overrides] {
        let parent = at(table.parent().unwrap());
        let mount = mounts.iter().find(|mount| mount.target == parent);
        assert!(mount.is_some_and(|mount| mount.source.as_ref().unwrap().is_dir()), "{parent} is no folder");
    }

    let clickhouse = &compose["services"]["clickhouse"]["environment"];
    assert_eq!(text(&clickhouse["CLICKHOUSE_USER"]), config.store.clickhouse.user);
    assert_eq!(clickhouse["CLICKHOUSE_PASSWORD"], service["environment"]["WAYPOST_CLICKHOUSE_PASSWORD"]);
    assert_eq!(config.store.kind, waypost::store::Kind::ClickHouse);
    assert!(config.store.clickhouse.apply_schema, "nobody else makes the tables");
    // A new container has a new host name, and would be a new edge.
    let name = format!("\nname = \"{}\"", config.journal.edge);
    assert!(read("config/compose/waypost.toml").contains(&name), "named by its host: {}", config.journal.edge);
    let gateway = text(&compose["networks"]["default"]["ipam"]["config"][0]["gateway"]);
    assert_eq!(config.edge.trust.proxies, [gateway.parse::<std::net::IpAddr>().unwrap().into()]);
    let grace = text(&service["stop_grace_period"]).trim_end_matches('s').parse().unwrap();
    assert!(
        Duration::from_secs(grace) >= config.edge.lame_duck + config.edge.limits.grace + LAST_DELIVERY,
        "killed before its last delivery"
    );
}

#[test]
fn every_variable_is_known_to_whoever_gets_it() {
    let sources: String =
        files_below(&root().join("src")).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let compose = compose();
    for name in compose["services"]["waypost"]["environment"].as_object().unwrap().keys() {
        assert!(sources.contains(&format!("env::var(\"{name}\")")), "Waypost does not read {name}");
    }
    // The example has each of them once: empty where it must be set, or else as a comment.
    let lines = read("config/compose/example.env");
    let set: BTreeMap<&str, &str> =
        lines.lines().filter(|line| !line.starts_with("# ")).filter_map(|line| line.split_once('=')).collect();
    let expected: BTreeMap<String, bool> =
        variables().into_iter().map(|(name, default)| (name, default.is_some())).collect();
    let found: BTreeMap<String, bool> =
        set.keys().map(|name| (name.trim_start_matches('#').to_owned(), name.starts_with('#'))).collect();
    assert_eq!(found, expected, "name, and whether it may be left out");
    assert!(
        set.iter().all(|(name, value)| name.starts_with('#') || value.is_empty()),
        "a password that everybody knows"
    );
    // The example of a base map is what Grafana reads.
    let map: Value = serde_json::from_str(set["#GRAFANA_BASE_MAP"].trim_matches('\'')).unwrap();
    assert_eq!(map["type"], "xyz");
    assert!(["{x}", "{y}", "{z}"].iter().all(|place| text(&map["config"]["url"]).contains(place)), "{map}");
}

#[test]
fn versions_are_fixed_and_the_same_everywhere() {
    let (compose, dockerfile) = (compose(), read("config/Dockerfile"));
    let images = compose["services"].as_object().unwrap().values().filter_map(|service| service["image"].as_str());
    let bases =
        dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).map(|from| from.split(' ').next().unwrap());
    // Nothing is the same everywhere.
    for image in images.chain(bases.filter(|base| *base != "scratch")) {
        let version = image.split_once(':').map_or("", |(_, version)| version).trim_start_matches('v');
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{image} may be another tomorrow");
    }
    let cargo: toml::Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let rust = cargo["package"]["rust-version"].as_str().unwrap();
    assert!(dockerfile.contains(&format!("FROM rust:{rust}.")), "Cargo.toml has Rust {rust}");

    let grafana = &compose["services"]["grafana"]["environment"];
    let (plugin, version) = text(&grafana["GF_PLUGINS_PREINSTALL_SYNC"]).split_once('@').unwrap();
    let mut targets = 0;
    for dashboard in Dashboard::all() {
        let of_plugin = |target: &&Value| target["datasource"]["type"] == plugin;
        for target in dashboard.panels().into_iter().flat_map(|panel| list(&panel["targets"])).filter(of_plugin) {
            assert_eq!(target["pluginVersion"], version, "{}: {target}", dashboard.name);
            targets += 1;
        }
    }
    assert!(targets > 0);
}

/// What the builder copies of the tree.
fn copied() -> Vec<String> {
    let dockerfile = read("config/Dockerfile");
    let copies =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|copy| !copy.starts_with("--"));
    let sources = |copy: &str| {
        let mut words: Vec<String> = copy.split(' ').map(str::to_owned).collect();
        words.pop();
        words
    };
    copies.flat_map(sources).collect()
}

#[test]
fn the_image_is_built_from_what_it_needs() {
    let build = &compose()["services"]["waypost"]["build"];
    assert_eq!((text(&build["context"]), text(&build["dockerfile"])), ("..", "config/Dockerfile"));
    let allowed = read("config/Dockerfile.dockerignore");
    let allowed: BTreeSet<String> =
        allowed.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    assert_eq!(allowed, copied().into_iter().collect());

    let context = tempfile::tempdir().unwrap();
    for source in copied() {
        let from = root().join(&source);
        assert!(from.exists(), "{source} is not there");
        symlink(from, context.path().join(source)).unwrap();
    }
    // Cargo refuses a manifest that names a bench or an example that is not there.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--no-deps", "--format-version", "1"]).current_dir(context.path());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let package: Value = serde_json::from_slice(&output.stdout).unwrap();
    let binary = list(&package["packages"][0]["targets"]).iter().find(|target| target["kind"][0] == "bin").unwrap();
    assert!(read("config/Dockerfile").contains(&format!("--bin {} ", text(&binary["name"]))));
    // And nothing is taken in from beside the sources.
    for path in files_below(&root().join("src")) {
        for include in fs::read_to_string(&path).unwrap_or_default().split("include_").skip(1) {
            let Some(named) =
                include.split('"').nth(1).filter(|_| include.starts_with("str!") || include.starts_with("bytes!"))
            else {
                continue;
            };
            let file = path.parent().unwrap().join(named).canonicalize().unwrap();
            let file = file.strip_prefix(root()).unwrap();
            assert!(copied().iter().any(|copied| file.starts_with(copied)), "{} is not copied", file.display());
        }
    }
}

/// The words of an instruction in its exec form, and of none other: there is no shell in the image.
fn words(dockerfile: &str, instruction: &str) -> Vec<String> {
    let (_, rest) = dockerfile.split_once(&format!("\n{instruction}")).unwrap();
    serde_json::from_str(&rest[rest.find('[').unwrap()..=rest.find(']').unwrap()]).unwrap()
}

#[test]
fn the_image_has_the_binary_alone_and_asks_it_whether_it_serves() {
    let dockerfile = read("config/Dockerfile");
    let last = &dockerfile[dockerfile.rfind("\nFROM ").unwrap()..];
    assert!(last.starts_with("\nFROM scratch\n") && !last.contains("\nRUN "), "{last}");
    assert!(last.contains("\nUSER 10001:10001\n"));
    assert_eq!((words(last, "ENTRYPOINT"), words(last, "CMD")), (vec!["waypost".to_owned()], vec!["serve".to_owned()]));
    // `the_binary_runs_in_an_empty_folder_but_for_its_libraries` does what it says; `probe` is in `answering`.
    assert_eq!(words(last, "HEALTHCHECK"), ["waypost", "probe"]);
}

#[test]
#[ignore = "needs root: tests/run"]
fn the_binary_runs_in_an_empty_folder_but_for_its_libraries() {
    let image = tempfile::tempdir().unwrap();
    let root = image.path();
    let put = |file: &str, at: &str| {
        let at = root.join(at.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::copy(file, at).unwrap();
    };
    // As the Dockerfile finds them.
    let libraries = Command::new("ldd").arg(BINARY).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        put(library, library);
    }
    put(BINARY, "/usr/local/bin/waypost");
    let (address, admin) = (free_address(), free_address());
    let setup =
        Setup::new().set("edge", "listen", format!("[\"{address}\"]")).set("admin", "listen", format!("\"{admin}\""));
    setup.write_config();
    for file in ["waypost.toml", "places.csv", "signs.csv"] {
        put(setup.path(&format!("config/{file}")).to_str().unwrap(), &format!("/waypost/config/{file}"));
    }
    fs::create_dir(root.join("waypost/data")).unwrap();
    let owned = Command::new("chown").args(["--recursive", "10001:10001"]).arg(root.join("waypost")).status();
    assert!(owned.unwrap().success());
    for folder in [root.to_owned(), root.join("waypost")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let waypost = |command: &str| {
        let mut chroot = Command::new("/usr/sbin/chroot");
        let config = ["--config", "/waypost/config/waypost.toml"];
        chroot.arg("--userspec=10001:10001").arg(root).args(["/usr/local/bin/waypost", command]).args(config);
        chroot.env_clear();
        chroot
    };
    let said = waypost("check").output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(waypost("probe").output().unwrap().status.code(), Some(1), "nobody is there");
    let mut edge = waypost("serve").spawn().unwrap();
    wait_for("it serves", || waypost("probe").output().unwrap().status.success().then_some(()));
    assert_eq!(http::request(address, "GET", "/A1B2C3", &[]).unwrap().status, 302);
    let stop = Command::new("kill").arg(edge.id().to_string()).status().unwrap();
    assert!(stop.success() && edge.wait().unwrap().success());
    let database = rusqlite::Connection::open(root.join("waypost/data/waypost.db")).unwrap();
    assert_eq!(database.query_row("SELECT count(*) FROM scans", [], |row| row.get(0)), Ok(1));
}

#[test]
fn grafana_finds_its_data_sources_and_dashboards() {
    let compose = compose();
    let service = &compose["services"]["grafana"];
    let mounts = mounts(service);
    let mounted = |target: &str| {
        let mount = mounts.iter().find(|mount| mount.target == target);
        mount
            .unwrap_or_else(|| panic!("nothing is mounted at {target}"))
            .source
            .clone()
            .unwrap()
            .canonicalize()
            .unwrap()
    };
    let provisioning = root().join("grafana/provisioning");
    assert_eq!(mounted("/etc/grafana/provisioning"), provisioning);
    let provider = yaml(&read("grafana/provisioning/dashboards/waypost.yaml"));
    let path = text(&provider["providers"][0]["options"]["path"]);
    assert_eq!(mounted(path), root().join("grafana/dashboards"));
    let home = text(&service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]);
    assert!(root().join("grafana/dashboards").join(home.strip_prefix(&format!("{path}/")).unwrap()).exists());

    let provisioned = yaml(&read("grafana/provisioning/datasources/waypost.yaml"));
    let sources: BTreeMap<&str, &str> =
        list(&provisioned["datasources"]).iter().map(|source| (text(&source["uid"]), text(&source["type"]))).collect();
    let mut used = BTreeSet::new();
    for dashboard in Dashboard::all() {
        for variable in dashboard.variables().into_iter().filter(|variable| variable["type"] == "datasource") {
            let uid = text(&variable["current"]["value"]);
            assert_eq!(sources.get(uid).copied(), variable["query"].as_str(), "{}: {variable}", dashboard.name);
            used.insert(uid.to_owned());
        }
    }
    assert_eq!(used, sources.keys().map(|uid| (*uid).to_owned()).collect::<BTreeSet<_>>());
    for (uid, kind) in &sources {
        let is_own = *kind == "prometheus";
        let plugins = text(&service["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]);
        assert!(is_own || plugins.starts_with(&format!("{kind}@")), "{uid}: nobody installs {kind}");
    }

    // The reader's name, password and database are those of ClickHouse's side.
    let (_folder, config) = waypost();
    let clickhouse =
        list(&provisioned["datasources"]).iter().find(|source| source["uid"] == "waypost-clickhouse").unwrap();
    assert_eq!(text(&clickhouse["jsonData"]["defaultDatabase"]), config.store.clickhouse.database);
    assert_eq!(clickhouse["jsonData"]["username"], "grafana");
    let password = text(&clickhouse["secureJsonData"]["password"]).strip_prefix('$').unwrap();
    assert_eq!(text(&service["environment"][password]), password, "the variable is handed on as it is");
    assert_eq!(service["environment"][password], compose["services"]["clickhouse"]["environment"][password]);
}

/// What the start-up script says to ClickHouse with a password.
fn statements(password: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let client = folder.path().join("clickhouse-client");
    // Written by another process: a child that a test beside this one forks would have the file open
    // for writing, and what is open for writing can't be run.
    let write = r#"printf '#!/bin/sh\ncat\n' >"$0" && chmod +x "$0""#;
    assert!(Command::new("sh").args(["-c", write]).arg(&client).status().unwrap().success());
    // As ClickHouse's entrypoint does it.
    let mut script = Command::new("bash");
    script.args(["-eo", "pipefail", "-c", ". config/compose/grafana_user.sh"]).current_dir(root());
    script.env("PATH", format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()));
    script.envs([
        ("CLICKHOUSE_USER", "waypost"),
        ("CLICKHOUSE_PASSWORD", "x"),
        ("CLICKHOUSE_GRAFANA_PASSWORD", password),
    ]);
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_user_of_grafana_gets_its_password_and_the_role_of_a_reader() {
    let engine = ClickHouse::start();
    let hash = |password: &str| engine.query(&format!("SELECT lower(hex(SHA256('{}')))", password.replace('\'', "''")));
    for password in ["0a1b2c3d", "it's; DROP USER waypost; --"] {
        let said = statements(password);
        let (made, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.contains(&hash(password)));
        assert_eq!(made.len(), 2, "made, or else changed: {said}");
        let role = "waypost_reader";
        assert_eq!(rest, [format!("CREATE ROLE IF NOT EXISTS {role};"), format!("GRANT {role} TO grafana;")]);
        assert!(
            read("src/store/clickhouse/sql/reader.sql")
                .contains(&format!("CREATE ROLE IF NOT EXISTS {role}{{on_cluster}};"))
        );
        // The engine in these tests has no users, but it knows a statement.
        for statement in said.lines() {
            let quoted = statement.trim_end_matches(';').replace('\'', "''");
            engine.query(&format!("SELECT formatQuery('{quoted}')"));
        }
    }
}
