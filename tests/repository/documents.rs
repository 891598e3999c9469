//! What the documents say, compared with what is so.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use turnchat::cli::report::Exit;

use super::readme::block;
use super::rust::{definition, has_function, tokens};
use super::{files, read, root, tracked};

#[test]
fn relative_links_lead_somewhere() {
    for page in files("", "md") {
        let text = read(&page);
        for (at, sign) in text.match_indices("](") {
            let target = text[at + sign.len()..]
                .split(')')
                .next()
                .unwrap_or_default();
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let directory = page.parent().unwrap_or(Path::new(""));
            let file = match file.is_empty() {
                true => page.clone(),
                false => directory.join(file),
            };
            assert!(root().join(&file).exists(), "{}: {target}", page.display());
            let is_there = anchor.is_empty() || anchors(&read(&file)).contains(anchor);
            assert!(is_there, "{}: {target}", page.display());
        }
    }
}

/// What links within a page can lead to: its headings, in small letters and without punctuation.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let stays = |sign: &char| sign.is_alphanumeric() || [' ', '-', '_'].contains(sign);
        let anchor: String = heading.chars().filter(stays).collect();
        anchor.replace(' ', "-")
    });
    anchors.collect()
}

/// The value of a member of Cargo.toml's `[package]`.
fn package(member: &str) -> String {
    let manifest = read("Cargo.toml");
    let mut lines = manifest
        .lines()
        .filter_map(|line| line.strip_prefix(member));
    let value = lines.find_map(|line| line.trim_start().strip_prefix('='));
    let value = value.and_then(|value| value.split('"').nth(1));
    value
        .unwrap_or_else(|| panic!("Cargo.toml has no {member}"))
        .to_owned()
}

#[test]
fn the_language_version_is_stated_once() {
    let version = package("rust-version");
    for path in tracked() {
        let is_document = path.extension().is_none_or(|it| it == "md" || it == "toml");
        if !is_document || path.ends_with("Cargo.toml") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue;
        };
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        let stated = numbers
            .map(|it| it.trim_end_matches('.'))
            .any(|it| it == version);
        assert!(!stated, "{} states {version}", path.display());
    }
    let top = read("README.md");
    let top = top.split("\n## ").next().unwrap_or_default();
    for word in ["[Cargo.toml](Cargo.toml)", "`edition`", "`rust-version`"] {
        assert!(top.contains(word), "{word} at the top of the README");
    }
    let edition = format!("edition = \"{}\"", package("edition"));
    assert!(
        read("rustfmt.toml").contains(&edition),
        "rustfmt.toml has another edition"
    );
}

#[test]
fn the_readme_names_the_gate_that_ci_runs() {
    let readme = read("README.md");
    for command in ["`scripts/demo`", "`scripts/check`", "`cargo test --locked`"] {
        assert!(readme.contains(command), "{command}");
    }
    assert!(read(".ci/run").lines().any(|line| line == "scripts/check"));
    let check = read("scripts/check");
    for command in ["cargo test --locked", "scripts/demo"] {
        assert!(
            check.lines().any(|line| line == format!("step {command}")),
            "{command}"
        );
    }
}

/// Every one, by a match that does not compile when one is missing.
fn exits() -> BTreeSet<String> {
    let mut next = Some(Exit::Success);
    let mut codes = BTreeSet::new();
    while let Some(exit) = next {
        codes.insert(exit.code().to_string());
        next = match exit {
            Exit::Success => Some(Exit::Failure),
            Exit::Failure => Some(Exit::Usage),
            Exit::Usage => Some(Exit::Trust),
            Exit::Trust => Some(Exit::Link),
            Exit::Link => Some(Exit::Protocol),
            Exit::Protocol => Some(Exit::Busy),
            Exit::Busy => Some(Exit::Interrupted),
            Exit::Interrupted => Some(Exit::Terminated),
            Exit::Terminated => Some(Exit::HungUp),
            Exit::HungUp => None,
        };
    }
    codes
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let readme = read("README.md");
    let section = readme.split("### Exit codes").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let codes = rows.filter_map(|row| row.split(' ').next());
    let codes = codes.filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(codes.map(str::to_owned).collect::<BTreeSet<_>>(), exits());

    let help = help(&[]);
    let (_, shown) = help.split_once("Exit codes: ").unwrap();
    let codes = shown
        .split(',')
        .filter_map(|part| part.split_whitespace().next());
    assert_eq!(codes.map(str::to_owned).collect::<BTreeSet<_>>(), exits());
}

fn help(command: &[&str]) -> String {
    let asked = Command::new(env!("CARGO_BIN_EXE_turnchat"))
        .args(command)
        .arg("--help")
        .output();
    let asked = asked.unwrap();
    assert!(asked.status.success(), "{command:?}");
    String::from_utf8(asked.stdout).unwrap()
}

/// The long options in a text.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c| !is_part(c));
    let options = words.filter(|word| word.starts_with("--") && word.len() > 2);
    options.map(str::to_owned).collect()
}

/// The options that the help of a command lists.
fn listed(help: &str) -> BTreeSet<String> {
    let starts = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'));
    let mut listed = starts.flat_map(options).collect::<BTreeSet<_>>();
    listed.retain(|option| !["--help", "--version"].contains(&option.as_str()));
    listed
}

#[test]
fn the_table_of_commands_is_the_programs_help() {
    let readme = read("README.md");
    let table = block(&readme, "text commands");
    let everywhere = shared(&table, "everywhere");
    assert_eq!(listed(&help(&[])), everywhere);

    let commands = [
        "gen-cert",
        "server",
        "client",
        "fingerprint",
        "peers",
        "conversations",
        "completions",
        "man",
    ];
    for command in commands {
        let mut expected = everywhere.clone();
        expected.extend(options(&row(&table, command)));
        expected.extend(shared(&table, command));
        let mut found = listed(&help(&[command]));
        let verbs: &[&str] = match command {
            "peers" => &["list", "add", "remove", "rename"],
            "conversations" => &["list", "end"],
            _ => &[],
        };
        for verb in verbs {
            assert!(row(&table, command).contains(verb), "{verb}");
            found.extend(listed(&help(&[command, verb])));
        }
        assert_eq!(found, expected, "{command}");
    }
    let shown = help(&[]);
    let shown = shown.split("Commands:\n").nth(1).unwrap();
    let shown = shown.split("\n\n").next().unwrap_or_default();
    let shown = shown
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let shown = shown.filter(|command| *command != "help");
    assert_eq!(shown.collect::<Vec<_>>(), commands);
}

/// What the table says behind `turnchat COMMAND`.
fn row(table: &str, command: &str) -> String {
    let start = format!("turnchat {command} ");
    let mut lines = table.lines().skip_while(|line| !line.starts_with(&start));
    let first = lines
        .next()
        .unwrap_or_else(|| panic!("no {command} in the table"));
    let rest = lines.take_while(|line| line.starts_with(' '));
    std::iter::once(first)
        .chain(rest)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The options in the rows for several commands, of which this is one.
fn shared(table: &str, command: &str) -> BTreeSet<String> {
    let rows = table.lines().filter_map(|line| line.split_once(":  "));
    let rows = rows.filter(|(commands, _)| commands.split(", ").any(|it| it == command));
    rows.flat_map(|(_, row)| options(row)).collect()
}

#[test]
fn a_way_of_the_tour_comes_into_each_file_once() {
    let tour = read("docs/TOUR.md");
    let mut entered = BTreeSet::new();
    let mut ways = 0;
    for row in tour.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, number, file, functions, ..] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        if number == 1 {
            entered.clear();
            ways += 1;
        }
        let file = file.trim_matches('`');
        assert!(entered.insert(file), "twice on one way: {row}");
        assert_eq!(number, entered.len(), "{row}");

        let tokens = tokens(&read(Path::new("src").join(file)));
        for function in functions.split(", ").map(|it| it.trim_matches('`')) {
            let is_there = match function.split_once("::") {
                Some((owner, name)) => has_function(&tokens, owner, name),
                None => tokens.windows(2).any(|pair| pair == ["fn", function]),
            };
            assert!(is_there, "{function}: {row}");
        }
    }
    assert!(ways > 1);
}

#[test]
fn the_tour_names_what_is_there() {
    let tour = read("docs/TOUR.md");
    let sources = files("src", "rs").into_iter();
    let sources = sources.map(|file| (tokens(&read(&file)), file));
    let sources: Vec<_> = sources.collect();
    let code = tour.split("```").step_by(2);
    let code = code.flat_map(|text| text.split('`').skip(1).step_by(2));
    for name in code {
        let Some((owner, member)) = name.split_once("::") else {
            continue;
        };
        let is_there = sources.iter().any(|(tokens, file)| {
            let is_function = match file.file_stem().is_some_and(|it| it == owner) {
                true => tokens.windows(2).any(|pair| pair == ["fn", member]),
                false => has_function(tokens, owner, member),
            };
            // Or a field, or a variant.
            let definition = definition(tokens, owner).unwrap_or_default();
            is_function || definition.iter().any(|token| token == member)
        });
        assert!(is_there, "{name}");
    }

    let words = tour
        .split('`')
        .filter(|word| word.ends_with(".rs") && word.contains('/'));
    for file in words {
        let below = if file.starts_with("tests/") {
            ""
        } else {
            "src"
        };
        assert!(root().join(below).join(file).exists(), "{file}");
    }
}

#[test]
fn every_trace_has_its_test() {
    let page = read("docs/RELIABILITY.md");
    let section = page.split("\n## The traces\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = 0;
    for row in section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let tests = row.split(" | ").nth(1).unwrap_or_default();
        let mut words = tests.split('`').skip(1).step_by(2);
        let source = read(words.next().unwrap_or_default());
        let names: Vec<_> = words.collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(source.contains(&format!("fn {name}()")), "{row}");
        }
        rows += 1;
    }
    assert!(rows > 15);
}
