//! The rules, each broken on purpose: the simulator has to find out.

use std::time::Duration;

use crate::config::Setup;
use crate::promise::{
    ACCUSED, AGREED, ENDLESS, LOST, ONCE, ONE_OPEN, REOPENED, REPLACED, SAFE, SAID, STUCK, TURN,
    UNSAID, WANTED,
};
use crate::{OWN, READABLE, live};

/// Each is found before so many histories are over.
const ENOUGH: u64 = 6_000;

/// A rule that is switched off, in the glue or on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Frames leave before what they depend on is stored.
    StoredBeforeSent,
    /// A message is acknowledged before it is in its reader's hands.
    Taken,
    /// What a file was flushed for is lost with the power.
    Flushed,
    /// What a killed program left unflushed is not flushed by the next that reads it.
    FlushedWhenRead,
    /// Where nobody knows what became of a put, it is tried again blindly.
    ReadWhereUnknown,
    /// A file that was made, renamed or removed is not, after that.
    NamesFlushed,
    /// A torn write takes the other slot with it.
    TornAlone,
    /// The old connection is still read after the new one was welcomed.
    DetachFirst,
    /// A `quit` is not stored.
    QuitOutlivesCrash,
    /// `quit` is not answered; the end of the stream acknowledges it.
    QuitAnswered,
    /// No `hello` is too old.
    NewestWins,
    /// A message is handed over twice after a restart, without a mark.
    Marked,
    /// A key may have several conversations, with a server that talks to one.
    OneOpen,
    /// The server forgets what has ended.
    EndsRemembered,
    /// A seat that was given to a connection which is gone is lost.
    SeatComesBack,
    /// Who comes when a conversation has just been put away is told `ended`.
    JustPutAway,
    /// What a parked conversation's peer gives up is answered, then stored.
    EndBeforeAnswer,
    /// A conversation that is given up is forgotten before its last message is read.
    ToldFirst,
    /// A connection that waits again, behind a conversation that was just parked, is not known to
    /// be of its key.
    KeyIsKept,
    /// A restarted server tells nothing of what it had ended.
    EndsAreTold,
    /// Words that were not acknowledged are let go of before their speaker knows of the end.
    RecordOutlivesEnd,
    /// Whoever asks for what somebody else has taken over is told that it has ended.
    OutOfReach,
    /// Of servers that share a store, whoever goes on with a conversation writes nothing before it
    /// says or hears something.
    Claimed,
    /// It is welcomed, and then claimed.
    ClaimFirst,
    /// A put of which nobody knows is taken for one that is done.
    UnknownIsUnknown,
    /// The ticket is drawn once the `hello` is there.
    TicketFirst,
    /// Ends are removed.
    EndsArePut,
}

impl Broken {
    /// The same where servers share a store.
    pub(crate) fn suit_shared(self, setup: &mut Setup) {
        match self {
            Self::UnknownIsUnknown | Self::ReadWhereUnknown => setup.mishaps.troubled_store = 6,
            Self::TicketFirst | Self::EndsArePut => setup.mishaps.held_back = 3,
            _ => {}
        }
    }

    /// More of what it takes to break it.
    pub(crate) fn suit(self, setup: &mut Setup) {
        let journals = |setup: &mut Setup, server, client| {
            setup.server_journal = server;
            let clients = setup.clients.iter_mut();
            clients.for_each(|of| of.has_journal = client);
        };
        match self {
            Self::FlushedWhenRead | Self::TornAlone => {
                journals(setup, true, true);
                setup.mishaps.crash_in_store = 8;
            }
            Self::NewestWins | Self::EndsRemembered | Self::DetachFirst => {
                journals(setup, false, false);
                setup.mishaps.held_back = 3;
            }
            Self::ReadWhereUnknown | Self::OutOfReach => {
                journals(setup, true, true);
                setup.mishaps.troubled_store = 10;
            }
            Self::SeatComesBack => {
                (setup.one_at_a_time, setup.seats) = (true, 1);
                (setup.latency, setup.delay) = (Duration::from_secs(1), Duration::from_secs(3));
                setup.mishaps.pause = Duration::from_secs(1);
                setup.thought = Duration::from_millis(500);
            }
            Self::EndBeforeAnswer | Self::KeyIsKept => {
                (setup.one_at_a_time, setup.seats) = (true, 1);
                journals(setup, true, true);
                setup.limits.hold = Duration::from_secs(20);
                setup.mishaps.quits = true;
                setup.mishaps.failing_store = 5;
                match self {
                    Self::EndBeforeAnswer => setup.mishaps.crash_in_step = 40,
                    // It takes a connection that enters just as its conversation is parked, and
                    // a store that fails twice.
                    _ => {
                        setup.mishaps.failing_store = 2;
                        setup.latency = Duration::from_secs(1);
                        setup.delay = Duration::from_secs(3);
                        setup.mishaps.pause = Duration::from_secs(2);
                    }
                }
            }
            Self::RecordOutlivesEnd => {
                journals(setup, true, true);
                setup.mishaps.crash_in_step = 40;
            }
            Self::ToldFirst | Self::EndsAreTold => {
                (setup.one_at_a_time, setup.seats) = (true, 1);
                journals(setup, true, false);
                setup.mishaps.crash_in_step = 40;
            }
            _ => {}
        }
    }
}

/// When this rule is broken, one of these promises is.
fn break_rule(rule: Broken, promises: &[&str]) {
    break_in(rule, promises, |seed, rule| Setup::drawn(seed, Some(rule)));
}

/// The same where servers share a store.
fn break_shared(rule: Broken, promises: &[&str]) {
    break_in(rule, promises, |seed, rule| {
        Setup::drawn(seed, Some(rule)).shared()
    });
}

fn break_in(rule: Broken, promises: &[&str], draw: fn(u64, Broken) -> Setup) {
    let broken = (0..ENOUGH).find_map(|seed| Some((seed, live(&draw(seed, rule)).err()?)));
    let Some((seed, (promise, _))) = broken else {
        panic!("{rule:?}: nothing is broken");
    };
    println!("{rule:?}: history {seed}: {promise}");
    assert!(promises.contains(&promise), "{rule:?}: {promise}");
}

#[test]
fn unless_stored_before_sent_a_crash_parts_the_two() {
    break_rule(
        Broken::StoredBeforeSent,
        &[TURN, SAID, ONCE, AGREED, WANTED, SAFE, LOST],
    );
}

#[test]
fn what_is_not_taken_is_not_acknowledged() {
    break_rule(Broken::Taken, &[SAFE, LOST]);
}

#[test]
fn what_is_stored_is_flushed() {
    break_rule(
        Broken::Flushed,
        &[READABLE, SAID, ONCE, AGREED, SAFE, WANTED, LOST, ACCUSED],
    );
}

#[test]
fn what_is_read_at_a_start_is_flushed() {
    break_rule(
        Broken::FlushedWhenRead,
        &[SAID, ONCE, AGREED, SAFE, WANTED, LOST, ACCUSED],
    );
}

#[test]
fn names_are_flushed_too() {
    break_rule(
        Broken::NamesFlushed,
        &[SAID, ONCE, AGREED, SAFE, WANTED, LOST, ACCUSED],
    );
}

#[test]
fn a_torn_write_leaves_the_other_slot_whole() {
    break_rule(Broken::TornAlone, &[READABLE]);
}

#[test]
fn unless_detached_first_an_old_connection_speaks_out_of_turn() {
    break_rule(Broken::DetachFirst, &[ACCUSED]);
}

#[test]
fn unless_a_quit_outlives_a_crash_an_end_is_undone() {
    break_rule(Broken::QuitOutlivesCrash, &[AGREED, WANTED]);
}

#[test]
fn unless_a_quit_is_answered_one_side_ends_alone() {
    break_rule(Broken::QuitAnswered, &[AGREED, UNSAID, LOST]);
}

#[test]
fn unless_the_newest_wins_an_old_hello_ends_a_conversation() {
    break_rule(Broken::NewestWins, &[REPLACED, WANTED, ACCUSED]);
}

#[test]
fn a_message_that_is_handed_over_again_is_marked() {
    break_rule(Broken::Marked, &[ONCE]);
}

#[test]
fn unless_a_key_has_one_conversation_two_are_open() {
    break_rule(Broken::OneOpen, &[ONE_OPEN, STUCK]);
}

#[test]
fn unless_ends_are_remembered_a_conversation_begins_again() {
    break_rule(Broken::EndsRemembered, &[REOPENED, WANTED, ACCUSED]);
}

#[test]
fn a_seat_given_to_a_dead_connection_has_to_come_back() {
    break_rule(Broken::SeatComesBack, &[STUCK, ENDLESS]);
}

#[test]
fn a_conversation_that_is_being_put_away_has_not_ended() {
    break_rule(Broken::JustPutAway, &[AGREED, WANTED]);
}

#[test]
fn the_end_of_a_parked_conversation_is_stored_before_it_is_answered() {
    break_rule(Broken::EndBeforeAnswer, &[AGREED, ONE_OPEN]);
}

#[test]
fn what_a_server_gives_up_is_forgotten_once_it_is_told() {
    break_rule(Broken::ToldFirst, &[SAFE, LOST]);
}

#[test]
fn what_was_said_before_an_end_is_told_after_a_crash() {
    break_rule(Broken::EndsAreTold, &[LOST]);
}

#[test]
fn a_record_stays_until_its_speaker_knows_of_the_end() {
    break_rule(Broken::RecordOutlivesEnd, &[LOST]);
}

#[test]
fn an_end_that_cannot_be_stored_is_not_told_to_who_waits_again() {
    break_rule(Broken::KeyIsKept, &[AGREED]);
}

#[test]
fn a_put_of_which_nobody_knows_is_not_tried_again_blindly() {
    break_rule(Broken::ReadWhereUnknown, &[OWN]);
}

#[test]
fn what_somebody_else_has_taken_over_has_not_ended() {
    break_rule(Broken::OutOfReach, &[AGREED]);
}

#[test]
fn unless_it_is_claimed_two_servers_go_on_with_one_conversation() {
    break_shared(
        Broken::Claimed,
        &[TURN, SAID, ONCE, AGREED, WANTED, SAFE, LOST, ACCUSED],
    );
}

#[test]
fn unless_it_is_claimed_first_a_welcome_is_not_true() {
    break_shared(
        Broken::ClaimFirst,
        &[TURN, SAID, ONCE, AGREED, WANTED, SAFE, LOST, ACCUSED],
    );
}

#[test]
fn a_put_of_which_nobody_knows_is_not_done() {
    break_shared(
        Broken::UnknownIsUnknown,
        &[TURN, SAID, ONCE, AGREED, WANTED, SAFE, LOST, ACCUSED],
    );
}

#[test]
fn a_shared_put_of_which_nobody_knows_is_not_tried_again_blindly() {
    break_shared(Broken::ReadWhereUnknown, &[OWN]);
}

#[test]
fn unless_tickets_are_drawn_first_an_old_hello_takes_over() {
    break_shared(Broken::TicketFirst, &[REPLACED, WANTED, ACCUSED]);
}

#[test]
fn unless_ends_are_put_a_hello_to_another_server_begins_anew() {
    break_shared(Broken::EndsArePut, &[REOPENED, WANTED, ACCUSED]);
}
