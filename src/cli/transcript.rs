//! [`Transcript`]: all that is said, in a file, for `--transcript`. A message is in it before it
//! counts as taken (PROTOCOL 3.5).

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::events;
use super::layout::{self, OURS, THEIRS};
use super::report::Report;
use super::screen;
use super::speaker::Partner;
use crate::link::Ended;
use crate::protocol::{ConversationId, Message, Text};
use crate::trust::own_file;

/// Where all that is said is recorded: in a file, or, as by default, nowhere.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    file: Option<Arc<TranscriptFile>>,
    /// The conversation that is on.
    conversation: Option<ConversationId>,
}

#[derive(Debug)]
struct TranscriptFile {
    path: PathBuf,
    /// JSON lines instead of text.
    is_json: bool,
    /// Conversations are on side by side: their lines are told apart.
    has_many: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The last line has no end: a crash or a full disk has cut it.
    is_torn: bool,
}

impl Transcript {
    /// Opens the file, which is made, or is appended to; either way only its owner can read it
    /// from now on. It gets JSON lines if its
    /// name ends in `.jsonl`, and text otherwise.
    ///
    /// # Errors
    /// It cannot be written, or others can write it.
    pub fn open(path: &Path, has_many: bool) -> Result<Self, Report> {
        let open = || {
            let mut file = own_file::open_to_append(path)?;
            let mode = file.metadata()?.permissions().mode();
            if mode & 0o077 != 0 {
                file.set_permissions(Permissions::from_mode(mode & 0o700))?;
            }
            let is_torn = is_torn(&mut file)?;
            Ok(TranscriptFile {
                path: path.to_owned(),
                is_json: path.extension().is_some_and(|end| end == "jsonl"),
                has_many,
                state: Mutex::new(State { file, is_torn }),
            })
        };
        let file = open().map_err(|error| Report::transcript_not_opened(path, &error))?;
        Ok(Self {
            file: Some(Arc::new(file)),
            conversation: None,
        })
    }

    /// All that follows is of this conversation.
    pub fn begin(&mut self, conversation: ConversationId) {
        self.conversation = Some(conversation);
    }

    /// A conversation is on; all that follows is of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.begin(partner.conversation);
        let verb = match partner.is_resumed {
            true => "Going on",
            false => "Connected",
        };
        let key = partner.key.to_string();
        let peer_name = match &partner.petname {
            Some(petname) => format!("{petname} ({key})"),
            None => key,
        };
        let conversation = partner.conversation;
        let greeting = format!("{verb} with {peer_name}, conversation {conversation}.");
        self.add(Entry {
            words: "",
            text: &greeting,
            event: "connected",
            members: events::connected(partner),
        })
        .await
    }

    /// This was said here, in this turn.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn said(&self, turn: u64, text: &Text) -> Result<(), Report> {
        self.add(Entry {
            words: OURS,
            text: text.as_str(),
            event: "turn",
            members: events::turn(turn, "me", text),
        })
        .await
    }

    /// The peer said this. `is_again`: it may stand there already, from before a restart.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn heard(&self, message: &Message, is_again: bool) -> Result<(), Report> {
        let text = message.text.as_str();
        let mut members = events::turn(message.turn, "peer", &message.text);
        if let (true, Some(members)) = (is_again, members.as_object_mut()) {
            members.insert("again".to_owned(), true.into());
        }
        let words = match is_again {
            true => "They say, if it is not above: ",
            false => THEIRS,
        };
        self.add(Entry {
            words,
            text,
            event: "turn",
            members,
        })
        .await
    }

    /// The conversation is over.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn ended(&self, over: &Ended) -> Result<(), Report> {
        let text = format!("The conversation is over: {}.", over.cause);
        self.add(Entry {
            words: "",
            text: &text,
            event: "ended",
            members: events::ended(over),
        })
        .await
    }

    async fn add(&self, entry: Entry<'_>) -> Result<(), Report> {
        let (Some(file), Some(conversation)) = (&self.file, self.conversation) else {
            return Ok(());
        };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let id = conversation.to_string();
        let lines = match (file.is_json, file.has_many) {
            (true, _) => entry.json(&now, &id),
            (false, true) => entry.text(&format!("{now} {} ", id.get(..8).unwrap_or(&id))),
            (false, false) => entry.text(&format!("{now} ")),
        };
        let writing = Arc::clone(file);
        let written = tokio::task::spawn_blocking(move || writing.append(lines.as_bytes())).await;
        written
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| Report::transcript_not_written(&file.path, &error))
    }
}

/// What is recorded at once.
struct Entry<'a> {
    /// Before the text.
    words: &'static str,
    text: &'a str,
    event: &'static str,
    members: Value,
}

impl Entry<'_> {
    fn text(&self, stamp: &str) -> String {
        format!("{stamp}{}", layout::transcript(self.words, self.text, None))
    }

    fn json(self, now: &str, conversation: &str) -> String {
        let mut event = json!({
            "time": now,
            "event": self.event,
            "conversation": conversation,
        });
        if let (Some(event), Value::Object(members)) = (event.as_object_mut(), self.members) {
            event.extend(members);
        }
        format!("{}\n", screen::json(&event, false))
    }
}

impl TranscriptFile {
    /// In one piece, and on the disk.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = state.write(lines);
        // Of what failed, anything may be there, or nothing.
        state.is_torn = written.is_err() && is_torn(&mut state.file).unwrap_or(true);
        written?;
        state.file.sync_data()
    }
}

impl State {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(lines)
    }
}

#[cfg(test)]
impl Transcript {
    /// On a disk that has no room.
    pub(in crate::cli) fn full() -> Self {
        let file = TranscriptFile {
            path: "/dev/full".into(),
            is_json: false,
            has_many: false,
            state: Mutex::new(State {
                file: File::options().write(true).open("/dev/full").unwrap(),
                is_torn: false,
            }),
        };
        Self {
            file: Some(Arc::new(file)),
            conversation: None,
        }
    }
}

fn is_torn(file: &mut File) -> io::Result<bool> {
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last != [b'\n'])
}

#[cfg(test)]
mod tests;
