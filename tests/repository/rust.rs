//! As much of Rust's syntax as the floor plan needs: the paths that a file
//! names, outside of comments, texts and its tests.

/// Every path that the code names, each as its segments: those of `use`, with
/// groups written out, and those that stand in the code.
pub(crate) fn paths(source: &str) -> Vec<Vec<String>> {
    paths_of(&tokens(source))
}

/// The same of what was cut into tokens already.
pub(crate) fn paths_of(tokens: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if is_name(token) {
            at = path(tokens, at, &[], &mut paths);
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

/// One name that a `use` brings into its file.
pub(crate) struct Import {
    /// Its path as it is written, groups written out.
    pub(crate) path: Vec<String>,
    /// What the file calls it: `_` where it is not named, empty for a glob.
    pub(crate) name: String,
    /// It is brought to others too, as far as `pub(…)` goes.
    pub(crate) is_public: bool,
    /// `path::*`: all that the module has.
    pub(crate) is_glob: bool,
}

/// Every import, and the code without them and without `mod name;`.
pub(crate) fn split_imports(tokens: &[String]) -> (Vec<Import>, Vec<String>) {
    let mut imports = Vec::new();
    let mut code: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token == "mod" && tokens.get(at + 2).is_some_and(|end| end == ";") {
            at += 3;
            continue;
        }
        at += 1;
        // `impl Trait + use<'a>` imports nothing.
        let is_import = token == "use" && tokens.get(at).is_some_and(|next| next != "<");
        if !is_import {
            code.push(token.clone());
            continue;
        }
        let is_public = code.last().is_some_and(|last| last == "pub" || last == ")");
        at = tree(tokens, at, &[], is_public, &mut imports);
    }
    (imports, code)
}

/// Reads what a `use` says, from `at` behind `prefix`; returns where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    is_public: bool,
    to: &mut Vec<Import>,
) -> usize {
    let token = |at: usize| tokens.get(at).map(String::as_str);
    let mut path = prefix.to_vec();
    let mut is_glob = false;
    while let Some(next) = token(at) {
        match next {
            "::" => at += 1,
            "{" => {
                at += 1;
                while token(at).is_some_and(|next| next != "}") {
                    match token(at) {
                        Some(",") => at += 1,
                        _ => at = tree(tokens, at, &path, is_public, to),
                    }
                }
                return at + 1;
            }
            "*" => {
                is_glob = true;
                at += 1;
            }
            "as" => break,
            name if is_name(name) => {
                path.push(name.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    let mut name = path.iter().rfind(|name| *name != "self").cloned();
    name = name.filter(|_| !is_glob);
    if token(at) == Some("as") {
        name = tokens.get(at + 1).cloned();
        at += 2;
    }
    to.push(Import {
        path,
        name: name.unwrap_or_default(),
        is_public,
        is_glob,
    });
    at
}

/// The names and signs of the code, without what `#[cfg(test)]` stands before.
pub(crate) fn tokens(source: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut is_joined = false;
    for c in code(source).chars() {
        let last = tokens.last_mut().filter(|_| is_joined);
        match last {
            Some(last) if is_name(last) && is_name_char(c) => last.push(c),
            Some(last) if last == ":" && c == ':' => last.push(c),
            _ if c.is_whitespace() => {}
            _ => tokens.push(c.to_string()),
        }
        is_joined = !c.is_whitespace();
    }
    without_tests(&tokens)
}

fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((token, behind)) = rest.split_first() {
        if rest.len() >= MARK.len() && rest.iter().zip(MARK).all(|(token, mark)| token == mark) {
            rest = behind_item(&rest[MARK.len()..]);
        } else {
            kept.push(token.clone());
            rest = behind;
        }
    }
    kept
}

/// The type or trait of this name, from its keyword to its end.
pub(crate) fn definition<'a>(tokens: &'a [String], name: &str) -> Option<&'a [String]> {
    let keywords = ["struct", "enum", "trait", "type"];
    let begins = |pair: &[String]| pair[1] == name && keywords.contains(&pair[0].as_str());
    let start = tokens.windows(2).position(begins)?;
    let item = &tokens[start..];
    Some(&item[..item.len() - behind_item(item).len()])
}

/// Whether one of the type's `impl`s has this function.
pub(crate) fn has_function(tokens: &[String], of: &str, name: &str) -> bool {
    let starts = tokens.iter().enumerate();
    let mut starts = starts.filter(|(_, token)| matches!(token.as_str(), "impl" | "trait"));
    starts.any(|(start, _)| {
        let item = &tokens[start..];
        let item = &item[..item.len() - behind_item(item).len()];
        let mut head = item.iter().take_while(|token| *token != "{");
        head.any(|token| token == of) && item.windows(2).any(|pair| pair == ["fn", name])
    })
}

/// What comes behind the item that begins here: its `;`, or its closing brace.
fn behind_item(tokens: &[String]) -> &[String] {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token == "}" {
                    return &tokens[at + 1..];
                }
            }
            ";" if depth == 0 => return &tokens[at + 1..],
            _ => {}
        }
    }
    &[]
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
        #[cfg(test)]
        fn helper() { tokio::net::lookup_host() }
        const LATE: usize = std::mem::size_of::<u8>();
    "##;
    let found: Vec<_> = paths(source).iter().map(|path| path.join("::")).collect();
    for expected in [
        "std::fs",
        "std::io::self",
        "std::io::Read",
        "crate::link::turn",
        "crate::trust",
        "std::time::Instant::now",
        "std::mem::size_of",
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
