//! Going on after cuts: the library's server and client, real TLS, over a
//! network in memory that cuts. Time is played.

mod cuts;
mod dropped;
mod holds;
pub(crate) mod network;
mod nodes;
mod restarts;
pub(crate) mod sides;
mod stopping;

use turnchat::Text;
use turnchat::{Ended, Talk, Turn};

/// What one side said and heard, in order.
type Transcript = Vec<(u64, bool, String)>;

/// Speaks its turns, `turns` in all on both sides, then the client quits.
async fn converse(talk: Talk, is_server: bool, turns: u64) -> (Transcript, Ended) {
    let mut transcript = Transcript::new();
    let mut turn = talk.turn;
    loop {
        turn = match turn {
            Turn::Mine(mine) if mine.number() > turns => return (transcript, mine.quit().await),
            Turn::Mine(mine) => {
                let number = mine.number();
                let words = format!("turn {number}");
                transcript.push((number, is_server, words.clone()));
                match mine.say(Text::new(words).unwrap()).await {
                    Ok(theirs) => Turn::Theirs(theirs),
                    Err(over) => return (transcript, over),
                }
            }
            Turn::Theirs(theirs) => {
                let number = theirs.number();
                match theirs.hear().await {
                    Ok((text, mine)) => {
                        transcript.push((number, !is_server, text.text.as_str().to_owned()));
                        Turn::Mine(mine)
                    }
                    Err(over) => return (transcript, over),
                }
            }
        }
    }
}

pub(crate) fn message(turn: u64, words: &str) -> turnchat::Message {
    let text = sides::text(words);
    turnchat::Message { turn, text }
}
