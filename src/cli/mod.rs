//! Floor 4: the program. Arguments, terminal, JSON, reports and exit codes.

pub mod abandoned;
pub mod args;
pub mod ask;
pub mod blocking;
pub mod book;
pub mod commands;
pub mod core_dumps;
pub mod descriptors;
pub mod display;
pub mod editor;
pub mod ending;
pub mod events;
pub mod first_message;
pub mod home;
pub mod input;
pub mod layout;
pub mod listen_at;
pub mod locale;
pub mod logging;
pub mod own_addresses;
pub mod pairing_code;
pub mod proposal;
pub mod remedy;
pub mod report;
pub mod route;
pub mod screen;
pub mod service_manager;
pub mod signals;
pub mod speaker;
pub mod store_at;
pub mod talk;
pub mod transcript;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::Scope;
use std::time::Duration;

use args::{Arguments, ClientArgs, Color, Command, GenCertArgs, ServerArgs, TalkArgs};
use commands::server::granted::Granted;
use commands::{client, completions, conversations, fingerprint, gen_cert, man, peers, server};
use display::Display;
use editor::Editor;
use home::Home;
use input::Input;
use locale::Letters;
use proposal::Called;
use report::{Exit, Report};
use speaker::exec::{CommandLine, Exec};
use speaker::json::{self, JsonLines};
use speaker::lines::Lines;
use speaker::pipe::Pipe;
use speaker::terminal::Terminal;
use speaker::{OneOfMany, Speaker};
use store_at::StoreAt;

use crate::link::socks::Proxy;
use crate::protocol::{Limits, Role, Text};

/// Does what the command line says, and tells of what failed.
pub fn run(arguments: Arguments) -> Exit {
    core_dumps::forbid();
    match arguments.common.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    let (is_quiet, verbosity) = (arguments.common.quiet, arguments.common.verbose);
    let mut display = Display::new(is_quiet, verbosity);
    if let Some(format) = arguments.command.talk().and_then(|talk| talk.log) {
        display = logging::start(display, format, is_quiet, verbosity);
    } else if arguments.command.holds_many() {
        display = display.spooled(None);
    }
    let done = match &arguments.command {
        // Whoever packages the program has no home.
        Command::Completions(command) => completions::run(command).map(|()| Exit::Success),
        Command::Man(_) => man::run().map(|()| Exit::Success),
        _ => Home::find(arguments.common.home.clone()).and_then(|home| {
            called(&arguments, &home).remember();
            execute(arguments.command, &home, &display)
        }),
    };
    let exit = done.unwrap_or_else(|report| {
        display.fail(&report);
        report.exit
    });
    display::finish();
    exit
}

/// What a proposed command has to repeat of these arguments.
fn called(arguments: &Arguments, home: &Home) -> Called {
    let files = match &arguments.command {
        Command::Fingerprint(command) => Some(&command.identity),
        other => other.talk().map(|talk| &talk.identity),
    };
    let identity = files.and_then(|files| Some([files.cert.clone()?, files.key.clone()?]));
    let proxy = match &arguments.command {
        Command::Client(command) => command.proxy.as_ref().map(Proxy::url),
        _ => None,
    };
    let (directory, taken_from) = match &arguments.command {
        Command::GenCert(GenCertArgs { out: Some(out), .. }) => (out.clone(), "--out"),
        _ => (home.path().to_owned(), home.taken_from()),
    };
    let store = match &arguments.command {
        Command::Server(command) => command.store.as_ref().map(StoreAt::path),
        _ => None,
    };
    Called {
        is_client: matches!(arguments.command, Command::Client(_)),
        directory,
        home: arguments.common.home.clone(),
        taken_from,
        identity,
        store,
        proxy,
    }
}

/// Tells what is wrong with the arguments, or what was asked for: help. Even
/// an argument may be somebody else's text, as a file's name is.
pub fn refuse(mut arguments: clap::Error) -> Exit {
    if arguments.use_stderr() {
        args::suggest(&mut arguments);
        let mut told = screen::message(&arguments.render().to_string());
        if io::stderr().is_terminal() {
            told = Letters::of_locale().show(told);
        }
        let _ = write!(anstream::stderr(), "{told}");
        return Exit::Usage;
    }
    match arguments.print() {
        // Whoever has left wants no more of it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let report = Report::output("The help", &error);
            Display::new(false, 0).fail(&report);
            report.exit
        }
        _ => Exit::Success,
    }
}

fn execute(command: Command, home: &Home, display: &Display) -> Result<Exit, Report> {
    match command {
        Command::GenCert(command) => gen_cert::run(&command, home, display)?,
        Command::Fingerprint(command) => fingerprint::run(&command, home)?,
        Command::Peers(command) => peers::run(&command, home, display)?,
        Command::Conversations(command) => {
            let (home, display) = (home.clone(), display.clone());
            return block_on(Box::pin(async move {
                conversations::run(&command, &home, &display).await
            }));
        }
        // Run already, without a home.
        Command::Completions(_) | Command::Man(_) => {}
        Command::Server(command) => return serve(command, home, display),
        Command::Client(command) => {
            descriptors::suffice_for_client(descriptors::raise())?;
            let who = As::asked(&command.talk, None);
            let side = Calling {
                command,
                home: home.clone(),
                display: display.clone(),
            };
            return speak(who, display, side);
        }
    }
    Ok(Exit::Success)
}

fn serve(mut command: ServerArgs, home: &Home, display: &Display) -> Result<Exit, Report> {
    let socket = service_manager::socket()?;
    std::thread::scope(|scope| {
        seed(scope);
        // Before anything is opened: with too few, nothing else says what is wrong.
        let limits = Limits {
            queue: command.queue,
            ..Limits::default()
        };
        let programs = match (&command.talk.exec, command.once) {
            (None, _) => 0,
            (Some(_), true) => 1,
            (Some(_), false) => command.conversations.unwrap_or(server::many::CONVERSATIONS),
        };
        let limits = descriptors::share(limits, programs, descriptors::raise())?;
        let who = As::asked(&command.talk, first_message::of(&command)?);
        // What is kept is left to go on with, as with `--journal`.
        command.talk.journal |= command.store.is_some();
        let side = Serving {
            command,
            granted: Granted { limits, socket },
            home: home.clone(),
            display: display.clone(),
        };
        speak(who, display, side)
    })
}

/// As what somebody speaks on this side.
struct As {
    json: bool,
    bell: bool,
    null: bool,
    exec: Option<Vec<OsString>>,
    first: Option<Text>,
}

impl As {
    fn asked(talk: &TalkArgs, first: Option<Text>) -> Self {
        Self {
            json: talk.json,
            bell: talk.bell,
            null: talk.null,
            exec: talk.exec.clone(),
            first,
        }
    }
}

/// A side of conversations, whoever speaks on it.
trait Side: Send + 'static {
    const ROLE: Role;

    fn run(self, speaker: &mut impl Speaker) -> impl Future<Output = Result<Exit, Report>> + Send;

    /// The same with a program of its own for each conversation.
    fn run_with_programs(
        self,
        program: &mut impl OneOfMany,
    ) -> impl Future<Output = Result<Exit, Report>> + Send;
}

struct Calling {
    command: ClientArgs,
    home: Home,
    display: Display,
}

impl Side for Calling {
    const ROLE: Role = Role::Client;

    async fn run(self, speaker: &mut impl Speaker) -> Result<Exit, Report> {
        client::run(self.command, &self.home, &self.display, speaker).await
    }

    async fn run_with_programs(self, program: &mut impl OneOfMany) -> Result<Exit, Report> {
        self.run(program).await
    }
}

struct Serving {
    command: ServerArgs,
    granted: Granted,
    home: Home,
    display: Display,
}

impl Side for Serving {
    const ROLE: Role = Role::Server;

    async fn run(self, speaker: &mut impl Speaker) -> Result<Exit, Report> {
        server::run(
            self.command,
            self.granted,
            &self.home,
            &self.display,
            speaker,
        )
        .await
    }

    async fn run_with_programs(self, program: &mut impl OneOfMany) -> Result<Exit, Report> {
        match self.command.once {
            true => self.run(program).await,
            false => {
                server::many::run(
                    self.command,
                    self.granted,
                    &self.home,
                    &self.display,
                    program,
                )
                .await
            }
        }
    }
}

/// The one place that knows who speaks.
fn speak(of: As, display: &Display, side: impl Side) -> Result<Exit, Report> {
    let own = display.clone();
    if let Some(words) = of.exec {
        // What a program says on its stderr it may wait for.
        let command = Arc::new(CommandLine::new(&words, &display.waiting())?);
        return match of.json {
            true => hold_programs(JsonLines::exec(command, own, of.first), side),
            false => hold_programs(Exec::new(command, own, of.first), side),
        };
    }
    Display::check()?;
    let input = |limit| Input::stdin(limit).map_err(|error| Report::stdin(&error));
    if of.json {
        return hold(JsonLines::over(input(json::LINE)?, own, of.first), side);
    }
    if of.null {
        let input = Input::nul_ended_stdin(Text::MAX).map_err(|error| Report::stdin(&error))?;
        return match input.is_terminal() {
            true => Err(Report::null_at_terminal()),
            false => hold(Pipe::new(input, own, of.first), side),
        };
    }
    if Editor::can_run() {
        return hold(Terminal::new(own, of.first, of.bell), side);
    }
    let input = input(Text::MAX)?;
    match input.is_terminal() {
        true => hold(Lines::new(input, own, of.first), side),
        false => hold(Pipe::new(input, own, of.first), side),
    }
}

fn hold<S: Side>(mut speaker: impl Speaker + 'static, side: S) -> Result<Exit, Report> {
    block_on(Box::pin(async move {
        let done = side.run(&mut speaker).await;
        done.inspect_err(|report| speaker.stopped(report, S::ROLE))
    }))
}

fn hold_programs<S: Side>(mut program: impl OneOfMany, side: S) -> Result<Exit, Report> {
    block_on(Box::pin(async move {
        let done = side.run_with_programs(&mut program).await;
        done.inspect_err(|report| program.stopped(report, S::ROLE))
    }))
}

/// Seeds the random generator beside the rest of the start. Where aws-lc was built
/// with its jitter source this takes tens of milliseconds, which the first client would wait.
/// The scope waits for it: aws-lc aborts a program that ends while a thread draws from it.
fn seed<'scope>(scope: &'scope Scope<'scope, '_>) {
    let seed = || _ = aws_lc_rs::rand::fill(&mut [0]);
    // Without a thread to spare, it is seeded when it is needed.
    let _ = std::thread::Builder::new().spawn_scoped(scope, seed);
}

/// For what a thread still does as the program ends. One that waits for a name server
/// would wait for seconds.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// What the program does. Boxed, so that it is compiled into one task for all who speak.
type Run = Pin<Box<dyn Future<Output = Result<Exit, Report>> + Send>>;

/// On the thread that waits for the system too: whatever comes is seen to without waking another.
fn block_on(run: Run) -> Result<Exit, Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| {
            Report::new(
                Exit::Failure,
                format!("No thread can be started: {error}."),
                remedy::for_too_many(&error).unwrap_or_else(|| {
                    "Close other programs, or raise the limit of processes (`ulimit -u`)."
                        .to_owned()
                }),
            )
        })?;
    let run = runtime.spawn(run);
    let exit = runtime.block_on(run);
    runtime.shutdown_timeout(LAST_MOMENT);
    exit.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}
