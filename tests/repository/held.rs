//! What no tracked file may hold.

use std::path::{Path, PathBuf};
use std::{fs, str};

use super::{root, tracked};

/// Hosts that a text may point to. None of them is where packages come from.
const HOSTS: [&str; 9] = [
    "github.com",
    "keepachangelog.com",
    "semver.org",
    "www.apache.org",
    "docs.rs",
    "www.rfc-editor.org",
    "www.unicode.org",
    "json-schema.org",
    // The namespace of SVG.
    "www.w3.org",
];

/// Where packages come from, as a lock file says it that was made with no
/// mirror in between.
const DEFAULT_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every tracked text.
fn texts() -> impl Iterator<Item = (PathBuf, String)> {
    tracked().into_iter().filter_map(|path| {
        let bytes = fs::read(root().join(&path)).unwrap();
        Some((path, str::from_utf8(&bytes).ok()?.to_owned()))
    })
}

#[test]
fn no_private_key() {
    // Written in pieces, so that it is not found here.
    let marker = ["PRIVATE", " KEY-----"].concat();
    for (path, text) in texts() {
        let held = text.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with("-----BEGIN") && line.contains(&marker)
        });
        assert!(!held, "a private key in {}", path.display());
        assert!(
            path.extension().is_none_or(|it| it != "pem"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn no_path_of_a_machine() {
    // Written in pieces, so that they are not found here.
    let homes = ["home", "Users", "root", "work"].map(|name| format!("/{name}/"));
    let invented = ["/home/alice/", "/home/bob/"];
    for (path, text) in texts() {
        for home in &homes {
            for (at, _) in text.match_indices(home.as_str()) {
                let is_invented = invented.iter().any(|it| text[at..].starts_with(it));
                assert!(is_invented, "{}: {home}", path.display());
            }
        }
    }
}

#[test]
fn no_host_but_these() {
    for (path, text) in texts() {
        for (_, url) in text
            .match_indices("://")
            .map(|(at, sign)| (at, &text[at + sign.len()..]))
        {
            let is_host = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            let host = url.split(|c| !is_host(c)).next().unwrap_or_default();
            let host = host.trim_end_matches('.');
            // One without a dot is on nobody's network but one's own; loopback, on one's machine.
            let is_own = !host.contains('.') || host == "127.0.0.1";
            assert!(
                is_own || HOSTS.contains(&host),
                "{}: {host}",
                path.display()
            );
        }
    }
}

#[test]
fn packages_come_from_where_they_come_from_by_default() {
    let lock = super::read("Cargo.lock");
    let sources = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "));
    for source in sources {
        assert_eq!(source.trim_matches('"'), DEFAULT_REGISTRY);
    }
    let mut settings = tracked();
    settings.retain(|path| path.starts_with(".cargo"));
    // The second is read by cargo-mutants alone, and has nothing to say about packages.
    let known = [".cargo/config.toml", ".cargo/mutants.toml"];
    assert_eq!(settings, known.map(Path::new));
    let tables = super::read(".cargo/config.toml");
    let tables = tables.lines().filter(|line| line.starts_with('['));
    assert_eq!(tables.collect::<Vec<_>>(), ["[env]"]);
}

#[test]
fn git_keeps_keys_out_and_the_page_about_them_in() {
    let is_ignored = |path: &str| {
        let asked = std::process::Command::new("git")
            .args(["check-ignore", "--quiet", "--no-index", path])
            .current_dir(root())
            .status();
        asked.unwrap().success()
    };
    for key in [
        "certs/alice/key.pem",
        "certs/alice/peers.toml",
        "certs/cert.pem",
        "key.pem",
    ] {
        assert!(is_ignored(key), "{key}");
    }
    assert!(!is_ignored("certs/README.md"));
}
