//! What is wrong with one's own files, as words: the identity, the address book, a journal.

use std::io;
use std::path::Path;

use super::{Exit, Report};
use crate::cli::book::{BookError, Refusal};
use crate::cli::proposal::{self, Called, shell_quoted, yours};
use crate::cli::remedy::{self, Wanted};
use crate::link::JournalError;
use crate::link::error::chain;
use crate::trust::own_file::FileError;
use crate::trust::{CERTIFICATE_FILE, Encoding, IdentityError, KEY_FILE, KeyId, Unusable};

impl From<&IdentityError> for Report {
    fn from(error: &IdentityError) -> Self {
        let exit = match error {
            IdentityError::LooseKey { .. } => Exit::Trust,
            IdentityError::Unusable(unusable) => exit_for(unusable),
            _ => Exit::Failure,
        };
        Self::new(exit, sentence(error), identity_advice(error))
    }
}

impl Report {
    /// A server that runs has found no identity where its own was.
    pub fn identity_gone(home: &Path) -> Self {
        Self::new(
            Exit::Failure,
            format!(
                "There is no key and certificate in {} any more.",
                home.display()
            ),
            "The server goes on with those that it has read. Restore them before you restart it.",
        )
    }

    /// A server that runs has found no address book where there was one.
    pub fn book_gone(path: &Path) -> Self {
        Self::new(
            Exit::Failure,
            format!("The address book {} is gone.", path.display()),
            "The server goes on with the one that it has read. Put it back, or an empty file to remove everybody, and send SIGHUP to the server.",
        )
    }

    /// A server that runs has found another key than its own.
    pub fn other_identity(found: &KeyId, own: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("The key file has another key now: {found}."),
            format!(
                "The server goes on as {own}, which its peers know. To change the key, restart it, and give the new one to them."
            ),
        )
    }
}

/// What belongs to others is a matter of trust; the rest is in the way.
fn exit_for(unusable: &Unusable) -> Exit {
    match unusable {
        Unusable::Foreign { .. } | Unusable::Exposed { .. } | Unusable::NoModes { .. } => {
            Exit::Trust
        }
        _ => Exit::Failure,
    }
}

fn identity_advice(error: &IdentityError) -> String {
    match error {
        IdentityError::Unusable(Unusable::TooLong { path, .. }) => damaged_advice(path),
        IdentityError::Unusable(unusable) => remedy::for_unusable(unusable),
        IdentityError::Busy { .. } => {
            "Run the same command again once that program has ended; nothing was changed."
                .to_owned()
        }
        IdentityError::Encrypted { path } => format!(
            "Decrypt it with `{}`; turnchat uses keys without a passphrase, readable by you alone.",
            openssl("pkey", path)
        ),
        IdentityError::NotPem {
            path,
            encoding: Encoding::Utf16,
        } => format!("Save {} as plain text (UTF-8).", path.display()),
        IdentityError::NotPem { path, .. } => {
            let kind = match is_key(path) {
                true => "pkey -inform DER",
                false => "x509 -inform DER",
            };
            format!("Rewrite it as PEM with `{}`.", openssl(kind, path))
        }
        IdentityError::OtherForm { key, .. } => format!(
            "Make a new certificate for it with {}. Its fingerprint is another: give your peers that one.",
            proposal::renewal(directory_of(key))
        ),
        IdentityError::Unsynced { .. } => {
            "The new certificate is in place. Check the disk: after a power cut the old one may be back, which will do too."
                .to_owned()
        }
        IdentityError::NoKey {
            path,
            found: Some(found),
        } if found == "OPENSSH PRIVATE KEY" => format!(
            "Rewrite it with `ssh-keygen -p -N \"\" -m PKCS8 -f {}` if it is ECDSA P-256; another key cannot be used here.",
            shell_quoted(path)
        ),
        IdentityError::Exists { path } => format!(
            "Nothing was changed. Choose another directory with `--out DIR`, or make a new certificate for the same key with {}.",
            proposal::renewal(directory_of(path))
        ),
        IdentityError::CertificateMissing { key, .. } => format!(
            "Make a new certificate for the same key with {}; the fingerprint stays.",
            proposal::renewal(directory_of(key))
        ),
        IdentityError::KeyMissing { certificate, key } => format!(
            "Restore {} from a backup. Without one, move the certificate away with `mv {} {}`, and a new identity can be made.",
            key.display(),
            shell_quoted(certificate),
            shell_quoted(&certificate.with_extension("pem.old"))
        ),
        IdentityError::LooseKey { path, .. } => remedy::for_loose_key(path),
        IdentityError::Mismatch { certificate, key } => match is_home_of_both(certificate, key) {
            true => format!(
                "Restore the file that is not of this identity; or, if the key is the right one, make a new certificate for it with {}.",
                proposal::renewal(directory_of(key))
            ),
            false => "Give the certificate and the key of one identity.".to_owned(),
        },
        IdentityError::Unreadable { path, source } if is_absent_key(path, source) => {
            "There is no key to make a certificate for: leave `--renew` out to make both."
                .to_owned()
        }
        IdentityError::Unreadable { path, source } => remedy::for_own(Wanted::Read, path, source),
        IdentityError::Unwritable { path, source } => remedy::for_own(Wanted::Write, path, source),
        IdentityError::NoCertificate { path, .. }
        | IdentityError::NoKey { path, .. }
        | IdentityError::Malformed { path, .. }
        | IdentityError::UnsupportedKey { path } => damaged_advice(path),
        IdentityError::NotMade { .. } => {
            "Check that the system gives random numbers: a sandbox may forbid it.".to_owned()
        }
    }
}

/// The command by which openssl rewrites a file in its place, readable by its owner alone.
fn openssl(command: &str, path: &Path) -> String {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let (path, new) = (shell_quoted(path), shell_quoted(Path::new(&new)));
    format!("(umask 077; openssl {command} -in {path} -out {new} && mv {new} {path})")
}

/// Whether this path is that of our private key, not of a certificate.
fn is_key(path: &Path) -> bool {
    match &Called::get().identity {
        Some([_, key]) => path == key,
        None => path.ends_with(KEY_FILE),
    }
}

/// The file is there and is of no use as it is.
fn damaged_advice(path: &Path) -> String {
    let key = path.with_file_name(KEY_FILE);
    if path.ends_with(CERTIFICATE_FILE) && key.exists() {
        return format!(
            "If the key beside it is whole, make a new certificate for it with {}; the fingerprint stays.",
            proposal::renewal(directory_of(path))
        );
    }
    "Restore it from a backup, or give another with `--cert FILE` and `--key FILE`: a certificate and a key, ECDSA P-256 or Ed25519, as PEM without a passphrase.".to_owned()
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether both are where `gen-cert` would make them.
fn is_home_of_both(certificate: &Path, key: &Path) -> bool {
    certificate.ends_with(CERTIFICATE_FILE)
        && key.ends_with(KEY_FILE)
        && certificate.parent() == key.parent()
}

/// Only `gen-cert --renew` looks for a key in a directory that has neither file.
fn is_absent_key(path: &Path, error: &io::Error) -> bool {
    Called::get().identity.is_none()
        && error.kind() == io::ErrorKind::NotFound
        && path.ends_with(KEY_FILE)
        && !path.is_symlink()
}

impl From<&BookError> for Report {
    fn from(error: &BookError) -> Self {
        let advice = match error {
            BookError::Refused(Refusal::LastKey(name)) => format!(
                "Remove the peer itself with {}, or add the new key first; nothing was changed.",
                yours(&format!("peers remove {name}"))
            ),
            BookError::Refused(_) => {
                format!("See {}; nothing was changed.", yours("peers list"))
            }
            BookError::Unwritable { path, source } => format!(
                "{} Nothing was changed.",
                remedy::for_own(Wanted::Write, path, source)
            ),
            BookError::Unsynced { .. } => {
                "The change is made and in force. Check the disk: after a power cut it may be gone."
                    .to_owned()
            }
            BookError::Unusable(unusable) => remedy::for_unusable(unusable),
            BookError::Held { .. } => {
                "Wait until that has ended, and run the same command again; nothing was changed."
                    .to_owned()
            }
            BookError::Unreadable { path, source } => remedy::for_own(Wanted::Read, path, source),
            BookError::Damaged { .. } => {
                "Repair the file, or move it away to begin with an empty address book; it was left as it is.".to_owned()
            }
        };
        let exit = match error {
            BookError::Unusable(unusable) => exit_for(unusable),
            _ => Exit::Failure,
        };
        Self::new(exit, sentence(error), advice)
    }
}

impl From<JournalError> for Report {
    fn from(error: JournalError) -> Self {
        Self::from(&error)
    }
}

impl Report {
    /// The file of `--transcript` is not one to write to.
    pub(crate) fn transcript_not_opened(path: &Path, error: &FileError) -> Self {
        match error {
            FileError::Io(error) => Self::transcript_not_written(path, error),
            FileError::Unusable(unusable) => Self::new(
                exit_for(unusable),
                sentence(unusable),
                remedy::for_unusable(unusable),
            ),
        }
    }

    /// The file of `--transcript` does not take what was said.
    pub fn transcript_not_written(path: &Path, error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!(
                "The transcript {} cannot be written: {error}.",
                path.display()
            ),
            remedy::for_named(Wanted::Write, path, error),
        )
    }

    /// What is wrong with a journal, for a command that is about nothing else.
    pub fn journal(error: &JournalError) -> Self {
        let advice = match error {
            JournalError::InUse { .. } => {
                "Stop the turnchat that runs there, then run this command again; nothing was changed."
                    .to_owned()
            }
            JournalError::Unwritable { path, source } => {
                remedy::for_own(Wanted::Write, path, source)
            }
            JournalError::Unreadable { path, source } => {
                remedy::for_own(Wanted::Read, path, source)
            }
            JournalError::Unusable(
                Unusable::NotAFile { path, .. } | Unusable::TooLong { path, .. },
            ) if path.extension().is_some_and(|of| of == "record") => given_up(path),
            JournalError::Unusable(unusable) => remedy::for_unusable(unusable),
            JournalError::Damaged { path } => given_up(path),
            JournalError::OtherVersion { .. } => {
                "Use the version of turnchat that wrote it.".to_owned()
            }
        };
        let exit = match error {
            JournalError::Unusable(unusable) => exit_for(unusable),
            _ => Exit::Failure,
        };
        Self::new(exit, sentence(error), advice)
    }
}

/// What is left to do about a conversation of which there is no whole record.
fn given_up(path: &Path) -> String {
    let how = match path.symlink_metadata() {
        Ok(_) => format!(
            "move it away with `mv {} {}`",
            shell_quoted(path),
            shell_quoted(&path.with_extension("old"))
        ),
        Err(_) => "remove it".to_owned(),
    };
    format!(
        "To give the conversation up, {how}. An older copy does not help: the peer has gone on since."
    )
}

/// For a conversation, which can do without one.
impl From<&JournalError> for Report {
    fn from(error: &JournalError) -> Self {
        let mut report = Self::journal(error);
        match error {
            JournalError::InUse { .. } => {
                // Without a journal it would begin another one, and so end that one.
                report.advice = "Go on there, or end that process first.".to_owned();
            }
            JournalError::Damaged { .. } => {}
            _ if Called::get().store.is_some() => {
                if !report.advice.contains("--store") {
                    report.advice += " Or give another `--store`.";
                }
            }
            _ => {
                report.advice +=
                    " Or run the same command with `--no-journal`, which ends what is kept there.";
            }
        }
        report
    }
}

/// An error and its sources as a sentence. None of ours begins with a path or a name, which
/// have to stay as they are.
fn sentence(error: &dyn std::error::Error) -> String {
    let chain = chain(error);
    let mut chars = chain.chars();
    let first = chars.next().map(|first| first.to_uppercase());
    format!(
        "{}{}.",
        first.into_iter().flatten().collect::<String>(),
        chars.as_str()
    )
}
