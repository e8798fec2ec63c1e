//! When frames are shown, and which are taken.

use serde::{Deserialize, Serialize};

/// By what some frames are spread evenly over a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FramesBy {
    /// Their times where those are uneven, and their numbers where they are even or unknown.
    #[default]
    Time,
    /// Their numbers.
    Index,
}

impl FramesBy {
    /// By time, unless it is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether there is a time for each frame and none lies before the one in front of it.
pub(super) fn are_usable(times: &[f64], frames: usize) -> bool {
    times.len() == frames && times.iter().all(|time| time.is_finite()) && times.is_sorted()
}

/// Whether frames are shown at uneven times: one for less than half, or for more than one and a half, of what is usual.
pub(super) fn are_uneven(times: &[f64]) -> bool {
    let usual = usual(times);
    apart(times).any(|between| between < 0.5 * usual || between > 1.5 * usual)
}

/// A line where times are uneven.
pub(super) fn note(times: &[f64]) -> Option<String> {
    let (least, most) = apart(times).fold((f64::MAX, 0.0_f64), |(least, most), d| (least.min(d), most.max(d)));
    are_uneven(times).then(|| {
        format!(
            "its frames are {} to {} s apart: some of them are taken by their times (`--frames-by index` counts them instead)",
            seconds(least),
            seconds(most)
        )
    })
}

/// To the millisecond, as people read it.
pub(super) fn seconds(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn apart(times: &[f64]) -> impl Iterator<Item = f64> {
    times.windows(2).map(|pair| pair[1] - pair[0])
}

/// The median of the times between frames; 0 of a single one.
pub(super) fn usual(times: &[f64]) -> f64 {
    let mut apart: Vec<f64> = apart(times).collect();
    apart.sort_unstable_by(f64::total_cmp);
    apart.get(apart.len() / 2).copied().unwrap_or(0.0)
}

/// `wanted` of `frames` frames spread evenly over the whole clip: frame ⌊i · frames / (wanted − 1)⌋, and the last one where
/// that would be behind the end. So V-JEPA's evaluation takes a segment's frames (NumPy's `linspace` from the segment's start
/// to its end, cut to its last frame, rounded down), here with the clip as its one segment. Short clips repeat frames.
pub fn sample_frames(frames: usize, wanted: usize) -> Vec<usize> {
    let step = frames as f64 / wanted.saturating_sub(1).max(1) as f64;
    let last = frames.saturating_sub(1);
    let frame = |i: usize| if i > 0 && i + 1 == wanted { last } else { ((i as f64 * step) as usize).min(last) };
    if frames == 0 { Vec::new() } else { (0..wanted).map(frame).collect() }
}

/// The same by time: at moments that lie so far apart as [`sample_frames`] has frames, the one that is shown then. The last frame
/// is taken to be shown as long as is usual. Where frames come at even times, both take the same.
pub(super) fn sample_times(times: &[f64], wanted: usize) -> Vec<usize> {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Vec::new() };
    let step = (last - first + usual(times)) / wanted.saturating_sub(1).max(1) as f64;
    let shown = |i: usize| {
        // A hair later, so that a moment which is a frame's own is not lost to rounding.
        let moment = first + i as f64 * step + 1e-6;
        times.partition_point(|time| *time <= moment).saturating_sub(1)
    };
    (0..wanted).map(|i| if i > 0 && i + 1 == wanted { times.len() - 1 } else { shown(i) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_times_take_the_frames_that_numbers_take() {
        for (frames, rate) in [(100, 10.0), (33, 29.97), (250, 25.0), (7, 23.976)] {
            let times: Vec<f64> = (0..frames).map(|i| f64::from(i) / rate).collect();
            assert!(!are_uneven(&times));
            for wanted in [1, 2, 7, 16, 64] {
                assert_eq!(sample_times(&times, wanted), sample_frames(frames as usize, wanted), "{frames} {wanted}");
            }
        }
        // Milliseconds, as Matroska rounds them, are even still.
        let times: Vec<f64> = (0..90).map(|i| (f64::from(i) * 1001.0 / 30.0).round() / 1000.0).collect();
        assert!(!are_uneven(&times));
    }

    #[test]
    fn uneven_times_take_the_frame_that_is_shown() {
        // Shown from 0, 0.1, 0.2, 1, 2 and 2.9 on; the usual time between them is 0.8 (of 0.1, 0.1, 0.8, 0.9, 1), so the end is at
        // 3.7 s and the moments of five are 0, 0.925, 1.85, 2.775 and the last.
        let times = [0.0, 0.1, 0.2, 1.0, 2.0, 2.9];
        assert!(are_uneven(&times));
        assert_eq!(sample_times(&times, 5), [0, 2, 3, 4, 5]);
        assert_eq!(sample_frames(6, 5), [0, 1, 3, 4, 5]);
        // Times count from the first.
        assert_eq!(sample_times(&times.map(|time| time + 60.0), 5), [0, 2, 3, 4, 5]);
        assert_eq!(
            (sample_times(&times, 1), sample_times(&[], 3), sample_times(&[2.0], 2)),
            (vec![0], vec![], vec![0, 0])
        );
    }

    #[test]
    fn times_that_go_back_or_are_missing_are_not_used() {
        assert!(
            are_usable(&[0.0, 0.1, 0.1], 3) && !are_usable(&[0.0, 0.2, 0.1], 3) && !are_usable(&[0.0, f64::NAN], 2)
        );
        assert!(!are_usable(&[0.0], 2));
        assert!(!are_uneven(&[]) && !are_uneven(&[3.0]) && note(&[0.0, 0.1, 0.2]).is_none());
    }
}
