//! Series without holes and of a common length, for whoever can take nothing else: what is unknown lies on the line between its
//! neighbours.

use crate::series::SeriesSample;

/// One channel at `len` places spread evenly over its time, each on the line between the known values beside it; before the first and
/// after the last known value as those are, and 0 where nothing is known at all.
pub fn stretched(series: &SeriesSample, channel: usize, len: usize) -> Vec<f32> {
    let known: Vec<(f32, f32)> = series
        .channel(channel)
        .enumerate()
        .filter(|(_, value)| !value.is_nan())
        .map(|(step, value)| (step as f32, value))
        .collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else { return vec![0.0; len] };
    let scale = if len > 1 { (series.steps().max(1) - 1) as f32 / (len - 1) as f32 } else { 0.0 };
    let mut at = 0;
    let value = |place: usize| {
        let time = place as f32 * scale;
        if time <= first.0 {
            return first.1;
        }
        if time >= last.0 {
            return last.1;
        }
        while known[at + 1].0 < time {
            at += 1;
        }
        let ((before, low), (after, high)) = (known[at], known[at + 1]);
        low + (high - low) * (time - before) / (after - before)
    };
    (0..len).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_lie_on_the_line_between_their_neighbours() {
        let series = SeriesSample::new(1, vec![f32::NAN, 2.0, f32::NAN, 4.0, f32::NAN]);
        assert_eq!(stretched(&series, 0, 5), [2.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(stretched(&series, 0, 3), [2.0, 3.0, 4.0]);
        assert_eq!(stretched(&series, 0, 1), [2.0]);
        assert_eq!(stretched(&SeriesSample::new(1, vec![f32::NAN; 3]), 0, 2), [0.0; 2]);
        let two = SeriesSample::new(2, vec![0.0, 7.0, 1.0, 7.0]);
        assert_eq!((stretched(&two, 0, 3), stretched(&two, 1, 3)), (vec![0.0, 0.5, 1.0], vec![7.0; 3]));
    }
}
