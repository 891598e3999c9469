//! Commands that are proposed to a person. Every one is built here, so that it does what it
//! is proposed for: on the home and the key that this program was called with.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::screen;

/// How this program was called, as far as a proposed command has to repeat it.
#[derive(Debug, Default)]
pub struct Called {
    /// It is a client: the side that dials.
    pub is_client: bool,
    /// The directory that the command works on: the home, or that of `gen-cert --out`.
    pub directory: PathBuf,
    /// `--home`, where it was given.
    pub home: Option<PathBuf>,
    /// What else the directory was taken from: `--out`, or a variable.
    pub taken_from: &'static str,
    /// `--cert` and `--key`, where they were given.
    pub identity: Option<[PathBuf; 2]>,
    /// `--store`, where it was given.
    pub store: Option<PathBuf>,
    /// `--proxy`, where it was given, without its login.
    pub proxy: Option<String>,
}

/// The arguments are those of the process, and so is this; like them it never changes.
static CALLED: OnceLock<Called> = OnceLock::new();

impl Called {
    /// Has all proposals fit this call. Only the first call counts.
    pub fn remember(self) {
        let _ = CALLED.set(self);
    }

    /// How this program was called; nothing is known of it in a unit test.
    pub fn get() -> &'static Self {
        CALLED.get_or_init(Self::default)
    }

    /// A command for this side: `words` behind `turnchat`, and the home if it was given.
    fn yours(&self, words: &str) -> String {
        match &self.home {
            Some(home) => format!("`turnchat {words} --home {}`", shell_quoted(home)),
            None => format!("`turnchat {words}`"),
        }
    }

    /// Who has to do what for a conversation to go on whose link is lost.
    fn again(&self) -> &'static str {
        match self.is_client {
            true => {
                "Run the same command again: the conversation goes on where a journal was kept, and else begins anew."
            }
            // It may go on itself, and need no command.
            false => {
                "The client runs the same command again: the conversation goes on where a journal was kept, and else begins anew."
            }
        }
    }

    /// The same where the peer's program failed.
    fn again_once_repaired(&self) -> &'static str {
        match self.is_client {
            true => "Ask your peer to look at its messages, then run the same command again.",
            false => "Ask your peer to look at its messages, and to run the same command again.",
        }
    }

    /// The command that calls somebody: never by another way than this one was told to go.
    fn client(&self, words: &str) -> String {
        match &self.proxy {
            Some(proxy) => self.yours(&format!("client {words} --proxy {proxy}")),
            None => self.yours(&format!("client {words}")),
        }
    }

    /// The command that prints the fingerprint of the key that is used here.
    fn fingerprint(&self) -> String {
        match &self.identity {
            Some([cert, key]) => self.yours(&format!(
                "fingerprint --cert {} --key {}",
                shell_quoted(cert),
                shell_quoted(key)
            )),
            None => self.yours("fingerprint"),
        }
    }

    /// The command that makes a new certificate for the key in `dir`.
    fn renewal(&self, dir: &Path) -> String {
        match self.home.as_deref() == Some(dir) {
            true => self.yours("gen-cert --renew"),
            false => self.yours(&format!("gen-cert --renew --out {}", shell_quoted(dir))),
        }
    }

    /// Whether this is in what `--store` names, or on the way to it.
    fn is_of_store(&self, path: &Path) -> bool {
        let store = self.store.as_ref();
        store.is_some_and(|store| path.starts_with(store) || store.starts_with(path))
    }

    /// How to have another directory than that of this path.
    fn another_directory(&self, path: &Path) -> String {
        match self.taken_from {
            _ if self.is_of_store(path) => "choose another with `--store`".to_owned(),
            "" => "choose another directory with `--home DIR`".to_owned(),
            option if option.starts_with("--") => {
                format!("choose another directory with `{option} DIR`")
            }
            variable => format!("correct `{variable}`, or choose a directory with `--home DIR`"),
        }
    }
}

/// A command for the person on this side, in backticks: `words` behind `turnchat`, with the
/// home that was given.
pub fn yours(words: &str) -> String {
    Called::get().yours(words)
}

/// Who has to do what for a conversation to go on whose link is lost.
pub fn again() -> &'static str {
    Called::get().again()
}

/// The same where the peer's program failed.
pub fn again_once_repaired() -> &'static str {
    Called::get().again_once_repaired()
}

/// `turnchat client` with these words, in backticks: through the proxy that was given.
pub fn client(words: &str) -> String {
    Called::get().client(words)
}

/// A command for the peer, in backticks: nothing of this side is in it.
pub fn theirs(words: &str) -> String {
    Called::default().yours(words)
}

/// The command that prints one's own fingerprint, in backticks.
pub fn fingerprint() -> String {
    Called::get().fingerprint()
}

/// The command that makes a new certificate for the key in this directory, in backticks.
pub fn renewal(dir: &Path) -> String {
    Called::get().renewal(dir)
}

/// How to have another directory than the one that this path is in: part of a sentence.
pub fn another_directory(path: &Path) -> String {
    Called::get().another_directory(path)
}

/// A path as a shell takes it. What cannot be shown is written as numbers, as bash, zsh and
/// POSIX of 2024 read it.
pub fn shell_quoted(path: &Path) -> String {
    // Else it would be an option.
    let path = match path.as_os_str().as_bytes() {
        [b'-', ..] => Cow::from(Path::new(".").join(path)),
        _ => Cow::from(path),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match path.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if screen::line(text) == text => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let shown = |byte: &u8| match char::from(*byte) {
                c if c.is_ascii() && is_plain(c) => c.to_string(),
                _ => format!("\\{byte:03o}"),
            };
            let bytes = path.as_os_str().as_bytes();
            format!("$'{}'", bytes.iter().map(shown).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_command_has_the_home_and_the_key_that_were_given() {
        let plain = Called::default();
        assert_eq!(plain.yours("gen-cert"), "`turnchat gen-cert`");
        assert_eq!(plain.fingerprint(), "`turnchat fingerprint`");
        assert_eq!(plain.client("alice"), "`turnchat client alice`");

        let called = Called {
            home: Some("my home".into()),
            identity: Some(["a.pem".into(), "b.pem".into()]),
            proxy: Some("socks5h://…:…@h:9050".to_owned()),
            ..Called::default()
        };
        assert_eq!(
            called.yours("peers list"),
            "`turnchat peers list --home 'my home'`"
        );
        assert_eq!(
            called.fingerprint(),
            "`turnchat fingerprint --cert a.pem --key b.pem --home 'my home'`"
        );
        assert_eq!(
            called.client("alice"),
            "`turnchat client alice --proxy socks5h://…:…@h:9050 --home 'my home'`"
        );
        assert_eq!(
            called.renewal(Path::new("my home")),
            "`turnchat gen-cert --renew --home 'my home'`"
        );
        assert_eq!(
            called.renewal(Path::new("elsewhere")),
            "`turnchat gen-cert --renew --out elsewhere --home 'my home'`"
        );
    }

    #[test]
    fn another_directory_is_had_as_this_one_was() {
        for (taken_from, words) in [
            ("--out", "`--out DIR`"),
            ("--home", "`--home DIR`"),
            ("HOME", "correct `HOME`"),
        ] {
            let called = Called {
                taken_from,
                ..Called::default()
            };
            let told = called.another_directory(Path::new("a/page"));
            assert!(told.contains(words), "{told}");
        }
        let called = Called {
            store: Some("a/kept".into()),
            ..Called::default()
        };
        for (path, words) in [
            ("a/kept/page", "`--store`"),
            ("a", "`--store`"),
            ("a/key.pem", "`--home DIR`"),
        ] {
            let told = called.another_directory(Path::new(path));
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_shell_reads_a_path_as_it_is() {
        for (path, quoted) in [
            (&b"certs/alice"[..], "certs/alice"),
            (b"alice's", r"'alice'\''s'"),
            ("b\u{fc}cher".as_bytes(), "'b\u{fc}cher'"),
            (b"-v", "./-v"),
            (b"", "''"),
            (b"a\nb", r"$'a\012b'"),
            (b"a\xff'", r"$'a\377\047'"),
        ] {
            assert_eq!(shell_quoted(Path::new(OsStr::from_bytes(path))), quoted);
        }
    }
}
