//! [`Record`]: the record of one conversation, and the one way to write it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::claim::{Claim, Claimant};
use super::contents::{Contents, now};
use super::error::{JournalError, StoreError};
use super::page::Page;
use super::put::{Putting, Step};
use super::record_name::RecordName;
use super::{Store, Version};
use crate::protocol::{Conversation, HeardWhen, Role, Snapshot};

/// How long to wait before a record is read of which nobody knows whether it was written.
const PAUSE: Duration = Duration::from_millis(500);

/// The record of a conversation that is open here, or over.
#[derive(Debug)]
pub(crate) struct Record {
    store: Arc<dyn Store>,
    name: RecordName,
    /// Held by whoever writes.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    version: Version,
    /// The ticket of the connection that has claimed it here.
    claimed: u64,
    /// What a write that has failed may have left: the nonce of a put, or for a removal, nothing.
    failed: Option<Option<u64>>,
    /// It only says that the conversation has ended.
    is_tombstone: bool,
    /// Nobody asks for that any more.
    is_forgotten: bool,
}

/// What becomes of a record in the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LastPut {
    /// It says that the conversation has ended: its peer may come back and ask.
    Tombstone(Snapshot),
    /// Nothing is left.
    Nothing,
}

impl LastPut {
    /// Of a server's, that has ended.
    pub(crate) fn of(conversation: &Conversation) -> Self {
        match conversation.is_acknowledged() {
            true => Self::Nothing,
            false => Self::Tombstone(conversation.tombstone()),
        }
    }
}

impl Record {
    /// A record that has this version, and may be a tombstone.
    pub(super) fn new(
        store: Arc<dyn Store>,
        name: RecordName,
        version: Version,
        is_tombstone: bool,
    ) -> Self {
        Self {
            store,
            name,
            state: Mutex::new(State {
                version,
                claimed: 0,
                failed: None,
                is_tombstone,
                is_forgotten: false,
            }),
        }
    }

    /// The record of a new conversation: there is none yet.
    pub(crate) fn of_new(store: Arc<dyn Store>, name: RecordName) -> Self {
        Self::new(store, name, Version::NONE, false)
    }

    /// Where it stands, for messages.
    pub(crate) fn place(&self) -> PathBuf {
        self.store.place(&self.name)
    }

    /// Stores this durably, replacing the old content.
    ///
    /// # Errors
    /// [`StoreError`]; the old content holds.
    pub(crate) async fn put(
        &self,
        conversation: &Snapshot,
        is_live: bool,
        clienthello: u64,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        state.is_tombstone = conversation.is_tombstone();
        if state.is_tombstone && state.is_forgotten {
            return self.write(&mut state, None).await;
        }
        // One that has claimed it may not have taken it over yet.
        let clienthello = clienthello.max(state.claimed);
        let contents = self.contents(conversation, is_live, clienthello);
        self.write(&mut state, Some(contents)).await
    }

    fn contents(&self, conversation: &Snapshot, is_live: bool, clienthello: u64) -> Contents {
        let mut contents = Contents::new(self.name.peer(), conversation.clone());
        contents.written = now();
        contents.nonce = nonce();
        contents.live = is_live;
        contents.clienthello = clienthello;
        contents
    }

    /// Takes a server's conversation over for a connection, whoever goes on with it now: from
    /// here on their puts conflict. Only with [`Claim::Free`] anything has changed.
    ///
    /// `is_ours`: it goes on here, in this record. `None`: somebody else was writing in it `by`
    /// then.
    ///
    /// # Errors
    /// [`StoreError::TakenOver`]: somebody else has written meanwhile; where it was ours, it is so
    /// no longer.
    pub(crate) async fn claim(
        &self,
        claimant: Claimant,
        is_ours: bool,
        by: Instant,
    ) -> Result<Option<Claim>, StoreError> {
        let Ok(mut state) = timeout_at(by, self.state.lock()).await else {
            return Ok(None);
        };
        let loaded = Arc::clone(&self.store).load(self.name).await?;
        let version = loaded
            .as_ref()
            .map_or(Version::NONE, |(version, _)| *version);
        let page = loaded
            .map(|loaded| Page::read(self.name, &loaded, &*self.store))
            .transpose()?;
        let nonce = page.as_ref().map(|page| page.nonce);
        if is_ours && version != state.version && state.failed != Some(nonce) {
            return Err(StoreError::TakenOver);
        }
        (state.version, state.failed) = (version, None);
        let found = page.map(|page| (page.clienthello, page.conversation));
        let claim = Claim::of(found, claimant);
        if let Claim::Free(conversation) = &claim {
            let contents = self.contents(&conversation.snapshot(), true, claimant.clienthello);
            self.write(&mut state, Some(contents)).await?;
            state.claimed = claimant.clienthello;
        }
        Ok(Some(claim))
    }

    /// Removes it durably: the conversation is over, and nobody needs to be told so any more.
    ///
    /// # Errors
    /// [`StoreError`]; it may still be there.
    pub(crate) async fn remove(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        self.write(&mut state, None).await
    }

    /// The last of it.
    ///
    /// # Errors
    /// [`StoreError`]; the old content holds.
    pub(crate) async fn finish(&self, last: &LastPut) -> Result<(), StoreError> {
        match last {
            LastPut::Tombstone(tombstone) => self.put(tombstone, false, 0).await,
            LastPut::Nothing => self.remove().await,
        }
    }

    /// Nobody asks any more whether the conversation has ended. Where its user has still
    /// something to be told, the record stays until that is done.
    pub(crate) async fn forget(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        state.is_forgotten = true;
        match state.is_tombstone {
            true => self.write(&mut state, None).await,
            false => Ok(()),
        }
    }

    /// `None`: it is removed, or where others would then take it for one that never began, it says
    /// no more than that it has ended.
    async fn write(&self, state: &mut State, contents: Option<Contents>) -> Result<(), StoreError> {
        let contents = contents.or_else(|| self.end());
        if let Some(failed) = state.failed {
            let found = self.read().await?;
            if found.map(|(_, nonce)| nonce) == failed {
                state.version = found.map_or(Version::NONE, |(version, _)| version);
            }
            state.failed = None;
        }
        let nonce = contents.as_ref().map(|contents| contents.nonce);
        if nonce.is_none() && state.version == Version::NONE {
            return Ok(());
        }
        let (mut putting, mut step) = Putting::new(nonce, state.version);
        loop {
            step = match step {
                Step::Try(expected) => {
                    let store = Arc::clone(&self.store);
                    putting.tried(match &contents {
                        Some(contents) if contents.conversation.is_tombstone() => {
                            store.put_end(self.name, contents.encode(), expected).await
                        }
                        Some(contents) => store.put(self.name, contents.encode(), expected).await,
                        None => {
                            let removed = store.remove(self.name, expected).await;
                            removed.map(|()| Version::NONE)
                        }
                    })
                }
                Step::Read => {
                    sleep(PAUSE).await;
                    match self.read().await {
                        Ok(found) => putting.read(found),
                        Err(_) => Step::Read,
                    }
                }
                Step::Done(version) => {
                    state.version = version;
                    return Ok(());
                }
                Step::Failed(error) => {
                    state.failed = Some(nonce);
                    return Err(error);
                }
            };
        }
    }

    /// What is left of it in a shared store.
    fn end(&self) -> Option<Contents> {
        let (RecordName::Server(_, id), true) = (self.name, self.store.is_shared()) else {
            return None;
        };
        let ended = Conversation::new(Role::Server, id, HeardWhen::Stored).tombstone();
        Some(self.contents(&ended, false, 0))
    }

    /// Its version, and the nonce in it.
    async fn read(&self) -> Result<Option<(Version, u64)>, JournalError> {
        let found = Arc::clone(&self.store).load(self.name).await?;
        Ok(found.map(|(version, bytes)| {
            // What cannot be read is not ours.
            let contents = Contents::decode(&bytes);
            (version, contents.map_or(0, |contents| contents.nonce))
        }))
    }
}

fn nonce() -> u64 {
    let mut bits = [0; 8];
    #[expect(
        clippy::expect_used,
        reason = "aws-lc's generator does not fail once seeded"
    )]
    rand::fill(&mut bits).expect("random bits");
    u64::from_ne_bytes(bits) | 1
}

#[cfg(test)]
mod tests;
