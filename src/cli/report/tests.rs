use std::io;
use std::path::Path;

use super::link::outcome;
use super::{Exit, Report};
use crate::cli::book::{BookError, Damage};
use crate::link::{Cause, ConnectError, Ended, JournalError, LinkError};
use crate::protocol::{Code, Message, Reason, Text, Violation};
use crate::trust::{Encoding, IdentityError, Unusable};

/// Every error that names a file.
fn errors_about(path: &Path) -> Vec<Report> {
    let path = || path.to_owned();
    let source = || io::Error::from(io::ErrorKind::TimedOut);
    let identity = [
        IdentityError::Exists { path: path() },
        IdentityError::KeyMissing {
            certificate: path(),
            key: path(),
        },
        IdentityError::CertificateMissing {
            certificate: path(),
            key: path(),
        },
        IdentityError::Unreadable {
            path: path(),
            source: source(),
        },
        IdentityError::Unwritable {
            path: path(),
            source: source(),
        },
        IdentityError::Busy { path: path() },
        IdentityError::NoCertificate {
            path: path(),
            found: None,
        },
        IdentityError::NoKey {
            path: path(),
            found: Some("OPENSSH PRIVATE KEY".to_owned()),
        },
        IdentityError::Encrypted { path: path() },
        IdentityError::NotPem {
            path: path(),
            encoding: Encoding::Der,
        },
        IdentityError::OtherForm {
            certificate: path(),
            key: path(),
            form: "a compressed point",
        },
        IdentityError::Unsynced {
            path: path(),
            source: source(),
        },
        IdentityError::Malformed {
            path: path(),
            what: "it is not PEM".to_owned(),
        },
        IdentityError::LooseKey {
            path: path(),
            mode: 0o644,
        },
        IdentityError::UnsupportedKey { path: path() },
        IdentityError::Mismatch {
            certificate: path(),
            key: path(),
        },
    ];
    let book = [
        BookError::Unreadable {
            path: path(),
            source: source(),
        },
        BookError::Unwritable {
            path: path(),
            source: source(),
        },
        BookError::Damaged {
            path: path(),
            line: Some(3),
            damage: Damage::NotUtf8,
        },
    ];
    let journal = [
        JournalError::Unreadable {
            path: path(),
            source: source().into(),
        },
        JournalError::Unwritable {
            path: path(),
            source: source().into(),
        },
        JournalError::Damaged { path: path() },
        JournalError::OtherVersion {
            path: path(),
            version: 1,
        },
        JournalError::InUse { path: path() },
    ];
    let unusable = [
        Unusable::Foreign {
            path: path(),
            owner: 65_534,
        },
        Unusable::Exposed {
            path: path(),
            mode: 0o777,
        },
        Unusable::NoModes { path: path() },
        Unusable::Link { path: path() },
        Unusable::NotAFile {
            path: path(),
            kind: "a named pipe",
        },
        Unusable::TooLong {
            path: path(),
            most: 1,
        },
    ];
    let mut reports: Vec<_> = identity.iter().map(Report::from).collect();
    let unusable = unusable.into_iter();
    reports.extend(unusable.flat_map(|unusable| {
        [
            Report::from(&BookError::Unusable(unusable.clone())),
            Report::from(&JournalError::Unusable(unusable.clone())),
            Report::from(&IdentityError::Unusable(unusable)),
        ]
    }));
    reports.extend(book.iter().map(Report::from));
    reports.extend(journal.iter().map(Report::from));
    reports
}

#[test]
fn a_path_is_told_as_it_is() {
    for report in errors_about(Path::new("certs/alice/file")) {
        assert!(report.what.contains("certs/alice/file"), "{report:?}");
        for part in [&report.what, &report.advice] {
            assert!(part.starts_with(char::is_uppercase), "{report:?}");
            assert!(!part.contains("Certs"), "{report:?}");
        }
    }
}

#[test]
fn only_what_is_damaged_may_be_given_up() {
    let throws = [
        "remov",
        "delet",
        "move it away",
        "makes a new",
        "make a new identity",
    ];
    for report in errors_about(Path::new("certs/alice/file")) {
        let is_whole = !report.what.contains("is damaged");
        let is_thrown = throws.iter().any(|word| report.advice.contains(word));
        assert!(!(is_whole && is_thrown), "{report:?}");
    }
}

#[test]
fn advice_about_stdout_fits_what_is_wrong_with_it() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    assert!(Report::stdout(&full).advice.contains("free space"));
    let closed = io::Error::from(io::ErrorKind::BrokenPipe);
    let closed = Report::stdout(&closed);
    assert!(closed.advice.contains("what reads"), "{closed:?}");
    assert!(!closed.advice.contains("free space"), "{closed:?}");
}

#[test]
fn an_onion_service_that_is_not_found_is_one_for_tor() {
    let dialled = || ConnectError::Dial(io::Error::from(io::ErrorKind::NotFound));
    let report = Report::connect(&dialled(), "alice.onion:8876");
    assert!(report.advice.contains("--proxy socks5h://"), "{report:?}");
    let report = Report::connect(&dialled(), "onion.example:8876");
    assert!(!report.advice.contains("--proxy"), "{report:?}");
}

#[test]
fn a_journal_from_a_backup_is_thought_of_where_counters_do_not_fit() {
    let reported = |code| LinkError::Reported { code, detail: None };
    let counters = Violation::Counters {
        theirs: 7,
        said: 3,
        heard: 2,
    };
    for error in [
        reported(Code::ProtocolError),
        LinkError::Violation(counters),
    ] {
        let advice = Report::from(&error).advice;
        assert!(
            advice.contains("backup") && advice.contains("`--new`"),
            "{advice}"
        );
        assert!(advice.contains("at fault"), "{advice}");
    }
    for error in [
        reported(Code::Timeout),
        LinkError::Violation(Violation::OtherConversation),
    ] {
        let advice = Report::from(&error).advice;
        assert!(!advice.contains("--new"), "{advice}");
    }
}

#[test]
fn what_tls_finds_wrong_in_mid_conversation_is_a_lost_connection() {
    let fault = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
    let report = Report::from(&LinkError::Io(fault.into()));
    assert_eq!(report.exit, Exit::Link);
    assert!(
        report.what.starts_with("The connection was lost: "),
        "{report:?}"
    );
    assert!(!report.what.contains("handshake"), "{report:?}");

    // A client learns of this one only at its first reading.
    let alert = rustls::AlertDescription::CertificateUnknown;
    let refused = rustls::Error::AlertReceived(alert);
    let fault = io::Error::new(io::ErrorKind::InvalidData, refused);
    let report = Report::from(&LinkError::Io(fault.into()));
    assert_eq!(report.exit, Exit::Trust);
}

/// PROTOCOL 4.36.
#[test]
fn every_end_names_the_message_that_was_not_acknowledged() {
    let refused = Cause::Refused(Reason::Declined);
    for cause in [Cause::Me, Cause::Peer, refused, Cause::Link(LinkError::Cut)] {
        let said = Message::new(2, Text::new("two").unwrap());
        let over = Ended::new(cause, 1, Some(said));
        let report = outcome(&over).unwrap_err();
        let words = "message of turn 2 was not acknowledged";
        assert!(report.what.contains(words), "{report:?}");
    }
}
