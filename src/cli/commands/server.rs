//! `turnchat server`: one conversation after another, and what happens between
//! them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cli::args::{self, Named};
use crate::cli::ask;
use crate::cli::console::Console;
use crate::cli::home::{Home, keys};
use crate::cli::report::{Exit, Report, shell_quoted};
use crate::cli::signals::{Signals, Stop, hangup};
use crate::cli::speaker::{Partner, Speaker};
use crate::cli::talk::{Ending, converse};
use crate::link::{
    Abandoned, Answer, Candidates, Server, ServerBuilder, ServerEvent, ServerEvents, Talk, Turn,
    Verdict, tcp,
};
use crate::protocol::{Limits, Reason, Role};
use crate::trust::{self, AddressBook, KeyId, ServerTrust};

/// Runs `turnchat server`.
///
/// # Errors
/// What there is to say before the exit.
pub async fn run(
    command: args::Server,
    home: &Home,
    console: &Console,
    speaker: &mut Speaker,
) -> Result<Exit, Report> {
    let mut signals = Signals::listen(Exit::Success).map_err(|error| Report::signals(&error))?;
    let hangup = hangup().map_err(|error| Report::signals(&error))?;
    let rules = Rules::read(&command, home)?;
    let identity = home.identity(&command.talk.identity, console)?;
    let own = identity.key_id();
    let listener = listen(command.listen)?;
    announce(&listener, &own, console, speaker)?;

    let is_terminal = matches!(speaker, Speaker::Terminal(_));
    let rules = Arc::new(Mutex::new(rules));
    let judging = Arc::clone(&rules);
    let limits = Limits {
        queue: command.queue,
        hold: command.talk.hold,
        ..Limits::default()
    };
    let keeps = command.talk.keeps_journal(speaker);
    let mut builder = ServerBuilder::new(&identity, move |key| {
        match (lock(&judging).trust.judge(key, &own), is_terminal) {
            (trust::Verdict::Admit, _) => Verdict::Admit,
            (trust::Verdict::Unknown, true) => Verdict::Ask,
            (trust::Verdict::Unknown, false) | (trust::Verdict::NotAllowed, _) => {
                Verdict::Refuse(Reason::UnknownPeer)
            }
            (trust::Verdict::OwnKey, _) => Verdict::Refuse(Reason::Declined),
        }
    })
    .map_err(|error| Report::tls(&error))?
    .with_limits(limits);
    if keeps {
        builder = builder
            .with_journal(home.journal(&own))
            .map_err(|error| Report::from(&error))?;
    }
    let mut server = builder.start(tcp::acceptor(listener));

    let mut host = Host {
        candidates: server.candidates(),
        events: server.events(),
        server,
        rules,
        command: &command,
        home,
        console,
        told: VecDeque::new(),
        hangup,
        ready: None,
    };
    let exit = host.serve(speaker, &mut signals).await;
    host.server.stop().await;
    exit
}

/// Who is let in, and what they are called.
struct Rules {
    trust: ServerTrust,
    book: AddressBook,
}

impl Rules {
    fn read(command: &args::Server, home: &Home) -> Result<Self, Report> {
        let book = home.book()?;
        let allowed = keys(&command.allow, &book)?;
        Ok(Self::new(command, book, allowed))
    }

    /// The same later on, when a name may be gone from the book.
    fn reread(command: &args::Server, home: &Home, console: &Console) -> Result<Self, Report> {
        let book = home.book()?;
        let mut allowed = Vec::new();
        for named in &command.allow {
            match named {
                Named::Peer(name) if book.get(name).is_none() => console.say(&format!(
                    "Nobody in the address book is called {name} now: nobody is let in for it."
                )),
                named => allowed.extend(keys(std::slice::from_ref(named), &book)?),
            }
        }
        Ok(Self::new(command, book, allowed))
    }

    fn new(command: &args::Server, book: AddressBook, allowed: Vec<KeyId>) -> Self {
        let trust = if command.allow_anyone {
            ServerTrust::Anyone
        } else if command.allow.is_empty() {
            ServerTrust::Book(book.clone())
        } else {
            ServerTrust::Allow(allowed)
        };
        Self { trust, book }
    }

    /// Whom these rules know.
    fn keys(&self) -> impl Iterator<Item = KeyId> {
        let allowed = match &self.trust {
            ServerTrust::Allow(keys) => keys.as_slice(),
            ServerTrust::Book(_) | ServerTrust::Anyone => &[],
        };
        let known = self.book.iter().flat_map(|(_, entry)| entry.keys());
        known.chain(allowed).copied()
    }
}

fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(address: SocketAddr) -> Result<TcpListener, Report> {
    let everywhere = address.ip() == std::net::Ipv6Addr::UNSPECIFIED;
    match tcp::listen(address) {
        // A machine without IPv6.
        Err(error) if everywhere && error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            tcp::listen((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        listener => listener,
    }
    .map_err(|error| Report::listen(&address.to_string(), &error))
}

fn announce(
    listener: &TcpListener,
    own: &KeyId,
    console: &Console,
    speaker: &mut Speaker,
) -> Result<(), Report> {
    let address = listener
        .local_addr()
        .map_err(|error| Report::listen("the address", &error))?;
    console.announce(&format!("Listening on {address}"));
    console.announce(&format!(
        "Your peer runs: turnchat client {} --pin {own}",
        reachable(address)
    ));
    if let Speaker::Json(json) = speaker {
        json.listening(&address.to_string(), &own.to_string())?;
    }
    Ok(())
}

/// The address as a peer may dial it: this host's name where any will do.
fn reachable(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "HOST".to_owned()),
        std::net::IpAddr::V6(v6) if address.port() != trust::address::DEFAULT_PORT => {
            format!("[{v6}]")
        }
        ip => ip.to_string(),
    };
    match address.port() {
        trust::address::DEFAULT_PORT => host,
        port => format!("{host}:{port}"),
    }
}

struct Host<'a> {
    server: Server,
    candidates: watch::Receiver<Candidates>,
    events: Option<ServerEvents>,
    rules: Arc<Mutex<Rules>>,
    command: &'a args::Server,
    home: &'a Home,
    console: &'a Console,
    /// When a refused key was last told of.
    told: VecDeque<Instant>,
    /// Heard from the start to the end: unheard, SIGHUP would end the program.
    hangup: Signal,
    /// Welcomed while the person was about another; an Enter begins it.
    ready: Option<Talk>,
}

/// What happened between conversations.
enum Between {
    Talk(Talk),
    Stop(Stop),
    /// The input has ended.
    End,
}

/// Refused keys are told of this often at most.
const TOLD: usize = 5;
const TOLD_WINDOW: Duration = Duration::from_secs(60);

impl Host<'_> {
    async fn serve(
        &mut self,
        speaker: &mut Speaker,
        signals: &mut Signals,
    ) -> Result<Exit, Report> {
        let mut is_first = true;
        loop {
            let talk = match self.between(speaker, signals, is_first).await? {
                Between::Talk(talk) => talk,
                Between::Stop(Stop::Interrupt) => return Ok(Exit::Interrupted),
                Between::Stop(Stop::Terminate) | Between::End => return Ok(Exit::Success),
            };
            is_first = false;
            let partner = self.partner(&talk);
            let ending = self.converse(talk, &partner, speaker, signals).await;
            if let Some(exit) = self.finish(&ending, speaker)? {
                return exit;
            }
        }
    }

    async fn converse(
        &mut self,
        talk: Talk,
        partner: &Partner,
        speaker: &mut Speaker,
        signals: &mut Signals,
    ) -> Ending {
        let conversing = converse(talk, partner, speaker, signals);
        tokio::pin!(conversing);
        loop {
            tokio::select! {
                ending = &mut conversing => return ending,
                // The queue is judged by the new book at once.
                _ = self.hangup.recv() => self.reread().await,
            }
        }
    }

    /// Tells of the end of a conversation; `Some` if it ends the program.
    fn finish(
        &self,
        ending: &Ending,
        speaker: &mut Speaker,
    ) -> Result<Option<Result<Exit, Report>>, Report> {
        let exit = ending.exit();
        if let Err(report) = &exit {
            speaker.failed(report)?;
        }
        if let Some(over) = &ending.over {
            speaker.ended(over)?;
        }
        if ending.stop == Some(Stop::Terminate) {
            return Ok(Some(Ok(Exit::Success)));
        }
        // What cannot be kept now could not be kept for the next one either.
        let cannot_keep = matches!(&ending.over, Some(over) if over.is_unkept());
        if self.command.once || ending.failure.is_some() || ending.stop.is_some() || cannot_keep {
            return Ok(Some(exit));
        }
        // What ended one conversation does not end the server.
        if let Err(report) = exit {
            self.console.fail(&report);
        }
        Ok(None)
    }

    async fn between(
        &mut self,
        speaker: &mut Speaker,
        signals: &mut Signals,
        is_first: bool,
    ) -> Result<Between, Report> {
        let mut gate = Gate::new(speaker, is_first);
        loop {
            if let Speaker::Terminal(terminal) = &speaker
                && terminal.is_gone()
            {
                return Ok(Between::End);
            }
            let candidates = *self.candidates.borrow_and_update();
            self.show(&mut gate, candidates, speaker).await;
            tokio::select! {
                biased;
                stop = signals.stop() => {
                    if stop == Stop::Interrupt {
                        self.dismiss().await;
                    }
                    return Ok(Between::Stop(stop));
                }
                _ = self.hangup.recv() => self.reread().await,
                Some(event) = next_visitor(&mut self.events) => self.tell(&event, speaker)?,
                talk = self.server.next(), if gate.is_open() => match (talk, gate) {
                    (Some(talk), Gate::Accepted(key)) if talk.peer.key() != key => {
                        if let Speaker::Terminal(terminal) = speaker {
                            terminal.discard();
                        }
                        gate = Gate::Ready(talk.peer.key());
                        self.ready = Some(talk);
                    }
                    (talk, _) => return Ok(talk.map_or(Between::End, Between::Talk)),
                },
                _ = self.candidates.changed() => {}
                input = read_between(speaker, &gate, is_first) => match input? {
                    None => {
                        self.console.say("Standard input has ended: the server stops.");
                        return Ok(Between::End);
                    }
                    Some(line) => {
                        if let Some(talk) = self.ready.take() {
                            return Ok(Between::Talk(talk));
                        }
                        self.answered(&mut gate, &line).await;
                    }
                },
            }
        }
    }

    /// Ends the conversation of whoever was welcomed and not begun with yet.
    async fn dismiss(&mut self) {
        let ready = self.ready.take().or_else(|| self.server.welcomed());
        match ready.map(|talk| talk.turn) {
            Some(Turn::Mine(mine)) => _ = mine.quit().await,
            Some(Turn::Theirs(theirs)) => {
                theirs.quit();
                let _ = theirs.hear().await;
            }
            None => {}
        }
    }

    /// Puts to the person what waits, at a terminal.
    async fn show(&self, gate: &mut Gate, candidates: Candidates, speaker: &mut Speaker) {
        let Speaker::Terminal(terminal) = speaker else {
            return;
        };
        match *gate {
            Gate::Question(key, _) if candidates.asking != Some(key) => {
                self.console
                    .say("The key that you were asked about has left.");
                *gate = gate.behind();
            }
            Gate::Next(key) if candidates.next != Some(key) => {
                self.console.say("The next one has left.");
                *gate = Gate::Closed;
            }
            // An answer that was none, or something that was said over it.
            Gate::Question(..) if !self.console.has_prompt() => ask::again(self.console),
            Gate::Next(key) | Gate::Ready(key) if !self.console.has_prompt() => {
                self.ask_to_begin(&key);
            }
            _ => {}
        }
        if candidates.question.is_some() && matches!(gate, Gate::Open | Gate::Closed) {
            if let Some(key) = self.server.ask().await {
                ask::about_client(terminal, self.console, &key);
                *gate = Gate::Question(key, matches!(gate, Gate::Open));
            }
        } else if let (Gate::Closed, Some(next)) = (&gate, candidates.next) {
            terminal.discard();
            self.ask_to_begin(&next);
            *gate = Gate::Next(next);
        }
    }

    fn ask_to_begin(&self, next: &KeyId) {
        let name = self.name(next);
        self.console
            .ask(&format!("Next: {name} is waiting. Press Enter to begin. "));
    }

    /// A line was typed at a question.
    async fn answered(&self, gate: &mut Gate, line: &str) {
        match *gate {
            Gate::Next(_) => *gate = Gate::Open,
            Gate::Question(key, _) => match ask::understood(line) {
                Some(true) => {
                    self.server.answer(key, Answer::Accept).await;
                    *gate = Gate::Accepted(key);
                }
                Some(false) => {
                    self.server.answer(key, Answer::Decline).await;
                    *gate = gate.behind();
                }
                None => {}
            },
            Gate::Open | Gate::Accepted(_) | Gate::Closed | Gate::Ready(_) => {}
        }
    }

    /// Somebody did not get a conversation.
    fn tell(&mut self, event: &ServerEvent, speaker: &mut Speaker) -> Result<(), Report> {
        match event {
            ServerEvent::Refused { key, reason } => {
                if let Speaker::Json(json) = speaker {
                    json.refused(&key.to_string(), reason.word())?;
                }
                if *reason == Reason::UnknownPeer && self.may_tell() {
                    let remedy = match self.command.allow.is_empty() {
                        true => format!(
                            "turnchat peers add NAME {key} --home {} && kill -HUP {}",
                            shell_quoted(self.home.path()),
                            std::process::id()
                        ),
                        false => format!("start the server with --allow {key} too"),
                    };
                    self.console.say(&format!(
                        "Refused a key that is not known: {key}. To let it in: {remedy}"
                    ));
                } else {
                    self.console
                        .detail(&format!("Refused {}: {}.", self.name(key), reason.word()));
                }
            }
            ServerEvent::GaveUp(abandoned) => {
                let name = self.name(&abandoned.key);
                let what = format!("{name} has given up the conversation that was cut.");
                self.tell_lapsed(what, abandoned, speaker)?;
            }
            ServerEvent::Expired(abandoned) => {
                let name = self.name(&abandoned.key);
                let what = format!(
                    "The conversation with {name} that was cut is given up: it is too old to go on."
                );
                self.tell_lapsed(what, abandoned, speaker)?;
            }
            ServerEvent::Failed(incident) => {
                self.console
                    .detail(&format!("A connection failed: {incident}."));
            }
        }
        Ok(())
    }

    fn tell_lapsed(
        &self,
        mut what: String,
        abandoned: &Abandoned,
        speaker: &mut Speaker,
    ) -> Result<(), Report> {
        if let Some((turn, _)) = &abandoned.unacknowledged {
            what += &format!(" Your message of turn {turn} in it was not acknowledged.");
        }
        self.console.say(&what);
        match speaker {
            Speaker::Json(json) => json.abandoned(&what, abandoned),
            Speaker::Terminal(_) | Speaker::Pipe(_) => Ok(()),
        }
    }

    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        self.told
            .retain(|told| now.duration_since(*told) < TOLD_WINDOW);
        let may = self.told.len() < TOLD;
        if may {
            self.told.push_back(now);
        }
        may
    }

    /// Reads the address book again; a damaged one changes nothing.
    async fn reread(&self) {
        match Rules::reread(self.command, self.home, self.console) {
            Ok(rules) => {
                let known: Vec<_> = rules.keys().collect();
                let old = std::mem::replace(&mut *lock(&self.rules), rules);
                for key in old.keys().filter(|key| !known.contains(key)) {
                    self.server.forget(key).await;
                }
                self.console.say("Read the address book again.");
            }
            Err(report) => self.console.fail(&report),
        }
    }

    fn partner(&self, talk: &Talk) -> Partner {
        let key = talk.peer.key();
        Partner {
            key,
            petname: self.petname(&key),
            role: Role::Server,
            conversation: talk.conversation,
            is_resumed: talk.is_resumed,
        }
    }

    fn petname(&self, key: &KeyId) -> Option<String> {
        lock(&self.rules).book.name_of(key).map(ToString::to_string)
    }

    fn name(&self, key: &KeyId) -> String {
        self.petname(key).unwrap_or_else(|| key.to_string())
    }
}

/// Whether the next conversation may begin. Only at a terminal it is ever not
/// open: there, what is typed belongs to one conversation.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Open,
    /// For this key, which the person has just let in.
    Accepted(KeyId),
    /// A conversation has ended; the next needs an Enter.
    Closed,
    /// The person was about another when this one was welcomed, and has not
    /// pressed Enter.
    Ready(KeyId),
    /// The person sees who is next, and has not pressed Enter.
    Next(KeyId),
    /// The person is asked about this key; and whether the gate was open before.
    Question(KeyId, bool),
}

impl Gate {
    fn new(speaker: &Speaker, is_first: bool) -> Self {
        match speaker {
            Speaker::Terminal(_) if !is_first => Self::Closed,
            _ => Self::Open,
        }
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Accepted(_))
    }

    /// As it was before the question.
    fn behind(self) -> Self {
        match self {
            Self::Question(_, true) => Self::Open,
            _ => Self::Closed,
        }
    }
}

async fn next_visitor(events: &mut Option<ServerEvents>) -> Option<ServerEvent> {
    events.as_mut()?.next().await
}

/// What is typed or piped between conversations: a line at a question, or
/// `None` at the end of the input.
async fn read_between(
    speaker: &mut Speaker,
    gate: &Gate,
    is_first: bool,
) -> Result<Option<String>, Report> {
    match (speaker, gate) {
        (Speaker::Terminal(terminal), Gate::Next(_) | Gate::Ready(_) | Gate::Question(..)) => {
            terminal.answer().await
        }
        (Speaker::Terminal(_), Gate::Open | Gate::Accepted(_) | Gate::Closed) => {
            std::future::pending().await
        }
        // It is nobody's turn yet, and no conversation has left anything over.
        (Speaker::Pipe(_), _) if is_first => std::future::pending().await,
        (Speaker::Pipe(pipe), _) => pipe.read_ahead().await.map(|()| None),
        (Speaker::Json(json), _) => json.until_end().await.map(|()| None),
    }
}
