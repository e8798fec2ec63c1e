//! A transformer over clips with one more token that sums a clip up, as LeVJEPA (arXiv 2608.27395) has it.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops::{self as ops, Precision, Sets};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::clip_encoder::ClipNetwork;
use crate::clip_vit::{ClipVit, ClipVitConfig, Modality, Positions, cut, every};
use crate::positions::Grid;

/// Tokens of some places of several clips, as many of each frame, and who attends to whom.
#[derive(Clone, Copy, Debug)]
pub struct Thinned<'a> {
    /// Tokens of a whole clip.
    pub grid: Grid,
    /// Clips, B.
    pub clips: usize,
    /// `[B·F·k]`: the places that are kept, frame by frame, k of each.
    pub at: &'a [u32],
    /// Whether a token attends to its own frame and to earlier ones alone.
    pub causal: bool,
}

/// See the module: a [`ClipVit`] and its summing token, which attends to every token and to which none attends where attention is
/// causal, since the future would come back through it.
#[derive(Module, Debug)]
pub struct SummaryVit {
    /// `[1, 1, D]`, not turned by rotary codes.
    pub cls_token: Param<Tensor<3>>,
    /// Tokeniser, blocks and norm.
    pub vit: ClipVit,
    causal: bool,
}

impl SummaryVit {
    /// A fresh network; `causal` is how it is used after training.
    ///
    /// # Panics
    /// If its positions are not turned.
    pub fn new(config: &ClipVitConfig, causal: bool, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        assert!(matches!(config.positions, Positions::Turned(_)), "codes are turned");
        let vit = config.init(rng, device);
        Self { cls_token: Init::new(rng, device).truncated_normal([1, 1, config.width], 0.02), vit, causal }
    }

    /// Tokens of packed clips and what sums each clip up, after the norm: `[B·F·k, D]` and `[B, D]`.
    ///
    /// `tubelets`: `[B·F·k, C·t·p·p]`, normalised, each `[C, t, p, p]`.
    pub fn rows(&self, tubelets: Tensor<2>, thinned: Thinned<'_>) -> (Tensor<2>, Tensor<2>) {
        let Thinned { grid, clips, at, causal } = thinned;
        let config = self.vit.config();
        let (width, each) = (config.width, at.len() / clips.max(1));
        let x = self.vit.embed(Modality::Video).0.forward(tubelets);
        let table = Tensor::cat(vec![x, self.cls_token.val().reshape([1, width])], 0);
        // Behind each clip's tokens the one that sums them up; where it lies nothing is turned.
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (clip, at) in at.chunks_exact(each.max(1)).enumerate() {
            rows.extend((clip * each..(clip + 1) * each).map(|row| row as u32));
            rows.push((clips * each) as u32);
            places.extend_from_slice(at);
            places.push(0);
        }
        let Positions::Turned(rope) = &config.positions else { unreachable!("checked in `new`") };
        let turns = rope.turns(grid, width / config.heads, places);
        let sets = Sets::uniform(clips, each + 1);
        let sets = if causal { sets.causal_by(each / grid.frames.max(1)) } else { sets };
        let x = self
            .vit
            .blocks
            .iter()
            .fold(ops::gather(table, &rows), |x, block| block.forward_turned(x, &sets, Some(&turns)));
        let x = self.vit.norm.as_ref().expect("a norm at the end").forward(x);
        let of = |sums: bool| -> Vec<u32> {
            let is = |row: &usize| (row % (each + 1) == each) == sums;
            (0..rows.len()).filter(is).map(|row| row as u32).collect()
        };
        (ops::gather(x.clone(), &of(false)), ops::gather(x, &of(true)))
    }

    /// Every token of clips `[B, T, C, H, W]`: `[B, N, D]` and `[B, D]`.
    fn whole(&self, clips: Tensor<5>) -> (Tensor<3>, Tensor<2>) {
        let config = self.vit.config();
        let [batch, frames, _, height, side] = clips.dims();
        let grid = config.grid(frames, height, side);
        let tubelets = cut(clips, config.tubelet, config.patch);
        let [_, tokens, values] = tubelets.dims();
        let at = every(batch, tokens);
        let thinned = Thinned { grid, clips: batch, at: &at, causal: self.causal };
        let (rows, sums) = self.rows(tubelets.reshape([batch * tokens, values]), thinned);
        (rows.reshape([batch, tokens, config.width]), sums)
    }
}

impl ClipNetwork for SummaryVit {
    fn tokens(&self, clips: Tensor<5>) -> Tensor<3> {
        self.whole(clips).0
    }

    /// The mean of the tokens and what sums them up side by side, `[B, 2 D]`.
    fn probed(&self, clips: Tensor<5>) -> Tensor<2> {
        let (tokens, sums) = self.whole(clips);
        Tensor::cat(vec![tokens.mean_dim(1).squeeze_dim(1), sums], 1)
    }

    fn width(&self) -> usize {
        self.vit.config().width
    }

    fn channels(&self) -> usize {
        self.vit.config().channels
    }

    fn patch(&self) -> usize {
        self.vit.config().patch
    }

    fn tubelet(&self) -> usize {
        self.vit.config().tubelet
    }

    fn prepare(&mut self, precision: Precision) -> bool {
        self.vit.prepare(precision)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::SeedableRng;

    use super::*;
    use crate::positions::{Rope, RopeStyle};

    fn network(causal: bool) -> SummaryVit {
        let rope = Rope { style: RopeStyle::Interleaved, counted: None, spread: None };
        let config = ClipVitConfig {
            patch: 2,
            tubelet: 1,
            channels: 1,
            width: 16,
            depth: 2,
            heads: 2,
            hidden: 32,
            eps: 1e-6,
            positions: Positions::Turned(rope),
            dense: None,
        };
        SummaryVit::new(&config, causal, &mut ChaCha8Rng::seed_from_u64(3), &Device::flex())
    }

    fn clip(change: Option<usize>) -> Tensor<5> {
        let value = |i: usize| ((i * 37) % 101) as f32 / 50.0 + if Some(i / 16) == change { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..3 * 16).map(value).collect();
        Tensor::from_data(TensorData::new(values, [1, 3, 1, 4, 4]), &Device::flex())
    }

    /// The test of the paper's code: a later frame leaves earlier tokens as they are, and what sums up sees it.
    #[test]
    fn the_future_does_not_come_back() {
        for (causal, same) in [(true, true), (false, false)] {
            let network = network(causal);
            let [(before, sum), (after, other)] = [clip(None), clip(Some(2))].map(|clip| network.whole(clip));
            let [before, after] = [before, after].map(ops::values);
            // Two frames of four tokens.
            assert_eq!(before[..2 * 4 * 16] == after[..2 * 4 * 16], same, "{causal}");
            assert_ne!(before[2 * 4 * 16..], after[2 * 4 * 16..]);
            assert_ne!(ops::values(sum), ops::values(other));
        }
    }

    #[test]
    fn thinned_tokens_keep_their_places() {
        let network = network(true);
        let tubelets = cut(clip(None), 1, 2);
        let at = [1_u32, 2, 4, 7, 9, 10];
        let kept = crate::positions::gather_tokens(tubelets, &at).reshape([6, 4]);
        let grid = Grid { frames: 3, rows: 2, cols: 2 };
        let rows = |at: &[u32]| network.rows(kept.clone(), Thinned { grid, clips: 1, at, causal: true });
        assert_eq!(rows(&at).0.dims(), [6, 16]);
        assert_ne!(ops::values(rows(&at).1), ops::values(rows(&[0, 1, 4, 5, 8, 9]).1), "places make a difference");
    }
}
