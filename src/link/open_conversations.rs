//! [`OpenConversation`]: what a journal holds, for somebody who lists it or gives it up and
//! does not go on with it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::abandoned::Abandoned;
use super::journal::Journal;
use super::server::untold::Untold;
use super::store::{JournalError, Page, Store, Stored};
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
            key: page.name.peer(),
            conversation: conversation.id(),
            role: page.name.role(),
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
        let pages = match self.pages() {
            Ok(pages) => pages.into_iter(),
            Err(error) => return vec![Err(error)],
        };
        let open = pages.map(|page| {
            let page = page?;
            let is_held = self.is_held(&page.name.lock())?;
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
    /// If this future is dropped, those told of are given up, but for the last.
    ///
    /// # Errors
    /// Those of `tell`, and [`JournalError`]. If it is [`JournalError::InUse`], nothing has
    /// changed; this does not wait. After another, those told of before are given up.
    pub async fn give_up<E: From<JournalError>>(
        &self,
        keys: &[KeyId],
        mut tell: impl FnMut(&OpenConversation, &Abandoned) -> Result<(), E>,
    ) -> Result<(), E> {
        let of_these =
            |page: &Page| OpenConversation::of(page, false).filter(|open| keys.contains(&open.key));
        let pages = self.pages()?.into_iter().flatten();
        let wanted = pages.filter(|page| of_these(page).is_some());
        let names: Vec<_> = wanted.map(|page| page.name).collect();
        let mut stores: BTreeMap<_, Arc<dyn Store>> = BTreeMap::new();
        // All locks before the first end.
        for name in &names {
            if let Entry::Vacant(place) = stores.entry(name.lock()) {
                let lock = self.lock(place.key())?;
                let store = self.store(lock, place.key());
                place.insert(store);
            }
        }
        for name in names {
            let Some(store) = stores.get(&name.lock()).map(Arc::clone) else {
                continue;
            };
            // It may have gone on before it was locked.
            if let Some(loaded) = Arc::clone(&store).load(name).await? {
                let page = Page::read(name, &loaded, &*store)?;
                if let Some(open) = of_these(&page) {
                    end(&open, page.held(store), &mut tell).await?;
                }
            }
        }
        Ok(())
    }
}

async fn end<E: From<JournalError>>(
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
            let ended = Untold::end(open.key, &record, conversation).await;
            let (left, untold) = ended.map_err(|error| error.at(record.place()))?;
            tell(open, &left)?;
            if let Some(untold) = untold {
                untold.told().await;
            }
        }
        Role::Client => {
            tell(open, &Abandoned::of(open.key, &conversation))?;
            let removed = record.remove().await;
            removed.map_err(|error| error.at(record.place()))?;
        }
    }
    Ok(())
}
