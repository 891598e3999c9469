//! The house: a floor names only floors below it, and what it has no business
//! with stays out.

use std::path::Path;

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
        never: &["tokio", "tokio_rustls", "serde_json", "clap", "nix"],
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

/// So that a simulated network can carry them.
const WITHOUT_SOCKETS: [&str; 6] = [
    "client",
    "server/mod",
    "server/hub",
    "server/connection",
    "session",
    "wire",
];
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
            // The ways around: from a file, and from the floor's own `mod.rs`.
            names_none(&file, &["super::super", "turnchat"]);
            if file.ends_with("mod.rs") {
                names_none(&file, &["super"]);
            }
        }
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
    for name in WITHOUT_SOCKETS {
        names_none(Path::new(&format!("src/link/{name}.rs")), &SOCKETS);
    }
}

#[test]
fn every_file_is_on_a_floor_and_the_map_shows_it() {
    let map = read("src/lib.rs");
    for file in files("src", "rs") {
        let inside = file.strip_prefix("src").unwrap();
        let floor = inside.iter().next().and_then(|it| it.to_str()).unwrap();
        let is_floor = FLOORS.iter().any(|it| it.name == floor);
        let is_root = ["lib.rs", "main.rs"]
            .iter()
            .any(|it| inside == Path::new(it));
        assert!(is_floor || is_root, "{} is on no floor", file.display());
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

fn tracked_rust() -> Vec<std::path::PathBuf> {
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
        "nix",
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
