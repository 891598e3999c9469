//! A store that servers share, as src/link/store/record.rs asks it. Requests take their time, and
//! so do answers; either may be lost, and a request may arrive long after nobody waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use turnchat::ConversationId;
use turnchat::internals::admission::ConnectionId;
use turnchat::internals::{
    Claim, Claimant, Contents, Conversation, HeardWhen, JournalError, Loaded, MemoryStore,
    PutError, Putting, RecordName, Role, Step, StoreError, Version,
};

use super::driver::DriverNumber;
use super::machine::decode;
use super::untold::Untold;
use super::{At, Event, Life, Node, World};
use crate::rules::Broken;

pub(super) type RecordNumber = u64;
pub(super) type CallNumber = u64;

/// How long a server waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// And before it asks again.
const PAUSE: Duration = Duration::from_millis(500);

/// The store, and who asks.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) store: MemoryStore,
    records: BTreeMap<RecordNumber, Record>,
    calls: BTreeMap<CallNumber, Call>,
    count: u64,
    /// By which record each version was written.
    writers: BTreeMap<(RecordName, Version), RecordNumber>,
    last_writers: BTreeMap<RecordName, RecordNumber>,
}

/// What a server knows of a record, and who writes it just now.
#[derive(Debug)]
struct Record {
    node: Node,
    name: RecordName,
    version: Version,
    claimed: u64,
    busy: bool,
    waiting: VecDeque<CallNumber>,
}

/// A put, or a claim, until its outcome is known.
#[derive(Clone, Debug)]
struct Call {
    life: Life,
    record: RecordNumber,
    of: Of,
    what: What,
    /// What is being put, and how that stands.
    putting: Option<(Putting, Option<Vec<u8>>)>,
    /// What is claimed, once that is put.
    found: Option<Conversation>,
    /// Of so many questions, which was asked last: a late answer to another is none.
    asked: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Of {
    Driver(At, DriverNumber),
    Connection(ConnectionId),
    /// It is given up, and its user is told.
    GivenUp(Box<Conversation>),
    Nobody,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Put(Box<Contents>),
    End,
    /// `is_ours`: it is on here.
    Claim {
        claimant: Claimant,
        is_ours: bool,
    },
}

#[derive(Clone)]
pub(super) enum Request {
    Get,
    /// Without bytes it is removed.
    Put(Option<Vec<u8>>, Version),
}

#[derive(Clone)]
pub(super) enum Answer {
    Got(Option<Loaded>),
    Put(Result<Version, PutError>),
    Unreachable,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Got(found) => write!(f, "got {:?}", found.as_ref().map(|found| found.0)),
            Self::Put(result) => write!(f, "{result:?}"),
            Self::Unreachable => write!(f, "unreachable"),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => write!(f, "get"),
            Self::Put(_, expected) => write!(f, "put at {expected:?}"),
        }
    }
}

/// `Claimed`.
#[derive(Debug)]
pub(super) enum Claimed {
    Ours(RecordNumber, Box<Conversation>),
    Ended,
    Lost,
    Impossible,
    Nothing,
}

impl Shared {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn apply(
        &mut self,
        by: RecordNumber,
        name: RecordName,
        bytes: Option<Vec<u8>>,
        expected: Version,
    ) -> Result<Version, PutError> {
        let version = self.store.write(name, bytes, expected)?;
        self.writers.insert((name, version), by);
        self.last_writers.insert(name, by);
        Ok(version)
    }

    /// What stands in a record.
    pub(super) fn look(&self, name: &RecordName) -> Option<Contents> {
        let (_, bytes) = self.store.get(name)?;
        decode(&bytes)
    }

    /// Whether this is the record of whoever goes on with its conversation.
    pub(super) fn is_owner(&self, record: RecordNumber) -> bool {
        self.records.get(&record).is_some_and(|record| {
            let stands = self.store.get(&record.name);
            stands.is_some_and(|(version, _)| version == record.version)
        })
    }
}

impl World {
    /// Of several servers, whether this one goes on with the conversation.
    pub(super) fn is_owner(&mut self, at: At) -> bool {
        let record = self.driver(at).and_then(|driver| driver.record);
        match (at, record) {
            (At::Server(..), Some(record)) => self.shared.is_owner(record),
            _ => true,
        }
    }

    /// `Record::of_new`.
    pub(super) fn new_record(&mut self, node: Node, name: RecordName) -> RecordNumber {
        let number = self.shared.next();
        let record = Record {
            node,
            name,
            version: Version::NONE,
            claimed: 0,
            busy: false,
            waiting: VecDeque::new(),
        };
        self.shared.records.insert(number, record);
        number
    }

    /// What a server's program knew is gone with it. What it has asked for still arrives.
    pub(super) fn forget_records(&mut self, node: Node) {
        self.shared.records.retain(|_, record| record.node != node);
        self.shared.calls.retain(|_, call| call.life.0 != node);
    }

    /// It waits for its turn: one at a time writes a record.
    pub(super) fn call(&mut self, record: RecordNumber, of: Of, what: What) {
        let number = self.shared.next();
        let Some(on) = self.shared.records.get_mut(&record) else {
            return;
        };
        let node = on.node;
        match on.busy {
            true => on.waiting.push_back(number),
            false => on.busy = true,
        }
        let is_first = on.waiting.is_empty();
        let call = Call {
            life: self.life(node),
            record,
            of,
            what,
            putting: None,
            found: None,
            asked: 0,
        };
        self.shared.calls.insert(number, call);
        if is_first {
            self.begin_call(number);
        }
    }

    fn begin_call(&mut self, number: CallNumber) {
        let call = &self.shared.calls[&number];
        match call.what.clone() {
            What::Put(contents) => self.put_shared(number, *contents),
            What::End => {
                let record = &self.shared.records[&call.record];
                if self.setup.breaks(Broken::EndsArePut) {
                    let (putting, step) = Putting::new(None, record.version);
                    let call = self.shared.calls.get_mut(&number).unwrap();
                    call.putting = Some((putting, None));
                    return self.take_step(number, step);
                }
                let RecordName::Server(peer, id) = record.name else {
                    return;
                };
                let ended = Conversation::new(Role::Server, id, HeardWhen::Stored);
                self.put_shared(number, Contents::new(peer, ended.tombstone()));
            }
            What::Claim { .. } => self.ask(number, Request::Get),
        }
    }

    /// `Record::put`.
    fn put_shared(&mut self, number: CallNumber, mut contents: Contents) {
        let nonce = self.shared.next();
        let call = self.shared.calls.get_mut(&number).unwrap();
        let record = &self.shared.records[&call.record];
        contents.nonce = nonce;
        contents.clienthello = contents.clienthello.max(record.claimed);
        let (putting, step) = Putting::new(Some(nonce), record.version);
        call.putting = Some((putting, Some(contents.encode())));
        self.take_step(number, step);
    }

    fn take_step(&mut self, number: CallNumber, step: Step) {
        match step {
            Step::Try(expected) => {
                let bytes = self.shared.calls[&number].putting.clone().unwrap().1;
                self.ask(number, Request::Put(bytes, expected));
            }
            Step::Read => self.ask_later(number),
            Step::Done(version) => {
                let call = &self.shared.calls[&number];
                let record = self.shared.records.get_mut(&call.record).unwrap();
                record.version = version;
                if let What::Claim { claimant, .. } = call.what {
                    record.claimed = claimant.clienthello;
                }
                let writer = self.shared.writers.get(&(record.name, version));
                let is_known =
                    !self.setup.breaks(Broken::UnknownIsUnknown) && version != Version::NONE;
                if is_known && writer != Some(&call.record) {
                    self.breaks(crate::OWNER);
                }
                self.finish(number, Ok(()));
            }
            Step::Failed(error) => self.finish(number, Err(error)),
        }
    }

    fn ask_later(&mut self, number: CallNumber) {
        let life = self.shared.calls[&number].life;
        self.queue.after(PAUSE, Event::AsksAgain(life, number));
    }

    /// A request is on its way; or the store cannot be reached.
    pub(super) fn ask(&mut self, number: CallNumber, request: Request) {
        let Some(call) = self.shared.calls.get_mut(&number) else {
            return;
        };
        call.asked += 1;
        let (asked, life, record) = (call.asked, call.life, call.record);
        let name = self.shared.records[&record].name;
        let there = self.dice.up_to(self.setup.storing);
        let is_cut_off = self.nodes[life.0].cut_off_until > self.queue.now();
        let is_put = matches!(request, Request::Put(..));
        let mishaps = &self.setup.mishaps;
        if !self.is_calm && is_put && self.dice.once_in(mishaps.failing_store) {
            self.figures.failed_stores += 1;
            let path = name.to_string().into();
            let failed = Err(PutError::Failed(JournalError::Damaged { path }));
            let answered = Event::Answered(life, number, asked, Answer::Put(failed));
            self.queue.after(there, answered);
            return;
        }
        let is_troubled = !self.is_calm && self.dice.once_in(mishaps.troubled_store);
        if is_cut_off || is_troubled {
            let answer = match request {
                Request::Get => Answer::Unreachable,
                Request::Put(bytes, expected) => {
                    let late = match self.dice.below(3) {
                        0 => None,
                        1 => Some(self.dice.evenly(PATIENCE)),
                        _ => Some(self.dice.evenly(Duration::from_secs(20))),
                    };
                    if let Some(late) = late {
                        let late_put = Event::Late(record, name, bytes, expected);
                        self.queue.after(late, late_put);
                    }
                    Answer::Put(Err(PutError::Unknown))
                }
            };
            let answered = Event::Answered(life, number, asked, answer);
            self.queue.after(PATIENCE, answered);
            return;
        }
        let reaches = Event::Asked((life, number, asked), record, name, request);
        self.queue.after(there, reaches);
    }

    /// At the store.
    pub(super) fn asked(
        &mut self,
        (life, number, asked): (Life, CallNumber, u64),
        by: RecordNumber,
        name: RecordName,
        request: Request,
    ) {
        let answer = match request {
            Request::Get => Answer::Got(self.shared.store.get(&name)),
            Request::Put(bytes, expected) => {
                Answer::Put(self.shared.apply(by, name, bytes, expected))
            }
        };
        let back = self.dice.up_to(self.setup.storing);
        let answered = Event::Answered(life, number, asked, answer);
        self.queue.after(back, answered);
    }

    /// At the store, when nobody waits for it any more.
    pub(super) fn arrives_late(
        &mut self,
        by: RecordNumber,
        name: RecordName,
        bytes: Option<Vec<u8>>,
        expected: Version,
    ) {
        let put = self.shared.apply(by, name, bytes, expected);
        self.note(|| format!("    {name} is put late: {put:?}"));
    }

    pub(super) fn answered(&mut self, number: CallNumber, asked: u64, answer: Answer) {
        let Some(call) = self.shared.calls.get_mut(&number) else {
            return;
        };
        if call.asked != asked {
            return;
        }
        let Some((putting, _)) = &mut call.putting else {
            return match answer {
                Answer::Got(found) => self.claim_found(number, found),
                _ => self.claim_again(number),
            };
        };
        let step = match answer {
            Answer::Put(Err(PutError::Unknown)) if self.setup.breaks(Broken::UnknownIsUnknown) => {
                let name = self.shared.records[&call.record].name;
                let stands = self.shared.store.get(&name);
                Step::Done(stands.map_or(Version::NONE, |(version, _)| version))
            }
            Answer::Put(Err(PutError::Unknown)) if self.setup.breaks(Broken::ReadWhereUnknown) => {
                let expected = self.shared.records[&call.record].version;
                Step::Try(expected)
            }
            Answer::Put(result) => putting.tried(result),
            Answer::Got(found) => putting.read(found.map(|(version, bytes)| {
                let nonce = decode(&bytes).map_or(0, |contents| contents.nonce);
                (version, nonce)
            })),
            Answer::Unreachable => Step::Read,
        };
        self.take_step(number, step);
    }

    pub(super) fn asks_again(&mut self, number: CallNumber) {
        if self.shared.calls.contains_key(&number) {
            self.ask(number, Request::Get);
        }
    }

    /// `Record::claim`, once the record is read.
    fn claim_found(&mut self, number: CallNumber, found: Option<Loaded>) {
        let call = self.shared.calls.get_mut(&number).unwrap();
        let What::Claim { claimant, is_ours } = call.what else {
            return;
        };
        let record = self.shared.records.get_mut(&call.record).unwrap();
        let version = found
            .as_ref()
            .map_or(Version::NONE, |(version, _)| *version);
        if is_ours && version != record.version {
            return self.claimed_as(number, Claimed::Lost);
        }
        record.version = version;
        let found = found.and_then(|(_, bytes)| {
            let contents = decode(&bytes)?;
            let conversation = Conversation::restore(Role::Server, contents.conversation)?;
            Some((contents.clienthello, conversation))
        });
        let claimed = match Claim::of(found, claimant) {
            Claim::Free(conversation) => {
                let mut contents = Contents::new(record.name.peer(), conversation.snapshot());
                (contents.live, contents.clienthello) = (true, claimant.clienthello);
                call.found = Some(*conversation);
                return match self.setup.breaks(Broken::ClaimFirst)
                    || self.setup.breaks(Broken::Claimed)
                {
                    true => self.go_on_unclaimed(number, contents),
                    false => self.put_shared(number, contents),
                };
            }
            Claim::Ended => Claimed::Ended,
            Claim::Overtaken => Claimed::Nothing,
            Claim::Impossible(_) => Claimed::Impossible,
        };
        self.claimed_as(number, claimed);
    }

    /// The rule that is broken: it is welcomed, and claimed only then, or never.
    fn go_on_unclaimed(&mut self, number: CallNumber, contents: Contents) {
        let call = &self.shared.calls[&number];
        let (record, life) = (call.record, call.life);
        let found = call.found.clone().unwrap();
        self.claimed_as(number, Claimed::Ours(record, Box::new(found)));
        if self.setup.breaks(Broken::ClaimFirst) && life == self.life(life.0) {
            self.call(record, Of::Nobody, What::Put(Box::new(contents)));
        }
    }

    /// Within the time that a connection has.
    fn claim_again(&mut self, number: CallNumber) {
        let call = &self.shared.calls[&number];
        let Of::Connection(id) = call.of else {
            return;
        };
        match self.is_claiming(call.life.0, id) {
            true => self.ask_later(number),
            false => self.claimed_as(number, Claimed::Nothing),
        }
    }

    fn claimed_as(&mut self, number: CallNumber, claimed: Claimed) {
        let Some(call) = self.leave_record(number) else {
            return;
        };
        if let Of::Connection(id) = call.of {
            self.claimed(call.life.0, id, claimed);
        }
    }

    /// A put is done, or has failed.
    fn finish(&mut self, number: CallNumber, result: Result<(), StoreError>) {
        let call = &self.shared.calls[&number];
        let record = call.record;
        let name = self.shared.records[&record].name;
        self.note(|| format!("    {name} is put by record {record}: {result:?}"));
        if result == Err(StoreError::TakenOver) {
            self.figures.taken_over += 1;
            let is_known = !self.setup.breaks(Broken::UnknownIsUnknown);
            if is_known && self.shared.last_writers.get(&name) == Some(&record) {
                self.breaks(crate::OWN);
            }
        }
        let call = &self.shared.calls[&number];
        if let What::Claim { is_ours, .. } = call.what {
            let found = call.found.clone().unwrap();
            return match result {
                Ok(()) => self.claimed_as(number, Claimed::Ours(record, Box::new(found))),
                Err(StoreError::TakenOver) if is_ours => self.claimed_as(number, Claimed::Lost),
                Err(_) => {
                    let call = self.shared.calls.get_mut(&number).unwrap();
                    call.putting = None;
                    self.claim_again(number);
                }
            };
        }
        let Some(call) = self.leave_record(number) else {
            return;
        };
        match call.of {
            Of::Driver(at, driver) => self.put_is_done(at, driver, result),
            Of::GivenUp(conversation) if result.is_ok() => {
                self.tell_end(&Untold::of(&conversation));
                self.call(record, Of::Nobody, What::End);
            }
            Of::GivenUp(_) | Of::Connection(_) | Of::Nobody => {}
        }
    }

    /// The next may write it.
    fn leave_record(&mut self, number: CallNumber) -> Option<Call> {
        let call = self.shared.calls.remove(&number)?;
        let next = match self.shared.records.get_mut(&call.record) {
            Some(record) => {
                let next = record.waiting.pop_front();
                record.busy = next.is_some();
                next
            }
            None => None,
        };
        if let Some(next) = next {
            self.begin_call(next);
        }
        Some(call)
    }

    /// What the store holds of a conversation.
    pub(super) fn stands(&self, id: ConversationId) -> Option<Contents> {
        self.shared
            .look(&self.record_name(crate::config::Side::Server, id))
    }
}
