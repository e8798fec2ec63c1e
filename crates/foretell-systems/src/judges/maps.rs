//! What maps that are rolled forward are worth (EB-JEPA's video example, arXiv 2602.03604): whether a head that was trained on maps of
//! frames that are seen finds in them where something moves, and how far they are from the maps of the frames when these are seen.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use foretell_data::{ClipSample, Clips, Image, Modality, Part, evenly, for_places, spread};
use foretell_eval::{
    Better, Card, FEATURES, Features, Figures, Finding, Grid, Pictures, Ridge, Strip, TRAINED, Tile, UNTRAINED,
    average_precision,
};
use foretell_jepa::clips::maps::KeptMaps;
use foretell_nn::frame_maps::FrameMaps;
use foretell_nn::layers::Pass;
use foretell_ops as ops;
use foretell_train::Which;

use super::flow::frames;
use super::rgb;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Clips that a head learns from, and those that are judged, at most.
const LEARNT: usize = 128;
const JUDGED: usize = 128;
/// Frames of a clip that a head learns from.
const LEARNT_FRAMES: usize = 4;
/// Clips that go through the networks at a time.
const CHUNK: usize = 16;
/// Frames ahead, at most.
const AHEAD: usize = 8;
/// Moments of a clip from which maps are rolled forward, at most.
const STARTS: usize = 3;
/// Cells a side, as released.
const SIDE: usize = 8;
/// The least share of a cell in which something moves.
const SHARE: f32 = 0.25;
/// Pixels are averaged to so many parts a side of a cell.
const FINE: usize = 2;
/// Clips that are shown.
const SHOWN: usize = 4;

const COPIED: &str = "trained, last map copied";
const UNTRAINED_COPIED: &str = "untrained, last map copied";
const SEEN: &str = "trained, the frame itself seen";

/// A map on the host, `[H, W, D]`.
#[derive(Clone, Debug)]
struct Map {
    values: Vec<f32>,
    dims: [usize; 3],
}

impl Map {
    /// Maps `[B, H, W, D]`.
    fn all(maps: Tensor<4>) -> Vec<Self> {
        let [_, h, w, d] = maps.dims();
        let values = ops::values(maps);
        values.chunks_exact((h * w * d).max(1)).map(|map| Self { values: map.to_vec(), dims: [h, w, d] }).collect()
    }

    /// A frame in `FINE` × `FINE` parts of each cell, which are its numbers.
    fn of_pixels(frame: &Image) -> Self {
        let values = frame.pixels.iter().map(|pixel| f32::from(*pixel) / 255.0).collect();
        let d = frame.channels;
        let fine = Self { values, dims: [frame.height, frame.width, d] }.pooled(FINE * SIDE);
        let of = |cell: usize| {
            let (row, column) = (cell / SIDE * FINE, cell % SIDE * FINE);
            let rows = (row..row + FINE).map(move |row| (row * FINE * SIDE + column) * d);
            rows.flat_map(|at| fine.values[at..at + FINE * d].iter().copied())
        };
        Self { values: (0..SIDE * SIDE).flat_map(of).collect(), dims: [SIDE, SIDE, FINE * FINE * d] }
    }

    /// Means over `side` × `side` parts: PyTorch's `adaptive_avg_pool2d`.
    fn pooled(&self, side: usize) -> Self {
        let [h, w, d] = self.dims;
        let part = |at: usize, of: usize| -> Range<usize> { at * of / side..((at + 1) * of).div_ceil(side) };
        let mut values = vec![0.0; side * side * d];
        for (cell, out) in values.chunks_exact_mut(d.max(1)).enumerate() {
            let (rows, columns) = (part(cell / side, h), part(cell % side, w));
            let count = (rows.len() * columns.len()).max(1) as f32;
            for row in rows {
                for column in columns.clone() {
                    let place = &self.values[(row * w + column) * d..][..d];
                    out.iter_mut().zip(place).for_each(|(out, x)| *out += x / count);
                }
            }
        }
        Self { values, dims: [side, side, d] }
    }

    /// Of each cell its own numbers and those of the cells around it, zeros beyond the edge: `[SIDE · SIDE, 9 D]`. A linear head on these is
    /// a convolution of 3 × 3.
    fn cells(&self) -> Vec<f32> {
        let pooled = self.pooled(SIDE);
        let d = self.dims[2];
        let mut rows = Vec::with_capacity(SIDE * SIDE * 9 * d);
        for cell in 0..SIDE * SIDE {
            for around in 0..9 {
                let (row, column) = (cell / SIDE + around / 3, cell % SIDE + around % 3);
                // Both are one too many.
                if (1..=SIDE).contains(&row) && (1..=SIDE).contains(&column) {
                    rows.extend_from_slice(&pooled.values[((row - 1) * SIDE + column - 1) * d..][..d]);
                } else {
                    rows.extend(std::iter::repeat_n(0.0, d));
                }
            }
        }
        rows
    }

    /// The sum of squared differences.
    fn apart(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }
}

/// A clip, and of each frame which cells something moves in; none where that is not known.
struct Clip {
    sample: ClipSample,
    moves: Option<Vec<Vec<bool>>>,
}

/// Clips of a part that can be read and have all frames.
fn read(run: &Judging<'_, Clips>, part: Part, most: usize, frames: usize) -> Result<Vec<Clip>, JudgeError> {
    let places: Arc<[usize]> = spread(run.data.len(part), most).collect();
    let mut clips = Vec::new();
    for_places(run.data, part, places, run.on.threads, |place, sample| -> Result<(), JudgeError> {
        if let Some(sample) = sample.ok().filter(|sample| sample.frames.len() == frames) {
            let all: Vec<usize> = (0..frames).collect();
            let shares = run.data.moving_shares(part, place, &all, SIDE)?;
            let moves = |shares: Vec<f32>| shares.into_iter().map(|share| share >= SHARE).collect();
            clips.push(Clip { sample, moves: shares.map(|frames| frames.into_iter().map(moves).collect()) });
        }
        Ok(())
    })?;
    Ok(clips)
}

/// The kept encoder, and what rolls its maps forward.
struct Network {
    encoder: Box<dyn foretell_nn::Encode<ClipSample>>,
    model: KeptMaps,
}

impl Network {
    fn of(run: &Judging<'_, Clips>, which: Which) -> Result<Self, JudgeError> {
        let kept = run.kept(which)?;
        let model = kept.model.and_then(|model| model.downcast::<KeptMaps>().ok());
        let model =
            model.ok_or_else(|| JudgeError::Other("the run has kept nothing that rolls maps forward".into()))?;
        Ok(Self { encoder: kept.encoder, model: *model })
    }

    /// Maps of frames of clips, `[B, H, W, D]`.
    fn maps(&self, run: &Judging<'_, Clips>, of: &[(&ClipSample, usize)]) -> Result<Tensor<4>, JudgeError> {
        let network = self.encoder.network().downcast_ref::<FrameMaps>();
        let network = network.ok_or_else(|| JudgeError::Other("the run has kept no encoder of maps".to_owned()))?;
        Ok(network.maps(frames(run, of)?, &mut Pass::Evaluation))
    }
}

/// What says from a map which cells something moves in.
struct Head(Ridge);

impl Head {
    /// Trained on maps of some frames of clips; `None` where there are none, or it is not known what moves.
    fn fit(
        clips: &[Clip],
        mut maps: impl FnMut(&[(&ClipSample, usize)]) -> Result<Vec<Map>, JudgeError>,
    ) -> Result<Option<Self>, JudgeError> {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for chunk in clips.chunks(CHUNK) {
            let mut chosen = Vec::new();
            for clip in chunk {
                let Some(moves) = &clip.moves else { return Ok(None) };
                for frame in evenly(moves.len(), LEARNT_FRAMES) {
                    chosen.push((&clip.sample, frame));
                    targets.extend(moves[frame].iter().map(|moves| f32::from(u8::from(*moves))));
                }
            }
            rows.extend(maps(&chosen)?.iter().flat_map(Map::cells));
        }
        if targets.is_empty() {
            return Ok(None);
        }
        let features = Features::new(targets.len(), rows.len() / targets.len(), rows)?;
        Ok(Some(Self(Ridge::fit(&features, &targets)?)))
    }

    fn scores(&self, map: &Map) -> Vec<f32> {
        self.0.predict(&map.cells())
    }
}

/// Scores of cells and whether something moves there, by frames ahead, from none on.
type Scores = Vec<Vec<(f32, bool)>>;

/// What was found of one network.
#[derive(Default)]
struct Found {
    /// Of the head on maps rolled forward, on the last one seen, and on that of the frame itself.
    rolled: Scores,
    copied: Scores,
    seen: Scores,
    /// Squared distances from the frame's own map, by frames ahead from one on: of what is rolled forward, and of the last one seen.
    apart: Vec<[f64; 2]>,
    /// Of a number of a map around its mean over clips and frames, summed over a map.
    variance: f64,
    /// Maps held against each other, of each number of frames ahead.
    pairs: usize,
    /// Scores of the clips that are shown, by frames ahead from one on: rolled forward and copied.
    shown: Vec<Vec<[Vec<f32>; 2]>>,
}

/// Moments from which maps are rolled forward: the last frame that is seen.
fn starts(frames: usize, ahead: usize) -> Vec<usize> {
    evenly(frames.saturating_sub(1 + ahead), STARTS).map(|start| start + 1).collect()
}

fn rolled(
    run: &Judging<'_, Clips>,
    network: &Network,
    head: Option<&Head>,
    clips: &[Clip],
    (length, ahead): (usize, usize),
) -> Result<Found, JudgeError> {
    let mut found = Found { apart: vec![[0.0; 2]; ahead], ..Found::default() };
    for scores in [&mut found.rolled, &mut found.copied, &mut found.seen] {
        scores.resize(ahead + 1, Vec::new());
    }
    // Sums over clips and frames of each number of a map, and of its square.
    let (mut sums, mut count) = (Vec::<[f64; 2]>::new(), 0.0_f64);
    for chunk in clips.chunks(CHUNK) {
        let all: Vec<_> = chunk.iter().flat_map(|clip| (0..length).map(move |at| (&clip.sample, at))).collect();
        let maps = network.maps(run, &all)?;
        let [_, h, w, d] = maps.dims();
        let host = Map::all(maps.clone());
        sums.resize(h * w * d, [0.0; 2]);
        for map in &host {
            count += 1.0;
            for (sum, x) in sums.iter_mut().zip(&map.values) {
                *sum = [sum[0] + f64::from(*x), sum[1] + f64::from(*x).powi(2)];
            }
        }
        let maps = maps.reshape([chunk.len(), length, h, w, d]);
        let at = |frame: usize| maps.clone().narrow(1, frame, 1).reshape([chunk.len(), h, w, d]);
        for (nth, start) in starts(length, ahead).into_iter().enumerate() {
            let next = network.model.roll(at(start - 1), at(start), ahead);
            let next: Vec<Vec<Map>> = next.into_iter().map(Map::all).collect();
            for (i, clip) in chunk.iter().enumerate() {
                let own = |frame: usize| &host[i * length + frame];
                let last = own(start);
                found.pairs += 1;
                for (step, apart) in found.apart.iter_mut().enumerate() {
                    let truth = own(start + step + 1);
                    *apart = [apart[0] + next[step][i].apart(truth), apart[1] + last.apart(truth)];
                }
                let (Some(head), Some(moves)) = (head, &clip.moves) else { continue };
                let copied = head.scores(last);
                let mut shown = Vec::new();
                for frames in 0..=ahead {
                    let moves = &moves[start + frames];
                    let scores = if frames == 0 { copied.clone() } else { head.scores(&next[frames - 1][i]) };
                    let seen = if frames == 0 { copied.clone() } else { head.scores(own(start + frames)) };
                    for (all, scores) in
                        [(&mut found.rolled, &scores), (&mut found.copied, &copied), (&mut found.seen, &seen)]
                    {
                        all[frames].extend(scores.iter().copied().zip(moves.iter().copied()));
                    }
                    if frames > 0 {
                        shown.push([scores, copied.clone()]);
                    }
                }
                if nth == 0 && found.shown.len() < SHOWN {
                    found.shown.push(shown);
                }
            }
        }
    }
    let variance = |[sum, square]: &[f64; 2]| (square / count - (sum / count).powi(2)).max(0.0);
    found.variance = sums.iter().map(variance).sum();
    Ok(found)
}

/// Scores of a head on the last frame's pixels.
fn pixels(head: &Head, clips: &[Clip], (length, ahead): (usize, usize)) -> Scores {
    let mut all = vec![Vec::new(); ahead + 1];
    for clip in clips {
        let Some(moves) = &clip.moves else { continue };
        for start in starts(length, ahead) {
            let scores = head.scores(&Map::of_pixels(&clip.sample.frames[start]));
            for (frames, all) in all.iter_mut().enumerate() {
                all.extend(scores.iter().copied().zip(moves[start + frames].iter().copied()));
            }
        }
    }
    all
}

/// Where things move by frames ahead, some of it in pictures, and how far maps that are rolled forward are from the frames' own. Empty where
/// nothing is held out; of clips of which it is not known what moves, the last alone.
pub fn maps(run: &Judging<'_, Clips>) -> Result<Vec<Finding>, JudgeError> {
    let (length, _, _) = run.on.config.form()?;
    let ahead = AHEAD.min(length.saturating_sub(2));
    if ahead == 0 || run.data.len(Part::HeldOut).is_none_or(|held_out| held_out == 0) {
        return Ok(Vec::new());
    }
    let judged = read(run, Part::HeldOut, JUDGED, length)?;
    let learnt = read(run, Part::Train, LEARNT.min(run.train_samples()), length)?;
    if judged.is_empty() {
        return Ok(Vec::new());
    }
    let (mut found, mut heads) = (Vec::new(), true);
    for which in [Which::Trained, Which::Untrained] {
        let network = Network::of(run, which)?;
        let head = Head::fit(&learnt, |chosen| Ok(Map::all(network.maps(run, chosen)?)))?;
        heads &= head.is_some();
        found.push(rolled(run, &network, head.as_ref(), &judged, (length, ahead))?);
    }
    let of_pixels = |chosen: &[(&ClipSample, usize)]| {
        Ok(chosen.iter().map(|(sample, frame)| Map::of_pixels(&sample.frames[*frame])).collect())
    };
    let copied = Head::fit(&learnt, of_pixels)?.map(|head| pixels(&head, &judged, (length, ahead)));
    let [trained, untrained] = &mut found[..] else { unreachable!("two networks") };
    let mut findings = Vec::new();
    if let (true, Some(copied)) = (heads, copied) {
        findings.extend(detection(run, trained, untrained, copied));
        findings.push(pictures(&judged, trained, (length, ahead)));
    }
    findings.push(distances(trained, untrained));
    Ok(findings)
}

/// Average precision by frames ahead; `None` where nothing moves.
fn detection(run: &Judging<'_, Clips>, trained: &mut Found, untrained: &mut Found, copied: Scores) -> Option<Finding> {
    let moving = trained.rolled.iter().flatten().filter(|(_, moves)| *moves).count();
    let cells: usize = trained.rolled.iter().map(Vec::len).sum();
    let pixels = format!("{}, last frame copied", run.data.baseline_name());
    let mut columns: Vec<(&str, Scores)> = vec![
        (TRAINED, std::mem::take(&mut trained.rolled)),
        (UNTRAINED, std::mem::take(&mut untrained.rolled)),
        (COPIED, std::mem::take(&mut trained.copied)),
        (&pixels, copied),
        (SEEN, std::mem::take(&mut trained.seen)),
    ];
    let mut figures = Figures::new(&["frames ahead", FEATURES], "average precision", Figures::PERCENT, Better::Higher)
        .along("frames ahead");
    let mut sums = vec![0.0; columns.len()];
    let ahead = trained.apart.len();
    for frames in 0..=ahead {
        for ((name, scores), sum) in columns.iter_mut().zip(&mut sums) {
            let value = average_precision(&mut scores[frames])?;
            figures.push([frames.into(), (*name).into()], value);
            *sum += if frames > 0 { value / ahead as f64 } else { 0.0 };
        }
    }
    figures.refer("chance", [None, None], moving as f64 / cells.max(1) as f64);
    let lead = format!(
        "Average precision of {SIDE} × {SIDE} cells of held-out frames of which something moving covers at least a quarter. A linear head on a \
         cell and those around it is trained on maps of frames that are seen; here it is given maps that were rolled forward from two frames, \
         by how many frames ahead. Beside it the same of the untrained network, the last map that was seen in place of what is predicted, the same \
         of pixels, and what the head finds when it is shown the frame itself. Guessing finds the share of such cells. n is the number of \
         beginnings."
    );
    let mut finding =
        Finding::figures("detection", "Where things move, frames ahead", &lead, figures.over(trained.pairs));
    let means = columns.iter().zip(&sums).map(|((name, _), mean)| format!("{name} {:.1} %", 100.0 * mean));
    finding.notes.push(format!("mean over 1 to {ahead} frames ahead: {}", means.collect::<Vec<_>>().join("; ")));
    Some(finding)
}

/// What is rolled forward of some clips, as cells that move.
fn pictures(clips: &[Clip], trained: &Found, (length, ahead): (usize, usize)) -> Finding {
    let start = starts(length, ahead)[0];
    let card = |(clip, scores): (&Clip, &Vec<[Vec<f32>; 2]>)| {
        let tile = |step: usize, cells: Vec<bool>| {
            let classes = cells.into_iter().map(u8::from).collect();
            let grid = Some(Grid { rows: SIDE, columns: SIDE, classes });
            Tile { grid, ..Tile::new(rgb(&clip.sample.frames[start + step]), &format!("{step} ahead")) }
        };
        let truth = |step: usize| clip.moves.as_ref().map_or_else(Vec::new, |moves| moves[start + step].clone());
        let strip = |name: &str, of: &dyn Fn(usize) -> Vec<bool>| Strip {
            name: name.to_owned(),
            note: String::new(),
            tiles: (1..=ahead).map(|step| tile(step, of(step))).collect(),
        };
        // As many cells as truly move.
        let most =
            |which: usize, step: usize| most(&scores[step - 1][which], truth(step).iter().filter(|x| **x).count());
        Card {
            tiles: vec![Tile::new(rgb(&clip.sample.frames[start]), "last frame seen")],
            strips: vec![
                strip("what moves", &truth),
                strip("rolled forward", &|step| most(0, step)),
                strip("copied", &|step| most(1, step)),
            ],
        }
    };
    let lead = "Of some held-out clips the cells in which something moves, one to eight frames ahead: as it is, as the head finds it in maps that \
                were rolled forward, and as it finds it in the last map that was seen. Each shows as many cells as truly move, those of the \
                highest scores; cells that stand still are covered.";
    let cards = clips.iter().zip(&trained.shown).map(card).collect();
    let legend = ["still", "moves"].map(str::to_owned).to_vec();
    Finding::pictures("detections", "Where things are taken to move", lead, Pictures { legend, cards })
}

/// The cells of so many greatest scores.
fn most(scores: &[f32], count: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut chosen = vec![false; scores.len()];
    order.into_iter().take(count).for_each(|cell| chosen[cell] = true);
    chosen
}

/// Distances from the frames' own maps as shares of the maps' variance.
fn distances(trained: &Found, untrained: &Found) -> Finding {
    let mut figures = Figures::new(&["frames ahead", FEATURES], "error", "", Better::Lower).along("frames ahead");
    let share = |found: &Found, step: usize, which: usize| {
        let apart = found.apart[step][which] / found.pairs.max(1) as f64;
        if apart == 0.0 { 0.0 } else { apart / found.variance }
    };
    for step in 0..trained.apart.len() {
        for (name, found, which) in
            [(TRAINED, trained, 0), (UNTRAINED, untrained, 0), (COPIED, trained, 1), (UNTRAINED_COPIED, untrained, 1)]
        {
            figures.push([(step + 1).into(), name.into()], share(found, step, which));
        }
    }
    figures.refer("mean map", [None, None], 1.0);
    let lead = "Squared distance of a map that was rolled forward from the map of the frame itself, as a share of the variance of each network's \
                own maps over held-out clips and frames: 1 is what answering the mean map gives. Beside it the last map that was seen. \
                Networks have maps of their own, so each is to be read beside its own last map.";
    Finding::figures("rollout", "How far maps rolled forward are off", lead, figures.over(trained.pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_means_with_their_neighbours() {
        // 16 × 16 of one number: the row. Two rows a cell.
        let map = Map { values: (0..256).map(|i| (i / 16) as f32).collect(), dims: [16, 16, 1] };
        let cells = map.cells();
        assert_eq!(cells.len(), SIDE * SIDE * 9);
        // The cell of the second row and third column, and the corner.
        let row = [0.5, 0.5, 0.5, 2.5, 2.5, 2.5, 4.5, 4.5, 4.5];
        assert_eq!(cells[(SIDE + 2) * 9..][..9], row);
        assert_eq!(cells[..9], [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 2.5, 2.5]);
        // A map that is coarser than the cells: each lies in one place of it.
        let coarse = Map { values: vec![1.0, 2.0, 3.0, 4.0], dims: [2, 2, 1] }.pooled(4);
        assert_eq!(coarse.values[..4], [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(coarse.values[12..], [3.0, 3.0, 4.0, 4.0]);
        // As PyTorch: three in two parts share the middle one.
        let three = Map { values: (0..9).map(|i| (i % 3) as f32).collect(), dims: [3, 3, 1] }.pooled(2);
        assert_eq!(three.values, [0.5, 1.5, 0.5, 1.5]);
    }

    #[test]
    fn pixels_are_the_parts_of_their_cell() {
        let pixels = (0..16 * 16).flat_map(|i| [(i % 16) as u8, (i / 16) as u8]).collect();
        let map = Map::of_pixels(&Image { width: 16, height: 16, channels: 2, pixels });
        assert_eq!(map.dims, [SIDE, SIDE, 8]);
        let own: Vec<f32> = map.values[(SIDE + 1) * 8..][..8].iter().map(|x| (x * 255.0).round()).collect();
        assert_eq!(own, [2.0, 2.0, 3.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    }

    #[test]
    fn moments_leave_room_before_and_behind() {
        assert_eq!(starts(16, 8), [1, 3, 5]);
        assert_eq!(starts(10, 8), [1]);
        assert_eq!(starts(3, 1), [1]);
        assert_eq!(most(&[0.1, 0.9, 0.5], 2), [false, true, true]);
    }

    #[test]
    fn copying_is_right_where_nothing_moves() {
        let still = Found { apart: vec![[3.0, 0.0]; 2], variance: 4.0, pairs: 3, ..Found::default() };
        let finding = distances(&still, &still);
        let figure = |name: &str| finding.as_figures().unwrap().get(&[2_usize.into(), name.into()]).unwrap();
        assert_eq!((figure(COPIED), figure(TRAINED), figure(UNTRAINED_COPIED)), (0.0, 0.25, 0.0));
    }
}
