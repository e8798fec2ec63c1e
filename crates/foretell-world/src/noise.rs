//! What candidates are drawn from.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Noise of variance 1 whose spectrum over the horizon falls as `1 / f^β` (Pinneri et al., 2020, section 3.1): a sum of
/// cosines and sines with random amplitudes, frequency 0 as loud as the lowest one.
pub(crate) struct Noise {
    /// Numbers in an action, A.
    pub(crate) width: usize,
    /// For each frequency its loudness, and cosine and sine at each step; empty for white noise.
    waves: Vec<(f32, Vec<(f32, f32)>)>,
}

impl Noise {
    /// For plans of `horizon` actions.
    pub(crate) fn new(beta: f32, horizon: usize, width: usize) -> Self {
        if beta <= 0.0 || horizon < 2 {
            return Self { width, waves: Vec::new() };
        }
        let loud: Vec<f32> = (0..=horizon / 2).map(|k| (k.max(1) as f32).powf(-beta / 2.0)).collect();
        let power: f32 = loud.iter().enumerate().map(|(k, l)| if k == 0 { l * l } else { 2.0 * l * l }).sum();
        let wave = |(k, loud): (usize, &f32)| {
            let scale = loud * if k == 0 { 1.0 } else { std::f32::consts::SQRT_2 } / power.sqrt();
            // Frequency 0 is a constant: its sine counts for nothing.
            let at = |t: usize| (std::f32::consts::TAU * (k * t) as f32 / horizon as f32).sin_cos();
            (scale, (0..horizon).map(at).map(|(sin, cos)| (cos, sin)).collect())
        };
        Self { width, waves: loud.iter().enumerate().map(wave).collect() }
    }

    /// `[H, A]`.
    pub(crate) fn draw(&self, random: &mut ChaCha8Rng, out: &mut [f32]) {
        if self.waves.is_empty() {
            out.fill_with(|| StandardNormal.sample(random));
            return;
        }
        out.fill(0.0);
        for a in 0..self.width {
            for (scale, wave) in &self.waves {
                let (c, s): (f32, f32) = (StandardNormal.sample(random), StandardNormal.sample(random));
                for (x, (cos, sin)) in out.iter_mut().skip(a).step_by(self.width).zip(wave) {
                    *x += scale * (c * cos + s * sin);
                }
            }
        }
    }
}
