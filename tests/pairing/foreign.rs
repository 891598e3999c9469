//! Either side of an exchange, written from docs/PAIRING.md alone, step by step.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{client, server};
use turnchat::KeyId;

use crate::wire::raw::{Came, Face, Papers, Raw};

pub(crate) const PAIR_ALPN: &str = "turnchat-pair/1";

pub(crate) const FAILED: &str = "{\"refuse\":{\"reason\":\"pairing-failed\"}}";
pub(crate) const BUSY: &str = "{\"refuse\":{\"reason\":\"busy\"}}";
pub(crate) const DECLINED: &str = "{\"refuse\":{\"reason\":\"declined\"}}";
pub(crate) const INTERNAL: &str = "{\"error\":{\"code\":\"internal\"}}";

pub(crate) fn face(papers: &Papers) -> Face {
    Face::new(papers).speaking(&[PAIR_ALPN])
}

pub(crate) fn line(member: &str, bytes: &[u8]) -> String {
    let encoded = URL_SAFE_NO_PAD.encode(bytes);
    format!("{{\"pair\":{{\"{member}\":\"{encoded}\"}}}}")
}

/// The bytes that such a line holds.
fn held(line: &str, member: &str) -> Vec<u8> {
    let frame: serde_json::Value = serde_json::from_str(line).unwrap();
    let value = frame["pair"][member].as_str();
    URL_SAFE_NO_PAD
        .decode(value.unwrap_or_else(|| panic!("{line}")))
        .unwrap()
}

/// Half of an exchange.
pub(crate) struct Half {
    state: Spake2<Ed25519Group>,
    pub(crate) line: String,
}

impl Half {
    pub(crate) fn client(code: &str) -> Self {
        let [a, b] = names();
        Self::of(Spake2::start_a(&Password::new(code), &a, &b))
    }

    pub(crate) fn server(code: &str) -> Self {
        let [a, b] = names();
        Self::of(Spake2::start_b(&Password::new(code), &a, &b))
    }

    fn of((state, message): (Spake2<Ed25519Group>, Vec<u8>)) -> Self {
        let line = line("spake2", &message);
        Self { state, line }
    }

    /// The lines with which the client and the server confirm.
    pub(crate) fn confirms(
        self,
        theirs: &str,
        exporter: &[u8],
        client: &KeyId,
        server: &KeyId,
    ) -> [String; 2] {
        struct Bytes64;
        impl KeyType for Bytes64 {
            fn len(&self) -> usize {
                64
            }
        }
        let key = self.state.finish(&held(theirs, "spake2")).unwrap();
        let info = format!("{server}\n{client}");
        let extracted = Salt::new(HKDF_SHA256, exporter).extract(&key);
        let info = [info.as_bytes()];
        let expanded = extracted.expand(&info, Bytes64).unwrap();
        let mut both = [0; 64];
        expanded.fill(&mut both).unwrap();
        [line("confirm", &both[..32]), line("confirm", &both[32..])]
    }
}

fn names() -> [Identity; 2] {
    ["client", "server"].map(|it| Identity::new(format!("turnchat-pair/1 {it}").as_bytes()))
}

fn exported<D>(connection: &rustls::ConnectionCommon<D>) -> Vec<u8> {
    let label = b"EXPORTER-turnchat-pairing";
    let exported = connection.export_keying_material([0; 32], label, Some(b""));
    exported.unwrap().to_vec()
}

pub(crate) async fn line_of<T>(raw: &mut Raw<T>) -> String
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    match raw.next().await {
        Came::Line(line) => line,
        came => panic!("{came:?}"),
    }
}

/// A client that has got the server's SPAKE2 message.
pub(crate) struct Guesser<S> {
    pub(crate) raw: Raw<client::TlsStream<S>>,
    /// What it has to say now.
    pub(crate) ours: String,
    /// What the server has to say then.
    pub(crate) theirs: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guesser<S> {
    pub(crate) async fn begin(stream: S, papers: &Papers, server: &KeyId, code: &str) -> Self {
        let mut raw = face(papers).dial(stream).await.unwrap();
        let half = Half::client(code);
        raw.send(&half.line).await;
        let theirs = line_of(&mut raw).await;
        let exporter = exported(raw.stream.get_ref().1);
        let [ours, theirs] = half.confirms(&theirs, &exporter, &papers.id, server);
        Self { raw, ours, theirs }
    }

    /// Says its confirmation: what comes then.
    pub(crate) async fn confirm(&mut self) -> Came {
        self.raw.send(&self.ours).await;
        self.raw.next().await
    }

    /// The same, and it has to be the server's confirmation.
    pub(crate) async fn succeed(&mut self) {
        let came = self.confirm().await;
        assert_eq!(came, Came::Line(self.theirs.clone()));
        assert_eq!(self.raw.next().await, Came::Close);
    }

    /// The same, and it has to be this line, and an end.
    pub(crate) async fn fail(&mut self, line: &str) {
        assert_eq!(self.confirm().await, Came::Line(line.to_owned()));
        assert_eq!(self.raw.next().await, Came::Close);
    }
}

/// A server that has got a client's SPAKE2 message, and answered it.
pub(crate) struct Answerer<S> {
    pub(crate) raw: Raw<server::TlsStream<S>>,
    /// What the client has to say now.
    pub(crate) theirs: String,
    /// What it has to say then.
    pub(crate) ours: String,
    /// The SPAKE2 message, which is not sent yet.
    pub(crate) spake2: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Answerer<S> {
    pub(crate) async fn begin(stream: S, papers: &Papers, client: &KeyId, code: &str) -> Self {
        let mut raw = face(papers).answer(stream).await.unwrap();
        let theirs = line_of(&mut raw).await;
        let half = Half::server(code);
        let spake2 = half.line.clone();
        let exporter = exported(raw.stream.get_ref().1);
        let [theirs, ours] = half.confirms(&theirs, &exporter, client, &papers.id);
        Self {
            raw,
            theirs,
            ours,
            spake2,
        }
    }

    /// Sends its message, and gets the client's confirmation.
    pub(crate) async fn go_on(&mut self) -> String {
        let spake2 = self.spake2.clone();
        self.raw.send(&spake2).await;
        line_of(&mut self.raw).await
    }
}
