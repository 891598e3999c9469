//! Commands that are proposed to a person come from one place, which knows how the program
//! was called.

use super::{files, read};

/// Where a command may be written out: what builds proposals, and the help.
const BUILDERS: [&str; 2] = ["src/cli/proposal.rs", "src/cli/args.rs"];

#[test]
fn no_command_is_proposed_past_its_builder() {
    let mut looked_at = 0;
    for file in files("src/cli", "rs") {
        let source = read(&file);
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        let is_builder = BUILDERS.iter().any(|it| file.ends_with(it));
        let lines = program.lines().enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let is_one = line.contains("`turnchat ");
            looked_at += usize::from(is_one);
            assert!(
                is_builder || !is_one,
                "{}:{}: {line}",
                file.display(),
                number + 1
            );
        }
    }
    assert!(looked_at > 0, "not even the builder has one");
}
