//! The library's main interface. The type of a conversation says who speaks next, and only
//! [`MyTurn`] can [`say`](MyTurn::say).
//!
//! Speaking out of turn does not compile:
//!
//! ```compile_fail,E0599
//! # use turnchat::TheirTurn;
//! # use turnchat::Text;
//! async fn interrupt(turn: TheirTurn, text: Text) {
//!     turn.say(text).await; // no method named `say` found for struct `TheirTurn`
//! }
//! ```
//!
//! nor does speaking twice:
//!
//! ```compile_fail,E0382
//! # use turnchat::MyTurn;
//! # use turnchat::Text;
//! async fn monologue(turn: MyTurn, text: Text) {
//!     turn.say(text.clone()).await.unwrap();
//!     turn.say(text).await.unwrap(); // use of moved value: `turn`
//! }
//! ```
//!
//! nor listening when it is one's own turn to speak:
//!
//! ```compile_fail,E0599
//! # use turnchat::MyTurn;
//! async fn stare(turn: MyTurn) {
//!     turn.hear().await; // no method named `hear` found for struct `MyTurn`
//! }
//! ```

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use super::driver::Conversing;
use super::error::Ended;
use super::session::Notice;
use crate::protocol::{Conversation, ConversationId, Message, Text};
use crate::trust::Peer;

/// A conversation that is on, and whose turn it is. Dropping it, or a turn, cuts the link, as a
/// crash would. With a journal the conversation can go on later. Without one it is over: a
/// client learns so when it redials, and a server waits in vain, for up to its own
/// [`Limits::hold`](crate::protocol::Limits::hold). To end a conversation, `quit`.
///
/// ```
/// use turnchat::{Ended, Talk, Turn};
/// use turnchat::Text;
///
/// /// Answers everything with what was said.
/// async fn echo(talk: Talk) -> Result<(), Ended> {
///     let mut turn = talk.turn;
///     let mut answer = Text::new("Speak, and I repeat it.").unwrap();
///     loop {
///         turn = match turn {
///             Turn::Mine(mine) => Turn::Theirs(mine.say(answer.clone()).await?),
///             Turn::Theirs(theirs) => {
///                 let (heard, mine) = theirs.hear().await?;
///                 answer = heard.text;
///                 Turn::Mine(mine)
///             }
///         }
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Talk {
    /// The peer: a key that was proven on this connection; or, where a journal has an open
    /// conversation and nobody answers yet, the key that it is with.
    pub peer: Peer,
    /// The name that both sides use for this conversation.
    pub conversation: ConversationId,
    /// Whether it continues. On a client: after a restart. On a server: after a restart, or after
    /// an earlier [`Talk`] of it was dropped or its link was lost for too long; but only if a
    /// turn has passed.
    pub is_resumed: bool,
    /// In a resumed conversation, the last message heard, if it was not answered. It may have
    /// been seen before the restart, or not.
    pub unanswered: Option<Message>,
    /// Who speaks next.
    pub turn: Turn,
}

/// Who speaks next.
#[derive(Debug)]
pub enum Turn {
    /// This side.
    Mine(MyTurn),
    /// The peer.
    Theirs(TheirTurn),
}

/// It is this side's turn: it can speak, once.
#[derive(Debug)]
pub struct MyTurn(Handle);

/// It is the peer's turn: this side can listen.
#[derive(Debug)]
pub struct TheirTurn(Handle);

/// A client that waits for the `welcome`. With an open conversation in a journal there need
/// not be a connection yet: [`is_lost`](Self::is_lost) and [`notice`](Self::notice) tell.
/// Dropping it cuts the link. The server keeps the place in its queue for 10 s (PROTOCOL 4.28),
/// and a journal keeps its conversation.
#[derive(Debug)]
pub struct Waiting {
    handle: Handle,
    greeted: Greeted,
}

/// What is known of a conversation before its first connection.
#[derive(Debug)]
struct Greeted {
    peer: Peer,
    conversation: ConversationId,
    is_resumed: bool,
    is_over: bool,
    is_my_turn: bool,
    unanswered: Option<Message>,
}

impl Waiting {
    /// Waits for the `welcome`. That may take long: a person may have to decide about us, and
    /// others may be before us in the queue.
    ///
    /// If this future is dropped, the place in the queue is given up. To stop waiting without
    /// losing it, wait with [`ready`](Self::ready).
    ///
    /// # Errors
    /// [`Ended`] if there will be no conversation. The message in
    /// [`unanswered`](Self::unanswered) then counts as taken.
    pub async fn welcome(mut self) -> Result<Talk, Ended> {
        self.ready().await;
        if self.is_welcomed() && !self.is_over() {
            return Ok(self.greeted.talk(self.handle));
        }
        self.taken();
        Err(self.handle.ended().await)
    }

    /// The next thing to know while waiting; `None` once
    /// [`welcome`](Self::welcome) will answer at once. May be dropped at any
    /// time, and nothing is missed.
    pub async fn notice(&mut self) -> Option<Notice> {
        self.handle.notice(!self.greeted.is_over).await
    }

    /// Waits until [`welcome`](Self::welcome) will answer at once. May be dropped at any
    /// time, and nothing is lost.
    pub async fn ready(&mut self) {
        while self.notice().await.is_some() {}
    }

    /// Whether the link is lost, as far as [`notice`](Self::notice) has told.
    pub fn is_lost(&self) -> bool {
        self.handle.is_lost
    }

    /// Ends the conversation, and gives up the place. [`welcome`](Self::welcome) then says how it
    /// ended, within [`Limits::quit`](crate::protocol::Limits::quit); or, if the `welcome` had
    /// come before, it gives a [`Talk`] whose turn says so.
    pub fn quit(&self) {
        self.handle.conversation.quit();
    }

    /// The peer: a key that was proven on this connection; or, where a journal has an open
    /// conversation and nobody answers yet, the key that it is with.
    pub fn peer(&self) -> &Peer {
        &self.greeted.peer
    }

    /// The name that both sides use for this conversation.
    pub fn conversation(&self) -> ConversationId {
        self.greeted.conversation
    }

    /// In a conversation that continues after a restart, the last message heard, if it was not
    /// answered. Read it here: it may not have been seen before, and the `welcome` may never
    /// come.
    pub fn unanswered(&self) -> Option<&Message> {
        self.greeted.unanswered.as_ref()
    }

    /// Call this once the message in [`unanswered`](Self::unanswered) is shown, stored or
    /// otherwise safe. The [`Talk`] then comes without it. After another restart it comes again,
    /// until it is answered.
    pub fn taken(&mut self) {
        self.greeted.unanswered = None;
        self.handle.conversation.taken();
    }

    /// Whether the `welcome` has come.
    pub fn is_welcomed(&self) -> bool {
        self.handle.conversation.is_welcomed()
    }

    /// Whether this conversation continues after a restart.
    pub fn is_resuming(&self) -> bool {
        self.greeted.is_resumed
    }

    /// Whether this side had quit it before a restart: only its peer has yet to learn of the end.
    /// [`welcome`](Self::welcome) says how it ended; then [`Client::connect`](super::Client::connect)
    /// begins a new one.
    pub fn is_over(&self) -> bool {
        self.greeted.is_over
    }
}

impl MyTurn {
    /// The number of this turn.
    pub fn number(&self) -> u64 {
        self.0.turn
    }

    /// Says a message; the turn passes. When this returns, the journal has the message, if there
    /// is one, and the message is sent now, or once the link is back. That it has arrived is told
    /// by [`Notice::Delivered`] or the peer's answer.
    ///
    /// This waits only for the journal. If this future is dropped, the link is cut; the message
    /// may have been said.
    ///
    /// # Errors
    /// [`Ended`]: the conversation has ended, and this was not sent. If the journal failed or
    /// the server stopped just now, the message may be stored all the same. It is then sent when
    /// the conversation goes on: its turn shows that.
    pub async fn say(mut self, text: Text) -> Result<TheirTurn, Ended> {
        let said = self.0.conversation.say(text);
        if said.is_ok() && poll_fn(|cx| self.0.conversation.poll_stored(cx)).await {
            self.0.turn += 1;
            return Ok(TheirTurn(self.0));
        }
        Err(self.0.ended().await)
    }

    /// Call this once the message is shown, stored or otherwise safe. Without a journal, the
    /// peer learns only now that it arrived; with one, it learns as soon as the journal has
    /// it (PROTOCOL 3.5). [`say`](Self::say), [`quit`](Self::quit) and [`leave`](Self::leave)
    /// imply it.
    ///
    /// A peer that quits waits for this, for up to [`Limits::quit`](crate::protocol::Limits::quit)
    /// (PROTOCOL 3.9); then the link is cut. With a journal an open conversation hands the
    /// message over again after a restart, as [`Talk::unanswered`], until it is answered. If
    /// the conversation has ended, it does so only if this was not called.
    pub fn taken(&self) {
        self.0.conversation.taken();
    }

    /// Call this if the message cannot be taken; it acts even before the future is polled. With
    /// a journal the conversation goes on later, as after a crash: on a client at the next
    /// `connect`, on a server when the peer is back. The cause is then `LinkError::Cut`. Without
    /// one it is over, the peer is told so by `error` `internal`, and the cause is
    /// `LinkError::ReaderFailed`. The future may be dropped at any time.
    pub fn abandon(self) -> impl Future<Output = Ended> + Send {
        self.0.abandoned()
    }

    /// Ends the conversation at once, even before the future is polled. The future waits until
    /// the peer knows, for up to [`Limits::quit`](crate::protocol::Limits::quit) (10 s), or
    /// [`Limits::crowded_quit`](crate::protocol::Limits::crowded_quit) (2 s) on a server where
    /// somebody waits for the place. Past it, the cause is
    /// [`Overdue::Quit`](crate::protocol::Overdue::Quit).
    ///
    /// If the future is dropped, the link is cut, and the `quit` may not have gone out. A server
    /// still tells the peer when it comes back. A client does so only with a journal, at the
    /// next `connect`.
    pub fn quit(mut self) -> impl Future<Output = Ended> + Send {
        self.taken();
        self.0.conversation.quit();
        async move { self.0.ended().await }
    }

    /// Ends the conversation here. [`TheirTurn::hear`] then says how it ended, and
    /// [`TheirTurn::notice`] tells what happens until then.
    pub fn leave(self) -> TheirTurn {
        self.taken();
        self.0.conversation.quit();
        TheirTurn(self.0)
    }

    /// The next thing to know while thinking; `None` once the conversation is
    /// over, which [`say`](Self::say) and [`quit`](Self::quit) then explain.
    /// May be dropped at any time, and nothing is missed.
    pub async fn notice(&mut self) -> Option<Notice> {
        self.0.notice(false).await
    }
}

impl TheirTurn {
    /// The number of this turn.
    pub fn number(&self) -> u64 {
        self.0.turn
    }

    /// Waits for what the peer says; the turn passes.
    ///
    /// If this future is dropped, the link is cut. To stop waiting without that, wait with
    /// [`ready`](Self::ready).
    ///
    /// # Errors
    /// [`Ended`]: the conversation has ended.
    pub async fn hear(mut self) -> Result<(Message, MyTurn), Ended> {
        let message = self.0.heard().await?;
        self.0.turn = message.turn + 1;
        Ok((message, MyTurn(self.0)))
    }

    /// Ends the conversation, out of turn. [`hear`](Self::hear) then says how it ended; or it
    /// still gives a message that had come before, and the turn with it says so.
    pub fn quit(&self) {
        self.0.conversation.quit();
    }

    /// Call this if messages cannot be taken: see [`MyTurn::abandon`]. May be dropped at any
    /// time.
    pub fn abandon(self) -> impl Future<Output = Ended> + Send {
        self.0.abandoned()
    }

    /// Waits until [`hear`](Self::hear) will answer at once.
    ///
    /// May be dropped at any time, and nothing is lost: wait as long as you like for an
    /// answer, and then do something else.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use turnchat::{Ended, TheirTurn};
    /// # use tokio::time::timeout;
    /// # async fn example(mut theirs: TheirTurn) -> Result<(), Ended> {
    /// if timeout(Duration::from_secs(60), theirs.ready()).await.is_err() {
    ///     theirs.quit(); // that was long enough
    /// }
    /// let (message, mine) = theirs.hear().await?;
    /// # drop((message, mine)); Ok(())
    /// # }
    /// ```
    pub async fn ready(&mut self) {
        while self.notice().await.is_some() {}
    }

    /// Whether the link is lost, as far as [`notice`](Self::notice) has told.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost
    }

    /// The next thing to know while listening; `None` once
    /// [`hear`](Self::hear) will answer at once. May be dropped at any time,
    /// and nothing is missed.
    pub async fn notice(&mut self) -> Option<Notice> {
        self.0.notice(false).await
    }
}

/// The user's handle on a conversation. Dropping it tells the driver that the user is gone.
struct Handle {
    conversation: Arc<dyn Conversing>,
    /// The turn that is on.
    turn: u64,
    is_lost: bool,
}

impl Handle {
    fn new(conversation: &Conversation, driver: Arc<dyn Conversing>) -> Self {
        Self {
            turn: conversation.next_turn(),
            conversation: driver,
            is_lost: false,
        }
    }

    async fn notice(&mut self, awaits_welcome: bool) -> Option<Notice> {
        let notice = poll_fn(|cx| self.conversation.poll_notice(cx, awaits_welcome)).await;
        match notice {
            Some(Notice::Lost) => self.is_lost = true,
            Some(
                Notice::Waiting { .. }
                | Notice::Delivered { .. }
                | Notice::OtherKey { .. }
                | Notice::NotNow { .. }
                | Notice::Silence { .. },
            ) => {}
            // It is back, or not needed any more.
            Some(Notice::Resumed) | None => self.is_lost = false,
        }
        notice
    }

    /// The next message, whatever else there is to know.
    async fn heard(&mut self) -> Result<Message, Ended> {
        let heard = poll_fn(|cx| self.conversation.poll_heard(cx)).await;
        self.is_lost = false;
        heard
    }

    fn abandoned(mut self) -> impl Future<Output = Ended> + Send {
        self.conversation.reader_failed();
        async move { self.ended().await }
    }

    /// The end, whatever comes before it.
    async fn ended(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.heard().await {
                return ended;
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.conversation.dropped();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut handle = f.debug_struct("Handle");
        handle.field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl Greeted {
    fn new(peer: Peer, conversation: &Conversation, is_resumed: bool) -> Self {
        let is_my_turn = conversation.is_my_turn();
        let unanswered = conversation.last_heard().filter(|_| is_my_turn);
        Self {
            peer,
            conversation: conversation.id(),
            is_resumed,
            is_over: conversation.has_quit(),
            is_my_turn,
            unanswered,
        }
    }

    fn talk(self, handle: Handle) -> Talk {
        Talk {
            peer: self.peer,
            conversation: self.conversation,
            is_resumed: self.is_resumed,
            unanswered: self.unanswered,
            turn: match self.is_my_turn {
                true => Turn::Mine(MyTurn(handle)),
                false => Turn::Theirs(TheirTurn(handle)),
            },
        }
    }
}

/// The server's side of a conversation that is about to be welcomed, or held.
pub(super) fn welcomed(
    peer: Peer,
    conversation: &Conversation,
    driver: Arc<dyn Conversing>,
) -> Talk {
    let is_resumed = conversation.next_turn() > 1;
    let greeted = Greeted::new(peer, conversation, is_resumed);
    greeted.talk(Handle::new(conversation, driver))
}

/// The client's side of a conversation whose `hello` is about to go.
pub(super) fn greeting(
    peer: Peer,
    conversation: &Conversation,
    is_resumed: bool,
    driver: Arc<dyn Conversing>,
) -> Waiting {
    Waiting {
        greeted: Greeted::new(peer, conversation, is_resumed),
        handle: Handle::new(conversation, driver),
    }
}
