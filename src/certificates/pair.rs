//! One certificate chain and its key, as they stand in their files.
//!
//! Owns what a pair must be to be used. Its dates are no condition: whether an expired one is better
//! than none is decided by who has the others.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{InconsistentKeys, SignatureAlgorithm, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::CertificateFiles;
use crate::system::path_thread::Progress;
use crate::system::regular_file;
use crate::system::secret_file::{self, SecretFileError};

/// Largest file of a chain, in bytes. Four certificates with RSA keys are 8 KiB; clients take up to 64 KiB
/// of DER (rustls, for one), which is less than this in PEM.
const MAX_CHAIN: u64 = 64 << 10;

/// Why a pair can't be used. Each text names its file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError {
    /// The chain can't be opened or read, is no regular file, or is too large.
    #[error("{0}: can't be read: {1}")]
    Chain(String, io::Error),
    /// The same of the key, or others may read it.
    #[error("{0}: {1}")]
    Key(String, SecretFileError),
    /// A part that begins as PEM does not go on so.
    #[error("{0}: expected PEM, found {1}")]
    Pem(String, pem::Error),
    /// No certificate.
    #[error("{0}: expected a certificate chain in PEM (-----BEGIN CERTIFICATE-----), found no certificate")]
    NoCertificate(String),
    /// No key.
    #[error("{0}: expected a private key in PEM (-----BEGIN PRIVATE KEY-----), found none")]
    NoKey(String),
    /// A key with a passphrase, which nobody is there to type.
    #[error("{0}: expected a private key without a passphrase, found an encrypted one (`openssl pkey` decrypts it)")]
    Encrypted(String),
    /// Another algorithm or size than can be signed with.
    #[error("{0}: expected an ECDSA key (P-256 or P-384), RSA (2048 to 8192 bits) or Ed25519, found another")]
    KeyKind(String),
    /// What is in the PEM is no certificate of version 3.
    #[error("{0}: expected an X.509 certificate of version 3, found another ({1})")]
    Certificate(String, String),
    /// Two halves, perhaps of two renewals.
    #[error("{chain}: expected the certificate of the key in {key}, found that of another key")]
    Mismatch { chain: String, key: String },
    /// The key's certificate is there, behind others.
    #[error(
        "{0}: expected the certificate of the key first and those that issued it after it, found it at place {1} of the chain"
    )]
    Order(String, usize),
    /// Somebody is writing them.
    #[error("{0}: expected files that rest, found that they changed while they were read")]
    Changing(String),
    /// It is not valid now, and the one in use is.
    #[error("{0}: expected a certificate that is valid now, as the one in use, found one that {1}")]
    Worse(String, String),
    /// Both files have a problem.
    #[error("{0}; {1}")]
    Both(Box<PairError>, Box<PairError>),
}

/// A chain and its key, which fit.
#[derive(Debug)]
pub(super) struct Pair {
    /// As rustls wants them.
    pub certified: Arc<CertifiedKey>,
    /// The file of the chain, as texts name it.
    pub file: String,
    /// Its DNS names in lower case, also with `*.` at the front, and its addresses.
    pub names: Vec<String>,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// Whether a certificate of a CA comes without that of the CA.
    is_alone: bool,
}

impl Pair {
    /// Reads both files and checks that they fit.
    pub fn read(files: &CertificateFiles, progress: &Progress) -> Result<Self, PairError> {
        let chain = read_chain(&files.certificate, progress);
        progress.step();
        let key = read_key(&files.key);
        progress.step();
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
            (Err(chain), Err(key)) => return Err(PairError::Both(chain.into(), key.into())),
        };
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| does_not_fit(files, &certified, error))?;
        let file = shown(&files.certificate);
        Self::of(certified, file.clone()).map_err(|error| PairError::Certificate(file, error.to_string()))
    }

    fn of(certified: CertifiedKey, file: String) -> Result<Self, x509_cert::der::Error> {
        let leaf = Certificate::from_der(&certified.cert[0])?;
        let leaf = leaf.tbs_certificate();
        let alternatives = leaf.get_extension::<SubjectAltName>()?.map(|(_, names)| names.0).unwrap_or_default();
        let time = |time: x509_cert::time::Time| {
            // "Without an end" is written as 9999-12-31 (RFC 5280, 4.1.2.5), which is a day beyond.
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
        };
        Ok(Self {
            names: alternatives.iter().filter_map(name).collect(),
            not_before: time(leaf.validity().not_before),
            not_after: time(leaf.validity().not_after),
            is_alone: certified.cert.len() == 1 && leaf.issuer() != leaf.subject(),
            certified: Arc::new(certified),
            file,
        })
    }

    /// Whether it can sign in one of these ways.
    pub fn signs(&self, schemes: &[SignatureScheme]) -> bool {
        self.certified.key.choose_scheme(schemes).is_some()
    }

    /// Whether its key is an RSA key.
    pub fn is_rsa(&self) -> bool {
        self.certified.key.algorithm() == SignatureAlgorithm::RSA
    }

    /// Whether a client that is right about the time takes it.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// What is wrong with its dates: "expired at …".
    pub fn is_invalid(&self, now: Timestamp) -> Option<String> {
        match now {
            _ if now > self.not_after => Some(format!("expired at {}", self.not_after)),
            _ if now < self.not_before => Some(format!("is not valid before {}", self.not_before)),
            _ => None,
        }
    }

    /// What is not wrong, and yet should be known.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let left = self.not_after.duration_since(now);
        let is_short = !left.is_negative() && left * 5 < self.not_after.duration_since(self.not_before);
        let short = format!("less than a fifth of its lifetime is left: it expires at {}", self.not_after);
        let found = [
            (is_short, short.as_str()),
            (self.is_rsa(), RSA),
            (self.is_alone, "has no intermediate certificate, and phones refuse it without: give the full chain"),
            (self.names.is_empty(), "has no DNS name (subjectAltName): browsers refuse it"),
        ];
        found.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text.to_owned()).collect()
    }
}

/// The price of an RSA key.
pub(super) const RSA: &str = "has an RSA key: a full handshake costs about six times as much CPU time as with \
     an ECDSA P-256 key. Ask for one, for example by `certbot --key-type ecdsa`";

/// A path, as texts name it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn read_chain(path: &Path, progress: &Progress) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let read = || {
        let (file, _) = regular_file::open(path)?;
        regular_file::read_bounded(file, MAX_CHAIN, &mut || progress.step(), |_, _| Ok(()))
    };
    let bytes = read().map_err(|error: io::Error| PairError::Chain(shown(path), error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain.map_err(|error| PairError::Pem(shown(path), error))? {
        chain if chain.is_empty() => Err(PairError::NoCertificate(shown(path))),
        chain => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<Arc<dyn SigningKey>, PairError> {
    let bytes = secret_file::read(path).map_err(|error| PairError::Key(shown(path), error))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        // Of both forms: "BEGIN ENCRYPTED PRIVATE KEY", and "Proc-Type: 4,ENCRYPTED" (RFC 1421).
        let is_encrypted = bytes.windows(9).any(|word| word == b"ENCRYPTED");
        match error {
            _ if is_encrypted => PairError::Encrypted(shown(path)),
            pem::Error::NoItemsFound => PairError::NoKey(shown(path)),
            error => PairError::Pem(shown(path), error),
        }
    })?;
    any_supported_type(&key).map_err(|_| PairError::KeyKind(shown(path)))
}

/// Why a chain and a key do not fit.
fn does_not_fit(files: &CertificateFiles, certified: &CertifiedKey, error: rustls::Error) -> PairError {
    if !matches!(error, rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
        return PairError::Certificate(shown(&files.certificate), error.to_string());
    }
    let key = certified.key.public_key();
    let has_key = |certificate: &CertificateDer<'_>| {
        ParsedCertificate::try_from(certificate)
            .is_ok_and(|parsed| key.as_ref() == Some(&parsed.subject_public_key_info()))
    };
    match certified.cert.iter().position(has_key) {
        Some(at) => PairError::Order(shown(&files.certificate), at + 1),
        None => PairError::Mismatch { chain: shown(&files.certificate), key: shown(&files.key) },
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(address) => {
            let v4 = <[u8; 4]>::try_from(address.as_bytes()).map(|bytes| Ipv4Addr::from(bytes).to_string());
            v4.or_else(|_| <[u8; 16]>::try_from(address.as_bytes()).map(|bytes| Ipv6Addr::from(bytes).to_string())).ok()
        }
        _ => None,
    }
}
