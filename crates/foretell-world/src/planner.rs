//! Planners: random shooting, CEM, iCEM, MPPI, descent along the model's own gradient, and the model's actor in imagination.
//!
//! A planner proposes candidates for several episodes at once, `[E, S, H, A]`, and is told what they cost. What it draws
//! for an episode depends on (seed, step of the episode, episode) alone, so an episode is the same alone and in company.

use foretell_data::random::{Stream, rng};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::noise::Noise;
use crate::world::{Reach, WorldError};

/// What candidates cost, by a model or by the truth.
pub trait Problem {
    /// Episodes that are planned for at once, E.
    fn episodes(&self) -> usize;

    /// Numbers in an action, A.
    fn action(&self) -> usize;

    /// Which actions there are.
    fn reach(&self) -> Reach;

    /// Actions that one step of the model takes: a horizon is a multiple of it.
    fn block(&self) -> usize {
        1
    }

    /// The costs, `[E, S]`, of candidates `[E, S, H, A]`. What is not finite counts as the worst.
    fn costs(&mut self, candidates: &[f32], per_episode: usize, horizon: usize) -> Vec<f32>;

    /// Candidates `[E, S, H, A]` of one who acts in imagination, and their costs `[E, S]`: at each step what the model's actor would
    /// do, and the draw `[E, S, H, A]` besides. `None` where the model has no actor.
    fn proposals(&mut self, _draws: &[f32], _per_episode: usize, _horizon: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        None
    }

    /// The costs and their gradients, `[E, S, H, A]`; `None` where there is no gradient.
    fn gradients(&mut self, _candidates: &[f32], _per_episode: usize, _horizon: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        None
    }
}

/// A planner and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Planner {
    /// The best of independent draws around the last plan.
    Random {
        /// Candidates.
        samples: usize,
    },
    /// The cross-entropy method: draw, keep the best, draw around them.
    Cem {
        /// Candidates of an iteration.
        samples: usize,
        /// Iterations.
        iterations: usize,
        /// The best so many make the next distribution.
        elites: usize,
    },
    /// CEM with coloured noise, memory of the best, momentum and a warm start (Pinneri et al., 2020).
    Icem {
        /// Candidates of the first iteration.
        samples: usize,
        /// Iterations.
        iterations: usize,
        /// The best so many make the next distribution.
        elites: usize,
        /// Exponent of the noise's spectrum, `1 / f^β`: 0 is white.
        beta: f32,
        /// Share of the old distribution that stays.
        momentum: f32,
        /// Share of the elites that compete again.
        keep: f32,
        /// Each iteration draws this much fewer candidates.
        decay: f32,
    },
    /// Model-predictive path integral control: a mean weighted by `exp(−cost / λ)` (Williams et al., 2017).
    Mppi {
        /// Candidates of an iteration.
        samples: usize,
        /// Iterations.
        iterations: usize,
        /// λ, as a share of the costs' standard deviation over the elites.
        temperature: f32,
        /// The best so many are weighted.
        elites: usize,
    },
    /// What the model's actor would do, step by step in imagination, each time with a draw of the spread besides: the best of so
    /// many. Where an action is barred, the next draw is another.
    Actor {
        /// Candidates.
        samples: usize,
    },
    /// Adam on the actions, through the model.
    Gradient {
        /// Starts.
        samples: usize,
        /// Steps.
        iterations: usize,
        /// Step length, as a share of the longest action.
        rate: f32,
    },
}

impl Planner {
    /// The planner of this name, with our settings.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "random" => Self::Random { samples: 1024 },
            "actor" => Self::Actor { samples: 1 },
            "cem" => Self::Cem { samples: 128, iterations: 8, elites: 16 },
            "icem" => {
                Self::Icem { samples: 64, iterations: 3, elites: 8, beta: 2.0, momentum: 0.1, keep: 0.5, decay: 1.25 }
            }
            "mppi" => Self::Mppi { samples: 128, iterations: 8, temperature: 0.5, elites: 32 },
            "gradient" => Self::Gradient { samples: 8, iterations: 30, rate: 0.1 },
            _ => return None,
        })
    }

    /// The same with so many candidates in an iteration; the best of them that count are never more.
    #[must_use]
    pub fn with_samples(self, count: usize) -> Self {
        let most = |elites: usize| elites.min(count);
        match self {
            Self::Random { .. } => Self::Random { samples: count },
            Self::Actor { .. } => Self::Actor { samples: count },
            Self::Cem { iterations, elites, .. } => Self::Cem { samples: count, iterations, elites: most(elites) },
            Self::Icem { iterations, elites, beta, momentum, keep, decay, .. } => {
                Self::Icem { samples: count, iterations, elites: most(elites), beta, momentum, keep, decay }
            }
            Self::Mppi { iterations, temperature, elites, .. } => {
                Self::Mppi { samples: count, iterations, temperature, elites: most(elites) }
            }
            Self::Gradient { iterations, rate, .. } => Self::Gradient { samples: count, iterations, rate },
        }
    }

    /// The names.
    pub const NAMES: [&'static str; 6] = ["random", "cem", "icem", "mppi", "actor", "gradient"];

    /// Candidates in an iteration, at most.
    pub fn samples(&self) -> usize {
        self.schedule().into_iter().max().unwrap_or(1).max(1)
    }

    /// Candidates in each iteration.
    fn schedule(&self) -> Vec<usize> {
        match *self {
            Self::Random { samples } | Self::Actor { samples } => vec![samples],
            Self::Cem { samples, iterations, .. }
            | Self::Mppi { samples, iterations, .. }
            | Self::Gradient { samples, iterations, .. } => vec![samples; iterations],
            Self::Icem { samples, iterations, elites, decay, .. } => (0..iterations)
                .map(|i| ((samples as f32 * decay.max(1.0).powi(-(i as i32))) as usize).max(2 * elites))
                .collect(),
        }
    }

    fn check(&self) -> Result<(), PlannerError> {
        let (samples, iterations) = match *self {
            Self::Random { samples } | Self::Actor { samples } => (samples, 1),
            Self::Cem { samples, iterations, .. }
            | Self::Icem { samples, iterations, .. }
            | Self::Mppi { samples, iterations, .. }
            | Self::Gradient { samples, iterations, .. } => (samples, iterations),
        };
        if samples == 0 || iterations == 0 {
            return Err(PlannerError::Setting("a planner needs at least 1 sample and 1 iteration".to_owned()));
        }
        if let Self::Cem { samples, elites, .. }
        | Self::Icem { samples, elites, .. }
        | Self::Mppi { samples, elites, .. } = *self
            && (elites == 0 || elites > samples)
        {
            return Err(PlannerError::Setting(format!(
                "a planner's `elites` must be 1 to its {samples} samples, found {elites}"
            )));
        }
        Ok(())
    }
}

/// What every planner needs besides its own settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlannerConfig {
    /// Steps looked ahead, H.
    pub horizon: usize,
    /// Standard deviation of the first candidates, as a share of the longest action.
    pub spread: f32,
    /// The spread never falls under this share of the longest action, so that one elite is no dead end.
    pub least_spread: f32,
    /// Steps that a drawn action is held: fewer numbers to search, and candidates that get somewhere.
    pub hold: usize,
}

impl Default for PlannerConfig {
    fn default() -> Self {
        Self { horizon: 24, spread: 0.6, least_spread: 0.02, hold: 1 }
    }
}

/// How many steps of the model one plan of one episode may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Calls: one step of the model for one candidate is one.
    pub calls: u64,
}

/// What a planner cannot do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlannerError {
    /// A setting out of range.
    #[error("{0}")]
    Setting(String),
    /// Not even one candidate fits.
    #[error(
        "a budget of {calls} model calls does not reach for one candidate: give at least {needed}, or shorten the horizon"
    )]
    Budget {
        /// The budget.
        calls: u64,
        /// The calls of one candidate.
        needed: u64,
    },
    /// The actor planner without an actor.
    #[error(
        "the planner `actor` needs a model with an actor: take `cem`, `icem`, `mppi` or `random`, or train with `model.actor.steps` above 0"
    )]
    NoActor,
    /// The gradient planner without a gradient.
    #[error("the planner `gradient` needs a model with gradients: take `cem`, `icem`, `mppi` or `random`")]
    NoGradient,
    /// A world that has failed.
    #[error(transparent)]
    World(#[from] WorldError),
}

/// A plan of one episode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// `[H, A]`.
    pub actions: Vec<f32>,
    /// What the model says that it costs.
    pub cost: f32,
    /// Model calls that it took.
    pub calls: u64,
}

impl Plan {
    /// The rest of a plan after its first `steps` were taken: what a next plan begins with.
    pub fn rest(mut self, steps: usize, action: usize) -> Self {
        self.actions.drain(..(steps * action).min(self.actions.len()));
        self
    }
}

/// The distribution of one episode's candidates and what is remembered of them.
struct Search {
    mean: Vec<f32>,
    spread: Vec<f32>,
    best: Plan,
    kept: Vec<Vec<f32>>,
    random: ChaCha8Rng,
}

impl Search {
    /// Candidates `[S, H, A]`. The first is the mean itself, so that no plan is worse than the last one's rest.
    fn draw(&mut self, noise: &Noise, hold: usize, out: &mut [f32]) {
        let known = std::iter::once(&self.mean).chain(&self.kept);
        let mut rows = out.chunks_exact_mut(self.mean.len());
        // As many as there are of either: `zip` asks the known ones first.
        for (known, row) in known.zip(rows.by_ref()) {
            row.copy_from_slice(known);
        }
        for row in rows {
            noise.draw(&mut self.random, row);
            for ((x, mean), spread) in row.iter_mut().zip(&self.mean).zip(&self.spread) {
                *x = mean + spread * *x;
            }
            for held in row.chunks_mut(hold * noise.width) {
                let (first, rest) = held.split_at_mut(noise.width);
                rest.chunks_exact_mut(noise.width).for_each(|action| action.copy_from_slice(first));
            }
        }
    }
}

impl Planner {
    /// A plan for each episode. `warm` holds what is left of each one's last plan (or is empty); `seed` and `step` fix what
    /// is drawn, and `numbers` are the episodes' own, so that neither their order nor their company matters.
    ///
    /// A search that stops early for its budget says what it has found by then.
    pub fn plan(
        &self,
        config: &PlannerConfig,
        budget: Budget,
        problem: &mut dyn Problem,
        warm: &[Plan],
        (seed, step, numbers): (u64, u64, &[u64]),
    ) -> Result<Vec<Plan>, PlannerError> {
        self.check()?;
        let (episodes, width, reach) = (problem.episodes(), problem.action(), problem.reach());
        let horizon = config.horizon;
        let long = horizon * width;
        if horizon == 0 || !(config.spread > 0.0 && config.spread.is_finite() && config.least_spread >= 0.0) {
            return Err(PlannerError::Setting(
                "a planner needs a horizon of at least 1 step and a positive spread".to_owned(),
            ));
        }
        let block = problem.block().max(1);
        if !horizon.is_multiple_of(block) {
            return Err(PlannerError::Setting(format!(
                "a horizon of {horizon} steps does not split into the model's blocks of {block} actions: take a multiple of {block}"
            )));
        }
        let steps = horizon / block;
        let affordable = budget.calls / steps as u64;
        if affordable == 0 {
            return Err(PlannerError::Budget { calls: budget.calls, needed: steps as u64 });
        }
        let mut searches: Vec<Search> = (0..episodes)
            .map(|e| {
                let mut mean = warm.get(e).map_or(Vec::new(), |plan| plan.actions.clone());
                mean.resize(long, 0.0);
                let random = rng(seed, Stream::Plan, step, numbers[e]);
                let best = Plan { actions: mean.clone(), cost: f32::INFINITY, calls: 0 };
                Search { mean, spread: vec![config.spread * reach.most(); long], best, kept: Vec::new(), random }
            })
            .collect();
        if let Self::Gradient { samples, iterations, rate } = *self {
            return descend(problem, searches, (samples, iterations, rate), (horizon, steps), budget);
        }
        let beta = if let Self::Icem { beta, .. } = *self { beta } else { 0.0 };
        let (noise, mut left) = (Noise::new(beta, horizon, width), affordable);
        for samples in self.schedule() {
            // All episodes have the same schedule, so the budget ends for all at once.
            let samples = samples.min(usize::try_from(left).unwrap_or(usize::MAX));
            if samples == 0 {
                break;
            }
            left -= samples as u64;
            let whole = samples * long;
            let mut candidates = vec![0.0; episodes * whole];
            let drawn = candidates.par_chunks_mut(whole.max(1)).zip(&mut searches);
            let costs = if let Self::Actor { .. } = self {
                drawn.for_each(|(out, search)| {
                    out.fill_with(|| {
                        let z: f32 = StandardNormal.sample(&mut search.random);
                        config.spread * reach.most() * z
                    });
                });
                let proposals = problem.proposals(&candidates, samples, horizon).ok_or(PlannerError::NoActor)?;
                candidates = proposals.0;
                proposals.1
            } else {
                drawn.for_each(|(out, search)| {
                    search.draw(&noise, config.hold.max(1), out);
                    out.chunks_exact_mut(width).for_each(|action| reach.cut(action));
                });
                problem.costs(&candidates, samples, horizon)
            };
            let found = candidates.par_chunks(whole.max(1)).zip(costs.par_chunks(samples));
            searches.par_iter_mut().zip(found).for_each(|(search, (candidates, costs))| {
                let finite = |c: &f32| if c.is_finite() { *c } else { f32::INFINITY };
                let costs: Vec<f32> = costs.iter().map(finite).collect();
                search.best.calls += (samples * steps) as u64;
                self.learn(search, candidates, &costs, config.least_spread * reach.most());
            });
        }
        Ok(searches.into_iter().map(|search| search.best).collect())
    }

    /// Moves the distribution to what was good.
    fn learn(&self, search: &mut Search, candidates: &[f32], costs: &[f32], least_spread: f32) {
        let long = search.mean.len();
        let mut order: Vec<usize> = (0..costs.len()).collect();
        order.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]));
        let candidate = |i: usize| &candidates[i * long..][..long];
        if costs[order[0]] < search.best.cost {
            search.best.cost = costs[order[0]];
            search.best.actions = candidate(order[0]).to_vec();
        }
        let (elites, momentum) = match *self {
            Self::Random { .. } | Self::Actor { .. } | Self::Gradient { .. } => return,
            Self::Cem { elites, .. } | Self::Mppi { elites, .. } => (elites, 0.0),
            Self::Icem { elites, momentum, keep, .. } => {
                let keep = (elites as f32 * keep.clamp(0.0, 1.0)).round() as usize;
                search.kept = order.iter().take(keep).map(|i| candidate(*i).to_vec()).collect();
                (elites, momentum.clamp(0.0, 1.0))
            }
        };
        order.truncate(elites.min(order.len()));
        order.retain(|i| costs[*i].is_finite());
        if order.is_empty() {
            return;
        }
        let weights: Vec<f32> = if let Self::Mppi { temperature, .. } = *self {
            let count = order.len() as f32;
            let mean = order.iter().map(|i| costs[*i]).sum::<f32>() / count;
            let variance = order.iter().map(|i| (costs[*i] - mean).powi(2)).sum::<f32>() / count;
            let scale = (temperature * variance.sqrt()).max(f32::MIN_POSITIVE);
            let best = costs[order[0]];
            order.iter().map(|i| ((best - costs[*i]) / scale).exp()).collect()
        } else {
            vec![1.0; order.len()]
        };
        let total: f32 = weights.iter().sum();
        for j in 0..long {
            let weighted = |f: &dyn Fn(f32) -> f32| {
                order.iter().zip(&weights).map(|(i, w)| w * f(candidate(*i)[j])).sum::<f32>() / total
            };
            let mean = weighted(&|x| x);
            let spread = weighted(&|x| (x - mean).powi(2)).max(0.0).sqrt().max(least_spread);
            search.mean[j] += (1.0 - momentum) * (mean - search.mean[j]);
            search.spread[j] += (1.0 - momentum) * (spread - search.spread[j]);
        }
    }
}

/// Adam on all starts of all episodes.
fn descend(
    problem: &mut dyn Problem,
    mut searches: Vec<Search>,
    (samples, iterations, rate): (usize, usize, f32),
    (horizon, steps): (usize, usize),
    budget: Budget,
) -> Result<Vec<Plan>, PlannerError> {
    let (reach, width) = (problem.reach(), problem.action());
    let long = horizon * width;
    // A step back through the model is worth a call of its own.
    let affordable = budget.calls / (2 * steps as u64);
    if affordable == 0 {
        return Err(PlannerError::Budget { calls: budget.calls, needed: 2 * steps as u64 });
    }
    let samples = samples.min(usize::try_from(affordable).unwrap_or(usize::MAX));
    let iterations = iterations.min(usize::try_from(affordable / samples as u64).unwrap_or(usize::MAX));
    let mut candidates = Vec::with_capacity(searches.len() * samples * long);
    for search in &mut searches {
        candidates.extend(&search.mean);
        for _ in 1..samples {
            let random = &mut search.random;
            candidates
                .extend(search.mean.iter().zip(&search.spread).map(|(m, s)| m + s * random.random_range(-1.0..1.0)));
        }
    }
    let (mut first, mut second) = (vec![0.0_f32; candidates.len()], vec![0.0_f32; candidates.len()]);
    for iteration in 1..=iterations as i32 {
        candidates.chunks_exact_mut(width).for_each(|action| reach.cut(action));
        let (costs, gradients) = problem.gradients(&candidates, samples, horizon).ok_or(PlannerError::NoGradient)?;
        for (e, search) in searches.iter_mut().enumerate() {
            search.best.calls += 2 * (samples * steps) as u64;
            for (s, cost) in costs[e * samples..][..samples].iter().enumerate() {
                if *cost < search.best.cost {
                    search.best.cost = *cost;
                    search.best.actions = candidates[(e * samples + s) * long..][..long].to_vec();
                }
            }
        }
        for (((x, g), m), v) in candidates.iter_mut().zip(gradients).zip(&mut first).zip(&mut second) {
            let g = if g.is_finite() { g } else { 0.0 };
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            let (m, v) = (*m / (1.0 - 0.9_f32.powi(iteration)), *v / (1.0 - 0.999_f32.powi(iteration)));
            *x -= rate * reach.most() * m / (v.sqrt() + 1e-8);
        }
    }
    Ok(searches.into_iter().map(|search| search.best).collect())
}
