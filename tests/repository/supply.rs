//! What the project stands on: each dependency says what it is for.

use std::fs;

use super::root;

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
