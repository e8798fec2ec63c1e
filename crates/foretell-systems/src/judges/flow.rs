//! Whether a kept flow is right, where it is known exactly, and whether features at each level of its pyramid differ (MC-JEPA,
//! arXiv 2307.12698).

use burn::tensor::{Tensor, TensorData};
use foretell_data::{ClipSample, Clips, FlowMap, Modality, Part};
use foretell_eval::{Better, FEATURES, Figures, Finding, Row, TRAINED, UNTRAINED};
use foretell_jepa::flow::KeptFlow;
use foretell_jepa::flow::losses::deviation;
use foretell_nn::flow::FlowHead;
use foretell_nn::layers::Pass;
use foretell_nn::pyramid::Pyramid;
use foretell_ops as ops;
use foretell_train::Which;

use crate::judging::Judging;
use crate::system::JudgeError;

/// Pairs that are judged, at most.
const PAIRS: usize = 256;
/// Pairs that go through the networks at a time.
const CHUNK: usize = 32;
/// The control without a network: nothing moves.
const ZERO: &str = "zero flow";
/// The control of the features' deviation.
const PIXELS: &str = "pixels";

/// Pixels over which errors are averaged.
const KINDS: [&str; 3] = ["all", "moving", "moving, seen in both"];

/// Sums of end-point errors over each kind of pixel of a pair.
struct Errors {
    /// The mean of each pair, where it has such pixels.
    pairs: [Vec<f64>; 3],
}

impl Errors {
    fn new() -> Self {
        Self { pairs: Default::default() }
    }

    /// Takes in one pair: flow `[S · S · 2]` in pixels.
    fn add(&mut self, flow: impl Fn(usize) -> [f32; 2], truth: &FlowMap) {
        let (mut sums, mut counts) = ([0.0; 3], [0_usize; 3]);
        for (pixel, vector) in truth.vectors.iter().enumerate() {
            let [right, down] = flow(pixel);
            let error = f64::from((right - vector[0]).hypot(down - vector[1]));
            let moves = truth.moves(pixel);
            for (kind, holds) in [true, moves, moves && truth.seen[pixel]].into_iter().enumerate() {
                if holds {
                    sums[kind] += error;
                    counts[kind] += 1;
                }
            }
        }
        for (pairs, (sum, count)) in self.pairs.iter_mut().zip(sums.into_iter().zip(counts)) {
            if count > 0 {
                pairs.push(sum / count as f64);
            }
        }
    }
}

/// The kept pyramid and what makes flow of it, and pairs of frames normalised as in training.
struct Network {
    encoder: Box<dyn foretell_nn::Encode<ClipSample>>,
    head: FlowHead,
}

impl Network {
    fn of(run: &Judging<'_, Clips>, which: Which) -> Result<Self, JudgeError> {
        let kept = run.kept(which)?;
        let model = kept.model.and_then(|model| model.downcast::<KeptFlow>().ok());
        let model = model.ok_or_else(|| JudgeError::Other("the run has kept nothing that makes flow".to_owned()))?;
        Ok(Self { encoder: kept.encoder, head: model.0 })
    }

    /// Maps of frames `[B, C, S, S]`.
    fn maps(&self, frames: Tensor<4>) -> Result<Vec<Tensor<4>>, JudgeError> {
        let pyramid = self.encoder.network().downcast_ref::<Pyramid>();
        let pyramid = pyramid.ok_or_else(|| JudgeError::Other("the run has kept no pyramid".to_owned()))?;
        Ok(pyramid.maps(frames, &mut Pass::Evaluation))
    }
}

/// Frames of samples, `[B, C, S, S]`.
pub(super) fn frames(run: &Judging<'_, Clips>, of: &[(&ClipSample, usize)]) -> Result<Tensor<4>, JudgeError> {
    let (_, size, channels) = run.on.config.form()?;
    let one = channels * size * size;
    let mut values = vec![0.0; of.len() * one];
    for ((sample, frame), out) in of.iter().zip(values.chunks_exact_mut(one)) {
        run.on.config.normalise.apply(&sample.frames[*frame], out);
    }
    Ok(Tensor::from_data(TensorData::new(values, [of.len(), channels, size, size]), run.on.device))
}

/// Held-out samples that can be read, with their numbers.
fn held_out(run: &Judging<'_, Clips>, most: usize) -> Vec<(usize, ClipSample)> {
    let count = run.data.len(Part::HeldOut).unwrap_or(0).min(most);
    let read = |index| Some((index, run.data.prepare(run.data.load(Part::HeldOut, index).ok()?)));
    (0..count).filter_map(read).collect()
}

/// The end-point error, in pixels: the mean over pairs of the mean over pixels; `None` where flow is not known.
pub fn flow(run: &Judging<'_, Clips>) -> Result<Option<Finding>, JudgeError> {
    let samples = held_out(run, PAIRS);
    let mut pairs = Vec::new();
    for (index, sample) in &samples {
        let between = run.data.judged_frames(*index);
        let Some(truth) = run.data.flow(Part::HeldOut, *index, between)? else { return Ok(None) };
        pairs.push((sample, between, truth));
    }
    if pairs.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let (network, mut errors) = (Network::of(run, which)?, Errors::new());
        for chunk in pairs.chunks(CHUNK) {
            let of = |which: usize| -> Result<Vec<Tensor<4>>, JudgeError> {
                let chosen: Vec<_> = chunk.iter().map(|(sample, between, _)| (*sample, between[which])).collect();
                network.maps(frames(run, &chosen)?)
            };
            let flow = ops::values(network.head.forward(&of(0)?, &of(1)?).swap_remove(0));
            for (flow, (_, _, truth)) in flow.chunks_exact(2 * truth_pixels(chunk)).zip(chunk) {
                errors.add(|pixel| [flow[2 * pixel], flow[2 * pixel + 1]], truth);
            }
        }
        found.push((name, errors));
    }
    let mut none = Errors::new();
    for (_, _, truth) in &pairs {
        none.add(|_| [0.0; 2], truth);
    }
    found.push((ZERO, none));
    let mut figures = Figures::new(&["pixels", FEATURES], "end-point error", "px", Better::Lower);
    for (kind, pixels) in KINDS.into_iter().enumerate() {
        for (name, errors) in &found {
            let pairs = &errors.pairs[kind];
            if pairs.is_empty() {
                continue;
            }
            let value = pairs.iter().sum::<f64>() / pairs.len() as f64;
            let cells = vec![pixels.into(), (*name).into()];
            figures.rows.push(Row { cells, value, spread: None, samples: Some(pairs.len()) });
        }
    }
    let lead = "How far the flow from one frame to the next is from the exact one, which the generated scenes know: the mean over pairs \
                of held-out neighbouring frames of the mean over pixels, in pixels of the frame. Beside it what an error would be if \
                nothing moved.";
    Ok(Some(Finding::figures("flow", "Whether the flow is right", lead, figures)))
}

/// Pixels of a frame.
fn truth_pixels(chunk: &[(&ClipSample, [usize; 2], FlowMap)]) -> usize {
    chunk.first().map_or(1, |(_, _, truth)| truth.vectors.len())
}

/// The mean deviation of features over places and frames at each level, the finest first; `None` where nothing is held out.
pub fn deviations(run: &Judging<'_, Clips>) -> Result<Option<Finding>, JudgeError> {
    let samples = held_out(run, 2 * CHUNK);
    if samples.is_empty() {
        return Ok(None);
    }
    let middle = |(_, sample): &(usize, ClipSample)| sample.frames.len() / 2;
    let chosen: Vec<_> = samples.iter().map(|entry| (&entry.1, middle(entry))).collect();
    let frames = frames(run, &chosen)?;
    let value = |map: Tensor<4>| f64::from(ops::values(deviation(map))[0]);
    let mut rows = Vec::new();
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let maps = Network::of(run, which)?.maps(frames.clone())?;
        rows.push((name, maps.into_iter().map(value).collect::<Vec<_>>()));
    }
    // The frame brought to each level's size.
    let mut pixels = vec![frames.permute([0, 2, 3, 1])];
    while pixels.len() < rows[0].1.len() {
        pixels.push(ops::downsample_twice(pixels[pixels.len() - 1].clone()));
    }
    rows.push((PIXELS, pixels.into_iter().map(value).collect()));
    let mut figures = Figures::new(&["level", FEATURES], "deviation", "", Better::Higher).along("level");
    for level in 0..rows[0].1.len() {
        for (name, values) in &rows {
            figures.push([(level + 1).into(), (*name).into()], values[level]);
        }
    }
    let lead = "The standard deviation of each dimension of the features over places and frames, averaged over dimensions, at each level \
                from the finest (1): near 0 where all places have become alike. Beside it the normalised pixels at the same resolution.";
    Ok(Some(Finding::figures("deviation", "Whether features differ at each level", lead, figures.over(samples.len()))))
}
