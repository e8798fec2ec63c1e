//! The intrinsic cost `IC(s) = Σ u_i IC_i(s)` (section 3.2 of the position paper): what the agent is after and what hurts. It is a formula
//! without parameters and holds no tensor, so that no optimiser can reach it; only the configurator makes one.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What a moment is like, as the agent perceives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percept {
    /// From the goal: in twenties of steps where the model tells steps, else its energy.
    pub distance: f32,
    /// How near to what harms, 0 to 1.
    pub hazard: f32,
    /// Of the action that led here: its squared length as a share of the longest action's.
    pub effort: f32,
}

/// The weights `u` of the terms. A negative one seeks what it would shun.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drives {
    /// Of the distance from the goal.
    pub distance: f32,
    /// Of hazards.
    pub hazard: f32,
    /// Of effort.
    pub effort: f32,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntrinsicCost {
    drives: Drives,
}

impl IntrinsicCost {
    /// With these drives.
    pub(super) const fn new(drives: Drives) -> Self {
        Self { drives }
    }

    /// Its weights.
    pub fn drives(&self) -> Drives {
        self.drives
    }

    /// Of one moment.
    pub fn of(&self, percept: Percept) -> f32 {
        let Drives { distance, hazard, effort } = self.drives;
        distance * percept.distance + hazard * percept.hazard + effort * percept.effort
    }

    /// Of imagined moments, each term `[S, 1]`: `[S, 1]`, with the gradients of what the terms were read from.
    pub(super) fn imagined(&self, distance: Tensor<2>, hazard: Option<Tensor<2>>, effort: Tensor<2>) -> Tensor<2> {
        let cost = distance * self.drives.distance + effort * self.drives.effort;
        match hazard {
            Some(hazard) => cost + hazard * self.drives.hazard,
            None => cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use foretell_ops as ops;

    #[test]
    fn it_is_its_formula_for_moments_lived_and_imagined_and_holds_no_tensor() {
        // What holds a tensor cannot be copied.
        fn copied<T: Copy>(_: &T) {}
        let cost = IntrinsicCost::new(Drives { distance: -1.0, hazard: 3.0, effort: 0.5 });
        copied(&cost);
        let percept = Percept { distance: 2.0, hazard: 0.25, effort: 0.5 };
        assert_eq!(cost.of(percept), -2.0 + 0.75 + 0.25);
        let column = |x: f32| Tensor::<2>::from_data([[x], [2.0 * x]], &Device::default());
        let imagined = cost.imagined(column(2.0), Some(column(0.25)), column(0.5));
        assert_eq!(ops::values(imagined), [-1.0, -2.0]);
        assert_eq!(ops::values(cost.imagined(column(2.0), None, column(0.5))), [-1.75, -3.5]);
    }
}
