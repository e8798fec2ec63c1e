//! Checkpoints: folders written aside, synced and renamed. The last two and the best are kept; a kill in mid-write or a
//! full disk leaves the last good one as it was.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use foretell_nn::{NamedTensors, weights};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::folder::{RunFolder, checkpoint_name as name, sync_folder, write_whole};
use crate::{TrainError, stop_here};

const MODEL: &str = "model.safetensors";
const OPTIMISER: &str = "optimiser.safetensors";
const PROGRESS: &str = "progress.json";

/// Where the run stood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Length of metrics.jsonl in bytes.
    pub metrics_bytes: u64,
    /// Length of timing.jsonl in bytes.
    pub timing_bytes: u64,
    /// Effective rank of the held-out features when last judged: the best checkpoint has the highest.
    pub effective_rank: f64,
    /// Seconds of training so far, over all sessions.
    pub seconds: f64,
    /// Names of samples that were passed over so far, over all sessions.
    #[serde(default)]
    pub skipped: Vec<String>,
    /// Whether the evaluation that was due after this step could not be made.
    #[serde(default)]
    pub health_due: bool,
    /// The instruction set that the steps before were computed with on the processor; empty where it was not kept.
    #[serde(default)]
    pub instruction_set: String,
    /// xxh3 of the two tensor files.
    pub checksums: [u64; 2],
}

/// A checkpoint that was read whole.
pub struct Checkpoint {
    /// Where the run stood.
    pub progress: Progress,
    /// Every tensor of the objective.
    pub model: NamedTensors,
    /// The optimiser's moments.
    pub optimiser: NamedTensors,
}

/// Whether a run has any checkpoint, readable or not.
pub fn has_checkpoint(run: &RunFolder) -> bool {
    !steps(&run.checkpoints()).is_empty()
}

/// Steps of a run's checkpoints, in order.
pub fn checkpoint_steps(run: &RunFolder) -> Vec<u64> {
    steps(&run.checkpoints())
}

/// Keeps the networks of a step for as long as the run is there. Before the step's checkpoint: a run that is killed between the two
/// takes the step again.
pub(crate) fn keep_stage(run: &RunFolder, step: u64, model: &NamedTensors) -> Result<(), TrainError> {
    let folder = run.stages();
    fs::create_dir_all(&folder).map_err(TrainError::io("make the folder", &folder))?;
    write_whole(&run.stage(step), &weights::to_bytes(model))
}

/// Steps whose networks a run has, in order: those that stay and those of its checkpoints.
pub fn kept_steps(run: &RunFolder) -> Vec<u64> {
    let mut all = [steps(&run.stages()), steps(&run.checkpoints())].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// Every tensor of the networks of one of [`kept_steps`].
pub fn kept_networks(run: &RunFolder, step: u64) -> Result<NamedTensors, TrainError> {
    let stage = run.stage(step);
    if stage.is_file() { Ok(weights::read_file(&stage)?) } else { Ok(Checkpoint::read(&run.checkpoint(step))?.model) }
}

/// Steps of the checkpoints or of the networks in a folder, in order.
fn steps(folder: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let step = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_str()?.strip_prefix("step-")?;
        name.strip_suffix(".safetensors").unwrap_or(name).parse().ok()
    };
    let mut steps: Vec<u64> = entries.flatten().filter_map(step).collect();
    steps.sort_unstable();
    steps
}

impl Checkpoint {
    /// Writes a checkpoint; `progress.checksums` is filled in here. Older ones that are neither the one before nor the
    /// best are removed afterwards.
    pub fn write(
        run: &RunFolder,
        mut progress: Progress,
        model: &NamedTensors,
        optimiser: &NamedTensors,
    ) -> Result<(), TrainError> {
        let folder = run.checkpoints();
        fs::create_dir_all(&folder).map_err(TrainError::io("make the folder", &folder))?;
        let (aside, place) =
            (folder.join(format!(".{}.partial", name(progress.step))), folder.join(name(progress.step)));
        let (model, optimiser) = (weights::to_bytes(model), weights::to_bytes(optimiser));
        progress.checksums = [xxh3_64(&model), xxh3_64(&optimiser)];
        let text = serde_json::to_string_pretty(&progress).expect("numbers alone") + "\n";
        let written = (|| {
            let _ = fs::remove_dir_all(&aside);
            fs::create_dir(&aside)?;
            for (file, bytes) in [(MODEL, &model[..]), (OPTIMISER, &optimiser[..]), (PROGRESS, text.as_bytes())] {
                let mut file = File::create(aside.join(file))?;
                file.write_all(bytes)?;
                file.sync_all()?;
                stop_here(format_args!("{}:checkpoint-half", progress.step));
            }
            if place.exists() {
                // The same step again: the same bytes, after a resume.
                fs::remove_dir_all(&place)?;
            }
            fs::rename(&aside, &place)
        })();
        if written.is_err() {
            let _ = fs::remove_dir_all(&aside);
        }
        written.map_err(TrainError::io("write the checkpoint", &place))?;
        sync_folder(&folder)?;
        stop_here(format_args!("{}:checkpoint", progress.step));
        Self::prune(&folder);
        Ok(())
    }

    /// Keeps the last two and the one with the highest effective rank.
    fn prune(folder: &Path) {
        let steps = steps(folder);
        let rank = |step: u64| read_progress(&folder.join(name(step))).map_or(f64::NEG_INFINITY, |p| p.effective_rank);
        let best = steps.iter().copied().max_by(|a, b| rank(*a).total_cmp(&rank(*b)));
        let last = steps.len().saturating_sub(2);
        for step in steps[..last].iter().filter(|step| Some(**step) != best) {
            // A checkpoint too many does no harm; failing a run for it would.
            let _ = fs::remove_dir_all(folder.join(name(*step)));
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(".partial") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The newest checkpoint, or `None` where there is none. One that cannot be read whole is an error.
    pub fn newest(run: &RunFolder) -> Result<Option<Self>, TrainError> {
        let Some(step) = steps(&run.checkpoints()).pop() else { return Ok(None) };
        Self::read(&run.checkpoint(step)).map(Some)
    }

    /// Reads one checkpoint's folder.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let damaged = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
        let progress = read_progress(path).map_err(damaged)?;
        let tensors = |file: &str, checksum: u64| -> Result<NamedTensors, TrainError> {
            let path: PathBuf = path.join(file);
            let bytes = fs::read(&path).map_err(|e| damaged(format!("{file}: {e}")))?;
            if xxh3_64(&bytes) != checksum {
                return Err(damaged(format!("{file} is not what was written (its checksum differs)")));
            }
            weights::read_file(&path).map_err(|e| damaged(e.to_string()))
        };
        let model = tensors(MODEL, progress.checksums[0])?;
        let optimiser = tensors(OPTIMISER, progress.checksums[1])?;
        Ok(Self { progress, model, optimiser })
    }
}

fn read_progress(path: &Path) -> Result<Progress, String> {
    let text = fs::read_to_string(path.join(PROGRESS)).map_err(|e| format!("{PROGRESS}: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("{PROGRESS}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_nn::NamedTensor;

    fn tensors(value: f32) -> NamedTensors {
        [("w".to_owned(), NamedTensor { shape: vec![2], values: vec![value, 1.0] })].into()
    }

    fn progress(step: u64, effective_rank: f64) -> Progress {
        Progress {
            step,
            metrics_bytes: 0,
            timing_bytes: 0,
            effective_rank,
            seconds: 0.0,
            skipped: Vec::new(),
            health_due: false,
            instruction_set: String::new(),
            checksums: [0; 2],
        }
    }

    #[test]
    fn the_last_two_and_the_best_are_kept_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&dir.path().join("run"), "").unwrap();
        assert!(Checkpoint::newest(&run).unwrap().is_none());
        for (step, rank) in [(10, 1.0), (20, 9.0), (30, 2.0), (40, 3.0)] {
            Checkpoint::write(&run, progress(step, rank), &tensors(step as f32), &tensors(0.0)).unwrap();
        }
        assert_eq!(steps(&run.checkpoints()), vec![20, 30, 40]);
        let newest = Checkpoint::newest(&run).unwrap().unwrap();
        assert_eq!((newest.progress.step, newest.model), (40, tensors(40.0)));

        let file = run.checkpoints().join(name(40)).join(MODEL);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        let error = Checkpoint::newest(&run).err().unwrap().to_string();
        assert!(error.contains("checksum") && error.contains("step-000000040"), "{error}");
    }

    #[test]
    fn networks_that_stay_outlive_checkpoints() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&dir.path().join("run"), "").unwrap();
        for step in [10, 20, 30, 40] {
            if step == 20 {
                keep_stage(&run, step, &tensors(20.0)).unwrap();
            }
            Checkpoint::write(&run, progress(step, 0.0), &tensors(step as f32), &tensors(0.0)).unwrap();
        }
        // The first of equally good ones is gone: the best is the last of them.
        assert_eq!((checkpoint_steps(&run), kept_steps(&run)), (vec![30, 40], vec![20, 30, 40]));
        for step in kept_steps(&run) {
            assert_eq!(kept_networks(&run, step).unwrap(), tensors(step as f32));
        }
        assert!(kept_networks(&run, 10).is_err());
    }

    #[test]
    fn a_half_written_checkpoint_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&dir.path().join("run"), "").unwrap();
        Checkpoint::write(&run, progress(1, 0.0), &tensors(1.0), &tensors(0.0)).unwrap();
        let partial = run.checkpoints().join(".step-000000002.partial");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join(MODEL), b"half").unwrap();
        assert_eq!(Checkpoint::newest(&run).unwrap().unwrap().progress.step, 1);
        Checkpoint::write(&run, progress(3, 0.0), &tensors(1.0), &tensors(0.0)).unwrap();
        assert!(!partial.exists());
    }
}
