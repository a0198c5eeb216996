//! Connections to ClickHouse, over TLS where a URL says `https://`.
//!
//! Owns whom a server must be certified by: an authority of `store.ca_file`, or one that the system trusts.
//! A certificate is always verified; there is no switch. TCP and the handshake together have the configured
//! time.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{CertificateError, ClientConfig, RootCertStore, crypto};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::Settings;

/// Why no authority can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// The file can't be read, or is no PEM.
    #[error("{path}: expected certificates in PEM form, found {}", found(.error))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// The file has a certificate that is no authority's.
    #[error("{path}: expected certificates of authorities, found one that can't be used: {error}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// The system has no list, as a bare container.
    #[error("expected certificates of authorities on this system, found none: store.ca_file names one of your own")]
    NoneHere,
    /// The provider does not support the versions of TLS that are asked for.
    #[error("TLS can't be set up: {0}")]
    Tls(rustls::Error),
}

fn found(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "none".to_owned(),
        error => error.to_string(),
    }
}

/// The authorities of a PEM file: at least one.
pub fn authorities(path: &Path) -> Result<RootCertStore, AuthoritiesError> {
    let unreadable = |error| AuthoritiesError::File { path: path.to_owned(), error };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let unusable = |error| AuthoritiesError::Certificate { path: path.to_owned(), error };
        roots.add(certificate.map_err(unreadable)?).map_err(unusable)?;
    }
    if roots.is_empty() { Err(unreadable(pem::Error::NoItemsFound)) } else { Ok(roots) }
}

/// Those that the system trusts: at least one. What it has and can't be read is left out.
pub fn system_authorities() -> Result<RootCertStore, AuthoritiesError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(AuthoritiesError::NoneHere) } else { Ok(roots) }
}

/// Makes connections, plain ones and encrypted ones.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl Connector {
    /// Reads the authorities only if a URL needs them.
    pub fn new(settings: &Settings) -> Result<Self, AuthoritiesError> {
        let is_encrypted = settings.urls.iter().any(|url| url.starts_with("https://"));
        let roots = match &settings.ca_file {
            Some(path) if is_encrypted => authorities(path)?,
            None if is_encrypted => system_authorities()?,
            _ => RootCertStore::empty(),
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(AuthoritiesError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(settings.connect_timeout));
        http.set_nodelay(true);
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        Ok(Self { https, timeout: settings.connect_timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let (connection, limit) = (self.https.call(server), self.timeout);
        Box::pin(async move {
            timeout(limit, connection).await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within store.connect_timeout").into())
            })
        })
    }
}

/// What may be done about a certificate that was refused, where its error does not say it.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut error = error;
    loop {
        if let Some(rustls::Error::InvalidCertificate(refused)) = error.downcast_ref() {
            return match refused {
                // The latter where an authority that is trusted has the same name.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Some("its authority is not trusted here; store.ca_file names the authorities that are")
                }
                CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                    Some("it is an authority's own; make one for the server (basicConstraints CA:FALSE)")
                }
                _ => None,
            };
        }
        // The source of an error of the system is that of what it carries.
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error = match carried {
            Some(carried) => carried,
            None => error.source()?,
        };
    }
}
