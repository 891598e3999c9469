//! An editor without a terminal, for tests: what it is ordered is told, and what the person does
//! is played.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::mpsc;

use super::{Editor, Event, Mode, Order, Stream};

/// The person at it.
pub(in crate::cli) struct Person {
    /// What is done at the keyboard.
    pub(in crate::cli) does: mpsc::UnboundedSender<Event>,
    draft: Arc<Mutex<Option<String>>>,
    editor: Editor,
}

impl Person {
    /// Writes this, and does not press Enter.
    pub(in crate::cli) fn drafts(&self, text: &str) {
        *self.draft.lock().unwrap() = Some(text.to_owned());
    }

    /// Waits until every order up to now is told.
    pub(in crate::cli) fn looks(&self) {
        self.editor.print(Stream::Stderr, "").unwrap();
    }
}

impl Editor {
    /// It tells of itself by `tell`.
    pub(in crate::cli) fn recorded(
        tell: impl Fn(Stream, &str) + Send + 'static,
    ) -> (Self, mpsc::UnboundedReceiver<Event>, Person) {
        let (orders, ordered) = channel();
        let (does, happened) = mpsc::unbounded_channel();
        let draft = Arc::default();
        let kept = Arc::clone(&draft);
        let (woken, waker) = io::pipe().unwrap();
        thread::spawn(move || {
            let _woken = woken;
            obey(&ordered, &kept, tell);
        });
        let editor = Self {
            orders,
            waker: Arc::new(waker),
            is_stopped: Arc::default(),
        };
        let person = Person {
            does,
            draft,
            editor: editor.clone(),
        };
        (editor, happened, person)
    }
}

fn obey(ordered: &Receiver<Order>, draft: &Mutex<Option<String>>, tell: impl Fn(Stream, &str)) {
    for order in ordered {
        match order {
            Order::Print(to, text, done) => {
                tell(to, &text);
                done.map(|done| done.send(Ok(())));
            }
            Order::TurnTo(mode) => tell(Stream::Stderr, &told(&mode)),
            Order::Close(reply) => _ = reply.send(draft.lock().unwrap().take()),
            Order::Resized | Order::Continued => {}
            Order::Stop(reply) => _ = reply.send(()),
        }
    }
}

fn told(mode: &Mode) -> String {
    match mode {
        Mode::Closed => String::new(),
        Mode::Listening(state) => format!("[{state}]\n"),
        Mode::Speaking { turn, rings } => {
            let bell = if *rings { " bell" } else { "" };
            format!("[prompt of turn {turn}{bell}]\n")
        }
        Mode::Asking(question, _) => format!("[{question}]\n"),
    }
}
