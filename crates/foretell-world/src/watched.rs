//! Windows as a model takes them: all observations encoded, actions and poses normalised.

use burn::tensor::{Tensor, TensorData};
use foretell_data::Window;
use foretell_jepa::dynamics::State;

use crate::imagination::Imagination;

/// Several windows of one length, side by side.
pub struct Watched {
    /// The latents of each observation, `[B, N, D]`, T of them.
    pub latents: Vec<Tensor<3>>,
    /// The actions between, `[B, A]`, T − 1 of them.
    pub actions: Vec<Tensor<2>>,
    /// `[B, S]` at each observation, where the model is told poses.
    poses: Vec<Option<Tensor<2>>>,
}

impl Watched {
    /// Of windows of one length.
    pub fn of(imagination: &Imagination, windows: &[Window]) -> Self {
        let Imagination { model, observation: [channels, height, width], normalise, actions: scale, device, .. } =
            imagination;
        let (frames, count) = (windows.first().map_or(0, |window| window.frames), windows.len());
        let (pixels, action) = (channels * height * width, scale.mean.len());
        let seen = |t: usize| {
            let of = |w: &Window| w.observations[t * pixels..][..pixels].to_vec();
            let mut seen: Vec<f32> = windows.iter().flat_map(of).collect();
            normalise.scale(&mut seen, height * width);
            let shape = [count, *channels, *height, *width];
            model.encode(Tensor::from_data(TensorData::new(seen, shape), device))
        };
        let acted = |t: usize| {
            let of = |w: &Window| w.actions[t * action..][..action].to_vec();
            let mut acted: Vec<f32> = windows.iter().flat_map(of).collect();
            scale.scale(&mut acted, 1);
            Tensor::<2>::from_data(TensorData::new(acted, [count, action]), device)
        };
        let pose = |t: usize| {
            let width = imagination.poses.as_ref()?.mean.len();
            imagination.poses(windows.iter().flat_map(|w| w.states[t * width..][..width].to_vec()).collect())
        };
        Self {
            latents: (0..frames).map(seen).collect(),
            actions: (0..frames.saturating_sub(1)).map(acted).collect(),
            poses: (0..frames).map(pose).collect(),
        }
    }

    /// Where the windows stand when so many observations have been seen.
    pub fn seen(&self, observations: usize, history: usize) -> State {
        let begin = State::begin(self.latents[0].clone()).posed(self.poses[0].clone());
        (1..observations).fold(begin, |state, t| {
            state.then(self.actions[t - 1].clone(), self.latents[t].clone(), history).posed(self.poses[t].clone())
        })
    }
}
