//! The rules, each broken on purpose: the checker has to find out.

use std::collections::HashMap;

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::config::{Config, NOTHING, Quits, Size};
use crate::world::{Event, World};
use crate::{
    ACCUSED, AGREED, COMPLETE, LOST, ONCE, ONE_OPEN, REOPENED, REPLACED, SAFE, SAID, STUCK, TURN,
    UNSAID, WANTED,
};

/// A rule that is switched off, in the driver or from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The `heard` of `hello` and `welcome` is not looked at.
    Counters,
    /// Frames leave before what they depend on is stored.
    StoredBeforeSent,
    /// The old connection is still read after the new one was welcomed.
    DetachFirst,
    /// No `hello` is too old.
    NewestWins,
    /// The server forgets what has ended.
    EndsRemembered,
    /// A key may have several conversations, with a server that talks to one.
    OneOpen,
    /// A `quit` is not stored.
    QuitOutlivesCrash,
    /// `quit` is not answered; the end of the stream acknowledges it.
    QuitAnswered,
    /// What was unacknowledged is not said again.
    SayAgain,
    /// A `hello` ends the others before it is refused.
    RefusedChangesNothing,
    /// A seat that was given to a connection which is gone is lost.
    SeatComesBack,
    /// A parked conversation that was given to such a connection is gone, too.
    ParkedStays,
    /// Who comes when a conversation has just been put away is told `ended`.
    JustPutAway,
    /// Connections are taken over in whatever order they come.
    NewestEnters,
    /// A conversation that is acknowledged is not remembered at all.
    JustEnded,
    /// A restarted client shows its last message only once it is welcomed.
    ShownFirst,
    /// What a parked conversation's peer gives up is answered, then stored.
    EndBeforeAnswer,
    /// A session that failed just when its peer began another is parked all the same.
    SupersededEnds,
    /// A message is acknowledged before it is in its reader's hands.
    HeardBeforeTaken,
    /// What a message depends on is let go of before it is in its reader's hands.
    RecordStays,
    /// A conversation that is given up is forgotten before its last message is read.
    ToldFirst,
    /// A restarted server tells nothing of what it had ended.
    EndsAreTold,
    /// Words that were not acknowledged are let go of before their speaker knows of the end.
    RecordOutlivesEnd,
    /// All that was open before a crash is open after it.
    LastIsKept,
    /// How young the last connection of a parked conversation was is forgotten.
    ParkedKeepsAge,
}

/// What the checker has found: a promise, and how it comes to be broken.
pub(crate) type Found = HashMap<&'static str, Path<World, (Event, Option<u8>)>>;

pub(crate) fn trace((promise, path): (&&str, &Path<World, (Event, Option<u8>)>)) -> String {
    let mut trace = format!("{promise}:\n");
    for (event, fuse) in path.clone().into_actions() {
        let crash = fuse.map_or(String::new(), |n| format!(", and crashes after {n}"));
        trace += &format!("    {event:?}{crash}\n");
    }
    trace
}

/// When this rule is broken, one of these promises is: looked for with as little
/// going wrong as that takes.
fn break_rule(rule: Broken, promises: &[&str]) {
    let quits = Quits::AnyTimeAnywhere;
    let (cuts, crashes) = (
        Size {
            cuts: 2,
            quits,
            ..NOTHING
        },
        Size {
            crashes: 1,
            quits,
            ..NOTHING
        },
    );
    let (journal, size) = match rule {
        Broken::Counters
        | Broken::DetachFirst
        | Broken::NewestWins
        | Broken::SayAgain
        | Broken::QuitAnswered
        | Broken::NewestEnters => ([false, false], cuts),
        Broken::JustPutAway => (
            [true, true],
            Size {
                cuts: 1,
                waits: 1,
                ..crashes
            },
        ),
        Broken::JustEnded => ([false, true], cuts),
        Broken::OneOpen => ([false, false], crashes),
        Broken::QuitOutlivesCrash => ([true, true], crashes),
        Broken::ShownFirst => ([false, true], crashes),
        Broken::StoredBeforeSent => (
            [true, true],
            Size {
                quits: Quits::AtTheEnd,
                ..crashes
            },
        ),
        Broken::EndsRemembered => ([true, false], Size { cuts: 1, ..crashes }),
        Broken::SeatComesBack => ([false, false], Size { cuts: 1, ..crashes }),
        Broken::ParkedStays => (
            [true, true],
            Size {
                waits: 1,
                quits: Quits::AtTheEnd,
                ..cuts
            },
        ),
        Broken::EndBeforeAnswer => (
            [true, true],
            Size {
                cuts: 1,
                waits: 1,
                ..crashes
            },
        ),
        Broken::LastIsKept => (
            [true, false],
            Size {
                turns: 1,
                crashes: 3,
                quits: Quits::AtTheEnd,
                ..NOTHING
            },
        ),
        Broken::SupersededEnds => (
            [true, false],
            Size {
                cuts: 1,
                waits: 1,
                ..crashes
            },
        ),
        Broken::ParkedKeepsAge => (
            [true, false],
            Size {
                cuts: 1,
                waits: 1,
                ..crashes
            },
        ),
        Broken::HeardBeforeTaken => (
            [false, false],
            Size {
                takes_late: true,
                ..NOTHING
            },
        ),
        Broken::RecordStays => (
            [true, true],
            Size {
                takes_late: true,
                ..crashes
            },
        ),
        Broken::ToldFirst => (
            [true, false],
            Size {
                takes_late: true,
                crashes: 2,
                quits,
                ..NOTHING
            },
        ),
        Broken::EndsAreTold | Broken::RecordOutlivesEnd => (
            [true, true],
            Size {
                cuts: 1,
                waits: 1,
                ..crashes
            },
        ),
        Broken::RefusedChangesNothing => (
            [false, false],
            Size {
                strays: 1,
                quits,
                ..NOTHING
            },
        ),
    };
    // One thread: always the same, shortest trace.
    let checker = Config::new(journal, size)
        .without(rule)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut discoveries = checker.discoveries();
    discoveries.remove(COMPLETE);
    for discovery in &discoveries {
        println!("{rule:?}: {}", trace(discovery));
    }
    assert!(!discoveries.is_empty(), "{rule:?}: nothing is broken");
    for promise in discoveries.keys() {
        assert!(promises.contains(promise), "{rule:?}: {promise}");
    }
}

#[test]
fn without_the_counters_a_message_comes_twice() {
    break_rule(Broken::Counters, &[ACCUSED]);
}

#[test]
fn unless_stored_before_sent_a_crash_parts_the_two() {
    break_rule(
        Broken::StoredBeforeSent,
        &[TURN, SAID, ONCE, AGREED, WANTED, SAFE],
    );
}

#[test]
fn unless_detached_first_an_old_connection_speaks_out_of_turn() {
    break_rule(Broken::DetachFirst, &[ACCUSED]);
}

#[test]
fn unless_the_newest_wins_an_old_hello_ends_a_conversation() {
    break_rule(Broken::NewestWins, &[WANTED, REPLACED]);
}

#[test]
fn unless_ends_are_remembered_a_conversation_begins_again() {
    break_rule(Broken::EndsRemembered, &[REOPENED]);
}

#[test]
fn unless_a_key_has_one_conversation_it_waits_behind_itself() {
    break_rule(Broken::OneOpen, &[STUCK, WANTED]);
}

#[test]
fn unless_a_quit_outlives_a_crash_an_end_is_undone() {
    break_rule(Broken::QuitOutlivesCrash, &[AGREED]);
}

#[test]
fn unless_a_quit_is_answered_one_side_ends_alone() {
    break_rule(Broken::QuitAnswered, &[AGREED, UNSAID]);
}

#[test]
fn unless_it_is_said_again_a_message_is_lost_with_its_connection() {
    break_rule(Broken::SayAgain, &[LOST, STUCK]);
}

#[test]
fn if_a_refused_hello_changes_something_a_conversation_is_ended_by_it() {
    break_rule(Broken::RefusedChangesNothing, &[WANTED, STUCK]);
}

#[test]
fn a_place_given_to_a_dead_connection_has_to_come_back() {
    break_rule(Broken::SeatComesBack, &[STUCK]);
}

#[test]
fn a_parked_conversation_given_to_a_dead_connection_has_to_stay() {
    break_rule(Broken::ParkedStays, &[WANTED]);
}

#[test]
fn a_conversation_that_is_being_put_away_has_not_ended() {
    break_rule(Broken::JustPutAway, &[WANTED, AGREED]);
}

#[test]
fn connections_that_overtake_each_other_are_told_apart() {
    break_rule(Broken::NewestEnters, &[REPLACED]);
}

#[test]
fn an_acknowledged_conversation_is_remembered_too() {
    break_rule(Broken::JustEnded, &[REOPENED]);
}

#[test]
fn what_was_heard_before_a_crash_is_shown_without_a_welcome() {
    break_rule(Broken::ShownFirst, &[LOST, SAFE]);
}

#[test]
fn the_end_of_a_parked_conversation_is_stored_before_it_is_answered() {
    break_rule(Broken::EndBeforeAnswer, &[AGREED]);
}

#[test]
fn a_hello_that_was_overtaken_does_not_end_a_parked_conversation() {
    break_rule(Broken::ParkedKeepsAge, &[WANTED]);
}

#[test]
fn a_conversation_whose_peer_began_another_is_not_parked() {
    break_rule(Broken::SupersededEnds, &[ONE_OPEN]);
}

#[test]
fn what_is_not_taken_is_not_acknowledged() {
    break_rule(Broken::HeardBeforeTaken, &[SAFE, LOST]);
}

#[test]
fn a_record_stays_until_its_last_message_is_taken() {
    break_rule(Broken::RecordStays, &[SAFE, LOST]);
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
fn of_what_a_key_has_open_after_a_crash_the_last_is_kept() {
    break_rule(Broken::LastIsKept, &[ONE_OPEN]);
}
