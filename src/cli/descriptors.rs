//! Descriptors: as many as the system allows, and how a server shares them out, so
//! that its journal and its conversation can always open a file.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use super::report::{Exit, Report};
use crate::protocol::Limits;

/// What a program holds besides connections that wait: 13 were counted at rest, and a
/// conversation, its replaced link, the book and the records being stored are nine more.
const RESERVED: usize = 24;
/// A program has three pipes, of which one counts twice, and a process; its conversation has a
/// link.
const OF_PROGRAM: usize = 6;
/// With fewer for connections, nobody could get in past a few idle ones.
const LEAST: usize = 8;

/// What is enough: a program of `--exec` has the same limit, and may close all that it could have.
const PLENTY: rlim_t = 1 << 20;
/// What macOS allows, whatever the hard limit is.
const MACOS: rlim_t = 10_240;

/// Raises the soft limit to the hard one, and says how many there may be.
pub fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return usize::MAX;
    };
    let wanted = [PLENTY, MACOS].map(|most| hard.min(most).max(soft));
    let raised = wanted
        .into_iter()
        .find(|wanted| setrlimit(Resource::RLIMIT_NOFILE, *wanted, hard).is_ok());
    usize::try_from(raised.unwrap_or(soft)).unwrap_or(usize::MAX)
}

/// The same limits, with room for those who wait that fits so many descriptors, of which
/// `programs` conversations have some, too.
///
/// # Errors
/// There are too few to serve anybody.
pub fn share(limits: Limits, programs: usize, descriptors: usize) -> Result<Limits, Report> {
    let reserved = RESERVED.saturating_add(programs.saturating_mul(OF_PROGRAM));
    suffice(descriptors, reserved.saturating_add(LEAST))?;
    let left = descriptors - reserved;
    let queue = limits.queue.min(left / 4);
    Ok(Limits {
        queue,
        strangers: limits.strangers.min(left - queue),
        ..limits
    })
}

/// Whether so many descriptors are enough for a client.
///
/// # Errors
/// They are too few.
pub fn suffice_for_client(descriptors: usize) -> Result<(), Report> {
    suffice(descriptors, RESERVED)
}

fn suffice(descriptors: usize, least: usize) -> Result<(), Report> {
    match descriptors < least {
        false => Ok(()),
        true => Err(Report::new(
            Exit::Failure,
            format!("The system lets this program open {descriptors} files and connections only."),
            format!(
                "Raise the limit, for example with `ulimit -n {}` in a new shell; where that is refused, root can.{}",
                least
                    .saturating_mul(10)
                    .min(descriptors.saturating_mul(100)),
                match least > RESERVED + LEAST {
                    true => " Fewer `--conversations` need fewer.",
                    false => "",
                }
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_leaves_the_rest_its_descriptors() {
        for descriptors in [32, 64, 145, 1_024, usize::MAX] {
            let limits = share(Limits::default(), 0, descriptors).unwrap();
            assert!(limits.queue + limits.strangers <= descriptors - RESERVED);
            assert!(limits.queue > 0 && limits.strangers >= 6);
        }
        let plenty = share(Limits::default(), 0, 1_024).unwrap();
        assert_eq!(plenty, Limits::default());
        assert!(share(Limits::default(), 0, 31).is_err());
        assert_eq!(share(Limits::default(), 64, 1_024).unwrap(), plenty);
        assert!(share(Limits::default(), 64, 415).is_err());
        assert!(share(Limits::default(), 64, 416).is_ok());
        assert!(share(Limits::default(), usize::MAX, 1_024).is_err());
    }
}
