//! `--store etcd://`: what is needed to reach it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::cli::args::ServerArgs;
use crate::cli::display::Display;
use crate::cli::remedy::{self, Wanted};
use crate::cli::report::{Exit, Report};
use crate::link::error::chain;
use crate::link::{Caution, EtcdAddress, EtcdStore, EtcdTls, JournalError, UnfitTls};
use crate::trust::own_file::{self, FileError, Whose};
use crate::trust::{KeyId, pem};

/// The most bytes that a file of certificates has.
const MOST: u64 = 1024 * 1024;

/// Whoever starts before etcd does waits for it, and says so.
pub(super) async fn open(
    address: &EtcdAddress,
    command: &ServerArgs,
    own: &KeyId,
    display: &Display,
) -> Result<Arc<EtcdStore>, Report> {
    let tls = tls(command)?;
    let store = EtcdStore::new(address, tls.as_ref(), own).await;
    let store = store.map_err(|error| {
        Report::new(
            Exit::Failure,
            format!("etcd cannot be reached like this: {}.", chain(&error)),
            "Check the files of `--store-ca`, `--store-cert` and `--store-key`.",
        )
    })?;
    let store = Arc::new(store);
    let teller = Teller {
        display: display.clone(),
        has_log: command.talk.log.is_some(),
    };
    match store.check().await {
        Ok(caution) => teller.caution(caution),
        Err(error) => {
            let advice = match &error {
                JournalError::Unreadable { source, .. }
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    "Give its user the permission to read and write what begins with that prefix, or correct the prefix."
                }
                _ => {
                    "See that it runs there, and what it asks for: TLS, a certificate, permission."
                }
            };
            let why = chain(&error);
            let what = format!("No conversation goes on before etcd can be used: {why}.");
            teller.warn(&what, advice);
            // A log is told by the store itself.
            if !teller.has_log {
                tokio::spawn(teller.wait(Arc::clone(&store)));
            }
        }
    }
    Ok(store)
}

/// Tells the administrator of etcd.
struct Teller {
    display: Display,
    has_log: bool,
}

impl Teller {
    fn warn(&self, what: &str, advice: &str) {
        match self.has_log {
            true => warn!(advice, "{what}"),
            false => self.display.say_always(&format!("{what} {advice}")),
        }
    }

    fn caution(&self, caution: Option<Caution>) {
        if let Some(caution) = caution {
            self.warn(&format!("{caution}."), "Upgrade etcd.");
        }
    }

    /// Says when it can be used.
    async fn wait(self, store: Arc<EtcdStore>) {
        loop {
            sleep(Duration::from_secs(1)).await;
            if let Ok(caution) = store.check().await {
                self.display.say("etcd can be used now.");
                return self.caution(caution);
            }
        }
    }
}

/// What the files of `--store-ca`, `--store-cert` and `--store-key` hold.
fn tls(command: &ServerArgs) -> Result<Option<EtcdTls>, Report> {
    let Some(authority) = &command.store_ca else {
        return Ok(None);
    };
    let ours = command.store_cert.as_ref().zip(command.store_key.as_ref());
    let tls = EtcdTls {
        authority: read(authority)?,
        identity: match ours {
            Some((certificate, key)) => {
                let key = pem::read_closed(key, MOST);
                let key = key.map_err(|error| Report::from(&error))?;
                Some((read(certificate)?, key))
            }
            None => None,
        },
    };
    let unfit = match tls.check() {
        Ok(()) => return Ok(Some(tls)),
        Err(unfit) => unfit,
    };
    let (certificate, key) = ours.unwrap_or((authority, authority));
    let (files, advice) = match unfit {
        UnfitTls::NoAuthority => (
            authority.display().to_string(),
            "Give with `--store-ca` the certificate, as PEM, of the authority that signs those of etcd.",
        ),
        UnfitTls::NoCertificate => (
            certificate.display().to_string(),
            "Give with `--store-cert` a certificate, as PEM.",
        ),
        UnfitTls::NoKey => (
            key.display().to_string(),
            "Give with `--store-key` a private key, as PEM without a passphrase.",
        ),
        UnfitTls::Mismatch => (
            format!("{} and {}", certificate.display(), key.display()),
            "Give with `--store-cert` and `--store-key` a certificate and its own key.",
        ),
    };
    Err(Report::new(
        Exit::Failure,
        format!("What etcd is reached with cannot be used: {files}: {unfit}."),
        advice,
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, Report> {
    own_file::read(path, Whose::Anybodys, MOST).map_err(|error| {
        let what = format!(
            "What etcd is reached with cannot be read: {}",
            path.display()
        );
        match error {
            FileError::Io(error) => Report::new(
                Exit::Failure,
                format!("{what}: {error}."),
                remedy::for_named(Wanted::Read, path, &error),
            ),
            FileError::Unusable(unusable) => Report::new(
                Exit::Trust,
                format!("{what}: {unusable}."),
                remedy::for_unusable(&unusable),
            ),
        }
    })
}
