//! [`StoreAt`]: where a server keeps its open conversations, as `--store` says.

use std::path::PathBuf;
use std::str::FromStr;

#[cfg(feature = "etcd")]
use crate::link::EtcdAddress;

/// `file:DIR` or `etcd://HOST:PORT[,HOST:PORT]/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAt {
    /// A directory of this machine.
    File(PathBuf),
    /// An etcd, for servers on several machines.
    #[cfg(feature = "etcd")]
    Etcd(EtcdAddress),
}

impl StoreAt {
    /// What the places of its records begin with, in messages.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(directory) => directory.clone(),
            #[cfg(feature = "etcd")]
            Self::Etcd(address) => address.to_string().into(),
        }
    }
}

impl FromStr for StoreAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", "")) => Err("there is no directory behind file:".to_owned()),
            Some(("file", directory)) => Ok(Self::File(directory.into())),
            Some(("etcd", _)) => etcd(text),
            _ => Err("it begins with neither file: nor etcd://".to_owned()),
        }
    }
}

#[cfg(feature = "etcd")]
fn etcd(text: &str) -> Result<StoreAt, String> {
    let address = text.parse().map_err(|error| format!("{error}"));
    address.map(StoreAt::Etcd)
}

#[cfg(not(feature = "etcd"))]
fn etcd(_: &str) -> Result<StoreAt, String> {
    Err(
        "this turnchat was built without etcd; build one that has it with \
         `cargo install --features etcd`, which needs protoc"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_as_it_is() {
        for (text, directory) in [("file:a", "a"), ("file:/a:b/c d", "/a:b/c d")] {
            assert_eq!(text.parse(), Ok(StoreAt::File(directory.into())));
        }
        for text in ["", "a", "file", "file:", "http://localhost:2379/a"] {
            assert!(text.parse::<StoreAt>().is_err(), "{text}");
        }
    }

    #[test]
    fn etcd_is_for_a_build_that_has_it() {
        let found = "etcd://localhost:2379/turnchat".parse::<StoreAt>();
        assert_eq!(found.is_ok(), cfg!(feature = "etcd"), "{found:?}");
        assert!("etcd://localhost/turnchat".parse::<StoreAt>().is_err());
    }
}
