//! A machine: its disk, and what its program knows of the records there. It crashes.

use std::collections::{BTreeMap, BTreeSet};

use turnchat::internals::{
    Contents, FileStore, JournalError, Listed, Loaded, PutError, Putting, RecordName, Role,
    Snapshot, Step, StoreError, Version,
};

use crate::dice::Dice;
use crate::disk::{FakeDisk, Lies};
use crate::rules::Broken;

/// How a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// What was not flushed may be lost.
    Power,
    /// What was done is there.
    Kill,
    /// What was begun is done.
    Stop,
}

pub(super) struct Machine {
    pub(super) disk: FakeDisk,
    pub(super) has_journal: bool,
    /// How often it has been started. What an earlier life had begun does not matter any more.
    pub(super) life: u32,
    pub(super) is_up: bool,
    broken: Option<Broken>,
    store: FileStore<FakeDisk>,
    records: BTreeMap<RecordName, Record>,
    /// Where somebody else has written.
    taken_over: BTreeSet<RecordName>,
    nonces: u64,
}

/// What src/link/store/record.rs knows of one.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    version: Version,
    /// What a write that has failed may have left.
    failed: Option<Option<u64>>,
}

/// What is on its way to the disk.
#[derive(Clone, Debug)]
pub(super) enum Put {
    Record(Box<Contents>),
    Nothing,
}

/// What a store answers, besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody knows whether it was done; it was, or was not, or is done only later.
    Unknown,
    /// Somebody else writes first.
    Conflict,
}

impl Machine {
    pub(super) fn new(has_journal: bool, broken: Option<Broken>) -> Self {
        let lies = match broken {
            Some(Broken::Flushed) => Lies::Files,
            Some(Broken::NamesFlushed) => Lies::Names,
            Some(Broken::TornAlone) => Lies::Neighbours,
            _ => Lies::None,
        };
        let disk = FakeDisk::new(lies);
        Self {
            store: FileStore::new(disk.clone()),
            disk,
            broken,
            has_journal,
            life: 0,
            is_up: false,
            records: BTreeMap::new(),
            taken_over: BTreeSet::new(),
            nonces: 0,
        }
    }

    /// Whether a write was torn. A new life begins, with what the disk has.
    pub(super) fn crash(&mut self, crash: Crash, dice: &mut Dice) -> bool {
        let is_torn = match crash {
            Crash::Power => self.disk.pull(dice),
            Crash::Kill | Crash::Stop => {
                self.disk.restart();
                false
            }
        };
        self.store = FileStore::new(self.disk.clone());
        self.records.clear();
        self.taken_over.clear();
        self.life += 1;
        self.is_up = false;
        is_torn
    }

    /// `Record::put` and `Record::remove`.
    pub(super) fn put(
        &mut self,
        name: RecordName,
        put: &Put,
        trouble: Option<Trouble>,
        dice: &mut Dice,
    ) -> Result<(), StoreError> {
        let mut record = self.records.get(&name).copied().unwrap_or_default();
        if let Some(failed) = record.failed {
            let found = self.read(&name)?;
            if found.map(|(_, nonce)| nonce) == failed {
                record.version = found.map_or(Version::NONE, |(version, _)| version);
            }
            record.failed = None;
        }
        self.nonces += 1;
        let contents = match put {
            Put::Record(contents) => {
                let mut contents = (**contents).clone();
                contents.nonce = self.nonces;
                Some(contents)
            }
            Put::Nothing if record.version == Version::NONE => return Ok(()),
            Put::Nothing => None,
        };
        let nonce = contents.as_ref().map(|contents| contents.nonce);
        if trouble == Some(Trouble::Conflict) {
            self.take_over(&name);
        }
        let mut is_unknown = trouble == Some(Trouble::Unknown);
        let mut late = None;
        let (mut putting, mut step) = Putting::new(nonce, record.version);
        let result = loop {
            step = match step {
                Step::Try(expected) => {
                    if late.take().is_some() {
                        let _ = self.attempt(&name, contents.as_ref(), expected);
                    }
                    if std::mem::take(&mut is_unknown) {
                        match dice.below(3) {
                            0 => {}
                            1 => late = Some(expected),
                            _ => _ = self.attempt(&name, contents.as_ref(), expected),
                        }
                        let unknown = putting.tried(Err(PutError::Unknown));
                        match self.broken {
                            Some(Broken::ReadWhereUnknown) => Step::Try(expected),
                            _ => unknown,
                        }
                    } else {
                        let tried = self.attempt(&name, contents.as_ref(), expected);
                        match (tried, self.broken) {
                            (tried, Some(Broken::ReadWhereUnknown)) => match tried {
                                Ok(version) => Step::Done(version),
                                Err(PutError::Failed(error)) => Step::Failed(error.into()),
                                Err(_) => Step::Failed(StoreError::TakenOver),
                            },
                            (tried, _) => putting.tried(tried),
                        }
                    }
                }
                Step::Read if self.disk.has_stopped() => {
                    break Err(StoreError::TakenOver);
                }
                Step::Read => match self.read(&name) {
                    Ok(found) => putting.read(found),
                    Err(_) => Step::Read,
                },
                Step::Done(version) => {
                    record.version = version;
                    break Ok(());
                }
                Step::Failed(error) => {
                    record.failed = Some(nonce);
                    break Err(error);
                }
            };
        };
        self.records.insert(name, record);
        result
    }

    fn attempt(
        &self,
        name: &RecordName,
        contents: Option<&Contents>,
        expected: Version,
    ) -> Result<Version, PutError> {
        match contents {
            Some(contents) if contents.conversation.is_tombstone() => {
                self.store.write_anew(name, &contents.encode(), expected)
            }
            Some(contents) => self.store.write(name, &contents.encode(), expected),
            None => {
                let removed = self.store.delete(name, expected);
                removed.map(|()| Version::NONE)
            }
        }
    }

    fn read(&self, name: &RecordName) -> Result<Option<(Version, u64)>, JournalError> {
        let found = self.take_up(name)?;
        Ok(found.map(|(version, bytes)| {
            let nonce = decode(&bytes).map_or(0, |contents| contents.nonce);
            (version, nonce)
        }))
    }

    fn take_up(&self, name: &RecordName) -> Result<Option<Loaded>, JournalError> {
        match self.broken {
            Some(Broken::FlushedWhenRead) => self.store.get(name),
            _ => self.store.take_up(name),
        }
    }

    /// Somebody else goes on with it, from where it stands.
    fn take_over(&mut self, name: &RecordName) {
        if let Ok(Some((version, bytes))) = self.store.get(name)
            && let Some(mut theirs) = decode(&bytes)
        {
            theirs.nonce = u64::MAX;
            let _ = self.store.write(name, &theirs.encode(), version);
            self.taken_over.insert(*name);
        }
    }

    /// Whether that has happened since it was loaded.
    pub(super) fn is_taken_over(&self, name: &RecordName) -> bool {
        self.taken_over.contains(name)
    }

    /// A record, to go on with it.
    pub(super) fn load(&mut self, name: RecordName) -> Result<Option<Contents>, JournalError> {
        self.store = FileStore::new(self.disk.clone()).swept(&name.to_string());
        match self.take_up(&name)? {
            Some(loaded) => self.know(name, loaded).map(Some),
            None => {
                self.records.remove(&name);
                Ok(None)
            }
        }
    }

    /// All records, to go on with them.
    pub(super) fn load_all(&mut self) -> Result<Vec<Contents>, JournalError> {
        self.store = FileStore::new(self.disk.clone()).swept("server-");
        let mut all = Vec::new();
        let listed = match self.broken {
            Some(Broken::FlushedWhenRead) => self.store.records(Some(Role::Server)),
            _ => self.store.take_up_all(),
        };
        for Listed { read, .. } in listed? {
            let (name, loaded) = read?;
            all.push(self.know(name, loaded)?);
        }
        Ok(all)
    }

    fn know(
        &mut self,
        name: RecordName,
        (version, bytes): Loaded,
    ) -> Result<Contents, JournalError> {
        let record = Record {
            version,
            failed: None,
        };
        self.records.insert(name, record);
        self.taken_over.remove(&name);
        let path = name.to_string().into();
        decode(&bytes).ok_or(JournalError::Damaged { path })
    }

    /// A record, only to look at it.
    pub(super) fn look(&self, name: &RecordName) -> Option<Snapshot> {
        let (_, bytes) = self.store.get(name).ok()??;
        Some(decode(&bytes)?.conversation)
    }
}

pub(super) fn decode(bytes: &[u8]) -> Option<Contents> {
    serde_json::from_slice(bytes).ok()
}
