//! One series: its channels over time.

use std::sync::Arc;

/// Some channels over time. A hole, where nothing is known, is NaN here and never a number; whoever computes asks for what is
/// [known](Self::known).
#[derive(Clone, Debug)]
pub struct SeriesSample {
    /// Values of a step.
    pub channels: usize,
    /// `[T, C]`, row-major, NaN in holes.
    pub values: Arc<[f32]>,
}

impl SeriesSample {
    /// Of values `[T, C]`, NaN in holes.
    ///
    /// # Panics
    /// If there are no channels, or values do not fill whole steps.
    pub fn new(channels: usize, values: Vec<f32>) -> Self {
        assert!(channels > 0 && values.len().is_multiple_of(channels), "whole steps of some channels");
        Self { channels, values: values.into() }
    }

    /// Steps, T: the tail that others have and this one has not is no part of it.
    pub fn steps(&self) -> usize {
        self.values.len() / self.channels
    }

    /// The value of a channel at a step; `None` in a hole and beyond the end.
    pub fn known(&self, step: usize, channel: usize) -> Option<f32> {
        self.values.get(step * self.channels + channel).copied().filter(|value| !value.is_nan())
    }

    /// Values of one channel, `[T]`, NaN in holes.
    pub fn channel(&self, channel: usize) -> impl ExactSizeIterator<Item = f32> + Clone + '_ {
        (0..self.steps()).map(move |step| self.values[step * self.channels + channel])
    }

    /// Values that are known.
    pub fn count(&self) -> usize {
        self.values.iter().filter(|value| !value.is_nan()).count()
    }

    /// Some steps of it.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn cut(&self, steps: std::ops::Range<usize>) -> Self {
        Self::new(self.channels, self.values[steps.start * self.channels..steps.end * self.channels].to_vec())
    }
}

/// To the bit: a hole is a hole.
impl PartialEq for SeriesSample {
    fn eq(&self, other: &Self) -> bool {
        let bits = |sample: &Self| sample.values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        self.channels == other.channels && bits(self) == bits(other)
    }
}
