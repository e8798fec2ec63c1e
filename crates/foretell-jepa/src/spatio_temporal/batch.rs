//! Windows of recordings as the networks of ST-JEMA take them, on the host.

use foretell_data::connectomes::{DynamicGraph, WindowGraph};
use foretell_nn::dynamic_graph::{Signals, WindowRows};
use foretell_ops::Segments;
use serde::{Deserialize, Serialize};

/// What a window's time code is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeCode {
    /// The window's own time points; for the context encoder without the regions that are hidden. Ours.
    #[default]
    Window,
    /// The whole recording up to the window's end, with the signals of all regions for both encoders: as published. The context encoder
    /// so hears what it is to predict.
    Official,
}

/// A window in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Place of its recording in the batch.
    pub sample: usize,
    /// The recording.
    pub recording: &'a DynamicGraph,
    /// Which window of it.
    pub window: usize,
}

impl Moment<'_> {
    fn graph(&self) -> &WindowGraph {
        self.recording.graph(self.window)
    }
}

/// G windows as an encoder takes them.
pub struct PackedWindows {
    /// What the GRU reads.
    pub signals: Signals,
    /// Regions that are seen, and who hears whom.
    pub rows: WindowRows,
    /// Of each of N places of each window its row, or R where it has none, `[G · N]`.
    pub slots: Vec<u32>,
}

impl PackedWindows {
    /// Without the regions that are `hidden`, `[G, N]` (all are seen where it is empty).
    pub fn new(moments: &[Moment<'_>], hidden: &[bool], code: TimeCode) -> Self {
        let n = moments.first().map_or(0, |moment| moment.recording.regions());
        let is_hidden = |window: usize, region: usize| hidden.get(window * n + region).copied().unwrap_or(false);
        let (mut regions, mut windows, mut slots) = (Vec::new(), Vec::new(), vec![u32::MAX; moments.len() * n]);
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for (at, moment) in moments.iter().enumerate() {
            let graph = moment.graph();
            for (region, present) in graph.present.iter().enumerate() {
                if *present && !is_hidden(at, region) {
                    slots[at * n + region] = regions.len() as u32;
                    regions.push(region as u32);
                    windows.push(at as u32);
                }
            }
            for (u, v) in &graph.edges {
                let (u, v) = (slots[at * n + *u as usize], slots[at * n + *v as usize]);
                if u != u32::MAX && v != u32::MAX {
                    sources.extend([u, v]);
                    targets.extend([v, u]);
                }
            }
        }
        let rows = regions.len() as u32;
        slots.iter_mut().filter(|slot| **slot == u32::MAX).for_each(|slot| *slot = rows);
        let signals = match code {
            TimeCode::Window => of_windows(moments, n, is_hidden),
            TimeCode::Official => of_recordings(moments, n),
        };
        let heard = Segments::new(targets, regions.len());
        Self { signals, rows: WindowRows { regions, windows, sources, heard }, slots }
    }
}

/// A number, or 0, the mean, where nothing was measured.
fn measured(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value }
}

/// Each window is a sequence of its own.
fn of_windows(moments: &[Moment<'_>], n: usize, is_hidden: impl Fn(usize, usize) -> bool) -> Signals {
    let steps = moments.first().map_or(0, |moment| moment.recording.sliding().window);
    let mut values = vec![0.0; steps * moments.len() * n];
    for (at, Moment { recording, window, .. }) in moments.iter().enumerate() {
        let start = recording.start(*window);
        for step in 0..steps {
            let row = &recording.series().values()[(start + step) * n..][..n];
            let out = &mut values[(step * moments.len() + at) * n..][..n];
            for (region, (out, value)) in out.iter_mut().zip(row).enumerate() {
                *out = if is_hidden(at, region) { 0.0 } else { measured(*value) };
            }
        }
    }
    let picks = (0..moments.len()).map(|at| [steps.saturating_sub(1) as u32, at as u32]).collect();
    Signals { values, sequences: moments.len(), picks }
}

/// Each recording is a sequence, from its beginning to the end of its last window here.
fn of_recordings(moments: &[Moment<'_>], n: usize) -> Signals {
    let sequences = moments.iter().map(|moment| moment.sample + 1).max().unwrap_or(0);
    let end = |moment: &Moment<'_>| moment.recording.start(moment.window) + moment.recording.sliding().window;
    let steps = moments.iter().map(end).max().unwrap_or(0);
    let mut values = vec![0.0; steps * sequences * n];
    let mut done = vec![false; sequences];
    for Moment { sample, recording, .. } in moments {
        if std::mem::replace(&mut done[*sample], true) {
            continue;
        }
        for (step, row) in recording.series().values().chunks_exact(n.max(1)).enumerate().take(steps) {
            let out = &mut values[(step * sequences + sample) * n..][..n];
            out.iter_mut().zip(row).for_each(|(out, value)| *out = measured(*value));
        }
    }
    let picks = moments.iter().map(|moment| [end(moment) as u32 - 1, moment.sample as u32]).collect();
    Signals { values, sequences, picks }
}

/// What is asked of some windows: pairs within hidden blocks, as dense matrices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Links {
    /// Whether two regions are joined, 0 or 1, `[G · N · N]`.
    pub joined: Vec<f32>,
    /// How much a pair counts; all together 1.
    pub weights: Vec<f32>,
}

/// Which pairs of a block are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairsAsked {
    /// Those of two different regions. Ours.
    #[default]
    Different,
    /// The whole block of the matrix, in which a region is joined with itself: as published. `‖h‖² > 0` answers that.
    Official,
}

impl Links {
    /// Of windows and their blocks; every pair counts as often as blocks hold it. Empty where no block holds a pair.
    pub fn new(moments: &[Moment<'_>], blocks: &[&[Vec<u32>]], asked: PairsAsked) -> Self {
        let n = moments.first().map_or(0, |moment| moment.recording.regions());
        let size = moments.len() * n * n;
        let (mut joined, mut weights, mut all) = (vec![0.0; size], vec![0.0; size], 0.0);
        for (at, (moment, blocks)) in moments.iter().zip(blocks).enumerate() {
            let first = at * n * n;
            for (u, v) in &moment.graph().edges {
                let (u, v) = (*u as usize, *v as usize);
                (joined[first + u * n + v], joined[first + v * n + u]) = (1.0, 1.0);
            }
            if asked == PairsAsked::Official {
                (0..n)
                    .filter(|region| moment.graph().present[*region])
                    .for_each(|region| joined[first + region * (n + 1)] = 1.0);
            }
            for block in *blocks {
                for u in block {
                    for v in block.iter().filter(|v| asked == PairsAsked::Official || *v != u) {
                        weights[first + *u as usize * n + *v as usize] += 1.0;
                        all += 1.0;
                    }
                }
            }
        }
        if all == 0.0 {
            return Self::default();
        }
        for weight in &mut weights {
            *weight /= all;
        }
        Self { joined, weights }
    }
}
