//! [`Process`]: what a process has taken so far, as Linux tells.

use std::fs::{read_dir, read_to_string};
use std::process::Child;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(crate) struct Process(String);

impl Process {
    pub(crate) fn this() -> Self {
        Self("self".into())
    }

    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id().to_string())
    }

    /// Resident memory in KiB: exact here, while `statm` lags behind.
    pub(crate) fn resident(&self) -> f64 {
        let rollup = read_to_string(format!("/proc/{}/smaps_rollup", self.0)).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let figure = line.and_then(|line| line.trim().strip_suffix(" kB"));
        figure.unwrap().trim().parse().unwrap()
    }

    /// CPU time of the threads that there are: to the nanosecond, where `stat` counts hundredths
    /// of a second.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = read_dir(format!("/proc/{}/task", self.0)).unwrap();
        let time = |thread: std::io::Result<std::fs::DirEntry>| {
            let told = read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            let nanos = told.split_whitespace().next().unwrap().parse().unwrap();
            Duration::from_nanos(nanos)
        };
        threads.map(time).sum()
    }
}

/// Lets this process and those that it starts have so many files open.
pub(crate) fn allow_descriptors(count: usize) {
    let count = u64::try_from(count).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft >= count {
        return;
    }
    if hard < count {
        eprintln!(
            "load: only {hard} files may be open. Allow {count} (`ulimit -Hn`), or hold fewer conversations (--conversations)."
        );
        std::process::exit(1);
    }
    setrlimit(Resource::RLIMIT_NOFILE, count, hard).unwrap();
}
