//! How far the checker looks: into every state of each of these sizes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model};

use crate::COMPLETE;
use crate::config::{Config, JOURNALS, NOTHING, Quits, Size};
use crate::rules::{Found, trace};

/// Tells how far a long run has come, once a minute.
#[derive(Default)]
struct Progress {
    minutes: u64,
}

impl Reporter<Config> for Progress {
    fn report_checking(&mut self, data: ReportData) {
        let minutes = data.duration.as_secs() / 60;
        if std::mem::replace(&mut self.minutes, minutes) < minutes {
            println!("{minutes} min: {} states", data.unique_states);
        }
    }

    fn report_discoveries(&mut self, _: &Config, _: BTreeMap<&str, ReportDiscovery<Config>>) {}

    fn delay(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Looks through all of it, whoever keeps a journal, and says how much that was.
fn prove(size: Size) {
    prove_telling(size, &JOURNALS, false);
}

fn prove_telling(size: Size, journals: &[[bool; 2]], tells_progress: bool) {
    for journal in journals.iter().copied() {
        let began = Instant::now();
        let checker = Config::new(journal, size)
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures);
        // Breadth first finds the shortest traces, and takes more memory.
        let (mut discoveries, states) = match tells_progress {
            true => found(
                &checker
                    .spawn_dfs()
                    .join_and_report(&mut Progress::default()),
            ),
            false => found(&checker.spawn_bfs().join()),
        };
        let is_complete = discoveries.remove(COMPLETE).is_some();
        let traces: Vec<_> = discoveries.iter().map(trace).collect();
        let time = began.elapsed();
        println!("journals {journal:?}, {size:?}: {states} states in {time:.0?}");
        assert!(
            traces.is_empty(),
            "journals {journal:?}, {size:?}: {}",
            traces.join("")
        );
        assert!(is_complete, "journals {journal:?}, {size:?}: {COMPLETE}");
    }
}

fn found(checker: &impl Checker<Config>) -> (Found, usize) {
    (checker.discoveries(), checker.unique_state_count())
}

#[test]
fn cuts_cost_nothing_whoever_quits_whenever() {
    prove(Size { cuts: 2, ..NOTHING });
}

#[test]
fn a_cut_and_a_crash_cost_nothing_that_was_stored() {
    prove(Size {
        cuts: 1,
        crashes: 1,
        ..NOTHING
    });
}

#[test]
fn what_is_begun_after_a_crash_is_as_safe() {
    let quits = Quits::AnyTimeAnywhere;
    prove(Size {
        crashes: 1,
        quits,
        ..NOTHING
    });
}

#[test]
fn a_conversation_given_up_on_one_side_is_not_mistaken_for_another() {
    let quits = Quits::AnyTimeAnywhere;
    prove(Size {
        turns: 2,
        cuts: 1,
        waits: 1,
        quits,
        ..NOTHING
    });
}

#[test]
fn what_is_parked_outlives_a_crash() {
    prove(Size {
        cuts: 1,
        crashes: 1,
        waits: 1,
        quits: Quits::AtTheEnd,
        ..NOTHING
    });
}

#[test]
fn a_slow_disk_costs_nothing() {
    prove(Size {
        cuts: 2,
        stores_late: true,
        ..NOTHING
    });
}

#[test]
fn a_crash_while_something_is_stored_costs_nothing() {
    prove(Size {
        cuts: 1,
        crashes: 1,
        stores_late: true,
        ..NOTHING
    });
}

#[test]
fn a_reader_that_stalls_or_fails_costs_nothing() {
    prove(Size {
        turns: 3,
        cuts: 1,
        crashes: 1,
        takes_late: true,
        ..NOTHING
    });
}

#[test]
fn a_quit_that_waits_for_a_reader_in_vain_costs_nothing() {
    prove(Size {
        turns: 2,
        cuts: 1,
        waits: 1,
        takes_late: true,
        ..NOTHING
    });
}

#[test]
fn a_session_that_learns_late_of_another_conversation_costs_nothing() {
    prove(Size {
        turns: 3,
        cuts: 1,
        crashes: 1,
        tells_late: true,
        ..NOTHING
    });
}

#[test]
fn another_program_with_the_same_key_changes_nothing() {
    prove(Size {
        cuts: 1,
        strays: 1,
        ..NOTHING
    });
}

#[test]
#[ignore = "as large as it is told to be: scripts/prove model"]
fn full() {
    let number = |name: &str, default: u8| {
        let value = std::env::var(name).ok();
        value.map_or(default, |value| value.parse().expect("a small number"))
    };
    let size = Size {
        turns: number("TURNS", 4).into(),
        cuts: number("CUTS", 3),
        crashes: number("CRASHES", 2),
        waits: number("WAITS", 0),
        strays: number("STRAYS", 0),
        quits: match number("QUITS", 1) {
            0 => Quits::AtTheEnd,
            1 => Quits::AnyTime,
            _ => Quits::AnyTimeAnywhere,
        },
        stores_late: number("STORES", 0) > 0,
        takes_late: number("TAKES", 0) > 0,
        tells_late: number("TELLS", 0) > 0,
    };
    let journals = match std::env::var("JOURNALS").as_deref() {
        Err(_) => JOURNALS.to_vec(),
        Ok("both") => vec![[true, true]],
        Ok("client") => vec![[false, true]],
        Ok("server") => vec![[true, false]],
        Ok("none") => vec![[false, false]],
        Ok(other) => panic!("JOURNALS: both, client, server or none, not {other}"),
    };
    prove_telling(size, &journals, true);
}
