//! The session as a value: redials, stores that fail, holds, ends.

use super::pace::NOTICE_PAUSE;
use super::*;
use crate::link::store::JournalError;
use crate::protocol::{Code, ConversationId, Frame, HeardWhen};
use crate::trust::KeyId;

fn session(role: Role) -> Session {
    session_that(HeardWhen::Taken, role)
}

fn session_that(heard_when: HeardWhen, role: Role) -> Session {
    let id = ConversationId::from_bits([7; 16]);
    let conversation = Conversation::new(role, id, heard_when);
    Session::new(role, conversation, true, true, &Limits::default())
}

/// A server's, with a connection.
fn linked() -> Session {
    linked_to(session(Role::Server))
}

fn linked_to(mut session: Session) -> Session {
    let greeting = Greeting {
        heard: 0,
        has_quit: false,
        clienthello: 1,
    };
    session.accept(greeting).unwrap();
    session
}

fn outputs(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

/// The next redial's delay, in milliseconds, if there is to be one.
fn redial(session: &mut Session) -> Option<u128> {
    outputs(session)
        .into_iter()
        .find_map(|output| match output {
            Output::Arm(Timer::Redial, delay) => Some(delay.as_millis()),
            _ => None,
        })
}

/// Dials, with nobody there.
fn dial(session: &mut Session) {
    session.fired(Timer::Redial);
    assert_eq!(outputs(session), [Output::Dial]);
    session.dial_failed(None);
}

#[test]
fn a_redial_comes_at_once_and_later_ones_ever_more_slowly() {
    let mut session = session(Role::Client);
    session.hold(0);
    for delay in [50, 100, 200, 400, 800, 1_600, 3_000, 3_000] {
        assert_eq!(redial(&mut session), Some(delay));
        dial(&mut session);
    }
    for _ in 0..600 {
        assert_eq!(redial(&mut session), Some(3_000));
        dial(&mut session);
    }
}

#[test]
fn a_connection_that_comes_to_nothing_is_no_reason_to_hurry() {
    let mut session = session(Role::Client);
    session.hold(0);
    assert_eq!(redial(&mut session), Some(50));
    session.connected();
    session.stored(Ok(()));
    outputs(&mut session);
    session.stored(Ok(()));
    session.link_lost(LinkError::Cut);
    assert_eq!(redial(&mut session), Some(100));
}

/// A server whose peer has answered turn 1, and has not been heard out yet.
fn answered() -> Session {
    let mut session = linked_to(session_that(HeardWhen::Stored, Role::Server));
    settle(&mut session);
    session.say(Text::new("one").unwrap()).unwrap();
    settle(&mut session);
    let text = Text::new("two").unwrap();
    session.receive(Frame::Say { turn: 2, text });
    settle(&mut session);
    session
}

/// It was told that the conversation can go on: the peer quits again when it comes back
/// (PROTOCOL 4.9).
#[test]
fn what_is_taken_once_the_link_has_failed_answers_no_quit() {
    let mut session = answered();
    session.receive(Frame::Quit {});
    assert!(session.conversation().owes_quit());
    session.receive(Frame::Welcome {
        conversation: session.conversation().id(),
        heard: 0,
    });
    session.taken();
    session.closed();
    let mut remains = None;
    while !session.is_done() {
        for output in outputs(&mut session) {
            match output {
                Output::Store { snapshot, .. } => assert!(!snapshot.quit),
                Output::Done(last) => remains = Some(last),
                _ => {}
            }
        }
        session.stored(Ok(()));
    }
    let Some(Remains::Parked(parked)) = remains else {
        panic!("{remains:?}");
    };
    assert!(!parked.has_quit());
}

/// Done is the last output, whatever its user has not asked for yet.
#[test]
fn nothing_comes_behind_the_end() {
    let mut session = session(Role::Client);
    session.connected();
    settle(&mut session);
    session.receive(Frame::Wait { ahead: 3 });
    settle(&mut session);
    session.receive(Frame::Refuse {
        reason: Reason::UnknownPeer,
    });
    settle(&mut session);
    session.closed();
    settle(&mut session);
    assert!(session.is_done());
    assert_eq!(session.poll_notice(), Some(Notice::Waiting { ahead: 3 }));
    assert_eq!(session.poll_output(), None);

    // Nor where its user has taken the last message so late.
    let mut session = answered();
    session.receive(Frame::Quit {});
    session.dropped();
    settle(&mut session);
    assert!(session.is_done());
    session.taken();
    assert_eq!(session.poll_output(), None);
}

/// Does what it puts out; all that is stored is stored at once.
fn settle(session: &mut Session) {
    while !outputs(session).is_empty() {
        session.stored(Ok(()));
    }
}

fn connect(session: &mut Session) {
    session.connected();
    settle(session);
    session.receive(Frame::Welcome {
        conversation: session.conversation().id(),
        heard: session.conversation().snapshot().said,
    });
    settle(session);
}

#[test]
fn redials_are_fast_again_once_a_turn_passes() {
    let mut session = session(Role::Client);
    session.hold(0);
    for delay in [50, 100, 200] {
        assert_eq!(redial(&mut session), Some(delay));
        connect(&mut session);
        session.link_lost(LinkError::Cut);
    }
    assert_eq!(redial(&mut session), Some(400));
    connect(&mut session);
    let text = Text::new("one").unwrap();
    session.receive(Frame::Say { turn: 1, text });
    settle(&mut session);
    session.taken();
    session.link_lost(LinkError::Cut);
    assert_eq!(redial(&mut session), Some(50));

    connect(&mut session);
    session.say(Text::new("two").unwrap()).unwrap();
    settle(&mut session);
    session.link_lost(LinkError::Cut);
    assert_eq!(redial(&mut session), Some(100));
    // It had come; only its acknowledgement was lost.
    connect(&mut session);
    session.link_lost(LinkError::Cut);
    assert_eq!(redial(&mut session), Some(50));
}

#[test]
fn a_quit_is_redialled_three_times_in_its_ten_seconds() {
    let mut session = session(Role::Client);
    session.hold(0);
    for _ in 0..20 {
        outputs(&mut session);
        dial(&mut session);
    }
    assert_eq!(redial(&mut session), Some(3_000));
    session.quit();
    let mut longest = 0;
    for delay in [50, 1_500, 3_000] {
        assert_eq!(redial(&mut session), Some(delay));
        settle(&mut session);
        dial(&mut session);
        longest += 2 * delay;
    }
    assert_eq!(redial(&mut session), None);
    assert!(longest < Limits::default().quit.as_millis());
}

/// What is told within a second, whatever the peer does meanwhile.
fn told(session: &mut Session) -> Vec<Notice> {
    let next = || {
        let has_notice = session.has_notice();
        let notice = session.poll_notice();
        assert_eq!(has_notice, notice.is_some(), "{notice:?}");
        notice
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_place_that_changes_all_the_time_is_told_now_and_then() {
    let mut session = session(Role::Client);
    session.connected();
    settle(&mut session);
    let mut notices = Vec::new();
    for ahead in 0..400_000 {
        session.receive(Frame::Wait { ahead });
        settle(&mut session);
        notices.extend(told(&mut session));
    }
    assert_eq!(notices.len(), usize::from(NOTICES));
    assert!(!session.has_notice());
    let last = Notice::Waiting { ahead: 399_999 };
    session.fired(Timer::Notices);
    assert_eq!(told(&mut session), [last]);
    // Nothing has changed since.
    session.fired(Timer::Notices);
    assert_eq!(told(&mut session), []);
}

#[test]
fn a_peer_that_comes_and_goes_all_the_time_is_told_of_now_and_then() {
    let mut session = session(Role::Server);
    let mut notices = Vec::new();
    for clienthello in 1..=800 {
        let greeting = Greeting {
            heard: 0,
            has_quit: false,
            clienthello,
        };
        session.accept(greeting).unwrap();
        settle(&mut session);
        notices.extend(told(&mut session));
        session.link_lost(LinkError::Cut);
        settle(&mut session);
        notices.extend(told(&mut session));
    }
    assert_eq!(notices.len(), usize::from(NOTICES));
    assert_eq!(notices.first(), Some(&Notice::Lost));
    // What was told last and what is so differ: that is told when it may be.
    assert_eq!(notices.last(), Some(&Notice::Resumed));
    session.fired(Timer::Notices);
    assert_eq!(told(&mut session), [Notice::Lost]);
}

/// A `welcome` behind something that is being stored, and then a cut.
#[test]
fn a_welcome_that_is_late_does_not_bring_a_link_back() {
    let mut session = session(Role::Client);
    connect(&mut session);
    let text = Text::new("one").unwrap();
    session.receive(Frame::Say { turn: 1, text });
    settle(&mut session);
    session.taken();
    session.link_lost(LinkError::Cut);
    session.connected();
    settle(&mut session);
    session.say(Text::new("two").unwrap()).unwrap();
    assert!(matches!(outputs(&mut session)[..], [Output::Store { .. }]));
    session.receive(Frame::Welcome {
        conversation: session.conversation().id(),
        heard: 0,
    });
    session.link_lost(LinkError::Cut);
    outputs(&mut session);
    session.stored(Ok(()));
    outputs(&mut session);
    assert!(session.is_lost());
}

/// That nobody is there either is no news, and tells less; the hold then ends for this reason.
fn is_held_out_for(mut session: Session, error: LinkError) {
    session.dial_failed(None);
    settle(&mut session);
    assert_eq!(told(&mut session), []);
    session.fired(Timer::Hold);
    let left = std::iter::from_fn(|| {
        session.stored(Ok(()));
        session.poll_output()
    });
    let left: Vec<_> = left.collect();
    let cause = Cause::Link(error);
    let is_it = |output: &Output| matches!(output, Output::Ended(ended) if ended.cause == cause);
    assert!(left.iter().any(is_it), "{left:?}");
}

#[test]
fn another_key_is_told_of_once_and_is_what_a_hold_ends_with() {
    let keys = [[1; 32], [2; 32]].map(|bits| KeyId::of_spki(&bits));
    let mut session = session(Role::Client);
    session.hold(0);
    assert_eq!(told(&mut session), [Notice::Lost]);
    for key in keys {
        for is_first in [true, false, false] {
            session.fired(Timer::Redial);
            session.dial_failed(Some(key));
            settle(&mut session);
            let notices = told(&mut session);
            assert_eq!(notices.contains(&Notice::OtherKey { key }), is_first);
        }
    }
    is_held_out_for(session, LinkError::OtherKey(keys[1]));
}

/// A server can be full, or on its way out, for as long as a conversation is held.
#[test]
fn a_refusal_for_now_is_told_of_once_and_is_what_a_hold_ends_with() {
    let mut session = session(Role::Client);
    connect(&mut session);
    told(&mut session);
    let (busy, closing) = (Reason::Busy, Reason::Closing);
    for reasons in [&[busy][..], &[busy, busy, closing, closing, busy]] {
        session.link_lost(LinkError::Cut);
        settle(&mut session);
        assert_eq!(told(&mut session), [Notice::Lost]);
        let mut last = None;
        for reason in reasons.iter().copied() {
            session.fired(Timer::Redial);
            session.connected();
            settle(&mut session);
            session.receive(Frame::Refuse { reason });
            settle(&mut session);
            let is_news = last.replace(reason) != Some(reason);
            let news = is_news.then_some(Notice::NotNow { reason });
            assert_eq!(told(&mut session), Vec::from_iter(news));
        }
        if reasons.len() == 1 {
            session.fired(Timer::Redial);
            connect(&mut session);
            assert_eq!(told(&mut session), [Notice::Resumed]);
        }
    }
    session.fired(Timer::Redial);
    is_held_out_for(session, LinkError::NotNow(busy));
}

/// Else whoever is refused again believes that it still has that place.
#[test]
fn a_refusal_behind_a_place_in_the_queue_is_news_again() {
    let mut session = session(Role::Client);
    connect(&mut session);
    session.link_lost(LinkError::Cut);
    settle(&mut session);
    told(&mut session);
    let reason = Reason::Busy;
    for place in [None, Some(2), Some(2)] {
        session.fired(Timer::Redial);
        session.connected();
        settle(&mut session);
        if let Some(ahead) = place {
            session.receive(Frame::Wait { ahead });
            settle(&mut session);
            assert_eq!(told(&mut session), [Notice::Waiting { ahead }]);
        }
        session.receive(Frame::Refuse { reason });
        settle(&mut session);
        assert_eq!(told(&mut session), [Notice::NotNow { reason }]);
    }
}

#[test]
fn what_is_delivered_is_told_at_once() {
    let mut session = session(Role::Server);
    session.pace.notices = 0;
    session.news.delivered = Some(1);
    assert!(session.has_notice());
    assert_eq!(told(&mut session), [Notice::Delivered { turn: 1 }]);
}

#[test]
fn notices_that_were_told_are_forgotten_in_time() {
    let mut session = session(Role::Client);
    session.pace.notices = NOTICES - 2;
    session.fired(Timer::Notices);
    let again = Output::Arm(Timer::Notices, NOTICE_PAUSE);
    assert_eq!(outputs(&mut session), [again]);
    session.fired(Timer::Notices);
    assert_eq!(outputs(&mut session), []);
    assert_eq!(session.pace.notices, NOTICES);
}

#[test]
fn what_cannot_be_stored_is_not_said() {
    let mut session = session(Role::Server);
    let clienthello = 1;
    let greeting = Greeting {
        heard: 0,
        has_quit: false,
        clienthello,
    };
    session.accept(greeting).unwrap();
    outputs(&mut session);
    let before = session.conversation().snapshot();
    session.say(Text::new("Hello").unwrap()).unwrap();
    assert!(matches!(outputs(&mut session)[..], [Output::Store { .. }]));
    session.stored(Err(StoreError::Failed(JournalError::Damaged {
        path: "x".into(),
    })));
    assert!(session.has_failed_to_store());
    let code = Code::Internal;
    let last = Frame::Error { code, detail: None };
    assert_eq!(outputs(&mut session), [Output::Close(Some(last))]);
    session.closed();
    let left = outputs(&mut session);
    let Some(Output::Done(Remains::Parked(parked))) = left.last() else {
        panic!("{left:?}");
    };
    assert_eq!(parked.snapshot(), before);
}

/// Up to the store with this number, which somebody else has made impossible; what comes out
/// behind it. `None`: there are not so many.
fn taken_over_at(mut store: usize, session: &mut Session) -> Option<Vec<Output>> {
    let steps: [fn(&mut Session); 6] = [
        |session| session.say(Text::new("Hello").unwrap()).unwrap(),
        |session| session.receive(Frame::Heard { turn: 1 }),
        |session| {
            let text = Text::new("Hello to you").unwrap();
            session.receive(Frame::Say { turn: 2, text });
        },
        Session::taken,
        Session::quit,
        |session| session.receive(Frame::Quit {}),
    ];
    for step in steps {
        step(session);
        loop {
            let put_out = outputs(session);
            if session.is_storing() && store == 0 {
                session.stored(Err(StoreError::TakenOver));
                return Some(outputs(session));
            } else if session.is_storing() {
                store -= 1;
                session.stored(Ok(()));
            } else if let Some(Output::Close(_)) = put_out.last() {
                session.closed();
            } else {
                break;
            }
        }
    }
    None
}

#[test]
fn what_is_continued_elsewhere_is_neither_said_nor_kept_here() {
    let mut stores = 0;
    let begun = || linked_to(session_that(HeardWhen::Stored, Role::Server));
    while let Some(left) = taken_over_at(stores, &mut begun()) {
        let [link @ .., Output::Ended(ended), Output::Done(remains)] = &left[..] else {
            panic!("{left:?}");
        };
        let is_silent = |output: &Output| matches!(output, Output::Cut | Output::Disarm(_));
        assert!(link.iter().all(is_silent), "{stores}: {left:?}");
        // An end that stood on the disk before has come about.
        let is_told = ended.cause == Cause::Link(LinkError::TakenOver);
        assert!(is_told || ended.cause == Cause::Me, "{stores}: {left:?}");
        assert_eq!(*remains, Remains::Nothing);
        stores += 1;
    }
    // A turn said, one heard, the quit, and the end.
    assert_eq!(stores, 4);
}

/// It was held all the while, and is parked at last.
#[test]
fn what_was_held_while_it_went_on_elsewhere_is_said_to_go_on() {
    let mut session = linked_to(session_that(HeardWhen::Stored, Role::Server));
    session.link_lost(LinkError::Cut);
    session.fired(Timer::Hold);
    outputs(&mut session);
    assert!(session.is_storing());
    session.stored(Err(StoreError::TakenOver));
    let left = outputs(&mut session);
    let [Output::Ended(ended), Output::Done(remains)] = &left[..] else {
        panic!("{left:?}");
    };
    assert_eq!(ended.cause, Cause::Link(LinkError::TakenOver));
    assert_eq!(*remains, Remains::Nothing);
}

/// Another server has claimed it, and this one learns that before it stores anything.
#[test]
fn whoever_is_told_that_it_goes_on_elsewhere_says_nothing_more() {
    let mut session = linked_to(session_that(HeardWhen::Stored, Role::Server));
    outputs(&mut session);
    session.taken_over();
    let left = outputs(&mut session);
    let [link @ .., Output::Ended(ended), Output::Done(remains)] = &left[..] else {
        panic!("{left:?}");
    };
    let is_silent = |output: &Output| matches!(output, Output::Cut | Output::Disarm(_));
    assert!(link.iter().all(is_silent), "{left:?}");
    assert_eq!(ended.cause, Cause::Link(LinkError::TakenOver));
    assert_eq!(*remains, Remains::Nothing);
}

#[test]
fn a_place_is_kept_while_nobody_waits_for_it() {
    let mut session = session(Role::Server);
    session.hold(0);
    outputs(&mut session);
    session.crowded(true);
    session.crowded(false);
    for _ in 0..CUT_PARTS {
        session.fired(Timer::CrowdedHold);
    }
    assert!(session.is_on());
    session.crowded(true);
    assert!(!session.is_on());
}

/// Who is next does not wait for the end to be acknowledged.
#[test]
fn a_quit_is_soon_given_up_while_somebody_waits() {
    let mut session = linked();
    session.quit();
    assert!(!outputs(&mut session).contains(&Output::Arm(Timer::CrowdedQuit, SOON)));
    session.crowded(true);
    assert_eq!(
        outputs(&mut session),
        [Output::Arm(Timer::CrowdedQuit, SOON)]
    );
    session.crowded(false);
    session.fired(Timer::CrowdedQuit);
    assert!(session.is_on());
    session.crowded(true);
    outputs(&mut session);
    session.fired(Timer::CrowdedQuit);
    assert!(!session.is_on());
}

const SOON: Duration = Duration::from_secs(2);

/// Else who redials every moment would keep the place for ever.
#[test]
fn the_time_of_cuts_adds_up_until_a_turn_passes() {
    let mut session = session(Role::Server);
    let mut cuts = 0..;
    let mut cut = |session: &mut Session| {
        let greeting = Greeting {
            heard: session.conversation().snapshot().said,
            has_quit: false,
            clienthello: cuts.next().unwrap(),
        };
        session.accept(greeting).unwrap();
        outputs(session);
        session.link_lost(LinkError::Cut);
        outputs(session);
    };
    session.crowded(true);
    for _ in 0..CUT_PARTS {
        cut(&mut session);
    }
    assert!(session.is_on());
    // Said, and acknowledged by the next `hello`.
    session.say(Text::new("Hello").unwrap()).unwrap();
    outputs(&mut session);
    session.stored(Ok(()));
    for _ in 0..CUT_PARTS {
        cut(&mut session);
    }
    assert!(session.is_on());
    cut(&mut session);
    assert!(!session.is_on());
}

#[test]
fn a_link_that_is_lost_behind_the_end_changes_nothing() {
    let mut session = linked();
    outputs(&mut session);
    session.receive(Frame::Quit {});
    assert!(matches!(outputs(&mut session)[..], [Output::Store { .. }]));
    session.link_lost(LinkError::Cut);
    assert_eq!(session.poll_notice(), None);
    session.stored(Ok(()));
    let left = outputs(&mut session);
    assert!(left.contains(&Output::Cut), "{left:?}");
    session.stored(Ok(()));
    let left = outputs(&mut session);
    let Some(Output::Ended(ended)) = left.first() else {
        panic!("{left:?}");
    };
    assert_eq!(ended.cause, Cause::Peer);
}

#[test]
fn a_quit_is_stored_though_its_user_goes_at_once() {
    let mut session = session(Role::Client);
    session.connected();
    let first = outputs(&mut session);
    assert!(matches!(first[..], [Output::Link, Output::Store { .. }]));
    session.quit();
    session.dropped();
    session.stored(Ok(()));
    let left = outputs(&mut session);
    let is_quit =
        |output: &Output| matches!(output, Output::Store { snapshot, .. } if snapshot.quit);
    assert!(left.iter().any(is_quit), "{left:?}");
}

/// A server's, with a journal and a connection.
fn session_that_a_cut_ends() -> Session {
    let id = ConversationId::from_bits([7; 16]);
    let conversation = Conversation::new(Role::Server, id, HeardWhen::Stored);
    let limits = Limits {
        hold: Duration::ZERO,
        ..Limits::default()
    };
    let mut session = Session::new(Role::Server, conversation, true, true, &limits);
    let greeting = Greeting {
        heard: 0,
        has_quit: false,
        clienthello: 1,
    };
    session.accept(greeting).unwrap();
    settle(&mut session);
    session
}

/// It must not be open again after a restart: its peer is told that it has ended.
#[test]
fn an_end_is_stored_though_its_last_message_is_not_read() {
    let mut session = session_that_a_cut_ends();
    session.say(Text::new("one").unwrap()).unwrap();
    settle(&mut session);
    let text = Text::new("two").unwrap();
    session.receive(Frame::Say { turn: 2, text });
    settle(&mut session);
    session.link_lost(LinkError::Cut);
    assert_eq!(outputs(&mut session), [Output::Cut]);
    session.dropped();
    let put = outputs(&mut session);
    assert!(
        matches!(&put[..], [Output::Store { snapshot, is_live: false, .. }]
        if snapshot.quit && snapshot.last_heard.is_some())
    );
    session.stored(Ok(()));
    let last = outputs(&mut session);
    assert_eq!(last.last(), Some(&Output::Done(Remains::End)));
}

/// Else its peer is told of an end that a restart undoes.
#[test]
fn an_end_that_cannot_be_stored_is_none() {
    let mut session = session_that_a_cut_ends();
    session.link_lost(LinkError::Cut);
    let last = outputs(&mut session);
    assert!(
        matches!(last[..], [Output::Cut, Output::Store { .. }]),
        "{last:?}"
    );
    session.stored(Err(StoreError::Failed(JournalError::InUse {
        path: "disk".into(),
    })));
    let left = outputs(&mut session);
    assert!(
        matches!(&left[..], [Output::Ended(ended), Output::Done(Remains::Parked(_))]
        if ended.has_journal_failed()),
        "{left:?}"
    );
}

/// What its driver asks it, from the first dial to the end.
#[test]
fn a_session_knows_how_far_its_conversation_is() {
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Is {
        on: bool,
        linked: bool,
        lost: bool,
        welcomed: bool,
        quitting: bool,
        done: bool,
    }
    fn is(session: &Session) -> Is {
        Is {
            on: session.is_on(),
            linked: session.has_link(),
            lost: session.is_lost(),
            welcomed: session.is_welcomed(),
            quitting: session.is_quitting(),
            done: session.is_done(),
        }
    }
    let id = ConversationId::from_bits([7; 16]);
    let conversation = Conversation::new(Role::Client, id, HeardWhen::Taken);
    let mut session = Session::new(Role::Client, conversation, false, true, &Limits::default());
    assert!(!session.is_server());
    assert!(linked().is_server());
    let on = || Is {
        on: true,
        ..Is::default()
    };
    assert_eq!(is(&session), on());
    session.connected();
    let linked = || Is {
        linked: true,
        ..on()
    };
    assert_eq!(is(&session), linked());
    connect(&mut session);
    let welcomed = true;
    assert_eq!(
        is(&session),
        Is {
            welcomed,
            ..linked()
        }
    );
    session.link_lost(LinkError::Cut);
    let lost = true;
    assert_eq!(
        is(&session),
        Is {
            welcomed,
            lost,
            ..on()
        }
    );
    connect(&mut session);
    session.quit();
    settle(&mut session);
    let quitting = true;
    assert_eq!(
        is(&session),
        Is {
            welcomed,
            quitting,
            ..linked()
        }
    );
    session.receive(Frame::Quit {});
    settle(&mut session);
    // It is being closed in order, and not read any more.
    let over = || Is {
        welcomed,
        quitting,
        ..Is::default()
    };
    assert_eq!(is(&session), over());
    session.closed();
    settle(&mut session);
    assert_eq!(
        is(&session),
        Is {
            done: true,
            ..over()
        }
    );
}

/// The peer's `quit` waits until its message is taken, and not for ever (PROTOCOL 3.9).
#[test]
fn a_quit_waits_ten_seconds_for_its_message_to_be_taken() {
    let mut session = answered();
    session.receive(Frame::Quit {});
    let taking = Output::Arm(Timer::Taking, Limits::default().quit);
    assert_eq!(outputs(&mut session), [taking]);
    // Nothing that comes behind it gives it more.
    session.receive(Frame::Quit {});
    assert_eq!(outputs(&mut session), []);
    session.fired(Timer::Taking);
    assert_eq!(outputs(&mut session).first(), Some(&Output::Cut));
    assert!(session.is_on() && session.is_lost());

    // Once it is taken, the time is over for nothing.
    let mut session = answered();
    session.receive(Frame::Quit {});
    outputs(&mut session);
    session.taken();
    let done = outputs(&mut session);
    assert_eq!(done.first(), Some(&Output::Disarm(Timer::Taking)));
    session.fired(Timer::Taking);
    assert!(!session.is_lost());
}

#[test]
fn a_message_that_is_not_behind_a_quit_may_wait_as_long_as_it_likes() {
    let mut session = answered();
    assert_eq!(outputs(&mut session), []);
    session.fired(Timer::Taking);
    assert_eq!(outputs(&mut session), []);
    assert!(session.has_link());
}

/// What is told last, and what the server remembers.
fn ended(session: &mut Session) -> (Vec<Output>, Ended, Remains) {
    let mut done = Vec::new();
    loop {
        let mut all = outputs(session);
        if let [.., Output::Ended(ended), Output::Done(remains)] = &all[..] {
            let last = (ended.clone(), remains.clone());
            all.truncate(all.len() - 2);
            done.extend(all);
            return (done, last.0, last.1);
        }
        assert!(!all.is_empty(), "{session:?}");
        session.stored(Ok(()));
        if all.iter().any(|output| matches!(output, Output::Close(_))) {
            session.closed();
        }
        done.extend(all);
    }
}

#[test]
fn a_peer_that_is_not_admitted_any_more_is_told_and_not_waited_for() {
    let mut session = linked();
    settle(&mut session);
    session.expel();
    let (done, ended, remains) = ended(&mut session);
    assert!(done.contains(&Output::Send(Frame::Quit {})), "{done:?}");
    assert!(done.contains(&Output::CloseInBackground(None)), "{done:?}");
    assert_eq!(ended.cause, Cause::Me);
    assert_eq!(remains, Remains::End);
}

/// It knows: it has begun another.
#[test]
fn what_the_peer_has_left_for_another_is_over() {
    let mut session = linked();
    settle(&mut session);
    session.link_lost(LinkError::Cut);
    settle(&mut session);
    session.supersede();
    let (_, ended, remains) = ended(&mut session);
    assert_eq!(ended.cause, Cause::Peer);
    assert_eq!(remains, Remains::End);
}

/// What is written where a server's peer begins another conversation, and what once its user knows.
fn left_for_another(is_acknowledged: bool) -> (Vec<Output>, Vec<Output>) {
    let mut session = linked_to(session_that(HeardWhen::Stored, Role::Server));
    settle(&mut session);
    session.say(Text::new("one").unwrap()).unwrap();
    settle(&mut session);
    if is_acknowledged {
        session.receive(Frame::Heard { turn: 1 });
    }
    session.supersede();
    let (done, end, _) = ended(&mut session);
    assert_eq!(end.unacknowledged.is_none(), is_acknowledged);
    let is_last = |output: &Output| matches!(output, Output::OnceTold(_));
    let is_written = |output: &Output| matches!(output, Output::Store { .. } | Output::Remove);
    let done = done.into_iter();
    let done = done.filter(|output| is_written(output) || is_last(output));
    done.partition(is_written)
}

/// A crash in between must not lose that they may not have arrived.
#[test]
fn words_that_were_not_acknowledged_stay_until_their_speaker_knows_of_the_end() {
    let (written, last) = left_for_another(false);
    let [Output::Store { snapshot, .. }] = &written[..] else {
        panic!("{written:?}");
    };
    assert!(snapshot.quit && snapshot.last_said.is_some());
    let [Output::OnceTold(LastPut::Tombstone(tombstone))] = &last[..] else {
        panic!("{last:?}");
    };
    assert!(tombstone.is_tombstone());

    let (written, last) = left_for_another(true);
    assert!(matches!(
        written[..],
        [Output::Store { .. }, Output::Remove]
    ));
    assert_eq!(last, []);
}

/// A hold of zero: the cut itself ends it, which is on the disk before anybody is told.
#[test]
fn an_end_is_stored_before_its_speaker_is_told_of_it() {
    let limits = Limits {
        hold: Duration::ZERO,
        ..Limits::default()
    };
    for role in [Role::Server, Role::Client] {
        let id = ConversationId::from_bits([7; 16]);
        let conversation = Conversation::new(role, id, HeardWhen::Stored);
        let mut session = Session::new(role, conversation, true, true, &limits);
        match role {
            Role::Server => session = linked_to(session),
            Role::Client => {
                connect(&mut session);
                let text = Text::new("one").unwrap();
                session.receive(Frame::Say { turn: 1, text });
            }
        }
        settle(&mut session);
        session.say(Text::new("unheard").unwrap()).unwrap();
        settle(&mut session);
        session.link_lost(LinkError::Cut);
        let (done, end, _) = ended(&mut session);
        assert!(end.unacknowledged.is_some());
        let stored = done.iter().find_map(|output| match output {
            Output::Store { snapshot, .. } => Some(snapshot.quit && snapshot.last_said.is_some()),
            _ => None,
        });
        assert_eq!(stored, Some(true), "{done:?}");
    }
}

/// As after a restart: first it is held.
#[test]
fn a_first_welcome_itself_tells_a_client_that_the_link_is_back() {
    let mut client = session(Role::Client);
    client.hold(0);
    settle(&mut client);
    assert_eq!(told(&mut client), [Notice::Lost]);
    connect(&mut client);
    assert_eq!(told(&mut client), []);
    // The second is told.
    client.link_lost(LinkError::Cut);
    settle(&mut client);
    assert_eq!(told(&mut client), [Notice::Lost]);
    connect(&mut client);
    assert_eq!(told(&mut client), [Notice::Resumed]);

    let mut server = session(Role::Server);
    server.hold(0);
    settle(&mut server);
    assert_eq!(told(&mut server), [Notice::Lost]);
    let mut server = linked_to(server);
    settle(&mut server);
    assert_eq!(told(&mut server), [Notice::Resumed]);
}

/// What is written where a user drops a session in which a turn was heard and taken.
fn dropped(role: Role) -> Vec<Output> {
    let mut session = match role {
        Role::Server => answered(),
        Role::Client => {
            let mut session = session(role);
            connect(&mut session);
            let text = Text::new("one").unwrap();
            session.receive(Frame::Say { turn: 1, text });
            settle(&mut session);
            session
        }
    };
    session.taken();
    settle(&mut session);
    session.dropped();
    let (done, _, _) = ended(&mut session);
    let is_written = |output: &Output| matches!(output, Output::Store { .. } | Output::Remove);
    done.into_iter().filter(is_written).collect()
}

#[test]
fn a_drop_is_like_a_crash_and_leaves_the_record_as_it_is() {
    assert_eq!(dropped(Role::Client), []);
    assert_eq!(dropped(Role::Server), []);
}

/// What a client that had begun writes where the server refuses to go on.
fn refused(has_quit: bool) -> Vec<Output> {
    let mut session = session(Role::Client);
    connect(&mut session);
    let text = Text::new("one").unwrap();
    session.receive(Frame::Say { turn: 1, text });
    settle(&mut session);
    session.taken();
    settle(&mut session);
    session.link_lost(LinkError::Cut);
    settle(&mut session);
    if has_quit {
        session.quit();
        settle(&mut session);
    }
    session.connected();
    settle(&mut session);
    session.receive(Frame::Refuse {
        reason: Reason::UnknownPeer,
    });
    let (done, end, _) = ended(&mut session);
    assert_eq!(end.cause, Cause::Refused(Reason::UnknownPeer));
    let is_written = |output: &Output| matches!(output, Output::Store { .. } | Output::Remove);
    done.into_iter().filter(is_written).collect()
}

/// Its key may be admitted again; but nobody comes back who has quit.
#[test]
fn a_client_that_is_refused_keeps_its_record_unless_it_has_quit() {
    assert_eq!(refused(false), []);
    assert_eq!(refused(true), [Output::Remove]);
}

/// Nobody has said anything yet: it may be no server at all (PROTOCOL 4.14).
#[test]
fn a_hello_without_any_answer_is_tried_three_times_more() {
    let id = ConversationId::from_bits([7; 16]);
    let conversation = Conversation::new(Role::Client, id, HeardWhen::Taken);
    let mut session = Session::new(Role::Client, conversation, false, true, &Limits::default());
    for delay in [50, 1_500, 3_000] {
        session.connected();
        settle(&mut session);
        session.link_lost(LinkError::Cut);
        assert_eq!(redial(&mut session), Some(delay));
        session.fired(Timer::Redial);
        assert_eq!(outputs(&mut session), [Output::Dial]);
    }
    session.connected();
    settle(&mut session);
    session.link_lost(LinkError::Cut);
    let (_, ended, _) = ended(&mut session);
    assert_eq!(ended.cause, Cause::Link(LinkError::Cut));
}

#[test]
fn a_reader_that_fails_is_like_a_crash_where_there_is_a_journal() {
    let mut session = linked();
    settle(&mut session);
    session.reader_failed();
    let (done, end, remains) = ended(&mut session);
    assert_eq!(done, [Output::Cut]);
    assert_eq!(end.cause, Cause::Link(LinkError::Cut));
    assert!(matches!(remains, Remains::Parked(_)), "{remains:?}");

    // Without one the peer is told, once.
    let id = ConversationId::from_bits([7; 16]);
    let conversation = Conversation::new(Role::Server, id, HeardWhen::Taken);
    let without = Session::new(Role::Server, conversation, true, false, &Limits::default());
    let mut session = linked_to(without);
    settle(&mut session);
    session.reader_failed();
    let told = outputs(&mut session);
    assert!(
        matches!(told[..], [Output::Close(Some(Frame::Error { .. }))]),
        "{told:?}"
    );
    session.reader_failed();
    assert_eq!(outputs(&mut session), []);
    session.closed();
    let (_, end, remains) = ended(&mut session);
    assert_eq!(end.cause, Cause::Link(LinkError::ReaderFailed));
    assert_eq!(remains, Remains::End);
}

/// It is being parked already; now it is over. What was said in it stays as it was.
#[test]
fn a_peer_that_is_expelled_behind_the_end_changes_no_turn() {
    let mut session = answered();
    session.link_lost(LinkError::Cut);
    settle(&mut session);
    session.fired(Timer::Hold);
    let before = session.conversation().clone();
    session.expel();
    assert_eq!(session.conversation(), &before);
    session.taken();
    let (_, end, remains) = ended(&mut session);
    assert_eq!(end.cause, Cause::Link(LinkError::Cut));
    assert_eq!(remains, Remains::End);
}

/// The dial of a driver that has a connection by now, or whose conversation is over.
#[test]
fn a_dial_that_fails_too_late_is_no_reason_to_redial() {
    let mut session = session(Role::Client);
    connect(&mut session);
    session.dial_failed(None);
    assert_eq!(outputs(&mut session), []);
    session.link_lost(LinkError::Cut);
    settle(&mut session);
    session.fired(Timer::Hold);
    session.dial_failed(None);
    let (done, ..) = ended(&mut session);
    assert!(matches!(done[..], [Output::Store { .. }]), "{done:?}");
}

#[test]
fn no_timer_does_anything_behind_the_end() {
    let mut client = session(Role::Client);
    client.hold(0);
    settle(&mut client);
    client.fired(Timer::Hold);
    client.fired(Timer::Redial);
    let (done, ..) = ended(&mut client);
    assert!(!done.contains(&Output::Dial), "{done:?}");

    // The end is on its way to the disk.
    let mut server = linked();
    settle(&mut server);
    server.receive(Frame::Quit {});
    assert!(matches!(outputs(&mut server)[..], [Output::Store { .. }]));
    server.fired(Timer::Hold);
    server.stored(Ok(()));
    let (_, end, _) = ended(&mut server);
    assert_eq!(end.cause, Cause::Peer);
}

fn cannot_store() -> Result<(), StoreError> {
    Err(StoreError::Failed(JournalError::InUse {
        path: "disk".into(),
    }))
}

/// Up to the last store; that one fails.
fn ended_on_a_full_disk(session: &mut Session) -> (Ended, Remains) {
    let last = outputs(session);
    assert!(matches!(last[..], [.., Output::Store { .. }]), "{last:?}");
    session.stored(cannot_store());
    let left = outputs(session);
    let [Output::Ended(ended), Output::Done(remains)] = &left[..] else {
        panic!("{left:?}");
    };
    (ended.clone(), remains.clone())
}

/// All that is lost is that the words could have been forgotten.
#[test]
fn an_end_that_was_stored_before_it_was_said_has_come_about() {
    let mut session = linked();
    settle(&mut session);
    session.quit();
    settle(&mut session);
    session.receive(Frame::Quit {});
    assert_eq!(outputs(&mut session), [Output::Close(None)]);
    session.closed();
    let (ended, remains) = ended_on_a_full_disk(&mut session);
    assert_eq!(ended.cause, Cause::Me);
    assert_eq!(remains, Remains::End);
}

/// What is on its disk is enough to go on, and it need not remember anything.
#[test]
fn a_client_that_is_held_no_longer_needs_no_last_store() {
    let mut session = session(Role::Client);
    session.hold(0);
    settle(&mut session);
    session.fired(Timer::Hold);
    let (ended, remains) = ended_on_a_full_disk(&mut session);
    assert_eq!(ended.cause, Cause::Link(LinkError::Cut));
    assert_eq!(remains, Remains::Nothing);
}

/// A server can offer one at every dial.
#[test]
fn another_key_is_told_of_no_more_often_than_other_news() {
    let key = KeyId::of_spki(&[1; 32]);
    let mut session = session(Role::Client);
    session.hold(0);
    session.pace.notices = 0;
    session.dial_failed(Some(key));
    settle(&mut session);
    assert_eq!(told(&mut session), []);
    session.fired(Timer::Notices);
    assert_eq!(told(&mut session), [Notice::Lost]);
    session.fired(Timer::Notices);
    assert_eq!(told(&mut session), [Notice::OtherKey { key }]);
}

#[test]
fn the_pause_between_notices_is_armed_by_the_first() {
    let mut session = session(Role::Client);
    session.connected();
    settle(&mut session);
    let again = Output::Arm(Timer::Notices, NOTICE_PAUSE);
    for (ahead, armed) in [(2, vec![again]), (1, vec![]), (0, vec![])] {
        session.receive(Frame::Wait { ahead });
        settle(&mut session);
        assert_eq!(told(&mut session), [Notice::Waiting { ahead }]);
        assert_eq!(outputs(&mut session), armed);
    }
}

/// Else a server counts time with a link as time without.
#[test]
fn a_link_that_is_back_stops_the_clocks_of_a_cut() {
    let disarmed = |session: &mut Session| {
        let timer = |output| match output {
            Output::Disarm(timer) => Some(timer),
            _ => None,
        };
        outputs(session).into_iter().filter_map(timer).collect()
    };
    let mut server = session(Role::Server);
    server.hold(0);
    outputs(&mut server);
    let both: Vec<_> = disarmed(&mut linked_to(server));
    assert_eq!(both, [Timer::Hold, Timer::CrowdedHold]);

    let mut client = session(Role::Client);
    client.hold(0);
    client.connected();
    settle(&mut client);
    client.receive(Frame::Welcome {
        conversation: client.conversation().id(),
        heard: 0,
    });
    let one: Vec<_> = disarmed(&mut client);
    assert_eq!(one, [Timer::Hold]);
}

/// After a restart it goes on from there.
#[test]
fn what_is_parked_is_stored_with_a_message_that_nobody_took() {
    let mut session = answered();
    session.link_lost(LinkError::Cut);
    settle(&mut session);
    session.fired(Timer::Hold);
    let (done, _, remains) = ended(&mut session);
    assert!(
        matches!(&done[..], [Output::Store { snapshot, is_live: false, .. }]
        if !snapshot.quit && snapshot.last_heard.is_some()),
        "{done:?}"
    );
    assert!(matches!(remains, Remains::Parked(parked) if parked.has_untaken()));
}

/// There is nothing to come back to.
#[test]
fn a_client_that_is_refused_before_any_turn_keeps_no_record() {
    let mut session = session(Role::Client);
    session.connected();
    settle(&mut session);
    session.receive(Frame::Refuse {
        reason: Reason::UnknownPeer,
    });
    let (done, end, _) = ended(&mut session);
    assert_eq!(end.turns, 0);
    assert_eq!(done, [Output::Close(None), Output::Remove]);
}

/// Else the model checker looks at each state once for each pace.
#[test]
fn sessions_that_differ_in_their_pace_alone_are_equal() {
    let mut hurried = session(Role::Client);
    hurried.pace.redials = 3;
    hurried.pace.notices = 0;
    assert_eq!(hurried, session(Role::Client));
}
