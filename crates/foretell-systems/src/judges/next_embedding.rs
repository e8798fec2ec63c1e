//! How well a causal network predicts the next patch's embedding of held-out images, beside predictors that need no network, and how
//! many directions those embeddings have: without either a low loss says nothing, as neighbouring patches are alike.

use burn::tensor::{Tensor, TensorData};
use foretell_data::{Images, Modality, Normalise, OnBadSample, Part, Sample, for_each, judged_part};
use foretell_eval::{Better, Features, Figures, Finding, Statistics, TRAINED, UNTRAINED};
use foretell_jepa::next_embedding::{directions, next};
use foretell_nn::causal_vit::{CausalVit, Sight};
use foretell_nn::encode::ImageNetwork;
use foretell_nn::vit::patchify;
use foretell_ops as ops;
use foretell_train::Which;

use crate::judging::Judging;
use crate::system::JudgeError;

/// Held-out images that are predicted, and training images whose mean is taken, at most.
const IMAGES: usize = 1024;
/// Images at a time.
const CHUNK: usize = 64;
/// Embeddings whose directions are counted, at most.
const COUNTED: usize = 2048;

/// Sums of cosines with the next patch's embedding.
#[derive(Default)]
struct Cosines {
    network: f64,
    previous: f64,
    mean: f64,
    count: usize,
}

/// Cosines with the next embedding, and ranks of the embeddings; `None` where nothing can be read.
pub fn next_embedding(run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
    let mut figures = Figures::new(&["predictor", "embeddings of"], "cosine", "", Better::Higher);
    let mut ranks = Figures::new(&["measure", "embeddings of"], "rank", "", Better::Higher);
    let (mut images, mut most) = (0, 0);
    let mut sighted = Sight::Causal;
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let kept = run.kept(which)?.encoder;
        let Some(network) = kept.network().downcast_ref::<CausalVit>() else {
            return Err(JudgeError::Other("the kept network predicts no next embedding".to_owned()));
        };
        sighted = network.config().sight;
        let Some((cosines, rows)) = judge(run, network)? else { return Ok(Vec::new()) };
        let of = |sum: f64| sum / cosines.count.max(1) as f64;
        for (predictor, sum) in
            [("network", cosines.network), ("previous patch", cosines.previous), ("mean embedding", cosines.mean)]
        {
            figures.push([predictor.into(), name.into()], of(sum));
        }
        let width = kept.width();
        let statistics = Statistics::of(&Features::new(rows.len() / width, width, rows)?)?;
        ranks.push(["RankMe".into(), name.into()], statistics.rankme);
        ranks.push(["effective rank".into(), name.into()], statistics.effective_rank);
        (images, most) = (cosines.count, statistics.rows.min(width));
    }
    let mut said = Finding::figures(
        "next_embedding",
        "What comes next",
        "Cosine between what is predicted of each next patch of held-out images and that patch's embedding: by the network from all \
         patches before it, by copying the embedding of the patch before, and by the mean direction of training images' embeddings. \
         Embeddings are those of the trained network and of the same untrained, so compare down a column: an embedding in which all \
         patches are alike is easy to predict.",
        figures.over(images),
    );
    if sighted == Sight::Both {
        said.notes.push("this network sees all patches, those that it predicts among them".to_owned());
    }
    let lead = format!(
        "How many directions the embeddings of held-out patches have, each embedding brought to length 1: RankMe counts the direction \
         that all share, the effective rank does not. At most {most}. One direction is collapse: every prediction is then right."
    );
    Ok(vec![said, Finding::figures("embedding_rank", "What there is to predict", &lead, ranks)])
}

/// The cosines, and directions of some embeddings, `[R, D]`.
fn judge(run: &Judging<'_, Images>, network: &CausalVit) -> Result<Option<(Cosines, Vec<f32>)>, JudgeError> {
    let config = network.config();
    let (first, patches) = (usize::from(config.cls), config.grid().0 * config.grid().1);
    let mut sums = vec![0.0_f64; config.width];
    passed(run, Part::Train, network, &mut |_, embeddings| {
        let [b, s, d] = embeddings.dims();
        for row in ops::values(directions(embeddings.slice([0..b, first..s, 0..d]))).chunks_exact(d) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
    })?;
    let length = sums.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let mean: Vec<f64> = sums.iter().map(|x| x / length).collect();
    let (mut cosines, mut counted) = (Cosines::default(), Vec::new());
    let part = judged_part(run.data.as_ref());
    let expected = run.data.len(part).unwrap_or(IMAGES).min(IMAGES) * patches;
    let mut seen = 0;
    passed(run, part, network, &mut |hidden, embeddings| {
        let [b, s, d] = embeddings.dims();
        // Of the same pairs for all three: the second patch is the first that has one before it.
        let patches = |x: Tensor<3>| x.slice([0..b, first..s, 0..d]);
        let (hidden, embeddings) = (patches(hidden), patches(embeddings));
        let every = ops::values(directions(embeddings.clone()));
        for row in every.chunks_exact(d) {
            if seen * COUNTED / expected.max(1) != (seen + 1) * COUNTED / expected.max(1) || expected <= COUNTED {
                counted.extend_from_slice(row);
            }
            seen += 1;
        }
        let (said, behind) = next(hidden, embeddings.clone());
        let before = ops::values(directions(embeddings.slice([0..b, 0..s - first - 1, 0..d])));
        let (said, behind) = (ops::values(directions(said)), ops::values(directions(behind)));
        let rows = said.chunks_exact(d).zip(before.chunks_exact(d)).zip(behind.chunks_exact(d));
        for ((said, before), behind) in rows {
            let dot = |a: &[f32]| a.iter().zip(behind).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            cosines.network += dot(said);
            cosines.previous += dot(before);
            cosines.mean += mean.iter().zip(behind).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
            cosines.count += 1;
        }
    })?;
    Ok((cosines.count > 0).then_some((cosines, counted)))
}

/// Hands out hidden tokens and embeddings `[B, S, D]` of a part's images, some at a time.
fn passed(
    run: &Judging<'_, Images>,
    part: Part,
    network: &CausalVit,
    take: &mut dyn FnMut(Tensor<3>, Tensor<3>),
) -> Result<(), JudgeError> {
    let normalise = &run.on.config.normalise;
    let mut chunk: Vec<Sample> = Vec::new();
    let mut flush = |chunk: &mut Vec<Sample>| {
        if !chunk.is_empty() {
            let images = images(chunk, normalise, network, run.on.device);
            let embeddings = network.embed(patchify(images, network.config().patch));
            let hidden = ops::together(run.on.device, || network.hidden(embeddings.clone(), 1.0));
            take(hidden, embeddings);
            chunk.clear();
        }
    };
    let skipped = for_each(run.data, part, IMAGES, run.on.threads, OnBadSample::Skip, |_, sample| {
        chunk.push(sample);
        if chunk.len() == CHUNK {
            flush(&mut chunk);
        }
        Ok::<_, foretell_data::DataError>(())
    })?;
    flush(&mut chunk);
    run.skip(skipped);
    Ok(())
}

/// Prepared samples as the network takes them, `[B, C, H, W]`.
fn images(samples: &[Sample], normalise: &Normalise, network: &CausalVit, device: &burn::tensor::Device) -> Tensor<4> {
    let ((height, width), channels) = (network.image(), network.channels());
    let one = channels * height * width;
    let mut pixels = vec![0.0; samples.len() * one];
    samples.iter().zip(pixels.chunks_exact_mut(one)).for_each(|(sample, out)| normalise.apply(&sample.image, out));
    Tensor::from_data(TensorData::new(pixels, [samples.len(), channels, height, width]), device)
}
