//! Which certificate a client gets.
//!
//! Owns the choice by the name that the client asks for (SNI, RFC 6066).

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

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

    /// Each name with the pair that is used for it.
    pub fn in_use(&self, now: Timestamp) -> Vec<(String, &Pair)> {
        let exact = self.exact.keys().filter_map(|name| Some((name.clone(), self.best(name, now, |_| true)?)));
        let any = self.wildcard.iter().filter_map(|(parent, pairs)| {
            let best = valid_first(|| pairs.iter(), now)?;
            Some((format!("*.{parent}"), best))
        });
        let mut names: Vec<_> = exact.chain(any).map(|(name, pair)| (name, pair.as_ref())).collect();
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        names
    }

    /// The best of those that cover a name and fit.
    fn best(&self, name: &str, now: Timestamp, fits: impl Fn(&Pair) -> bool) -> Option<&Arc<Pair>> {
        let wildcard = name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        let lists = [self.exact.get(name), wildcard];
        valid_first(|| lists.into_iter().flatten().flatten().filter(|pair| fits(pair)), now)
    }
}

fn valid_first<'p, I: Iterator<Item = &'p Arc<Pair>>>(pairs: impl Fn() -> I, now: Timestamp) -> Option<&'p Arc<Pair>> {
    pairs().find(|pair| pair.is_valid(now)).or_else(|| pairs().next())
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let verifies = |pair: &Pair| pair.certified.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = hello.server_name().and_then(|name| self.best(name, Timestamp::now(), verifies));
        // Where the client can verify none, rustls says so to it.
        let first = || self.pairs.iter().find(|pair| verifies(pair)).or(self.pairs.first());
        named.or_else(first).map(|pair| pair.certified.clone())
    }
}
