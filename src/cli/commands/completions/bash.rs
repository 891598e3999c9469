//! The script for bash, what it asks, and the answer as bash takes it.
//!
//! The engine's own script hands on what bash makes of the line: words as they were quoted, and
//! three of them for `--home=certs`. This one hands on the line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use clap_complete::engine::CompletionCandidate;

use super::values::is_path;

/// Told that it has files, bash quotes them, and puts the slash behind a directory itself: before
/// that, a quote would be closed.
pub(super) const SCRIPT: &str = r#"_turnchat() {
    local answer kind candidate
    COMPREPLY=()
    answer=$(TURNCHAT_COMPLETE=bash command turnchat -- \
        "${COMP_LINE:0:COMP_POINT}" "${COMP_LINE:COMP_POINT}" "$2") || return
    {
        read -r kind
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done
    } <<<"$answer"
    # Before version 4 there is no compopt, and so no space behind anything.
    compopt +o nospace 2>/dev/null
    if [[ ${COMPREPLY-} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    if [[ $kind == files ]] && compopt -o filenames 2>/dev/null; then
        COMPREPLY=("${COMPREPLY[@]%/}")
    fi
}
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)); then
    complete -o nospace -o bashdefault -o nosort -F _turnchat turnchat
else
    complete -o nospace -o bashdefault -F _turnchat turnchat
fi"#;

/// What the script asks.
pub(super) struct Question {
    /// The words up to the cursor, without quotes. The last one is to be completed.
    pub(super) words: Vec<OsString>,
    /// The words behind the cursor, the rest of the one at the cursor first.
    pub(super) behind: Vec<OsString>,
    /// How the last word begins, up to what bash replaces.
    stays: OsString,
}

impl Question {
    /// The line up to the cursor, the rest of it, and what bash replaces, which is as typed.
    pub(super) fn new([line, behind, replaced]: &[OsString; 3]) -> Self {
        let (words, open) = split(line, None);
        // Behind a quote that is open: bash leaves that out.
        let (replaced, _) = split(replaced, open);
        let end = |words: &[OsString]| words.last().cloned().unwrap_or_default();
        let (last, replaced) = (end(&words), end(&replaced));
        let stays = last.as_bytes().strip_suffix(replaced.as_bytes());
        let stays = OsStr::from_bytes(stays.unwrap_or_default()).to_owned();
        Self {
            behind: split(behind, open).0,
            words,
            stays,
        }
    }

    /// What they are, and then a line for each.
    pub(super) fn answer(&self, candidates: &[CompletionCandidate]) -> String {
        let are_files = candidates.iter().any(is_path);
        let mut answer = String::from(if are_files { "files" } else { "words" });
        for candidate in candidates {
            let value = candidate.get_value().as_bytes();
            let Some(value) = value.strip_prefix(self.stays.as_bytes()) else {
                continue;
            };
            // In lines, no name with a newline can be told.
            if let Ok(value) = str::from_utf8(value)
                && !value.contains('\n')
            {
                answer.push('\n');
                answer.push_str(value);
            }
        }
        answer
    }
}

/// What a word says that was typed so.
pub(super) fn unquoted(word: &OsStr) -> OsString {
    split(word, None).0.pop().unwrap_or_default()
}

/// The words of a line as bash reads them, and the quote that is open at its end, as one may be
/// at its beginning. Behind a blank, the last word is empty.
fn split(line: &OsStr, mut quote: Option<u8>) -> (Vec<OsString>, Option<u8>) {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b'\\') => word.get_or_insert_default().extend(bytes.next()),
            (Some(b'"'), b'\\') => {
                let escaped = bytes.next_if(|next| b"$`\"\\".contains(next));
                word.get_or_insert_default().push(escaped.unwrap_or(byte));
            }
            (None, b' ' | b'\t' | b'\n') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.push(word.unwrap_or_default());
    (words.into_iter().map(OsString::from_vec).collect(), quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_bash_splits_it() {
        for (line, words, quote) in [
            ("", &[""][..], None),
            ("turnchat", &["turnchat"], None),
            ("a  b ", &["a", "b", ""], None),
            (r"d\ i\ r/c", &["d i r/c"], None),
            (r#"--home="d i"/x '' y"#, &["--home=d i/x", "", "y"], None),
            (r#"a "b c"#, &["a", "b c"], Some(b'"')),
            ("a 'b \"\\c", &["a", "b \"\\c"], Some(b'\'')),
            (r#"a "b\"\c\$"#, &["a", "b\"\\c$"], Some(b'"')),
            (r"'a'\''b' c\", &["a'b", "c"], None),
        ] {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            assert_eq!(split(OsStr::new(line), None), (words, quote), "{line}");
        }
    }

    /// The line, what bash replaces in it, what is offered, and what bash is told.
    #[test]
    fn bash_is_told_what_stands_in_the_place_of_what_it_replaces() {
        for (line, replaced, offered, told) in [
            ("turnchat cl", "cl", "client", "client"),
            ("turnchat --home=", "", "--home=certs/", "certs/"),
            ("turnchat --home=ce", "ce", "--home=certs/", "certs/"),
            ("turnchat --home=\"d i", "d i", "--home=d i r/", "d i r/"),
            (r"turnchat --home=d\ i", r"d\ i", "--home=d i r/", "d i r/"),
            ("turnchat d\"i r", "i r", "di r/", "i r/"),
            ("turnchat --allow SHA256:a", "a", "SHA256:ab", "ab"),
        ] {
            let asked = [line.into(), OsString::new(), replaced.into()];
            let question = Question::new(&asked);
            let answer = question.answer(&[CompletionCandidate::new(offered)]);
            assert_eq!(answer, format!("words\n{told}"), "{line}");
        }
    }

    #[test]
    fn a_name_of_two_lines_is_left_out() {
        let question = Question::new(&["a ".into(), "".into(), "".into()]);
        let offered = ["b\nc", "d"].map(CompletionCandidate::new);
        assert_eq!(question.answer(&offered), "words\nd");
        assert_eq!(question.answer(&[]), "words");
    }
}
