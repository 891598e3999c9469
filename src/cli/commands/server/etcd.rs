//! `--store etcd://`: what is needed to reach it.

use std::path::Path;

use crate::cli::args::ServerArgs;
use crate::cli::display::Display;
use crate::cli::remedy::{self, Wanted};
use crate::cli::report::{Exit, Report};
use crate::link::{EtcdAddress, EtcdStore, EtcdTls};
use crate::trust::KeyId;
use crate::trust::own_file::{self, FileError, Whose};

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
                    Some((read(certificate, Whose::Anybodys)?, read(key, Whose::Own)?))
                }
                _ => None,
            },
        }),
    };
    let store = EtcdStore::new(address, tls.as_ref(), own).await?;
    match store.check().await {
        Ok(None) => {}
        Ok(Some(caution)) => display.say(&format!("{caution}.")),
        Err(_) => display.say(&format!(
            "{address} cannot be reached yet: until it can, clients wait. Is etcd running there?"
        )),
    }
    Ok(store)
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
