//! A server whose user thinks about who wants in, before it lets them.

use std::sync::{Arc, Mutex};

use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::client::TlsStream;
use turnchat::{Candidate, Verdict};
use turnchat::{Limits, Reason};

use super::ours::{Habit, House};
use super::raw::{Came, Face, ID, Papers, Raw, hello, say, welcome};

/// The answer that a question waits for.
type Answer = oneshot::Sender<Verdict>;

/// A server, and what its user is asked.
async fn thoughtful(habit: Habit) -> (House, mpsc::UnboundedReceiver<(Candidate, Answer)>) {
    let (questions, asked) = mpsc::unbounded_channel();
    let house = House::on(habit, Limits::default(), move |candidate| {
        let questions = questions.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            questions.send((candidate, answer)).unwrap();
            answered.await.unwrap()
        }
    })
    .await;
    (house, asked)
}

/// A guest that has said `hello`, and is thought about.
async fn waits(house: &House, face: &Face) -> Raw<TlsStream<DuplexStream>> {
    let mut guest = house.guest_as(face).await;
    guest.send(&hello(ID)).await;
    guest.expect(WAIT).await;
    guest
}

const WAIT: &str = r#"{"wait":{"ahead":0}}"#;

#[tokio::test(start_paused = true)]
async fn a_candidate_waits_until_its_server_has_thought_about_it() {
    let (house, mut asked) = thoughtful(Habit::Answers).await;
    let face = Face::new(&Papers::new());
    let mut guest = waits(&house, &face).await;
    let (candidate, answer) = asked.recv().await.unwrap();
    assert_eq!(candidate.conversation.to_string(), ID);
    assert!(!candidate.is_returning);
    answer.send(Verdict::Admit).unwrap();
    guest.expect(&welcome(ID)).await;
    guest.expect(&say(1, "turn 1")).await;

    // It returns, which is for the server's user to judge again.
    drop(guest);
    let mut guest = waits(&house, &face).await;
    let (again, answer) = asked.recv().await.unwrap();
    assert_eq!(again.key, candidate.key);
    assert!(again.is_returning);
    answer.send(Verdict::Refuse(Reason::Declined)).unwrap();
    guest.expect(r#"{"refuse":{"reason":"declined"}}"#).await;
}

#[tokio::test(start_paused = true)]
async fn a_question_about_who_has_left_is_let_go_of() {
    let (house, mut asked) = thoughtful(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.send(&hello(ID)).await;
    let (_, mut answer) = asked.recv().await.unwrap();
    drop(guest);
    answer.closed().await;
}

/// And the answer is for the younger connection.
#[tokio::test(start_paused = true)]
async fn of_a_key_there_is_one_question() {
    let (house, mut asked) = thoughtful(Habit::Answers).await;
    let face = Face::new(&Papers::new());
    let mut first = waits(&house, &face).await;
    let mut second = waits(&house, &face).await;
    first.expect(r#"{"error":{"code":"replaced"}}"#).await;
    assert_eq!(first.next().await, Came::Close);
    let (_, answer) = asked.recv().await.unwrap();
    let (_, mut dropped) = asked.recv().await.unwrap();
    dropped.closed().await;
    answer.send(Verdict::Admit).unwrap();
    second.expect(&welcome(ID)).await;
}

/// Nobody has to think about who comes back to what it was let in to.
#[tokio::test(start_paused = true)]
async fn an_answer_at_once_goes_before_a_question() {
    let known = Arc::new(Mutex::new(false));
    let house = House::on(Habit::Answers, Limits::default(), {
        let known = Arc::clone(&known);
        move |_| {
            let is_known = *known.lock().unwrap();
            async move {
                match is_known {
                    true => Verdict::Admit,
                    false => std::future::pending().await,
                }
            }
        }
    })
    .await;
    let face = Face::new(&Papers::new());
    let mut first = waits(&house, &face).await;
    *known.lock().unwrap() = true;
    let mut second = house.guest_as(&face).await;
    second.send(&hello(ID)).await;
    second.expect(&welcome(ID)).await;
    first.expect(r#"{"error":{"code":"replaced"}}"#).await;
}
