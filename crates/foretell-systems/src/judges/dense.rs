//! What single tokens know: which object lies there, and how alike the tokens of one sample are. For data of which the place of every
//! object is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_data::random::{Stream, rng, shuffled};
use foretell_data::{Image, Modality, Part, for_places, spread};
use foretell_eval::{Better, FEATURES, Factor, Features, Figures, Finding, Linear, TRAINED, UNTRAINED};
use foretell_jepa::KeptTargets;
use foretell_nn::{Encode, Tokens};
use foretell_ops as ops;
use foretell_train::{TrainError, Which};

use super::originals;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Samples whose tokens a probe learns from, and is tested on, at most.
const LEARNT: usize = 2000;
const TESTED: usize = 1000;
/// Tokens of each object in a sample that are taken.
const TAKEN: usize = 3;
/// Samples that go through an encoder at a time.
const CHUNK: usize = 64;
/// Samples of which the tokens are held against each other.
const COMPARED: usize = 256;

/// Both findings: which object a token shows, and how alike the tokens of one sample are.
pub fn dense<D: Modality>(run: &Judging<'_, D>) -> Result<Vec<Finding>, JudgeError> {
    Ok([objects(run)?, alike(run)?].into_iter().flatten().collect())
}

/// Which object, or none, a token shows, by a linear probe of the token alone; `None` where that is not known of the data or tokens lie on
/// no grid.
///
/// Of each sample and each object in it up to three tokens are taken of which it covers at least half, and of one sample in two one that none
/// touches: of scenes with one object about as many of each kind as of nothing, so that answering `none` everywhere is worth as little as
/// any other answer.
pub fn objects<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let names = run.data.objects();
    if names.is_empty() || run.data.len(Part::HeldOut).is_none_or(|held_out| held_out == 0) {
        return Ok(None);
    }
    let (trained, untrained) = (run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder);
    let encoders = [trained.as_ref(), untrained.as_ref()];
    let limit = LEARNT.min(run.train_samples());
    let Some(train) = Seen::of(run, &encoders, Part::Train, limit)? else { return Ok(None) };
    let Some(test) = Seen::of(run, &encoders, Part::HeldOut, TESTED)? else { return Ok(None) };
    let factor = Factor::new("object", train.labels, test.labels);
    let mut figures = Figures::new(&["factor", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let baseline = run.data.baseline_name();
    let linear = Linear::default();
    let mut notes = Vec::new();
    for ((name, train), test) in [TRAINED, UNTRAINED, baseline].into_iter().zip(train.rows).zip(test.rows) {
        let [fit] = &linear.probe(&train, &test, std::slice::from_ref(&factor))?[..] else { continue };
        figures.push(["object".into(), name.into()], fit.accuracy);
        if !fit.converged {
            notes.push(format!("the probe of {name} features ended before it converged; its figure may change"));
        }
    }
    figures.refer("chance", [Some("object".into()), None], factor.chance());
    let (tested, samples) = (factor.test.len(), limit.min(run.data.len(Part::Train).unwrap_or(limit)));
    let lead = format!(
        "Share of held-out tokens of which a linear probe says rightly which object they show: {}. It reads a token alone and learns from \
         those of {samples} training {}. Up to {TAKEN} tokens of a sample are of each object, which covers at least half of them; of one \
         sample in two one stands for nothing. n is the number of tokens.",
        names.join(", "),
        D::UNIT.many
    );
    let mut finding = Finding::figures("dense", "What lies in a token", &lead, figures.over(tested));
    finding.notes = notes;
    Ok(Some(finding))
}

/// Features of single tokens by each encoder, and their pixels, with what they show.
struct Seen {
    rows: Vec<Features>,
    labels: Vec<u32>,
}

impl Seen {
    fn of<D: Modality>(
        run: &Judging<'_, D>,
        encoders: &[&dyn Encode<D::Sample>],
        part: Part,
        limit: usize,
    ) -> Result<Option<Self>, JudgeError> {
        let (data, places) = (run.data, spread(run.data.len(part), limit).collect::<Arc<[usize]>>());
        let mut all: Vec<Vec<f32>> = vec![Vec::new(); encoders.len() + 1];
        let (mut labels, mut fits) = (Vec::new(), true);
        let (count, mut met) = (places.len(), 0);
        let (mut samples, mut read) = (Vec::new(), Vec::new());
        let mut flush = |samples: &[D::Sample], read: &[usize]| {
            let samples: Vec<&D::Sample> = samples.iter().collect();
            let tokens: Vec<Tokens> = encoders.iter().map(|encoder| encoder.tokens(&samples)).collect();
            let Some((rows, columns)) = tokens.first().and_then(|tokens| tokens.grid) else { return false };
            let each = tokens.first().map_or(0, |tokens| tokens.rows.dims()[0]) / samples.len().max(1);
            // A sample of several grids has one after the other in time.
            let grid = (each / (rows * columns).max(1), rows, columns);
            let chosen: Vec<Vec<(usize, u32)>> = read.iter().map(|place| choose(run, part, *place, grid)).collect();
            let values: Vec<Vec<f32>> = tokens.iter().map(|tokens| ops::values(tokens.rows.clone())).collect();
            for (at, (sample, chosen)) in samples.iter().zip(&chosen).enumerate() {
                let frames = match data.film(sample) {
                    Some(film) => film.frames,
                    None => data.picture(sample).into_iter().collect(),
                };
                let fine = |frame: &Image| frame.width >= columns && frame.height >= rows;
                if frames.len() < grid.0.max(1) || !frames.iter().all(fine) {
                    return false;
                }
                for (token, label) in chosen {
                    for (values, all) in values.iter().zip(&mut all) {
                        let width = values.len() / (samples.len() * each).max(1);
                        all.extend_from_slice(&values[(at * each + token) * width..][..width]);
                    }
                    if let Some(pixels) = all.last_mut() {
                        pixels.extend(cell(&frames, grid, *token));
                    }
                    labels.push(*label);
                }
            }
            true
        };
        for_places(data, part, places, run.on.threads, |place, sample| -> Result<(), TrainError> {
            met += 1;
            if let Ok(sample) = sample {
                samples.push(sample);
                read.push(place);
            }
            if fits && !samples.is_empty() && (samples.len() == CHUNK || met == count) {
                fits = flush(&samples, &read);
                samples.clear();
                read.clear();
            }
            Ok(())
        })?;
        if !fits || labels.len() < super::LEAST_PROBED {
            return Ok(None);
        }
        let rows = all.into_iter().map(|values| Features::new(labels.len(), values.len() / labels.len(), values));
        Ok(Some(Self { rows: rows.collect::<Result<_, _>>()?, labels }))
    }
}

/// Tokens of a sample and what they show.
fn choose<D: Modality>(
    run: &Judging<'_, D>,
    part: Part,
    place: usize,
    grid: (usize, usize, usize),
) -> Vec<(usize, u32)> {
    let Some(covered) = run.data.covered(part, place, grid) else { return Vec::new() };
    let step = u64::from(part == Part::HeldOut);
    let order = shuffled(covered.len(), &mut rng(0, Stream::Judge, step, place as u64));
    // Of one sample in two, by a draw: places are evenly spread, and may all be even.
    let with_nothing = order.first().is_some_and(|token| token.is_multiple_of(2));
    let order = || order.iter().map(|token| *token as usize);
    let mut taken: BTreeMap<u32, usize> = BTreeMap::new();
    let mut shown: Vec<(usize, u32)> = Vec::new();
    for token in order().filter(|token| covered[*token].1 >= 0.5) {
        let object = covered[token].0;
        let taken = taken.entry(object).or_default();
        if *taken < TAKEN {
            *taken += 1;
            shown.push((token, object));
        }
    }
    let nothing = order().filter(|token| covered[*token].1 == 0.0).take(usize::from(with_nothing));
    shown.extend(nothing.map(|token| (token, 0)));
    shown
}

/// The pixels of a token in its frames, 0 to 1.
fn cell(frames: &[Image], (moments, rows, columns): (usize, usize, usize), token: usize) -> impl Iterator<Item = f32> {
    let (time, row, column) = (token / (rows * columns), token / columns % rows, token % columns);
    let each = frames.len() / moments;
    frames[time * each..(time + 1) * each].iter().flat_map(move |image| {
        let (high, wide) = (image.height / rows, image.width / columns);
        let at = move |y: usize| ((row * high + y) * image.width + column * wide) * image.channels;
        let lines = (0..high).flat_map(move |y| &image.pixels[at(y)..][..wide * image.channels]);
        lines.map(|pixel| f32::from(*pixel) / 255.0)
    })
}

/// How alike the tokens of one sample are: the mean cosine of two of them, each brought to mean 0 first; of what the encoder says, and
/// of the targets where they are made of it. `None` where a sample has one token.
pub fn alike<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let samples: Vec<D::Sample> = originals(run, COMPARED).into_iter().map(|sample| run.data.prepare(sample)).collect();
    if samples.is_empty() {
        return Ok(None);
    }
    let mut figures = Figures::new(&["of", "network"], "cosine", "", Better::Lower);
    let mut found = vec![Vec::new(); 2];
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let kept = run.kept(which)?;
        let targets = kept.model.and_then(|model| model.downcast::<KeptTargets<D::Sample>>().ok());
        let targets = targets.map(|targets| targets.0);
        for (rows, encoder) in found.iter_mut().zip([Some(kept.encoder), targets]) {
            let Some(encoder) = encoder else { continue };
            let Some(cosine) = mean_cosine(encoder.as_ref(), &samples) else { return Ok(None) };
            rows.push((name, cosine));
        }
    }
    for (of, rows) in ["tokens", "targets"].into_iter().zip(found) {
        for (name, cosine) in rows {
            figures.push([of.into(), name.into()], cosine);
        }
    }
    Ok(Some(Finding::figures(
        "alike",
        "How alike the tokens of a sample are",
        "Mean cosine of two tokens of the same held-out sample, each brought to mean 0: of what the kept encoder says of them, and of the \
         targets where those are made of it. The lower, the more differs from place to place; what differs need not mean anything.",
        figures.over(samples.len()),
    )))
}

/// Over pairs of tokens and then over samples.
fn mean_cosine<S>(encoder: &dyn Encode<S>, samples: &[S]) -> Option<f64> {
    let mut sum = 0.0;
    for chunk in samples.chunks(CHUNK) {
        let Tokens { rows, sets, .. } = encoder.tokens(&chunk.iter().collect::<Vec<_>>());
        let ([_, width], values) = (rows.dims(), ops::values(rows));
        for set in 0..sets.count() {
            let range = sets.range(set);
            sum += pairs(&values[range.start * width..range.end * width], width)?;
        }
    }
    Some(sum / samples.len() as f64)
}

/// The mean cosine of two different rows: `(‖Σ u‖² − N) / (N (N − 1))` of unit vectors u.
fn pairs(rows: &[f32], width: usize) -> Option<f64> {
    let count = rows.len() / width.max(1);
    if count < 2 {
        return None;
    }
    let mut sum = vec![0.0; width];
    let mut units = 0.0;
    for row in rows.chunks_exact(width) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let length = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            units += 1.0;
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += (f64::from(*x) - mean) / length);
        }
    }
    let square: f64 = sum.iter().map(|x| x * x).sum();
    Some((square - units) / (count * (count - 1)) as f64)
}

#[cfg(test)]
mod tests {
    use super::{cell, pairs};
    use foretell_data::Image;

    #[test]
    fn the_mean_cosine_is_that_of_all_pairs() {
        // Of mean 0: (1, -1), (-1, 1), (1, -1): cosines -1, 1, -1.
        let cosine = pairs(&[3.0, 1.0, 0.0, 4.0, 1.0, 0.0], 2).unwrap();
        assert!((cosine + 1.0 / 3.0).abs() < 1e-12, "{cosine}");
        assert!((pairs(&[1.0, 2.0, 9.0, 2.0, 4.0, 18.0], 3).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(pairs(&[1.0, 2.0], 2), None);
    }

    #[test]
    fn a_cell_is_the_tokens_own_pixels() {
        let image = Image { width: 4, height: 2, channels: 1, pixels: vec![0, 255, 51, 102, 255, 0, 153, 204] };
        let frames = [image.clone(), Image { pixels: image.pixels.iter().map(|x| 255 - x).collect(), ..image }];
        assert_eq!(cell(&frames[..1], (1, 1, 2), 1).collect::<Vec<_>>(), [0.2, 0.4, 0.6, 0.8]);
        assert_eq!(cell(&frames[..1], (1, 2, 4), 4).collect::<Vec<_>>(), [1.0]);
        // In time: the second moment's, and both frames of one.
        assert_eq!(cell(&frames, (2, 2, 4), 12).collect::<Vec<_>>(), [0.0]);
        assert_eq!(cell(&frames, (1, 2, 4), 4).collect::<Vec<_>>(), [1.0, 0.0]);
    }
}
