//! `[admin]`: the port for operators.

use std::net::SocketAddr;

use toml::de::DeValue;

use super::edge::is_same_port;
use super::reader::Section;
use super::secret;
use super::values::{ValueError, boolean, expected, shown, string, strings};
use crate::admin::Access;
use crate::core::Secret;

/// The admin port.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Its address.
    pub listen: SocketAddr,
    /// Whose requests it answers.
    pub access: Access,
    /// Whether `/metrics` has a counter for each sign.
    pub per_sign_metrics: bool,
}

impl Admin {
    /// `visitors` are the addresses of the public port.
    pub(super) fn read<'a>(mut section: Section<'_, '_>, visitors: impl Iterator<Item = &'a SocketAddr>) -> Self {
        let listen = listen(&mut section);
        let hosts = section.get("allowed_hosts", Vec::new(), host_names);
        let token = token(&mut section, listen);
        let per_sign_metrics = section.get("per_sign_metrics", true, boolean);
        if visitors.copied().any(|address| is_same_port(address, listen)) {
            let what = "a port that visitors do not have";
            section.problem("listen", &expected(what, format!("\"{listen}\"")));
        }
        section.finish();
        Self { listen, access: Access { hosts, token }, per_sign_metrics }
    }
}

/// The port's address.
pub(super) fn listen(section: &mut Section<'_, '_>) -> SocketAddr {
    section.get("listen", SocketAddr::from(([127, 0, 0, 1], 9090)), address)
}

/// The token, if there is one. Beyond loopback it is required, or else the word that the network protects
/// the port.
fn token(section: &mut Section<'_, '_>, listen: SocketAddr) -> Option<Secret> {
    let file = section.string("token_file", "");
    let allow_without = section.get("allow_without_token", false, boolean);
    if file.is_empty() {
        if !listen.ip().to_canonical().is_loopback() && !allow_without {
            let what = "an address on loopback, a token in admin.token_file, or admin.allow_without_token = true \
                        where the network keeps others out";
            section.problem("listen", &expected(what, format!("\"{listen}\" without a token")));
        }
        return None;
    }
    let token = secret::read_token(&section.beside(&file));
    token.map_err(|source| section.problem("token_file", &ValueError::Secret { file, source })).ok()
}

fn address(value: &DeValue<'_>) -> Result<SocketAddr, ValueError> {
    let wrong = || expected("an address and a port such as \"127.0.0.1:9090\" or \"[::1]:9090\"", shown(value));
    string(value)?.parse().map_err(|_| wrong())
}

/// Names of the admin port.
fn host_names(value: &DeValue<'_>) -> Result<Vec<String>, ValueError> {
    let name = |text: String| {
        let is_name = matches!(url::Host::parse(&text), Ok(url::Host::Domain(name)) if name == text.to_ascii_lowercase())
            && text.strip_suffix('.').unwrap_or(&text).split('.').all(|label| !label.is_empty());
        if is_name && !text.contains('*') {
            return Ok(text.trim_end_matches('.').to_ascii_lowercase());
        }
        let what = "a host name without a port, such as \"waypost\" or \"edge-1.langson.gov.vn\"";
        Err(expected(what, format!("{text:?}")))
    };
    strings(value)?.into_iter().map(name).collect()
}
