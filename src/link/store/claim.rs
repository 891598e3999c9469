//! [`Claim`]: whether a connection takes a conversation over that stands in a shared store. Pure.

use super::ticket::is_overtaken;
use crate::protocol::{Conversation, ConversationId, HeardWhen, Role, Violation};

/// A connection whose `hello` was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The conversation that it begins or goes on with.
    pub conversation: ConversationId,
    /// The highest turn that its client has heard.
    pub heard: u64,
    /// Its ticket.
    pub clienthello: u64,
    /// It has claimed before, with that ticket: what stands there by it is its own.
    pub has_claimed: bool,
}

/// What becomes of a claimant.
///
/// ```
/// use turnchat::ConversationId;
/// use turnchat::internals::{Claim, Claimant};
///
/// let new = Claimant {
///     conversation: ConversationId::from_bits([7; 16]),
///     heard: 0,
///     clienthello: 1,
///     has_claimed: false,
/// };
/// assert!(matches!(Claim::of(None, new), Claim::Free(_)));
/// assert_eq!(Claim::of(None, Claimant { heard: 1, ..new }), Claim::Ended);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It goes on from here, or begins, once this stands in the record with the claimant's ticket
    /// and the record is as it was read. Nothing is said before that (PROTOCOL 4.7).
    Free(Box<Conversation>),
    /// It has ended, or nobody knows it (PROTOCOL 4.23 and 4.24).
    Ended,
    /// A newer connection has come to another server, or one that came at the same time was
    /// first: this one is not answered (PROTOCOL 4.25).
    Overtaken,
    /// The client's counter is impossible (PROTOCOL 4.4).
    Impossible(Violation),
}

impl Claim {
    /// Of a claimant, where this was found: the ticket in the record, and its conversation.
    pub fn of(found: Option<(u64, Conversation)>, claimant: Claimant) -> Self {
        let is_own = |by| claimant.has_claimed && by == claimant.clienthello;
        let conversation = match found {
            Some((_, conversation)) if conversation.has_quit() => return Self::Ended,
            Some((by, _)) if is_overtaken(claimant.clienthello, by) && !is_own(by) => {
                return Self::Overtaken;
            }
            Some((_, conversation)) => conversation,
            None if claimant.heard > 0 => return Self::Ended,
            None => Conversation::new(Role::Server, claimant.conversation, HeardWhen::Stored),
        };
        // Tried on a copy: where it cannot be, nothing has changed.
        match conversation.clone().accept(claimant.heard) {
            Ok(()) => Self::Free(Box::new(conversation)),
            Err(violation) => Self::Impossible(violation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::store::next_ticket;
    use crate::protocol::{Snapshot, Text};

    fn id() -> ConversationId {
        ConversationId::from_bits([7; 16])
    }

    /// Turn 1 is said and not acknowledged.
    fn said_one() -> Conversation {
        let mut conversation = Conversation::new(Role::Server, id(), HeardWhen::Stored);
        conversation.say(Text::new("Hello").unwrap()).unwrap();
        Conversation::restore(Role::Server, conversation.snapshot()).unwrap()
    }

    fn claim(found: Option<(u64, Conversation)>, heard: u64, clienthello: u64) -> Claim {
        Claim::of(
            found,
            Claimant {
                conversation: id(),
                heard,
                clienthello,
                has_claimed: false,
            },
        )
    }

    #[test]
    fn what_nobody_knows_begins_unless_its_client_knows_it() {
        let Claim::Free(begun) = claim(None, 0, 5) else {
            panic!("it does not begin");
        };
        assert_eq!((begun.id(), begun.next_turn()), (id(), 1));
        assert_eq!(claim(None, 1, 5), Claim::Ended);
    }

    #[test]
    fn what_is_open_goes_on_as_it_stands() {
        let ticket = next_ticket(0, 3);
        let later = next_ticket(0, 4);
        for heard in [0, 1] {
            let found = claim(Some((ticket, said_one())), heard, later);
            assert_eq!(found, Claim::Free(Box::new(said_one())), "{heard}");
        }
        assert!(matches!(
            claim(Some((ticket, said_one())), 3, later),
            Claim::Impossible(Violation::Counters { theirs: 3, .. })
        ));
    }

    /// A claim is a write itself: what was drawn after it has a higher one. Of two that were
    /// drawn in between two writes nobody knows which is newer, and a claim stands.
    #[test]
    fn a_newer_connection_is_not_overtaken_and_one_of_the_same_time_is() {
        let ticket = next_ticket(0, 3);
        let also = next_ticket(ticket, 3);
        for (clienthello, is_free) in [
            (next_ticket(0, 2), false),
            (ticket, false),
            (also, false),
            (next_ticket(also, 4), true),
        ] {
            let found = claim(Some((ticket, said_one())), 1, clienthello);
            assert_eq!(matches!(found, Claim::Free(_)), is_free, "{clienthello}");
            assert_eq!(found == Claim::Overtaken, !is_free, "{clienthello}");
        }
    }

    /// Its conversation was parked while it claimed that, and it had to wait once more.
    #[test]
    fn a_connection_does_not_overtake_itself() {
        let ticket = next_ticket(0, 3);
        let found = |by| {
            let claimant = Claimant {
                conversation: id(),
                heard: 1,
                clienthello: ticket,
                has_claimed: true,
            };
            Claim::of(Some((by, said_one())), claimant)
        };
        assert_eq!(found(ticket), Claim::Free(Box::new(said_one())));
        for by in [ticket + 1, ticket - 1, next_ticket(0, 4)] {
            let is_free = by < ticket && by >> 20 < ticket >> 20;
            assert_eq!(found(by) == Claim::Overtaken, !is_free, "{by}");
        }
    }

    /// Also to one that is too old: its client may have nothing else to ask.
    #[test]
    fn an_end_is_told_to_whoever_asks() {
        let quit = Snapshot {
            quit: true,
            ..said_one().snapshot()
        };
        for snapshot in [quit, said_one().tombstone()] {
            let ended = Conversation::restore(Role::Server, snapshot).unwrap();
            for heard in [0, 1, 3] {
                let found = claim(Some((9, ended.clone())), heard, 5);
                assert_eq!(found, Claim::Ended);
            }
        }
    }
}
