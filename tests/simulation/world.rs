//! A server, its clients, their people and the network between them. The rules are the real
//! [`Session`](turnchat::internals::session::Session), the real
//! [`Admission`](turnchat::internals::admission::Admission) and the real file store; what stands
//! here is the thin glue around them, each part beside the place in src/link that it stands for.

mod client;
mod crashes;
mod driver;
mod hub;
mod machine;
mod mishaps;
mod network;
mod person;
mod promises;
mod queue;
mod store;
mod untold;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use turnchat::internals::admission;
use turnchat::internals::admission::ConnectionId;
use turnchat::internals::session;
use turnchat::internals::{RecordName, Snapshot, Version};
use turnchat::{ConversationId, KeyId, Peer};

use crate::config::{Setup, Side};
use crate::dice::Dice;
use crate::figures::Figures;
use crate::tale::Tale;

use self::client::Client;
use self::driver::{Driver, DriverNumber};
use self::hub::Hub;
pub(crate) use self::machine::Crash;
use self::machine::Machine;
use self::network::{Link, LinkId};
use self::queue::{Queue, Time};
use self::store::{Answer, CallNumber, RecordNumber, Request, Shared};

/// More than any history needs.
const MOST_EVENTS: u64 = 60_000;
/// How much of what happened is told in a line.
const WIDTH: usize = 400;

/// One of the servers with the same identity.
pub(crate) type Node = usize;

/// Of a server, from a start to the next.
type Life = (Node, u32);

/// Whose side of which conversation: each client has one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    Client(usize),
    Server(Node, ConversationId),
}

impl At {
    fn side(self) -> Side {
        match self {
            Self::Client(_) => Side::Client,
            Self::Server(..) => Side::Server,
        }
    }

    fn whose(self) -> Whose {
        match self {
            Self::Client(client) => Whose::Client(client),
            Self::Server(node, _) => Whose::Server(node),
        }
    }
}

/// Whose machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Client(usize),
    Server(Node),
}

impl Whose {
    fn side(self) -> Side {
        match self {
            Self::Client(_) => Side::Client,
            Self::Server(_) => Side::Server,
        }
    }
}

/// What happens. What belongs to a machine's life or to a driver that is no more, is nothing.
#[derive(Clone, Debug)]
enum Event {
    // The network.
    Accepted(LinkId),
    ClientHello(LinkId),
    /// The client has proven both keys, or cannot.
    Proven(LinkId),
    DialFailed(LinkId),
    Arrives(LinkId, Side),
    /// Nothing has arrived for too long.
    Silent(LinkId, Side),
    /// The server has not said anything in time.
    FirstFrameDue(LinkId),

    // A conversation's driver, and its person.
    Fires(At, DriverNumber, session::Timer),
    Stored(At, DriverNumber),
    Closed(At, DriverNumber),
    Takes(At, DriverNumber),
    Speaks(At, DriverNumber),
    Over(At, DriverNumber),

    // A server, in this life.
    HelloDue(Life, ConnectionId),
    Entered(Life, ConnectionId),
    Left(Life, ConnectionId),
    HubFires(Life, admission::Timer),
    /// Its user has answered about a key.
    Answers(Life, KeyId),
    /// Its user is ready for one more.
    Seat(Life),
    /// Its user reads of an end.
    ReadsEnd(Life),
    /// A claim has taken too long.
    ClaimDue(Life, ConnectionId),

    // A store that servers share.
    Asked((Life, CallNumber, u64), RecordNumber, RecordName, Request),
    Answered(Life, CallNumber, u64, Answer),
    AsksAgain(Life, CallNumber),
    /// A put arrives when nobody waits for it any more.
    Late(RecordNumber, RecordName, Option<Vec<u8>>, Version),

    Starts(Whose),
    /// Somebody else has taken over a record from this life of a machine.
    GivesWay(Whose, u32),
    Mishap,
    /// Everything has come to rest: all is started once more.
    LastStart,
}

/// Its machine, and what its program holds.
struct Server {
    machine: Machine,
    hub: Hub,
    /// Its program does nothing before that.
    paused_until: Time,
    /// It cannot reach the shared store before that.
    cut_off_until: Time,
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    dice: Dice,
    queue: Queue<Event>,
    links: BTreeMap<LinkId, Link>,
    dialled: LinkId,
    drivers: DriverNumber,
    nodes: Vec<Server>,
    shared: Shared,
    /// At which of several servers somebody said what: conversation, turn and life.
    sayers: BTreeMap<(ConversationId, u64, u8), Node>,
    /// Of that, what its server cannot have sent: it was not stored when others went on.
    unsaid: BTreeSet<(ConversationId, u64, u8)>,
    clients: Vec<Client>,
    peers: &'static [Peer],
    tales: BTreeMap<ConversationId, Tale>,
    /// Whose each is, by its number.
    owners: Vec<usize>,
    /// The first promise that was broken.
    broken: Option<&'static str>,
    /// After so many steps the machine crashes that takes them.
    fuse: Option<usize>,
    /// No mishap comes any more.
    is_calm: bool,
    is_last_start: bool,
    pub(crate) figures: Figures,
    log: Option<VecDeque<String>>,
    /// How many of them.
    told: usize,
}

impl World {
    pub(crate) fn new(setup: Setup, peers: &'static [Peer]) -> Self {
        let dice = Dice::new(setup.seed);
        let broken = setup.broken;
        let client = |client: &crate::config::ClientSetup| Client::new(client, broken);
        let server = |setup: &Setup| Server {
            machine: Machine::new(setup.server_journal, broken),
            hub: Hub::new(setup),
            paused_until: Time::ZERO,
            cut_off_until: Time::ZERO,
        };
        let mut world = Self {
            dice,
            queue: Queue::new(),
            links: BTreeMap::new(),
            dialled: 0,
            drivers: 0,
            nodes: (0..setup.nodes).map(|_| server(&setup)).collect(),
            shared: Shared::default(),
            sayers: BTreeMap::new(),
            unsaid: BTreeSet::new(),
            clients: setup.clients.iter().map(client).collect(),
            peers,
            tales: BTreeMap::new(),
            owners: Vec::new(),
            broken: None,
            fuse: None,
            is_calm: false,
            is_last_start: false,
            figures: Figures::default(),
            log: None,
            told: 0,
            setup,
        };
        for node in 0..world.nodes.len() {
            let starts = Event::Starts(Whose::Server(node));
            world.queue.after(Duration::ZERO, starts);
        }
        for client in 0..world.clients.len() {
            let at = world.dice.evenly(Duration::from_secs(5));
            world.queue.after(at, Event::Starts(Whose::Client(client)));
        }
        world.plan_mishap();
        world
    }

    /// The same, which keeps so much of what happens last.
    pub(crate) fn telling(mut self, told: usize) -> Self {
        (self.log, self.told) = (Some(VecDeque::new()), told);
        self
    }

    /// The power of this machine is pulled in the midst of this operation of its disk.
    pub(crate) fn pulling(mut self, whose: Whose, operation: usize) -> Self {
        self.machine_of(whose).disk.stop_after(operation);
        self
    }

    /// How many operations of its disk a machine has done.
    pub(crate) fn operations(&mut self, whose: Whose) -> usize {
        self.machine_of(whose).disk.operations()
    }

    /// From its beginning until nothing more happens.
    ///
    /// # Errors
    /// The promise that is broken, and what has led to that.
    pub(crate) fn live(&mut self) -> Result<(), (&'static str, Vec<String>)> {
        loop {
            let next = match self.broken {
                None => self.queue.next(),
                Some(_) => None,
            };
            let Some((number, event)) = next else {
                break;
            };
            self.figures.events += 1;
            if self.figures.events > MOST_EVENTS {
                self.breaks(crate::ENDLESS);
            }
            self.step(number, event);
        }
        if self.broken.is_none() {
            self.check_at_rest();
        }
        self.figures.seconds += self.queue.now().as_secs().min(3_600);
        match self.broken {
            None => Ok(()),
            Some(promise) => Err((promise, self.told())),
        }
    }

    /// What was kept of what has happened.
    pub(crate) fn told(&mut self) -> Vec<String> {
        self.log.take().into_iter().flatten().collect()
    }

    fn step(&mut self, number: u64, event: Event) {
        let whose = self.whose(&event);
        if let Some(Whose::Server(node)) = whose
            && self.nodes[node].paused_until > self.queue.now()
        {
            let until = self.nodes[node].paused_until;
            return self.queue.again(until, number, event);
        }
        self.note(|| format!("{event:?}"));
        let may_crash = !self.is_calm && self.fuse.is_none();
        if whose.is_some() && may_crash && self.dice.once_in(self.setup.mishaps.crash_in_step) {
            self.fuse = Some(self.dice.below(4));
        }
        self.happen(number, event);
        if self.is_blown()
            && let Some(whose) = whose
        {
            self.fuse = None;
            let crash = self.dice.pick(&[Crash::Power, Crash::Kill]);
            self.crash(whose, crash);
        }
        self.fuse = None;
        self.crash_where_disks_have_stopped();
        self.rest_if_done();
    }

    /// Whose machine does something about it.
    fn whose(&self, event: &Event) -> Option<Whose> {
        let of_link = |link: &LinkId| self.links.get(link)?.client.map(Whose::Client);
        let node_of = |link: &LinkId| self.links.get(link).map_or(0, |of| of.node);
        match event {
            Event::Arrives(link, Side::Client) | Event::Silent(link, Side::Client) => of_link(link),
            Event::Proven(link) | Event::DialFailed(link) | Event::FirstFrameDue(link) => {
                of_link(link)
            }
            Event::Fires(at, ..)
            | Event::Stored(at, _)
            | Event::Closed(at, _)
            | Event::Takes(at, _)
            | Event::Speaks(at, _)
            | Event::Over(at, _) => Some(at.whose()),
            Event::Starts(whose) => Some(*whose),
            Event::GivesWay(..) | Event::Mishap | Event::LastStart => None,
            Event::Accepted(link)
            | Event::ClientHello(link)
            | Event::Arrives(link, Side::Server)
            | Event::Silent(link, Side::Server) => Some(Whose::Server(node_of(link))),
            Event::HelloDue((node, _), _)
            | Event::Entered((node, _), _)
            | Event::Left((node, _), _)
            | Event::HubFires((node, _), _)
            | Event::Answers((node, _), _)
            | Event::Seat((node, _))
            | Event::ReadsEnd((node, _))
            | Event::ClaimDue((node, _), _)
            | Event::Answered((node, _), ..)
            | Event::AsksAgain((node, _), _) => Some(Whose::Server(*node)),
            Event::Asked(..) | Event::Late(..) => None,
        }
    }

    fn happen(&mut self, number: u64, event: Event) {
        match event {
            Event::Accepted(link) => self.accepted(link),
            Event::ClientHello(link) => self.client_hello(link),
            Event::Proven(link) => self.proven(link),
            Event::DialFailed(link) => self.dial_failed(link),
            Event::Arrives(link, to) => {
                self.arrive(link, to);
                self.look(link, to);
            }
            Event::Silent(link, to) => self.fall_silent(link, to),
            Event::FirstFrameDue(link) => self.first_frame_due(link),
            Event::Fires(at, driver, timer) => self.fires(at, driver, timer, number),
            Event::Stored(at, driver) => self.stored(at, driver),
            Event::Closed(at, driver) => self.closed(at, driver),
            Event::Takes(at, driver) => self.takes(at, driver),
            Event::Speaks(at, driver) => self.speaks(at, driver),
            Event::Over(at, driver) => self.over(at, driver),
            Event::Starts(Whose::Client(client)) => self.start_client(client),
            Event::Starts(Whose::Server(node)) => self.start_server(node),
            Event::GivesWay(whose, life) => self.gives_way(whose, life),
            Event::Mishap => self.mishap(),
            Event::Asked(call, by, name, request) => self.asked(call, by, name, request),
            Event::Late(by, name, bytes, expected) => self.arrives_late(by, name, bytes, expected),
            Event::LastStart => self.last_start(),
            Event::HelloDue(life, _)
            | Event::Entered(life, _)
            | Event::Left(life, _)
            | Event::HubFires(life, _)
            | Event::Answers(life, _)
            | Event::Seat(life)
            | Event::ClaimDue(life, _)
            | Event::Answered(life, ..)
            | Event::AsksAgain(life, _)
            | Event::ReadsEnd(life) => {
                let (node, _) = life;
                if life == self.life(node) && self.nodes[node].machine.is_up {
                    self.at_hub(node, number, event);
                }
            }
        }
    }

    /// One of the steps of a machine that leave a trace. Whether it crashes before that.
    fn burns(&mut self) -> bool {
        if let Some(left) = &mut self.fuse {
            *left = left.saturating_sub(1);
        }
        self.is_blown()
    }

    fn is_blown(&self) -> bool {
        self.fuse == Some(0)
    }

    fn breaks(&mut self, promise: &'static str) {
        self.note(|| format!("BROKEN: {promise}"));
        self.broken.get_or_insert(promise);
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.log.is_none() {
            return;
        }
        let mut words = words();
        for (place, peer) in self.peers.iter().enumerate() {
            words = words.replace(&format!("{:?}", peer.key()), &format!("key {place}"));
            words = words.replace(&peer.key().file_name(), &format!("key {place}"));
        }
        for (id, tale) in &self.tales {
            words = words.replace(&format!("{id:?}"), &format!("{}", tale.number));
            words = words.replace(&id.to_string(), &format!("{}", tale.number));
        }
        let is_dull = [
            "CrowdedHold",
            "Notices",
            "Ended(key",
            "DialFailed",
            "Due(",
            "Seat(",
        ];
        let is_told_when_it_matters = words.starts_with("Fires") || words.starts_with("HubFires");
        if is_told_when_it_matters || is_dull.iter().any(|dull| words.contains(dull)) {
            return;
        }
        let now = self.queue.now().as_secs_f64();
        if let Some(log) = &mut self.log {
            if log.len() == self.told {
                log.pop_front();
            }
            let words: String = words.chars().take(WIDTH).collect();
            log.push_back(format!("{now:>12.3} s  {words}"));
        }
    }

    fn life(&self, node: Node) -> Life {
        (node, self.nodes[node].machine.life)
    }

    fn machine(&mut self, at: At) -> &mut Machine {
        self.machine_of(at.whose())
    }

    fn machine_of(&mut self, whose: Whose) -> &mut Machine {
        match whose {
            Whose::Server(node) => &mut self.nodes[node].machine,
            Whose::Client(client) => &mut self.clients[client].machine,
        }
    }

    fn driver(&mut self, at: At) -> Option<&mut Driver> {
        match at {
            At::Client(client) => self.clients[client].driver(),
            At::Server(node, id) => self.nodes[node].hub.live.get_mut(&id),
        }
    }

    /// If it is still the same.
    fn same_driver(&mut self, at: At, number: DriverNumber) -> Option<&mut Driver> {
        self.driver(at).filter(|driver| driver.number == number)
    }

    fn key(&self, client: usize) -> KeyId {
        self.peers[self.setup.clients[client].key].key()
    }

    fn owner(&self, id: ConversationId) -> usize {
        self.owners[usize::from(self.tales[&id].number)]
    }

    fn tale(&mut self, id: ConversationId) -> &mut Tale {
        self.tales.get_mut(&id).unwrap()
    }

    fn record_name(&self, side: Side, id: ConversationId) -> RecordName {
        match side {
            Side::Server => RecordName::Server(self.key(self.owner(id)), id),
            Side::Client => self.client_record(),
        }
    }

    /// A client's record is named for the server.
    fn client_record(&self) -> RecordName {
        RecordName::Client(self.peers[0].key())
    }

    /// What stands in the record of a conversation.
    fn record(&self, side: Side, id: ConversationId) -> Option<Snapshot> {
        let name = self.record_name(side, id);
        if side == Side::Server && self.setup.is_shared() {
            return self.stands(id).map(|contents| contents.conversation);
        }
        let machine = match side {
            Side::Server => &self.nodes[0].machine,
            Side::Client => &self.clients[self.owner(id)].machine,
        };
        let snapshot = machine.look(&name)?;
        (snapshot.id == id).then_some(snapshot)
    }

    fn new_id(&mut self) -> ConversationId {
        let mut bits = [0; 16];
        bits[..8].copy_from_slice(&self.dice.bits().to_be_bytes());
        bits[8..].copy_from_slice(&self.dice.bits().to_be_bytes());
        ConversationId::from_bits(bits)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
