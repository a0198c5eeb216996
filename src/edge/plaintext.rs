//! What a port without TLS answers before anything else: the challenges of an ACME server, and, where
//! the configuration says so, scans by sending them on to https.
//!
//! Owns the folder of challenges, and the thread that reads it: no worker touches a file.

use std::io::{self, Read as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use hyper::{Method, StatusCode};
use tokio::sync::{mpsc, oneshot};

use super::request::{FROM_PAGE, Query};
use super::response::{self, Response};
use super::scan::ScanHandler;
use crate::core::scan::Channel;
use crate::core::{Code, parse_tag};
use crate::registry::Route;
use crate::system::regular_file;

/// Where an ACME server asks for the answer to a challenge (RFC 8555 section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// Longest token, in bytes: Let's Encrypt's have 43.
const MAX_TOKEN: usize = 128;
/// Longest answer, in bytes: a token, a dot and the thumbprint of a key.
const MAX_ANSWER: u64 = 1024;
/// Challenges that the thread is given at a time; more wait in their connections, as long as a request may take.
const WAITING: usize = 32;

/// What a port without TLS does besides.
#[derive(Debug, Clone, Default)]
pub struct Plaintext {
    /// What scans are sent on to, such as `https://qr.langson.gov.vn`, without a slash at its end; `None`: they
    /// are answered.
    pub https: Option<Arc<str>>,
    /// Where ACME clients put their answers.
    pub challenges: Option<Challenges>,
}

/// A response, or one that a file must be read for.
pub(super) enum Answer {
    Ready(Response),
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

impl Plaintext {
    /// The answer to a challenge, or a scan's new address; `None`: what any port answers. `sends_on` is whether scans
    /// that come by this port may be sent on.
    pub(super) fn answer<B>(
        &self,
        request: &hyper::Request<B>,
        sends_on: bool,
        handler: &ScanHandler,
    ) -> Option<Answer> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let path = request.uri().path();
        if let (Some(challenges), Some(token)) = (&self.challenges, path.strip_prefix(CHALLENGES)) {
            handler.counters().challenge.add();
            return Some(challenges.answer(token));
        }
        let (Some(https), true) = (&self.https, sends_on) else { return None };
        let Route::Code(code) = Route::of(path) else { return None };
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        if handler.is_alias(code, target) {
            return None;
        }
        handler.counters().to_https.add();
        let location = location(https, code, Query::read(request.uri().query()));
        Some(Answer::Ready(response::redirect(StatusCode::PERMANENT_REDIRECT, &location)))
    }
}

/// A code at the public URL, with what a scan's query may say. Nothing else of a request is in it.
fn location(https: &str, code: Code, query: Query<'_>) -> String {
    let mut location = format!("{https}/{code}");
    let mut separator = '?';
    let mut add = |name: &str, value: &str| {
        location.push(std::mem::replace(&mut separator, '&'));
        location.push_str(name);
        location.push('=');
        location.push_str(value);
    };
    if query.is_from_page {
        add("c", FROM_PAGE);
    } else if query.channel != Channel::Qr {
        add("c", query.channel.as_str());
    }
    if let Some(language) = query.lang.and_then(parse_tag) {
        add("lang", language.as_str());
    }
    location
}

/// The folder that ACME clients write to, as their option `--webroot` names it.
#[derive(Debug, Clone)]
pub struct Challenges(mpsc::Sender<Asked>);

/// A token, and where its answer is awaited.
type Asked = (String, oneshot::Sender<Option<Vec<u8>>>);

impl Challenges {
    /// Starts the thread that reads the folder. Fails where the system refuses one.
    pub fn start(webroot: &Path) -> io::Result<Self> {
        let folder = webroot.join(&CHALLENGES[1..]);
        let (to_read, asked) = mpsc::channel(WAITING);
        thread::Builder::new().name("challenges".to_owned()).spawn(move || read_all(&folder, asked))?;
        Ok(Self(to_read))
    }

    fn answer(&self, token: &str) -> Answer {
        // Of base64url alone (RFC 8555 section 8.3): no path leads out of the folder.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(is_token) {
            return Answer::Ready(response::not_found());
        }
        let (to_read, token) = (self.0.clone(), token.to_owned());
        Answer::Later(Box::pin(async move {
            let (answer, read) = oneshot::channel();
            to_read.send((token, answer)).await.ok();
            match read.await {
                Ok(Some(bytes)) => response::challenge(bytes),
                _ => response::not_found(),
            }
        }))
    }
}

/// Until nobody can ask any more.
fn read_all(folder: &Path, mut asked: mpsc::Receiver<Asked>) {
    while let Some((token, answer)) = asked.blocking_recv() {
        // A visitor who has gone is not told.
        answer.send(read(&folder.join(token)).ok()).ok();
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A link would show whatever the ACME client's user points it at.
    let (file, _) = regular_file::open_itself(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_ANSWER + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_ANSWER { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_sent_on_with_its_code_and_what_its_query_may_say() {
        for (query, expected) in [
            ("", "https://a.vn/7K3M9QX2"),
            ("c=nfc&lang=ZH-hant&x=1", "https://a.vn/7K3M9QX2?c=nfc&lang=zh-Hant"),
            ("lang=%0d%0aX:&c=typed", "https://a.vn/7K3M9QX2?c=typed"),
            ("lang=en", "https://a.vn/7K3M9QX2?lang=en"),
            // By a link on the page about the plate, which is not sent on: it is no scan by https either.
            ("lang=en&c=page", "https://a.vn/7K3M9QX2?c=page&lang=en"),
        ] {
            let code = "7k3m-9qx2".parse().expect("a code");
            assert_eq!(location("https://a.vn", code, Query::read(Some(query))), expected, "{query}");
        }
    }
}
