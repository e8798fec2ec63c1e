//! Short-term memory: key–value, states and costs by their latents (section 3.1.2 of the position paper). It holds the newest moments up to
//! a bound, and answers with the nearest.

use std::collections::VecDeque;

use super::critic::DISCOUNT;
use super::intrinsic::Percept;

/// One remembered moment: the triplet (τ, s, IC's terms).
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Steps of the world before it.
    pub time: u64,
    /// The latent, `[D]`.
    pub key: Vec<f32>,
    /// What it was like.
    pub percept: Percept,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Memory {
    bound: usize,
    entries: VecDeque<Entry>,
}

impl Memory {
    /// An empty one that holds at most `bound` moments, at least one.
    pub fn new(bound: usize) -> Self {
        Self { bound: bound.max(1), entries: VecDeque::new() }
    }

    /// Remembers a moment; the oldest is forgotten where there are too many.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.bound {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// What is remembered, the oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The `k` moments whose keys lie nearest to this one, nearest first, with their mean squared difference; of equals the older.
    pub fn nearest(&self, key: &[f32], k: usize) -> Vec<(f32, &Entry)> {
        let apart = |entry: &Entry| {
            let sum: f32 = entry.key.iter().zip(key).map(|(a, b)| (a - b) * (a - b)).sum();
            sum / key.len().max(1) as f32
        };
        let mut all: Vec<(f32, &Entry)> = self.entries.iter().map(|entry| (apart(entry), entry)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.truncate(k);
        all
    }
}

/// What the critic is to foretell of each moment: distance and hazard in the moments after it, each worth [`DISCOUNT`] of the one before,
/// as a weighted mean, `(1 − γ) Σ γ^(k−1) IC_i(s_(t + k·stride))`. What comes after the last moment is as that was.
pub fn futures(percepts: &[Percept], stride: usize) -> Vec<[f32; 2]> {
    let of = |percept: &Percept| [percept.distance, percept.hazard];
    let Some(last) = percepts.last() else { return Vec::new() };
    let mut futures = vec![of(last); percepts.len()];
    for t in (0..percepts.len()).rev() {
        if let Some(next) = percepts.get(t + stride.max(1)) {
            let (next, after) = (of(next), futures[t + stride.max(1)]);
            futures[t] = [0, 1].map(|i| (1.0 - DISCOUNT) * next[i] + DISCOUNT * after[i]);
        }
    }
    futures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time: u64, key: [f32; 2]) -> Entry {
        let percept = Percept { distance: time as f32, ..Percept::default() };
        Entry { time, key: key.to_vec(), percept }
    }

    #[test]
    fn the_nearest_come_first_and_the_oldest_are_forgotten() {
        let mut memory = Memory::new(3);
        for (time, key) in [[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]].into_iter().enumerate() {
            memory.push(entry(time as u64, key));
        }
        let times = |memory: &Memory, k: usize| -> Vec<(f32, u64)> {
            memory.nearest(&[0.0, 0.0], k).into_iter().map(|(apart, entry)| (apart, entry.time)).collect()
        };
        // Mean squares: 0, (9 + 16) / 2, (1 + 1) / 2.
        assert_eq!(times(&memory, 5), [(0.0, 0), (1.0, 2), (12.5, 1)]);
        assert_eq!(times(&memory, 1), [(0.0, 0)]);
        memory.push(entry(3, [0.0, 2.0]));
        assert_eq!(memory.entries().map(|entry| entry.time).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(times(&memory, 2), [(1.0, 2), (2.0, 3)], "the one at the place itself is gone");
    }

    #[test]
    fn futures_are_the_weighted_mean_of_what_came_and_stays() {
        let percept = |distance, hazard| Percept { distance, hazard, effort: 9.0 };
        let (g, near) = (DISCOUNT, |a: f32, b: f32| (a - b).abs() < 1e-6);
        let lived = [percept(5.0, 0.0), percept(3.0, 1.0), percept(1.0, 0.0)];
        let all = futures(&lived, 1);
        assert_eq!(all[2], [1.0, 0.0]);
        assert!(near(all[1][0], 1.0) && near(all[1][1], 0.0));
        // 3 next, and 1 from then on; hazard of 1 next, and none from then on.
        assert!(near(all[0][0], (1.0 - g) * 3.0 + g * 1.0) && near(all[0][1], 1.0 - g), "{all:?}");
        // Two at a time: 1 next, and from then on.
        assert!(near(futures(&lived, 2)[0][0], 1.0));
        assert!(futures(&[], 1).is_empty());
    }
}
