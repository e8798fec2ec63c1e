//! Generated recordings: networks of regions that are coupled in one way for a while and then in another.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::Part;
use crate::connectomes::series::RegionSeries;
use crate::images::labels::Factor;
use crate::random::{Stream, rng};

/// How many recordings, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworksConfig {
    /// Recordings to learn from, a subject each.
    pub train: usize,
    /// Recordings to evaluate on.
    pub held_out: usize,
    /// Another seed, other brains.
    pub seed: u64,
}

impl Default for NetworksConfig {
    fn default() -> Self {
        Self { train: 600, held_out: 200, seed: 0 }
    }
}

/// Regions of a network, and networks.
const EACH: usize = 6;
const NETWORKS: usize = 5;
pub(crate) const REGIONS: usize = EACH * NETWORKS;
/// Names, and the pairs of networks that are coupled: two of ten in each, so that no state is denser than another.
const STATES: [(&str, [(usize, usize); 2]); 3] =
    [("first", [(0, 1), (2, 3)]), ("second", [(1, 2), (3, 4)]), ("third", [(0, 4), (1, 3)])];
/// Names, and the times that a state lasts on average.
const GROUPS: [(&str, f32); 2] = [("steady", 150.0), ("restless", 40.0)];

pub(crate) fn factors() -> Vec<Factor> {
    vec![Factor::named("group", &GROUPS.map(|(name, _)| name)), Factor::named("state", &STATES.map(|(name, _)| name))]
}

pub(crate) fn name(part: Part, index: usize) -> String {
    match part {
        Part::Train => format!("train/{index:06}"),
        Part::HeldOut => format!("held-out/{index:06}"),
    }
}

/// A recording of so many times: its courses, the state at each time, and its labels (group, the state that lasts longest).
pub(crate) fn generate(
    config: &NetworksConfig,
    part: Part,
    index: usize,
    times: usize,
) -> (RegionSeries, Vec<u32>, [u32; 2]) {
    let rng = &mut rng(config.seed, Stream::Scene, part as u64, index as u64);
    let group = rng.random_range(0..GROUPS.len());
    let leaves = 1.0 / GROUPS[group].1;
    let mut state = rng.random_range(0..STATES.len());
    let mut states = Vec::with_capacity(times);
    let loadings: Vec<f32> = (0..REGIONS).map(|_| rng.random_range(0.6..1.0)).collect();
    let mut own = [0.0_f32; NETWORKS];
    let mut shared = [0.0_f32; 2];
    let mut values = vec![0.0; REGIONS * times];
    for time in 0..times {
        if rng.random::<f32>() < leaves {
            state = (state + rng.random_range(1..STATES.len())) % STATES.len();
        }
        states.push(state as u32);
        own.iter_mut().chain(&mut shared).for_each(|x| *x = 0.6 * *x + 0.8 * normal(rng));
        let course = |network: usize| {
            let pair = STATES[state].1.iter().position(|(a, b)| *a == network || *b == network);
            pair.map_or(own[network], |pair| 0.45 * own[network] + 0.9 * shared[pair])
        };
        for region in 0..REGIONS {
            values[region * times + time] = loadings[region] * course(region / EACH) + 0.6 * normal(rng);
        }
    }
    let longest = (0..STATES.len() as u32)
        .max_by_key(|state| (states.iter().filter(|known| *known == state).count(), std::cmp::Reverse(*state)));
    let series = RegionSeries { values, times, present: vec![true; REGIONS], seconds: Some(2.0) };
    (series, states, [group as u32, longest.unwrap_or(0)])
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectomes::config::Correlation;
    use crate::connectomes::correlation::correlations;

    #[test]
    fn networks_are_coupled_as_their_state_says() {
        let config = NetworksConfig::default();
        let (mut coupled, mut others) = ((0.0, 0), (0.0, 0));
        for index in 0..60 {
            let (series, states, _) = generate(&config, Part::Train, index, 50);
            if states.iter().any(|state| *state != states[0]) {
                continue;
            }
            let all = correlations(&series.values, 50, &series.present, Correlation::Plain);
            for a in 0..NETWORKS {
                for b in 0..a {
                    let mean = all[a * EACH * REGIONS + b * EACH];
                    let sum = if STATES[states[0] as usize].1.contains(&(b, a)) { &mut coupled } else { &mut others };
                    *sum = (sum.0 + mean, sum.1 + 1);
                }
            }
        }
        let [coupled, others] = [coupled, others].map(|(sum, count)| sum / count.max(1) as f32);
        assert!(coupled > 0.3 && others.abs() < 0.15, "{coupled} {others}");
        let (a, b) = (generate(&config, Part::Train, 3, 80), generate(&config, Part::Train, 3, 80));
        assert_eq!(a.0, b.0);
        let changes = |group: u32| -> usize {
            let all =
                (0..80).map(|index| generate(&config, Part::HeldOut, index, 160)).filter(|made| made.2[0] == group);
            all.map(|(_, states, _)| states.windows(2).filter(|two| two[0] != two[1]).count()).sum()
        };
        assert!(changes(1) > 2 * changes(0));
    }
}
