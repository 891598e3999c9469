//! `turnchat completions`: the script for a shell, and the answers to what that script asks.
//!
//! The script knows nothing but how to ask this program what may stand where the cursor is: one
//! completer for all shells, and the address book is read as everywhere else.

mod bash;
mod values;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Arg, Command, CommandFactory as _};
use clap_complete::engine::{
    self, ArgValueCandidates, ArgValueCompleter, CompletionCandidate, ValueCompleter as _,
};
use clap_complete::env::{EnvCompleter, Shells};

use super::stdout::print;
use crate::cli::args::{Arguments, CompletionsArgs};
use crate::cli::display::write_out;
use crate::cli::report::{Exit, Report};
use bash::{Question, unquoted};
use values::{OtherCommand, algorithms, certificates, directories, files, names};

/// Set by the script, to the shell's name: complete the words behind `--`.
const ASKED_BY: &str = "TURNCHAT_COMPLETE";

/// The program's name, which the script looks up in PATH.
const PROGRAM: &str = "turnchat";

const BASH: &str = "bash";

/// Behind it, all words are another command's.
const EXEC: &str = "--exec";

/// Prints the script.
///
/// # Errors
/// stdout cannot be written.
pub fn run(command: &CompletionsArgs) -> Result<(), Report> {
    let shell = command.shell.to_string();
    if shell == BASH {
        return print("The script", bash::SCRIPT);
    }
    let mut script = Vec::new();
    if let Some(shell) = completer(&shell) {
        // A vector takes all that is written to it.
        let _ = shell.write_registration(ASKED_BY, PROGRAM, PROGRAM, PROGRAM, &mut script);
    }
    print("The script", String::from_utf8_lossy(&script).trim_end())
}

/// Answers a shell that asks what may stand where its cursor is; `None` if no shell asks.
/// Nothing is said of a failure: the user is in the middle of a line, and asked for nothing.
pub fn answer() -> Option<Exit> {
    let shell = env::var_os(ASKED_BY).filter(|shell| !shell.is_empty())?;
    let words = env::args_os().skip_while(|word| word != "--").skip(1);
    let candidates = candidates(&shell.to_string_lossy(), words.collect());
    let written = candidates.and_then(|candidates| write_out(&candidates).ok());
    Some(match written {
        Some(()) => Exit::Success,
        None => Exit::Failure,
    })
}

/// What may stand there, as the script reads it.
fn candidates(shell: &str, words: Vec<OsString>) -> Option<String> {
    if shell == BASH {
        let question = Question::new(words.as_slice().try_into().ok()?);
        return Some(question.answer(&in_place_of_last(&question)?));
    }
    // Elsewhere the engine takes for granted that there is the word to complete.
    let _ = words.first()?;
    let shell = completer(shell)?;
    let words: Vec<_> = match shell.name() {
        // As they were typed, in quotes that are bash's too.
        "zsh" => words.iter().map(|word| unquoted(word)).collect(),
        _ => words,
    };
    let mut command = command(home_in(&words));
    let mut answer = Vec::new();
    let current = env::current_dir().ok();
    let written = shell.write_complete(&mut command, words, current.as_deref(), &mut answer);
    written.ok()?;
    String::from_utf8(answer).ok()
}

/// What may stand in the place of the last word before the cursor.
fn in_place_of_last(question: &Question) -> Option<Vec<CompletionCandidate>> {
    let words = &question.words;
    let (last, before) = words.split_last()?;
    if let Some(at) = before.iter().position(|word| word == EXEC) {
        // The engine would offer our options too.
        return Some(OtherCommand.complete_at(before.len() - at - 1, last));
    }
    let line: Vec<_> = words.iter().chain(&question.behind).cloned().collect();
    let mut command = command(home_in(&line));
    let current = env::current_dir().ok();
    engine::complete(
        &mut command,
        words.clone(),
        before.len(),
        current.as_deref(),
    )
    .ok()
}

fn completer(shell: &str) -> Option<&'static dyn EnvCompleter> {
    const SHELLS: Shells<'static> = Shells::builtins();
    SHELLS.0.iter().copied().find(|it| it.is(shell))
}

/// Our commands, with what completes their values.
fn command(home: Option<PathBuf>) -> Command {
    let home_of_peers = home.clone();
    let name = ArgValueCompleter::new(move |typed: &OsStr| names(home.as_ref(), typed));
    let certificate = ArgValueCompleter::new(certificates);
    let allowed = ArgValueCompleter::new(move |typed: &OsStr| {
        let mut found = names(home_of_peers.as_ref(), typed);
        found.extend(certificates(typed));
        found
    });
    let directory = ArgValueCompleter::new(directories);
    let algorithm = ArgValueCandidates::new(algorithms);
    let named = |id: &'static str| {
        let name = name.clone();
        move |command: Command| command.mut_arg(id, |arg| arg.add(name))
    };
    let pinned = |id: &'static str| {
        let certificate = certificate.clone();
        move |command: Command| command.mut_arg(id, |arg| arg.add(certificate))
    };
    let exec = |command: Command| {
        command.mut_arg("exec", |arg| arg.add(ArgValueCompleter::new(OtherCommand)))
    };
    with_files(Arguments::command())
        .mut_arg("home", |arg| arg.add(directory.clone()))
        .mut_subcommand("gen-cert", |it| {
            it.mut_arg("out", |arg| arg.add(directory))
                .mut_arg("algorithm", |arg| arg.add(algorithm))
        })
        .mut_subcommand("server", |it| {
            exec(it).mut_arg("allow", |arg| arg.add(allowed))
        })
        .mut_subcommand("client", |it| exec(pinned("pin")(named("peer")(it))))
        .mut_subcommand("fingerprint", pinned("certificate"))
        .mut_subcommand("peers", |peers| {
            peers
                .mut_subcommand("add", |it| pinned("key")(named("name")(it)))
                .mut_subcommand("remove", |it| pinned("key")(named("name")(it)))
                // What is changed comes last: behind it, the new name is the second again.
                .mut_subcommand("rename", |it| named("old")(it).mut_arg("new", |it| it))
        })
        .mut_subcommand("conversations", |it| {
            it.mut_subcommand("end", named("peer"))
        })
}

/// Has each value that is a path completed as one.
fn with_files(command: Command) -> Command {
    let complete = |arg: Arg| match arg.get_value_hint() {
        ValueHint::AnyPath => arg.add(ArgValueCompleter::new(files)),
        _ => arg,
    };
    command.mut_args(complete).mut_subcommands(with_files)
}

/// The home that the line names. A shell completes words before it expands `~`.
fn home_in(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter();
    let mut home = None;
    while let Some(word) = words.next().filter(|word| *word != EXEC) {
        let rest = word.to_str().and_then(|word| word.strip_prefix("--home"));
        match rest {
            Some("") => home = words.next().cloned(),
            Some(joined) => home = joined.strip_prefix('=').map(OsString::from),
            None => {}
        }
    }
    let home = PathBuf::from(home.filter(|home| !home.is_empty())?);
    match home.strip_prefix("~") {
        Ok(below) => env::home_dir().map(|own| own.join(below)),
        Err(_) => Some(home),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(line: &str) -> Option<PathBuf> {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        home_in(&words)
    }

    #[test]
    fn the_home_is_the_one_that_the_line_names() {
        let named = Some(PathBuf::from("certs/alice"));
        for line in [
            "turnchat --home certs/alice client ",
            "turnchat client --home=certs/alice ",
            "turnchat --home certs/bob client --home certs/alice ",
        ] {
            assert_eq!(home(line), named, "{line}");
        }
        let own = env::home_dir().map(|own| own.join("alice"));
        assert_eq!(home("turnchat --home ~/alice client "), own);
        for line in [
            "turnchat client ",
            "turnchat client --home ",
            "turnchat",
            // It is the program's that talks.
            "turnchat server --exec cat --home certs/alice",
        ] {
            assert_eq!(home(line), None, "{line}");
        }
    }

    #[test]
    fn who_asks_for_nothing_or_is_no_shell_gets_nothing() {
        assert_eq!(candidates("bash", Vec::new()), None);
        assert_eq!(candidates("csh", vec!["turnchat".into(), "".into()]), None);
    }
}
