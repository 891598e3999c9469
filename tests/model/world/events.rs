//! What can happen next: by itself, and besides.

use crate::config::{Config, Quits, Side};

use super::driver::Driver;
use super::hub::{Connection, number_of_id};
use super::program::Program;
use super::{Number, World, id};
use crate::rules::Broken;
use turnchat::ConversationId;
use turnchat::KeyId;
use turnchat::internals::admission;
use turnchat::internals::session::Timer;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The client's program starts, or its redial is due.
    Dial,
    /// A frame arrives at the server, or at the client.
    Up(Number),
    Down(Number),
    /// A side sees the end of a connection.
    Gone(Side, Number),
    /// A connection hands itself over.
    Enter(Number),
    /// A queued client that was cut has not come back.
    PlaceOver(KeyId, ConversationId),
    /// What was on its way to the disk is there.
    Stored(Side, Number),
    /// The last link of a conversation is closed, or what is left of it is put away.
    PutAway(Side, Number),
    /// The hub learns that a connection's task is gone.
    Left(Number),
    /// A session learns that its peer has begun another conversation.
    Supersede(Number),
    /// The server's user is ready for the next conversation.
    Seat,
    /// What was handed over is in its reader's hands.
    Take(Side, Number),
    /// The server's user reads of the end of a conversation.
    TellEnd,
    /// It cannot be: its reader has failed.
    Fail(Side, Number),
    /// A `quit` has waited for that for long enough.
    Untaken(Side, Number),
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
            Self::Gone(side, _) | Self::GiveUp(side, _) => side,
            Self::Take(side, _) | Self::Fail(side, _) | Self::Untaken(side, _) => side,
            Self::PutAway(side, _) | Self::Stored(side, _) => side,
            Self::Say(side) | Self::Quit(side) | Self::Crash(side) => side,
            Self::Up(_)
            | Self::Enter(_)
            | Self::PlaceOver(..)
            | Self::Left(_)
            | Self::Supersede(_)
            | Self::Seat
            | Self::TellEnd
            | Self::Stray => Side::Server,
        }
    }
}

impl World {
    /// What happens by itself, if nothing goes wrong: machines work, people
    /// speak when it is their turn, and quit when all is said.
    pub(crate) fn progress(&self, config: &Config, events: &mut Vec<Event>) {
        match &self.program {
            Program::Off => events.push(Event::Dial),
            Program::Runs(driver) => {
                let waits_for_nothing =
                    driver.session.is_on() && driver.link.is_none() && driver.put.is_none();
                if driver.armed.contains(&Timer::Redial) {
                    events.push(Event::Dial);
                } else if waits_for_nothing {
                    events.push(Event::GiveUp(Side::Client, 0));
                }
                self.progress_of(config, Side::Client, 0, driver, events);
            }
            Program::Done => {}
        }
        for (number, connection) in &self.hub.connections {
            match connection {
                Connection::Entered { conversation, .. } => {
                    // While its conversation is being put away, the hub keeps it.
                    let live = self.hub.live.get(&number_of_id(*conversation));
                    if live.is_none_or(|live| live.takes_links())
                        || config.breaks(Broken::JustPutAway)
                    {
                        events.push(Event::Enter(*number));
                    }
                }
                Connection::Gone(..) => events.push(Event::Left(*number)),
                Connection::Stranger | Connection::Greeted { .. } => {}
            }
        }
        for (number, driver) in &self.hub.live {
            let is_alone = driver.link.is_none() && driver.put.is_none();
            if driver.session.is_on() && is_alone && self.program == Program::Done {
                // Nobody will come any more.
                events.push(Event::GiveUp(Side::Server, *number));
            }
            self.progress_of(config, Side::Server, *number, driver, events);
        }
        for timer in &self.hub.timers {
            if let admission::Timer::Place(key, id) = timer {
                events.push(Event::PlaceOver(*key, *id));
            }
        }
        for number in &self.hub.superseding {
            events.push(Event::Supersede(*number));
        }
        if !self.hub.untold.is_empty() {
            events.push(Event::TellEnd);
        }
        if self.hub.talks.is_empty() && !self.hub.is_seat_asked {
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

    pub(super) fn progress_of(
        &self,
        config: &Config,
        side: Side,
        number: Number,
        driver: &Driver,
        events: &mut Vec<Event>,
    ) {
        if driver.put.is_some() {
            events.push(Event::Stored(side, number));
        } else if driver.is_closing || driver.done.is_some() {
            events.push(Event::PutAway(side, number));
        }
        let conversation = driver.conversation();
        if driver.untaken.is_some() {
            if self.is_reading(side, driver) {
                events.push(Event::Take(side, number));
            }
        } else if self.is_with_user(side, driver)
            && conversation.is_my_turn()
            && !conversation.has_untaken()
            && !conversation.has_quit()
        {
            let turns = config.turns(conversation.id() == id(0));
            events.push(match conversation.next_turn() <= turns {
                true => Event::Say(side),
                false => Event::Quit(side),
            });
        }
    }

    /// What may happen besides.
    pub(crate) fn mishaps(&self, config: &Config, events: &mut Vec<Event>) {
        if let Program::Runs(driver) = &self.program {
            self.mishaps_of(config, Side::Client, 0, driver, events);
        }
        for (number, driver) in &self.hub.live {
            self.mishaps_of(config, Side::Server, *number, driver, events);
        }
        let numbers = self.links.keys().copied();
        events.extend(numbers.filter(|n| self.is_late(*n)).map(Event::Up));
        if self.cuts < config.size.cuts {
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
        if self.strays < config.size.strays {
            events.push(Event::Stray);
        }
    }

    pub(super) fn mishaps_of(
        &self,
        config: &Config,
        side: Side,
        number: Number,
        driver: &Driver,
        events: &mut Vec<Event>,
    ) {
        if !driver.session.is_on() {
            return;
        }
        let is_theirs = match side {
            Side::Server => self.is_with_user(side, driver),
            // A place in the queue can be given up.
            Side::Client => true,
        };
        let may_quit = match config.size.quits {
            Quits::AtTheEnd => false,
            Quits::AnyTime => driver.conversation().id() == id(0),
            Quits::AnyTimeAnywhere => true,
        };
        if may_quit && is_theirs && !driver.conversation().has_quit() {
            events.push(Event::Quit(side));
        }
        if driver.untaken.is_some() && self.is_reading(side, driver) && self.may_crash(config) {
            events.push(Event::Fail(side, number));
        }
        if self.waits < config.size.waits && driver.armed.contains(&Timer::Taking) {
            events.push(Event::Untaken(side, number));
        }
        if self.waits < config.size.waits && driver.patience().is_some() {
            events.push(Event::GiveUp(side, number));
        }
    }

    pub(crate) fn may_crash(&self, config: &Config) -> bool {
        self.crashes < config.size.crashes
    }

    fn is_reading(&self, side: Side, driver: &Driver) -> bool {
        match side {
            Side::Client => true,
            Side::Server => self.hub.talks.front() == Some(&driver.conversation().id()),
        }
    }

    pub(super) fn is_with_user(&self, side: Side, driver: &Driver) -> bool {
        driver.session.is_on()
            && match side {
                Side::Client => driver.session.is_welcomed(),
                Side::Server => self.hub.talks.front() == Some(&driver.conversation().id()),
            }
    }

    /// Somebody would notice that this end of the connection is gone.
    pub(super) fn is_seen(&self, side: Side, number: Number) -> bool {
        self.links[&number].open[side as usize]
            && !matches!(
                (side, self.hub.connections.get(&number)),
                (Side::Server, Some(Connection::Entered { .. }))
            )
    }

    pub(super) fn can_see_end(&self, side: Side, number: Number) -> bool {
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
    pub(super) fn is_late(&self, number: Number) -> bool {
        let link = &self.links[&number];
        !link.open[Side::Client as usize]
            && !link.up.is_empty()
            && matches!(
                self.hub.connections.get(&number),
                Some(Connection::Stranger)
            )
    }

    /// Frames on this connection are read.
    pub(super) fn is_read(&self, side: Side, number: Number) -> bool {
        match side {
            Side::Client => matches!(&self.program, Program::Runs(driver)
                if driver.link == Some(number) && driver.session.is_on()),
            Side::Server => match self.hub.connections.get(&number) {
                Some(Connection::Stranger | Connection::Greeted { .. }) => true,
                Some(Connection::Entered { .. }) => false,
                _ => self.session_on(number).is_some(),
            },
        }
    }

    /// The server's conversation that reads this connection.
    pub(super) fn session_on(&self, number: Number) -> Option<Number> {
        let reads = |of: &Driver| of.link == Some(number) || of.old == Some(number);
        let mut live = self.hub.live.iter();
        live.find(|(_, of)| reads(of)).map(|(at, _)| *at)
    }
}
