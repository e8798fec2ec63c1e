//! Whether a kept predictor knows what a change of colours does (IWM, arXiv 2403.00504, section 4): of many views of one image, which one
//! comes nearest to what is predicted of the clean image under the change that leads to it.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Colours, Crop, Image, Images, Modality, Sample, View};
use foretell_eval::{Better, Figures, Finding, Row, TRAINED, UNTRAINED, reciprocal_rank, reciprocal_rank_of_chance};
use foretell_jepa::target::TargetTransform;
use foretell_jepa::{KeptPredictor, action};
use foretell_nn::Encode;
use foretell_nn::whole_image::WholeImage;
use foretell_ops as ops;
use foretell_train::Which;

use super::originals;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Views of an image.
const VIEWS: usize = 256;
/// Images.
const IMAGES: usize = 16;
/// Images whose views give the scale of targets, where that is a batch's.
const BATCH: usize = 128;
/// Views that go through networks at a time.
const CHUNK: usize = 64;
/// The places of the draws: no other judgement has these steps.
const DRAWN: u64 = 1 << 32;

/// Mean reciprocal rank of the right one of 256 views of an image, the action given and withheld; `None` where the jitter changes nothing.
///
/// Distances are those of the training: of targets transformed as there, over all tokens.
pub fn views_told_apart(
    run: &Judging<'_, Images>,
    augment: &Augment,
    transform: TargetTransform,
) -> Result<Option<Finding>, JudgeError> {
    let strengths = [augment.brightness, augment.contrast, augment.saturation, augment.hue];
    if strengths.iter().all(|strength| *strength == 0.0) {
        return Ok(None);
    }
    // Views without a jitter would be alike.
    let augment = &Augment { jitter: 1.0, ..augment.clone() };
    let prepared = |count| originals(run, count).into_iter().map(|sample| run.data.prepare(sample)).collect::<Vec<_>>();
    let (clean, batch) = (prepared(IMAGES), prepared(BATCH));
    if clean.is_empty() {
        return Ok(None);
    }
    let colours = |image: usize, view: usize| {
        let mut rng = rng(run.on.seed, Stream::Judge, DRAWN + image as u64, view as u64);
        augment.colours(&mut rng).jitter_alone()
    };
    let batch: Vec<Sample> =
        batch.iter().enumerate().map(|(at, sample)| changed(sample, colours(IMAGES, at))).collect();
    let mut figures = Figures::new(&["action", "network"], "mrr", "", Better::Higher);
    let mut found = Vec::new();
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let kept = run.kept(which)?;
        let missing = || JudgeError::Other("the run has kept no predictor of images".to_owned());
        let predictor =
            kept.model.and_then(|model| model.downcast::<KeptPredictor<Sample>>().ok()).ok_or_else(missing)?;
        let network = predictor.0.network().downcast_ref::<WholeImage>().ok_or_else(missing)?;
        let networks = Networks { encoder: kept.encoder.as_ref(), network, transform };
        let batch = networks.tokens(&batch);
        let mut ranks = [Vec::new(), Vec::new()];
        for (at, sample) in clean.iter().enumerate() {
            let colours: Vec<Colours> = (0..VIEWS).map(|view| colours(at, view)).collect();
            for (ranks, rank) in ranks.iter_mut().zip(networks.ranks(sample, &colours, augment, &batch)) {
                ranks.push(rank);
            }
        }
        found.push((name, ranks));
    }
    for (at, action) in ["given", "withheld"].into_iter().enumerate() {
        for (name, ranks) in &found {
            let count = ranks[at].len() as f64;
            let mean = ranks[at].iter().sum::<f64>() / count;
            let variance = ranks[at].iter().map(|rank| (rank - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
            // Withheld, all images have the same: what is left is rounding.
            let (spread, samples) = (Some(variance.sqrt()).filter(|x| *x > 1e-9), Some(ranks[at].len() * VIEWS));
            figures.rows.push(Row { cells: vec![action.into(), (*name).into()], value: mean, spread, samples });
        }
    }
    figures.refer("chance", [None, None], reciprocal_rank_of_chance(VIEWS));
    let lead = format!(
        "Mean reciprocal rank of the right view among {VIEWS} views of a held-out image in other colours, by their distance from what is \
         predicted of the clean image and the change that leads to the view: 1 where it is always the nearest. Beside it the same with no \
         change told. The spread is over {} images.",
        clean.len()
    );
    Ok(Some(Finding::figures("mrr", "Whether the predictor knows what a change of colours does", &lead, figures)))
}

/// The same sample in other colours.
fn changed(sample: &Sample, colours: Colours) -> Sample {
    let image: &Image = &sample.image;
    let view = View { crop: Crop::whole(image), flip: false, colours };
    Sample { image: Arc::new(view.of(image, image.width)), ..sample.clone() }
}

struct Networks<'a> {
    encoder: &'a dyn Encode<Sample>,
    network: &'a WholeImage,
    transform: TargetTransform,
}

impl Networks<'_> {
    /// What the encoder says of images, `[B, N, D]`.
    fn tokens(&self, samples: &[Sample]) -> Tensor<3> {
        let chunk = |chunk: &[Sample]| {
            let tokens = self.encoder.tokens(&chunk.iter().collect::<Vec<_>>());
            let [rows, width] = tokens.rows.dims();
            tokens.rows.reshape([chunk.len(), rows / chunk.len(), width])
        };
        Tensor::cat(samples.chunks(CHUNK).map(chunk).collect(), 0)
    }

    /// Mean reciprocal ranks of the views of one image, its action given and withheld.
    fn ranks(&self, clean: &Sample, colours: &[Colours], augment: &Augment, batch: &Tensor<3>) -> [f64; 2] {
        let views: Vec<Sample> = colours.iter().map(|colours| changed(clean, colours.clone())).collect();
        let targets = flat(self.transform.beside(self.tokens(&views), batch.clone()));
        let seen = self.tokens(std::slice::from_ref(clean));
        let device = seen.device();
        let given = colours.chunks(CHUNK).map(|colours| {
            let action = |colours: &Colours| action::between(&Colours::default(), colours, augment);
            let actions: Vec<f32> = colours.iter().flat_map(action).collect();
            let actions = TensorData::new(actions, [colours.len(), action::NUMBERS]);
            let actions = Tensor::<2>::from_data(actions, &device);
            // A network that is told nothing takes no action.
            let actions = self.network.predictor.condition.is_some().then_some(actions);
            flat(self.network.predict(seen.clone().repeat_dim(0, colours.len()), actions))
        });
        let given = Tensor::cat(given.collect(), 0);
        let withheld = flat(self.network.predict(seen.clone(), None));
        let mean = targets.clone().mean_dim(0);
        let targets = targets - mean.clone();
        [given, withheld].map(|predictions| mean_rank(predictions - mean.clone(), targets.clone()))
    }
}

/// `[B, N, D]` → `[B, N · D]`.
fn flat(tokens: Tensor<3>) -> Tensor<2> {
    let [b, n, d] = tokens.dims();
    tokens.reshape([b, n * d])
}

/// Of targets `[V, F]` and what is predicted of each `[V, F]`, or of all `[1, F]`.
fn mean_rank(predictions: Tensor<2>, targets: Tensor<2>) -> f64 {
    let ([asked, _], [views, _]) = (predictions.dims(), targets.dims());
    let squares = targets.clone().square().sum_dim(1).transpose();
    // What a prediction's own length adds is the same for all views.
    let distances = ops::values(squares - ops::matmul(predictions, targets.transpose()) * 2.0);
    let rank = |view: usize| {
        let row = if asked == 1 { 0 } else { view };
        reciprocal_rank(&distances[row * views..(row + 1) * views], view)
    };
    (0..views).map(rank).sum::<f64>() / views as f64
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn predictions_of_their_own_views_rank_first_and_one_for_all_ranks_by_chance() {
        let values: Vec<f32> = (0..40).map(|i| ((i * 29) % 17) as f32).collect();
        let targets = Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([8, 5]);
        assert_eq!(mean_rank(targets.clone() + 0.1, targets.clone()), 1.0);
        let one = mean_rank(targets.clone().narrow(0, 3, 1) * 0.5, targets);
        assert!((one - reciprocal_rank_of_chance(8)).abs() < 1e-9, "{one}");
    }
}
