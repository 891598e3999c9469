use std::time::Duration;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// An admission, a clock that does not go by itself, and the ClientHellos
/// in the order in which their connections arrived.
struct Door {
    admission: Admission,
    now: Instant,
    arrived: u64,
}

fn key(n: u8) -> KeyId {
    KeyId::of_spki(&[n])
}

fn id(n: u8) -> ConversationId {
    ConversationId::from_bits([n; 16])
}

fn hello(of: u8, conversation: u8, heard: u64, clienthello: u64) -> Hello {
    Hello {
        peer: Peer::remembered(key(of)),
        conversation: id(conversation),
        heard,
        clienthello,
    }
}

/// Instructions, in words.
fn words(instructions: &Instructions) -> Vec<String> {
    let word = |(id, instruction): &(ConnectionId, Instruction)| {
        let instruction = match instruction {
            Instruction::Close => "close".to_owned(),
            Instruction::Refuse(reason) => reason.word().to_owned(),
            Instruction::Wait { ahead } => format!("wait {ahead}"),
            Instruction::Replaced => "replaced".to_owned(),
            Instruction::Welcome(_) => "welcome".to_owned(),
            Instruction::Resume { with, heard } => format!("resume {} {heard}", with.0),
            Instruction::Quit => "quit".to_owned(),
        };
        format!("{}: {instruction}", id.0)
    };
    instructions.iter().map(word).collect()
}

impl Door {
    fn new() -> Self {
        Self::with(Limits::default(), true)
    }

    fn with(limits: Limits, one_at_a_time: bool) -> Self {
        Self {
            admission: Admission::new(&limits, one_at_a_time),
            now: Instant::now(),
            arrived: 0,
        }
    }

    /// Somebody arrives; the connections count from 1.
    fn arrive(&mut self, from: &str) -> Vec<String> {
        self.arrived += 1;
        let address = Some(from.parse().unwrap());
        words(&self.admission.arrive(ConnectionId(self.arrived), address))
    }

    /// A key arrives and says hello, about the conversation of its number.
    fn greet(&mut self, of: u8, conversation: u8, verdict: Verdict) -> Vec<String> {
        self.greet_from("127.0.0.1", of, conversation, verdict)
    }

    fn greet_from(
        &mut self,
        from: &str,
        of: u8,
        conversation: u8,
        verdict: Verdict,
    ) -> Vec<String> {
        assert!(self.arrive(from).is_empty());
        self.say_hello(
            self.arrived,
            hello(of, conversation, 0, self.arrived),
            verdict,
        )
    }

    fn say_hello(&mut self, on: u64, hello: Hello, verdict: Verdict) -> Vec<String> {
        let instructions = self
            .admission
            .hello(ConnectionId(on), hello, verdict, self.now);
        words(&instructions)
    }

    fn leave(&mut self, on: u64) -> Vec<String> {
        words(&self.admission.leave(ConnectionId(on)))
    }

    fn seat(&mut self) -> Vec<String> {
        words(&self.admission.seat())
    }

    /// The first key is welcomed, and talks on connection 1.
    fn talking() -> Self {
        let mut door = Self::new();
        assert!(door.seat().is_empty());
        assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: welcome"]);
        door.admission.begin(ConnectionId(1));
        door
    }
}

#[test]
fn the_ninth_stranger_of_an_address_costs_the_oldest_of_it_its_place() {
    // An IPv4 address, however written, and an IPv6 /64.
    for (one, same, other) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
    ] {
        let mut door = Door::new();
        assert!(door.arrive(other).is_empty());
        for _ in 0..4 {
            assert!(door.arrive(one).is_empty());
            assert!(door.arrive(same).is_empty());
        }
        assert_eq!(door.arrive(same), ["2: close"], "{same}");
        assert_eq!(door.arrive(one), ["3: close"], "{one}");
        assert!(door.arrive(other).is_empty());
    }
}

#[test]
fn loopback_has_no_limit_of_its_own() {
    for from in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
        let mut door = Door::new();
        for _ in 0..128 {
            assert!(door.arrive(from).is_empty(), "{from}");
        }
        assert_eq!(door.arrive(from), ["1: close"], "{from}");
    }
}

#[test]
fn past_128_strangers_the_address_that_has_most_loses_its_oldest() {
    let mut door = Door::new();
    assert!(door.arrive("192.0.2.1").is_empty());
    for net in 0..62 {
        assert!(door.arrive(&format!("198.51.100.{net}")).is_empty());
        assert!(door.arrive(&format!("198.51.100.{net}")).is_empty());
    }
    for _ in 0..3 {
        assert!(door.arrive("203.0.113.7").is_empty());
    }
    assert_eq!(door.arrive("192.0.2.9"), ["126: close"]);
}

#[test]
fn who_is_admitted_is_no_stranger() {
    let mut door = Door::new();
    for of in 0..8 {
        assert_eq!(
            door.greet_from("192.0.2.1", of, of, Verdict::Admit),
            [format!("{}: wait {of}", of + 1)]
        );
    }
    for _ in 0..8 {
        assert!(door.arrive("192.0.2.1").is_empty());
    }
    assert_eq!(door.arrive("192.0.2.1"), ["9: close"]);
}

#[test]
fn the_queue_is_told_its_places_once_and_when_they_change() {
    let mut door = Door::talking();
    assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: wait 0"]);
    assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 1"]);
    assert_eq!(door.greet(4, 4, Verdict::Admit), ["4: wait 2"]);
    // Nobody's place changes.
    assert!(door.leave(4).is_empty());
    assert!(door.leave(1).is_empty());
    assert_eq!(door.seat(), ["2: welcome", "3: wait 0"]);
    assert!(door.leave(3).is_empty());
    assert_eq!(door.admission.next(), None);
}

#[test]
fn a_full_queue_is_busy() {
    let mut door = Door::new();
    for of in 0..16 {
        door.greet(of, of, Verdict::Admit);
    }
    assert_eq!(door.greet(16, 16, Verdict::Admit), ["17: busy"]);
    // Who has a place may take it anew.
    let again = door.greet(3, 3, Verdict::Admit);
    assert_eq!(again, ["4: replaced", "18: wait 3"]);
}

#[test]
fn a_key_has_one_place_and_a_later_connection_takes_it() {
    let mut door = Door::new();
    door.greet(1, 1, Verdict::Admit);
    door.greet(2, 2, Verdict::Admit);
    let again = door.greet(1, 1, Verdict::Admit);
    assert_eq!(again, ["1: replaced", "3: wait 0"]);
    let other = door.greet(1, 9, Verdict::Admit);
    assert_eq!(other, ["3: ended", "4: wait 0"]);
    assert!(door.leave(1).is_empty());
    assert!(door.leave(3).is_empty());
    assert_eq!(door.seat(), ["4: welcome", "2: wait 0"]);
}

#[test]
fn a_new_conversation_of_a_key_ends_the_one_that_is_on() {
    let mut door = Door::talking();
    let begun = door.greet(1, 2, Verdict::Admit);
    assert_eq!(begun, ["1: quit", "2: wait 0"]);
    // Another key's does not.
    assert_eq!(door.greet(2, 1, Verdict::Admit), ["3: wait 1"]);
}

#[test]
fn where_many_talk_a_key_may_have_many() {
    let mut door = Door::with(Limits::default(), false);
    assert!(door.seat().is_empty());
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: welcome"]);
    assert_eq!(door.greet(1, 2, Verdict::Admit), ["2: welcome"]);
    assert_eq!(door.greet(1, 3, Verdict::Admit), ["3: wait 0"]);
    // But one place in the queue.
    assert_eq!(door.greet(1, 4, Verdict::Admit), ["4: busy"]);
}

#[test]
fn a_hello_for_the_conversation_that_is_on_goes_on_with_it() {
    let mut door = Door::talking();
    door.greet(2, 2, Verdict::Admit);
    assert!(door.arrive("127.0.0.1").is_empty());
    let resumed = door.say_hello(3, hello(1, 1, 5, 3), Verdict::Admit);
    assert_eq!(resumed, ["3: resume 1 5"]);
    // The same id of another key is another conversation.
    assert_eq!(door.greet(3, 1, Verdict::Admit), ["4: wait 1"]);
}

#[test]
fn the_newest_clienthello_wins() {
    let mut door = Door::talking();
    assert!(door.arrive("127.0.0.1").is_empty());
    assert!(door.arrive("127.0.0.1").is_empty());
    // The later connection is the first to be read.
    let newer = door.say_hello(3, hello(1, 1, 1, 3), Verdict::Admit);
    assert_eq!(newer, ["3: resume 1 1"]);
    for conversation in [1, 2] {
        let older = door.say_hello(2, hello(1, conversation, 0, 2), Verdict::Admit);
        assert_eq!(older, ["2: close"]);
    }
}

#[test]
fn an_unknown_conversation_that_had_begun_has_ended() {
    let mut door = Door::talking();
    assert!(door.arrive("127.0.0.1").is_empty());
    let refused = door.say_hello(2, hello(2, 2, 1, 2), Verdict::Admit);
    assert_eq!(refused, ["2: ended"]);

    door.admission.remember_end(key(3), id(3), door.now);
    assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: ended"]);
    assert_eq!(door.greet(3, 4, Verdict::Admit), ["4: wait 0"]);
}

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    let refused = [
        (hello(1, 2, 1, 3), Verdict::Admit),
        (hello(1, 2, 0, 3), Verdict::Refuse(Reason::UnknownPeer)),
        (hello(2, 9, 7, 3), Verdict::Admit),
        (hello(2, 2, 0, 3), Verdict::Refuse(Reason::Declined)),
    ];
    for (hello, verdict) in refused {
        let mut door = Door::talking();
        door.greet(2, 2, Verdict::Admit);
        assert!(door.arrive("127.0.0.1").is_empty());
        assert_eq!(door.say_hello(3, hello, verdict).len(), 1);
        assert!(door.leave(3).is_empty());
        // Both are where they were.
        assert_eq!(door.admission.next(), Some(key(2)));
        assert_eq!(door.greet(1, 1, Verdict::Admit), ["4: resume 1 0"]);
        assert!(door.leave(1).is_empty());
        assert_eq!(door.seat(), ["2: welcome"]);
    }
}

#[test]
fn ends_are_forgotten_after_a_day_and_the_oldest_past_a_thousand() {
    let limits = Limits {
        ended: 2,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    for n in 1..=3 {
        door.admission.remember_end(key(n), id(n), door.now);
    }
    assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: wait 0"]);
    assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: ended"]);
    door.now += limits.ended_time;
    door.admission.remember_end(key(9), id(9), door.now);
    assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 1"]);
}

#[test]
fn an_end_that_comes_twice_takes_no_other_ends_place() {
    let limits = Limits {
        ended: 2,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    for n in [1, 2, 2, 2] {
        door.admission.remember_end(key(n), id(n), door.now);
    }
    assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: ended"]);
    assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: ended"]);
}

#[test]
fn an_end_is_forgotten_when_no_hello_for_it_can_come() {
    let mut door = Door::with(Limits::default(), true);
    for n in [1, 2] {
        door.admission.remember_end(key(n), id(n), door.now);
    }
    assert!(door.admission.forget_end(key(1), id(1)));
    assert!(!door.admission.forget_end(key(1), id(1)));
    assert!(!door.admission.forget_end(key(2), id(1)));
    assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: wait 0"]);
    assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: ended"]);
}

#[test]
fn a_parked_conversation_goes_on_through_the_queue() {
    let mut door = Door::talking();
    door.admission.park(key(2), id(2));
    assert!(door.admission.is_open(&key(2), id(2)));
    assert!(door.arrive("127.0.0.1").is_empty());
    let queued = door.say_hello(2, hello(2, 2, 5, 2), Verdict::Admit);
    assert_eq!(queued, ["2: wait 0"]);
    assert!(door.leave(1).is_empty());
    assert_eq!(door.seat(), ["2: welcome"]);
    assert!(door.admission.given_up().is_empty());
}

#[test]
fn a_new_conversation_of_a_key_gives_up_its_parked_ones() {
    let mut door = Door::talking();
    door.admission.park(key(2), id(2));
    door.admission.park(key(3), id(3));
    assert_eq!(door.greet(2, 4, Verdict::Admit), ["2: wait 0"]);
    assert_eq!(door.admission.given_up(), [(key(2), id(2))]);
    assert!(!door.admission.is_open(&key(2), id(2)));
    assert!(door.admission.is_open(&key(3), id(3)));
}

/// Its session has failed, and the hub has yet to learn of it.
#[test]
fn a_conversation_that_was_superseded_is_given_up_as_it_is_parked() {
    let mut door = Door::talking();
    assert_eq!(door.greet(1, 2, Verdict::Admit), ["1: quit", "2: wait 0"]);
    door.admission.park(key(1), id(1));
    assert_eq!(door.admission.given_up(), [(key(1), id(1))]);
    // Another's is parked as ever.
    door.admission.park(key(2), id(3));
    assert!(door.admission.given_up().is_empty());
    assert!(door.admission.is_open(&key(2), id(3)));
}

#[test]
fn who_is_refused_is_a_stranger_until_it_has_left() {
    let limits = Limits {
        strangers: 2,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    let unknown = Verdict::Refuse(Reason::UnknownPeer);
    assert_eq!(door.greet(1, 1, unknown), ["1: unknown-peer"]);
    assert_eq!(door.greet(2, 2, unknown), ["2: unknown-peer"]);
    assert_eq!(door.arrive("127.0.0.1"), ["1: close"]);
    assert_eq!(door.arrive("127.0.0.1"), ["2: close"]);
    assert!(door.leave(1).is_empty() && door.leave(2).is_empty());
    assert_eq!(door.arrive("127.0.0.1"), ["3: close"]);
}

#[test]
fn a_hello_that_was_overtaken_ends_nothing_that_was_parked() {
    let mut door = Door::new();
    assert!(door.arrive("127.0.0.1").is_empty());
    assert_eq!(door.greet(1, 2, Verdict::Admit), ["2: wait 0"]);
    assert_eq!(door.seat(), ["2: welcome"]);
    door.admission.begin(ConnectionId(2));
    door.admission.park(key(1), id(2));
    assert!(door.leave(2).is_empty());
    let older = door.say_hello(1, hello(1, 1, 0, 1), Verdict::Admit);
    assert_eq!(older, ["1: close"]);
    assert!(door.admission.given_up().is_empty());
    assert!(door.admission.is_open(&key(1), id(2)));
    // A younger one does.
    assert_eq!(door.greet(1, 3, Verdict::Admit), ["3: wait 0"]);
    assert_eq!(door.admission.given_up(), [(key(1), id(2))]);
}

#[test]
fn a_quit_before_welcome_ends_what_the_hello_named() {
    let mut door = Door::talking();
    door.admission.park(key(2), id(2));
    assert!(door.arrive("127.0.0.1").is_empty());
    door.say_hello(2, hello(2, 2, 5, 2), Verdict::Admit);
    assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 1"]);
    let quit = words(&door.admission.quit(ConnectionId(2), door.now));
    assert_eq!(quit, ["2: quit", "3: wait 0"]);
    assert_eq!(door.admission.given_up(), [(key(2), id(2))]);
    // Asked again, it has ended.
    assert!(door.arrive("127.0.0.1").is_empty());
    let again = door.say_hello(4, hello(2, 2, 5, 4), Verdict::Admit);
    assert_eq!(again, ["4: ended"]);
}

#[test]
fn what_ended_before_its_welcome_is_not_begun_by_an_older_hello() {
    let mut door = Door::talking();
    for from in ["192.0.2.1", "192.0.2.1"] {
        assert!(door.arrive(from).is_empty());
    }
    assert_eq!(door.greet(2, 2, Verdict::Admit), ["4: wait 0"]);
    words(&door.admission.quit(ConnectionId(4), door.now));
    let older = door.say_hello(2, hello(2, 2, 0, 2), Verdict::Admit);
    assert_eq!(older, ["2: ended"]);

    assert_eq!(door.greet(3, 3, Verdict::Admit), ["5: wait 0"]);
    assert_eq!(door.greet(3, 4, Verdict::Admit), ["5: ended", "6: wait 0"]);
    assert!(door.leave(6).is_empty());
    let older = door.say_hello(3, hello(3, 3, 0, 3), Verdict::Admit);
    assert_eq!(older, ["3: ended"]);
}

#[test]
fn a_quit_that_crosses_the_welcome_is_left_to_the_conversation() {
    let mut door = Door::talking();
    assert!(door.admission.quit(ConnectionId(1), door.now).is_empty());
    assert!(door.admission.is_open(&key(1), id(1)));
}

#[test]
fn a_conversation_held_over_a_restart_takes_the_first_seat() {
    let mut door = Door::new();
    door.arrived += 1;
    door.admission.restore(key(1), id(1), 1);
    door.admission.hold(ConnectionId(1), key(1), id(1));
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: wait 0"]);
    assert!(door.arrive("127.0.0.1").is_empty());
    let back = door.say_hello(3, hello(1, 1, 5, 3), Verdict::Admit);
    assert_eq!(back, ["3: resume 1 5"]);
    assert!(door.leave(1).is_empty());
    assert_eq!(door.seat(), ["2: welcome"]);
}

#[test]
fn of_what_a_crash_left_open_of_a_key_the_last_is_kept() {
    let mut door = Door::new();
    door.admission.restore(key(1), id(1), 1);
    door.admission.restore(key(2), id(2), 2);
    door.admission.restore(key(1), id(3), 3);
    assert_eq!(door.admission.given_up(), [(key(1), id(1))]);
    assert!(door.admission.is_open(&key(1), id(3)) && door.admission.is_open(&key(2), id(2)));

    let mut door = Door::with(Limits::default(), false);
    door.admission.restore(key(1), id(1), 1);
    door.admission.restore(key(1), id(3), 3);
    assert!(door.admission.given_up().is_empty());
}

#[test]
fn a_seat_that_was_given_and_not_taken_is_free_again() {
    let mut door = Door::new();
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: welcome"]);
    assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: wait 0"]);
    // It was gone before it could begin.
    assert_eq!(door.leave(1), ["2: welcome"]);
    door.admission.begin(ConnectionId(2));
    assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 0"]);
    // A conversation that began gives its seat back through its user.
    assert!(door.leave(2).is_empty());
    assert_eq!(door.seat(), ["3: welcome"]);
}

#[test]
fn four_unknown_keys_may_wait_for_an_answer_one_an_address() {
    let mut door = Door::new();
    for of in 0..4 {
        let from = format!("192.0.2.{of}");
        let asked = door.greet_from(&from, of, of, Verdict::Ask);
        assert_eq!(asked, [format!("{}: wait 0", of + 1)]);
    }
    let fifth = door.greet_from("192.0.2.9", 9, 9, Verdict::Ask);
    assert_eq!(fifth, ["5: busy"]);
    assert!(door.leave(1).is_empty());
    let second = door.greet_from("192.0.2.2", 8, 8, Verdict::Ask);
    assert_eq!(second, ["6: busy"]);
    let first = door.greet_from("192.0.2.0", 0, 0, Verdict::Ask);
    assert_eq!(first, ["7: wait 0"]);
    // A key that waits already does not wait twice.
    assert!(door.leave(7).is_empty());
    let twice = door.greet_from("192.0.2.7", 1, 1, Verdict::Ask);
    assert_eq!(twice, ["8: busy"]);
}

#[test]
fn a_question_waits_two_minutes() {
    let mut door = Door::new();
    door.greet(1, 1, Verdict::Ask);
    assert_eq!(door.admission.wake_at(), Some(door.now + 2 * MINUTE));
    let early = door.now + 2 * MINUTE - Duration::from_secs(1);
    assert!(door.admission.overdue(early).is_empty());
    let late = door.admission.overdue(door.now + 2 * MINUTE);
    assert_eq!(words(&late), ["1: busy"]);
    assert_eq!(door.admission.wake_at(), None);
    assert!(!door.admission.is_asking(&key(1)));
}

#[test]
fn a_person_is_asked_three_times_in_ten_minutes() {
    let mut door = Door::new();
    for of in 0..4 {
        door.greet(of, of, Verdict::Ask);
        let asked = door.admission.ask(door.now);
        assert_eq!(asked, (of < 3).then(|| key(of)));
        if of < 3 {
            let answer = door.admission.answer(&key(of), Answer::Decline, door.now);
            assert_eq!(words(&answer), [format!("{}: declined", of + 1)]);
        }
    }
    let later = door.now + 10 * MINUTE;
    assert_eq!(
        door.admission.question(later - Duration::from_secs(1)),
        None
    );
    assert_eq!(door.admission.ask(later), Some(key(3)));
}

#[test]
fn who_is_accepted_queues_and_who_has_left_is_not_answered() {
    let mut door = Door::talking();
    door.greet(2, 2, Verdict::Ask);
    let accepted = door.admission.answer(&key(2), Answer::Accept, door.now);
    // It was told so already.
    assert_eq!(words(&accepted), ["2: wait 0"]);
    assert_eq!(door.admission.next(), Some(key(2)));

    door.greet(3, 3, Verdict::Ask);
    door.leave(3);
    let answer = door.admission.answer(&key(3), Answer::Accept, door.now);
    assert!(answer.is_empty());
}

#[test]
fn a_key_that_became_known_while_it_waited_takes_its_own_place() {
    let mut door = Door::new();
    door.greet(1, 1, Verdict::Ask);
    let known = door.greet(1, 1, Verdict::Admit);
    assert_eq!(known, ["1: replaced", "2: wait 0"]);
    assert!(door.leave(1).is_empty());
    assert_eq!(door.seat(), ["2: welcome"]);
}

#[test]
fn a_server_that_stops_tells_the_queue_that_it_is_busy() {
    let mut door = Door::talking();
    door.greet(2, 2, Verdict::Admit);
    door.greet(3, 3, Verdict::Ask);
    assert!(door.arrive("127.0.0.1").is_empty());
    let instructions = door.admission.close();
    assert_eq!(words(&instructions), ["2: busy", "3: busy", "4: close"]);
}
