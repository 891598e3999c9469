//! `turnchat man`: one manual page, of which the commands and their options come from clap.

use std::io;

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::stdout::print;
use crate::cli::args::Arguments;
use crate::cli::report::{Exit, Report};

/// When the program ends with which code.
const EXIT_CODES: [(Exit, &str); 10] = [
    (
        Exit::Success,
        "either side ended the conversation; or the server was stopped by SIGTERM or by the end of its input",
    ),
    (
        Exit::Failure,
        "our own failure: disk, port in use, a damaged file, a conversation that another process has open, stdout closed, a program of --exec that fails; or a turn took longer than --turn-timeout",
    ),
    (
        Exit::Usage,
        "usage: wrong arguments, a malformed key or address",
    ),
    (
        Exit::Trust,
        "trust: an unknown, declined, wrong or changed key, a wrong pairing code, a certificate refused, a key file open to others",
    ),
    (
        Exit::Link,
        "the link could not be made, or was lost for longer than --hold, or a newer connection took its place; or a message of yours was not acknowledged before the end, or was entered too late to be sent",
    ),
    (
        Exit::Protocol,
        "the peer broke the protocol, or speaks another",
    ),
    (
        Exit::Busy,
        "not now: the server is busy or stopping, nobody answered about your key, too many keys were asked about lately, or no pairing is open",
    ),
    (
        Exit::HungUp,
        "the terminal was closed; with a journal the conversation can go on",
    ),
    (Exit::Interrupted, "Ctrl-C"),
    (Exit::Terminated, "SIGTERM, on a client"),
];

/// What is read from the environment, by us and by what we use, and what is set there.
const ENVIRONMENT: [(&str, &str); 17] = [
    (
        "TURNCHAT_HOME",
        "The home, unless --home is given: see FILES.",
    ),
    (
        "XDG_CONFIG_HOME",
        "Where turnchat/ is the home, unless one of those above is given. If it is not set, ~/.config.",
    ),
    ("HOME", "What ~ stands for."),
    (
        "TERM",
        "The terminal. Where it is dumb or not set, there is no line editor: the terminal gives whole lines, and Ctrl-Z loses a half-typed one.",
    ),
    (
        "LC_ALL",
        "The locale, as far as letters are concerned: without UTF-8 in it, a terminal gets ASCII alone.",
    ),
    ("LC_CTYPE", "The same, where LC_ALL is not set."),
    ("LANG", "The same, where neither is set."),
    ("NO_COLOR", "If it is set: no colours. --color goes before."),
    ("CLICOLOR", "If it is 0: no colours."),
    (
        "CLICOLOR_FORCE",
        "If it is set and not 0: colours, also where there is no terminal.",
    ),
    ("COLUMNS", "How wide the help is, at most 80 columns."),
    (
        "TURNCHAT_COMPLETE",
        "Set by the script of turnchat completions while it asks for words: not by you.",
    ),
    ("PATH", "Where that script finds turnchat."),
    (
        "TURNCHAT_PEER",
        "Set for the program of --exec: your peer's name in the address book, or nothing.",
    ),
    ("TURNCHAT_KEY", "The same: your peer's key."),
    (
        "TURNCHAT_CONVERSATION",
        "The same: the name that both sides have for the conversation.",
    ),
    ("TURNCHAT_ROLE", "The same: server or client."),
];

/// What is in the home.
const FILES: [(&str, &str); 4] = [
    (
        "cert.pem",
        "Your certificate. Whoever is to know your key may have it.",
    ),
    (
        "key.pem",
        "Your private key, for you alone (mode 0600). One that others can read is not used.",
    ),
    (
        "peers.toml",
        "The address book. It can be edited by hand; comments stay.",
    ),
    (
        "journal/",
        "The conversations that can go on later. A conversation leaves it at its end, but for its id, for a day.",
    ),
];

/// What else is there to say of them.
const HOME: &str = "Everything is in one directory, the home: that of --home, else of TURNCHAT_HOME, else turnchat in XDG_CONFIG_HOME, which is ~/.config by default. It is made with mode 0700. A home, or a file in it, that another user owns or others can write is not used. Files whose names end in .lock keep two programs from changing the same thing at once.";

/// How to get along without reading more.
const CONVERSATION: [&str; 4] = [
    "The server speaks first, then the two alternate. QUIT alone on a line, in your turn, ends the conversation; \\QUIT sends the word QUIT. Ctrl-C ends it at any time, and stops the program.",
    "Standard output is the transcript and nothing else; everything else goes to standard error. With a pipe on standard input, each line is one message, and the end of the file counts as QUIT.",
    "When the link is lost, the client dials again by itself, and the conversation goes on. At a terminal and with --json, but not with --exec, it also goes on after a crash or SIGTERM: run the same command again.",
    "A KEY is written as SHA256:…, as turnchat fingerprint prints it. A value with a / in it or .pem at its end is a certificate's path. Anything else is a name in the address book.",
];

/// Prints it.
///
/// # Errors
/// stdout cannot be written.
pub fn run() -> Result<(), Report> {
    print("The manual page", page().trim_end())
}

fn page() -> String {
    // What `help` prints is all here.
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let man = Man::new(program.clone())
        .title("TURNCHAT")
        // An empty one would be left out, and the next take its place.
        .date(" ")
        .manual("User commands");
    let mut page = Page::default();
    page.part(|out| man.render_title(out));
    page.part(|out| man.render_name_section(out));
    page.heading("SYNOPSIS");
    program.get_subcommands().for_each(|it| page.usage(it));
    page.heading("DESCRIPTION");
    // The first one is the name's.
    let about = program.get_long_about().map(ToString::to_string);
    let about = about.iter().flat_map(|text| text.split("\n\n").skip(1));
    about.for_each(|text| page.paragraph(text));
    CONVERSATION.iter().for_each(|text| page.paragraph(text));
    page.heading("COMMANDS");
    program.get_subcommands().for_each(|it| page.command(it));
    page.heading("OPTIONS OF ALL COMMANDS");
    page.options(program.clone());
    page.heading("EXIT STATUS");
    for (exit, when) in EXIT_CODES {
        page.entry(&exit.code().to_string(), when);
    }
    page.heading("ENVIRONMENT");
    for (name, meaning) in ENVIRONMENT {
        page.entry(name, meaning);
    }
    page.heading("FILES");
    page.paragraph(HOME);
    for (name, meaning) in FILES {
        page.entry(name, meaning);
    }
    page.heading("EXAMPLES");
    let after = after_help(&program);
    page.after(after.split("\n\nExit codes").next().unwrap_or_default());
    page.text
}

/// The page, as far as it is written.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn add(&mut self, roff: &Roff) {
        self.part(|out| roff.to_writer(out));
    }

    /// What is written as a document of its own, as a part of this one.
    fn part(&mut self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) {
        let mut written = Vec::new();
        // A vector takes all that is written to it.
        let _ = write(&mut written);
        let text = String::from_utf8_lossy(&written);
        let preamble = Roff::new().render();
        self.text += match self.text.is_empty() {
            true => &text,
            false => text.strip_prefix(&preamble).unwrap_or(&text),
        };
    }

    fn heading(&mut self, title: &str) {
        self.add(Roff::new().control("SH", [title]));
    }

    fn paragraph(&mut self, text: &str) {
        self.add(Roff::new().control("PP", []).text([roman(text)]));
    }

    fn entry(&mut self, name: &str, meaning: &str) {
        let mut roff = Roff::new();
        roff.control("TP", []).text([bold(name)]);
        self.add(roff.text([roman(meaning)]));
    }

    /// How a command, or each below it, is called.
    fn usage(&mut self, command: &Command) {
        if command.has_subcommands() {
            return command.get_subcommands().for_each(|it| self.usage(it));
        }
        let mut roff = Roff::new();
        self.add(roff.text([roman(usage(command))]).control("br", []));
    }

    /// A command, its options, and those below it.
    fn command(&mut self, command: &Command) {
        let mut roff = Roff::new();
        let heading = match command.has_subcommands() {
            true => command.get_bin_name().unwrap_or_default().to_owned(),
            false => usage(command),
        };
        self.add(roff.control("SS", [heading.as_str()]));
        if let Some(about) = command.get_about() {
            self.paragraph(&format!("{about}."));
        }
        let own = command.clone().mut_args(|arg| match arg.is_global_set() {
            true => arg.hide(true),
            false => arg,
        });
        self.options(own);
        self.after(&after_help(command));
        command.get_subcommands().for_each(|it| self.command(it));
    }

    /// The options and other arguments, without a heading.
    fn options(&mut self, command: Command) {
        if command.get_arguments().all(Arg::is_hide_set) {
            return;
        }
        let man = Man::new(command.mut_args(with_values));
        let from = self.text.len();
        self.part(|out| man.render_options_section(out));
        let section = self.text.split_off(from);
        for line in section.lines().filter(|line| !line.starts_with(".SH")) {
            self.text += line;
            self.text.push('\n');
        }
    }

    /// What a help says at its end. Lines that are indented stay as they are.
    fn after(&mut self, text: &str) {
        for part in text.split("\n\n") {
            let mut roff = Roff::new();
            roff.control("PP", []);
            let mut is_shown = false;
            for line in part.lines() {
                let is_indented = line.starts_with(' ');
                match (is_shown, is_indented) {
                    (false, true) => _ = roff.control("RS", ["4"]).control("nf", []),
                    (true, false) => _ = roff.control("fi", []).control("RE", []),
                    _ => {}
                }
                is_shown = is_indented;
                roff.text([roman(line.trim_start())]);
            }
            if is_shown {
                roff.control("fi", []).control("RE", []);
            }
            self.add(&roff);
        }
    }
}

fn after_help(command: &Command) -> String {
    let text = command.get_after_help().map(ToString::to_string);
    text.unwrap_or_default()
}

/// Its possible values in one line: clap's generator gives each a paragraph.
fn with_values(arg: Arg) -> Arg {
    let values = arg.get_possible_values();
    if values.is_empty() {
        return arg;
    }
    let values: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [possible values: {}]", values.join(", ")))
        .hide_possible_values(true)
}

/// `turnchat server [OPTIONS]`
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage: ").to_owned()
}
