use std::collections::BTreeMap;
use std::time::Duration;

use super::conversations::PARKED_TIME;
use super::*;
use crate::protocol::ConversationId;
use crate::trust::Peer;

const MINUTE: Duration = Duration::from_secs(60);
const ADMIT: Option<Verdict> = Some(Verdict::Admit);
/// The server's user thinks about it.
const ASK: Option<Verdict> = None;

/// An admission, timers that do not run by themselves, and the ClientHellos
/// in the order in which their connections arrived.
struct Door {
    admission: Admission,
    /// Timers, and how much longer each runs.
    timers: BTreeMap<Timer, Duration>,
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

impl Door {
    fn new() -> Self {
        Self::with(Limits::default(), true)
    }

    fn with(limits: Limits, one_at_a_time: bool) -> Self {
        Self {
            admission: Admission::new(&limits, one_at_a_time),
            timers: BTreeMap::new(),
            arrived: 0,
        }
    }

    /// Does what is ordered, and says it in words.
    fn obey(&mut self, orders: Orders) -> Vec<String> {
        let number = |name: ConversationName| (0..u8::MAX).find(|n| id(*n) == name.1).unwrap();
        let mut words = Vec::new();
        for order in orders {
            match order {
                Order::Tell(to, instruction) => {
                    let instruction = match instruction {
                        Instruction::Close => "close".to_owned(),
                        Instruction::Refuse(reason) => reason.word().to_owned(),
                        Instruction::Wait { ahead } => format!("wait {ahead}"),
                        Instruction::Replaced => "replaced".to_owned(),
                        Instruction::Enter => "enter".to_owned(),
                        Instruction::Quit => "quit".to_owned(),
                    };
                    words.push(format!("{}: {instruction}", to.0));
                }
                Order::Supersede(name) => words.push(format!("supersede {}", number(name))),
                Order::Expel(name) => words.push(format!("expel {}", number(name))),
                Order::GiveUp { name, .. } => {
                    words.push(format!("give up {}", number(name)));
                    let ended = self.admission.ended(name);
                    words.extend(self.obey(ended));
                }
                Order::Forget(name) => words.push(format!("forget {}", number(name))),
                Order::Arm(timer, delay) => _ = self.timers.insert(timer, delay),
                Order::Disarm(timer) => _ = self.timers.remove(&timer),
            }
        }
        words
    }

    /// Somebody arrives; the connections count from 1.
    fn arrive(&mut self, from: &str) -> Vec<String> {
        self.arrived += 1;
        let address = Some(from.parse().unwrap());
        let orders = self.admission.arrive(ConnectionId(self.arrived), address);
        self.obey(orders)
    }

    /// A key arrives and says hello, about the conversation of its number.
    fn greet(&mut self, of: u8, conversation: u8, verdict: Option<Verdict>) -> Vec<String> {
        self.greet_from("127.0.0.1", of, conversation, verdict)
    }

    fn greet_from(
        &mut self,
        from: &str,
        of: u8,
        conversation: u8,
        verdict: Option<Verdict>,
    ) -> Vec<String> {
        assert!(self.arrive(from).is_empty());
        self.say_hello(
            self.arrived,
            hello(of, conversation, 0, self.arrived),
            verdict,
        )
    }

    fn say_hello(&mut self, on: u64, hello: Hello, verdict: Option<Verdict>) -> Vec<String> {
        let orders = self.admission.hello(ConnectionId(on), hello, verdict);
        self.obey(orders)
    }

    fn begin(&mut self, on: u64) -> Vec<String> {
        let orders = self.admission.begin(ConnectionId(on));
        self.obey(orders)
    }

    fn leave(&mut self, on: u64) -> Vec<String> {
        let orders = self.admission.leave(ConnectionId(on));
        self.obey(orders)
    }

    fn quit(&mut self, on: u64) -> Vec<String> {
        let orders = self.admission.quit(ConnectionId(on));
        self.obey(orders)
    }

    fn ended(&mut self, of: u8, conversation: u8) -> Vec<String> {
        let orders = self.admission.ended((key(of), id(conversation)));
        self.obey(orders)
    }

    fn parked(&mut self, of: u8, conversation: u8) -> Vec<String> {
        let orders = self.admission.parked((key(of), id(conversation)));
        self.obey(orders)
    }

    fn taken_over(&mut self, of: u8, conversation: u8) -> Vec<String> {
        let orders = self.admission.taken_over((key(of), id(conversation)));
        self.obey(orders)
    }

    fn restore(&mut self, of: u8, conversation: u8, clienthello: u64) -> Vec<String> {
        let name = (key(of), id(conversation));
        let orders = self.admission.restore(name, clienthello, Duration::ZERO);
        self.obey(orders)
    }

    fn is_open(&self, of: u8, conversation: u8) -> bool {
        self.admission.is_open(&(key(of), id(conversation)))
    }

    fn seat(&mut self) -> Vec<String> {
        let orders = self.admission.seats(1);
        self.obey(orders)
    }

    fn answer(&mut self, of: u8, verdict: Verdict) -> Vec<String> {
        let orders = self.admission.answer(&key(of), verdict);
        self.obey(orders)
    }

    /// So much time passes.
    fn pass(&mut self, time: Duration) -> Vec<String> {
        let (due, later): (BTreeMap<_, _>, _) = std::mem::take(&mut self.timers)
            .into_iter()
            .partition(|(_, left)| *left <= time);
        self.timers = later;
        self.timers.values_mut().for_each(|left| *left -= time);
        let mut words = Vec::new();
        for timer in due.into_keys() {
            let orders = self.admission.fired(timer);
            words.extend(self.obey(orders));
        }
        words
    }

    /// The first key is let in, and talks.
    fn talking() -> Self {
        let mut door = Self::new();
        assert!(door.seat().is_empty());
        assert_eq!(door.greet(1, 1, ADMIT), ["1: enter"]);
        assert!(door.begin(1).is_empty());
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
            door.greet_from("192.0.2.1", of, of, ADMIT),
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
    assert!(!door.admission.is_crowded());
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    assert!(door.admission.is_crowded());
    assert_eq!(door.greet(3, 3, ADMIT), ["3: wait 1"]);
    assert_eq!(door.greet(4, 4, ADMIT), ["4: wait 2"]);
    // Nobody's place changes.
    assert!(door.leave(4).is_empty());
    assert!(door.ended(1, 1).is_empty());
    assert_eq!(door.seat(), ["2: enter", "3: wait 0"]);
    assert!(door.leave(3).is_empty());
    assert_eq!(door.admission.next(), None);
}

#[test]
fn a_full_queue_is_busy() {
    let mut door = Door::new();
    for of in 0..16 {
        door.greet(of, of, ADMIT);
    }
    assert_eq!(door.greet(16, 16, ADMIT), ["17: busy"]);
    // Who has a place may take it anew.
    let again = door.greet(3, 3, ADMIT);
    assert_eq!(again, ["4: replaced", "18: wait 3"]);
}

#[test]
fn a_key_has_one_place_and_a_later_connection_takes_it() {
    let mut door = Door::new();
    door.greet(1, 1, ADMIT);
    door.greet(2, 2, ADMIT);
    let again = door.greet(1, 1, ADMIT);
    assert_eq!(again, ["1: replaced", "3: wait 0"]);
    let other = door.greet(1, 9, ADMIT);
    assert_eq!(other, ["3: ended", "4: wait 0"]);
    assert!(door.leave(1).is_empty());
    assert!(door.leave(3).is_empty());
    assert_eq!(door.seat(), ["4: enter", "2: wait 0"]);
}

#[test]
fn a_new_conversation_of_a_key_ends_the_one_that_is_on() {
    let mut door = Door::talking();
    let begun = door.greet(1, 2, ADMIT);
    assert_eq!(begun, ["supersede 1", "2: wait 0"]);
    // Another key's does not.
    assert_eq!(door.greet(2, 1, ADMIT), ["3: wait 1"]);
}

#[test]
fn where_many_talk_a_key_may_have_many() {
    let mut door = Door::with(Limits::default(), false);
    assert!(door.seat().is_empty());
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["1: enter"]);
    assert_eq!(door.greet(1, 2, ADMIT), ["2: enter"]);
    assert_eq!(door.greet(1, 3, ADMIT), ["3: wait 0"]);
    // But one place in the queue.
    assert_eq!(door.greet(1, 4, ADMIT), ["4: busy"]);
}

#[test]
fn a_hello_for_the_conversation_that_is_on_goes_on_with_it() {
    let mut door = Door::talking();
    door.greet(2, 2, ADMIT);
    assert!(door.arrive("127.0.0.1").is_empty());
    let resumed = door.say_hello(3, hello(1, 1, 5, 3), ADMIT);
    assert_eq!(resumed, ["3: enter"]);
    // The same id of another key is another conversation.
    assert_eq!(door.greet(3, 1, ADMIT), ["4: wait 1"]);
}

#[test]
fn the_newest_clienthello_wins() {
    let mut door = Door::talking();
    for _ in 0..3 {
        assert!(door.arrive("127.0.0.1").is_empty());
    }
    // The later connection is the first to be read.
    let newer = door.say_hello(4, hello(1, 1, 1, 4), ADMIT);
    assert_eq!(newer, ["4: enter"]);
    for (older, conversation) in [(2, 1), (3, 2)] {
        let hello = hello(1, conversation, 0, older);
        let closed = door.say_hello(older, hello, ADMIT);
        assert_eq!(closed, [format!("{older}: close")]);
    }
}

#[test]
fn an_unknown_conversation_that_had_begun_has_ended() {
    let mut door = Door::talking();
    assert!(door.arrive("127.0.0.1").is_empty());
    let refused = door.say_hello(2, hello(2, 2, 1, 2), ADMIT);
    assert_eq!(refused, ["2: ended"]);

    door.ended(3, 3);
    assert_eq!(door.greet(3, 3, ADMIT), ["3: ended"]);
    assert_eq!(door.greet(3, 4, ADMIT), ["4: wait 0"]);
}

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    let refused = [
        (hello(1, 2, 1, 3), ADMIT),
        (
            hello(1, 2, 0, 3),
            Some(Verdict::Refuse(Reason::UnknownPeer)),
        ),
        (hello(2, 9, 7, 3), ADMIT),
        (hello(2, 2, 0, 3), Some(Verdict::Refuse(Reason::Declined))),
    ];
    for (hello, verdict) in refused {
        let mut door = Door::talking();
        door.greet(2, 2, ADMIT);
        assert!(door.arrive("127.0.0.1").is_empty());
        assert_eq!(door.say_hello(3, hello, verdict).len(), 1);
        assert!(door.leave(3).is_empty());
        // Both are where they were.
        assert_eq!(door.admission.next(), Some(key(2)));
        assert_eq!(door.greet(1, 1, ADMIT), ["4: enter"]);
        assert!(door.leave(1).is_empty());
        assert_eq!(door.seat(), ["2: enter"]);
    }
}

#[test]
fn ends_are_forgotten_after_a_day_and_the_oldest_past_a_thousand() {
    let limits = Limits {
        ended: 2,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    assert!(door.ended(1, 1).is_empty());
    assert!(door.ended(2, 2).is_empty());
    // Their records go with them.
    assert_eq!(door.ended(3, 3), ["forget 1"]);
    assert_eq!(door.greet(1, 1, ADMIT), ["1: wait 0"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: ended"]);
    assert_eq!(door.pass(limits.ended_time), ["forget 3", "forget 2"]);
    assert_eq!(door.greet(3, 3, ADMIT), ["3: wait 1"]);
}

#[test]
fn an_end_that_comes_twice_takes_no_other_ends_place() {
    let limits = Limits {
        ended: 2,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    for n in [1, 2, 2, 2] {
        assert!(door.ended(n, n).is_empty());
    }
    assert_eq!(door.greet(1, 1, ADMIT), ["1: ended"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: ended"]);
    // The oldest is still the first.
    assert_eq!(door.ended(3, 3), ["forget 1"]);
}

#[test]
fn an_end_is_forgotten_when_no_hello_for_it_can_come() {
    let mut door = Door::with(Limits::default(), true);
    for n in [1, 2] {
        door.ended(n, n);
    }
    assert!(door.admission.forget_end(&(key(1), id(1))));
    assert!(!door.admission.forget_end(&(key(1), id(1))));
    assert!(!door.admission.forget_end(&(key(2), id(1))));
    assert_eq!(door.greet(1, 1, ADMIT), ["1: wait 0"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: ended"]);
}

#[test]
fn a_parked_conversation_goes_on_through_the_queue() {
    let mut door = Door::talking();
    assert!(door.parked(2, 2).is_empty());
    assert!(door.is_open(2, 2));
    assert!(door.arrive("127.0.0.1").is_empty());
    let queued = door.say_hello(2, hello(2, 2, 5, 2), ADMIT);
    assert_eq!(queued, ["2: wait 0"]);
    assert!(door.ended(1, 1).is_empty());
    assert_eq!(door.seat(), ["2: enter"]);
    // Only now it is not parked any more.
    assert!(door.begin(2).is_empty());
    assert_eq!(door.pass(PARKED_TIME), ["forget 1"]);
    assert!(door.is_open(2, 2));
}

#[test]
fn a_new_conversation_of_a_key_gives_up_its_parked_ones() {
    let mut door = Door::talking();
    assert!(door.parked(2, 2).is_empty());
    assert!(door.parked(3, 3).is_empty());
    assert_eq!(door.greet(2, 4, ADMIT), ["give up 2", "2: wait 0"]);
    assert!(!door.is_open(2, 2));
    assert!(door.is_open(3, 3));
}

/// Its session has failed, and the hub has yet to learn of it.
#[test]
fn a_conversation_that_was_superseded_is_given_up_as_it_is_parked() {
    let mut door = Door::talking();
    assert_eq!(door.greet(1, 2, ADMIT), ["supersede 1", "2: wait 0"]);
    assert_eq!(door.parked(1, 1), ["give up 1"]);
    // Another's is parked as ever.
    assert!(door.parked(2, 3).is_empty());
    assert!(door.is_open(2, 3));
}

#[test]
fn all_conversations_of_an_expelled_key_are_over() {
    let mut door = Door::talking();
    door.restore(2, 2, 0);
    door.restore(3, 3, 0);
    assert_eq!(door.greet(4, 4, ADMIT), ["2: wait 0"]);
    let mut expel = |of| {
        let orders = door.admission.expel(&key(of));
        door.obey(orders)
    };
    assert_eq!(expel(2), ["give up 2"]);
    assert_eq!(expel(4), ["2: unknown-peer"]);
    assert_eq!(expel(1), ["expel 1"]);
    assert!(expel(5).is_empty());
    // However it ends.
    assert_eq!(door.parked(1, 1), ["give up 1"]);
    assert!(!door.is_open(1, 1) && !door.is_open(2, 2));
    assert!(door.is_open(3, 3));
}

/// It was let in, and had not come in yet.
#[test]
fn the_seat_of_an_expelled_key_is_the_next_ones() {
    let mut door = Door::new();
    assert_eq!(door.greet(1, 1, ADMIT), ["1: wait 0"]);
    let seat = door.admission.seats(1);
    assert_eq!(door.obey(seat), ["1: enter"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    let expelled = door.admission.expel(&key(1));
    assert_eq!(door.obey(expelled), ["1: unknown-peer", "2: enter"]);
}

#[test]
fn who_is_refused_is_a_stranger_until_it_has_left() {
    let limits = Limits {
        strangers: 2,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    let unknown = Some(Verdict::Refuse(Reason::UnknownPeer));
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
    assert_eq!(door.greet(1, 2, ADMIT), ["2: wait 0"]);
    assert_eq!(door.seat(), ["2: enter"]);
    assert!(door.begin(2).is_empty());
    assert!(door.parked(1, 2).is_empty());
    let older = door.say_hello(1, hello(1, 1, 0, 1), ADMIT);
    assert_eq!(older, ["1: close"]);
    assert!(door.is_open(1, 2));
    // A younger one does.
    assert_eq!(door.greet(1, 3, ADMIT), ["give up 2", "3: wait 0"]);
}

#[test]
fn a_quit_before_welcome_ends_what_the_hello_named() {
    let mut door = Door::talking();
    assert!(door.parked(2, 2).is_empty());
    assert!(door.arrive("127.0.0.1").is_empty());
    door.say_hello(2, hello(2, 2, 5, 2), ADMIT);
    assert_eq!(door.greet(3, 3, ADMIT), ["3: wait 1"]);
    assert_eq!(door.quit(2), ["give up 2", "2: quit", "3: wait 0"]);
    // Asked again, it has ended.
    assert!(door.arrive("127.0.0.1").is_empty());
    let again = door.say_hello(4, hello(2, 2, 5, 4), ADMIT);
    assert_eq!(again, ["4: ended"]);
}

#[test]
fn what_ended_before_its_welcome_is_not_begun_by_an_older_hello() {
    let mut door = Door::talking();
    for from in ["192.0.2.1", "192.0.2.1"] {
        assert!(door.arrive(from).is_empty());
    }
    assert_eq!(door.greet(2, 2, ADMIT), ["4: wait 0"]);
    door.quit(4);
    let older = door.say_hello(2, hello(2, 2, 0, 2), ADMIT);
    assert_eq!(older, ["2: ended"]);

    assert_eq!(door.greet(3, 3, ADMIT), ["5: wait 0"]);
    assert_eq!(door.greet(3, 4, ADMIT), ["5: ended", "6: wait 0"]);
    assert!(door.leave(6).is_empty());
    assert!(door.pass(PLACE_TIME).is_empty());
    let older = door.say_hello(3, hello(3, 3, 0, 3), ADMIT);
    assert_eq!(older, ["3: ended"]);
}

#[test]
fn a_quit_that_crosses_the_welcome_is_left_to_the_conversation() {
    let mut door = Door::talking();
    assert!(door.quit(1).is_empty());
    assert!(door.is_open(1, 1));
}

#[test]
fn a_conversation_held_over_a_restart_takes_the_first_seat() {
    let mut door = Door::new();
    assert!(door.restore(1, 1, 0).is_empty());
    let held = door.admission.hold((key(1), id(1)));
    assert!(door.obey(held).is_empty());
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(2, 2, ADMIT), ["1: wait 0"]);
    assert!(door.arrive("127.0.0.1").is_empty());
    let back = door.say_hello(2, hello(1, 1, 5, 2), ADMIT);
    assert_eq!(back, ["2: enter"]);
    assert!(door.leave(2).is_empty());
    assert!(door.ended(1, 1).is_empty());
    assert_eq!(door.seat(), ["1: enter"]);
}

#[test]
fn of_what_a_crash_left_open_of_a_key_the_last_is_kept() {
    let mut door = Door::new();
    assert!(door.restore(1, 1, 1).is_empty());
    assert!(door.restore(2, 2, 2).is_empty());
    assert_eq!(door.restore(1, 3, 3), ["give up 1"]);
    assert!(door.is_open(1, 3) && door.is_open(2, 2));

    let mut door = Door::with(Limits::default(), false);
    assert!(door.restore(1, 1, 1).is_empty());
    assert!(door.restore(1, 3, 3).is_empty());
}

#[test]
fn a_seat_that_was_given_and_not_taken_is_free_again() {
    let mut door = Door::new();
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["1: enter"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    // It was gone before it could begin.
    assert_eq!(door.leave(1), ["2: enter"]);
    assert!(door.begin(2).is_empty());
    assert_eq!(door.greet(3, 3, ADMIT), ["3: wait 0"]);
    // A conversation that began gives its seat back through its user.
    assert!(door.ended(2, 2).is_empty());
    assert_eq!(door.seat(), ["3: enter"]);
}

/// It keeps its turn, before the queue.
#[test]
fn a_younger_connection_takes_the_seat_that_an_older_one_was_given() {
    let mut door = Door::new();
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["1: enter"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    let again = door.greet(1, 1, ADMIT);
    assert_eq!(again, ["1: replaced", "3: enter"]);
    // The older one hands itself over all the same, and is not taken.
    assert_eq!(door.admission.entry(ConnectionId(1)), Entry::None);
    assert!(door.leave(1).is_empty());
    assert!(door.begin(3).is_empty());
    assert!(door.is_open(1, 1));
}

#[test]
fn with_seats_free_nobody_queues() {
    let mut door = Door::with(Limits::default(), false);
    let seats = door.admission.seats(64);
    assert!(door.obey(seats).is_empty());
    for n in 1..=32 {
        assert_eq!(door.greet(1, n, ADMIT), [format!("{n}: enter")]);
    }
}

#[test]
fn the_conversations_of_a_key_are_counted_from_its_hello_to_their_end() {
    let mut door = Door::with(Limits::default(), false);
    let others = |door: &Door, of, number| door.admission.others(&(key(of), id(number)));
    let seats = door.admission.seats(2);
    assert!(door.obey(seats).is_empty());
    assert_eq!(others(&door, 1, 9), 0);
    assert_eq!(door.greet(1, 1, ADMIT), ["1: enter"]);
    assert_eq!(others(&door, 1, 9), 1);
    assert!(door.begin(1).is_empty());
    assert_eq!(door.greet(1, 2, ADMIT), ["2: enter"]);
    assert_eq!(door.greet(1, 3, ADMIT), ["3: wait 0"]);
    assert_eq!(others(&door, 1, 9), 3);
    // Not itself, whether it is on or about to begin; and not those of others.
    assert_eq!(others(&door, 1, 1), 2);
    assert_eq!(others(&door, 1, 3), 2);
    assert_eq!(others(&door, 2, 9), 0);
    // Who comes back to one that is on is not counted twice.
    assert_eq!(door.greet(1, 1, ADMIT), ["4: enter"]);
    assert_eq!(others(&door, 1, 9), 3);
    assert!(door.leave(4).is_empty());
    assert!(door.parked(1, 1).is_empty());
    assert_eq!(others(&door, 1, 9), 2);
    // The one that waits takes the place of the one that has left.
    assert_eq!(door.leave(2), ["3: enter"]);
    assert_eq!(others(&door, 1, 9), 1);
}

#[test]
fn a_queued_client_that_is_cut_keeps_its_place_for_ten_seconds() {
    let mut door = Door::talking();
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    assert_eq!(door.greet(3, 3, ADMIT), ["3: wait 1"]);
    assert_eq!(door.leave(2), ["3: wait 0"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["4: wait 0", "3: wait 1"]);
    assert!(door.pass(PLACE_TIME).is_empty());

    // Who is not there does not hold up those who are.
    assert_eq!(door.leave(4), ["3: wait 0"]);
    assert!(door.ended(1, 1).is_empty());
    assert_eq!(door.seat(), ["3: enter"]);
    assert!(door.begin(3).is_empty());
    assert!(door.pass(PLACE_TIME).is_empty());
    assert_eq!(door.admission.next(), None);
    assert_eq!(door.greet(4, 4, ADMIT), ["5: wait 0"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["6: wait 1"]);
}

#[test]
fn what_is_parked_is_given_up_after_thirty_days_and_past_the_limit() {
    let limits = Limits {
        parked: 1,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    assert!(door.parked(1, 1).is_empty());
    assert_eq!(door.parked(2, 2), ["give up 1"]);
    assert_eq!(door.pass(PARKED_TIME), ["forget 1", "give up 2"]);
    assert!(!door.is_open(2, 2));
}

/// Whoever parks many loses its own.
#[test]
fn a_key_has_a_quarter_of_the_parked_places() {
    let limits = Limits {
        parked: 8,
        ..Limits::default()
    };
    let mut door = Door::with(limits, false);
    for (of, conversation) in [(1, 1), (2, 2), (2, 3)] {
        assert!(door.parked(of, conversation).is_empty());
    }
    assert_eq!(door.parked(2, 4), ["give up 2"]);
    let orders = door.admission.restore((key(2), id(5)), 5, MINUTE);
    assert_eq!(door.obey(orders), ["give up 3"]);
    assert!(door.is_open(1, 1));
    assert!(door.parked(1, 6).is_empty());
}

/// A restart does not begin them anew.
#[test]
fn the_thirty_days_go_on_over_a_restart() {
    let mut door = Door::new();
    let name = (key(1), id(1));
    let orders = door.admission.restore(name, 1, PARKED_TIME - MINUTE);
    door.obey(orders);
    assert!(door.pass(MINUTE - Duration::from_secs(1)).is_empty());
    assert_eq!(door.pass(Duration::from_secs(1)), ["give up 1"]);
}

/// The answer is for its youngest connection.
#[test]
fn a_key_that_is_asked_about_may_redial() {
    let mut door = Door::new();
    assert_eq!(door.greet(1, 1, ASK), ["1: wait 0"]);
    assert_eq!(door.greet(2, 2, ASK), ["2: wait 0"]);
    assert_eq!(door.greet(1, 1, ASK), ["1: replaced", "3: wait 0"]);
    assert!(door.leave(1).is_empty());
    assert!(door.admission.is_asking(&key(1)));
    assert_eq!(door.greet(1, 4, ASK), ["3: busy", "4: wait 0"]);
    assert_eq!(door.answer(1, Verdict::Admit), ["4: wait 0"]);
    assert!(!door.admission.is_asking(&key(1)));
    assert!(door.admission.is_asking(&key(2)));
}

/// A key that is asked about has become known. What is refused changes nothing (PROTOCOL 4.20):
/// who waited for the answer goes on waiting, and gets it.
#[test]
fn who_is_refused_takes_no_question_along() {
    let unknown = hello(1, 2, 1, 2);
    let of = |conversation| hello(1, conversation, 0, 2);
    for (second, told) in [
        (unknown, "2: ended"),
        (of(3), "2: ended"),
        (of(4), "2: busy"),
    ] {
        let mut door = Door::new();
        door.ended(1, 3);
        let unreadable = door.admission.unreadable((key(1), id(4)));
        door.obey(unreadable);
        assert_eq!(door.greet(1, 1, ASK), ["1: wait 0"]);
        door.arrive("127.0.0.1");
        assert_eq!(door.say_hello(2, second, ADMIT), [told]);
        assert!(door.admission.is_asking(&key(1)), "{told}");
        assert!(door.timers.contains_key(&Timer::Question(key(1))));
        assert_eq!(door.answer(1, Verdict::Admit), ["1: wait 0"]);
    }
}

/// The same where the queue is full, or a younger one is there already.
#[test]
fn nor_does_who_comes_too_late() {
    let limits = Limits {
        queue: 1,
        ..Limits::default()
    };
    let mut door = Door::with(limits, false);
    assert_eq!(door.greet(2, 2, ADMIT), ["1: wait 0"]);
    assert_eq!(door.greet(1, 1, ASK), ["2: wait 0"]);
    assert_eq!(door.greet(1, 3, ADMIT), ["3: busy"]);
    assert_eq!(door.quit(2), ["2: quit"]);
    assert!(!door.admission.is_asking(&key(1)));

    let mut door = Door::new();
    let younger = door.admission.restore((key(1), id(2)), 9, Duration::ZERO);
    door.obey(younger);
    assert_eq!(door.greet(1, 1, ASK), ["1: wait 0"]);
    assert_eq!(door.greet(1, 1, ADMIT), ["2: close"]);
    assert!(door.admission.is_asking(&key(1)));
}

#[test]
fn who_is_only_asked_about_costs_nobody_its_end() {
    let limits = Limits {
        ended: 1,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    assert!(door.ended(1, 1).is_empty());
    assert_eq!(door.greet(2, 2, ASK), ["1: wait 0"]);
    assert_eq!(door.quit(1), ["1: quit"]);
    assert_eq!(door.greet(1, 1, ADMIT), ["2: ended"]);
}

/// Their ClientHello is not whole: they may not be clients at all.
#[test]
fn past_the_limit_who_has_said_nothing_goes_first() {
    let limits = Limits {
        strangers: 3,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    for from in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        assert!(door.arrive(from).is_empty());
    }
    door.admission.greeted(ConnectionId(1));
    door.admission.greeted(ConnectionId(2));
    assert_eq!(door.arrive("192.0.2.3"), ["3: close"]);
    assert!(door.leave(3).is_empty());
    door.admission.greeted(ConnectionId(4));
    // The newcomer is not sent away for it.
    assert_eq!(door.arrive("192.0.2.4"), ["1: close"]);
}

#[test]
fn an_honest_newcomer_gets_in_from_any_address() {
    for honest in ["10.1.0.1", "10.99.0.1", "2001:db8:ffff::1"] {
        let mut door = Door::new();
        for n in 0..128 {
            assert!(door.arrive(&format!("10.98.0.{n}")).is_empty());
        }
        assert_eq!(door.arrive(honest), ["1: close"], "{honest}");
        assert!(door.leave(1).is_empty());
        // And stays while others come.
        assert_eq!(door.arrive("10.98.0.200"), ["2: close"], "{honest}");
    }
}

/// It is on its way, and comes before 32 others have come with theirs.
#[test]
fn a_crowd_of_clienthellos_leaves_a_newcomer_the_time_for_its_own() {
    let loopback = |_| "127.0.0.1".to_owned();
    for from in [&|n| format!("10.98.0.{n}"), &loopback as &dyn Fn(u64) -> _] {
        let mut door = Door::new();
        let stall = |door: &mut Door, n| {
            let told = door.arrive(&from(n));
            door.admission.greeted(ConnectionId(door.arrived));
            told
        };
        for n in 1..=128 {
            assert!(stall(&mut door, n).is_empty());
        }
        assert_eq!(door.arrive(&from(200)), ["1: close"]);
        assert!(door.leave(1).is_empty());
        for n in 2..=33 {
            assert_eq!(stall(&mut door, n), [format!("{n}: close")]);
            assert!(door.leave(n).is_empty());
        }
        assert_eq!(stall(&mut door, 34), ["129: close"]);
    }
}

/// Who has come twice just now has not come once.
#[test]
fn such_time_is_for_the_only_connection_of_an_address() {
    let mut door = Door::new();
    for n in 1..=127 {
        assert!(door.arrive(&format!("10.98.0.{n}")).is_empty());
        door.admission.greeted(ConnectionId(n));
    }
    assert!(door.arrive("10.99.0.1").is_empty());
    assert_eq!(door.arrive("10.99.0.1"), ["128: close"]);
}

#[test]
fn four_unknown_keys_may_wait_for_an_answer_one_an_address() {
    let mut door = Door::new();
    for of in 0..4 {
        let from = format!("192.0.2.{of}");
        let asked = door.greet_from(&from, of, of, ASK);
        assert_eq!(asked, [format!("{}: wait 0", of + 1)]);
    }
    let fifth = door.greet_from("192.0.2.9", 9, 9, ASK);
    assert_eq!(fifth, ["5: busy"]);
    assert!(door.leave(1).is_empty());
    let second = door.greet_from("192.0.2.2", 8, 8, ASK);
    assert_eq!(second, ["6: busy"]);
    let first = door.greet_from("192.0.2.0", 0, 0, ASK);
    assert_eq!(first, ["7: wait 0"]);
    // A key that waits already does not wait twice: the younger connection does.
    assert!(door.leave(7).is_empty());
    let twice = door.greet_from("192.0.2.7", 1, 1, ASK);
    assert_eq!(twice, ["2: replaced", "8: wait 0"]);
}

#[test]
fn a_question_waits_two_minutes() {
    let mut door = Door::new();
    door.greet(1, 1, ASK);
    assert!(door.pass(2 * MINUTE - Duration::from_secs(1)).is_empty());
    assert_eq!(door.pass(Duration::from_secs(1)), ["1: no-answer"]);
    assert!(!door.admission.is_asking(&key(1)));
}

#[test]
fn who_is_accepted_queues_and_who_has_left_is_not_answered() {
    let mut door = Door::talking();
    door.greet(2, 2, ASK);
    let accepted = door.answer(2, Verdict::Admit);
    // It was told so already.
    assert_eq!(accepted, ["2: wait 0"]);
    assert_eq!(door.admission.next(), Some(key(2)));

    door.greet(3, 3, ASK);
    door.leave(3);
    let answer = door.answer(3, Verdict::Admit);
    assert!(answer.is_empty());
}

/// It came before another's answer, and is behind it all the same.
#[test]
fn the_queue_is_in_the_order_of_the_answers() {
    let mut door = Door::talking();
    door.greet(2, 2, ASK);
    door.greet(3, 3, ASK);
    assert_eq!(door.answer(3, Verdict::Admit), ["3: wait 0"]);
    assert_eq!(door.answer(2, Verdict::Admit), ["2: wait 1"]);
    assert_eq!(door.admission.next(), Some(key(3)));
}

/// The newest connection wins, also where it was let in while another was thought about.
#[test]
fn an_answer_that_comes_late_is_for_nobody() {
    let mut door = Door::new();
    door.seat();
    let younger = hello(1, 1, 0, 9);
    door.arrive("127.0.0.1");
    door.arrive("127.0.0.1");
    assert_eq!(door.say_hello(1, hello(1, 1, 0, 1), ASK), ["1: wait 0"]);
    assert_eq!(
        door.say_hello(2, younger, ADMIT),
        ["1: replaced", "2: enter"]
    );
    assert!(door.answer(1, Verdict::Admit).is_empty());
}

#[test]
fn a_key_that_became_known_while_it_waited_takes_its_own_place() {
    let mut door = Door::new();
    door.greet(1, 1, ASK);
    let known = door.greet(1, 1, ADMIT);
    assert_eq!(known, ["1: replaced", "2: wait 0"]);
    assert!(door.leave(1).is_empty());
    assert_eq!(door.seat(), ["2: enter"]);
}

#[test]
fn a_server_that_stops_tells_the_queue_so() {
    let mut door = Door::talking();
    door.greet(2, 2, ADMIT);
    door.greet(3, 3, ASK);
    assert!(door.arrive("127.0.0.1").is_empty());
    let orders = door.admission.close();
    assert_eq!(door.obey(orders), ["2: closing", "3: closing"]);
    // Whoever comes is told so too, but for what is on: it goes on over a cut.
    assert_eq!(door.greet(5, 5, ADMIT), ["5: closing"]);
    assert_eq!(door.greet(6, 6, ASK), ["6: closing"]);
    assert_eq!(door.greet(1, 1, ADMIT), ["7: enter"]);
}

/// It was asked about while its conversation was on, and is answered after that.
#[test]
fn a_server_that_stops_begins_none_that_was_parked_meanwhile() {
    let mut door = Door::talking();
    let orders = door.admission.close();
    assert!(door.obey(orders).is_empty());
    assert_eq!(door.greet(1, 1, ASK), ["2: wait 0"]);
    assert!(door.parked(1, 1).is_empty());
    assert_eq!(door.answer(1, Verdict::Admit), ["2: closing"]);
}

/// It was let in to a conversation that has been parked since.
#[test]
fn whoever_comes_while_a_conversation_is_parked_asks_again() {
    let mut door = Door::talking();
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    assert_eq!(door.greet(1, 1, ADMIT), ["3: enter"]);
    assert!(door.parked(1, 1).is_empty());
    assert_eq!(door.admission.entry(ConnectionId(3)), Entry::Again(key(1)));
    let orders = door.admission.again(ConnectionId(3));
    assert_eq!(door.obey(orders), ["3: wait 1"]);
    assert_eq!(door.seat(), ["2: enter", "3: wait 0"]);
}

#[test]
fn without_a_queue_one_still_waits_for_a_server_that_is_not_ready() {
    let limits = Limits {
        queue: 0,
        ..Limits::default()
    };
    let mut door = Door::with(limits, true);
    assert_eq!(door.greet(1, 1, ADMIT), ["1: wait 0"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: busy"]);
    assert_eq!(door.seat(), ["1: enter"]);
    assert_eq!(door.greet(3, 3, ADMIT), ["3: busy"]);
    assert!(door.begin(1).is_empty());
    assert_eq!(door.greet(4, 4, ADMIT), ["4: busy"]);
    // The conversation is over, and the server's user still reads.
    assert!(door.ended(1, 1).is_empty());
    assert_eq!(door.greet(5, 5, ADMIT), ["5: wait 0"]);
    assert_eq!(door.seat(), ["5: enter"]);
}

/// Another server may know it: it is looked up once it has a place, and not before.
#[test]
fn where_the_store_is_shared_what_is_not_known_here_enters() {
    let mut door = Door::with(Limits::default(), false);
    door.admission = door.admission.shared();
    assert!(door.seat().is_empty());
    assert!(door.arrive("127.0.0.1").is_empty());
    assert_eq!(door.say_hello(1, hello(1, 7, 4, 1), ADMIT), ["1: enter"]);
    let begins = |of: &Admission, on| matches!(of.entry(ConnectionId(on)), Entry::Begin(_));
    assert!(begins(&door.admission, 1));
    // The next waits for the place, and gets it where the first has ended.
    assert!(door.arrive("127.0.0.1").is_empty());
    assert_eq!(door.say_hello(2, hello(2, 8, 4, 2), ADMIT), ["2: wait 0"]);
    let orders = door.admission.turn_away(ConnectionId(1));
    assert_eq!(door.obey(orders), ["2: enter"]);
    assert!(begins(&door.admission, 2));
    // What is known here to have ended has ended everywhere.
    let orders = door.admission.ended((key(3), id(9)));
    door.obey(orders);
    assert!(door.arrive("127.0.0.1").is_empty());
    assert_eq!(door.say_hello(3, hello(3, 9, 4, 3), ADMIT), ["3: ended"]);
}

/// It was overtaken on its way, by one that is asked about.
#[test]
fn an_older_connection_does_not_pass_the_younger_that_is_asked_about() {
    let mut door = Door::new();
    assert!(door.arrive("127.0.0.1").is_empty());
    assert_eq!(door.greet(1, 1, ASK), ["2: wait 0"]);
    assert_eq!(door.say_hello(1, hello(1, 1, 0, 1), ADMIT), ["1: close"]);
    assert!(door.admission.is_asking(&key(1)));
}

#[test]
fn who_comes_again_while_it_enters_takes_no_second_seat() {
    let mut door = Door::new();
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["1: enter"]);
    assert_eq!(door.greet(1, 1, ADMIT), ["1: replaced", "2: enter"]);
    assert!(door.begin(2).is_empty());
    assert_eq!(door.greet(2, 2, ADMIT), ["3: wait 0"]);
}

/// It was handed over, and a slower one comes that was on its way before.
#[test]
fn an_older_connection_does_not_take_over_from_the_one_that_is_on() {
    let mut door = Door::talking();
    assert!(door.arrive("127.0.0.1").is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["3: enter"]);
    assert!(door.leave(3).is_empty());
    assert_eq!(door.say_hello(2, hello(1, 1, 0, 2), ADMIT), ["2: close"]);
}

/// The end has to be stored before anybody is told (PROTOCOL 4.7).
#[test]
fn what_is_given_up_for_another_is_so_before_who_waits_is_told() {
    let mut door = Door::talking();
    assert!(door.parked(1, 1).is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["2: wait 0"]);
    assert_eq!(
        door.greet(1, 2, ADMIT),
        ["give up 1", "2: ended", "3: wait 0"]
    );
}

/// Its record is as it was.
#[test]
fn what_could_not_be_given_up_is_parked_as_before() {
    let mut door = Door::talking();
    assert!(door.parked(1, 1).is_empty());
    let name = (key(1), id(1));
    let orders = door.admission.expel(&key(1));
    let Some(Order::GiveUp {
        name: given_up,
        why: Why::Expelled,
        clienthello,
    }) = orders.last().copied()
    else {
        panic!("{orders:?}");
    };
    assert_eq!(given_up, name);
    let kept = door.admission.kept(name, clienthello);
    assert!(door.obey(kept).is_empty());
    assert!(door.is_open(1, 1));
    // An older connection, which was held back, does not take it over (PROTOCOL 4.25).
    assert!(door.arrive("127.0.0.1").is_empty());
    let on = door.arrived;
    assert_eq!(
        door.say_hello(on, hello(1, 1, 0, clienthello - 1), ADMIT),
        [format!("{on}: close")]
    );
    assert!(door.leave(on).is_empty());
    assert_eq!(door.pass(PARKED_TIME), ["give up 1"]);
}

/// It is none, and nothing is armed for one.
#[test]
fn a_quit_whose_end_could_not_be_stored_leaves_the_conversation_parked() {
    let mut door = Door::talking();
    assert!(door.parked(1, 1).is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["2: wait 0"]);
    let mut told = Vec::new();
    for order in door.admission.quit(ConnectionId(2)) {
        let orders = match order {
            Order::GiveUp {
                name, clienthello, ..
            } => door.admission.kept(name, clienthello),
            order => Orders::from([order]),
        };
        told.extend(door.obey(orders));
    }
    assert_eq!(told, ["2: quit"]);
    assert!(door.is_open(1, 1));
    let armed: Vec<_> = door.timers.keys().collect();
    assert_eq!(armed, [&Timer::Parked(key(1), id(1))]);
}

/// Its client keeps it (PROTOCOL 4.12). Only where it can be looked up is it as if it had never been.
#[test]
fn what_another_process_has_taken_over_has_not_ended() {
    for (is_shared, told) in [(false, "busy"), (true, "enter")] {
        let mut door = Door::talking();
        if is_shared {
            door.admission = door.admission.shared();
        }
        assert!(door.parked(2, 2).is_empty());
        for of in [1, 2] {
            assert!(door.taken_over(of, of).is_empty());
            assert!(!door.is_open(of, of));
        }
        assert!(door.timers.is_empty());
        // Its place is free.
        assert_eq!(door.seat(), [""; 0]);
        assert_eq!(door.greet(3, 3, ADMIT), ["2: enter"]);
        assert!(door.begin(2).is_empty());
        for (of, heard) in [(1, 0), (2, 1)] {
            assert!(door.arrive("127.0.0.1").is_empty());
            assert!(door.seat().is_empty());
            let on = door.arrived;
            let answered = door.say_hello(on, hello(of, of, heard, on), ADMIT);
            assert_eq!(answered, [format!("{on}: {told}")]);
        }
    }
}

/// Whoever waits for it would be told that it has ended: by an answer to their `quit`, or as their
/// key begins another.
#[test]
fn nobody_goes_on_waiting_for_what_is_taken_over() {
    let mut door = Door::talking();
    assert!(door.parked(2, 2).is_empty());
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    assert_eq!(door.greet(3, 3, ADMIT), ["3: wait 1"]);
    assert_eq!(door.taken_over(2, 2), ["2: busy", "3: wait 0"]);
    assert_eq!(door.quit(2), [""; 0]);
    assert_eq!(door.greet(2, 4, ADMIT), ["4: wait 1"]);
    assert!(door.timers.is_empty(), "no end is remembered");
}

/// It was let in, and has a seat: the next one gets that.
#[test]
fn nor_is_it_begun() {
    let mut door = Door::new();
    assert!(door.parked(1, 1).is_empty());
    assert!(door.seat().is_empty());
    assert_eq!(door.greet(1, 1, ADMIT), ["1: enter"]);
    assert_eq!(door.greet(2, 2, ADMIT), ["2: wait 0"]);
    assert_eq!(door.taken_over(1, 1), ["1: busy", "2: enter"]);
    assert_eq!(door.admission.entry(ConnectionId(1)), Entry::None);
}

/// Nobody can store it (PROTOCOL 4.7), and its client quits again.
#[test]
fn an_end_of_what_is_out_of_reach_is_not_answered() {
    let mut door = Door::new();
    assert_eq!(door.greet(1, 1, ASK), ["1: wait 0"]);
    let unreadable = door.admission.unreadable((key(1), id(1)));
    assert!(door.obey(unreadable).is_empty());
    assert_eq!(door.quit(1), ["1: busy"]);
    assert!(door.timers.is_empty(), "no end is remembered");
}

#[test]
fn what_is_parked_is_kept_for_thirty_days() {
    let mut door = Door::talking();
    assert!(door.parked(1, 1).is_empty());
    let thirty_days = 43_200 * MINUTE;
    assert!(door.pass(thirty_days - MINUTE).is_empty());
    assert_eq!(door.pass(MINUTE), ["give up 1"]);
}

#[test]
fn where_many_talk_what_a_key_has_on_is_counted() {
    let mut door = Door::with(Limits::default(), false);
    for conversation in [1, 2] {
        assert!(door.seat().is_empty());
        door.greet(1, conversation, ADMIT);
        assert!(door.begin(conversation.into()).is_empty());
    }
    let others = |door: &Door, conversation| door.admission.others(&(key(1), id(conversation)));
    assert_eq!([1, 2, 3].map(|of| others(&door, of)), [1, 1, 2]);
    assert!(door.ended(1, 1).is_empty());
    assert_eq!([1, 2, 3].map(|of| others(&door, of)), [1, 0, 1]);
    assert!(door.ended(1, 2).is_empty());
    assert_eq!([1, 2, 3].map(|of| others(&door, of)), [0, 0, 0]);
}

/// As a crowd of ClientHellos has it where the store is shared: the one that is there stays.
#[test]
fn of_two_connections_of_the_same_age_the_first_is_asked_about() {
    let mut door = Door::new();
    assert_eq!(door.greet(1, 1, ASK), ["1: wait 0"]);
    for verdict in [ASK, ADMIT] {
        assert!(door.arrive("127.0.0.1").is_empty());
        let on = door.arrived;
        let closed = door.say_hello(on, hello(1, 1, 0, 1), verdict);
        assert_eq!(closed, [format!("{on}: close")]);
        assert!(door.admission.is_asking(&key(1)));
    }
}
