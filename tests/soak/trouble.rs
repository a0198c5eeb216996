//! What goes wrong beside the visitors: tables and certificates change, in order and not, and the store is
//! locked. One thread for each, for they happen at once.

use std::fs::{self, File};
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::{Signal, kill_process};

use super::run::Run;
use super::{good, tables};
use crate::support::tls::{HOST, VALID, made};
use crate::support::{Metrics, Random, Setup, http, wait_for};

pub struct Trouble<'a> {
    run: &'a Run,
    random: Random,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Tables,
    Certificates,
    Store,
}

const CERTIFICATE: &str = "config/tls.pem";
const KEY: &str = "config/tls.key";
const NOT_AFTER: &str = "waypost_tls_certificate_not_after_timestamp_seconds{name=\"qr.example.vn\"}";

impl<'a> Trouble<'a> {
    pub fn all(run: &'a Run, random: &mut Random) -> [Self; 3] {
        [Kind::Tables, Kind::Certificates, Kind::Store].map(|kind| Self { run, random: random.fork(), kind })
    }

    pub fn make_until_over(mut self) {
        let run = self.run;
        let _end = run.ends_if_it_panics();
        // All kinds of it, in another order each time.
        let mut next = Vec::new();
        while run.goes_on(|| ()) {
            if next.is_empty() {
                next.extend(0..4);
            }
            let which = next.swap_remove(self.random.index(next.len()));
            match self.kind {
                Kind::Tables => self.trouble_tables(which),
                Kind::Certificates => self.trouble_certificates(which),
                Kind::Store => self.lock_store(),
            }
            thread::sleep(Duration::from_millis(self.random.below(1500)));
        }
    }

    /// Waits until the figures are so; a process that is gone has none.
    fn wait_for_metrics(&self, what: &str, mut is_so: impl FnMut(&Metrics) -> bool) {
        wait_for(what, || self.run.metrics().is_some_and(|metrics| is_so(&metrics)).then_some(()));
    }

    fn trouble_tables(&mut self, which: usize) {
        match which {
            0 => self.publish("tables: replaced", |setup, file, text| setup.put(file, text)),
            1 => self.publish("tables: edited in place", |setup, file, text| {
                let mut file = File::create(setup.path(file)).unwrap();
                let (begin, end) = text.as_bytes().split_at(text.len() / 2);
                file.write_all(begin).unwrap();
                // As an editor that writes page by page.
                thread::sleep(Duration::from_millis(20));
                file.write_all(end).unwrap();
            }),
            2 => self.spoil(),
            _ => self.ask_for_reloads(),
        }
    }

    fn publish(&self, what: &str, write: impl Fn(&Setup, &str, &str)) {
        let n = self.run.written.fetch_add(1, Ordering::SeqCst) + 1;
        for (file, text) in tables::generation(n, good::SIGNS) {
            write(&self.run.setup, file, &text);
        }
        wait_for(what, || {
            // Not a scan: HEAD is never recorded.
            let code = tables::code(0);
            let reply = http::request(self.run.ports.http, "HEAD", &format!("/{code}"), &[]).ok()?;
            (tables::generation_of(&code, reply.location()?)? == n).then_some(())
        });
        self.run.published.store(n, Ordering::SeqCst);
        self.run.tally.add(what);
    }

    /// Makes the table of signs useless, waits until that was seen, and mends it.
    fn spoil(&mut self) {
        let (setup, file) = (&self.run.setup, "config/signs.csv");
        let good = fs::read_to_string(setup.path(file)).unwrap();
        let first_rows = good.lines().take(20).fold(String::new(), |rows, row| rows + row + "\n");
        let bad = match self.random.below(4) {
            0 => Some(format!("{good}ZZZZ,no-such-place,active\n")),
            1 => Some(String::new()),
            // Many signs fewer.
            2 => Some(first_rows),
            _ => None,
        };
        match bad {
            Some(bad) => setup.put(file, &bad),
            None => fs::remove_file(setup.path(file)).unwrap(),
        }
        let is_refused = |metrics: &Metrics| metrics.get("waypost_registry_last_reload_successful") == 0.0;
        self.wait_for_metrics("the bad table is refused", is_refused);
        self.run.tally.add("tables: refused, the old ones serve");
        setup.put(file, &good);
        self.wait_for_metrics("the mended table is taken", |metrics| !is_refused(metrics));
    }

    fn ask_for_reloads(&self) {
        // Before it has its handlers a signal would end it.
        let whole = self.run.whole.lock().unwrap();
        if let Some(pid) = *self.run.pid.lock().unwrap() {
            kill_process(pid, Signal::HUP).unwrap();
        }
        drop(whole);
        let host = self.run.ports.admin.to_string();
        wait_for("a reload is answered", || {
            let reply = http::request(self.run.ports.admin, "POST", "/reload", &[("Host", &host)]).ok()?;
            (reply.status == 200).then_some(())
        });
        self.run.tally.add("reloads asked for by SIGHUP and POST");
    }

    /// No process is started meanwhile: with a pair that does not fit it would have no certificate at all.
    fn trouble_certificates(&mut self, which: usize) {
        let run = self.run;
        let _whole = run.whole.lock().unwrap();
        let not_after = wait_for("the certificate in use", || Some(run.metrics()?.get(NOT_AFTER)));
        let is_usable = |metrics: &Metrics| metrics.get("waypost_tls_certificates_unusable") == 0.0;
        // Drawn from ten thousand days, another one than that of the last.
        let new = made(&[HOST], (VALID.0, VALID.1 + self.random.below(10_000).cast_signed()));
        if which == 0 {
            let old = fs::read_to_string(run.setup.path(CERTIFICATE)).unwrap();
            let bad = self.random.of(&[&new.chain, &old[..old.len() / 2]]);
            run.setup.put(CERTIFICATE, bad);
            self.wait_for_metrics("a certificate that can't be used is refused", |metrics| !is_usable(metrics));
            run.tally.add("certificates: refused, the old one serves");
            run.setup.put(CERTIFICATE, &old);
            self.wait_for_metrics("the mended one is taken", is_usable);
            return;
        }
        run.setup.put(KEY, &new.key);
        let what = if which == 1 {
            self.wait_for_metrics("half of a new pair is refused", |metrics| !is_usable(metrics));
            "certificates: written in two steps"
        } else {
            "certificates: replaced"
        };
        run.setup.put(CERTIFICATE, &new.chain);
        self.wait_for_metrics(what, |metrics| is_usable(metrics) && metrics.get(NOT_AFTER) != not_after);
        run.tally.add(what);
    }

    /// Holds the lock until a batch could not be stored, or the process is another.
    fn lock_store(&self) {
        let store = Connection::open(self.run.setup.path("data/waypost.db")).unwrap();
        store.busy_timeout(Duration::from_secs(10)).unwrap();
        if store.execute_batch("BEGIN IMMEDIATE").is_err() {
            return;
        }
        let process = || *self.run.pid.lock().unwrap();
        let failed = || Some((process(), self.run.metrics()?.get("waypost_store_retries_total")));
        let before = wait_for("the figures of the delivery", failed);
        let after = wait_for("a batch that can't be stored", || failed().filter(|after| *after != before));
        store.execute_batch("ROLLBACK").unwrap();
        if after.0 == before.0 {
            self.run.tally.add("store: locked until a batch failed");
        }
    }
}
