//! V-JEPA 2-AC's networks (arXiv 2506.09985, section 3): the tokens of the next frame, as a frozen encoder sees them, from those of
//! the frames so far and from actions and poses; teacher forcing over every step, and a roll-out from the first.

use burn::module::Module;
use burn::tensor::Tensor;
use foretell_nn::ac_predictor::AcPredictor;
use foretell_nn::frozen::{FrozenFrames, normalised};
use foretell_nn::layers::Linear;
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use super::model::flat;
use super::{Dynamics, Networks, Seen, State, WindowBatch, WorldModel, heads};
use crate::{Clock, Latents, Outcome};

/// What the optimiser touches, behind an encoder that it does not.
#[derive(Module, Debug)]
pub struct BlockCausalNetworks {
    /// Frozen, and in no checkpoint.
    pub encoder: FrozenFrames,
    /// Kept after training.
    pub predictor: AcPredictor,
    /// Kept after training: what has become of a step's pose token → how the pose changes. `None` as released, where the action
    /// itself is that change, and where no poses are told.
    pub pose: Option<Linear>,
    /// Kept after training: all tokens of a frame and of one's goal → the action, in the units that the predictor takes. It learns when the
    /// rest has learnt. `None` as released.
    pub actor: Option<Pair>,
    /// Kept after training: all tokens of two frames → the steps between. `None` as released.
    pub reach: Option<Pair>,
    /// Frames that a step looks back on when it is asked outside of training.
    #[module(skip)]
    look_back: usize,
}

/// Which roll-out counts, and by which poses it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollOut {
    /// Each prediction once, by poses that were predicted on the way: what planning will see.
    #[default]
    Ours,
    /// The released code's: the first prediction counts here too, though teacher forcing has it, and poses are those recorded.
    Official,
}

/// What is set beside the networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forcing {
    /// Steps that are rolled out from the first frame, 1 for none.
    pub steps: usize,
    /// Weight of their error.
    pub weight: f64,
    /// Which of them count.
    pub roll_out: RollOut,
    /// Weight of the predicted poses' error.
    pub pose: f64,
    /// Weight of what is off in the steps between the places that windows bring along. Ours.
    pub reach: f64,
}

/// Frozen latents need nothing against collapse.
pub type BlockCausal = Dynamics<BlockCausalNetworks>;

/// Windows with their latents, batch-major.
#[derive(Clone, Debug)]
pub struct Told {
    /// `[B, T·N, D]`.
    pub latents: Tensor<3>,
    /// `[B, T − 1, A]`.
    pub actions: Tensor<3>,
    /// `[B, T, S]`, where poses are told.
    pub poses: Option<Tensor<3>>,
}

/// What was predicted of [`Told`].
pub struct Predicted {
    /// Of frames 1 to T − 1, each from all before it: `[B, (T − 1)·N, D]`.
    pub forced: Tensor<3>,
    /// Their poses `[B, T − 1, S]`, where the network predicts them.
    pub poses: Option<Tensor<3>>,
    /// Of frames 1 to K, each from the first and from predictions: `[B, K·N, D]`.
    pub rolled: Tensor<3>,
}

impl BlockCausalNetworks {
    /// Of an encoder and what predicts, which looks back on so many frames at most when it plans; without heads.
    pub fn new(encoder: FrozenFrames, predictor: AcPredictor, pose: Option<Linear>, look_back: usize) -> Self {
        Self { encoder, predictor, pose, actor: None, reach: None, look_back: look_back.max(1) }
    }

    /// The same with heads: what to do, and the steps between.
    pub fn with_heads(self, actor: Option<Pair>, reach: Option<Pair>) -> Self {
        Self { actor, reach, ..self }
    }

    /// The tokens of the places that windows bring along, `[B·K, N·D]`; `None` where they bring none.
    fn places(&self, batch: &WindowBatch) -> Option<Tensor<2>> {
        (batch.places > 0).then(|| flat(self.encoder.frozen().tokens(&batch.place_observations)))
    }

    /// What follows each of k frames: their tokens `[B, k·N, D]`, and their poses where they are told, `[B, k, S]`.
    fn next(&self, latents: Tensor<3>, actions: Tensor<3>, poses: Option<Tensor<3>>) -> (Tensor<3>, Option<Tensor<3>>) {
        let (said, hidden) = self.predictor.forward_with_states(latents, actions.clone(), poses.clone(), None);
        let moved = match (&self.pose, hidden) {
            (Some(head), Some(hidden)) => Some(head.forward(hidden)),
            // A block of actions is the change of the pose, one behind the other.
            _ => poses.as_ref().map(|poses| {
                let ([b, k, a], [_, _, s]) = (actions.dims(), poses.dims());
                actions.reshape([b, k, a / s, s]).sum_dim(2).reshape([b, k, s])
            }),
        };
        (normalised(said), poses.zip(moved).map(|(poses, moved)| poses + moved))
    }

    /// What is predicted of windows, rolled out over `steps` from the first frame.
    pub fn predict(&self, told: &Told, steps: usize, roll_out: RollOut) -> Predicted {
        let Told { latents, actions, poses } = told;
        let [_, all, _] = latents.dims();
        let [_, between, _] = actions.dims();
        let n = all / (between + 1);
        let first = |rows: &Tensor<3>, count: usize| rows.clone().narrow(1, 0, count);
        let recorded = |count: usize| poses.as_ref().map(|poses| first(poses, count));
        let (forced, moved) = self.next(first(latents, between * n), actions.clone(), recorded(between));
        let begin = |rows: &Tensor<3>, next: &Tensor<3>, count: usize| {
            Tensor::cat(vec![first(rows, count), first(next, count)], 1)
        };
        let mut seen = begin(latents, &forced, n);
        let mut along = poses.as_ref().zip(moved.as_ref()).map(|(poses, moved)| begin(poses, moved, 1));
        for k in 2..=steps.min(between) {
            let told = if roll_out == RollOut::Official { recorded(k) } else { along.clone() };
            let (next, moved) = self.next(seen.clone(), first(actions, k), told);
            let last = |rows: Tensor<3>, count: usize| rows.narrow(1, (k - 1) * count, count);
            seen = Tensor::cat(vec![seen, last(next, n)], 1);
            along = along.zip(moved).map(|(along, moved)| Tensor::cat(vec![along, last(moved, 1)], 1));
        }
        let [_, rolled, _] = seen.dims();
        Predicted { forced, poses: moved.filter(|_| self.pose.is_some()), rolled: seen.narrow(1, n, rolled - n) }
    }

    /// The loss of windows and its terms, each before its weight, and what was predicted by teacher forcing.
    pub fn losses(&self, told: &Told, forcing: &Forcing) -> (Tensor<1>, Vec<(&'static str, Tensor<1>)>, Tensor<3>) {
        let predicted = self.predict(told, forcing.steps, forcing.roll_out);
        let [_, all, _] = told.latents.dims();
        let [_, forced, _] = predicted.forced.dims();
        let [_, rolled, _] = predicted.rolled.dims();
        let n = all - forced;
        let there = |from: usize, count: usize| told.latents.clone().narrow(1, from, count);
        let mut loss = ops::l1(predicted.forced.clone(), there(n, forced));
        let mut terms = vec![("prediction", loss.clone().inner())];
        let mut add = |name: &'static str, weight: f64, value: Tensor<1>| {
            terms.push((name, value.clone().inner()));
            loss = loss.clone() + value * weight;
        };
        // The first step of the roll-out is teacher forcing's.
        let counted_before = if forcing.roll_out == RollOut::Official { 0 } else { n };
        if rolled > counted_before && forcing.steps > 1 {
            let count = rolled - counted_before;
            let ahead = predicted.rolled.narrow(1, counted_before, count);
            add("roll_out", forcing.weight, ops::l1(ahead, there(n + counted_before, count)));
        }
        if let Some((predicted, poses)) = predicted.poses.zip(told.poses.clone()) {
            let [_, after, _] = predicted.dims();
            add("pose", forcing.pose, ops::l1(predicted, poses.narrow(1, 1, after)));
        }
        (loss, terms, predicted.forced)
    }

    /// A batch as its encoder sees it.
    fn told(&self, seen: &Seen<'_>) -> Told {
        let (t, b) = (seen.batch.frames, seen.batch.samples);
        let latents = self.encoder.frozen().tokens(&seen.batch.observations);
        let [_, n, d] = latents.dims();
        let batch_major = |rows: Tensor<2>, steps: usize| {
            let [_, width] = rows.dims();
            rows.reshape([steps, b, width]).swap_dims(0, 1)
        };
        Told {
            latents: batch_major(flat(latents), t).reshape([b, t * n, d]),
            actions: batch_major(seen.actions.clone(), t - 1),
            poses: seen.poses.clone().map(|poses| batch_major(poses, t)),
        }
    }
}

impl WorldModel for BlockCausalNetworks {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        self.encoder.frozen().tokens(&ops::values(observations))
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        let latents = Tensor::cat(state.latents().to_vec(), 1);
        let in_order = |all: Vec<Tensor<2>>| {
            let one = |rows: Tensor<2>| {
                let [b, width] = rows.dims();
                rows.reshape([b, 1, width])
            };
            Tensor::cat(all.into_iter().map(one).collect(), 1)
        };
        let acted = in_order(state.actions().iter().cloned().chain([actions.clone()]).collect());
        let poses = (!state.poses().is_empty()).then(|| in_order(state.poses().to_vec()));
        let (length, [_, n, _]) = (state.latents().len(), state.newest().dims());
        let (next, moved) = self.next(latents, acted, poses);
        let next = next.narrow(1, (length - 1) * n, n);
        let pose = moved.map(|moved| flat(moved.narrow(1, length - 1, 1)));
        state.then(actions, next, self.look_back).posed(pose)
    }

    fn history(&self) -> usize {
        self.look_back
    }

    /// `‖z − z′‖₁`, its mean over tokens and their numbers (section 3.2).
    fn energy(&self, latents: Tensor<3>, there: Tensor<3>) -> Tensor<2> {
        (flat(latents) - flat(there)).abs().mean_dim(1)
    }

    fn energy_of(&self, difference: f64) -> f64 {
        difference.abs()
    }

    fn energy_name(&self) -> &'static str {
        "Mean absolute error"
    }

    fn latents_are_given(&self) -> bool {
        true
    }

    fn reach(&self) -> Option<&Pair> {
        self.reach.as_ref()
    }

    fn actor(&self) -> Option<&Pair> {
        self.actor.as_ref()
    }
}

impl Networks for BlockCausalNetworks {
    type Setting = Forcing;
    type Encoder = FrozenFrames;

    fn encoder(&self) -> &FrozenFrames {
        &self.encoder
    }

    /// By what came of an action where steps are told, else by what was done on the way from each frame to a later one.
    fn acted(&self, actor: &Pair, seen: &Seen<'_>) -> Option<Tensor<1>> {
        let latents = flat(self.encoder.frozen().tokens(&seen.batch.observations));
        Some(match (&self.reach, self.places(seen.batch)) {
            (Some(head), Some(places)) => heads::regressed(actor, head, &latents, &places, seen, seen.batch.places),
            _ => heads::inverse(actor, &latents, seen),
        })
    }

    fn loss(&self, forcing: &Forcing, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let told = self.told(seen);
        let (mut loss, mut terms, forced) = self.losses(&told, forcing);
        if let Some((head, places)) = self.reach.as_ref().zip(self.places(seen.batch)).filter(|_| forcing.reach > 0.0) {
            let off = heads::told(head, places, seen.batch);
            terms.push(("reach", off.clone().inner()));
            loss = loss + off * forcing.reach;
        }
        let rows = |tokens: Tensor<3>| {
            let [b, n, d] = tokens.dims();
            tokens.inner().reshape([b * n, d])
        };
        let latents = clock.health_due.then(|| {
            let ([_, all, _], [_, forced_rows, _]) = (told.latents.dims(), forced.dims());
            let targets = told.latents.narrow(1, all - forced_rows, forced_rows);
            Latents { predictions: rows(forced), targets: rows(targets) }
        });
        Outcome { loss, terms, latents, seen: Vec::new() }
    }
}
