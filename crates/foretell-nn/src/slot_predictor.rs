//! C-JEPA's predictor (Causal-JEPA, arXiv 2602.11389, section 3): a transformer over slots and time, all of which see each other, that
//! says what hidden objects did and what all of them do next.
//!
//! No token says which slot it is, so that another order of the slots gives the same answers in that order.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Init;
use crate::causal::Foretells;
use crate::layers::{Block, LayerNorm, Linear};

/// Which of an object's slots says who is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchor {
    /// The first, as published: what comes of an object is asked for by where it began, and attention has to find where it is now.
    First,
    /// The last that is seen: the newest, and of a hidden object the first. Ours.
    LastSeen,
}

/// Lengths of a [`SlotPredictor`]. [`SlotPredictorConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotPredictorConfig {
    /// Width of a slot, D.
    pub slot: usize,
    /// Its own width P, a multiple of `heads`.
    pub width: usize,
    /// Numbers in an action block, A.
    pub action: usize,
    /// Observations that it looks back on at most, h.
    pub history: usize,
    /// Observations that it foretells at once at most, p.
    pub ahead: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the blocks' MLPs.
    pub hidden: usize,
    /// Which of an object's slots says who is asked for.
    pub anchor: Anchor,
    /// What its output says: a slot, or its change since the object was last seen.
    pub foretells: Foretells,
}

/// Deviation of fresh codes of time and of the fresh mask token. The released code draws the former at 1 beside slots of 128 numbers.
const CODE: f64 = 0.3;
const TOKEN: f64 = 0.02;

impl SlotPredictorConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> SlotPredictor {
        let Self { slot, width, action, history, ahead, depth, heads, hidden, anchor, foretells } = *self;
        let mut init = Init::new(rng, device);
        let mut to_out = Linear::uniform(width, slot, &mut init);
        if foretells == Foretells::Change {
            to_out = Linear { weight: init.constant([slot, width], 0.0), bias: init.constant([slot], 0.0) };
        }
        SlotPredictor {
            embed: Linear::uniform(slot, width, &mut init),
            id_projector: Linear::uniform(slot, width, &mut init),
            action_encoder: Linear::uniform(action, width, &mut init),
            mask_token: init.truncated_normal([1, 1, 1, width], TOKEN),
            time_pos_embed: init.truncated_normal([history + ahead, width], CODE),
            blocks: (0..depth).map(|_| Block::new(width, heads, hidden, &mut init)).collect(),
            norm: LayerNorm::new(width, 1e-5, &mut init),
            to_out,
            history,
            anchor,
            foretells,
        }
    }
}

/// See [`SlotPredictorConfig`].
#[derive(Module, Debug)]
pub struct SlotPredictor {
    /// D → P, of slots that are seen. Ours: the released network is as wide as its slots.
    pub embed: Linear,
    /// φ, D → P: what an object's [anchor](Anchor) says of who is asked for.
    pub id_projector: Linear,
    /// A → P: an action is a token of its time.
    pub action_encoder: Linear,
    /// `[1, 1, 1, P]`: what stands where a slot is not seen.
    pub mask_token: Param<Tensor<4>>,
    /// `[h + p, P]`, learnt: the newest observation that is seen has the code h − 1, however short the history.
    pub time_pos_embed: Param<Tensor<2>>,
    /// The transformer.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    /// P → D.
    pub to_out: Linear,
    #[module(skip)]
    history: usize,
    #[module(skip)]
    anchor: Anchor,
    #[module(skip)]
    foretells: Foretells,
}

impl SlotPredictor {
    /// Observations that it looks back on at most, h.
    pub fn history(&self) -> usize {
        self.history
    }

    /// Observations that it foretells at once at most, p.
    pub fn ahead(&self) -> usize {
        self.time_pos_embed.dims()[0] - self.history
    }

    /// What every object is at each moment: of the moments that are seen, as asked of those that are hidden; of those to come, of all.
    ///
    /// A hidden object is seen at the first moment alone; everywhere else its token is the mask token, the code of its time and φ of that
    /// first slot, its identity anchor, and its other slots go in nowhere.
    ///
    /// # Shapes
    /// - `slots`: `[B, k, K, D]`, k from 1 to h
    /// - `actions`: `[B, k + q − 1, A]`, q from 1 to p: after each moment but the last
    /// - `hidden`: `[B, K]` row-major, or nothing where all are seen
    /// - output: `[B, k + q, K, D]`
    pub fn forward(&self, slots: Tensor<4>, actions: Tensor<3>, hidden: Option<&[bool]>) -> Tensor<4> {
        let [b, k, objects, d] = slots.dims();
        let [_, between, _] = actions.dims();
        let (all, [_, width]) = (between + 1, self.time_pos_embed.dims());
        let plain = slots.device().inner();
        let hides = |row: usize| hidden.is_some_and(|hidden| hidden[row]);
        // 1 where a slot is not seen, [B, k + q, K, 1].
        let unseen: Vec<f32> = (0..b * all * objects)
            .map(|row| {
                let (sample, t, object) = (row / (all * objects), row / objects % all, row % objects);
                f32::from(u8::from(t >= k || (t > 0 && hides(sample * objects + object))))
            })
            .collect();
        let unseen = Tensor::<4>::from_data(TensorData::new(unseen, [b, all, objects, 1]), &plain);
        let first = slots.clone().narrow(1, 0, 1);
        // Hidden objects are seen last at the first moment, the others at the newest.
        let gone: Vec<f32> = (0..b * objects).map(|row| f32::from(u8::from(hides(row)))).collect();
        let gone = Tensor::<4>::from_data(TensorData::new(gone, [b, 1, objects, 1]), &plain);
        let newest = slots.clone().narrow(1, k - 1, 1);
        let last = first.clone() * gone.clone() + newest * (gone.neg() + 1.0);
        let anchor = if self.anchor == Anchor::First { first } else { last.clone() };
        let to_come = Tensor::<4>::zeros([b, all - k, objects, d], &plain);
        let seen = self.embed.forward(Tensor::cat(vec![slots, to_come], 1));
        let asked = (self.mask_token.val() + self.id_projector.forward(anchor)).repeat_dim(1, all);
        let code = self.time_pos_embed.val().narrow(0, self.history - k, all);
        let tokens = seen * (unseen.clone().neg() + 1.0) + asked * unseen + code.clone().reshape([1, all, 1, width]);
        let acted = self.action_encoder.forward(actions) + code.narrow(0, 0, between).unsqueeze::<3>();
        let x = Tensor::cat(vec![tokens.reshape([b, all * objects, width]), acted], 1);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x)).narrow(1, 0, all * objects);
        let said = self.to_out.forward(self.norm.forward(x)).reshape([b, all, objects, d]);
        match self.foretells {
            Foretells::Latent => said,
            Foretells::Change => said + last,
        }
    }

    /// What follows the newest of k moments that are all seen, `[B, K, D]`: `slots` `[B, k, K, D]`, `actions` `[B, k, A]`.
    pub fn next(&self, slots: Tensor<4>, actions: Tensor<3>) -> Tensor<3> {
        let [_, k, _, _] = slots.dims();
        self.forward(slots, actions, None).narrow(1, k, 1).squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use foretell_ops as ops;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const CONFIG: SlotPredictorConfig = SlotPredictorConfig {
        slot: 3,
        width: 8,
        action: 2,
        history: 4,
        ahead: 2,
        depth: 2,
        heads: 2,
        hidden: 16,
        anchor: Anchor::LastSeen,
        foretells: Foretells::Change,
    };

    fn noise<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// One that says something of everything.
    fn trained(anchor: Anchor, foretells: Foretells, device: &Device) -> SlotPredictor {
        let config = SlotPredictorConfig { anchor, foretells, ..CONFIG };
        let mut predictor = config.init(&mut ChaCha8Rng::seed_from_u64(1), device);
        predictor.to_out.weight = Param::initialized(predictor.to_out.weight.id, noise([3, 8], 9));
        predictor
    }

    /// The second of the first sample's three objects, the third of the second's.
    const HIDDEN: [bool; 6] = [false, true, false, false, false, true];

    /// Rows `[b, t, object]` of `[2, T, 3, 3]` as numbers.
    fn row(values: &[f32], frames: usize, [b, t, object]: [usize; 3]) -> &[f32] {
        &values[((b * frames + t) * 3 + object) * 3..][..3]
    }

    #[test]
    fn a_fresh_predictor_says_that_nothing_moves_since_it_was_seen() {
        let predictor = CONFIG.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex());
        let slots = noise([2, 4, 3, 3], 2);
        let said = ops::values(predictor.forward(slots.clone(), noise([2, 5, 2], 3), Some(&HIDDEN)));
        let seen = ops::values(slots);
        for (b, object) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let last = if HIDDEN[b * 3 + object] { 0 } else { 3 };
            for t in 0..6 {
                assert_eq!(row(&said, 6, [b, t, object]), row(&seen, 4, [b, last, object]), "{b} {t} {object}");
            }
        }
    }

    #[test]
    fn what_hidden_objects_did_leaks_nowhere() {
        for (anchor, foretells) in [
            (Anchor::First, Foretells::Latent),
            (Anchor::LastSeen, Foretells::Latent),
            (Anchor::LastSeen, Foretells::Change),
        ] {
            let predictor = trained(anchor, foretells, &Device::flex());
            let (slots, actions) = (noise([2, 4, 3, 3], 2), noise([2, 5, 2], 3));
            let said = |slots: Tensor<4>| ops::values(predictor.forward(slots, actions.clone(), Some(&HIDDEN)));
            let before = said(slots.clone());
            // Everything that the hidden object of the first sample did after the first moment, and not a number of the answer moves.
            let other = slots.clone().slice_assign([0..1, 1..4, 1..2, 0..3], noise([1, 3, 1, 3], 7));
            assert_eq!(said(other), before, "{anchor:?} {foretells:?}");
            // Its anchor does count, and so does what a seen object did.
            let anchored = slots.clone().slice_assign([0..1, 0..1, 1..2, 0..3], noise([1, 1, 1, 3], 7));
            let after = said(anchored);
            assert!((0..3).all(|object| row(&after, 6, [0, 5, object]) != row(&before, 6, [0, 5, object])));
            assert_eq!(before[54..], after[54..], "{foretells:?}: the other sample");
            let moved = said(slots.slice_assign([0..1, 2..3, 0..1, 0..3], noise([1, 1, 1, 3], 7)));
            assert_ne!(row(&moved, 6, [0, 2, 1]), row(&before, 6, [0, 2, 1]), "{foretells:?}");
        }
    }

    #[test]
    fn no_gradient_reaches_what_is_hidden() {
        let device = Device::flex().autodiff();
        let predictor = trained(Anchor::LastSeen, Foretells::Change, &device);
        let slots = Tensor::<4>::from_data(noise([2, 4, 3, 3], 2).into_data(), &device).require_grad();
        let said = predictor.forward(slots.clone(), noise([2, 5, 2], 3), Some(&HIDDEN));
        let gradient = ops::values(slots.grad(&said.square().sum().backward()).unwrap());
        for b in 0..2 {
            for t in 0..4 {
                for object in 0..3 {
                    let hidden = t > 0 && HIDDEN[b * 3 + object];
                    let none = row(&gradient, 4, [b, t, object]).iter().all(|g| *g == 0.0);
                    assert_eq!(none, hidden, "{b} {t} {object}");
                }
            }
        }
    }

    #[test]
    fn another_order_of_slots_is_the_same_answer_in_that_order() {
        let predictor = trained(Anchor::LastSeen, Foretells::Latent, &Device::flex());
        let (slots, actions) = (noise([2, 4, 3, 3], 2), noise([2, 5, 2], 3));
        let order = [2, 0, 1];
        let turned = |x: Tensor<4>| Tensor::cat(order.map(|k| x.clone().narrow(2, k, 1)).to_vec(), 2);
        let hidden: Vec<bool> = (0..6).map(|i| HIDDEN[i / 3 * 3 + order[i % 3]]).collect();
        let expected = turned(predictor.forward(slots.clone(), actions.clone(), Some(&HIDDEN)));
        let found = predictor.forward(turned(slots), actions, Some(&hidden));
        let largest = ops::values((expected - found).abs()).into_iter().fold(0.0, f32::max);
        assert!(largest < 1e-5, "{largest}");
    }

    #[test]
    fn the_newest_observation_keeps_its_code_however_short_the_history() {
        let predictor = trained(Anchor::First, Foretells::Latent, &Device::flex());
        let (slots, actions) = (noise([2, 2, 3, 3], 2), noise([2, 2, 2], 3));
        let next = ops::values(predictor.next(slots.clone(), actions.clone()));
        assert_eq!(next.len(), 18);
        // The code of the newest of a full history is that of the newest of a short one.
        let code = predictor.time_pos_embed.clone();
        let mut other = predictor.clone();
        let moved = |rows: std::ops::Range<usize>| {
            let count = rows.len();
            Param::initialized(code.id, code.val().slice_assign([rows, 0..8], noise([count, 8], 5)))
        };
        other.time_pos_embed = moved(0..2);
        assert_eq!(ops::values(other.next(slots.clone(), actions.clone())), next, "codes of what lies farther back");
        other.time_pos_embed = moved(5..6);
        assert_eq!(ops::values(other.next(slots.clone(), actions.clone())), next, "the code of the second to come");
        other.time_pos_embed = moved(3..4);
        assert_ne!(ops::values(other.next(slots, actions)), next);
    }
}
