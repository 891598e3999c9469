//! Many who try at once.

use std::net::{IpAddr, Ipv4Addr};

use super::foreign::{BUSY, FAILED, Guesser, face};
use super::ours::{House, LOOPBACK, Order, Told};
use crate::wire::raw::{Came, Papers};

fn from(last: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(192, 0, 2, last).into())
}

#[tokio::test(start_paused = true)]
async fn four_exchanges_at_once_and_the_fifth_pushes_out_the_oldest() {
    let addresses = [LOOPBACK, None]
        .into_iter()
        .map(|one| [one; 5])
        .chain([[1, 2, 3, 4, 5].map(from)]);
    for addresses in addresses {
        let mut house = House::new().await;
        let papers: Vec<_> = (0..5).map(|_| Papers::new()).collect();
        let mut guessers = Vec::new();
        for (papers, address) in papers.iter().zip(addresses) {
            let stream = house.call_from(address);
            guessers.push(Guesser::begin(stream, papers, &house.id, &house.code).await);
        }
        guessers[0].raw.expect(BUSY).await;
        assert_eq!(guessers[0].raw.next().await, Came::Close);
        assert!(house.is_silent());
        // The others go on.
        guessers[1].succeed().await;
        assert_eq!(house.told().await, Told::Asked(papers[1].id));
        for late in &mut guessers[2..] {
            late.raw.expect(FAILED).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_has_one_exchange() {
    let mut house = House::new().await;
    let (bob, eve) = (Papers::new(), Papers::new());
    let code = house.code.clone();
    let mut elsewhere = Guesser::begin(house.call_from(from(2)), &eve, &house.id, &code).await;
    let mut first = Guesser::begin(house.call_from(from(1)), &eve, &house.id, &code).await;
    let mut second = Guesser::begin(house.call_from(from(1)), &bob, &house.id, &code).await;
    first.raw.expect(BUSY).await;
    second.succeed().await;
    elsewhere.raw.expect(FAILED).await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
}

/// A crowd that is silent holds up nobody for long, and the pairing is not known to it.
#[tokio::test(start_paused = true)]
async fn a_silent_crowd_does_not_keep_a_peer_out() {
    let mut house = House::new().await;
    let mut crowd = Vec::new();
    for last in 1..60 {
        let raw = face(&Papers::new()).dial(house.call_from(from(last))).await;
        crowd.push(raw.unwrap());
    }
    let bob = Papers::new();
    let stream = house.call_from(from(100));
    let mut guesser = Guesser::begin(stream, &bob, &house.id, &house.code).await;
    guesser.succeed().await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
}

#[tokio::test(start_paused = true)]
async fn a_pairing_that_is_closed_tells_those_that_try() {
    for stops in [false, true] {
        let mut house = House::new().await;
        let bob = Papers::new();
        let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
        match stops {
            false => house.order(Order::Close),
            true => house.server.close(),
        }
        guesser.raw.expect(FAILED).await;
        if stops {
            assert_eq!(house.told().await, Told::Over);
        }
        let late = house.pair(&super::ours::identity(), &house.code).await;
        assert!(late.unwrap_err().is_not_open());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pairing_that_is_opened_ends_the_one_before() {
    let mut house = House::new().await;
    let (bob, eve) = (Papers::new(), Papers::new());
    let old = house.code.clone();
    let mut early = Guesser::begin(house.call(), &eve, &house.id, &old).await;
    let mut second = super::ours::User::of(house.server.pair());
    let code = second.code().await;
    early.raw.expect(FAILED).await;
    assert_eq!(house.told().await, Told::Over);
    let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &code).await;
    guesser.succeed().await;
    assert_eq!(second.told().await, Told::Asked(bob.id));
    assert_eq!(second.stored(), [bob.id]);
}
