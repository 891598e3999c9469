//! The rules of docs/PROTOCOL.md and docs/PAIRING.md: their numbers, and who cites them.

use std::collections::BTreeSet;

use super::{files, read};

/// The number that stands here, as in `4.12`: its section, and itself.
fn number(text: &str) -> Option<(u32, u32)> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (section, rule) = text.get(..end)?.trim_end_matches('.').split_once('.')?;
    Some((section.parse().ok()?, rule.parse().ok()?))
}

/// The rules of the page in the order in which they stand there.
fn rules(page: &str) -> Vec<(u32, u32)> {
    let lines = page
        .lines()
        .map(|line| line.strip_prefix("- ").unwrap_or(line));
    lines
        .filter_map(|line| number(line.strip_prefix("**")?))
        .collect()
}

/// The numbers behind each `word`, where there are several with commas and an `and`.
fn cited(text: &str, word: &str) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(word) {
        let behind = &text[at + word.len()..];
        let words = behind.split(' ').filter(|word| *word != "and");
        for word in words {
            let Some(number) = number(word) else {
                break;
            };
            found.push(number);
            if word.contains([')', ':', ';']) {
                break;
            }
        }
    }
    found
}

/// A source as one line, so that a citation may run over the end of one.
fn joined(source: &str) -> String {
    let lines = source.lines().map(|line| {
        let line = line.trim_start();
        line.trim_start_matches(['/', '!']).trim_start()
    });
    lines.collect::<Vec<_>>().join(" ")
}

/// A page of rules, and how they are cited. The names are put together, so that these lines are
/// no citations.
const PAGES: [(&str, &str); 2] = [
    ("docs/PROTOCOL.md", concat!("PROTOCOL", " ")),
    ("docs/PAIRING.md", concat!("PAIRING", " ")),
];

#[test]
fn the_rules_are_numbered_in_order_in_each_section() {
    for (path, sections) in [("docs/PROTOCOL.md", 1..=5), ("docs/PAIRING.md", 1..=7)] {
        let page = read(path);
        let mut last = (0, 0);
        let mut numbered = BTreeSet::new();
        for line in page.lines() {
            let heading = line.strip_prefix("## ").and_then(|it| it.split_once(". "));
            if let Some(section) = heading.and_then(|(number, _)| number.parse().ok()) {
                last = (section, 0);
            }
            for rule in rules(line) {
                assert_eq!(rule, (last.0, last.1 + 1), "{path}: {line}");
                last = rule;
                numbered.insert(rule.0);
            }
        }
        assert_eq!(numbered, sections.collect(), "{path}");
    }
}

#[test]
fn the_rules_that_are_cited_are_there() {
    for (path, word) in PAGES {
        let page = read(path);
        let rules: BTreeSet<_> = rules(&page).into_iter().collect();
        for rule in cited(&page, "(") {
            assert!(rules.contains(&rule), "{path} cites {rule:?}");
        }
        let mut citations = 0;
        let sources = ["src", "tests"].map(|directory| files(directory, "rs"));
        let pages = PAGES.map(|(path, _)| path.into());
        for from in sources.into_iter().flatten().chain(pages) {
            for rule in cited(&joined(&read(&from)), word) {
                let from = from.display();
                assert!(rules.contains(&rule), "{from} cites {word}{rule:?}");
                citations += 1;
            }
        }
        assert!(citations > 5, "{path}: {citations}");
    }
}

#[test]
fn citations_are_found_wherever_they_stand() {
    let source = "/// One (PROTO 4.12, 4.13 and 4.14).\n    //! Two: PROTO\n    //! 3.1; 3.9";
    let found = cited(&joined(source), "PROTO ");
    assert_eq!(found, [(4, 12), (4, 13), (4, 14), (3, 1)]);
    assert_eq!(cited("(PROTO §4) PROTO says 1.5", "PROTO "), []);
}
