//! The fuzz targets without a fuzzer: all that is in their corpora, and thousands of inputs near
//! them, the same ones each time. `scripts/fuzz` looks much further.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

mod mutations;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate for the fuzzer")]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use mutations::Mutations;
use targets::TARGETS;

/// How many inputs are tried for each target, if the environment does not say.
const INPUTS: usize = 2_000;
const ASKED_FOR: &str = "TURNCHAT_FUZZ_INPUTS";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names of what is in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = directory().join("corpus").join(target);
    let names = names(&directory);
    names
        .iter()
        .map(|name| fs::read(directory.join(name)).unwrap())
        .collect()
}

/// Runs a target; of what makes it panic, all bytes are told.
fn run((name, target): targets::Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(|| target(input)) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name} panicked at this input, in hexadecimal:\n{hex}");
        resume_unwind(panic);
    }
}

fn replay(name: &str) {
    let target = *TARGETS.iter().find(|(of, _)| *of == name).unwrap();
    let corpus = corpus(name);
    for input in &corpus {
        run(target, input);
    }
    let inputs = std::env::var(ASKED_FOR).map_or(INPUTS, |inputs| inputs.parse().unwrap());
    let dictionary = directory().join("dictionaries").join(name);
    let dictionary = fs::read_to_string(dictionary).unwrap_or_default();
    let mut mutations = Mutations::new(corpus, &dictionary);
    for _ in 0..inputs {
        run(target, &mutations.next());
    }
}

/// One test for each target.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_here_and_has_a_corpus_and_a_binary() {
            let here: BTreeSet<_> = [$(stringify!($name).to_owned()),*].into();
            let all: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(here, all);
            assert_eq!(names(&directory().join("corpus")), all);
            let binaries = names(&directory().join("fuzz_targets"));
            assert_eq!(binaries, all.iter().map(|name| format!("{name}.rs")).collect());
            let manifest = fs::read_to_string(directory().join("Cargo.toml")).unwrap();
            let declared = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
            let declared = declared.map(|name| name.trim_end_matches('"').to_owned()).collect();
            assert_eq!(binaries, declared);
        }
    };
}

targets! { admission args book decoder keys pairing pem record screen session }

/// A fault shows, and with what input.
#[test]
fn a_panic_is_told_and_fails() {
    let broken: targets::Target = ("broken", |input| assert!(input != b"bad"));
    run(broken, b"good");
    assert!(catch_unwind(|| run(broken, b"bad")).is_err());
}
