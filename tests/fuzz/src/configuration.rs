//! `waypost.toml`: any text is a configuration within its limits, or problems, each with its line.

use std::path::Path;

use waypost::config::Config;

const FILE: &str = "waypost.toml";

/// The text of the file.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    // No such folder: a secret's file is never there.
    match Config::parse(FILE, text, Path::new("/nonexistent")) {
        Ok(config) => check(&config),
        Err(problems) => super::check_problems(&problems, &[(FILE, input)]),
    }
}

/// Limits that other parts rely on.
fn check(config: &Config) {
    assert!((1..=1024).contains(&config.edge.workers), "{}", config.edge.workers);
    let edge = &config.edge;
    let listeners = [&edge.listen, &edge.tls.listen, &edge.proxy_protocol.listen];
    assert!(listeners.iter().any(|addresses| !addresses.is_empty()), "it listens nowhere");
    assert!(edge.proxy_protocol.listen.is_empty() || !edge.proxy_protocol.from.is_empty(), "any proxy is believed");
    assert!(edge.max_connections > 0 && edge.max_connections_per_address > 0);
    assert!((1..=63).contains(&config.edge.name.len()), "{:?}", config.edge.name);
    assert!(!config.registry.rules.allowed_hosts.is_empty(), "every host is allowed");
    assert!((0.0..=1.0).contains(&config.registry.max_shrink));
    let journal = &config.journal;
    assert!((64 << 10..=1 << 30).contains(&journal.segment), "{}", journal.segment);
    let most = 2 * journal.segment * config.edge.workers as u64;
    assert!(journal.max_size >= most, "no room for two segments of each worker");
    assert!(!config.store.clickhouse.urls.is_empty());
    assert!((0.0001..=0.1).contains(&config.health.budget));
}
