//! Whether the state of a window is read from what the encoder makes of it, beside its own correlations.

use foretell_data::connectomes::{Connectomes, DynamicGraph};
use foretell_data::{Modality, Part};
use foretell_eval::{Budget, Factor, Finding, Memory, Probed, Store, Stored, TRAINED, UNTRAINED};
use foretell_ops as ops;
use foretell_train::Which;

use super::{of_windows, passed};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Recordings whose windows a probe learns from and is tested on, at most, and so many at a time.
const TRAIN: usize = 300;
const TEST: usize = 200;
const CHUNK: usize = 16;
/// What the windows' own correlations are called.
const OF_WINDOWS: &str = "correlations of the window";

/// Accuracy of probes of single windows; `None` where no state is known.
pub fn states(run: &Judging<'_, Connectomes>) -> Result<Option<Finding>, JudgeError> {
    if run.data.states() == 0 || run.data.len(Part::HeldOut).unwrap_or(0) == 0 {
        return Ok(None);
    }
    let memory = Memory::of(run.settings.memory.saturating_mul(1 << 20));
    let limit = run.train_samples().min(TRAIN);
    let (train, train_labels) = see(run, Part::Train, limit, &memory)?;
    let (test, test_labels) = see(run, Part::HeldOut, TEST, &memory)?;
    let names = [TRAINED, UNTRAINED, OF_WINDOWS].map(str::to_owned);
    let probed: Vec<Probed> = names
        .into_iter()
        .zip(train.into_iter().zip(test))
        .map(|(name, (train, test))| Probed { name, train, test })
        .collect();
    let factor = Factor::new("state", train_labels, test_labels);
    let mut finding = foretell_eval::probes(&probed, &[factor], &Budget::default())?;
    "states".clone_into(&mut finding.key);
    "Which state a window is in".clone_into(&mut finding.title);
    finding.lead = format!(
        "Share of windows of held-out recordings whose state a probe names, from the mean of the window's regions, of the trained network and of \
         the same untrained, and from the correlations of which the window's graph is made. A window has the state that most of its {} time \
         points are in; where a state begins within a window no probe can be sure. No recording is in both parts.",
        run.data.sliding().window
    );
    Ok(Some(finding))
}

fn see(
    run: &Judging<'_, Connectomes>,
    part: Part,
    limit: usize,
    memory: &Memory,
) -> Result<(Vec<Stored>, Vec<u32>), JudgeError> {
    let kept = [run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder];
    let windows = run.data.len(part).unwrap_or(0).min(limit) * run.data.fewest_windows();
    let mut stores: Vec<Store<'_>> = (0..3).map(|_| Store::new(windows, memory)).collect();
    let mut labels = Vec::new();
    passed(run, part, (limit, CHUNK), |_, samples| {
        let samples: Vec<&DynamicGraph> = samples.iter().collect();
        for (encoder, store) in kept.iter().zip(&mut stores) {
            let rows = of_windows(encoder.as_ref())?.windows(&samples);
            let width = rows.dims()[1];
            ops::values(rows).chunks_exact(width).try_for_each(|row| store.push(row))?;
        }
        for sample in samples {
            for window in 0..sample.windows() {
                stores[2].push(&sample.of_window(window))?;
                labels.push(sample.state(window).map_or(0, |(state, _)| state));
            }
        }
        Ok(())
    })?;
    let stored = stores.into_iter().map(Store::finish).collect::<Result<_, _>>()?;
    Ok((stored, labels))
}
