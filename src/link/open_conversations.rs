//! [`OpenConversation`]: what a journal holds, for somebody who lists it or gives it up and
//! does not go on with it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::abandoned::Abandoned;
use super::journal::{Journal, JournalError, Page, PageFile, Stored};
use super::server::untold::Untold;
use crate::protocol::{By, ConversationId, Role};
use crate::trust::KeyId;

/// A conversation in a [`Journal`] that can continue: one that is on, cut or parked. It is what
/// the file said when it was read, and holds no message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenConversation {
    /// The peer's key.
    pub key: KeyId,
    /// The name that both sides use for it.
    pub conversation: ConversationId,
    /// This side's role in it.
    pub role: Role,
    /// Its last turn, whoever spoke in it; 0: none.
    pub turns: u64,
    /// When it was last written, by this machine's clock; to the second.
    pub written: SystemTime,
    /// A client in this or another process has it open, or a server serves its journal.
    pub is_held: bool,
}

impl OpenConversation {
    /// `None` if it has ended.
    fn of(page: &Page, is_held: bool) -> Option<Self> {
        let conversation = &page.conversation;
        let since = Duration::from_secs(page.written);
        (!conversation.has_quit()).then(|| Self {
            key: page.peer,
            conversation: conversation.id(),
            role: page.role,
            turns: conversation.end(By::Me).turns,
            // Past what a clock can show, it is no time at all.
            written: UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH),
            is_held,
        })
    }
}

impl Journal {
    /// The conversations in it that can continue, of server and clients, in no order. An `Err`
    /// is a file that cannot be read or is damaged, or the directory; the others are told all
    /// the same.
    ///
    /// Only reads: it makes and changes nothing, and may be called beside a running server or
    /// client. One that starts at the same instant may wait 10 ms longer.
    pub fn open_conversations(&self) -> Vec<Result<OpenConversation, JournalError>> {
        let files = match self.files() {
            Ok(files) => files,
            Err(error) => return vec![Err(error)],
        };
        let open = files.iter().map(|file| {
            let Some(page) = file.read()? else {
                return Ok(None);
            };
            let is_held = self.is_held(&file.lock_name())?;
            Ok(OpenConversation::of(&page, is_held))
        });
        open.filter_map(Result::transpose).collect()
    }

    /// Gives up the conversations with these peers, on either side. `tell` learns of each, and
    /// what is left of it; it is not called where there is none. A file that cannot be read is
    /// passed over.
    ///
    /// A server's conversation is ended on the disk before `tell`: its peer learns of the end
    /// when it comes back. If `tell` fails, the next start of the server tells of what is left,
    /// as [`ServerEvent::Ended`](super::ServerEvent::Ended). A client's is removed after `tell`,
    /// as by [`Client::give_up`](super::Client::give_up); if `tell` fails, it can still continue.
    ///
    /// # Errors
    /// Those of `tell`, and [`JournalError`]. If it is [`JournalError::InUse`], nothing has
    /// changed; this does not wait. After another, those told of before are given up.
    pub fn give_up<E: From<JournalError>>(
        &self,
        keys: &[KeyId],
        mut tell: impl FnMut(&OpenConversation, &Abandoned) -> Result<(), E>,
    ) -> Result<(), E> {
        let of_these =
            |page: &Page| OpenConversation::of(page, false).filter(|open| keys.contains(&open.key));
        let is_wanted = |file: &PageFile| {
            let page = file.read().ok().flatten();
            page.is_some_and(|page| of_these(&page).is_some())
        };
        let mut locks = BTreeMap::new();
        let mut held = Vec::new();
        // All locks before the first end.
        for file in self.files()?.into_iter().filter(is_wanted) {
            let lock = match locks.entry(file.lock_name()) {
                Entry::Occupied(lock) => Arc::clone(lock.get()),
                Entry::Vacant(place) => {
                    let lock = Arc::new(self.lock(place.key())?);
                    Arc::clone(place.insert(lock))
                }
            };
            held.push((file, lock));
        }
        for (file, lock) in held {
            // It may have gone on before it was locked.
            let page = file.read()?.and_then(|page| Some((of_these(&page)?, page)));
            if let Some((open, page)) = page {
                end(&open, page.held(&lock), &mut tell)?;
            }
        }
        Ok(())
    }
}

fn end<E: From<JournalError>>(
    open: &OpenConversation,
    stored: Stored,
    mut tell: impl FnMut(&OpenConversation, &Abandoned) -> Result<(), E>,
) -> Result<(), E> {
    let Stored {
        record,
        conversation,
        ..
    } = stored;
    match open.role {
        Role::Server => {
            let (left, untold) = Untold::end(open.key, &record, conversation)?;
            tell(open, &left)?;
            if let Some(untold) = untold {
                untold.told();
            }
        }
        Role::Client => {
            tell(open, &Abandoned::of(open.key, &conversation))?;
            record.remove()?;
        }
    }
    Ok(())
}
