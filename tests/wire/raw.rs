//! A peer that shares no code with ours: any certificate and key, any ALPN or
//! none, any bytes, over any stream. What it reads it shows line by line.

use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName,
    Error, ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use turnchat::KeyId;

/// The protocol's name in the handshake, spelt out here once more.
pub(crate) const ALPN: &str = "turnchat/1";

/// A conversation's id: 22 characters.
pub(crate) const ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// Another.
pub(crate) const OTHER_ID: &str = "AQAAAAAAAAAAAAAAAAAAAA";

/// A certificate and a private key, which need not belong together.
#[derive(Clone, Debug)]
pub(crate) struct Papers {
    /// The key that the certificate names.
    pub(crate) id: KeyId,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Arc<dyn SigningKey>,
}

impl Papers {
    pub(crate) fn new() -> Self {
        Self::of(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn of(algorithm: &'static SignatureAlgorithm) -> Self {
        Self::made(algorithm, |_| ())
    }

    /// A usual key, and a certificate that says what it likes.
    pub(crate) fn saying(what: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::made(&rcgen::PKCS_ECDSA_P256_SHA256, what)
    }

    fn made(
        algorithm: &'static SignatureAlgorithm,
        what: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        what(&mut params);
        let certificate = params.self_signed(&pair).unwrap();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        Self {
            id: KeyId::of_spki(&pair.subject_public_key_info()),
            certificate: certificate.der().clone(),
            key: sign::any_supported_type(&der).unwrap(),
        }
    }

    /// What somebody has who met the owner of these papers: a copy of the
    /// certificate, and a private key of their own.
    pub(crate) fn copied(&self) -> Self {
        Self {
            key: Self::new().key,
            ..self.clone()
        }
    }

    /// The same key, with these bytes for a certificate.
    pub(crate) fn with_certificate(&self, der: &[u8]) -> Self {
        Self {
            certificate: CertificateDer::from(der.to_vec()),
            ..self.clone()
        }
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// How a raw peer shows itself in the handshake.
#[derive(Clone, Debug)]
pub(crate) struct Face {
    papers: Option<Papers>,
    alpn: Vec<Vec<u8>>,
    /// A server's answer to a client's certificate, if it is not content.
    refusal: Option<CertificateError>,
    /// A server asks for a certificate.
    asks: bool,
}

impl Face {
    pub(crate) fn new(papers: &Papers) -> Self {
        Self {
            papers: Some(papers.clone()),
            alpn: vec![ALPN.into()],
            refusal: None,
            asks: true,
        }
    }

    /// A server that lets in whoever dials.
    pub(crate) fn asking_nobody(mut self) -> Self {
        self.asks = false;
        self
    }

    pub(crate) fn without_papers() -> Self {
        Self {
            papers: None,
            ..Self::new(&Papers::new())
        }
    }

    pub(crate) fn speaking(mut self, alpn: &[&str]) -> Self {
        self.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn refusing(mut self, refusal: CertificateError) -> Self {
        self.refusal = Some(refusal);
        self
    }

    fn resolver(&self) -> Option<Arc<SingleCertAndKey>> {
        let papers = self.papers.clone()?;
        let certified = CertifiedKey::new(vec![papers.certificate], papers.key);
        Some(Arc::new(certified.into()))
    }

    /// Greets over this stream as a client.
    pub(crate) async fn dial<S>(&self, stream: S) -> io::Result<Raw<client::TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let builder = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(None)));
        let mut config = match self.resolver() {
            Some(resolver) => builder.with_client_cert_resolver(resolver),
            None => builder.with_client_cert_resolver(Arc::new(NoPapers)),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connecting.await.map(Raw::new)
    }

    /// Takes a client over this stream.
    pub(crate) async fn answer<S>(&self, stream: S) -> io::Result<Raw<server::TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let resolver = self.resolver().expect("a server has a certificate");
        let builder = ServerConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap();
        let builder = match self.asks {
            true => builder.with_client_cert_verifier(Arc::new(Credulous(self.refusal.clone()))),
            false => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.alpn);
        TlsAcceptor::from(Arc::new(config))
            .accept(stream)
            .await
            .map(Raw::new)
    }
}

/// What came from the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A line, without its LF.
    Line(String),
    /// `close_notify`.
    Close,
    /// The stream ended without.
    Cut,
    /// TLS says what is wrong.
    Alert(AlertDescription),
}

/// A raw peer behind its handshake.
pub(crate) struct Raw<T> {
    pub(crate) stream: T,
    pub(crate) unread: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    fn new(stream: T) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends a line. That nobody takes it shows at the next reading.
    pub(crate) async fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Reads once; false at the end of the stream.
    pub(crate) async fn read_some(&mut self) -> bool {
        self.unread.reserve(16 * 1024);
        matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..))
    }

    /// Whether a whole line was read.
    pub(crate) fn has_line(&self) -> bool {
        self.unread.contains(&b'\n')
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Came {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Came::Line(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) => {
                    assert!(self.unread.is_empty(), "half a line: {:?}", self.unread);
                    return Came::Close;
                }
                Ok(_) => {}
                Err(error) => {
                    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                    return match inner {
                        Some(Error::AlertReceived(alert)) => Came::Alert(*alert),
                        _ => Came::Cut,
                    };
                }
            }
        }
    }

    /// What comes next is this line.
    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let line = line.to_owned();
        async move {
            let came = self.next().await;
            assert_eq!(came, Came::Line(line), "at {caller}");
        }
    }

    /// What comes next is an `error` with this code, and an orderly close.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, code: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let code = code.to_owned();
        async move {
            let Came::Line(line) = self.next().await else {
                panic!("no error `{code}`, at {caller}");
            };
            let frame: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(frame["error"]["code"], code, "{line} at {caller}");
            assert_eq!(self.next().await, Came::Close, "at {caller}");
        }
    }

    /// Our side's greeting, and its end as a client: what it names.
    pub(crate) async fn hello(&mut self) -> String {
        let Came::Line(line) = self.next().await else {
            panic!("no hello");
        };
        let frame: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(frame["hello"]["heard"], 0, "{line}");
        frame["hello"]["conversation"].as_str().unwrap().to_owned()
    }

    /// Greets as a client, and is welcomed.
    pub(crate) async fn begin(&mut self) {
        self.begin_as(ID).await;
    }

    /// The same, in a conversation of this id: one that has ended is not begun
    /// again.
    pub(crate) async fn begin_as(&mut self, id: &str) {
        self.send(&hello(id)).await;
        loop {
            match self.next().await {
                Came::Line(line) if line.starts_with("{\"wait\"") => {}
                came => return assert_eq!(came, Came::Line(welcome(id))),
            }
        }
    }
}

pub(crate) fn hello(id: &str) -> String {
    format!("{{\"hello\":{{\"conversation\":\"{id}\",\"heard\":0}}}}")
}

pub(crate) fn welcome(id: &str) -> String {
    format!("{{\"welcome\":{{\"conversation\":\"{id}\",\"heard\":0}}}}")
}

pub(crate) fn say(turn: u64, text: &str) -> String {
    format!("{{\"say\":{{\"turn\":{turn},\"text\":\"{text}\"}}}}")
}

pub(crate) fn heard(turn: u64) -> String {
    format!("{{\"heard\":{{\"turn\":{turn}}}}}")
}

pub(crate) const QUIT: &str = "{\"quit\":{}}";
pub(crate) const PING: &str = "{\"ping\":{}}";
pub(crate) const PONG: &str = "{\"pong\":{}}";

/// Takes any certificate and does not even check the signature, or refuses
/// any, as asked for.
#[derive(Debug)]
struct Credulous(Option<CertificateError>);

impl Credulous {
    fn schemes() -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ServerCertVerifier for Credulous {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for Credulous {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.0 {
            None => Ok(ClientCertVerified::assertion()),
            Some(refusal) => Err(refusal.clone().into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

#[derive(Debug)]
struct NoPapers;

impl ResolvesClientCert for NoPapers {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
