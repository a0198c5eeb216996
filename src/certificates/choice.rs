//! Which certificate a client gets.
//!
//! Owns the choice by the name that the client asks for (SNI, RFC 6066).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// One for each kind of key that can be configured, as clients may verify one of them alone.
const KINDS: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

/// The usable pairs, by their names.
///
/// Of several that cover a name: one that is valid now before one that isn't, one that has the name itself
/// before a wildcard of one label (RFC 6125, 6.4.3), one with an elliptic key before RSA, then the one that is
/// valid longest. Of a client that can't verify one of them, that one is not thought of: an RSA
/// certificate may stand beside for old clients. Without a name, or with one that none covers: the first.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// In the order of the configuration.
    pairs: Vec<Arc<Pair>>,
    /// The pairs of each name, the best first.
    exact: HashMap<String, Vec<Arc<Pair>>>,
    /// The same by what is behind `*.`.
    wildcard: HashMap<String, Vec<Arc<Pair>>>,
}

impl Choice {
    pub fn new(pairs: Vec<Arc<Pair>>) -> Self {
        let mut choice = Self { pairs, ..Self::default() };
        let mut best_first = choice.pairs.clone();
        best_first.sort_by_key(|pair| (pair.is_rsa(), std::cmp::Reverse(pair.not_after)));
        for pair in best_first {
            for name in &pair.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut choice.wildcard, parent),
                    None => (&mut choice.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(pair.clone());
            }
        }
        choice
    }

    /// Whether one of them covers a name.
    pub fn covers(&self, name: &str) -> bool {
        self.best(name, Timestamp::now(), |_| true).is_some()
    }

    /// Each name with the pair that expires first of those that are used for it: of each kind of key the best,
    /// for some client gets it. What clients without a name get, and none of its names tells, is told by its file.
    pub fn in_use(&self, now: Timestamp) -> BTreeMap<&str, &Arc<Pair>> {
        let mut used: BTreeMap<&str, Vec<&Arc<Pair>>> = BTreeMap::new();
        for kind in KINDS {
            let signs = |pair: &Pair| pair.signs(&[kind]);
            for name in self.pairs.iter().flat_map(|pair| &pair.names) {
                let best = match name.strip_prefix("*.") {
                    Some(parent) => best_of(&[self.wildcard.get(parent)], now, signs),
                    None => self.best(name, now, signs),
                };
                used.entry(name).or_default().extend(best);
            }
        }
        for kind in KINDS {
            let Some(first) = self.pairs.iter().find(|pair| pair.signs(&[kind])) else { continue };
            let is_told = used.values().flatten().any(|pair| Arc::ptr_eq(pair, first));
            if !is_told {
                used.entry(&first.file).or_default().push(first);
            }
        }
        used.into_iter()
            .filter_map(|(name, pairs)| Some((name, pairs.into_iter().min_by_key(|pair| pair.not_after)?)))
            .collect()
    }

    /// The best of those that cover a name and fit.
    fn best(&self, name: &str, now: Timestamp, fits: impl Fn(&Pair) -> bool) -> Option<&Arc<Pair>> {
        let wildcard = name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        best_of(&[self.exact.get(name), wildcard], now, fits)
    }
}

/// The first that fits and is valid, or else the first that fits.
fn best_of<'p>(
    lists: &[Option<&'p Vec<Arc<Pair>>>],
    now: Timestamp,
    fits: impl Fn(&Pair) -> bool,
) -> Option<&'p Arc<Pair>> {
    let fitting = || lists.iter().copied().flatten().flatten().filter(|pair| fits(pair));
    fitting().find(|pair| pair.is_valid(now)).or_else(|| fitting().next())
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let verifies = |pair: &Pair| pair.signs(hello.signature_schemes());
        let named = hello.server_name().and_then(|name| self.best(name, Timestamp::now(), verifies));
        // Where the client can verify none, rustls says so to it.
        let first = || self.pairs.iter().find(|pair| verifies(pair)).or(self.pairs.first());
        named.or_else(first).map(|pair| pair.certified.clone())
    }
}
