//! Values that change over a run. They end at the steps really taken.

/// A value for each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Rises linearly from a hundredth of `peak` over `warmup` steps, then follows half a cosine to `last` at the last
    /// of `steps`.
    WarmupCosine {
        /// Steps of the rise.
        warmup: u64,
        /// The highest value, or the first where there is no rise.
        peak: f64,
        /// The value of the last step.
        last: f64,
        /// All steps.
        steps: u64,
    },
    /// Rises likewise, stays at `peak`, and falls in a line to `last` over the last `cooldown` of `steps` (V-JEPA 2,
    /// arXiv 2506.09985).
    WarmupConstant {
        /// Steps of the rise.
        warmup: u64,
        /// The highest value.
        peak: f64,
        /// The value of the last step.
        last: f64,
        /// Steps of the fall.
        cooldown: u64,
        /// All steps.
        steps: u64,
    },
}

impl Schedule {
    /// The value at a step, from 1.
    pub fn at(self, step: u64) -> f64 {
        let (Self::WarmupCosine { warmup, peak, .. } | Self::WarmupConstant { warmup, peak, .. }) = self;
        if step <= warmup {
            return peak * (0.01 + 0.99 * step as f64 / warmup as f64);
        }
        let (last, steps) = match self {
            Self::WarmupCosine { last, steps, .. } => (last, steps),
            Self::WarmupConstant { last, cooldown, steps, .. } => {
                let cooled = (step + cooldown).saturating_sub(steps) as f64 / cooldown.max(1) as f64;
                return peak + (last - peak) * cooled.min(1.0);
            }
        };
        let through = (step - warmup - u64::from(warmup == 0)) as f64
            / (steps - warmup).saturating_sub(u64::from(warmup == 0)).max(1) as f64;
        last + (peak - last) * 0.5 * (1.0 + (std::f64::consts::PI * through.min(1.0)).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_peaks_after_the_rise_and_ends_at_the_last_step() {
        let s = Schedule::WarmupCosine { warmup: 10, peak: 2.0, last: 0.5, steps: 110 };
        assert!((s.at(10) - 2.0).abs() < 1e-12 && s.at(1) < 0.3);
        assert!((s.at(60) - 1.25).abs() < 1e-12);
        assert!((s.at(110) - 0.5).abs() < 1e-12);
        for step in 11..110 {
            assert!(s.at(step) > s.at(step + 1));
        }
        let flat = Schedule::WarmupCosine { warmup: 0, peak: 0.04, last: 0.4, steps: 3 };
        assert!((flat.at(1) - 0.04).abs() < 1e-12);
        assert!((flat.at(2) - 0.22).abs() < 1e-12 && (flat.at(3) - 0.4).abs() < 1e-12);
        assert_eq!(Schedule::WarmupCosine { warmup: 0, peak: 1.0, last: 0.0, steps: 1 }.at(1), 1.0);
    }

    #[test]
    fn it_stays_at_its_peak_until_it_cools_down() {
        let s = Schedule::WarmupConstant { warmup: 10, peak: 2.0, last: 0.5, cooldown: 20, steps: 110 };
        assert!(s.at(1) < 0.3);
        assert_eq!((s.at(10), s.at(11), s.at(90)), (2.0, 2.0, 2.0));
        assert!((s.at(100) - 1.25).abs() < 1e-12 && (s.at(110) - 0.5).abs() < 1e-12);
    }
}
