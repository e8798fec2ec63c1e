//! Whether the state of a window is read from what the encoder makes of it, beside its own correlations.

use burn::tensor::Tensor;
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
/// Numbers of a window that probes are given at most: atlases of many regions are read by their mean alone.
const WIDEST: usize = 8_192;
/// What the tokens of all regions are called, and the windows' own correlations.
const BY_REGION: [&str; 2] = ["trained, region by region", "untrained, region by region"];
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
    let mut names = vec![TRAINED, UNTRAINED, OF_WINDOWS];
    if train.len() > names.len() {
        names.splice(2..2, BY_REGION);
    }
    let probed = names.into_iter().zip(train.into_iter().zip(test));
    let probed: Vec<Probed> =
        probed.map(|(name, (train, test))| Probed { name: name.to_owned(), train, test }).collect();
    let factor = Factor::new("state", train_labels, test_labels);
    let mut finding = foretell_eval::probes(&probed, &[factor], &Budget::default())?;
    "states".clone_into(&mut finding.key);
    "Which state a window is in".clone_into(&mut finding.title);
    finding.lead = format!(
        "Share of windows of held-out recordings whose state a probe names, from the mean of the window's regions, of the trained network and of \
         the same untrained, from its regions side by side (which know who goes with whom), and from the correlations of which the window's \
         graph is made. A window has the state that most of its {} time \
         points are in; where a state begins within a window no probe can be sure. No recording is in both parts.",
        run.data.sliding().window
    );
    Ok(Some(finding))
}

/// Of the trained and the untrained network, by the mean and, where that is not too wide, region by region; then the correlations.
fn see(
    run: &Judging<'_, Connectomes>,
    part: Part,
    limit: usize,
    memory: &Memory,
) -> Result<(Vec<Stored>, Vec<u32>), JudgeError> {
    let kept = [run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder];
    let windows = run.data.len(part).unwrap_or(0).min(limit) * run.data.fewest_windows();
    let widths = kept.iter().map(|encoder| encoder.width()).max().unwrap_or(0);
    let by_region = run.on.config.regions * widths <= WIDEST;
    let mut stores: Vec<Store<'_>> = (0..if by_region { 5 } else { 3 }).map(|_| Store::new(windows, memory)).collect();
    let last = stores.len() - 1;
    let push = |store: &mut Store<'_>, rows: Tensor<2>| {
        let width = rows.dims()[1];
        ops::values(rows).chunks_exact(width).try_for_each(|row| store.push(row))
    };
    let mut labels = Vec::new();
    passed(run, part, (limit, CHUNK), |_, samples| {
        let samples: Vec<&DynamicGraph> = samples.iter().collect();
        for (at, encoder) in kept.iter().enumerate() {
            let encoder = of_windows(encoder.as_ref())?;
            push(&mut stores[at], encoder.windows(&samples))?;
            if by_region {
                let placed = encoder.placed(&samples);
                let [windows, regions, width] = placed.dims();
                push(&mut stores[2 + at], placed.reshape([windows, regions * width]))?;
            }
        }
        for sample in samples {
            for window in 0..sample.windows() {
                stores[last].push(&sample.of_window(window))?;
                labels.push(sample.state(window).map_or(0, |(state, _)| state));
            }
        }
        Ok(())
    })?;
    let stored = stores.into_iter().map(Store::finish).collect::<Result<_, _>>()?;
    Ok((stored, labels))
}
