//! Certificates that are made for a test, and the client's side of TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

/// The host of the public URL.
pub const HOST: &str = "qr.example.vn";
/// Valid since yesterday, for 90 days.
pub const VALID: (i64, i64) = (-1, 89);

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Made {
    pub der: Vec<u8>,
    pub chain: String,
    pub key: String,
}

/// A self-signed certificate with a new P-256 key, valid from and until so many days from now.
pub fn made(names: &[&str], days: (i64, i64)) -> Made {
    made_with(&KeyPair::generate().unwrap(), names, days)
}

/// The same with a key of one's own.
pub fn made_with(key: &KeyPair, names: &[&str], days: (i64, i64)) -> Made {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut params = CertificateParams::new(names).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = |days: i64| {
        let since_1970 = now.checked_add_signed(days * 86_400).unwrap();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(since_1970)
    };
    (params.not_before, params.not_after) = (at(days.0), at(days.1));
    let certificate = params.self_signed(key).unwrap();
    Made { der: certificate.der().to_vec(), chain: certificate.pem(), key: key.serialize_pem() }
}

/// A client that takes any certificate whose key signs, and resumes nothing.
pub fn client() -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone::default()))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// The connection after a whole handshake. `name` is what the client asks for.
pub fn handshake(mut stream: TcpStream, config: ClientConfig, name: &str) -> io::Result<TlsStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(session, stream))
}

/// The certificate that a client gets who asks for a name, as DER.
pub fn served(address: SocketAddr, name: &str) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let stream = handshake(stream, client(), name)?;
    Ok(stream.conn.peer_certificates().unwrap()[0].to_vec())
}

/// Takes any certificate whose key signs in one of these ways.
#[derive(Debug)]
pub struct Anyone(pub Vec<SignatureScheme>);

impl Default for Anyone {
    /// In any way.
    fn default() -> Self {
        Self(ring::default_provider().signature_verification_algorithms.supported_schemes())
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
