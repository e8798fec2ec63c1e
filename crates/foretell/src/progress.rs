//! Progress for people: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use foretell_train::{LoopObserver, StepReport, Verdict};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::say;

/// Seconds between plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Progress {
    /// There from the first advance on, on a terminal.
    bar: Option<ProgressBar>,
    total: u64,
    unit: &'static str,
    samples: &'static str,
    last: Instant,
}

impl Progress {
    /// Towards `total` of what `unit` counts, at a rate in `samples`.
    pub(crate) fn new(total: u64, unit: &'static str, samples: &'static str) -> Self {
        Self { bar: None, total, unit, samples, last: Instant::now() }
    }

    /// Of a run's steps, whose number the loop tells.
    pub(crate) fn of_run(samples: &'static str) -> Self {
        Self::new(0, "step", samples)
    }

    /// What it counts to.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    fn begin(&mut self) {
        if self.bar.is_none() && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:32} {pos}/{len}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = Some(ProgressBar::new(self.total).with_style(style));
        }
    }

    /// `done` of the total, and a line about it.
    pub(crate) fn at(&mut self, done: u64, line: impl FnOnce() -> String) {
        self.begin();
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(line());
                if done == self.total {
                    bar.finish();
                }
            }
            None if done == self.total || self.last.elapsed() > EVERY => {
                self.last = Instant::now();
                say(format_args!("{} {done}/{}  {}", self.unit, self.total, line()));
            }
            None => {}
        }
    }
}

impl LoopObserver for Progress {
    fn step(&mut self, report: &StepReport) {
        let samples = self.samples;
        self.total = report.steps;
        self.at(report.step, || {
            let verdict = report.verdict.map_or("not evaluated yet", Verdict::word);
            format!(
                "{:.0} {samples}/s  {} left  loss {:.4}  {verdict}",
                report.samples_per_s,
                clock(report.seconds_left),
                report.loss
            )
        });
    }

    fn note(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => say(line),
        }
    }
}

/// `1:02:03` or `2:03`.
pub(crate) fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
