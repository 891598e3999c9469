//! [`Terminal`]: a person speaks, with a line editor. Every prompt belongs to one conversation
//! and one turn; what was written before it stands unsent until Enter is pressed.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::intent::Intent;
use super::notices::{
    INTERRUPTED, SILENCE, SOMEBODY, show_end, show_letters, show_notice, waiting,
};
use super::partner::Partner;
use super::{Answer, Left, Speaker, Unsaid};
use crate::cli::display::Display;
use crate::cli::editor::{Editor, Event, Mode, Order};
use crate::cli::input::line::Typed;
use crate::cli::layout::OURS;
use crate::cli::pairing_code;
use crate::cli::report::Report;
use crate::link::{Ended, Notice};
use crate::protocol::Text;

/// A person at a terminal.
#[derive(Debug)]
pub struct Terminal {
    display: Display,
    first: Option<Text>,
    rings: bool,
    editor: Option<(Editor, mpsc::UnboundedReceiver<Event>)>,
    /// What was left unsent at the end, until it is shown.
    draft: Option<String>,
    /// The turn that is asked for.
    asked: Option<u64>,
    is_asking: bool,
    /// What is said now goes out once the link is back.
    is_link_lost: bool,
    peer: String,
    /// The same within a sentence.
    peer_within: String,
}

impl Terminal {
    /// `first` is said in turn 1 before the person is asked; `rings`: the bell, at each turn.
    pub fn new(display: Display, first: Option<Text>, rings: bool) -> Self {
        Self {
            display,
            first,
            rings,
            editor: None,
            draft: None,
            asked: None,
            is_asking: false,
            is_link_lost: false,
            peer: SOMEBODY.to_owned(),
            peer_within: String::new(),
        }
    }

    fn editor(&self) -> Option<&Editor> {
        self.editor.as_ref().map(|(editor, _)| editor)
    }

    /// What is entered from now on is not sent.
    fn close(&mut self) {
        let left = self.editor().and_then(Editor::close);
        let drafts: Vec<_> = self.draft.take().into_iter().chain(left).collect();
        self.draft = (!drafts.is_empty()).then(|| drafts.join("\n"));
    }

    fn show_draft(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.display.unsaid(&draft);
        }
    }

    /// The next thing that the person does. May be dropped at any time.
    async fn next(&mut self) -> Event {
        let Some((_, events)) = &mut self.editor else {
            return std::future::pending().await;
        };
        loop {
            match events.recv().await.unwrap_or(Event::Gone) {
                Event::TooLong => self.display.say(&format!(
                    "What you pasted is not taken: a message has {} bytes at most.",
                    Text::MAX
                )),
                Event::Overfull => self.display.say(&format!(
                    "What you typed last is not taken: a message has {} bytes at most. Before you delete something, nothing is sent.",
                    Text::MAX
                )),
                event => return event,
            }
        }
    }

    /// It is the peer's turn; what there is to say about that.
    fn listen(&self, state: &str) {
        // Before a conversation nobody is waited for.
        if let Some(editor) = self.editor().filter(|_| !self.peer_within.is_empty()) {
            let state = format!("{state}Waiting for {}.", self.peer_within);
            editor.turn_to(Mode::Listening(state));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The conversation may go on later, and these are in nobody's journal.
        for text in self.entered() {
            self.display.unsaid(text.as_str());
        }
        self.show_draft();
        if let Some(editor) = self.editor() {
            editor.stop();
        }
    }
}

impl Speaker for Terminal {
    fn display(&self) -> &Display {
        &self.display
    }

    fn begin(&mut self) -> Result<(), Report> {
        let unusable = |error| Report::terminal(&error);
        let (editor, events) = self.display.edit(Text::MAX).map_err(unusable)?;
        // Linux and macOS number SIGCONT differently.
        let continued = SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32);
        let mut resized = signal(SignalKind::window_change()).map_err(unusable)?;
        let mut continued = signal(continued).map_err(unusable)?;
        let told = editor.clone();
        tokio::spawn(async move {
            loop {
                _ = tokio::select! {
                    _ = resized.recv() => told.order(Order::Resized),
                    _ = continued.recv() => told.order(Order::Continued),
                };
            }
        });
        self.editor = Some((editor, events));
        show_letters(&self.display);
        Ok(())
    }

    fn is_person(&self) -> bool {
        true
    }

    fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.peer = partner.short_name();
        self.peer_within = partner.name_within();
        self.asked = None;
        self.is_link_lost = false;
        // Whoever has read the greeting can type.
        self.listen("");
        self.display.say(&format!(
            "{} QUIT in your turn ends it, Ctrl-C at any time.",
            partner.greeting()
        ));
        Ok(())
    }

    async fn ask(&mut self, turn: u64) -> Intent {
        if let (1, Some(first)) = (turn, &self.first) {
            return Intent::Message(first.clone());
        }
        if self.asked != Some(turn)
            && let Some(editor) = self.editor()
        {
            let rings = self.rings;
            editor.turn_to(Mode::Speaking { turn, rings });
            self.asked = Some(turn);
        }
        loop {
            match self.next().await {
                Event::Entered { turn: of, text } if of == turn => {
                    return match Typed::parse(&text) {
                        Typed::Quit => match self.display.message(OURS, "QUIT") {
                            Ok(()) => Intent::Quit,
                            Err(report) => Intent::Broken(report),
                        },
                        // The editor takes no more than a message may have.
                        Typed::Message(words) => {
                            Text::new(words).map_or(Intent::Quit, Intent::Message)
                        }
                    };
                }
                Event::End => return Intent::Quit,
                Event::Gone => return Intent::HangUp,
                Event::Entered { .. } | Event::Answered(_) | Event::TooLong | Event::Overfull => {}
            }
        }
    }

    async fn idle(&mut self) -> Intent {
        while self.next().await != Event::Gone {}
        Intent::HangUp
    }

    fn sent(&mut self, _turn: u64, text: &Text) -> Result<(), Report> {
        self.asked = None;
        self.listen(match self.is_link_lost {
            true => "It is sent once the link is back. ",
            false => "Sent. ",
        });
        self.display.message(OURS, text.as_str())
    }

    fn entered(&mut self) -> Vec<Text> {
        self.close();
        let Some((_, events)) = &mut self.editor else {
            return Vec::new();
        };
        let events = std::iter::from_fn(|| events.try_recv().ok());
        let entered = events.filter_map(|event| match event {
            Event::Entered { text, .. } => match Typed::parse(&text) {
                Typed::Message(words) => Text::new(words).ok(),
                Typed::Quit => None,
            },
            _ => None,
        });
        entered.collect()
    }

    fn unsaid(&mut self, text: Text) -> Unsaid {
        self.display.unsaid(text.as_str());
        Unsaid::Lost
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Report> {
        // It stands where the state stands, and goes with it.
        if let (None, Notice::Silence { is_over }) = (self.asked, notice) {
            match self.editor().filter(|_| !is_over) {
                Some(editor) => editor.turn_to(Mode::Listening(SILENCE.to_owned())),
                None => self.listen(""),
            }
            return Ok(());
        }
        if let (Notice::Waiting { ahead }, Some(editor)) = (notice, self.editor()) {
            // What is typed now is a draft for the conversation that is waited for.
            editor.turn_to(Mode::Listening(waiting(ahead)));
            return Ok(());
        }
        match notice {
            Notice::Lost => self.is_link_lost = true,
            Notice::Resumed => self.is_link_lost = false,
            _ => {}
        }
        show_notice(&self.display, notice);
        if self.asked.is_none() {
            match notice {
                Notice::Delivered { .. } => self.listen("Delivered. "),
                Notice::Lost => self.listen("The link is lost. "),
                Notice::Resumed => self.listen(""),
                _ => {}
            }
        }
        Ok(())
    }

    fn interrupted(&mut self) {
        self.close();
        self.show_draft();
        if let Some(editor) = self.editor() {
            editor.turn_to(Mode::Listening(INTERRUPTED.to_owned()));
        }
    }

    fn ended(&mut self, over: &Ended) -> Result<(), Report> {
        self.close();
        show_end(&self.display, &self.peer, over);
        self.show_draft();
        self.asked = None;
        self.peer_within.clear();
        Ok(())
    }

    async fn between(&mut self, _is_first: bool) -> Result<Left, Report> {
        while self.next().await != Event::Gone {}
        Ok(Left::Terminal)
    }

    fn question(&mut self, question: &str) {
        self.is_asking = true;
        if let Some(editor) = self.editor() {
            editor.turn_to(Mode::Asking(question.to_owned(), None));
        }
    }

    async fn pairing_code(&mut self) -> Result<Answer, Report> {
        if !self.is_asking {
            self.is_asking = true;
            if let Some(editor) = self.editor() {
                let (question, complete) = (pairing_code::PROMPT, pairing_code::complete);
                editor.turn_to(Mode::Asking(question.to_owned(), Some(complete)));
            }
        }
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer, Report> {
        loop {
            let answer = match self.next().await {
                Event::Answered(line) => Answer::Line(line),
                Event::End => Answer::Left(Left::Input),
                Event::Gone => Answer::Left(Left::Terminal),
                Event::Entered { .. } | Event::TooLong | Event::Overfull => continue,
            };
            self.is_asking = false;
            return Ok(answer);
        }
    }

    fn is_asking(&self) -> bool {
        self.is_asking
    }

    fn withdraw(&mut self) {
        self.is_asking = false;
        if let Some((editor, events)) = &mut self.editor {
            let left = editor.close();
            while events.try_recv().is_ok() {}
            if let Some(text) = left {
                self.display.unsaid(&text);
            }
        }
    }
}

#[cfg(test)]
mod tests;
