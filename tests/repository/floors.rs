//! The house: a floor names only floors below it, and what it has no business
//! with stays out.

use std::path::{Path, PathBuf};

use super::imports::{Crate, circles, told};
use super::rust::{paths, tokens};
use super::{files, read, root};

/// From the bottom up; 1 and 2 do not know each other.
const FLOORS: [Floor; 4] = [
    Floor {
        name: "protocol",
        knows: &[],
        never: &[
            "std::io",
            "std::fs",
            "std::net",
            "std::process",
            "std::env",
            "std::thread",
            "tokio",
            "rustls",
            "tokio_rustls",
            "clap",
            "nix",
            "aws_lc_rs",
            "rcgen",
            "Instant::now",
            "SystemTime",
        ],
    },
    Floor {
        name: "trust",
        knows: &[],
        // Of nix only whose a file is, and how it is opened.
        never: &[
            "tokio",
            "tokio_rustls",
            "serde_json",
            "clap",
            "nix::sys",
            "nix::poll",
            "nix::libc",
        ],
    },
    Floor {
        name: "link",
        knows: &["protocol", "trust"],
        never: &[
            "clap",
            "nix",
            "anstream",
            "anstyle",
            "etcetera",
            "icu_properties",
        ],
    },
    Floor {
        name: "cli",
        knows: &["protocol", "trust", "link"],
        never: &["rcgen", "rustls_pemfile", "tokio_rustls", "webpki"],
    },
];

/// The one file of the link that may name sockets: a simulated network
/// carries all the others.
const WITH_SOCKETS: &str = "src/link/tcp.rs";
const SOCKETS: [&str; 7] = [
    "tokio::net",
    "std::os",
    "socket2",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
];

struct Floor {
    name: &'static str,
    knows: &'static [&'static str],
    never: &'static [&'static str],
}

/// The floor that a file is on: its first folder under `src`. `None` for the
/// crate's roots.
fn floor_of(file: &Path) -> Option<&'static Floor> {
    let mut folders = file.strip_prefix("src").unwrap().components();
    let first = folders.next().unwrap().as_os_str();
    folders.next()?;
    let floor = FLOORS.iter().find(|floor| first == floor.name);
    Some(floor.unwrap_or_else(|| panic!("{} is on no floor", file.display())))
}

/// Panics where the file names one of these.
fn names_none(file: &Path, forbidden: &[&str]) {
    for path in paths(&read(file)) {
        for forbidden in forbidden {
            let forbidden: Vec<_> = forbidden.split("::").collect();
            assert!(
                !path.windows(forbidden.len()).any(|part| part == forbidden),
                "{} names {}",
                file.display(),
                path.join("::"),
            );
        }
    }
}

#[test]
fn a_floor_names_only_floors_below_it() {
    for floor in &FLOORS {
        let above = FLOORS.iter().map(|other| other.name);
        let above = above.filter(|other| *other != floor.name && !floor.knows.contains(other));
        let above: Vec<_> = above.map(|other| format!("crate::{other}")).collect();
        let above: Vec<_> = above.iter().map(String::as_str).collect();
        for file in files(&format!("src/{}", floor.name), "rs") {
            names_none(&file, &above);
            // The ways around: by the crate's name, and up through its root.
            names_none(&file, &["turnchat", &to_the_root(&file)]);
        }
    }
}

#[test]
fn imports_run_one_way_between_files() {
    let sources = files("src", "rs").into_iter();
    let sources = sources.map(|file| {
        let text = read(&file);
        (file, text)
    });
    let edges = Crate::read(sources).edges();
    let circles: Vec<_> = circles(&edges).iter().map(|it| told(it, &edges)).collect();
    assert!(circles.is_empty(), "{}", circles.join(""));

    for (from, others) in &edges {
        let Some(floor) = floor_of(from) else {
            continue;
        };
        for to in others.keys() {
            let below = floor_of(to).map(|below| below.name);
            assert!(
                below.is_some_and(|it| it == floor.name || floor.knows.contains(&it)),
                "{} takes from {}, which is not below it",
                from.display(),
                to.display()
            );
        }
    }
}

/// As many `super` as lead from a file to the crate's root.
fn to_the_root(file: &Path) -> String {
    let inside = file.strip_prefix("src").unwrap().with_extension("");
    let module = match inside.ends_with("mod") {
        true => inside.parent().unwrap(),
        false => &inside,
    };
    vec!["super"; module.components().count()].join("::")
}

#[test]
fn the_root_is_as_far_as_a_file_is_deep() {
    for (file, way) in [
        ("src/cli/mod.rs", "super"),
        ("src/cli/args.rs", "super::super"),
        ("src/cli/speaker/mod.rs", "super::super"),
        ("src/cli/speaker/pipe.rs", "super::super::super"),
    ] {
        assert_eq!(to_the_root(Path::new(file)), way, "{file}");
    }
}

#[test]
fn a_floor_keeps_out_what_it_has_no_business_with() {
    for floor in &FLOORS {
        for file in files(&format!("src/{}", floor.name), "rs") {
            names_none(&file, floor.never);
        }
    }
}

#[test]
fn a_simulated_network_can_carry_the_link() {
    let mut without = files("src/link", "rs");
    without.retain(|file| file != Path::new(WITH_SOCKETS));
    for file in without {
        names_none(&file, &SOCKETS);
    }
    assert!(root().join(WITH_SOCKETS).exists());
}

/// A model checker can hold it, and play its time.
#[test]
fn the_session_is_pure() {
    let impure = [
        "tokio",
        "std::io",
        "std::fs",
        "std::net",
        "std::thread",
        "Instant",
        "SystemTime",
        "Mutex",
        "Arc",
    ];
    names_none(Path::new("src/link/session.rs"), &impure);
    for file in below("src/link/session") {
        names_none(&file, &impure);
    }
}

/// The files in a folder that are not tests.
fn below(folder: &str) -> Vec<PathBuf> {
    let mut files = files(folder, "rs");
    files.retain(|file| file.file_stem().is_some_and(|it| it != "tests"));
    assert!(!files.is_empty(), "{folder}");
    files
}

#[test]
fn admission_is_pure() {
    let impure = [
        "tokio",
        "std::io",
        "std::fs",
        "Instant",
        "SystemTime",
        "Mutex",
        "Arc",
    ];
    let files = ["admission.rs", "crowd.rs"];
    let files = files.map(|file| Path::new("src/link/server").join(file));
    for file in files.into_iter().chain(below("src/link/server/admission")) {
        names_none(&file, &impure);
    }
}

#[test]
fn the_judge_of_guesses_is_pure() {
    let impure = [
        "tokio",
        "std::io",
        "std::fs",
        "Instant::now",
        "SystemTime",
        "Mutex",
        "Arc",
    ];
    names_none(Path::new("src/link/pairing/guesses.rs"), &impure);
}

#[test]
fn every_file_is_on_a_floor_and_the_map_shows_it() {
    let map = read("src/lib.rs");
    for file in files("src", "rs") {
        let is_root = ["src/lib.rs", "src/main.rs", "src/internals.rs"]
            .iter()
            .any(|it| file == Path::new(it));
        assert_eq!(floor_of(&file).is_none(), is_root, "{}", file.display());
    }
    for floor in &FLOORS {
        assert!(
            map.contains(&format!("//! {}/", floor.name)),
            "the map lacks {}",
            floor.name
        );
    }
}

#[test]
fn the_dangerous_door_is_one() {
    let opened: usize = files("src", "rs")
        .iter()
        .map(|file| read(file).matches("dangerous").count())
        .sum();
    assert_eq!(opened, 1);
}

#[test]
fn nothing_is_unsafe() {
    for file in tracked_rust() {
        let tokens = tokens(&read(&file));
        assert!(
            !tokens.iter().any(|token| token == "unsafe"),
            "{}",
            file.display()
        );
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
}

fn tracked_rust() -> Vec<PathBuf> {
    let directories = ["src", "tests", "examples", "benches"];
    directories
        .iter()
        .flat_map(|directory| files(directory, "rs"))
        .collect()
}

#[test]
fn one_file_reads_pem() {
    let mut readers = files("src", "rs");
    readers.retain(|file| read(file).contains("rustls_pemfile"));
    assert_eq!(readers, [Path::new("src/trust/pem.rs")]);
}

/// So that `--proxy` holds for each connection of a client.
#[test]
fn one_file_of_the_program_dials() {
    let dials = [
        "tcp::dial",
        "tcp::dialer",
        "socks::dial",
        "socks::dialer",
        "TcpStream",
    ];
    let mut diallers = files("src/cli", "rs");
    diallers.retain(|file| {
        let forbidden = dials.map(|path| path.split("::").collect::<Vec<_>>());
        paths(&read(file)).iter().any(|path| {
            let names = |dial: &Vec<&str>| path.windows(dial.len()).any(|part| part == *dial);
            forbidden.iter().any(names)
        })
    });
    assert_eq!(diallers, [Path::new("src/cli/route.rs")]);
}

#[test]
fn main_only_maps() {
    assert!(read("src/main.rs").lines().count() < 80);
}

#[test]
fn a_library_user_gets_no_terminal() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--no-default-features"])
        .args(["--edges", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("\nrustls "), "{tree}");
    for program_only in [
        "clap",
        "tokio-socks",
        "rustyline",
        "anstream",
        "anstyle",
        "terminal_size",
        "unicode-width",
        "icu_properties",
        "etcetera",
        "humantime",
        "ring",
    ] {
        let named = format!("{program_only} v");
        assert!(
            !tree.lines().any(|line| line.starts_with(&named)),
            "{program_only}"
        );
    }
}
