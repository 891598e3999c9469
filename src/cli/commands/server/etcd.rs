//! `--store etcd://`: what is needed to reach it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::cli::args::ServerArgs;
use crate::cli::display::Display;
use crate::cli::remedy::{self, Wanted};
use crate::cli::report::{Exit, Report};
use crate::link::error::chain;
use crate::link::{EtcdAddress, EtcdStore, EtcdTls};
use crate::trust::own_file::{self, FileError, Whose};
use crate::trust::{IdentityError, KeyId};

/// The most bytes that a file of certificates has.
const MOST: u64 = 1024 * 1024;

/// Whoever starts before etcd does waits for it, and says so.
pub(super) async fn open(
    address: &EtcdAddress,
    command: &ServerArgs,
    own: &KeyId,
    display: &Display,
) -> Result<EtcdStore, Report> {
    let tls = match &command.store_ca {
        None => None,
        Some(authority) => Some(EtcdTls {
            authority: read(authority, Whose::Anybodys)?,
            identity: match (&command.store_cert, &command.store_key) {
                (Some(certificate), Some(key)) => {
                    Some((read(certificate, Whose::Anybodys)?, read_key(key)?))
                }
                _ => None,
            },
        }),
    };
    let store = EtcdStore::new(address, tls.as_ref(), own).await;
    let store = store.map_err(|error| {
        Report::new(
            Exit::Failure,
            format!("etcd cannot be reached like this: {}.", chain(&error)),
            "Check the files of `--store-ca`, `--store-cert` and `--store-key`.",
        )
    })?;
    match store.check().await {
        Ok(None) => {}
        Ok(Some(caution)) => display.say(&format!("{caution}.")),
        Err(error) => display.say(&format!(
            "No conversation goes on before etcd can be used: {}. See that it runs there, and what it asks for: TLS, a certificate, permission.",
            chain(&error)
        )),
    }
    Ok(store)
}

/// A private key, which nobody else may read.
fn read_key(path: &Path) -> Result<Vec<u8>, Report> {
    let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o777);
    match mode & 0o077 {
        0 => read(path, Whose::Own),
        _ => Err(Report::from(&IdentityError::LooseKey {
            path: path.to_owned(),
            mode,
        })),
    }
}

fn read(path: &Path, whose: Whose) -> Result<Vec<u8>, Report> {
    own_file::read(path, whose, MOST).map_err(|error| {
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
