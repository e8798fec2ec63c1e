//! A history's own scale, and how wrong forecasts are.

use foretell_data::series::{SeriesSample, Stretch, stretched};

/// Mean and deviation of each channel of what is known of a history.
pub(super) struct Scale(Vec<(f32, f32)>);

impl Scale {
    pub(super) fn of(history: &SeriesSample) -> Self {
        let moments = |channel: usize| {
            let known = || history.channel(channel).filter(|value| !value.is_nan());
            let count = known().count().max(1) as f32;
            let mean = known().sum::<f32>() / count;
            let deviation = (known().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt();
            (mean, if deviation > 1e-5 { deviation } else { 1.0 })
        };
        Self((0..history.channels).map(moments).collect())
    }

    /// The deviation of a channel.
    pub(super) fn deviation(&self, channel: usize) -> f32 {
        self.0[channel].1
    }

    /// On this scale.
    pub(super) fn scaled(&self, channel: usize, value: f32) -> f32 {
        (value - self.0[channel].0) / self.0[channel].1
    }

    /// Back from it.
    pub(super) fn back(&self, channel: usize, value: f32) -> f32 {
        value * self.0[channel].1 + self.0[channel].0
    }
}

/// The last steps of a history, channel by channel, without holes and on its scale: `[C · len]`.
pub(super) fn recent(history: &SeriesSample, scale: &Scale, len: usize) -> Vec<f32> {
    let steps = history.steps();
    let tail = history.cut(steps.saturating_sub(len)..steps);
    let of = |channel: usize| stretched(&tail, channel, len).into_iter().map(move |value| (channel, value));
    (0..history.channels).flat_map(of).map(|(channel, value)| scale.scaled(channel, value)).collect()
}

/// A channel of a history without holes.
pub(super) fn filled(history: &SeriesSample, channel: usize) -> Vec<f32> {
    stretched(history, channel, history.steps())
}

/// Squared and absolute errors of forecasts `[C, H]` each, the mean over all that is known of what came.
pub(super) fn errors(forecasts: &[Vec<f32>], stretches: &[Stretch]) -> [f64; 2] {
    let (mut squared, mut absolute, mut count) = (0.0, 0.0, 0_usize);
    for (forecast, stretch) in forecasts.iter().zip(stretches) {
        let horizon = stretch.future.steps();
        for channel in 0..stretch.future.channels {
            for (step, value) in stretch.future.channel(channel).enumerate().filter(|(_, value)| !value.is_nan()) {
                let error = f64::from(forecast[channel * horizon + step] - value);
                squared += error * error;
                absolute += error.abs();
                count += 1;
            }
        }
    }
    [squared, absolute].map(|sum| sum / count.max(1) as f64)
}
