use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{advance, timeout};

use super::*;
use crate::protocol::ConversationId;

fn key(n: u8) -> KeyId {
    KeyId::of_spki(&[n])
}

fn candidate(n: u8, is_returning: bool) -> Candidate {
    Candidate {
        key: key(n),
        address: None,
        conversation: ConversationId::from_bits([n; 16]),
        is_returning,
        others: 0,
    }
}

/// What the library has asked and keeps.
type Asked = std::pin::Pin<Box<dyn Future<Output = Verdict>>>;

impl Questions {
    fn new_about(&self, n: u8) -> Asked {
        let mut asked: Asked = Box::pin(self.clone().about(candidate(n, false)));
        let _ = poll(&mut asked);
        asked
    }
}

fn poll(asked: &mut Asked) -> Option<Verdict> {
    match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => Some(verdict),
        Poll::Pending => None,
    }
}

fn asked_about(questions: &Questions) -> Option<KeyId> {
    questions.ask().map(|candidate| candidate.key)
}

const TOO_OFTEN: Verdict = Verdict::Refuse(Reason::AskedTooOften);

#[tokio::test(start_paused = true)]
async fn the_longest_waiting_is_asked_about_first_and_who_leaves_is_not() {
    let questions = Questions::default();
    let first = questions.new_about(1);
    let mut second = questions.new_about(2);
    assert!(questions.is_waiting(&key(1)));
    drop(first);
    assert!(!questions.is_waiting(&key(1)));
    assert_eq!(asked_about(&questions), Some(key(2)));
    assert_eq!(poll(&mut second), None);
    questions.answer(key(2), true);
    assert_eq!(poll(&mut second), Some(Verdict::Admit));
    assert_eq!(asked_about(&questions), None);
}

/// Its question would be gone before it is read.
#[tokio::test(start_paused = true)]
async fn who_has_waited_behind_another_for_long_is_not_asked_about() {
    let questions = Questions::default();
    let _first = questions.new_about(1);
    assert_eq!(asked_about(&questions), Some(key(1)));
    let mut second = questions.new_about(2);
    advance(LATEST * 2).await;
    questions.answer(key(1), false);
    let _third = questions.new_about(3);
    assert_eq!(asked_about(&questions), Some(key(3)));
    assert_eq!(poll(&mut second), Some(Verdict::Refuse(Reason::NoAnswer)));
}

/// Else whoever waits for a change never comes to rest.
#[tokio::test(start_paused = true)]
async fn to_ask_is_no_change() {
    let questions = Questions::default();
    assert_eq!(asked_about(&questions), None);
    assert!(timeout(WINDOW, questions.changed()).await.is_err());
    let _asked = questions.new_about(1);
    assert!(timeout(WINDOW, questions.changed()).await.is_ok());
    assert_eq!(asked_about(&questions), Some(key(1)));
    assert!(timeout(WINDOW, questions.changed()).await.is_err());
}

/// Also once the first two have answers: it is how often that counts.
#[tokio::test(start_paused = true)]
async fn a_person_is_asked_three_times_in_ten_minutes() {
    let questions = Questions::default();
    for n in 0..3 {
        let mut asked = questions.new_about(n);
        assert_eq!(asked_about(&questions), Some(key(n)));
        questions.answer(key(n), false);
        let declined = Verdict::Refuse(Reason::Declined);
        assert_eq!(asked.as_mut().await, declined);
        advance(Duration::from_secs(60)).await;
    }
    assert_eq!(
        questions.clone().about(candidate(3, false)).await,
        TOO_OFTEN
    );
    advance(Duration::from_secs(6 * 60)).await;
    assert_eq!(
        questions.clone().about(candidate(3, false)).await,
        TOO_OFTEN
    );
    advance(Duration::from_secs(60)).await;
    let _asked = questions.new_about(3);
    assert_eq!(asked_about(&questions), Some(key(3)));
}

/// They would wait in vain.
#[tokio::test(start_paused = true)]
async fn behind_the_last_question_nobody_waits() {
    let questions = Questions::default();
    for n in 0..2 {
        let _asked = questions.new_about(n);
        questions.ask();
    }
    let (mut third, mut fourth) = (questions.new_about(2), questions.new_about(3));
    assert_eq!(asked_about(&questions), Some(key(2)));
    assert_eq!(poll(&mut fourth), Some(TOO_OFTEN));
    assert_eq!(poll(&mut third), None);
    questions.answer(key(2), true);
    assert_eq!(poll(&mut third), Some(Verdict::Admit));
}

#[tokio::test(start_paused = true)]
async fn who_was_let_in_comes_back_to_the_conversation_unasked() {
    let questions = Questions::default();
    let mut asked = questions.new_about(1);
    questions.ask();
    questions.answer(key(1), true);
    assert_eq!(poll(&mut asked), Some(Verdict::Admit));
    let back = questions.clone().about(candidate(1, true));
    assert_eq!(back.await, Verdict::Admit);
    let mut another = questions.new_about(1);
    assert_eq!(poll(&mut another), None);
    drop(another);
    questions.forget(&key(1));
    let mut back = pin!(questions.clone().about(candidate(1, true)));
    let polled = back.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Pending);
}

#[tokio::test(start_paused = true)]
async fn whom_new_rules_judge_nobody_is_asked_about() {
    let questions = Questions::default();
    let (mut first, mut second) = (questions.new_about(1), questions.new_about(2));
    let admits = |of: &KeyId| (*of == key(2)).then_some(Verdict::Admit);
    assert_eq!(questions.judge_again(admits), [key(2)]);
    assert_eq!(poll(&mut second), Some(Verdict::Admit));
    assert_eq!(poll(&mut first), None);
}

/// Else the library would wait for an answer that never comes.
#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_once_there_is_an_answer() {
    let questions = Questions::default();
    let mut asked = questions.new_about(1);
    questions.answer(key(1), false);
    assert!(poll(&mut asked).is_some());
    drop(asked);
    let mut other = questions.new_about(2);
    assert!(questions.is_waiting(&key(2)));
    assert_eq!(poll(&mut other), None);
}

/// One stranger does not use up all questions.
#[tokio::test(start_paused = true)]
async fn who_was_declined_twice_is_not_asked_about_again_for_a_while() {
    let questions = Questions::default();
    let declined = Verdict::Refuse(Reason::Declined);
    for _ in 0..2 {
        let mut asked = questions.new_about(1);
        assert_eq!(asked_about(&questions), Some(key(1)));
        questions.answer(key(1), false);
        assert_eq!(poll(&mut asked), Some(declined));
    }
    assert_eq!(questions.clone().about(candidate(1, false)).await, declined);
    advance(WINDOW).await;
    let mut asked = questions.new_about(1);
    assert_eq!(poll(&mut asked), None);
}
