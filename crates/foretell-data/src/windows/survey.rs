//! What recorded episodes are like: how they end, and how far each number of an action ranges.

use super::ends::End;
use super::recording::Recordings;

/// Over all episodes, those held out among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Episodes whose last row has a terminal flag up, those with a timeout's alone, and those with none.
    pub ends: [usize; 3],
    /// Episodes of which nothing says how they end.
    pub unsaid: usize,
    /// Least and greatest of each number of an action, of those that an observation follows.
    pub ranges: Vec<[f32; 2]>,
}

/// Numbers of an action in one line.
const IN_LINE: usize = 6;
/// Numbers of an action that are told in words.
const TOLD: usize = 60;

impl Survey {
    /// With so many actions for each observation.
    pub(crate) fn of(recordings: &Recordings, every: usize) -> Self {
        let mut survey =
            Self { ranges: vec![[f32::INFINITY, f32::NEG_INFINITY]; recordings.action], ..Self::default() };
        for episode in &recordings.episodes {
            match episode.end {
                Some(end) => survey.ends[end as usize] += 1,
                None => survey.unsaid += 1,
            }
            let used = episode.frames.saturating_sub(1) * every * recordings.action;
            for row in episode.actions[..used].chunks(recordings.action) {
                for ([least, greatest], x) in survey.ranges.iter_mut().zip(row) {
                    (*least, *greatest) = (least.min(*x), greatest.max(*x));
                }
            }
        }
        survey
    }

    /// How episodes end, in words.
    pub fn endings(&self) -> String {
        let told = [(End::Terminal, "terminal"), (End::Timeout, "timeout"), (End::Unflagged, "without a flag")];
        let counted =
            told.map(|(end, word)| (self.ends[end as usize], word)).into_iter().chain([(self.unsaid, "not said")]);
        counted
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Ranges in words, some to a line.
    pub fn told_ranges(&self) -> Vec<String> {
        let range = |(i, [least, greatest]): (usize, &[f32; 2])| {
            if least == greatest {
                format!("{i} always {}", short(*least))
            } else {
                format!("{i} from {} to {}", short(*least), short(*greatest))
            }
        };
        let all: Vec<String> = self.ranges.iter().enumerate().take(TOLD).map(range).collect();
        let mut lines: Vec<String> = all.chunks(IN_LINE).map(|line| line.join(", ")).collect();
        if let Some(more) = self.ranges.len().checked_sub(TOLD).filter(|more| *more > 0) {
            lines.push(format!("and {more} more (`--json` has all)"));
        }
        lines
    }
}

/// Four digits of a number.
fn short(x: f32) -> f32 {
    format!("{x:.3e}").parse().unwrap_or(x)
}
