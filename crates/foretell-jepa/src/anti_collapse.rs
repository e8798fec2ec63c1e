//! What keeps codes from becoming one: one choice for every composition.
//!
//! Values and gradients are those of the published codes; where two of them differ, both are here by name. Every statistic is over the
//! samples of a group (a view, a place): of a batch that comes in pieces, lay the pieces' codes behind each other first (axis 1),
//! for the mean of the pieces' terms is another number.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::barlow::barlow;
use crate::sigreg::{bcs, sigreg};
use crate::{vicreg, visreg};

/// The term against collapse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AntiCollapse {
    /// Projections of codes look as those of N(0, I) do to the Epps–Pulley test (LeJEPA, arXiv 2511.08544).
    Sigreg(SigregConfig),
    /// Each dimension varies, no two say the same (arXiv 2105.04906).
    Vicreg(VicregConfig),
    /// Correlations of two views' codes are the identity (arXiv 2103.03230).
    BarlowTwins(BarlowConfig),
    /// Centre, scale and shape apart (arXiv 2606.02572).
    Visreg(VisregConfig),
    /// None: everything collapses that has nothing else against it.
    None,
}

impl Default for AntiCollapse {
    fn default() -> Self {
        Self::Sigreg(SigregConfig::default())
    }
}

/// SIGReg as two codes have it: a weight of the one means nothing in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SigregConfig {
    /// What the statistic is multiplied by.
    pub scaling: Scaling,
}

/// See [`SigregConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// By the samples N: ≈ 1.052 for N(0, I), 0.402 N at collapse (LeJEPA; 17 knots on [0, 3]).
    #[default]
    Samples,
    /// By nothing: ≈ 1.050/N for N(0, I), 0.400 at collapse (EB-JEPA's "BCS", arXiv 2602.03604; 10 knots on [−3, 3]).
    None,
}

/// Weights of VICReg. The invariance is the mean squared difference of two views' codes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VicregConfig {
    /// What the two other terms are divided by.
    pub convention: Convention,
    /// Weight of the invariance, where views are compared.
    pub invariance: f64,
    /// Weight of the variance.
    pub variance: f64,
    /// Weight of the covariance.
    pub covariance: f64,
}

impl Default for VicregConfig {
    fn default() -> Self {
        Self { convention: Convention::Paper, invariance: 25.0, variance: 25.0, covariance: 1.0 }
    }
}

impl VicregConfig {
    /// EB-JEPA's of images: 1, 1 and 80 in its own convention.
    pub fn eb_jepa() -> Self {
        Self { convention: Convention::EbJepa, invariance: 1.0, variance: 1.0, covariance: 80.0 }
    }
}

/// By what VICReg's terms are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// The variance is the mean of two views', the covariance the sum of two views', divided by D.
    #[default]
    Paper,
    /// Both are the sum of two views', the covariance divided by D (D − 1).
    EbJepa,
}

/// The weight of Barlow Twins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BarlowConfig {
    /// Weight of the sum of squares off the diagonal, λ.
    pub off_diagonal: f64,
}

impl Default for BarlowConfig {
    fn default() -> Self {
        Self { off_diagonal: 0.0051 }
    }
}

/// Weights of VISReg.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisregConfig {
    /// Weight of the squared means.
    pub centre: f64,
    /// Weight of the standard deviations' distance from 1.
    pub scale: f64,
    /// Weight of the shape: more of it for data of low rank or with long tails.
    pub shape: f64,
    /// Added to standard deviations of the scale: 1e-6 in the released code, 0 in lightly's.
    pub scale_eps: f64,
    /// Added to standard deviations that the shape divides by: 1e-6 in the released code, 1e-4 in lightly's.
    pub shape_eps: f64,
}

impl Default for VisregConfig {
    fn default() -> Self {
        Self { centre: 1.0, scale: 1.0, shape: 1.0, scale_eps: 0.0, shape_eps: 1e-4 }
    }
}

impl VisregConfig {
    /// The released code's.
    pub fn official() -> Self {
        Self { scale_eps: 1e-6, shape_eps: 1e-6, ..Self::default() }
    }
}

/// A weighted sum and its parts before their weights, all `[1]`.
pub struct Term {
    /// What is minimised.
    pub value: Tensor<1>,
    /// What it is made of.
    pub parts: Vec<(&'static str, Tensor<1>)>,
}

impl AntiCollapse {
    /// How many random directions it takes where `slices` are asked for.
    pub fn directions(self, slices: usize) -> usize {
        match self {
            Self::Sigreg(_) | Self::Visreg(_) => slices,
            Self::Vicreg(_) | Self::BarlowTwins(_) | Self::None => 0,
        }
    }

    /// λ where nobody says one: the published value for small data, or `None` where the weights are the term's own.
    pub fn usual_lambda(self) -> Option<f64> {
        match self {
            Self::Sigreg(SigregConfig { scaling: Scaling::Samples }) => Some(0.05),
            Self::Sigreg(SigregConfig { scaling: Scaling::None }) => Some(10.0),
            Self::Visreg(_) => Some(0.6),
            Self::Vicreg(_) | Self::BarlowTwins(_) | Self::None => None,
        }
    }

    /// Whether λ is a share, so that the invariance weighs 1 − λ.
    pub fn is_share(self) -> bool {
        matches!(self, Self::Sigreg(SigregConfig { scaling: Scaling::Samples }) | Self::Visreg(_))
    }

    /// What is wrong with it, in a sentence about the key `table`.
    pub fn check(self, table: &str) -> Result<(), String> {
        let weights: &[(&str, f64)] = match &self {
            Self::Vicreg(VicregConfig { invariance, variance, covariance, .. }) => {
                &[("invariance", *invariance), ("variance", *variance), ("covariance", *covariance)]
            }
            Self::BarlowTwins(BarlowConfig { off_diagonal }) => &[("off_diagonal", *off_diagonal)],
            Self::Visreg(VisregConfig { centre, scale, shape, scale_eps, shape_eps }) => &[
                ("centre", *centre),
                ("scale", *scale),
                ("shape", *shape),
                ("scale_eps", *scale_eps),
                ("shape_eps", *shape_eps),
            ],
            Self::Sigreg(_) | Self::None => &[],
        };
        match weights.iter().find(|(_, weight)| !(*weight >= 0.0 && weight.is_finite())) {
            Some((key, weight)) => Err(format!("`{table}.{key}` must be 0 or more, found {weight}")),
            None => Ok(()),
        }
    }

    /// What keeps codes apart, without what draws views together; the mean over the groups. Barlow Twins correlates each group with
    /// itself here: its sum off the diagonal. `None` is 0.
    ///
    /// # Shapes
    /// - `codes`: `[V, N, D]`: V groups judged apart, N ≥ 2 samples; `directions`: `[D, M]` from
    ///   [`directions`](crate::sigreg::directions), M ≥ 1 where [it takes some](Self::directions)
    pub fn term(self, codes: Tensor<3>, directions: &[f32]) -> Term {
        let one = |name, value: Tensor<1>| Term { value: value.clone(), parts: vec![(name, value)] };
        match self {
            Self::Sigreg(SigregConfig { scaling: Scaling::Samples }) => one("sigreg", sigreg(codes, directions)),
            Self::Sigreg(SigregConfig { scaling: Scaling::None }) => one("sigreg", bcs(codes, directions)),
            Self::Vicreg(config) => {
                let width = codes.dims()[2];
                // Both published codes add up two views: twice the mean over any number.
                let (of_variance, of_covariance) = match config.convention {
                    Convention::Paper => (1.0, 2.0 * width.saturating_sub(1) as f64),
                    Convention::EbJepa => (2.0, 2.0),
                };
                let variance = vicreg::variance(codes.clone()) * of_variance;
                let covariance = vicreg::covariance(codes) * of_covariance;
                weighted([("variance", variance, config.variance), ("covariance", covariance, config.covariance)])
            }
            Self::BarlowTwins(config) => {
                let itself = |group: usize| (view(&codes, group), view(&codes, group));
                let pairs: Vec<_> = (0..codes.dims()[0]).map(itself).collect();
                twins(config, pairs)
            }
            Self::Visreg(config) => {
                let shape = visreg::shape(codes.clone(), directions, config.shape_eps);
                weighted([
                    ("centre", visreg::centre(codes.clone()), config.centre),
                    ("scale", visreg::scale(codes, config.scale_eps), config.scale),
                    ("shape", shape, config.shape),
                ])
            }
            Self::None => Term { value: Tensor::zeros([1], &codes.device()), parts: Vec::new() },
        }
    }

    /// The loss of views, invariance and all, as each method's paper has it; `lambda` is not read where
    /// [`usual_lambda`](Self::usual_lambda) is `None`.
    ///
    /// | | loss |
    /// |---|---|
    /// | SIGReg by the samples, VISReg | `(1 − λ) mean (z_v − μ)² + λ term`, μ the mean of the global views |
    /// | SIGReg by nothing | `mean (z_a − z_b)² + λ term` |
    /// | VICReg | `w mean (z_a − z_b)² + term` |
    /// | Barlow Twins | `Σ (C_ii − 1)² + λ' Σ C_ij²` of `z_a`, `z_b` |
    /// | none | `mean (z_v − μ)²` |
    ///
    /// Where there are more than two views the mean is over all pairs of a global view and another one.
    ///
    /// # Shapes
    /// - `codes`: `[V, N, D]`, the `global` global views first; `directions` as in [`term`](Self::term)
    pub fn views(self, codes: Tensor<3>, global: usize, directions: &[f32], lambda: f64) -> Term {
        let invariance = match self {
            Self::Sigreg(SigregConfig { scaling: Scaling::None }) | Self::Vicreg(_) => between(&codes, global),
            Self::BarlowTwins(config) => return twins(config, pairs(&codes, global)),
            Self::Sigreg(_) | Self::Visreg(_) | Self::None => around(&codes, global),
        };
        if self == Self::None {
            return Term { value: invariance.clone(), parts: vec![("invariance", invariance)] };
        }
        let Term { value, parts } = self.term(codes, directions);
        let (of_invariance, of_term) = match self {
            Self::Vicreg(config) => (config.invariance, 1.0),
            _ if self.is_share() => (1.0 - lambda, lambda),
            _ => (1.0, lambda),
        };
        let value = invariance.clone() * of_invariance + value * of_term;
        Term { value, parts: [("invariance", invariance)].into_iter().chain(parts).collect() }
    }
}

/// `mean (z_v − μ)²`, μ the mean of the global views.
fn around(codes: &Tensor<3>, global: usize) -> Tensor<1> {
    let [_, samples, width] = codes.dims();
    let centre = codes.clone().slice([0..global, 0..samples, 0..width]).mean_dim(0);
    (codes.clone() - centre).square().mean()
}

/// The mean of `(z_a − z_b)²` over pairs of views.
fn between(codes: &Tensor<3>, global: usize) -> Tensor<1> {
    let pairs = pairs(codes, global);
    let count = pairs.len().max(1) as f64;
    let each = pairs.into_iter().map(|(a, b)| (a - b).square().mean());
    each.reduce(|a, b| a + b).expect("two views at least") / count
}

/// Codes of every two views of which one is global, `[N, D]` each.
fn pairs(codes: &Tensor<3>, global: usize) -> Vec<(Tensor<2>, Tensor<2>)> {
    let views = codes.dims()[0];
    let of = |a: usize| (a + 1..views).map(move |b| (view(codes, a), view(codes, b)));
    (0..global.min(views)).flat_map(of).collect()
}

fn view(codes: &Tensor<3>, view: usize) -> Tensor<2> {
    codes.clone().narrow(0, view, 1).squeeze_dim(0)
}

/// Barlow Twins, the mean over pairs.
fn twins(config: BarlowConfig, pairs: Vec<(Tensor<2>, Tensor<2>)>) -> Term {
    let count = pairs.len().max(1) as f64;
    let sums = pairs.into_iter().map(|(a, b)| {
        let found = barlow(a, b);
        (found.diagonal, found.off_diagonal)
    });
    let (diagonal, off) = sums.reduce(|a, b| (a.0 + b.0, a.1 + b.1)).expect("one pair at least");
    weighted([("diagonal", diagonal / count, 1.0), ("off-diagonal", off / count, config.off_diagonal)])
}

/// A sum of weighted parts.
fn weighted<const N: usize>(parts: [(&'static str, Tensor<1>, f64); N]) -> Term {
    let products = parts.iter().map(|(_, part, weight)| part.clone() * *weight);
    let value = products.reduce(|a, b| a + b).expect("one part at least");
    Term { value, parts: parts.into_iter().map(|(name, part, _)| (name, part)).collect() }
}
