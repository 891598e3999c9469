//! The command line, part of which is often somebody else's: a key, an address, a file's name.
//!
//! Input: the words, with a NUL or LF between them; and the first of them as each kind of value.

use std::ffi::OsString;
use std::fmt::Display;
use std::os::unix::ffi::OsStringExt as _;
use std::str::FromStr;

use clap::Parser as _;
use turnchat::cli::args::{Arguments, KeyArg, suggest};
use turnchat::cli::book::{Address, Petname};
use turnchat::cli::listen_at::ListenAt;
use turnchat::cli::screen;
use turnchat::internals::RecordName;
use turnchat::socks::Proxy;
use turnchat::{Algorithm, ConversationId, KeyId};

use super::forbidden::{check_row, is_forbidden};

/// No line of anybody's has more words than the system takes; here fewer are enough.
const WORDS: usize = 24;

pub fn run(data: &[u8]) {
    let mut words = data.split(|byte| matches!(byte, 0 | b'\n')).take(WORDS);
    values(&String::from_utf8_lossy(words.next().unwrap_or_default()));
    let words: Vec<_> = words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    if words.is_empty() {
        return;
    }
    let program = OsString::from("turnchat");
    match Arguments::try_parse_from([program].into_iter().chain(words)) {
        Ok(arguments) => {
            let told = format!("{:?}", arguments.command);
            assert!(!told.is_empty());
        }
        Err(mut error) => {
            suggest(&mut error);
            if error.use_stderr() {
                let told = screen::message(&error.render().to_string());
                assert!(
                    !told
                        .chars()
                        .any(|c| is_forbidden(c) && !matches!(c, '\n' | '\t'))
                );
            }
        }
    }
}

fn values(text: &str) {
    printed::<KeyId>(text);
    printed::<Address>(text);
    printed::<ListenAt>(text);
    printed::<Petname>(text);
    printed::<ConversationId>(text);
    printed::<RecordName>(text);
    printed::<Algorithm>(text);
    // One spelling alone.
    for canonical in [
        text.parse::<KeyId>().ok().map(|key| key.to_string()),
        text.parse::<ConversationId>().ok().map(|id| id.to_string()),
        text.parse::<RecordName>().ok().map(|name| name.to_string()),
        text.parse::<Petname>().ok().map(|name| name.to_string()),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(canonical, text);
    }
    // What is a name is nothing else.
    let kinds = (text.parse::<KeyArg>(), text.parse::<Petname>());
    assert_eq!(matches!(kinds.0, Ok(KeyArg::Peer(_))), kinds.1.is_ok());
    if let Ok(address) = text.parse::<Address>() {
        assert!(address.port() > 0 && !address.host().is_empty());
    }
    if let Ok(proxy) = text.parse::<Proxy>() {
        check_row(&proxy.to_string());
        check_row(&proxy.url());
        let told = format!("{proxy:?} {proxy} {}", proxy.url());
        let login = text
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'));
        if let Some(password) = login.and_then(|(login, _)| login.split_once(':')) {
            let is_told = password.1.len() > 8 && told.contains(password.1);
            let elsewhere = text.matches(password.1).count() > 1;
            assert!(!is_told || elsewhere, "a password is not told");
        }
    }
    let _ = humantime::parse_duration(text);
}

/// What is read is printed so that the same is read again; and can be shown.
fn printed<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let shown = value.to_string();
        check_row(&shown);
        assert!(
            shown.parse().is_ok_and(|again: T| again == value),
            "{shown:?}"
        );
    }
}
