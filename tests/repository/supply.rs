//! What the project stands on, and what it gives out: each dependency says what it is for, and
//! what the pages link is in the archive beside them.

use std::fs;

use super::{read, root};

#[test]
fn each_direct_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut is_dependency = false;
    let mut is_explained = false;
    let mut names = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_dependency = line.ends_with("dependencies]");
        } else if line.is_empty() {
            is_explained = false;
        } else if line.starts_with('#') {
            is_explained = true;
        } else if is_dependency {
            names += 1;
            assert!(is_explained || line.contains(" # "), "for what? {line}");
        }
    }
    assert!(names > 30, "{names}");
}

#[test]
fn what_the_pages_link_is_in_the_archive() {
    let script = read("scripts/dist");
    let given_out: Vec<_> = script
        .lines()
        .filter(|line| line.contains("git ls-files") || line.contains("install -m 644"))
        .flat_map(str::split_whitespace)
        .collect();
    let is_there = |path: &str| {
        given_out.iter().any(|it| match it.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == *it || path.starts_with(&format!("{it}/")),
        })
    };
    let mut links = 0;
    for page in ["README.md", "SECURITY.md", "CHANGELOG.md"] {
        assert!(is_there(page), "{page}");
        for link in read(page).split("](").skip(1) {
            let path = link.split([')', '#']).next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                assert!(is_there(path), "{page} links {path}");
                links += 1;
            }
        }
    }
    assert!(links > 30, "{links}");
}
