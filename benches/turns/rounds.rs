//! Rounds in which contenders take turns, and the table of what they came to.

use std::fmt;
use std::time::Duration;

/// Ours, what it is compared with, and that once more: the control says how
/// far two equals lie apart.
pub(crate) const CONTENDERS: usize = 3;

/// What one contender does in one round. It returns what it took: seconds or KiB.
pub(crate) type Contestant<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Every contender once a round, each time in another order. A first round is
/// run and not counted.
pub(crate) fn interleave(
    rounds: usize,
    mut contestants: [Contestant<'_>; CONTENDERS],
) -> Vec<[f64; CONTENDERS]> {
    let round = |number: usize| {
        let mut took = [0.0; CONTENDERS];
        let mut all: Vec<_> = contestants.iter_mut().zip(&mut took).collect();
        all.rotate_left(number % CONTENDERS);
        if number % 2 == 1 {
            all.reverse();
        }
        for (contestant, took) in all {
            *took = contestant();
        }
        took
    };
    (0..=rounds).map(round).skip(1).collect()
}

/// How a figure is written.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Time,
    /// A time, and how many there are in a second.
    Rate,
    Kib,
}

/// A table in Markdown, printed as it grows.
pub(crate) struct Table(());

impl Table {
    pub(crate) fn begin() -> Self {
        println!("| measure | ours | base | ours ÷ base | base again ÷ base |");
        println!("|---|---|---|---|---|");
        Self(())
    }

    /// Medians of the figures, and of the ratios within each round.
    pub(crate) fn row(&mut self, what: &str, unit: Unit, rounds: &[[f64; CONTENDERS]]) {
        let median = |of: fn(&[f64; CONTENDERS]) -> f64| quartiles(rounds.iter().map(of))[1];
        let (ours, base) = (median(|[ours, ..]| *ours), median(|[_, base, _]| *base));
        let ratio = quartiles(rounds.iter().map(|[ours, base, _]| ours / base));
        let control = quartiles(rounds.iter().map(|[_, base, again]| again / base));
        println!(
            "| {what} | {} | {} | {} | {} |",
            Figure(ours, unit),
            Figure(base, unit),
            Ratio(ratio),
            Ratio(control)
        );
    }

    /// Something that could not be measured.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("| {what} | {why} | | | |");
    }
}

struct Figure(f64, Unit);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Unit::Kib => write!(f, "{:.1} KiB", self.0),
            Unit::Time => write!(f, "{:.3?}", Duration::from_secs_f64(self.0)),
            Unit::Rate => {
                let time = Duration::from_secs_f64(self.0);
                write!(f, "{time:.3?} ({:.0}/s)", 1.0 / self.0)
            }
        }
    }
}

struct Ratio([f64; 3]);

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, median, high] = self.0;
        write!(f, "{median:.2} ({low:.2}–{high:.2})")
    }
}

/// The quarter, the half and three quarters of these lie below.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| {
        let value = values.get((last * quarter + 2) / 4);
        value.copied().unwrap_or(f64::NAN)
    })
}
