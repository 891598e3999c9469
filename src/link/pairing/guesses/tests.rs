//! A pairing's budget, move by move.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn key(of: u8) -> KeyId {
    KeyId::of_spki(&[of])
}

fn address(last: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(192, 0, 2, last).into())
}

const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn seconds(many: u64) -> Duration {
    Duration::from_secs(many)
}

/// A pairing, and a clock.
struct Played {
    guesses: Guesses,
    now: Instant,
}

impl Played {
    fn new() -> Self {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        Self { guesses, now }
    }

    fn arrive(&mut self, from: Option<IpAddr>, of: u8) -> ExchangeId {
        self.try_arrive(from, of).unwrap().0
    }

    fn try_arrive(
        &mut self,
        from: Option<IpAddr>,
        of: u8,
    ) -> Result<(ExchangeId, Option<ExchangeId>), PairReason> {
        self.guesses.arrive(from, &key(of), self.now)
    }

    fn guess(&mut self, of: u8, is_right: bool) -> Judgement {
        let id = self.arrive(LOOPBACK, of);
        self.guesses.judge(id, is_right, self.now)
    }

    fn pair(&mut self, of: u8) -> Vec<ExchangeId> {
        assert_eq!(self.guess(of, true), Judgement::Right);
        self.guesses.stored(key(of), self.now)
    }

    fn is_open(&self) -> bool {
        self.guesses.is_open(self.now)
    }
}

#[test]
fn fifteen_wrong_guesses_are_all() {
    let mut played = Played::new();
    for wrong in 1..=15 {
        let other = played.arrive(LOOPBACK, 9);
        let Judgement::Wrong(then) = played.guess(1, false) else {
            panic!("{wrong}");
        };
        match wrong {
            5 | 10 => assert_eq!(then, Then::NewCode(vec![other])),
            15 => assert_eq!(then, Then::Exhausted(vec![other])),
            _ => {
                assert_eq!(then, Then::GoesOn);
                played.guesses.leave(other);
            }
        }
    }
    assert!(!played.is_open());
    assert_eq!(played.try_arrive(None, 2), Err(PairReason::PairingFailed));
    assert_eq!(played.guesses.renew(played.now), Then::GoesOn);
}

#[test]
fn after_a_wrong_guess_the_next_waits_for_two_seconds() {
    let mut played = Played::new();
    assert_eq!(played.guesses.judged_from(), None);
    played.guess(1, false);
    assert_eq!(played.guesses.judged_from(), Some(played.now + seconds(2)));
    played.now += seconds(2);
    played.pair(2);
    assert_eq!(played.guesses.judged_from(), Some(played.now));
}

#[test]
fn a_code_is_good_for_ten_minutes_and_replaced_only_if_asked_for() {
    let mut played = Played::new();
    for code in 1..=3 {
        let waiting = played.arrive(LOOPBACK, 1);
        assert_eq!(played.guesses.renew(played.now), Then::GoesOn);
        played.now += seconds(600) - Duration::from_millis(1);
        assert!(played.is_open());
        assert_eq!(played.guesses.tick(played.now), Then::GoesOn);
        played.now += Duration::from_millis(1);
        assert!(!played.is_open());
        assert_eq!(played.try_arrive(None, 2), Err(PairReason::PairingFailed));
        assert_eq!(
            played.guesses.tick(played.now),
            Then::Expired(vec![waiting])
        );
        let judged = played.guesses.judge(waiting, true, played.now);
        assert_eq!(judged, Judgement::Closed);
        assert_eq!(played.guesses.tick(played.now), Then::GoesOn);
        assert_eq!(played.guesses.until(), None);
        let renewed = played.guesses.renew(played.now);
        match code {
            3 => assert_eq!(renewed, Then::Exhausted(vec![])),
            _ => assert_eq!(renewed, Then::NewCode(vec![])),
        }
    }
    assert!(!played.is_open());
}

#[test]
fn a_new_code_has_five_guesses_and_ten_minutes_of_its_own() {
    let mut played = Played::new();
    (0..4).for_each(|_| _ = played.guess(1, false));
    played.now += seconds(599);
    played.guess(1, false);
    played.now += seconds(599);
    assert!(played.is_open());
    for _ in 0..4 {
        assert_eq!(played.guess(1, false), Judgement::Wrong(Then::GoesOn));
    }
}

#[test]
fn a_right_guess_spends_the_code_for_every_other_key() {
    let mut played = Played::new();
    let other = played.arrive(LOOPBACK, 2);
    assert_eq!(played.pair(1), [other]);
    let judged = played.guesses.judge(other, true, played.now);
    assert_eq!(judged, Judgement::Closed);
    assert_eq!(played.try_arrive(None, 2), Err(PairReason::PairingFailed));
    // The same key may come again for ten minutes, which do not begin anew.
    played.now += seconds(599);
    assert_eq!(played.pair(1), []);
    assert!(played.is_open());
    played.now += seconds(1);
    assert!(!played.is_open());
    assert_eq!(played.try_arrive(None, 1), Err(PairReason::PairingFailed));
    assert_eq!(played.guesses.tick(played.now), Then::Over(vec![]));
    assert_eq!(played.guesses.tick(played.now), Then::GoesOn);
}

#[test]
fn the_first_hello_of_the_key_ends_the_pairing() {
    let mut played = Played::new();
    assert_eq!(played.guesses.hello(&key(1)), Then::GoesOn);
    played.pair(1);
    assert_eq!(played.guesses.hello(&key(2)), Then::GoesOn);
    let again = played.arrive(LOOPBACK, 1);
    assert_eq!(played.guesses.hello(&key(1)), Then::Over(vec![again]));
    assert!(!played.is_open());
    assert_eq!(played.guesses.hello(&key(1)), Then::GoesOn);
}

#[test]
fn what_cannot_be_stored_does_not_spend_the_code() {
    let mut played = Played::new();
    assert_eq!(played.guess(1, true), Judgement::Right);
    played.guesses.not_stored();
    assert_eq!(played.pair(2), []);
    assert!(played.try_arrive(None, 1).is_err());
}

#[test]
fn the_key_that_has_spent_a_code_may_guess_wrong_five_times_in_all() {
    let mut played = Played::new();
    (0..2).for_each(|_| _ = played.guess(9, false));
    played.pair(1);
    for _ in 0..2 {
        assert_eq!(played.guess(1, false), Judgement::Wrong(Then::GoesOn));
    }
    assert_eq!(played.guess(1, false), Judgement::Wrong(Then::Over(vec![])));
}

#[test]
fn a_key_that_is_stored_late_counts() {
    let mut played = Played::new();
    assert_eq!(played.guess(1, true), Judgement::Right);
    played.now += seconds(600);
    assert_eq!(played.guesses.tick(played.now), Then::Expired(vec![]));
    assert_eq!(played.guesses.stored(key(1), played.now), []);
    assert!(played.is_open() && played.try_arrive(None, 2).is_err());
    // But not one whose pairing is over.
    let mut over = Played::new();
    over.guess(1, true);
    over.guesses.end();
    assert_eq!(over.guesses.stored(key(1), over.now), []);
    assert!(!over.is_open());
}

#[test]
fn four_at_once_and_the_oldest_makes_room() {
    for from in [LOOPBACK, None] {
        let mut played = Played::new();
        let four: Vec<_> = (0..4).map(|of| played.arrive(from, of)).collect();
        let (fifth, closed) = played.try_arrive(from, 5).unwrap();
        assert_eq!(closed, Some(four[0]));
        played.guesses.leave(fifth);
        assert_eq!(played.try_arrive(from, 6).unwrap().1, None);
        assert_eq!(played.try_arrive(from, 7).unwrap().1, Some(four[1]));
    }
}

#[test]
fn an_address_has_one() {
    let mut played = Played::new();
    let first = played.arrive(address(1), 1);
    let other = played.arrive(address(2), 2);
    assert_eq!(played.try_arrive(address(1), 3).unwrap().1, Some(first));
    // A host with a /64 is one address.
    let v6 = |last| Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]));
    let sixth = played.arrive(v6(1), 4);
    assert_eq!(played.try_arrive(v6(2), 5).unwrap().1, Some(sixth));
    played.arrive(address(3), 6);
    assert_eq!(played.try_arrive(address(4), 7).unwrap().1, Some(other));
}

#[test]
fn what_is_being_stored_has_a_place_and_is_not_closed() {
    let mut played = Played::new();
    let three: Vec<_> = (0..3).map(|of| played.arrive(LOOPBACK, of)).collect();
    assert_eq!(played.guess(9, true), Judgement::Right);
    let (_, closed) = played.try_arrive(LOOPBACK, 5).unwrap();
    assert_eq!(closed, Some(three[0]));
    // Its own client may come again meanwhile.
    let mut alone = Played::new();
    let id = alone.arrive(address(1), 1);
    alone.guesses.judge(id, true, alone.now);
    assert_eq!(alone.try_arrive(address(1), 1).unwrap().1, None);
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Arrive(u8, u8),
    Judge(usize, bool),
    Answer(bool),
    Leave(usize),
    Wait(u64),
    Renew,
    Hello(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0..6u8, 0..4u8).prop_map(|(from, of)| Move::Arrive(from, of)),
        6 => (0..4usize, prop::bool::weighted(0.05)).prop_map(|(at, it)| Move::Judge(at, it)),
        2 => any::<bool>().prop_map(Move::Answer),
        1 => (0..4usize).prop_map(Move::Leave),
        1 => (0..400u64).prop_map(Move::Wait),
        1 => Just(Move::Renew),
        1 => (0..4u8).prop_map(Move::Hello),
    ];
    prop::collection::vec(one, 0..200)
}

proptest! {
    /// Whatever clients, time and the user do.
    #[test]
    fn a_pairing_keeps_to_its_budget(moves in moves()) {
        let mut played = Played::new();
        let (mut open, mut wrong, mut codes) = (Vec::<ExchangeId>::new(), 0, 1);
        let (mut storing, mut stored) = (None, std::collections::BTreeSet::new());
        let mut keys = BTreeMap::new();
        for step in moves {
            let mut closed = Vec::new();
            let mut follow = |then| match then {
                Then::GoesOn => {}
                Then::NewCode(ids) => {
                    codes += 1;
                    closed = ids;
                }
                Then::Expired(ids) | Then::Exhausted(ids) | Then::Over(ids) => closed = ids,
            };
            match step {
                Move::Arrive(from, of) => {
                    let from = match from {
                        0 => None,
                        1 => LOOPBACK,
                        last => address(last),
                    };
                    if let Ok((id, earlier)) = played.try_arrive(from, of) {
                        keys.insert(id, of);
                        open.push(id);
                        open.retain(|it| Some(*it) != earlier);
                    }
                }
                Move::Judge(at, is_right) if storing.is_none() && at < open.len() => {
                    let id = open.remove(at);
                    match played.guesses.judge(id, is_right, played.now) {
                        Judgement::Right => storing = Some(keys[&id]),
                        Judgement::Wrong(then) => {
                            wrong += 1;
                            follow(then);
                        }
                        Judgement::Closed => prop_assert!(false, "{id:?} was open"),
                    }
                }
                Move::Answer(is_stored) => if let Some(of) = storing.take() {
                    if is_stored {
                        stored.insert(of);
                        closed = played.guesses.stored(key(of), played.now);
                    } else {
                        played.guesses.not_stored();
                    }
                },
                Move::Leave(at) if at < open.len() => {
                    let id = open.remove(at);
                    played.guesses.leave(id);
                }
                Move::Wait(time) => {
                    played.now += seconds(time);
                    follow(played.guesses.tick(played.now));
                }
                Move::Renew => follow(played.guesses.renew(played.now)),
                Move::Hello(of) => follow(played.guesses.hello(&key(of))),
                Move::Judge(..) | Move::Leave(_) => {}
            }
            open.retain(|id| !closed.contains(id));
            prop_assert!(open.len() + usize::from(storing.is_some()) <= 4);
            prop_assert!(wrong <= 15 && codes <= 3 && stored.len() <= 1);
            prop_assert!(played.is_open() || open.is_empty());
        }
    }
}

#[test]
fn the_first_who_comes_too_late_is_told_of() {
    let mut played = Played::new();
    assert!(!played.guesses.is_too_late(&key(2)));
    played.pair(1);
    assert!(!played.guesses.is_too_late(&key(1)));
    assert!(played.guesses.is_too_late(&key(2)));
    assert!(!played.guesses.is_too_late(&key(3)));
}
