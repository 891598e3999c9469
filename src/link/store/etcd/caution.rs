//! [`Caution`]: what is to be said about an etcd of some version.

/// What is to be said about an etcd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("etcd {version} can lose its last revision in a crash; 3.4.32 and 3.5.14 cannot")]
pub struct Caution {
    version: String,
}

impl Caution {
    /// Its version is older than 3.4.32, or than 3.5.14 of 3.5 (etcd's issue 17780).
    pub(super) fn of(version: &str) -> Option<Self> {
        let mut parts = version.split(['.', '-']).map(|part| part.parse().ok());
        let mut next = || parts.next().flatten();
        let (major, minor, patch): (u32, u32, u32) = (next()?, next()?, next()?);
        let is_old = match (major, minor) {
            (3, 4) => patch < 32,
            (3, 5) => patch < 14,
            known => known < (3, 4),
        };
        is_old.then(|| Self {
            version: version.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_step_back_are_named() {
        for (version, is_old) in [
            ("3.3.25", true),
            ("3.4.23", true),
            ("3.4.31-rc.1", true),
            ("3.4.32", false),
            ("3.5.13", true),
            ("3.5.14", false),
            ("3.6.0", false),
            ("4.0.0", false),
            ("unknown", false),
        ] {
            assert_eq!(Caution::of(version).is_some(), is_old, "{version}");
        }
    }
}
