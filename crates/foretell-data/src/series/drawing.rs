//! Drawings of series: lines over time with gaps where nothing is known, and bands of forecasts.

use crate::Image;
use crate::images::colour::from_hsv;
use crate::series::SeriesSample;

const PAPER: [f32; 3] = [1.0, 1.0, 1.0];
const AXIS: [f32; 3] = [0.88, 0.89, 0.91];
/// Channels that are drawn at most.
const DRAWN: usize = 8;
/// Points between two pixels.
const FINE: usize = 3;

/// A line over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The step of its first value.
    pub start: usize,
    /// NaN in holes.
    pub values: Vec<f32>,
    /// Red, green, blue in 0..=1.
    pub colour: [f32; 3],
}

/// What lies between two lines, such as a tenth and nine tenths of what is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The step of its first value.
    pub start: usize,
    /// Below and above, as many of each.
    pub low: Vec<f32>,
    /// The upper edge.
    pub high: Vec<f32>,
    /// Red, green, blue in 0..=1.
    pub colour: [f32; 3],
}

/// A drawing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Drawn over each other.
    pub lines: Vec<Line>,
    /// Drawn under them.
    pub bands: Vec<Band>,
    /// Steps at which a thin line parts what was seen from what was not.
    pub marks: Vec<usize>,
}

impl Chart {
    /// Of a sample: a line for each of its first channels.
    pub fn of(sample: &SeriesSample) -> Self {
        let line = |channel: usize| Line {
            start: 0,
            values: sample.channel(channel).collect(),
            colour: Self::colour(channel),
        };
        Self { lines: (0..sample.channels.min(DRAWN)).map(line).collect(), ..Self::default() }
    }

    /// The colour of a channel.
    pub fn colour(channel: usize) -> [f32; 3] {
        from_hsv(0.58 + 0.381_966 * channel as f32, 0.7, 0.72)
    }

    /// The picture, a function of the chart alone.
    pub fn draw(&self, width: usize, height: usize) -> Image {
        let (width, height) = (width.max(8), height.max(8));
        let mut canvas = vec![PAPER; width * height];
        let ends = self.lines.iter().map(|line| line.start + line.values.len());
        let steps = ends.chain(self.bands.iter().map(|band| band.start + band.low.len())).max().unwrap_or(0).max(2);
        let all = self.lines.iter().flat_map(|line| &line.values);
        let all = all.chain(self.bands.iter().flat_map(|band| band.low.iter().chain(&band.high)));
        let (low, high) = all
            .filter(|value| value.is_finite())
            .fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let margin = 0.06 * height as f32;
        let scale = if high > low { (height as f32 - 1.0 - 2.0 * margin) / (high - low) } else { 0.0 };
        let y = |value: f32| {
            let middle = if scale == 0.0 { height as f32 / 2.0 } else { margin + (high - value) * scale };
            middle.clamp(0.0, height as f32 - 1.0)
        };
        let x = |step: f32| step / (steps - 1) as f32 * (width - 1) as f32;
        let mut dot = |px: f32, py: f32, colour: [f32; 3], alpha: f32| {
            let (column, row) = (px.round() as usize, py.round() as usize);
            if column < width && row < height {
                let pixel = &mut canvas[row * width + column];
                for (old, new) in pixel.iter_mut().zip(colour) {
                    *old += (new - *old) * alpha;
                }
            }
        };
        for mark in &self.marks {
            (0..height).for_each(|row| dot(x(*mark as f32), row as f32, AXIS, 1.0));
        }
        for Band { start, low, high, colour } in &self.bands {
            let len = low.len().min(high.len());
            for column in 0..width {
                let step = column as f32 / (width - 1) as f32 * (steps - 1) as f32 - *start as f32;
                if len == 0 || step < -0.5 || step > len as f32 - 0.5 {
                    continue;
                }
                let at = (step.round().max(0.0) as usize).min(len - 1);
                if low[at].is_finite() && high[at].is_finite() {
                    let (top, bottom) = (y(high[at]).round() as usize, y(low[at]).round() as usize);
                    (top..=bottom).for_each(|row| dot(column as f32, row as f32, *colour, 0.28));
                }
            }
        }
        for Line { start, values, colour } in &self.lines {
            for (at, pair) in values.windows(2).enumerate() {
                let [a, b] = [pair[0], pair[1]];
                if !(a.is_finite() && b.is_finite()) {
                    continue;
                }
                let (from, to) = ((x((start + at) as f32), y(a)), (x((start + at + 1) as f32), y(b)));
                let count = FINE * ((to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil() as usize).max(1);
                for point in 0..=count {
                    let share = point as f32 / count as f32;
                    dot(from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share, *colour, 0.8);
                }
            }
            // A value between two holes is a dot.
            for (at, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                dot(x((start + at) as f32), y(*value), *colour, 0.6);
            }
        }
        let pixels =
            canvas.into_iter().flatten().map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8).collect();
        Image { width, height, channels: 3, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_gaps_and_constants_are_drawn() {
        let mut values = vec![0.0; 64];
        values[20..40].fill(f32::NAN);
        let image = Chart::of(&SeriesSample::new(1, values)).draw(64, 32);
        let coloured = |column: usize| (0..32).any(|row| image.pixels[(row * 64 + column) * 3..][..3] != [255; 3]);
        assert!(coloured(5) && !coloured(30) && coloured(50));
        // Nothing, and less than nothing, is a picture too.
        let empty = Chart::of(&SeriesSample::new(1, vec![f32::NAN; 5])).draw(1, 1);
        assert_eq!((empty.width, empty.height), (8, 8));
        let band = Band { start: 3, low: vec![-1.0; 4], high: vec![1.0; 4], colour: [1.0, 0.0, 0.0] };
        let chart = Chart { bands: vec![band], marks: vec![3], ..Chart::default() };
        assert!(chart.draw(40, 20).pixels.chunks(3).any(|pixel| pixel[1] < 255));
    }
}
