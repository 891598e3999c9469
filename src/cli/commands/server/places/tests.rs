use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, advance};

use super::{Place, Places};
use crate::link::{Candidate, Verdict};
use crate::protocol::{ConversationId, Reason};
use crate::trust::KeyId;

const BUSY: Verdict = Verdict::Refuse(Reason::Busy);

fn key(name: &str) -> KeyId {
    KeyId::of_spki(name.as_bytes())
}

fn id(number: u8) -> ConversationId {
    ConversationId::from_bits([number; 16])
}

fn candidate(name: &str, number: u8, others: usize) -> Candidate {
    Candidate {
        key: key(name),
        address: None,
        conversation: id(number),
        is_returning: false,
        others,
    }
}

/// A conversation that is on, and its link.
struct On {
    place: Place,
    link: watch::Sender<Option<Instant>>,
}

impl On {
    fn begin(places: &Places, name: &str, number: u8) -> Self {
        let (link, is_lost) = watch::channel(None);
        Self {
            place: places.take(key(name), id(number), is_lost),
            link,
        }
    }

    fn cut(&self) {
        self.link.send_replace(Some(Instant::now()));
    }

    async fn makes_room(&self) -> bool {
        tokio::select! {
            biased;
            () = self.place.is_needed() => true,
            () = std::future::ready(()) => false,
        }
    }
}

#[tokio::test]
async fn a_key_has_a_quarter_of_the_places() {
    let places = Places::new(8);
    assert_eq!(places.judge(&candidate("bob", 1, 0)), Verdict::Admit);
    assert_eq!(places.judge(&candidate("bob", 1, 1)), Verdict::Admit);
    assert_eq!(places.judge(&candidate("bob", 1, 2)), BUSY);
    let few = Places::new(2);
    assert_eq!(few.judge(&candidate("bob", 1, 0)), Verdict::Admit);
    assert_eq!(few.judge(&candidate("bob", 1, 1)), BUSY);
}

#[tokio::test(start_paused = true)]
async fn past_its_share_a_key_loses_its_oldest_cut_one() {
    let places = Places::new(8);
    let of_bob = [1, 2].map(|number| On::begin(&places, "bob", number));
    let of_alice = On::begin(&places, "alice", 3);
    of_alice.cut();
    assert_eq!(places.judge(&candidate("bob", 4, 2)), BUSY);
    advance(Duration::from_secs(1)).await;
    of_bob[1].cut();
    advance(Duration::from_secs(1)).await;
    of_bob[0].cut();
    assert_eq!(places.judge(&candidate("bob", 4, 2)), Verdict::Admit);
    assert!(of_bob[1].makes_room().await);
    assert!(!of_bob[0].makes_room().await);
    assert!(!of_alice.makes_room().await);
    // One place was asked for, and one more is there to ask for.
    assert_eq!(places.judge(&candidate("bob", 5, 2)), Verdict::Admit);
    assert!(of_bob[0].makes_room().await);
    assert_eq!(places.judge(&candidate("bob", 6, 2)), BUSY);
}

#[tokio::test(start_paused = true)]
async fn where_all_is_taken_whoever_was_cut_makes_room() {
    let places = Places::new(4);
    let on: Vec<_> = (1..=4)
        .map(|number| On::begin(&places, &number.to_string(), number))
        .collect();
    // Nobody is cut: this one waits in the queue.
    assert_eq!(places.judge(&candidate("bob", 9, 0)), Verdict::Admit);
    for cut in [2, 0] {
        on[cut].cut();
        advance(Duration::from_secs(1)).await;
    }
    // One's own goes first, even if another's was cut before.
    assert_eq!(places.judge(&candidate("1", 9, 0)), Verdict::Admit);
    assert!(on[0].makes_room().await);
    assert_eq!(places.judge(&candidate("bob", 9, 0)), Verdict::Admit);
    assert!(on[2].makes_room().await);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_back_keeps_the_place() {
    let places = Places::new(1);
    let on = On::begin(&places, "alice", 1);
    on.cut();
    assert_eq!(places.judge(&candidate("bob", 2, 0)), Verdict::Admit);
    on.link.send_replace(None);
    assert!(!on.makes_room().await);
    on.cut();
    assert_eq!(places.judge(&candidate("bob", 2, 0)), Verdict::Admit);
    assert!(on.makes_room().await);
}

#[tokio::test(start_paused = true)]
async fn coming_back_to_ones_own_conversation_takes_nobodys_place() {
    let places = Places::new(2);
    let on = [("alice", 1), ("bob", 2)].map(|(name, number)| On::begin(&places, name, number));
    on.iter().for_each(On::cut);
    assert_eq!(places.judge(&candidate("bob", 2, 0)), Verdict::Admit);
    for one in on {
        assert!(!one.makes_room().await);
    }
}

#[tokio::test]
async fn what_is_over_gives_its_place_back() {
    let places = Places::new(1);
    let first = On::begin(&places, "alice", 1);
    drop(first);
    assert!(places.lock().is_empty());
}
