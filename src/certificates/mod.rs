//! The certificates in use, read again as their files change.
//!
//! Owns how a TLS connection is agreed upon: versions, certificates, and that nothing is kept of a client. A
//! pair of files that can't be used (a renewal half written, a key that others may read) means that the
//! last good one stays in use, a problem that is shown, and another try at each refresh; never an error. With no
//! usable pair at all every handshake is refused by an alert. Each pair has a thread of its own, so that
//! a file that hangs holds up no other.

mod choice;
mod pair;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use rustls::compress::CompressionCache;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::sync::watch;

use self::choice::Choice;
use self::pair::{Pair, PairError, RSA, shown};
use crate::core::Published;
use crate::core::lock;
use crate::core::metrics::Families;
use crate::system::Stamp;
use crate::system::path_thread::{HANG_TIMEOUT, PathThread, PathThreads, Progress};

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM: the certificate first, then those that issued it.
    pub certificate: PathBuf,
    /// Its key in PEM, without a passphrase; the rule of [`secret_file`](crate::system::secret_file) holds for it.
    pub key: PathBuf,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with forward secrecy only.
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificates. A client that names none gets the first.
    pub files: Vec<CertificateFiles>,
    /// The oldest version.
    pub min_version: TlsVersion,
}

/// What a worker needs for a handshake. It does not change: another is published when a file does.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    choice: Arc<Choice>,
}

/// The state of one pair of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// The file of the chain.
    pub certificate: PathBuf,
    /// The names of the certificate in use; empty while none is.
    pub names: Vec<String>,
    /// From when it is valid; `None` while none is in use.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub not_after: Option<Timestamp>,
    /// What is wrong with the files, or with the dates of the certificate in use, as a text for people.
    pub problem: Option<String>,
}

/// What `waypost check` says of the certificates. Each text names its file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Files that can't be used.
    pub problems: Vec<String>,
    /// What is served all the same.
    pub warnings: Vec<String>,
}

/// The certificates, read again as their files change.
pub struct Certificates {
    current: Arc<Current>,
    threads: PathThreads,
}

struct Current {
    min_version: TlsVersion,
    published: Published<Acceptor>,
    /// Held for moments only, never while a file is read.
    slots: Mutex<Vec<Slot>>,
}

/// One configured pair.
struct Slot {
    files: CertificateFiles,
    /// The last good one.
    pair: Option<Arc<Pair>>,
    /// Why the files can't be used now.
    refused: Option<PairError>,
    /// The problem that the log has.
    said: Option<String>,
}

impl Certificates {
    /// Reads the files for the first time. Waits no longer than a minute for them; a pair that takes longer,
    /// or hangs, is used once it has been read.
    #[must_use]
    pub fn open(settings: &TlsSettings) -> Self {
        let slot = |files: &CertificateFiles| Slot { files: files.clone(), pair: None, refused: None, said: None };
        let current = Arc::new(Current {
            min_version: settings.min_version,
            published: Published::new(Acceptor::new(Choice::default(), settings.min_version)),
            slots: Mutex::new(settings.files.iter().map(slot).collect()),
        });
        let job = |(at, files): (usize, &CertificateFiles)| {
            let (current, files) = (current.clone(), files.clone());
            let mut seen = None;
            move |progress: &Progress| {
                let found = stamps(&files);
                // A pair that can't be used is tried again: it may become valid, and a file system's clock may be
                // too coarse for a second write to show.
                if seen != Some(found) || current.is_refused(at) {
                    let read = Pair::read(&files, progress);
                    // What was read while it was written may be halves of two pairs.
                    let is_resting = stamps(&files) == found;
                    let read = if is_resting { read } else { Err(PairError::Changing(shown(&files.certificate))) };
                    current.take(at, read);
                    seen = Some(found);
                }
                current.report(at, false);
            }
        };
        let threads = PathThreads::start("certificate", settings.files.iter().enumerate().map(job));
        Self { current, threads }
    }

    /// Starts to look at the files again, without waiting for that, and frees what no worker holds any more. For
    /// housekeeping, off the workers.
    pub fn refresh(&self) {
        self.threads.ask_idle();
        for (at, _) in self.threads.each().enumerate().filter(|(_, thread)| thread.hangs()) {
            // It can't say so itself.
            self.current.report(at, true);
        }
        self.current.published.free_old();
    }

    /// A view of the certificates, for a worker.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Acceptor>> {
        self.current.published.subscribe()
    }

    /// The state of each pair, in the order of the configuration. Never waits for a read.
    #[must_use]
    pub fn states(&self) -> Vec<CertificateState> {
        let now = Timestamp::now();
        let slots = self.current.slots();
        let state = |(slot, thread): (&Slot, &PathThread)| CertificateState {
            certificate: slot.files.certificate.clone(),
            names: slot.pair.iter().flat_map(|pair| pair.names.clone()).collect(),
            not_before: slot.pair.as_ref().map(|pair| pair.not_before),
            not_after: slot.pair.as_ref().map(|pair| pair.not_after),
            problem: slot.unusable(thread.hangs()).or_else(|| slot.invalid(now)),
        };
        slots.iter().zip(self.threads.each()).map(state).collect()
    }

    /// Reads the files of a configuration once, and says what is wrong and what should be known. `host` is that
    /// of the public URL, in lower case.
    #[must_use]
    pub fn check(settings: &TlsSettings, host: &str) -> Findings {
        let (now, certificates, mut findings) = (Timestamp::now(), Self::open(settings), Findings::default());
        let slots = certificates.current.slots();
        for (slot, thread) in slots.iter().zip(certificates.threads.each()) {
            let of_file = |text: String| format!("{}: {text}", shown(&slot.files.certificate));
            findings.problems.extend(slot.unusable(thread.hangs()));
            findings.warnings.extend(slot.invalid(now));
            findings.warnings.extend(slot.pair.iter().flat_map(|pair| pair.warnings(now)).map(of_file));
        }
        let choice = &certificates.current.published.current().choice;
        if slots.iter().any(|slot| slot.pair.is_some()) && !choice.covers(host) {
            let text = format!("no certificate covers {host}, the host of edge.public_url: phones refuse the others");
            findings.warnings.push(text);
        }
        findings
    }
}

impl Acceptor {
    fn new(choice: Choice, min_version: TlsVersion) -> Self {
        let choice = Arc::new(choice);
        let versions: &[&SupportedProtocolVersion] = match min_version {
            TlsVersion::V1_2 => &[&TLS12, &TLS13],
            TlsVersion::V1_3 => &[&TLS13],
        };
        // Never the process' default provider, which a crate's feature may change.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("ring has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(choice.clone());
        // A ticket would tell a visitor again, and with an elliptic key it saves nothing in TLS 1.3: it is still
        // followed by a key exchange.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A replayed scan would be counted.
        config.max_early_data_size = 0;
        // A client that offers others only is refused by an alert; one that offers none is served.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.cert_compressors = Vec::new();
        config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        Self { config: Arc::new(config), choice }
    }

    /// For `rustls::ServerConnection::new`.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl Slot {
    /// Why the files can't be used now.
    fn unusable(&self, hangs: bool) -> Option<String> {
        let path = || shown(&self.files.certificate);
        if hangs {
            let seconds = HANG_TIMEOUT.as_secs();
            return Some(format!("{}: does not answer: no progress in reading it for {seconds} s", path()));
        }
        let refused = self.refused.as_ref().map(ToString::to_string);
        refused.or_else(|| self.pair.is_none().then(|| format!("{}: is not read yet", path())))
    }

    /// What is wrong with the dates of the certificate in use.
    fn invalid(&self, now: Timestamp) -> Option<String> {
        let wrong = self.pair.as_ref()?.is_invalid(now)?;
        let path = shown(&self.files.certificate);
        Some(format!("{path}: expected a certificate that is valid now, found one that {wrong}"))
    }
}

impl Current {
    fn is_refused(&self, at: usize) -> bool {
        self.slots()[at].refused.is_some()
    }

    /// Publishes a pair that was read. Where it can't be used, or is worse, the previous one stays in use.
    fn take(&self, at: usize, read: Result<Pair, PairError>) {
        let now = Timestamp::now();
        let mut slots = self.slots();
        let Slot { files, pair, refused, .. } = &mut slots[at];
        let has_valid = pair.as_ref().is_some_and(|pair| pair.is_valid(now));
        let read = read.and_then(|read| match read.is_invalid(now) {
            Some(wrong) if has_valid => Err(PairError::Worse(shown(&files.certificate), wrong)),
            _ => Ok(read),
        });
        match read {
            Ok(read) => {
                let (path, names) = (shown(&files.certificate), read.names.join(", "));
                tracing::info!(path, names, not_after = %read.not_after, "certificate read");
                if read.is_rsa() {
                    tracing::warn!(path, "a certificate {RSA}");
                }
                (*pair, *refused) = (Some(Arc::new(read)), None);
            }
            Err(error) => {
                *refused = Some(error);
                return;
            }
        }
        let pairs = slots.iter().filter_map(|slot| slot.pair.clone()).collect();
        self.published.replace(Acceptor::new(Choice::new(pairs), self.min_version));
    }

    /// Says in the log what is wrong with a pair, once for each change.
    fn report(&self, at: usize, hangs: bool) {
        let now = Timestamp::now();
        let slot = &mut self.slots()[at];
        let (unusable, invalid) = (slot.unusable(hangs), slot.invalid(now));
        let problem = unusable.as_ref().or(invalid.as_ref());
        if slot.said.as_ref() == problem {
            return;
        }
        match (&unusable, &invalid, &slot.pair) {
            (Some(error), _, Some(_)) => {
                tracing::warn!(error, "a certificate's files can't be used; the previous one stays in use");
            }
            (Some(error), _, None) => {
                tracing::error!(error, "a certificate's files can't be used; its names have none");
            }
            (None, Some(error), _) => tracing::error!(error, "a certificate is in use that clients refuse"),
            (None, None, _) => tracing::info!(path = shown(&slot.files.certificate), "a certificate is in order again"),
        }
        slot.said = problem.cloned();
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        lock(&self.slots)
    }
}

/// The state of both files, through links; `None` of one that is missing.
fn stamps(files: &CertificateFiles) -> [Option<Stamp>; 2] {
    let stamp = |path: &Path| std::fs::metadata(path).ok().as_ref().map(Stamp::of);
    [stamp(&files.certificate), stamp(&files.key)]
}

impl Collector for Certificates {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let acceptor = self.current.published.current();
        let names = acceptor.choice.in_use(Timestamp::now());
        let mut times = |metric: &str, help: &str, time: fn(&Pair) -> Timestamp| {
            let mut family = families.gauges(metric, help);
            for (name, pair) in &names {
                let seconds = u64::try_from(time(pair).as_second()).unwrap_or(0);
                family.add(&[("name", name)], seconds);
            }
        };
        times(
            "waypost_tls_certificate_not_after_timestamp_seconds",
            "Until when the certificate in use for a name is valid, in seconds since the Unix epoch: of several, for clients of every age, the one that expires first. By its file where it is in use for clients without a name alone.",
            |pair| pair.not_after,
        );
        times(
            "waypost_tls_certificate_not_before_timestamp_seconds",
            "From when that certificate is valid, in seconds since the Unix epoch.",
            |pair| pair.not_before,
        );
        let states = self.states();
        let unusable = states.iter().filter(|state| state.problem.is_some());
        families.gauge(
            "waypost_tls_certificates_unusable",
            "Configured certificates that can't be used now: files that can't be read or do not fit, while the last good one may still be in use, or dates that clients refuse.",
            unusable.count(),
        );
        families.into_vec()
    }
}
