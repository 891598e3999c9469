//! Where a server keeps its open conversations: nowhere, in a journal, or in an etcd that servers
//! of its key on other machines share.

use crate::cli::args::ServerArgs;
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::report::{Exit, Report};
use crate::cli::store_at::StoreAt;
use crate::link::{Journal, ServerBuilder};
use crate::trust::KeyId;

/// A builder of a server that keeps them where `--store` says, or else in the home's journal, if
/// it has one.
///
/// # Errors
/// What `--store` needs is not there.
#[cfg_attr(not(feature = "etcd"), expect(unused_variables, reason = "for etcd"))]
pub(super) async fn keep(
    builder: ServerBuilder,
    command: &ServerArgs,
    has_journal: bool,
    home: &Home,
    own: &KeyId,
    display: &Display,
) -> Result<ServerBuilder, Report> {
    match &command.store {
        #[cfg(feature = "etcd")]
        Some(StoreAt::Etcd(address)) => {
            let store = super::etcd::open(address, command, own, display).await?;
            Ok(builder.with_shared_store(store.into()))
        }
        Some(StoreAt::File(directory)) => Ok(builder.with_journal(Journal::new(directory, own))),
        None if has_journal => Ok(builder.with_journal(home.journal(own))),
        None => Ok(builder),
    }
}

/// Whether `--store` can be what it says, with the rest of the command.
///
/// # Errors
/// It cannot.
pub(super) fn check(command: &ServerArgs) -> Result<(), Report> {
    match &command.store {
        #[cfg(feature = "etcd")]
        Some(StoreAt::Etcd(_)) if !(command.talk.json && command.talk.exec.is_some()) => {
            Err(Report::new(
                Exit::Usage,
                "A store in etcd is for programs that know where a conversation stands.",
                "Add `--json` and `--exec CMD`; docs/CLUSTER.md has an example.",
            ))
        }
        Some(StoreAt::File(_)) if command.store_ca.is_some() => Err(Report::new(
            Exit::Usage,
            "`--store-ca` is for a store in etcd.",
            "Leave it out, or give `--store etcd://HOST:PORT/PREFIX`.",
        )),
        _ => Ok(()),
    }
}
