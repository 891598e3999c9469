//! A private conversation between two peers, one turn at a time, over TLS 1.3: each proves
//! its key to the other, and nobody speaks out of turn. Every message arrives once, over any
//! number of cuts, and of crashes of a side that keeps a journal.
//!
//! This is the library below the program `turnchat`. With `default-features = false` it comes
//! without the program and what only that needs. `docs/LIBRARY.md` has more: bots that think,
//! journals, stopping, cancelling; `docs/PROTOCOL.md` has what goes over the wire.
//!
//! # A server
//!
//! ```no_run
//! use turnchat::{Algorithm, Ended, Identity, ServerBuilder, Talk, Text, Turn, Verdict, tcp};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::generate(Algorithm::default())?;
//! let listener = tcp::listen("[::]:8876".parse()?)?;
//! println!("turnchat client HOST --pin {}", identity.key_id());
//! let server = ServerBuilder::new(&identity, async |_candidate| Verdict::Admit);
//! let server = server.start(tcp::acceptor(listener)).await?;
//! server
//!     .serve(8, async |talk| {
//!         // An `Err` is the end of this conversation alone.
//!         if let Err(ended) = greet(talk).await {
//!             println!("{ended}");
//!         }
//!     })
//!     .await;
//! # Ok(())
//! # }
//!
//! async fn greet(talk: Talk) -> Result<(), Ended> {
//!     // In a new conversation the server speaks first.
//!     if let Turn::Mine(mine) = talk.turn {
//!         let theirs = mine.say(Text::new("Hello! And you?").expect("short")).await?;
//!         let (message, mine) = theirs.hear().await?;
//!         println!("{:?}", message.text.as_str());
//!         mine.quit().await;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # A client
//!
//! ```no_run
//! use turnchat::{Algorithm, Client, Identity, Text, Turn, tcp};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::generate(Algorithm::default())?;
//! let pin = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse()?;
//! let client = Client::new(&identity, vec![pin]);
//! let waiting = client.connect(tcp::dialer("localhost", 8876)).await?;
//! if let Turn::Theirs(theirs) = waiting.welcome().await?.turn {
//!     let (message, mine) = theirs.hear().await?;
//!     println!("{:?}", message.text.as_str());
//!     let theirs = mine.say(Text::new("Fine, thank you.")?).await?;
//!     let ended = theirs.hear().await.err();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! ```text
//! cli/       4  arguments, terminal, JSON, reports, address book    knows all below
//! link/      3  async: wire, session, admission, server, client     knows 1 and 2
//! trust/     2  keys, identities, verifiers, TLS                    fs, rcgen, rustls; no frames, no turns
//! protocol/  1  pure: limits, text, frame, conversation, liveness   no io, net, fs, tokio, rustls, clap, clock
//! ```
//!
//! A floor names only floors below it; 1 and 2 do not know each other. `docs/TOUR.md` leads
//! through the house.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod internals;
mod link;
mod protocol;
mod trust;

#[cfg(feature = "socks")]
pub use link::socks;
pub use link::{
    Abandoned, Candidate, Cause, Client, Confirmed, ConnectError, ConnectionError, Ended,
    HandshakeError, IoError, Journal, JournalError, LinkError, MyTurn, Notice, OpenConversation,
    Paired, Pairing, PairingClient, PairingError, PairingEvent, Server, ServerBuilder, ServerEvent,
    ServerEvents, SharedStore, Storing, Talk, TheirTurn, Turn, Verdict, Waiting, tcp,
};
#[cfg(feature = "etcd")]
pub use link::{Caution, EtcdAddress, EtcdStore, EtcdTls, NoEtcdAddress, UnfitTls};
pub use protocol::{
    Code, ConversationId, Detail, FrameError, Limits, MalformedId, Message, Overdue, PairReason,
    Reason, Role, Text, TooLong, Violation,
};
pub use trust::{
    Algorithm, Encoding, HandshakeFailure, Identity, IdentityError, KeyId, MalformedCertificate,
    MalformedKey, MalformedPairingCode, NotProven, PairingCode, Peer, UnknownAlgorithm, Unusable,
    key_of_certificate_file,
};

/// Its examples compile.
#[cfg(doctest)]
#[doc = include_str!("../docs/LIBRARY.md")]
struct UsingTheLibrary;
