//! As much of Rust's syntax as the floor plan needs: the paths that a file
//! names, outside of comments, texts and its tests.

/// Every path that the code names, each as its segments: those of `use`, with
/// groups written out, and those that stand in the code.
pub(crate) fn paths(source: &str) -> Vec<Vec<String>> {
    let tokens = tokens(source);
    let mut paths = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if is_name(token) {
            at = path(&tokens, at, &[], &mut paths);
        } else {
            at += 1;
        }
    }
    paths
}

/// Reads the path that begins at `at` behind `prefix`; returns where it ends.
fn path(tokens: &[String], at: usize, prefix: &[String], to: &mut Vec<Vec<String>>) -> usize {
    let token = |at: usize| tokens.get(at).map(String::as_str);
    let mut segments = prefix.to_vec();
    let mut at = at;
    while let Some(name) = token(at).filter(|name| is_name(name)) {
        segments.push(name.to_owned());
        at += 1;
        if token(at) != Some("::") {
            to.push(segments);
            return at;
        }
        at += 1;
    }
    if token(at) != Some("{") {
        to.push(segments);
        return at;
    }
    // A group of a `use`.
    at += 1;
    while let Some(next) = token(at) {
        match next {
            "}" => return at + 1,
            name if is_name(name) => at = path(tokens, at, &segments, to),
            _ => at += 1,
        }
    }
    at
}

/// The names and signs of the code. What `#[cfg(test)]` stands before is not
/// read: by the house's order it comes last.
pub(crate) fn tokens(source: &str) -> Vec<String> {
    let code = code(source);
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut tokens: Vec<String> = Vec::new();
    let mut is_joined = false;
    for c in code.chars() {
        let last = tokens.last_mut().filter(|_| is_joined);
        match last {
            Some(last) if is_name(last) && is_name_char(c) => last.push(c),
            Some(last) if last == ":" && c == ':' => last.push(c),
            _ if c.is_whitespace() => {}
            _ => tokens.push(c.to_string()),
        }
        is_joined = !c.is_whitespace();
    }
    tokens
}

/// The source with its comments and texts blanked out.
fn code(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(text) = raw_text(rest) {
            text
        } else if c == '"' {
            text_end(rest, '"')
        } else if c == '\'' && is_char_literal(rest) {
            text_end(rest, '\'')
        } else {
            0
        };
        if skipped > 0 {
            out.push(' ');
            rest = &rest[skipped..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn raw_text(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = behind[hashes..].strip_prefix('"')?;
    Some(rest.len() - body.len() + body.find(&end)? + end.len())
}

/// Where the text that begins here has ended.
fn text_end(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Not a lifetime.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    matches!(
        (chars.next(), chars.next()),
        (Some('\\'), _) | (_, Some('\''))
    )
}

fn is_name(token: &str) -> bool {
    token.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn paths_are_found_wherever_they_hide() {
    let source = r##"
        //! crate::person in a comment
        use std::{fs, io::{self, Read as _}};
        use crate::{link::turn, trust};
        fn f<'a>(s: &'a str) -> char {
            let _ = ("crate::person", r#"tokio::"net"#, 'x', '\'', b"\"tokio");
            std::time::Instant::now();
        }
        #[cfg(test)]
        mod tests { use tokio::net; }
    "##;
    let found: Vec<_> = paths(source).iter().map(|path| path.join("::")).collect();
    for expected in [
        "std::fs",
        "std::io::self",
        "std::io::Read",
        "crate::link::turn",
        "crate::trust",
        "std::time::Instant::now",
    ] {
        assert!(
            found.iter().any(|path| path == expected),
            "{expected} in {found:?}"
        );
    }
    let hidden = ["tokio", "cli"];
    assert!(
        !found
            .iter()
            .any(|path| hidden.iter().any(|it| path.contains(it))),
        "{found:?}"
    );
}
