//! A recording as a sequence of graphs: windows that slide over it, in each of which the regions that go together most are joined.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::connectomes::correlation::{Correlation, Correlations};
use crate::connectomes::series::Series;

/// Of what the density is a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edges {
    /// Of the pairs of two different regions.
    #[default]
    Pairs,
    /// Of all entries of the matrix, a region's correlation of 1 with itself among them, and of these what is above the percentile:
    /// STAGIN's code, on which ST-JEMA is built. Of N regions N entries of the share are spent on themselves.
    Official,
}

/// How recordings become graphs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sliding {
    /// Time points of a window, Γ.
    pub window: usize,
    /// Time points from one window to the next, S.
    pub stride: usize,
    /// How strongly two regions go together.
    pub correlation: Correlation,
    /// The share of pairs that are edges.
    pub density: f64,
    /// Of what.
    pub edges: Edges,
}

impl Sliding {
    /// Windows of a recording of so many time points.
    pub fn count(&self, length: usize) -> usize {
        if length < self.window { 0 } else { (length - self.window) / self.stride + 1 }
    }
}

/// The graph of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowGraph {
    /// Regions that have a signal in this window, `[N]`.
    pub present: Vec<bool>,
    /// Pairs of regions, the lower first, rising.
    pub edges: Vec<(u32, u32)>,
}

/// A recording whose graphs are made when they are first asked for.
#[derive(Clone, Debug)]
pub struct DynamicGraph {
    series: Series,
    sliding: Sliding,
    windows: Arc<[OnceLock<WindowGraph>]>,
    /// The state of each time point, where it is known.
    states: Option<Arc<[u8]>>,
}

impl DynamicGraph {
    /// Of a series of one window at least.
    pub fn new(series: Series, sliding: Sliding, states: Option<Arc<[u8]>>) -> Self {
        let windows = (0..sliding.count(series.length())).map(|_| OnceLock::new()).collect();
        Self { series, sliding, windows, states }
    }

    /// N.
    pub fn regions(&self) -> usize {
        self.series.regions()
    }

    /// What was measured.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// How windows slide.
    pub fn sliding(&self) -> &Sliding {
        &self.sliding
    }

    /// Number of windows, W.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// The time point at which a window begins.
    pub fn start(&self, window: usize) -> usize {
        window * self.sliding.stride
    }

    /// The graph of a window below W.
    pub fn graph(&self, window: usize) -> &WindowGraph {
        self.windows[window].get_or_init(|| {
            let Sliding { window: length, correlation, density, edges, .. } = self.sliding;
            joined(&correlation.of(&self.series, self.start(window), length), density, edges)
        })
    }

    /// The correlations of a window's pairs, the upper triangle row by row, `[N (N − 1) / 2]`; 0 beside what is not there.
    pub fn of_window(&self, window: usize) -> Vec<f32> {
        let Sliding { window: length, correlation, .. } = self.sliding;
        upper(&correlation.of(&self.series, self.start(window), length))
    }

    /// The same of the whole recording: what does not change of it. Of a region with holes the points that were measured count, as
    /// zeros where they were not.
    pub fn fixed(&self) -> Vec<f32> {
        let filled: Vec<f64> =
            self.series.values().iter().map(|x| if x.is_nan() { 0.0 } else { f64::from(*x) }).collect();
        match Series::standardised(self.regions(), &filled) {
            Ok(series) => upper(&self.sliding.correlation.of(&series, 0, series.length())),
            Err(_) => vec![0.0; self.regions() * (self.regions() - 1) / 2],
        }
    }

    /// The state in which most of a window's time points are, where that is known, and their share.
    pub fn state(&self, window: usize) -> Option<(u32, f32)> {
        let states = self.states.as_ref()?;
        let seen = &states[self.start(window)..][..self.sliding.window];
        let mut counts = [0_usize; 256];
        for state in seen {
            counts[*state as usize] += 1;
        }
        let most = (0..256).rev().max_by_key(|state| counts[*state])?;
        Some((most as u32, counts[most] as f32 / seen.len() as f32))
    }
}

fn upper(correlations: &Correlations) -> Vec<f32> {
    let n = correlations.present.len();
    (0..n).flat_map(|u| (u + 1..n).map(move |v| u * n + v)).map(|at| correlations.values[at]).collect()
}

/// The pairs of the greatest correlations among regions that are there; of equal ones those that come first.
fn joined(correlations: &Correlations, density: f64, of: Edges) -> WindowGraph {
    let Correlations { values, present } = correlations;
    let n = present.len();
    let there: Vec<u32> = (0..n as u32).filter(|region| present[*region as usize]).collect();
    let mut pairs: Vec<(f32, (u32, u32))> = Vec::new();
    for (i, &u) in there.iter().enumerate() {
        pairs.extend(there[i + 1..].iter().map(|&v| (values[u as usize * n + v as usize], (u, v))));
    }
    let mut edges: Vec<(u32, u32)> = match of {
        Edges::Pairs => {
            let kept = (density * pairs.len() as f64).round() as usize;
            // A stable sort: equal ones stay in their order.
            pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
            pairs.iter().take(kept).map(|(_, pair)| *pair).collect()
        }
        Edges::Official => {
            let mut all: Vec<f32> = pairs.iter().flat_map(|(value, _)| [*value; 2]).collect();
            all.extend(there.iter().map(|_| 1.0));
            all.sort_by(f32::total_cmp);
            let threshold = percentile(&all, 1.0 - density);
            pairs.iter().filter(|(value, _)| f64::from(*value) > threshold).map(|(_, pair)| *pair).collect()
        }
    };
    edges.sort_unstable();
    WindowGraph { present: present.clone(), edges }
}

/// NumPy's: between the two nearest of sorted values, in proportion.
fn percentile(sorted: &[f32], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::INFINITY };
    let place = share * last as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let (low, high) = (f64::from(sorted[below]), f64::from(sorted[(below + 1).min(last)]));
    low + part * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlations() -> Correlations {
        // Ten regions whose correlations all differ; the last has no signal.
        let n = 10;
        let mut values = vec![0.0; n * n];
        let mut next = 0.9_f32;
        for u in 0..n - 1 {
            values[u * n + u] = 1.0;
            for v in u + 1..n - 1 {
                (values[u * n + v], values[v * n + u]) = (next, next);
                next -= 0.02;
            }
        }
        let mut present = vec![true; n];
        present[n - 1] = false;
        Correlations { values, present }
    }

    #[test]
    fn the_greatest_correlations_are_edges_and_what_is_not_there_has_none() {
        let graph = joined(&correlations(), 0.3, Edges::Pairs);
        // 30 % of 36 pairs, which were given from the first on.
        assert_eq!(graph.edges.len(), 11);
        assert_eq!(graph.edges[..8], [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8)]);
        assert!(!graph.present[9] && graph.edges.iter().all(|(u, v)| u < v && *v < 9));
    }

    #[test]
    fn stagins_percentile_spends_part_of_the_share_on_regions_themselves() {
        let graph = joined(&correlations(), 0.3, Edges::Official);
        // 30 % of 81 entries are 24, of which 9 are a region and itself; what is left is 7 pairs, each twice.
        assert_eq!(graph.edges.len(), 7);
    }

    #[test]
    fn windows_slide_and_none_hangs_over_the_end() {
        let sliding =
            Sliding { window: 50, stride: 16, correlation: Correlation::Pearson, density: 0.3, edges: Edges::Pairs };
        let counts = [49, 50, 65, 66, 176].map(|length| sliding.count(length));
        assert_eq!(counts, [0, 1, 1, 2, 8]);
    }

    #[test]
    fn a_window_has_the_state_of_most_of_its_points() {
        let values: Vec<f64> = (0..40).map(|i| f64::from((i * 7 % 11) as u8)).collect();
        let sliding =
            Sliding { window: 10, stride: 5, correlation: Correlation::Pearson, density: 0.5, edges: Edges::Pairs };
        let states: Arc<[u8]> = [[0_u8; 7].as_slice(), &[2; 13]].concat().into();
        let graph = DynamicGraph::new(Series::standardised(2, &values).unwrap(), sliding, Some(states));
        assert_eq!(graph.windows(), 3);
        assert_eq!([0, 1, 2].map(|window| graph.state(window).unwrap()), [(0, 0.7), (2, 0.8), (2, 1.0)]);
    }
}
