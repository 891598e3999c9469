//! Drives one [`Conversation`] over one [`Wire`]: what its user commands and
//! what the peer sends go in, what the conversation puts out is done in order.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::over::{Cause, Over};
use super::wire::{LinkError, Wire};
use crate::protocol::{By, Conversation, End, Frame, Output, SayError, Text};

/// What a conversation's user wants of it.
pub(crate) enum Command {
    Say(Text, oneshot::Sender<Result<(), SayError>>),
    Quit,
}

/// What a conversation's user learns of it.
pub(crate) enum Event {
    Waiting { ahead: u64 },
    Connected,
    Heard { turn: u64, text: Text },
    Delivered { turn: u64 },
    Over(Over),
}

/// Both ends of a conversation's channels, as the driver holds them.
pub(crate) struct User {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    /// For whoever else may end the conversation. It keeps nothing open.
    pub(crate) quitter: mpsc::WeakSender<Command>,
}

impl User {
    async fn tell(&self, event: Event) {
        // That nobody listens any more shows at the commands.
        let _ = self.events.send(event).await;
    }
}

/// Runs the conversation, already connected or accepted, to its end and closes
/// the connection; the last event is [`Event::Over`].
pub(crate) async fn run<S>(mut conversation: Conversation, mut wire: Wire<S>, mut user: User)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let over = match drive(&mut conversation, &mut wire, &mut user).await {
        Ok(end) => {
            wire.close().await;
            Over::from(end)
        }
        Err(error) => {
            if let Some(last) = error.farewell() {
                wire.close_with(&last).await;
            }
            let standing = conversation.end(By::Me);
            Over {
                cause: Cause::Link(error),
                turns: standing.turns,
                unacknowledged: standing.unacknowledged,
            }
        }
    };
    user.tell(Event::Over(over)).await;
}

async fn drive<S>(
    conversation: &mut Conversation,
    wire: &mut Wire<S>,
    user: &mut User,
) -> Result<End, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        while let Some(output) = conversation.poll_output() {
            match output {
                Output::Store(_) => conversation.stored(),
                Output::Send(frame) => {
                    if matches!(frame, Frame::Welcome { .. }) {
                        wire.welcomed();
                    }
                    wire.queue(&frame);
                }
                Output::Waiting { ahead } => user.tell(Event::Waiting { ahead }).await,
                Output::Connected => {
                    wire.welcomed();
                    user.tell(Event::Connected).await;
                }
                Output::Deliver { turn, text } => {
                    user.tell(Event::Heard { turn, text }).await;
                    // A user who answers at once does it here: `heard` and the answer share a packet.
                    tokio::task::yield_now().await;
                }
                Output::Delivered { turn } => user.tell(Event::Delivered { turn }).await,
                Output::Over(end) => return Ok(end),
            }
        }
        tokio::select! {
            biased;
            command = user.commands.recv() => match command {
                Some(Command::Say(text, result)) => {
                    let _ = result.send(conversation.say(text));
                }
                Some(Command::Quit) => conversation.quit(),
                // A user that let go of its turn did not say the end: the link is cut.
                None => return Err(LinkError::Cut),
            },
            frame = wire.next() => conversation.receive(frame?)?,
        }
    }
}
