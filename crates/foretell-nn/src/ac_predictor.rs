//! V-JEPA 2-AC's predictor (arXiv 2506.09985, section 3): the tokens of the next frame from those of the frames so far, and from the
//! robot's actions and states. Each step's tokens are `[action, state, (extrinsics,) patches]`; a step sees itself and what came before.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::causal::Foretells;
use crate::clip_vit::{blocks_parameters, product};
use crate::layers::{Block, LayerNorm, Linear};
use crate::positions::{self, Grid, RopeStyle};

/// Lengths of an [`AcPredictor`]. [`AcPredictorConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct AcPredictorConfig {
    /// The encoder's width D.
    pub encoder_width: usize,
    /// Rows and columns of a frame's tokens.
    pub grid: (usize, usize),
    /// Its own width P, a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Numbers of an action, A; extrinsics have one less.
    pub action: usize,
    /// Numbers of a state, S; 0 where none is told, and no token is it.
    pub state: usize,
    /// ε of the layer norms.
    pub eps: f64,
    /// How values share the angles of rotary codes: tiled in the released network.
    pub rope: RopeStyle,
    /// What becomes of extrinsics.
    pub extrinsics: Extrinsics,
    /// What its output says of the next frame's tokens.
    pub foretells: Foretells,
}

/// What becomes of a camera's extrinsics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extrinsics {
    /// The network has no map of them.
    Absent,
    /// It has one and does not use it: the released network.
    Unused,
    /// They are a token of each step.
    Given,
}

impl AcPredictorConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> AcPredictor {
        self.build(&mut Init::new(rng, device))
    }

    /// The network whose parameters `init` gives.
    pub fn build(&self, init: &mut Init<'_>) -> AcPredictor {
        let (d, p, std) = (self.encoder_width, self.width, 0.02);
        let extrinsics = self.extrinsics != Extrinsics::Absent;
        // A fresh predictor of changes says that there is none.
        let said = if self.foretells == Foretells::Change { 0.0 } else { std };
        AcPredictor {
            predictor_embed: Linear::vit(d, p, std, init),
            action_encoder: Linear::vit(self.action, p, std, init),
            state_encoder: (self.state > 0).then(|| Linear::vit(self.state, p, std, init)),
            extrinsics_encoder: extrinsics.then(|| Linear::vit(self.action - 1, p, std, init)),
            predictor_blocks: (0..self.depth)
                .map(|_| Block::with_eps(p, self.heads, self.hidden, self.eps, init))
                .collect(),
            predictor_norm: LayerNorm::new(p, self.eps, init),
            predictor_proj: Linear::vit(p, d, said, init),
            config: self.clone(),
        }
    }
}

impl AcPredictorConfig {
    /// About how many numbers the network has; see [`ClipVitConfig::parameters`](crate::clip_vit::ClipVitConfig::parameters).
    pub fn parameters(&self) -> u128 {
        let told = 2 * self.action as u128 + self.state as u128;
        let maps = product(&[self.width as u128, 2 * self.encoder_width as u128 + told]);
        maps.saturating_add(blocks_parameters(self.width, self.hidden, self.depth))
    }
}

/// See [`AcPredictorConfig`].
#[derive(Module, Debug)]
pub struct AcPredictor {
    /// D → P.
    pub predictor_embed: Linear,
    /// A → P.
    pub action_encoder: Linear,
    /// S → P, where states are told.
    pub state_encoder: Option<Linear>,
    /// A − 1 → P, where there is such a map.
    pub extrinsics_encoder: Option<Linear>,
    /// The transformer.
    pub predictor_blocks: Vec<Block>,
    /// After the last block.
    pub predictor_norm: LayerNorm,
    /// P → D.
    pub predictor_proj: Linear,
    #[module(skip)]
    config: AcPredictorConfig,
}

impl AcPredictor {
    /// The lengths it was made with.
    pub fn config(&self) -> &AcPredictorConfig {
        &self.config
    }

    /// What follows each step, seeing only what came before it.
    ///
    /// # Shapes
    /// - `latents`: `[B, T·H·W, D]`, frame by frame; `actions`: `[B, T, A]`; `states`: `[B, T, S]`, where the network takes them
    /// - `extrinsics`: `[B, T, A − 1]`, where the network takes them
    /// - output: `[B, T·H·W, D]`
    ///
    /// # Panics
    /// If states or extrinsics are given to a network that takes none, or not to one that does.
    pub fn forward(
        &self,
        latents: Tensor<3>,
        actions: Tensor<3>,
        states: Option<Tensor<3>>,
        extrinsics: Option<Tensor<3>>,
    ) -> Tensor<3> {
        self.forward_with_states(latents, actions, states, extrinsics).0
    }

    /// The same, and what has become of each step's state token, `[B, T, P]` after the last norm, where there is one.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_with_states(
        &self,
        latents: Tensor<3>,
        actions: Tensor<3>,
        states: Option<Tensor<3>>,
        extrinsics: Option<Tensor<3>>,
    ) -> (Tensor<3>, Option<Tensor<3>>) {
        assert_eq!(states.is_some(), self.config.state > 0, "states or none");
        assert_eq!(extrinsics.is_some(), self.config.extrinsics == Extrinsics::Given, "extrinsics or none");
        let [b, n, _] = latents.dims();
        let (rows, cols) = self.config.grid;
        let (width, patches) = (self.config.width, rows * cols);
        let steps = n / patches;
        let one = |x: Tensor<3>| x.reshape([b, steps, 1, width]);
        let map = |encoder: &Option<Linear>, x: Tensor<3>| encoder.as_ref().map(|encoder| one(encoder.forward(x)));
        let mut parts = vec![one(self.action_encoder.forward(actions))];
        let told = states.is_some();
        parts.extend(states.and_then(|states| map(&self.state_encoder, states)));
        parts.extend(extrinsics.and_then(|extrinsics| map(&self.extrinsics_encoder, extrinsics)));
        let extra = parts.len();
        parts.push(self.predictor_embed.forward(latents.clone()).reshape([b, steps, patches, width]));
        let per_step = extra + patches;
        let x = Tensor::cat(parts, 2).reshape([b * steps * per_step, width]);
        // Tokens that lie nowhere in the picture are turned by time alone: as at row and column 0.
        let grid = Grid { frames: 1, rows, cols };
        let place = |row: usize| {
            let [_, r, c] = (row % per_step).checked_sub(extra).map_or([0; 3], |patch| grid.place(patch));
            [(row / per_step) as f64, r as f64, c as f64]
        };
        let rows = steps * per_step;
        let at = (0..b).flat_map(|_| 0..rows as u32).collect();
        let turns = positions::turns(self.config.rope, (0..rows).map(place), width / self.config.heads, at);
        let sets = ops::Sets::uniform(b, rows).causal_by(per_step);
        let x = self.predictor_blocks.iter().fold(x, |x, block| block.forward_turned(x, &sets, Some(&turns)));
        let x = x.reshape([b, steps, per_step, width]);
        let states = told.then(|| self.predictor_norm.forward(x.clone().narrow(2, 1, 1).reshape([b, steps, width])));
        let x = x.narrow(2, extra, patches).reshape([b, n, width]);
        let said = self.predictor_proj.forward(self.predictor_norm.forward(x));
        let next = match self.config.foretells {
            Foretells::Latent => said,
            Foretells::Change => latents + said,
        };
        (next, states)
    }
}
