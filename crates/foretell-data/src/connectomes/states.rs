//! Generated networks that change states: which regions go together depends on a hidden state that comes and goes. They need no
//! download, and what is to be found in them is known: the state of every time point, how long states last, which one comes most, and a
//! link that some subjects have in all states.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::connectomes::series::Series;
use crate::images::labels::Factor;
use crate::random::{Stream, rng, shuffled};
use crate::{DataError, Part};

/// How many recordings, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatesConfig {
    /// Recordings to learn from.
    pub train: usize,
    /// Recordings to evaluate on.
    pub held_out: usize,
    /// Regions, N.
    pub regions: usize,
    /// Time points of a recording, T.
    pub length: usize,
    /// Another seed, other states and recordings.
    pub seed: u64,
}

impl Default for StatesConfig {
    fn default() -> Self {
        Self { train: 1_000, held_out: 300, regions: 32, length: 240, seed: 0 }
    }
}

/// States that a network has.
pub const STATES: usize = 4;
/// Systems of regions: each state joins them in another way.
const SYSTEMS: usize = 8;
/// Names, and time points that a state lasts on average.
const HABITS: [(&str, f64); 2] = [("dwells", 48.0), ("switches", 16.0)];
const LINKS: [&str; 2] = ["none", "linked"];
/// How much more often the favourite state is entered than each other one.
const FAVOUR: f64 = 3.0;
/// What of a signal stays from one time point to the next.
const MEMORY: f64 = 0.5;
/// Weights of what a group of systems, a system and a region have to themselves.
const WEIGHTS: [f64; 3] = [0.8, 0.6, 0.9];
/// Weight of the link.
const LINK: f64 = 0.7;
/// The step of the draws that all recordings of a seed share: parts have 0 and 1.
const SHARED: u64 = 2;

impl StatesConfig {
    /// An error unless every setting is within its range.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let wrong = |name: &'static str, expected, found: usize| {
            Err(DataError::BadSetting { name: name.into(), expected, found: found.to_string() })
        };
        if !(2 * SYSTEMS..=1000).contains(&self.regions) {
            return wrong("regions", "16 to 1000", self.regions);
        }
        if !(16..=100_000).contains(&self.length) {
            return wrong("length", "16 to 100000 time points", self.length);
        }
        if self.train == 0 || self.held_out == 0 {
            return wrong("train", "1 or more, as `held_out`", self.train.min(self.held_out));
        }
        Ok(())
    }

    fn place(&self, part: Part, index: usize) -> ChaCha8Rng {
        rng(self.seed, Stream::Scene, part as u64, index as u64)
    }

    /// Of each region its system: as many regions each, in an order that tells nothing.
    fn systems(&self) -> Vec<usize> {
        let order = shuffled(self.regions, &mut rng(self.seed, Stream::Scene, SHARED, 0));
        let mut systems = vec![0; self.regions];
        order.iter().enumerate().for_each(|(at, region)| systems[*region as usize] = at % SYSTEMS);
        systems
    }

    /// Of each state, the group that each system belongs to: four groups of two systems each, paired otherwise in each state.
    fn groups(&self) -> [[usize; SYSTEMS]; STATES] {
        let order = shuffled(SYSTEMS, &mut rng(self.seed, Stream::Scene, SHARED, 1));
        // A round of a tournament for each state: no two systems meet twice.
        std::array::from_fn(|state| {
            let mut groups = [0; SYSTEMS];
            let turn = |at: usize| 1 + (at + state) % (SYSTEMS - 1);
            for pair in 0..SYSTEMS / 2 {
                let (a, b) = if pair == 0 { (0, turn(0)) } else { (turn(pair), turn(SYSTEMS - 1 - pair)) };
                for at in [a, b] {
                    groups[order[at] as usize] = pair;
                }
            }
            groups
        })
    }
}

pub(super) fn factors() -> Vec<Factor> {
    vec![
        Factor::named("habit", &HABITS.map(|(name, _)| name)),
        Factor::numbered("favourite", STATES),
        Factor::named("link", &LINKS),
    ]
}

pub(super) fn name(part: Part, index: usize) -> String {
    match part {
        Part::Train => format!("train/{index:06}"),
        Part::HeldOut => format!("held-out/{index:06}"),
    }
}

/// The labels alone, as [`generate`] draws them.
pub(super) fn labels(config: &StatesConfig, part: Part, index: usize) -> [u32; 3] {
    draw_labels(&mut config.place(part, index))
}

fn draw_labels(rng: &mut ChaCha8Rng) -> [u32; 3] {
    [HABITS.len(), STATES, LINKS.len()].map(|classes| rng.random_range(0..classes as u32))
}

/// One recording, and the state of each of its time points.
pub(super) fn generate(config: &StatesConfig, part: Part, index: usize) -> Result<(Series, Arc<[u8]>), DataError> {
    let rng = &mut config.place(part, index);
    let [habit, favourite, link] = draw_labels(rng);
    let (n, systems, groups) = (config.regions, config.systems(), config.groups());
    let linked: Vec<bool> = systems.iter().map(|system| link == 1 && config.linked(*system)).collect();
    let draw = |rng: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(rng) };

    // Geometric stays with a mean that the habit sets; where it leaves, the favourite is entered more often than the others.
    let leaves = 1.0 / HABITS[habit as usize].1;
    let mut states = Vec::with_capacity(config.length);
    let mut state = entered(rng, None, favourite);
    for _ in 0..config.length {
        states.push(state as u8);
        if rng.random::<f64>() < leaves {
            state = entered(rng, Some(state), favourite);
        }
    }

    // Sources that forget slowly: of groups, of systems, of regions, and one of the link.
    let fresh = (1.0 - MEMORY * MEMORY).sqrt();
    let mut sources: Vec<f64> = (0..=(SYSTEMS / 2 + SYSTEMS + n)).map(|_| draw(rng)).collect();
    let mut values = Vec::with_capacity(config.length * n);
    for &state in &states {
        for source in &mut sources {
            *source = MEMORY * *source + fresh * draw(rng);
        }
        let (of_groups, rest) = sources.split_at(SYSTEMS / 2);
        let (of_systems, rest) = rest.split_at(SYSTEMS);
        for region in 0..n {
            let system = systems[region];
            let group = groups[state as usize][system];
            values.push(
                WEIGHTS[0] * of_groups[group]
                    + WEIGHTS[1] * of_systems[system]
                    + WEIGHTS[2] * rest[region]
                    + if linked[region] { LINK * rest[n] } else { 0.0 },
            );
        }
    }
    let series = Series::standardised(n, &values).map_err(DataError::Setting)?;
    Ok((series, states.into()))
}

impl StatesConfig {
    /// Whether a system is one of the two that a link joins: a pair of the tournament's last round, which no state plays.
    fn linked(&self, system: usize) -> bool {
        let order = shuffled(SYSTEMS, &mut rng(self.seed, Stream::Scene, SHARED, 1));
        system == order[0] as usize || system == order[1 + (SYSTEMS - 2) % (SYSTEMS - 1)] as usize
    }
}

fn entered(rng: &mut ChaCha8Rng, from: Option<usize>, favourite: u32) -> usize {
    let weight = |state: usize| match from {
        Some(from) if from == state => 0.0,
        _ if state == favourite as usize => FAVOUR,
        _ => 1.0,
    };
    let all: f64 = (0..STATES).map(weight).sum();
    let mut left = rng.random::<f64>() * all;
    for state in 0..STATES {
        left -= weight(state);
        if left < 0.0 {
            return state;
        }
    }
    // Rounding alone leads here.
    (0..STATES).rev().find(|state| weight(*state) > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> StatesConfig {
        StatesConfig { train: 40, ..StatesConfig::default() }
    }

    #[test]
    fn no_two_systems_are_a_group_in_two_states_and_the_link_joins_two_that_never_are() {
        let config = config();
        let mut met = std::collections::BTreeSet::new();
        for groups in config.groups() {
            for pair in 0..SYSTEMS / 2 {
                let own: Vec<usize> = (0..SYSTEMS).filter(|system| groups[*system] == pair).collect();
                assert_eq!(own.len(), 2, "{groups:?}");
                assert!(met.insert(own), "{groups:?}");
            }
        }
        let linked: Vec<usize> = (0..SYSTEMS).filter(|system| config.linked(*system)).collect();
        assert_eq!(linked.len(), 2);
        assert!(!met.contains(&linked));
    }

    #[test]
    fn states_last_as_long_as_the_habit_says_and_the_favourite_comes_most() {
        let config = config();
        let (mut stays, mut most) = ([(0.0, 0.0); 2], 0);
        for index in 0..config.train {
            let (series, states) = generate(&config, Part::Train, index).unwrap();
            let [habit, favourite, _] = labels(&config, Part::Train, index);
            assert_eq!((series.regions(), series.length(), states.len()), (32, 240, 240));
            let changes = states.windows(2).filter(|pair| pair[0] != pair[1]).count();
            let of = &mut stays[habit as usize];
            *of = (of.0 + 240.0, of.1 + 1.0 + changes as f64);
            let count = |state: u8| states.iter().map(|s| usize::from(*s == state)).sum::<usize>();
            most += usize::from((0..STATES as u8).all(|other| count(other) <= count(favourite as u8)));
        }
        let [dwells, switches] = stays.map(|(points, stays)| points / stays);
        assert!(dwells > 35.0 && switches < 20.0, "{dwells} {switches}");
        assert!(most > config.train / 3, "{most}");
    }

    #[test]
    fn regions_of_a_group_go_together_in_its_state_alone() {
        use crate::connectomes::correlation::Correlation;
        let config = StatesConfig { length: 4000, ..config() };
        let (series, states) = generate(&config, Part::HeldOut, 3).unwrap();
        let (systems, groups) = (config.systems(), config.groups());
        let mut sums = [[(0.0, 0); 2]; STATES];
        for state in 0..STATES {
            // All time points of a state, one after the other.
            let rows: Vec<f64> = series
                .values()
                .chunks_exact(32)
                .zip(&*states)
                .filter(|(_, s)| **s == state as u8)
                .flat_map(|(row, _)| row.iter().map(|x| f64::from(*x)))
                .collect();
            let own = Series::standardised(32, &rows).unwrap();
            let found = Correlation::Pearson.of(&own, 0, own.length());
            for u in 0..32 {
                for v in 0..u {
                    let (a, b) = (systems[u], systems[v]);
                    if a != b && !(config.linked(a) && config.linked(b)) {
                        let of = &mut sums[state][usize::from(groups[state][a] == groups[state][b])];
                        *of = (of.0 + f64::from(found.values[u * 32 + v]), of.1 + 1);
                    }
                }
            }
        }
        for [apart, together] in sums.map(|both| both.map(|(sum, count)| sum / f64::from(count))) {
            assert!(together > 0.2 && apart.abs() < 0.1, "{together} {apart}");
        }
    }
}
