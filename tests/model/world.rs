//! The two machines and the network between them. The rules are the real
//! [`Conversation`] and [`Admission`]; what stands here is the thin driver
//! around them, each part beside the place in src/link that it stands for.

use std::collections::{BTreeMap, VecDeque};

use turnchat::link::Verdict;
use turnchat::link::admission::{Admission, ConnectionId, Hello, Order, Orders};
use turnchat::protocol::{
    By, Code, Conversation, ConversationId, End, Frame, Limits, Output, Reason, Role, Snapshot,
};

use crate::config::{Broken, Config, Side};
use crate::tale::{Outcome, Tale, text};

/// A connection, numbered by its ClientHello: a client runs one handshake at a time.
pub(crate) type Number = u8;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The client's program starts, or redials.
    Dial,
    /// A frame arrives at the server, or at the client.
    Up(Number),
    Down(Number),
    /// A side sees the end of a connection.
    Gone(Side, Number),
    /// A connection is handed over to the conversation that goes on with it.
    Attach(Number),
    /// What is left of a conversation that is over is put away.
    PutAway(Side, Number),
    /// The hub learns that a connection's task is gone.
    Left(Number),
    /// The server's user is ready for the next conversation.
    Seat,
    Say(Side),
    Quit(Side),
    /// A conversation was held, or its `quit` awaited, for long enough.
    GiveUp(Side, Number),
    Crash(Side),
    /// Another program with the client's key says `hello`.
    Stray,
}

impl Event {
    /// Whose machine does something about it.
    pub(crate) fn side(self) -> Side {
        match self {
            Self::Dial | Self::Down(_) => Side::Client,
            Self::Gone(side, _) | Self::PutAway(side, _) | Self::GiveUp(side, _) => side,
            Self::Say(side) | Self::Quit(side) | Self::Crash(side) => side,
            Self::Up(_) | Self::Attach(_) | Self::Left(_) | Self::Seat | Self::Stray => {
                Side::Server
            }
        }
    }
}

/// A connection: two queues, and who still has their end of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    up: VecDeque<Frame>,
    down: VecDeque<Frame>,
    /// Server, client.
    open: [bool; 2],
    /// What is on its way may be lost from any point on.
    is_cut: bool,
}

impl Link {
    fn toward(&mut self, side: Side) -> &mut VecDeque<Frame> {
        match side {
            Side::Server => &mut self.up,
            Side::Client => &mut self.down,
        }
    }
}

/// `link::session::Session`, and the page of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) conversation: Conversation,
    pub(crate) link: Option<Number>,
    /// Of `link`, or of the last one.
    newest: Number,
    /// Only where Detach first is broken.
    old: Option<Number>,
    has_begun: bool,
    is_lost: bool,
    is_quitting: bool,
    /// Redials that are left, once it is quitting.
    tries: Option<u8>,
    /// The client's user has their `Talk`.
    is_talking: bool,
    /// The program was started to go on with it.
    is_resumed: bool,
    ending: Option<Ending>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ending {
    Over(End),
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Guest {
    Stranger,
    Lobby {
        conversation: ConversationId,
        heard: u64,
        has_quit: bool,
    },
    Joining {
        with: Number,
        heard: u64,
        has_quit: bool,
    },
    Talking(Session),
    /// Its task is gone, and the hub does not know yet. It may be about to be
    /// welcomed to this conversation.
    Gone(Option<ConversationId>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct House {
    admission: Admission,
    guests: BTreeMap<Number, Guest>,
    parked: BTreeMap<ConversationId, Conversation>,
    /// What a crash leaves, the newest last: is it live?
    pages: Vec<(Snapshot, bool)>,
    /// `Server::next` is waited for.
    is_seat_asked: bool,
    /// Welcomed, for the user; the first is being talked in.
    talks: VecDeque<ConversationId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Program {
    Off,
    Runs(Box<Session>),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    links: BTreeMap<Number, Link>,
    pub(crate) dials: Number,
    begun: u8,
    cuts: u8,
    crashes: [u8; 2],
    strays: u8,
    waits: u8,
    house: House,
    program: Program,
    page: Option<Snapshot>,
    pub(crate) tales: BTreeMap<ConversationId, Tale>,
    /// The first promise that was broken.
    pub(crate) broken: Option<&'static str>,
    /// How many outputs are still done before the machine crashes; in no
    /// state that is kept.
    fuse: Option<u8>,
    is_blown: bool,
}

const STRAY: [u8; 16] = [0xEE; 16];

impl World {
    pub(crate) fn new(config: &Config) -> Self {
        let mut world = Self {
            links: BTreeMap::new(),
            dials: 0,
            begun: 0,
            cuts: 0,
            crashes: [0, 0],
            strays: 0,
            waits: 0,
            house: House {
                admission: Admission::new(&Limits::default(), !config.breaks(Broken::OneOpen)),
                guests: BTreeMap::new(),
                parked: BTreeMap::new(),
                pages: Vec::new(),
                is_seat_asked: false,
                talks: VecDeque::new(),
            },
            program: Program::Off,
            page: None,
            tales: BTreeMap::new(),
            broken: None,
            fuse: None,
            is_blown: false,
        };
        world.restart_house(config);
        world
    }

    // What can happen.

    /// What happens by itself, if nothing goes wrong: machines work, people
    /// speak when it is their turn, and quit when all is said.
    pub(crate) fn progress(&self, config: &Config, events: &mut Vec<Event>) {
        match &self.program {
            Program::Off => events.push(Event::Dial),
            Program::Runs(session) => {
                if session.ending.is_some() {
                    events.push(Event::PutAway(Side::Client, 0));
                } else if session.link.is_none() {
                    events.push(match session.tries {
                        Some(0) => Event::GiveUp(Side::Client, 0),
                        _ => Event::Dial,
                    });
                }
                self.progress_of(config, Side::Client, session, events);
            }
            Program::Done => {}
        }
        for (number, guest) in &self.house.guests {
            match guest {
                Guest::Joining { .. } if self.can_attach(*number) => {
                    events.push(Event::Attach(*number));
                }
                Guest::Gone(_) => events.push(Event::Left(*number)),
                Guest::Talking(session) => {
                    if session.ending.is_some() {
                        events.push(Event::PutAway(Side::Server, *number));
                    } else if session.link.is_none() && self.program == Program::Done {
                        // Nobody will come any more.
                        events.push(Event::GiveUp(Side::Server, *number));
                    }
                    self.progress_of(config, Side::Server, session, events);
                }
                _ => {}
            }
        }
        if self.house.talks.is_empty() && !self.house.is_seat_asked {
            events.push(Event::Seat);
        }
        for number in self.links.keys().copied() {
            if self.is_read(Side::Server, number)
                && !self.links[&number].up.is_empty()
                && !self.is_late(number)
            {
                events.push(Event::Up(number));
            }
            if self.is_read(Side::Client, number) && !self.links[&number].down.is_empty() {
                events.push(Event::Down(number));
            }
            for side in [Side::Server, Side::Client] {
                if self.can_see_end(side, number) {
                    events.push(Event::Gone(side, number));
                }
            }
        }
    }

    fn progress_of(&self, config: &Config, side: Side, session: &Session, events: &mut Vec<Event>) {
        let conversation = &session.conversation;
        if self.is_with_user(side, session) && conversation.is_my_turn() && !conversation.has_quit()
        {
            let is_first = conversation.id() == id(0);
            let turns = match is_first {
                true => config.turns,
                false => config.later_turns,
            };
            events.push(match conversation.next_turn() <= turns {
                true => Event::Say(side),
                false => Event::Quit(side),
            });
        }
    }

    /// What may happen besides.
    pub(crate) fn mishaps(&self, config: &Config, events: &mut Vec<Event>) {
        if let Program::Runs(session) = &self.program {
            self.mishaps_of(config, Side::Client, 0, session, events);
        }
        for (number, guest) in &self.house.guests {
            if let Guest::Talking(session) = guest {
                self.mishaps_of(config, Side::Server, *number, session, events);
            }
        }
        let numbers = self.links.keys().copied();
        events.extend(numbers.filter(|n| self.is_late(*n)).map(Event::Up));
        if self.cuts < config.cuts {
            for number in self.links.keys() {
                for side in [Side::Server, Side::Client] {
                    let is_late = side == Side::Server && self.is_late(*number);
                    if self.is_seen(side, *number) && !is_late && !self.can_see_end(side, *number) {
                        events.push(Event::Gone(side, *number));
                    }
                }
            }
        }
        if self.may_crash(config) {
            events.push(Event::Crash(Side::Server));
            if self.program != Program::Done {
                events.push(Event::Crash(Side::Client));
            }
        }
        if self.strays < config.strays {
            events.push(Event::Stray);
        }
    }

    fn mishaps_of(
        &self,
        config: &Config,
        side: Side,
        number: Number,
        session: &Session,
        events: &mut Vec<Event>,
    ) {
        if session.ending.is_some() {
            return;
        }
        let is_theirs = match side {
            Side::Server => self.is_with_user(side, session),
            // A place in the queue can be given up.
            Side::Client => true,
        };
        if config.quits_early && is_theirs && !session.conversation.has_quit() {
            events.push(Event::Quit(side));
        }
        if self.waits < config.waits && (session.is_lost || session.is_quitting) {
            events.push(Event::GiveUp(side, number));
        }
    }

    pub(crate) fn may_crash(&self, config: &Config) -> bool {
        self.crashes.iter().sum::<u8>() < config.crashes
    }

    fn is_with_user(&self, side: Side, session: &Session) -> bool {
        session.ending.is_none()
            && match side {
                Side::Client => session.is_talking,
                Side::Server => self.house.talks.front() == Some(&session.conversation.id()),
            }
    }

    /// Somebody would notice that this end of the connection is gone.
    fn is_seen(&self, side: Side, number: Number) -> bool {
        self.links[&number].open[side as usize]
            && !matches!(
                (side, self.house.guests.get(&number)),
                (Side::Server, Some(Guest::Joining { .. }))
            )
    }

    fn can_see_end(&self, side: Side, number: Number) -> bool {
        let link = &self.links[&number];
        let queue = match side {
            Side::Server => &link.up,
            Side::Client => &link.down,
        };
        let is_over = !link.open[side.other() as usize] && queue.is_empty();
        self.is_seen(side, number)
            && (is_over || link.is_cut)
            && !(side == Side::Server && self.is_late(number))
    }

    /// A `hello` that its client has given up. It may come at any time, or
    /// never: that it never comes is that nothing is done about it.
    fn is_late(&self, number: Number) -> bool {
        let link = &self.links[&number];
        !link.open[Side::Client as usize]
            && !link.up.is_empty()
            && matches!(self.house.guests.get(&number), Some(Guest::Stranger))
    }

    /// Frames on this connection are read.
    fn is_read(&self, side: Side, number: Number) -> bool {
        match side {
            Side::Client => matches!(&self.program, Program::Runs(session)
                if session.link == Some(number) && session.ending.is_none()),
            Side::Server => match self.house.guests.get(&number) {
                Some(Guest::Stranger | Guest::Lobby { .. }) => true,
                Some(Guest::Joining { .. }) => false,
                _ => self.session_on(number).is_some(),
            },
        }
    }

    /// The server's conversation that reads this connection.
    fn session_on(&self, number: Number) -> Option<Number> {
        self.house
            .guests
            .iter()
            .find_map(|(at, guest)| match guest {
                Guest::Talking(session) if session.ending.is_none() => {
                    (session.link == Some(number) || session.old == Some(number)).then_some(*at)
                }
                _ => None,
            })
    }

    /// A conversation that is being put away does not look at its attachments.
    fn can_attach(&self, number: Number) -> bool {
        let Some(Guest::Joining { with, .. }) = self.house.guests.get(&number) else {
            return false;
        };
        !matches!(self.house.guests.get(with), Some(Guest::Talking(session)) if session.ending.is_some())
    }

    // What happens.

    /// `event`, and a crash of whoever did it after `fuse` outputs. `None`
    /// where there were not as many.
    pub(crate) fn next(&self, config: &Config, event: Event, fuse: Option<u8>) -> Option<Self> {
        let mut world = self.clone();
        world.fuse = fuse;
        world.happen(config, event);
        world.fuse = None;
        if std::mem::take(&mut world.is_blown) {
            world.crash(config, event.side());
        } else if fuse.is_some() {
            return None;
        }
        Some(world)
    }

    fn happen(&mut self, config: &Config, event: Event) {
        match event {
            Event::Dial => self.dial(config),
            Event::Up(number) => self.up(config, number),
            Event::Down(number) => {
                let frame = self.links.get_mut(&number).and_then(|l| l.down.pop_front());
                self.receive(config, Side::Client, 0, frame.unwrap());
            }
            Event::Gone(side, number) => self.gone(config, side, number),
            Event::Attach(number) => self.attach(config, number),
            Event::PutAway(Side::Client, _) => self.put_away_client(config),
            Event::PutAway(Side::Server, number) => self.put_away_server(config, number),
            Event::Left(number) => self.left(config, number),
            Event::Seat => {
                // src/link/server.rs, `Server::next`.
                self.house.is_seat_asked = true;
                let orders = self.house.admission.seat();
                self.give(config, orders);
            }
            Event::Say(side) => {
                let number = self.number_of_user(side);
                let life = self.crashes[side as usize];
                let conversation = &mut self.session(side, number).conversation;
                let (id, turn) = (conversation.id(), conversation.next_turn());
                conversation.say(text(side, turn, life)).unwrap();
                let told = self.tales.entry(id).or_default().of_mut(side);
                told.said.push((turn, life));
                self.put_out(config, side, number);
            }
            Event::Quit(side) => {
                let number = self.number_of_user(side);
                // src/link/session.rs, `Session::quit`.
                let session = self.session(side, number);
                session.is_quitting = true;
                session.tries.get_or_insert(3);
                session.conversation.quit();
                let id = session.conversation.id();
                self.tales.entry(id).or_default().of_mut(side).has_quit = true;
                self.put_out(config, side, number);
            }
            Event::GiveUp(side, number) => {
                let is_hopeless = match &self.program {
                    Program::Off => false,
                    Program::Runs(session) => side == Side::Client && session.tries == Some(0),
                    Program::Done => side == Side::Server,
                };
                self.waits += u8::from(!is_hopeless);
                self.fail(side, number);
            }
            Event::Crash(side) => self.crash(config, side),
            Event::Stray => {
                self.strays += 1;
                let number = self.connect();
                self.send(
                    Side::Client,
                    number,
                    Frame::Hello {
                        conversation: ConversationId::from_bits(STRAY),
                        heard: 1,
                    },
                );
                self.hang_up(Side::Client, number, false);
            }
        }
    }

    /// `Report::Left`.
    fn left(&mut self, config: &Config, number: Number) {
        self.house.guests.remove(&number);
        let orders = self.house.admission.leave(ConnectionId(number.into()));
        self.give(config, orders);
    }

    fn number_of_user(&self, side: Side) -> Number {
        let talks = self.house.talks.front();
        match side {
            Side::Client => 0,
            Side::Server => *(self.house.guests.iter())
                .find(|(_, guest)| matches!(guest, Guest::Talking(session) if Some(&session.conversation.id()) == talks && session.ending.is_none()))
                .unwrap()
                .0,
        }
    }

    fn session(&mut self, side: Side, number: Number) -> &mut Session {
        match (side, &mut self.program, self.house.guests.get_mut(&number)) {
            (Side::Client, Program::Runs(session), _) => session,
            (Side::Server, _, Some(Guest::Talking(session))) => session,
            _ => panic!("no session"),
        }
    }

    fn breaks(&mut self, promise: &'static str) {
        self.broken.get_or_insert(promise);
    }

    // The network.

    /// TCP and TLS are up: the server has numbered the ClientHello.
    fn connect(&mut self) -> Number {
        let number = self.number();
        self.links.insert(
            number,
            Link {
                up: VecDeque::new(),
                down: VecDeque::new(),
                open: [true, true],
                is_cut: false,
            },
        );
        self.house.guests.insert(number, Guest::Stranger);
        let id = ConnectionId(number.into());
        assert!(self.house.admission.arrive(id, None).is_empty());
        number
    }

    /// Numbers are not used again: that they run out is that somebody dials
    /// for ever.
    fn number(&mut self) -> Number {
        self.dials += 1;
        self.dials
    }

    fn send(&mut self, side: Side, number: Number, frame: Frame) {
        if let Some(link) = self.links.get_mut(&number)
            && link.open[side.other() as usize]
        {
            link.toward(side.other()).push_back(frame);
        }
    }

    /// This side lets go of the connection: in order, or so that what it has
    /// sent may be lost.
    fn hang_up(&mut self, side: Side, number: Number, cuts: bool) {
        if let Some(link) = self.links.get_mut(&number) {
            link.open[side as usize] = false;
            link.is_cut |= cuts;
            link.toward(side).clear();
            if link.open == [false, false] {
                self.links.remove(&number);
            }
        }
    }

    fn gone(&mut self, config: &Config, side: Side, number: Number) {
        if !self.can_see_end(side, number) {
            self.cuts += 1;
        }
        self.hang_up(side, number, true);
        match side {
            Side::Client => self.lose(config, Side::Client, 0),
            Side::Server => match self.house.guests.get(&number) {
                // src/link/reception.rs, `greet`: the task ends, and says so.
                Some(Guest::Lobby { conversation, .. }) => {
                    let gone = Guest::Gone(Some(*conversation));
                    self.house.guests.insert(number, gone);
                }
                // For a stranger the hub has no orders that could cross its report.
                Some(Guest::Stranger) => self.left(config, number),
                _ => {
                    if let Some(at) = self.session_on(number) {
                        let session = self.session(Side::Server, at);
                        match session.link == Some(number) {
                            true => self.lose(config, Side::Server, at),
                            false => session.old = None,
                        }
                    }
                }
            },
        }
    }

    // src/link/session.rs

    /// `Session::put_out`.
    fn put_out(&mut self, config: &Config, side: Side, number: Number) {
        let mut unstored = None;
        let mut was_connected = false;
        while let Some(output) = self.session(side, number).conversation.poll_output() {
            match &mut self.fuse {
                Some(0) => {
                    self.is_blown = true;
                    return;
                }
                Some(outputs) => *outputs -= 1,
                None => {}
            }
            let session = self.session(side, number);
            let (id, link) = (session.conversation.id(), session.link);
            match output {
                Output::Store(snapshot) => {
                    session.conversation.stored();
                    match config.breaks(Broken::StoredBeforeSent) {
                        true => unstored = Some(snapshot),
                        false => self.store(config, side, snapshot, true),
                    }
                }
                Output::Send(frame) => {
                    let is_say = matches!(frame, Frame::Say { .. });
                    let is_silent = is_say && was_connected && config.breaks(Broken::SayAgain);
                    let is_answer = frame == Frame::Quit {} && !session.is_quitting;
                    let is_unanswered = is_answer && config.breaks(Broken::QuitAnswered);
                    if let Some(link) = link
                        && !is_silent
                        && !is_unanswered
                    {
                        self.send(side, link, frame);
                    }
                }
                Output::Connected => {
                    was_connected = true;
                    session.has_begun = true;
                    session.is_lost = false;
                    let is_first = !std::mem::replace(&mut session.is_talking, true);
                    if is_first && side == Side::Client && config.breaks(Broken::ShownFirst) {
                        self.show_again(side, number);
                    }
                }
                Output::Deliver { turn, text } => {
                    let tale = self.tales.entry(id).or_default();
                    if let Err(promise) = tale.show(side, turn, &text, false) {
                        self.breaks(promise);
                    }
                }
                Output::Waiting { .. } | Output::Delivered { .. } => {}
                Output::Over(end) => {
                    // `Session::run`: closed in order.
                    session.ending = Some(Ending::Over(end));
                    if let Some(link) = session.link.take() {
                        self.hang_up(side, link, false);
                    }
                    break;
                }
            }
        }
        if let Some(snapshot) = unstored {
            self.store(config, side, snapshot, true);
        }
    }

    /// `Session::receive`.
    fn receive(&mut self, config: &Config, side: Side, number: Number, frame: Frame) {
        let session = self.session(side, number);
        match &frame {
            Frame::Refuse {
                reason: Reason::Busy,
            } if session.is_lost => return self.lose(config, side, number),
            // src/link/wire.rs, `decode`.
            Frame::Error {
                code: Code::Replaced,
                ..
            } => {
                self.breaks(crate::REPLACED);
                return self.fail(side, number);
            }
            Frame::Error { .. } => {
                self.breaks(crate::ACCUSED);
                return self.fail(side, number);
            }
            _ => {}
        }
        let said = session.conversation.snapshot().said;
        let frame = match frame {
            Frame::Welcome { conversation, .. } if config.breaks(Broken::Counters) => {
                Frame::Welcome {
                    conversation,
                    heard: said.saturating_sub(2),
                }
            }
            frame => frame,
        };
        match session.conversation.receive(frame) {
            Ok(()) => self.put_out(config, side, number),
            Err(_) => {
                self.breaks(crate::ACCUSED);
                self.fail(side, number);
            }
        }
    }

    /// `Session::lose`: the link is lost, and its end is hung up already.
    fn lose(&mut self, config: &Config, side: Side, number: Number) {
        let session = self.session(side, number);
        if let Some(link) = session.link.take() {
            let is_acknowledged = session.conversation.has_quit() && session.is_quitting;
            if config.breaks(Broken::QuitAnswered) && is_acknowledged {
                session.ending = Some(Ending::Over(session.conversation.end(By::Me)));
            } else if !session.has_begun {
                session.ending = Some(Ending::Failed);
            } else {
                session.conversation.detach();
                session.is_lost = true;
            }
            self.hang_up(side, link, true);
        }
    }

    /// `Session::run`, where `drive` fails.
    fn fail(&mut self, side: Side, number: Number) {
        let session = self.session(side, number);
        session.ending = Some(Ending::Failed);
        if let Some(link) = session.link.take() {
            self.hang_up(side, link, true);
        }
    }

    /// `Session::attach`, for a server.
    fn attach(&mut self, config: &Config, number: Number) {
        let joining = self.house.guests.remove(&number);
        self.left(config, number);
        let Some(Guest::Joining {
            with,
            heard,
            has_quit,
        }) = joining
        else {
            return;
        };
        if !matches!(self.house.guests.get(&with), Some(Guest::Talking(_))) {
            // src/link/reception.rs: the conversation has ended, or was parked, just now.
            if config.breaks(Broken::JustPutAway) {
                let reason = Reason::Ended;
                self.send(Side::Server, number, Frame::Refuse { reason });
            }
            self.hang_up(Side::Server, number, false);
            // Its report is older than this connection's end, which the client has yet to see.
            return self.left(config, with);
        }
        let session = self.session(Side::Server, with);
        if number < session.newest && !config.breaks(Broken::NewestAttaches) {
            return self.hang_up(Side::Server, number, false);
        }
        let old = session.link;
        if !self.accept(config, with, number, heard, has_quit) {
            return;
        }
        let session = self.session(Side::Server, with);
        session.link = Some(number);
        session.newest = number;
        if let Some(old) = old {
            if config.breaks(Broken::DetachFirst) {
                session.old = Some(old);
            } else {
                let code = Code::Replaced;
                self.send(Side::Server, old, Frame::Error { code, detail: None });
                self.hang_up(Side::Server, old, false);
            }
        }
        self.put_out(config, Side::Server, with);
    }

    /// `Conversation::accept`. Where the counters cannot be, this connection is
    /// told so, and nothing has changed.
    fn accept(
        &mut self,
        config: &Config,
        with: Number,
        number: Number,
        heard: u64,
        has_quit: bool,
    ) -> bool {
        let conversation = &mut self.session(Side::Server, with).conversation;
        let heard = match config.breaks(Broken::Counters) {
            true => conversation.snapshot().said.saturating_sub(2),
            false => heard,
        };
        if let Err(violation) = conversation.accept(heard) {
            let code = violation.code();
            self.send(Side::Server, number, Frame::Error { code, detail: None });
            self.hang_up(Side::Server, number, false);
            return false;
        }
        if has_quit {
            conversation.receive(Frame::Quit {}).unwrap();
        }
        true
    }

    /// How it ended, for its user.
    fn tell(&mut self, side: Side, id: ConversationId, end: &End, outcome: Outcome) {
        let told = self.tales.entry(id).or_default().of_mut(side);
        told.outcome = Some(outcome);
        if let Some((turn, _)) = &end.unacknowledged {
            told.named = Some(*turn);
        }
    }

    // src/link/journal.rs

    fn store(&mut self, config: &Config, side: Side, snapshot: Snapshot, is_live: bool) {
        if !config.keeps_journal(side)
            || (snapshot.quit && config.breaks(Broken::QuitOutlivesCrash))
        {
            return;
        }
        match side {
            Side::Client => self.page = Some(snapshot),
            Side::Server => {
                self.remove_page(snapshot.id);
                self.house.pages.push((snapshot, is_live));
            }
        }
    }

    fn remove_page(&mut self, id: ConversationId) {
        self.house.pages.retain(|(page, _)| page.id != id);
    }

    // src/link/client.rs

    fn dial(&mut self, config: &Config) {
        let number = self.connect();
        if let Program::Runs(session) = &mut self.program {
            // src/link/redial.rs
            session.tries = session.tries.map(|tries| tries - 1);
            session.link = Some(number);
            session.conversation.connect();
            return self.put_out(config, Side::Client, 0);
        }
        // `Client::connect`.
        let stored = self.page.clone();
        let restored = stored.map(|page| Conversation::restore(Role::Client, page).unwrap());
        let is_stored = restored.is_some();
        let conversation = restored.unwrap_or_else(|| {
            let id = id(self.begun);
            self.begun += 1;
            self.tales.insert(id, Tale::default());
            Conversation::new(Role::Client, id)
        });
        let has_begun = is_stored;
        let mut session = Session::held(conversation);
        session.tries = session.is_quitting.then_some(3);
        session.link = Some(number);
        session.has_begun = has_begun;
        session.is_resumed = has_begun;
        session.is_lost = false;
        session.is_talking = false;
        session.conversation.connect();
        self.program = Program::Runs(Box::new(session));
        if !config.breaks(Broken::ShownFirst) {
            self.show_again(Side::Client, 0);
        }
        self.put_out(config, Side::Client, 0);
    }

    /// After a restart the last message heard is shown, if it has no answer.
    fn show_again(&mut self, side: Side, number: Number) {
        let conversation = &self.session(side, number).conversation;
        let unanswered = conversation
            .last_heard()
            .filter(|_| conversation.is_my_turn());
        let unanswered = unanswered.map(|(turn, text)| (turn, text.clone()));
        let id = conversation.id();
        if let Some((turn, text)) = unanswered {
            let tale = self.tales.entry(id).or_default();
            if let Err(promise) = tale.show(side, turn, &text, true) {
                self.breaks(promise);
            }
        }
    }

    /// `Session::put_away`, and what the program does then.
    fn put_away_client(&mut self, config: &Config) {
        let Program::Runs(session) = std::mem::replace(&mut self.program, Program::Off) else {
            return;
        };
        let conversation = &session.conversation;
        let id = conversation.id();
        // Left over from before a crash, it only wanted its end to be told.
        let is_leftover = session.is_quitting && !session.is_talking && session.is_resumed;
        match session.ending {
            Some(Ending::Over(end)) => {
                self.page = None;
                let is_over_at_start =
                    session.is_resumed && !session.is_talking && end.by == By::Peer;
                self.tell(Side::Client, id, &end, Outcome::Ended);
                if !is_leftover && !is_over_at_start {
                    self.program = Program::Done;
                }
            }
            _ => {
                let is_parked = !conversation.has_quit();
                if !is_parked {
                    self.page = None;
                }
                let is_kept = is_parked && config.keeps_journal(Side::Client);
                let end = conversation.end(By::Me);
                if is_kept {
                    // Its user starts the program again.
                    return;
                }
                self.tell(Side::Client, id, &end, Outcome::GivenUp);
                if session.is_quitting && !is_leftover {
                    self.program = Program::Done;
                }
            }
        }
    }

    // src/link/reception.rs and src/link/server.rs

    fn up(&mut self, config: &Config, number: Number) {
        let link = self.links.get_mut(&number).unwrap();
        let frame = link.up.pop_front().unwrap();
        match (self.house.guests.get_mut(&number), frame) {
            (
                Some(Guest::Stranger),
                Frame::Hello {
                    conversation,
                    heard,
                },
            ) => self.hello(config, number, conversation, heard),
            (Some(Guest::Lobby { has_quit, .. }), Frame::Quit {}) => {
                *has_quit = true;
                let orders = (self.house.admission).quit(ConnectionId(number.into()), config.now);
                self.give(config, orders);
                self.end_given_up(config);
            }
            (Some(Guest::Lobby { has_quit: true, .. }), _) => {}
            (Some(Guest::Stranger | Guest::Lobby { .. }), _) => self.breaks(crate::ACCUSED),
            (_, frame) => {
                if let Some(at) = self.session_on(number) {
                    self.receive(config, Side::Server, at, frame);
                }
            }
        }
    }

    /// `House::hello`.
    fn hello(&mut self, config: &Config, number: Number, conversation: ConversationId, heard: u64) {
        let lobby = Guest::Lobby {
            conversation,
            heard,
            has_quit: false,
        };
        self.house.guests.insert(number, lobby);
        let clienthello = match config.breaks(Broken::NewestWins) {
            true => 0,
            false => number.into(),
        };
        let hello = Hello {
            peer: config.peer,
            conversation,
            heard,
            clienthello,
        };
        let id = ConnectionId(number.into());
        let admission = &mut self.house.admission;
        let key = config.peer.key();
        if config.breaks(Broken::RefusedChangesNothing)
            && heard > 0
            && !admission.is_open(&key, conversation)
        {
            let begins = Hello {
                heard: 0,
                ..hello.clone()
            };
            let mut orders = admission.hello(id, begins, Verdict::Admit, config.now);
            orders.retain(|(other, _)| *other != id);
            orders.push((id, Order::Refuse(Reason::Ended)));
            self.give(config, orders);
            return self.end_given_up(config);
        }
        let orders = admission.hello(id, hello, Verdict::Admit, config.now);
        self.give(config, orders);
        self.end_given_up(config);
    }

    /// `House::give`, and what the connections do about it.
    fn give(&mut self, config: &Config, orders: Orders) {
        let mut orders = VecDeque::from(orders);
        while let Some((ConnectionId(number), order)) = orders.pop_front() {
            if self.is_blown {
                return;
            }
            let number = Number::try_from(number).unwrap();
            let guest = self.house.guests.get_mut(&number);
            let last_word = match (order, guest) {
                (_, None) => continue,
                (Order::Quit, Some(Guest::Talking(session))) => {
                    if session.ending.is_none() {
                        self.supersede(config, number);
                    }
                    continue;
                }
                (Order::Welcome(_), Some(Guest::Lobby { .. })) => {
                    self.begin(config, number);
                    continue;
                }
                (Order::Welcome(_), Some(guest)) => {
                    // The connection is gone already: its seat comes back when it has left.
                    if config.breaks(Broken::SeatComesBack) {
                        (self.house.admission).begin(ConnectionId(number.into()));
                    }
                    // `Beginning::kept`.
                    if let Guest::Gone(Some(id)) = guest
                        && self.house.parked.contains_key(id)
                    {
                        match config.breaks(Broken::ParkedStays) {
                            true => _ = self.house.parked.remove(id),
                            false => self.house.admission.park(config.peer.key(), *id),
                        }
                    }
                    continue;
                }
                (Order::Resume { with, heard }, Some(guest @ Guest::Lobby { .. })) => {
                    let has_quit = matches!(guest, Guest::Lobby { has_quit: true, .. });
                    let with = Number::try_from(with.0).unwrap();
                    *guest = Guest::Joining {
                        with,
                        heard,
                        has_quit,
                    };

                    continue;
                }
                (_, Some(Guest::Gone(_))) => continue,
                (Order::Wait { ahead }, _) => {
                    self.send(Side::Server, number, Frame::Wait { ahead });
                    continue;
                }
                (Order::Refuse(reason), _) => Some(Frame::Refuse { reason }),
                (Order::Replaced, _) => Some(Frame::Error {
                    code: Code::Replaced,
                    detail: None,
                }),
                (Order::Quit, _) => Some(Frame::Quit {}),
                (Order::Close | Order::Resume { .. }, _) => None,
            };
            if let Some(frame) = last_word {
                self.send(Side::Server, number, frame);
            }
            self.hang_up(Side::Server, number, false);
            self.house.guests.remove(&number);
            orders.extend(self.house.admission.leave(ConnectionId(number.into())));
        }
    }

    /// `House::begin`, and src/link/reception.rs, `converse`.
    fn begin(&mut self, config: &Config, number: Number) {
        let Some(Guest::Lobby {
            conversation: id,
            heard,
            has_quit,
        }) = self.house.guests.remove(&number)
        else {
            return;
        };
        let parked = self.house.parked.remove(&id);
        let was_parked = parked.is_some();
        let conversation = parked.unwrap_or_else(|| Conversation::new(Role::Server, id));
        let tale = self.tales.entry(id).or_default();
        let is_over = |told: &crate::tale::Told| told.outcome == Some(Outcome::Ended);
        if is_over(tale.of(Side::Server)) && !tale.of(Side::Server).forgot {
            self.breaks(crate::REOPENED);
        }
        let mut session = Session::held(conversation);
        session.link = Some(number);
        session.newest = number;
        session.is_lost = false;
        self.house.guests.insert(number, Guest::Talking(session));
        let kept = self.session(Side::Server, number).conversation.clone();
        if !self.accept(config, number, number, heard, has_quit) {
            // `Beginning::kept`.
            if was_parked {
                self.house.admission.park(config.peer.key(), id);
                self.house.parked.insert(id, kept);
            }
            return self.left(config, number);
        }
        // `Report::Welcomed`.
        (self.house.admission).begin(ConnectionId(number.into()));
        self.house.is_seat_asked = false;
        self.house.talks.push_back(id);
        self.show_again(Side::Server, number);
        self.put_out(config, Side::Server, number);
    }

    /// `Command::Supersede`, in `Session::drive`.
    fn supersede(&mut self, config: &Config, number: Number) {
        let session = self.session(Side::Server, number);
        session.conversation.quit();
        let end = session.conversation.end(By::Peer);
        let link = session.link;
        self.put_out(config, Side::Server, number);
        if self.is_blown {
            return;
        }
        let session = self.session(Side::Server, number);
        session.ending = Some(Ending::Over(end));
        session.link = None;
        if let Some(link) = link {
            self.hang_up(Side::Server, link, false);
        }
    }

    /// `Session::put_away`, then `Report::Rest`.
    fn put_away_server(&mut self, config: &Config, number: Number) {
        let Some(Guest::Talking(session)) = self.house.guests.insert(number, Guest::Gone(None))
        else {
            return;
        };
        let conversation = session.conversation;
        let id = conversation.id();
        let end = match &session.ending {
            Some(Ending::Over(end)) => end.clone(),
            _ => conversation.end(By::Me),
        };
        let is_failed = session.ending == Some(Ending::Failed);
        let is_parked = is_failed && !conversation.has_quit();
        let outcome = match is_failed {
            true => Outcome::GivenUp,
            false => Outcome::Ended,
        };
        self.tell(Side::Server, id, &end, outcome);
        // Attachments that were not taken up are dropped with the session.
        let unheard: Vec<_> = (self.house.guests.iter())
            .filter(|(_, guest)| matches!(guest, Guest::Joining { with, .. } if *with == number))
            .map(|(joining, _)| *joining)
            .collect();
        for joining in unheard {
            self.left(config, joining);
            self.hang_up(Side::Server, joining, true);
        }
        self.house.talks.retain(|talk| *talk != id);
        let key = config.peer.key();
        if is_parked && config.keeps_journal(Side::Server) {
            self.store(config, Side::Server, conversation.snapshot(), false);
            self.house.admission.park(key, id);
            self.house.parked.insert(id, conversation);
            return;
        }
        let may_return = !conversation.is_acknowledged();
        match may_return {
            true => self.store(config, Side::Server, conversation.epitaph(), false),
            false => self.remove_page(id),
        }
        if (may_return || !config.breaks(Broken::JustEnded))
            && !config.breaks(Broken::EndsRemembered)
        {
            self.house.admission.remember_end(key, id, config.now);
        }
    }

    /// `House::end_given_up`.
    fn end_given_up(&mut self, config: &Config) {
        for (key, id) in self.house.admission.given_up() {
            let Some(mut conversation) = self.house.parked.remove(&id) else {
                continue;
            };
            conversation.quit();
            self.tell(
                Side::Server,
                id,
                &conversation.end(By::Peer),
                Outcome::Ended,
            );
            if conversation.is_acknowledged() {
                self.remove_page(id);
            } else {
                self.store(config, Side::Server, conversation.epitaph(), false);
            }
            if !config.breaks(Broken::EndsRemembered) {
                self.house.admission.remember_end(key, id, config.now);
            }
        }
    }

    // Crashes.

    fn crash(&mut self, config: &Config, side: Side) {
        self.crashes[side as usize] += 1;
        let numbers: Vec<_> = self.links.keys().copied().collect();
        for number in numbers {
            if self.links[&number].open[side as usize] {
                self.hang_up(side, number, true);
            }
        }
        let has_journal = config.keeps_journal(side);
        for (id, tale) in &mut self.tales {
            let told = tale.of_mut(side);
            if !has_journal {
                // Ends are forgotten with the rest.
                told.forgot = true;
                continue;
            }
            if told.outcome.is_some() {
                continue;
            }
            // What was entered and not yet stored was not said.
            let stored = match side {
                Side::Client => self.page.as_ref().filter(|page| page.id == *id),
                Side::Server => (self.house.pages.iter())
                    .map(|(page, _)| page)
                    .find(|page| page.id == *id),
            };
            // A restarted side that only has an end left does not name what it had said.
            told.untold |= stored.is_some_and(|page| page.quit);
            let highest = stored.map_or(0, |page| page.said);
            told.said.retain(|(turn, _)| *turn <= highest);
        }
        match side {
            Side::Client => self.program = Program::Off,
            Side::Server => self.restart_house(config),
        }
    }

    /// `House::restore`.
    fn restart_house(&mut self, config: &Config) {
        let house = &mut self.house;
        house.admission = Admission::new(&Limits::default(), !config.breaks(Broken::OneOpen));
        house.guests.clear();
        house.parked.clear();
        house.talks.clear();
        house.is_seat_asked = false;
        let key = config.peer.key();
        let pages = house.pages.clone();
        let held = pages
            .iter()
            .rposition(|(page, is_live)| *is_live && !page.quit);
        for (place, (page, _)) in pages.into_iter().enumerate() {
            let id = page.id;
            let has_quit = page.quit;
            let conversation = Conversation::restore(Role::Server, page).unwrap();
            let house = &mut self.house;
            if has_quit {
                if !config.breaks(Broken::EndsRemembered) {
                    house.admission.remember_end(key, id, config.now);
                }
            } else if held == Some(place) {
                let number = self.number();
                let house = &mut self.house;
                house.admission.hold(ConnectionId(number.into()), key, id);
                // `Server::next` asks for a seat, and is given this.
                assert!(house.admission.seat().is_empty());
                house.talks.push_back(id);
                let session = Session::held(conversation);
                house.guests.insert(number, Guest::Talking(session));
                self.show_again(Side::Server, number);
            } else {
                house.admission.park(key, id);
                house.parked.insert(id, conversation);
            }
        }
    }

    // What is promised.

    /// Nobody is where it is not their turn.
    pub(crate) fn is_one_holder(&self) -> bool {
        let Program::Runs(session) = &self.program else {
            return true;
        };
        let holds =
            |conversation: &Conversation| conversation.is_my_turn() && !conversation.has_quit();
        let client = &session.conversation;
        if session.ending.is_some() || !holds(client) {
            return true;
        }
        let mut there = self.house.guests.values().filter_map(|guest| match guest {
            Guest::Talking(session) if session.ending.is_none() => Some(&session.conversation),
            _ => None,
        });
        !(there.any(|server| server.id() == client.id() && holds(server))
            || self.house.parked.get(&client.id()).is_some_and(holds))
    }

    /// Whoever was told that both know of the end was told the truth.
    pub(crate) fn is_end_agreed(&self) -> bool {
        self.tales.iter().all(|(id, tale)| {
            let ended = |side| tale.of(side).outcome == Some(Outcome::Ended);
            let forgot = tale.of(Side::Server).forgot || tale.of(Side::Client).forgot;
            let is_open_at_server = self.house.parked.contains_key(id)
                || self.house.guests.values().any(|guest| matches!(guest, Guest::Talking(session)
                    if session.conversation.id() == *id && session.ending.is_none() && !session.conversation.has_quit()));
            !ended(Side::Client) || forgot || !is_open_at_server
        })
    }

    /// All is said, and nobody waits for anybody.
    pub(crate) fn is_done(&self) -> bool {
        self.program == Program::Done
            && self.house.talks.is_empty()
            && self.house.is_seat_asked
            && self.links.keys().all(|number| self.is_late(*number))
            && self.house.guests.len() == self.links.len()
    }
}

impl Session {
    /// `Session::held`.
    fn held(conversation: Conversation) -> Self {
        Self {
            link: None,
            newest: 0,
            old: None,
            has_begun: true,
            is_lost: true,
            is_quitting: conversation.has_quit(),
            tries: None,
            is_talking: true,
            is_resumed: false,
            ending: None,
            conversation,
        }
    }
}

fn id(number: u8) -> ConversationId {
    ConversationId::from_bits([number; 16])
}
