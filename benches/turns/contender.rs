//! What all contenders can do, and what they share.

use std::path::Path;

use turnchat::Text;
use turnchat::{Algorithm, Identity};

/// A server on loopback that answers with what it heard, and its clients.
pub(crate) trait Contender: Send + 'static {
    /// The client's end, when the client may speak.
    type Talk: Send + 'static;

    /// This client connects, proves both keys and hears from the server.
    fn open(&self, who: usize) -> impl Future<Output = Self::Talk> + Send;

    /// So many turns, each with its reply.
    fn turns(talk: Self::Talk, count: usize) -> impl Future<Output = Self::Talk> + Send;

    /// Where the server listens on loopback.
    fn port(&self) -> u16;

    /// A conversation from the dial to an end that both sides know: one turn each.
    fn short(&self, who: usize) -> impl Future<Output = ()> + Send;
}

/// How a contender is made: whose keys, which message, and where it syncs files if it does.
pub(crate) type Start<C> = dyn Fn(&Sides, &Text, Option<&Path>) -> C;

/// Clients with a key of their own. A crowd needs as many: no key waits twice in a queue.
pub(crate) const CLIENTS: usize = 32;

/// Whose keys are proven.
pub(crate) struct Sides {
    pub(crate) server: Identity,
    pub(crate) clients: Vec<Identity>,
}

impl Sides {
    pub(crate) fn new() -> Self {
        let identity = || Identity::generate(Algorithm::default()).unwrap();
        Self {
            server: identity(),
            clients: (0..CLIENTS).map(|_| identity()).collect(),
        }
    }
}

/// A message of so many bytes: prose, in which JSON has nothing to escape.
pub(crate) fn text(bytes: usize) -> Text {
    let prose = "The server speaks first, then each in turn, until one of them quits. ";
    Text::new(prose.chars().cycle().take(bytes).collect::<String>()).unwrap()
}
