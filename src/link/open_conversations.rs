//! [`OpenConversation`]: what a journal holds, for somebody who lists it or gives it up and
//! does not go on with it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::abandoned::Abandoned;
use super::journal::Journal;
use super::store::{JournalError, Page, Store, Stored};
use super::untold::Untold;
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::link::store::{Record, RecordName};
    use crate::protocol::{Conversation, HeardWhen, Limits, Text};

    fn key(name: &str) -> KeyId {
        KeyId::of_spki(name.as_bytes())
    }

    fn id(byte: u8) -> ConversationId {
        ConversationId::from_bits([byte; 16])
    }

    /// One in which the server has spoken.
    fn conversation(role: Role, byte: u8) -> Conversation {
        let mut conversation = Conversation::new(role, id(byte), HeardWhen::Stored);
        if role == Role::Server {
            conversation.say(Text::new("Hello, Bob!").unwrap()).unwrap();
        }
        conversation
    }

    /// A journal with a server's conversation with bob and a client's with carol.
    async fn journal(dir: &tempfile::TempDir) -> Journal {
        let journal = Journal::new(dir.path(), &key("alice"));
        let kept = journal.server(&Limits::default()).await.unwrap();
        let name = RecordName::Server(key("bob"), id(7));
        let record = Record::of_new(kept.store.unwrap(), name);
        let with_bob = conversation(Role::Server, 7).snapshot();
        record.put(&with_bob, true, 1).await.unwrap();
        let (record, _) = journal.client(&key("carol")).await.unwrap();
        let with_carol = conversation(Role::Client, 8).snapshot();
        record.put(&with_carol, true, 0).await.unwrap();
        journal
    }

    fn open(journal: &Journal) -> Vec<OpenConversation> {
        let open: Result<Vec<_>, _> = journal.open_conversations().into_iter().collect();
        let mut open = open.unwrap();
        open.sort_by_key(|open| open.conversation);
        open
    }

    fn names(journal: &Journal) -> Vec<ConversationId> {
        let open = open(journal).into_iter();
        open.map(|open| open.conversation).collect()
    }

    #[tokio::test]
    async fn what_is_open_on_either_side_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let empty = Journal::new(dir.path(), &key("dave"));
        assert_eq!(open(&empty), []);
        // Who lists makes nothing.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let before = SystemTime::now() - Duration::from_secs(1);
        let journal = journal(&dir).await;
        let [with_bob, with_carol] = &open(&journal)[..] else {
            panic!("{:?}", open(&journal));
        };
        assert_eq!((with_bob.key, with_bob.conversation), (key("bob"), id(7)));
        assert_eq!((with_bob.role, with_bob.turns), (Role::Server, 1));
        assert!((before..=SystemTime::now()).contains(&with_bob.written));
        assert_eq!(with_carol.key, key("carol"));
        assert_eq!((with_carol.role, with_carol.turns), (Role::Client, 0));
        assert!(!with_bob.is_held && !with_carol.is_held);
    }

    #[tokio::test]
    async fn what_somebody_has_open_is_said_to_be_held() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(&dir).await;
        let server = journal.server(&Limits::default()).await.unwrap();
        let held = |journal| open(journal).into_iter().map(|open| open.is_held);
        assert_eq!(held(&journal).collect::<Vec<_>>(), [true, false]);
        let client = journal.client(&key("carol")).await.unwrap();
        drop(server);
        assert_eq!(held(&journal).collect::<Vec<_>>(), [false, true]);
        drop(client);
    }

    #[tokio::test]
    async fn a_damaged_file_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(&dir).await;
        let files = fs::read_dir(dir.path().join(key("alice").file_name())).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        let record = files.find(|path| path.to_string_lossy().contains("client-"));
        // The lock of this one may come first.
        let record = record.unwrap().with_extension("record");
        fs::write(&record, "not what we write").unwrap();
        let listed = journal.open_conversations();
        assert_eq!(listed.len(), 2);
        let good = listed.iter().flatten().map(|open| open.conversation);
        assert_eq!(good.collect::<Vec<_>>(), [id(7)]);
        let bad: Vec<_> = listed.into_iter().filter_map(Result::err).collect();
        assert_eq!(bad, [JournalError::Damaged { path: record }]);
    }

    #[tokio::test]
    async fn a_servers_is_ended_before_it_is_told_and_its_peer_can_still_ask() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(&dir).await;
        let mut told = Vec::new();
        let bob = [key("bob")];
        let given_up = journal.give_up(&bob, |open, left| {
            assert_eq!(names(&journal), [id(8)]);
            told.push((open.conversation, left.unacknowledged.clone()));
            Ok::<_, JournalError>(())
        });
        given_up.await.unwrap();
        let [(conversation, Some(message))] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(*conversation, id(7));
        assert_eq!(message.text.as_str(), "Hello, Bob!");
        assert_eq!(names(&journal), [id(8)]);
        // It never heard of the conversation: that it has ended is remembered.
        let kept = journal.server(&Limits::default()).await.unwrap();
        let [stored] = &kept.stored[..] else {
            panic!("{:?}", kept.stored);
        };
        assert!(stored.conversation.has_quit());
        assert!(stored.conversation.snapshot().is_tombstone());
    }

    #[tokio::test]
    async fn a_clients_can_go_on_until_it_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(&dir).await;
        let in_the_way = || JournalError::Damaged { path: "ear".into() };
        let carol = [key("carol")];
        let failed = journal.give_up(&carol, |_, _| Err(in_the_way()));
        assert_eq!(failed.await, Err(in_the_way()));
        assert_eq!(names(&journal), [id(7), id(8)]);
        let told = journal.give_up(&carol, |open, _| {
            assert_eq!(open.conversation, id(8));
            Ok::<_, JournalError>(())
        });
        told.await.unwrap();
        assert_eq!(names(&journal), [id(7)]);
        assert!(!journal.has_client(&key("carol")));
    }

    #[tokio::test]
    async fn nothing_is_given_up_while_one_of_them_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(&dir).await;
        let client = journal.client(&key("carol")).await.unwrap();
        let keys = [key("bob"), key("carol")];
        let given_up = journal
            .give_up(&keys, |_, _| -> Result<(), JournalError> {
                panic!("it is told of nothing")
            })
            .await;
        assert!(matches!(given_up, Err(JournalError::InUse { .. })));
        drop(client);
        assert_eq!(names(&journal), [id(7), id(8)]);
    }
}
