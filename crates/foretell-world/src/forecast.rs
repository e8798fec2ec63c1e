//! How well a model foretells, by horizon: beside saying that nothing changes, and beside saying the mean.

use burn::tensor::Tensor;
use foretell_data::Window;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use crate::imagination::Imagination;
use crate::watched::Watched;
use crate::world::WorldError;

/// Errors of latents 1, 2, … steps of the model ahead, by its own [energy](foretell_jepa::dynamics::WorldModel::energy), over
/// held-out windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Rolled out from the first observations, with the actions that were taken and nothing seen on the way.
    pub model: Vec<f64>,
    /// The latents of the last observation seen.
    pub copy_last: Vec<f64>,
    /// The mean of all latents of these windows: what the errors of one who knows nothing but the world would be.
    pub mean: Vec<f64>,
    /// Windows.
    pub windows: usize,
}

/// Windows that go through the model at a time.
const CHUNK: usize = 32;

impl Forecast {
    /// Of windows of one length, longer than what the model looks back on. Each begins with as many observations as that.
    pub fn of(imagination: &Imagination, windows: &[Window]) -> Result<Self, WorldError> {
        let history = imagination.model.history();
        let frames = windows.first().map_or(0, |w| w.frames);
        let pixels: usize = imagination.observation.iter().product();
        let width = imagination.actions.mean.len();
        let pose = imagination.poses.as_ref().map_or(0, |poses| poses.mean.len());
        let fits = |w: &Window| {
            (w.frames, w.observations.len(), w.actions.len()) == (frames, frames * pixels, (frames - 1) * width)
                && (pose == 0 || w.states.len() == frames * pose)
        };
        if frames <= history || !windows.iter().all(fits) {
            return Err(WorldError::Setting(format!(
                "a forecast needs windows of one length, more than the {history} observations that the model begins with, of {pixels} values each and {width} numbers of actions between two of them; the first window has {frames} observations, {} values and {} numbers of actions",
                windows.first().map_or(0, |w| w.observations.len()),
                windows.first().map_or(0, |w| w.actions.len()),
            )));
        }
        let horizon = frames - history;
        let mut sums = Sums { model: vec![0.0; horizon], copy_last: vec![0.0; horizon], latents: Vec::new() };
        for chunk in windows.chunks(CHUNK) {
            sums.add(imagination, chunk, history);
        }
        Ok(sums.finish(imagination, windows.len()))
    }
}

#[derive(Default)]
struct Sums {
    model: Vec<f64>,
    copy_last: Vec<f64>,
    /// Of each step ahead, the latents there, `[N, D]`.
    latents: Vec<Vec<f32>>,
}

/// Sum over the rows.
fn error(imagination: &Imagination, a: &Tensor<3>, b: &Tensor<3>) -> f64 {
    ops::values(imagination.model.energy(a.clone(), b.clone())).into_iter().map(f64::from).sum()
}

impl Sums {
    fn add(&mut self, imagination: &Imagination, windows: &[Window], history: usize) {
        let watched = Watched::of(imagination, windows);
        let mut state = watched.seen(history, history);
        let last = &watched.latents[history - 1];
        for (k, there) in watched.latents[history..].iter().enumerate() {
            state = imagination.model.step(state, watched.actions[history - 1 + k].clone());
            self.model[k] += error(imagination, state.newest(), there);
            self.copy_last[k] += error(imagination, last, there);
            let values = ops::values(there.clone());
            match self.latents.get_mut(k) {
                Some(latents) => latents.extend(values),
                None => self.latents.push(values),
            }
        }
    }

    fn finish(self, imagination: &Imagination, windows: usize) -> Forecast {
        let count = windows.max(1) as f64;
        let width = self.latents.first().map_or(1, |l| l.len() / windows.max(1)).max(1);
        let rows = (windows * self.latents.len()).max(1) as f64;
        let mut middle = vec![0.0_f64; width];
        for row in self.latents.iter().flat_map(|l| l.chunks_exact(width)) {
            middle.iter_mut().zip(row).for_each(|(m, x)| *m += f64::from(*x) / rows);
        }
        let spread = |latents: &Vec<f32>| {
            let off = latents.iter().zip(middle.iter().cycle()).map(|(x, m)| f64::from(*x) - m);
            off.map(|off| imagination.model.energy_of(off)).sum::<f64>() / (count * width as f64)
        };
        Forecast {
            model: self.model.iter().map(|sum| sum / count).collect(),
            copy_last: self.copy_last.iter().map(|sum| sum / count).collect(),
            mean: self.latents.iter().map(spread).collect(),
            windows,
        }
    }
}
