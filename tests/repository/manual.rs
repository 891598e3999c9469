//! The manual page, compared with the code: it leaves nothing out.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use turnchat::cli::args::Arguments;

use super::{files, read};

fn roff() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnchat"));
    let printed = command.arg("man").output().unwrap();
    assert!(printed.status.success());
    String::from_utf8(printed.stdout).unwrap()
}

/// The page without what is only for its looks.
fn manual() -> String {
    let mut page = roff().replace("\\-", "-").replace("\\*(Aq", "'");
    for font in ["\\fB", "\\fI", "\\fR"] {
        page = page.replace(font, "");
    }
    // Arguments that are several words are in quotes.
    page.replace(".SH \"", ".SH ")
        .replace(".SS \"", ".SS ")
        .replace("\"\n", "\n")
}

/// What stands below a heading of a section.
fn section<'a>(manual: &'a str, title: &str) -> &'a str {
    let start = format!("\n.SH {title}\n");
    let (_, rest) = manual
        .split_once(&start)
        .unwrap_or_else(|| panic!("no section {title}"));
    rest.split("\n.SH ").next().unwrap_or_default()
}

/// The entries of a list, and what is said of each.
fn entries(section: &str) -> Vec<(&str, &str)> {
    let entries = section.split(".TP\n").skip(1);
    let entries = entries.filter_map(|entry| entry.trim_end().split_once('\n'));
    entries.collect()
}

/// Every command with all its arguments, those below it included.
fn check(command: &clap::Command, path: &str, manual: &str, mut commands: usize) -> usize {
    for command in command.get_subcommands() {
        let path = format!("{path} {}", command.get_name());
        let heading = |line: &&str| {
            let title = line.strip_prefix(".SS ").map(|it| it.trim_matches('"'));
            let rest = title.and_then(|title| title.strip_prefix(&path));
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(" [") || rest.starts_with(" <")
            })
        };
        let commands_of_all = section(manual, "COMMANDS");
        let mut lines = commands_of_all.lines().skip_while(|line| !heading(line));
        assert!(lines.next().is_some(), "no {path} in the manual");
        let below: Vec<_> = lines.take_while(|line| !line.starts_with(".SS ")).collect();
        let about = command.get_about().unwrap().to_string();
        assert!(below.contains(&&*format!("{about}.")), "{path}: {below:#?}");
        let own = command.get_arguments().filter(|it| !it.is_global_set());
        for argument in own {
            let has_value = argument.get_num_args().is_some_and(|it| it.takes_values());
            let names = argument.get_value_names().filter(|_| has_value);
            let value = names.map_or("", |names| names[0].as_str());
            let is_there = below.windows(2).any(|lines| {
                let is_entry = match argument.get_long() {
                    Some(long) => lines[1].starts_with(&format!("--{long}")),
                    None => lines[1].starts_with(['<', '[']),
                };
                lines[0] == ".TP" && is_entry && lines[1].contains(value)
            });
            assert!(is_there, "{path}: no {argument} in {below:#?}");
        }
        commands = check(command, &path, manual, commands + 1);
    }
    commands
}

#[test]
fn the_manual_has_every_command_and_every_option() {
    let manual = manual();
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    assert!(check(&program, "turnchat", &manual, 0) > 10);
    let shared = section(&manual, "OPTIONS OF ALL COMMANDS");
    for option in program.get_arguments() {
        let long = format!("--{}", option.get_long().expect("a long form"));
        let is_there = entries(shared)
            .iter()
            .any(|(name, _)| name.split([' ', ',']).any(|word| word == long));
        assert!(is_there, "no {long}: {shared}");
        // And for each command once more would be too often.
        let is_repeated = section(&manual, "COMMANDS").contains(&format!("\n{long} "));
        assert!(!is_repeated || long == "--help", "{long}");
    }
}

#[test]
fn the_manual_has_its_name_and_version_in_the_margins() {
    let title = format!(
        ".TH TURNCHAT 1 \" \" \"turnchat {}\" \"User commands\"",
        env!("CARGO_PKG_VERSION")
    );
    assert!(roff().lines().any(|line| line == title), "{title}");
}

#[test]
fn the_manual_has_the_exit_codes_of_the_readme() {
    let readme = read("README.md");
    let table = readme.split("### Exit codes").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| {
        let (code, when) = line.strip_prefix("| ")?.split_once(" | ")?;
        let _: u8 = code.parse().ok()?;
        Some((code.to_owned(), when.strip_suffix(" |")?.replace('`', "")))
    });
    let manual = manual();
    let listed = entries(section(&manual, "EXIT STATUS")).into_iter();
    let listed = listed.map(|(code, when)| (code.to_owned(), when.to_owned()));
    assert_eq!(listed.collect::<Vec<_>>(), rows.collect::<Vec<_>>());
}

/// What looks like the name of a variable, in a source that reads the environment.
fn variables() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files("src", "rs") {
        let source = read(file);
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        if !program.contains("env::var") {
            continue;
        }
        let literals = program.split('"').skip(1).step_by(2);
        let names = literals.filter(|text| {
            let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            text.len() > 2 && text.chars().all(is_part)
        });
        found.extend(names.map(str::to_owned));
    }
    found
}

#[test]
fn the_manual_has_every_variable_that_is_read() {
    let manual = manual();
    let listed = entries(section(&manual, "ENVIRONMENT"));
    let listed: BTreeSet<_> = listed.iter().map(|(name, _)| (*name).to_owned()).collect();
    let read = variables();
    assert!(read.len() > 5, "{read:?}");
    let missing: Vec<_> = read.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // By what prints colours and the help.
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        assert!(listed.contains(name), "{name}");
    }
}

#[test]
fn the_manual_has_the_files_of_the_home() {
    let manual = manual();
    let listed = entries(section(&manual, "FILES"));
    let listed: Vec<_> = listed.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, ["cert.pem", "key.pem", "peers.toml", "journal/"]);
    let home = read("src/cli/home.rs");
    assert!(home.contains("join(\"journal\")"));
    assert!(section(&manual, "EXAMPLES").contains("\nturnchat server"));
}

#[test]
fn the_manual_is_read_by_man_without_a_warning() {
    let started = Command::new("man")
        .args(["--warnings", "-l", "-"])
        .env("MANWIDTH", "80")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut man) = started else {
        eprintln!("man is not installed: the look of the manual page is not tested here");
        return;
    };
    man.stdin
        .take()
        .unwrap()
        .write_all(roff().as_bytes())
        .unwrap();
    let shown = man.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stderr), "");
    assert!(shown.status.success());
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
