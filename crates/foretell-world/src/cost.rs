//! What the distances along an imagined way cost together.

use serde::{Deserialize, Serialize};

/// From a distance at each step of the horizon to one number.
///
/// On the published Two Rooms the sum reaches 97 % and the last step alone 89 % (EB-JEPA, arXiv 2602.03604).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// The sum over the horizon: being near early counts.
    #[default]
    Sum,
    /// The sum over the second half of the horizon: there is time for a way round before being near counts.
    Late,
    /// The last step alone.
    Last,
    /// The nearest approach.
    Min,
    /// The sum with each step worth this share of the one before it.
    Discounted(f32),
}

impl Cost {
    /// The cost of distances `[H]`.
    pub fn of(self, distances: impl IntoIterator<Item = f32>) -> f32 {
        let distances = distances.into_iter();
        match self {
            Self::Sum => distances.sum(),
            Self::Late => {
                let all: Vec<f32> = distances.collect();
                all[all.len() / 2..].iter().sum()
            }
            Self::Last => distances.last().unwrap_or(0.0),
            Self::Min => distances.fold(f32::INFINITY, f32::min),
            Self::Discounted(share) => {
                distances.fold((0.0, 1.0), |(sum, weight), d| (sum + weight * d, weight * share)).0
            }
        }
    }

    /// How much the cost changes with each distance, `[H]`.
    pub fn weights(self, distances: &[f32]) -> Vec<f32> {
        match self {
            Self::Sum => vec![1.0; distances.len()],
            Self::Late => (0..distances.len()).map(|i| f32::from(u8::from(i >= distances.len() / 2))).collect(),
            Self::Last | Self::Min => {
                let least = match self {
                    Self::Last => distances.len().saturating_sub(1),
                    _ => (0..distances.len()).min_by(|a, b| distances[*a].total_cmp(&distances[*b])).unwrap_or(0),
                };
                (0..distances.len()).map(|i| f32::from(u8::from(i == least))).collect()
            }
            Self::Discounted(share) => (0..distances.len()).map(|i| share.powi(i as i32)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_slopes() {
        let d = [3.0, 1.0, 2.0];
        let all = [Cost::Sum, Cost::Late, Cost::Last, Cost::Min, Cost::Discounted(0.5)];
        assert_eq!(all.map(|c| c.of(d)), [6.0, 3.0, 2.0, 1.0, 4.0]);
        for cost in all {
            for (i, weight) in cost.weights(&d).into_iter().enumerate() {
                let mut moved = d;
                moved[i] += 0.25;
                assert_eq!((cost.of(moved) - cost.of(d)) / 0.25, weight, "{cost:?} {i}");
            }
        }
    }
}
