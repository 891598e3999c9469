//! The picture of who owns what in docs/TOUR.md, compared with the sources. Each line's
//! file defines its type. The definition of its owner names it, and the imports of the
//! owner's file lead from that name to the line's file.
//!
//! Two owners have no such field: a trait has the type that implements it, and a generic
//! type has what it is used with, `Owner<Owned>`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::imports::{Crate, Edges};
use super::readme::blocks;
use super::rust::{definition, tokens};
use super::{files, read};

/// What one more level is drawn with.
const BRANCHES: [&str; 4] = ["├── ", "└── ", "│   ", "    "];
const COLUMNS: usize = 80;

#[derive(Clone)]
struct Type {
    name: String,
    file: PathBuf,
}

/// A line of the picture.
struct Line {
    owner: Option<Type>,
    owned: Type,
}

/// Reads the picture; `Err` is a line that is none.
fn lines(picture: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut above: Vec<Type> = Vec::new();
    for line in picture.lines().filter(|line| !line.is_empty()) {
        let (mut rest, mut depth) = (line, 0);
        while let Some(behind) = BRANCHES.iter().find_map(|it| rest.strip_prefix(it)) {
            (rest, depth) = (behind, depth + 1);
        }
        let mut words = rest.split_whitespace();
        let (Some(name), Some(file)) = (words.next(), words.next()) else {
            return Err(line.to_owned());
        };
        if depth > above.len() || line.chars().count() > COLUMNS {
            return Err(line.to_owned());
        }
        above.truncate(depth);
        let owned = Type {
            name: name.to_owned(),
            file: Path::new("src").join(file),
        };
        let owner = above.last().cloned();
        above.push(owned.clone());
        lines.push(Line { owner, owned });
    }
    Ok(lines)
}

/// What the picture is compared with.
struct Sources {
    tokens: BTreeMap<PathBuf, Vec<String>>,
    edges: Edges,
}

impl Sources {
    fn read(files: Vec<(PathBuf, String)>) -> Self {
        let read = files.iter();
        let read = read.map(|(file, text)| (file.clone(), tokens(text)));
        Self {
            tokens: read.collect(),
            edges: Crate::read(files).edges(),
        }
    }

    fn definition(&self, of: &Type) -> Option<&[String]> {
        definition(self.tokens.get(&of.file)?, &of.name)
    }

    /// Whether a file means this type where it says its name.
    fn knows(&self, file: &Path, it: &Type) -> bool {
        let taken = self.edges.get(file).and_then(|from| from.get(&it.file));
        file == it.file || taken.is_some_and(|names| names.contains(&it.name))
    }

    /// Whether one of the files that know both has these tokens.
    fn says(&self, owner: &Type, owned: &Type, phrase: [&str; 3]) -> bool {
        self.tokens.iter().any(|(file, tokens)| {
            tokens.windows(3).any(|three| three == phrase)
                && self.knows(file, owner)
                && self.knows(file, owned)
        })
    }

    fn owns(&self, owner: &Type, owned: &Type) -> bool {
        let definition = self.definition(owner).unwrap_or_default();
        let has_field = definition.contains(&owned.name) && self.knows(&owner.file, owned);
        has_field
            || self.says(owner, owned, [&owner.name, "for", &owned.name])
            || self.says(owner, owned, [&owner.name, "<", &owned.name])
    }

    /// Every line that is not so, in words.
    fn untrue(&self, lines: &[Line]) -> Vec<String> {
        let faults = lines.iter().filter_map(|Line { owner, owned }| {
            let Type { name, file } = owned;
            if self.definition(owned).is_none() {
                return Some(format!("{} does not define {name}", file.display()));
            }
            let owner = owner.as_ref()?;
            let is_owned = self.owns(owner, owned);
            (!is_owned).then(|| format!("{} does not own {name}", owner.name))
        });
        faults.collect()
    }
}

#[test]
fn the_picture_shows_who_owns_what() {
    let pictures = blocks(&read("docs/TOUR.md"), "text owners");
    let lines = lines(&pictures.join("\n")).unwrap();
    let shown = |name: &str| lines.iter().any(|line| line.owned.name == name);
    for name in ["Server", "Hub", "Client", "Talk", "Driver", "Session"] {
        assert!(shown(name), "{name}");
    }
    let sources = files("src", "rs").into_iter();
    let sources = sources.map(|file| {
        let text = read(&file);
        (file, text)
    });
    let untrue = Sources::read(sources.collect()).untrue(&lines);
    assert!(untrue.is_empty(), "{}", untrue.join("\n"));
}

#[test]
fn a_line_that_is_not_so_is_found() {
    let sources = [
        ("src/lib.rs", "mod a; mod b; mod c;"),
        (
            "src/a.rs",
            "use crate::b::{B, Face}; use crate::c; pub struct A(Vec<B>); pub struct Box<T>(T);
             enum E { A(A), Face(Face) } fn f(_: &c::C) {} fn g() -> Box<B> {}",
        ),
        (
            "src/b.rs",
            "pub struct B { c: u8 } pub trait Face {} impl Face for B {}",
        ),
        ("src/c.rs", "pub struct C; pub struct B; type Alias = C;"),
    ];
    let sources = sources.map(|(file, text)| (PathBuf::from(file), text.to_owned()));
    let sources = Sources::read(sources.into());
    for (picture, expected) in [
        ("A a.rs\n└── B b.rs  said of it", None),
        ("E a.rs\n├── A a.rs\n│   └── B b.rs\n└── Face b.rs", None),
        ("Face b.rs\n└── B b.rs", None),
        ("Box a.rs\n└── B b.rs", None),
        ("Alias c.rs\n└── C c.rs", None),
        ("A a.rs\n\nB b.rs", None),
        ("A b.rs", Some("src/b.rs does not define A")),
        ("A d.rs", Some("src/d.rs does not define A")),
        ("A a.rs\n└── C c.rs", Some("A does not own C")),
        ("A a.rs\n└── B c.rs", Some("A does not own B")),
        ("B b.rs\n└── A a.rs", Some("B does not own A")),
        ("Box a.rs\n└── C c.rs", Some("Box does not own C")),
        ("E a.rs\n└── A a.rs\n└── B b.rs", Some("E does not own B")),
    ] {
        let untrue = sources.untrue(&lines(picture).unwrap_or_default());
        assert_eq!(untrue.join(", "), expected.unwrap_or_default(), "{picture}");
    }
}

#[test]
fn what_is_no_line_is_no_picture() {
    let wide = format!("A a.rs {}", "x".repeat(COLUMNS));
    for picture in ["A", "A a.rs\n│   └── B b.rs", &wide] {
        assert!(lines(picture).is_err(), "{picture}");
    }
}
