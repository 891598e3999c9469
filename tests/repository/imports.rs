//! Which file takes which name from which other, by reading the sources: the
//! paths of `use` and those that stand in the code, followed through modules,
//! imported names and re-exports to the file that defines what they name.
//!
//! A `mod child;` and a `pub use` of one's own child are no import: a parent
//! presents its children. Naming the child in the code is one. Tests are not
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::rust::{Import, paths_of, split_imports, tokens};

/// A module's path below the crate's root, which is empty.
type Module = Vec<String>;

/// What every file takes from others: by the file, by the other, the names.
pub(crate) type Edges = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// Where a path leads.
enum Target {
    /// To a module, and no name in it.
    Module(Module),
    /// To a name that a file defines.
    Item(String, PathBuf),
}

struct Source {
    file: PathBuf,
    imports: Vec<Import>,
    /// The paths outside of `use`.
    named: Vec<Vec<String>>,
    tokens: Vec<String>,
}

/// The modules of a crate.
pub(crate) struct Crate {
    sources: BTreeMap<Module, Source>,
}

impl Crate {
    /// Reads a crate from its files below `src`, each with its text.
    pub(crate) fn read(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let mut sources = BTreeMap::new();
        for (file, text) in files {
            let Some(module) = module_of(&file) else {
                continue;
            };
            let tokens = tokens(&text);
            let is_inline = |part: &[String]| part[0] == "mod" && part[2] == "{";
            assert!(
                !tokens.windows(3).any(is_inline),
                "{} has a module in the file, which is not followed here",
                file.display()
            );
            let (imports, code) = split_imports(&tokens);
            let source = Source {
                file,
                imports,
                named: paths_of(&code),
                tokens,
            };
            sources.insert(module, source);
        }
        Self { sources }
    }

    /// What every file takes from others.
    pub(crate) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (module, source) in &self.sources {
            for (name, file) in self.taken(module, source) {
                if file != source.file {
                    let from = edges.entry(source.file.clone()).or_default();
                    from.entry(file).or_default().insert(name);
                }
            }
        }
        edges
    }

    /// The names that a file takes, each with the file that defines it.
    fn taken(&self, module: &Module, source: &Source) -> Vec<(String, PathBuf)> {
        let mut taken = Vec::new();
        for import in &source.imports {
            let is_presented = import.is_public && self.is_below(module, &import.path);
            if !is_presented {
                taken.extend(self.file_of(module, &import.path, import.is_glob));
            }
        }
        for path in &source.named {
            // One name alone counts where a `pub use` has brought it.
            let is_brought = |import: &Import| import.is_public && import.name == path[0];
            if path.len() > 1 || source.imports.iter().any(is_brought) {
                taken.extend(self.file_of(module, path, false));
            }
        }
        taken
    }

    /// Whether a path leads through a child of the module.
    fn is_below(&self, module: &Module, path: &[String]) -> bool {
        let whole = [&["crate".to_owned()], module.as_slice()].concat();
        let own = path.strip_prefix(whole.as_slice());
        let own = own.or(path.strip_prefix(&["self".to_owned()]));
        let first = own.unwrap_or(path).first();
        first.is_some_and(|first| self.child(module, first).is_some())
    }

    fn child(&self, module: &Module, name: &str) -> Option<Module> {
        let child = [module.as_slice(), &[name.to_owned()]].concat();
        self.sources.contains_key(&child).then_some(child)
    }

    /// What a path names, and the file that defines it.
    fn file_of(&self, at: &Module, path: &[String], is_glob: bool) -> Option<(String, PathBuf)> {
        let module = match self.resolve(at, path, 0)? {
            Target::Item(name, file) => return Some((name, file)),
            Target::Module(module) => module,
        };
        // A folder's name alone takes nothing: what is named in it counts.
        let file = &self.sources.get(&module)?.file;
        let is_folder = file.ends_with("mod.rs") || file.ends_with("lib.rs");
        match is_folder && !is_glob {
            true => None,
            false => Some((module.last().cloned().unwrap_or_default(), file.clone())),
        }
    }

    fn item(&self, module: &Module, name: &str) -> Option<Target> {
        let source = self.sources.get(module)?;
        Some(Target::Item(name.to_owned(), source.file.clone()))
    }

    /// Follows a path that stands in `module`; `None` if it leads out of the crate.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Target> {
        assert!(depth < 32, "{} leads to itself", path.join("::"));
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => module.clone(),
            "super" => parent(module)?,
            name => match self.child(module, name) {
                Some(child) => child,
                None => match self.imported(module, name, depth)? {
                    Target::Module(module) => module,
                    item @ Target::Item(..) => return Some(item),
                },
            },
        };
        while let Some((name, behind)) = rest.split_first() {
            rest = behind;
            at = match name.as_str() {
                "self" => at,
                "super" => parent(&at)?,
                name => match self.child(&at, name) {
                    Some(child) => child,
                    None => match self.imported(&at, name, depth) {
                        Some(Target::Module(module)) => module,
                        Some(item) => return Some(item),
                        None => return self.item(&at, name),
                    },
                },
            };
        }
        Some(Target::Module(at))
    }

    /// What a `use` in `module` makes of a name.
    fn imported(&self, module: &Module, name: &str, depth: usize) -> Option<Target> {
        let source = self.sources.get(module)?;
        let (globs, named): (Vec<_>, Vec<_>) = source.imports.iter().partition(|it| it.is_glob);
        if let Some(import) = named.iter().find(|import| import.name == name) {
            // `use name;` of another crate's, or of a name beside it.
            let is_itself = import.path.first().is_some_and(|first| first == name);
            return match is_itself {
                true => None,
                false => self.resolve(module, &import.path, depth + 1),
            };
        }
        globs.iter().find_map(|glob| {
            let Target::Module(from) = self.resolve(module, &glob.path, depth + 1)? else {
                return None;
            };
            if let Some(child) = self.child(&from, name) {
                return Some(Target::Module(child));
            }
            let source = self.sources.get(&from)?;
            match defines(&source.tokens, name) {
                true => self.item(&from, name),
                false => self.imported(&from, name, depth + 1),
            }
        })
    }
}

/// The module that a file is; `None` for tests and for the program's root,
/// which nothing imports.
fn module_of(file: &Path) -> Option<Module> {
    let inside = file.strip_prefix("src").ok()?.with_extension("");
    let mut module: Module = inside
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    match module.last()?.as_str() {
        "tests" | "main" => return None,
        "mod" | "lib" => _ = module.pop(),
        _ => {}
    }
    Some(module)
}

fn parent(module: &Module) -> Option<Module> {
    let (_, parent) = module.split_last()?;
    Some(parent.to_vec())
}

fn defines(tokens: &[String], name: &str) -> bool {
    let keywords = [
        "struct", "enum", "union", "trait", "type", "fn", "const", "static",
    ];
    let is_definition = |pair: &[String]| pair[1] == name && keywords.contains(&pair[0].as_str());
    tokens.windows(2).any(is_definition)
}

/// The circles: every set of files each of which leads to every other.
pub(crate) fn circles(edges: &Edges) -> Vec<BTreeSet<PathBuf>> {
    let reach: BTreeMap<_, _> = edges
        .keys()
        .map(|file| (file, reached(edges, file)))
        .collect();
    let mut circles = Vec::new();
    for (file, reached) in &reach {
        let circle: BTreeSet<_> = reached
            .iter()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(*file)))
            .cloned()
            .collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// The files that a file leads to, over others too.
fn reached(edges: &Edges, from: &Path) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        for other in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(other.clone()) {
                next.push(other);
            }
        }
    }
    reached
}

/// A circle in words: what each of its files takes from which other.
pub(crate) fn told(circle: &BTreeSet<PathBuf>, edges: &Edges) -> String {
    let mut told = String::from("a circle of imports:\n");
    for from in circle {
        for (to, names) in edges.get(from).into_iter().flatten() {
            if circle.contains(to) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                told += &format!(
                    "  {} takes {} from {}\n",
                    from.display(),
                    names.join(", "),
                    to.display()
                );
            }
        }
    }
    told
}

/// The edges of a crate of these files, each as `from -> to: names`.
fn shown(files: &[(&str, &str)]) -> Vec<String> {
    let files = files
        .iter()
        .map(|(file, text)| (PathBuf::from(file), (*text).to_owned()));
    let edges = Crate::read(files).edges();
    let lines = edges.iter().flat_map(|(from, to)| {
        to.iter().map(move |(to, names)| {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let (from, to) = (from.display(), to.display());
            format!("{from} -> {to}: {}", names.join(" "))
        })
    });
    lines.collect()
}

#[test]
fn an_import_leads_to_the_file_that_defines_the_name() {
    for (import, expected) in [
        ("use crate::a::Deep;", "src/a/x.rs: Deep"),
        ("use crate::a::x::Deep as D;", "src/a/x.rs: Deep"),
        ("use crate::a::{self, Own};", "src/a/mod.rs: Own"),
        ("use crate::a; fn f() { a::own() }", "src/a/mod.rs: own"),
        ("use crate::a; type T = a::Deep;", "src/a/x.rs: Deep"),
        ("use crate::a::x; fn f() { x::f() }", "src/a/x.rs: f x"),
        ("use super::a::Globbed;", "src/a/y.rs: Globbed"),
        ("fn f() { crate::a::Deep::new() }", "src/a/x.rs: Deep"),
        ("pub use crate::a::Deep;", "src/a/x.rs: Deep"),
        (
            "fn f() { use self::super::a::x::Deep; }",
            "src/a/x.rs: Deep",
        ),
        ("fn f() { let d = super::a::x::DEEP; }", "src/a/x.rs: DEEP"),
    ] {
        let found = shown(&[
            ("src/lib.rs", "pub mod a; pub mod b;"),
            (
                "src/a/mod.rs",
                "mod x; mod y; pub use x::Deep; pub use y::*; pub struct Own;",
            ),
            ("src/a/x.rs", "pub struct Deep;"),
            ("src/a/y.rs", "pub struct Globbed;"),
            ("src/b.rs", import),
        ]);
        assert_eq!(found, [format!("src/b.rs -> {expected}")], "{import}");
    }
}

#[test]
fn what_is_no_import_makes_no_edge() {
    for text in [
        "use std::fs; fn f() { fs::read() }",
        "//! crate::a::Deep",
        "const TEXT: &str = \"crate::a::Deep\";",
        "pub(super) fn f() {}",
        "use crate::a;",
        "#[cfg(test)] mod tests { use crate::a::Deep; }",
        "#[cfg(test)] use crate::a::Deep; fn f() {}",
    ] {
        let found = shown(&[
            ("src/lib.rs", "pub mod a; pub mod b;"),
            ("src/a/mod.rs", "mod x; pub use x::Deep;"),
            ("src/a/x.rs", "pub struct Deep;"),
            ("src/a/x/tests.rs", "use super::*; use crate::b;"),
            ("src/b.rs", text),
            ("src/main.rs", "use turnchat::a;"),
        ]);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

#[test]
fn code_behind_a_test_is_read() {
    let found = shown(&[
        (
            "src/a.rs",
            "#[cfg(test)] fn t() { f(1, 2) } use crate::b::B;",
        ),
        ("src/b.rs", "pub struct B;"),
    ]);
    assert_eq!(found, ["src/a.rs -> src/b.rs: B"]);
}

#[test]
fn a_parent_that_uses_its_child_is_in_a_circle_with_a_child_that_uses_it() {
    for (parent, is_circle) in [
        ("mod child; pub use child::C; pub struct Own;", false),
        ("mod child; pub use self::child::C; pub struct Own;", false),
        (
            "mod child; pub use crate::a::child::C; pub struct Own;",
            false,
        ),
        ("mod child; pub use child::child; pub struct Own;", false),
        ("mod child; use child::C; pub struct Own(C);", true),
        ("mod child; pub struct Own(child::C);", true),
        ("mod child; pub use child::C; pub struct Own(C);", true),
    ] {
        let files = [
            ("src/a/mod.rs", parent),
            ("src/a/child.rs", "use super::Own; pub struct C(Box<Own>);"),
        ];
        let files = files.map(|(file, text)| (PathBuf::from(file), text.to_owned()));
        let edges = Crate::read(files).edges();
        assert_eq!(!circles(&edges).is_empty(), is_circle, "{parent}");
    }
}

#[test]
fn a_circle_of_three_is_told_with_its_names() {
    let files = [
        ("src/a.rs", "use crate::b::B; pub struct A;"),
        ("src/b.rs", "fn f() { crate::c::c() }"),
        ("src/c.rs", "use super::{a::A, d}; use d::D;"),
        ("src/d.rs", "pub struct D;"),
    ];
    let files = files.map(|(file, text)| (PathBuf::from(file), text.to_owned()));
    let edges = Crate::read(files).edges();
    let told: Vec<_> = circles(&edges).iter().map(|it| told(it, &edges)).collect();
    let expected = "a circle of imports:
  src/a.rs takes B from src/b.rs
  src/b.rs takes c from src/c.rs
  src/c.rs takes A from src/a.rs
";
    assert_eq!(told, [expected]);
}
