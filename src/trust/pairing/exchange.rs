//! [`Exchange`]: SPAKE2 over the words of a code, bound to one TLS connection and to both keys
//! (PAIRING 3.2 to 3.6). Pure values, but for the random scalar.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use rustls::{ConnectionCommon, Error};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::code::PairingCode;
use crate::trust::KeyId;

/// SPAKE2's names of the two sides (PAIRING 3.2).
const CLIENT: &[u8] = b"turnchat-pair/1 client";
const SERVER: &[u8] = b"turnchat-pair/1 server";

/// TLS's exporter (RFC 8446, section 7.5), which only the two ends of one connection know
/// (PAIRING 3.4).
const LABEL: &[u8] = b"EXPORTER-turnchat-pairing";

/// A secret of one TLS connection.
pub(crate) struct Exporter([u8; 32]);

impl Exporter {
    /// The connection's.
    ///
    /// # Errors
    /// If its handshake is not complete.
    pub(crate) fn of<D>(connection: &ConnectionCommon<D>) -> Result<Self, Error> {
        let exported = connection.export_keying_material([0; 32], LABEL, None)?;
        Ok(Self(exported))
    }
}

/// The keys that the two sides of a connection have proven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) client: KeyId,
    pub(crate) server: KeyId,
}

/// One side's half of SPAKE2: one guess at the code. Whoever knows another code gets another
/// key, and learns nothing else.
pub(crate) struct Exchange {
    state: Spake2<Ed25519Group>,
    message: [u8; 33],
}

/// The other side's message is no point of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPoint;

impl Exchange {
    /// The client's half.
    pub(crate) fn client(code: &PairingCode) -> Self {
        Self::begun(Spake2::start_a(&password(code), &client(), &server()))
    }

    /// The server's half.
    pub(crate) fn server(code: &PairingCode) -> Self {
        Self::begun(Spake2::start_b(&password(code), &client(), &server()))
    }

    fn begun((state, sent): (Spake2<Ed25519Group>, Vec<u8>)) -> Self {
        let mut message = [0; 33];
        message.iter_mut().zip(sent).for_each(|(to, it)| *to = it);
        Self { state, message }
    }

    /// What the other side has to get.
    pub(crate) fn message(&self) -> [u8; 33] {
        self.message
    }

    /// What each side has to say now to show that it knows the code.
    ///
    /// # Errors
    /// [`NoPoint`]; the exchange is over then.
    pub(crate) fn finish(
        self,
        theirs: &[u8; 33],
        exporter: &Exporter,
        keys: &Keys,
    ) -> Result<Confirmations, NoPoint> {
        let key = self.state.finish(theirs).map_err(|_| NoPoint)?;
        Ok(Confirmations::derive(&key, exporter, keys))
    }
}

fn password(code: &PairingCode) -> Password {
    Password::new(code.spoken())
}

fn client() -> Identity {
    Identity::new(CLIENT)
}

fn server() -> Identity {
    Identity::new(SERVER)
}

/// What the two sides say to each other at the end. They are right only if both sides used one
/// code, on one connection, and agree on both keys.
pub(crate) struct Confirmations {
    pub(crate) client: Confirmation,
    pub(crate) server: Confirmation,
}

impl Confirmations {
    fn derive(spake2: &[u8], exporter: &Exporter, keys: &Keys) -> Self {
        let info = format!("{}\n{}", keys.server, keys.client);
        let secret = Salt::new(HKDF_SHA256, &exporter.0).extract(spake2);
        let (mut client, mut server) = ([0; 32], [0; 32]);
        let mut both = [0; 64];
        #[expect(clippy::expect_used, reason = "HKDF gives up to 8,160 bytes")]
        secret
            .expand(&[info.as_bytes()], Length(both.len()))
            .and_then(|expanded| expanded.fill(&mut both))
            .expect("64 bytes");
        let halves = client.iter_mut().chain(&mut server);
        halves.zip(both).for_each(|(to, byte)| *to = byte);
        Self {
            client: Confirmation(client),
            server: Confirmation(server),
        }
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What one side has to say.
pub(crate) struct Confirmation([u8; 32]);

impl Confirmation {
    /// The bytes to send.
    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Whether this was said. How long that takes does not tell how much of it is right.
    pub(crate) fn is(&self, said: &[u8; 32]) -> bool {
        verify_slices_are_equal(&self.0, said).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use rand_core::{CryptoRng, Error as RngError, RngCore};

    use super::*;

    fn code(spoken: &str) -> PairingCode {
        spoken.parse().unwrap()
    }

    fn keys() -> Keys {
        Keys {
            client: KeyId::of_spki(b"bob"),
            server: KeyId::of_spki(b"alice"),
        }
    }

    /// What both sides derive, each for itself.
    fn exchanged(
        codes: [&str; 2],
        exporters: [Exporter; 2],
        keys: [Keys; 2],
    ) -> [Confirmations; 2] {
        let client = Exchange::client(&code(codes[0]));
        let server = Exchange::server(&code(codes[1]));
        let (from_client, from_server) = (client.message(), server.message());
        [
            client.finish(&from_server, &exporters[0], &keys[0]),
            server.finish(&from_client, &exporters[1], &keys[1]),
        ]
        .map(|finished| finished.unwrap_or_else(|NoPoint| panic!("a point")))
    }

    /// Whether each side believes the other.
    fn believes([client, server]: [Confirmations; 2]) -> [bool; 2] {
        [
            client.server.is(&server.server.to_bytes()),
            server.client.is(&client.client.to_bytes()),
        ]
    }

    const WORDS: &str = "acoustic-museum-tide";

    #[test]
    fn one_code_convinces_both_sides() {
        let exporters = || [Exporter([1; 32]), Exporter([1; 32])];
        let both = exchanged([WORDS, WORDS], exporters(), [keys(), keys()]);
        assert_ne!(both[0].client.to_bytes(), both[0].server.to_bytes());
        assert_eq!(believes(both), [true, true]);
    }

    #[test]
    fn another_code_connection_or_key_convinces_nobody() {
        let one = || Exporter([1; 32]);
        let mallory = KeyId::of_spki(b"mallory");
        let other_client = Keys {
            client: mallory,
            ..keys()
        };
        let other_server = Keys {
            server: mallory,
            ..keys()
        };
        let swapped = Keys {
            client: keys().server,
            server: keys().client,
        };
        let other = "acoustic-museum-tiger";
        for (what, codes, exporters, keys) in [
            ("code", [WORDS, other], [one(), one()], [keys(), keys()]),
            (
                "order",
                [WORDS, "museum-acoustic-tide"],
                [one(), one()],
                [keys(), keys()],
            ),
            (
                "connection",
                [WORDS, WORDS],
                [one(), Exporter([2; 32])],
                [keys(), keys()],
            ),
            (
                "client",
                [WORDS, WORDS],
                [one(), one()],
                [keys(), other_client],
            ),
            (
                "server",
                [WORDS, WORDS],
                [one(), one()],
                [other_server, keys()],
            ),
            ("both", [WORDS, WORDS], [one(), one()], [keys(), swapped]),
        ] {
            let believed = believes(exchanged(codes, exporters, keys));
            assert_eq!(believed, [false, false], "another {what}");
        }
    }

    #[test]
    fn a_side_does_not_take_its_own_confirmation_for_the_others() {
        let exporters = [Exporter([1; 32]), Exporter([1; 32])];
        let [client, _] = exchanged([WORDS, WORDS], exporters, [keys(), keys()]);
        assert!(!client.server.is(&client.client.to_bytes()));
        let mut nearly = client.server.to_bytes();
        nearly[31] ^= 1;
        assert!(!client.server.is(&nearly));
    }

    #[test]
    fn what_is_no_point_is_told() {
        // Of 8 numbers that begin so, half are no point.
        let mut refused = 0;
        for y in 0..8 {
            let mut theirs = [0; 33];
            theirs[0] = 0x42;
            theirs[1] = y;
            theirs[2] = 9;
            let exchange = Exchange::client(&code(WORDS));
            let finished = exchange.finish(&theirs, &Exporter([1; 32]), &keys());
            refused += usize::from(finished.is_err());
        }
        assert!((1..8).contains(&refused), "{refused}");
        let reflected = Exchange::client(&code(WORDS));
        let theirs = reflected.message();
        let finished = reflected.finish(&theirs, &Exporter([1; 32]), &keys());
        assert!(finished.is_err());
    }

    /// Gives a scalar to whoever asks for a random one: 64 bytes that are reduced.
    struct Fixed(Vec<u8>);

    impl RngCore for Fixed {
        fn next_u32(&mut self) -> u32 {
            unreachable!("a scalar is asked for as bytes")
        }

        fn next_u64(&mut self) -> u64 {
            unreachable!("a scalar is asked for as bytes")
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            self.0.resize(bytes.len(), 0);
            bytes.copy_from_slice(&self.0);
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
            self.fill_bytes(bytes);
            Ok(())
        }
    }

    impl CryptoRng for Fixed {}

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The one in docs/PAIRING.md, which another implementation has made.
    #[test]
    fn the_pages_test_vector_is_ours() {
        let page = include_str!("../../../docs/PAIRING.md");
        let vector = page.split("```text vector\n").nth(1).unwrap();
        let vector = vector.split("```").next().unwrap();
        let value = |name: &str| {
            let mut lines = vector.lines().filter_map(|line| line.split_once(" = "));
            let found = lines.find(|(it, _)| it.trim() == name);
            found.unwrap_or_else(|| panic!("no {name}")).1.to_owned()
        };
        let password = Password::new(value("code"));
        let scalar = |name| Fixed(bytes(&value(name)));
        let a = Spake2::start_a_with_rng(&password, &client(), &server(), scalar("x"));
        let b = Spake2::start_b_with_rng(&password, &client(), &server(), scalar("y"));
        let (a, b) = (Exchange::begun(a), Exchange::begun(b));
        assert_eq!(hex(&a.message()), value("client spake2"));
        assert_eq!(hex(&b.message()), value("server spake2"));
        let (to_a, to_b) = (b.message(), a.message());
        let keys = Keys {
            client: value("client").parse().unwrap(),
            server: value("server").parse().unwrap(),
        };
        let exporter = Exporter(bytes(&value("exporter")).try_into().unwrap());
        let key = Exchange::begun(Spake2::start_a_with_rng(
            &password,
            &client(),
            &server(),
            scalar("x"),
        ));
        assert_eq!(hex(&key.state.finish(&to_a).unwrap()), value("key"));
        for (side, theirs) in [(a, to_a), (b, to_b)] {
            let Ok(confirmations) = side.finish(&theirs, &exporter, &keys) else {
                panic!("no point");
            };
            let [client, server] = [confirmations.client, confirmations.server];
            assert_eq!(hex(&client.to_bytes()), value("client confirm"));
            assert_eq!(hex(&server.to_bytes()), value("server confirm"));
        }
    }
}
