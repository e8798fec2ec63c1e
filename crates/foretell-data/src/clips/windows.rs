//! Windows of clips by time: where each begins, and which frame is shown at each of its moments.

use crate::clips::config::ShortClips;

/// A hair, in seconds, by which a moment is later than it is said, so that one which is a frame's own is not lost to the rounding
/// of a container's clock (Matroska's ticks are a millisecond).
pub(super) const HAIR: f64 = 0.002;

/// How windows are cut: T frames, so many in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) frames: usize,
    pub(super) fps: f64,
    /// Windows of each clip; 0 for as many as cover it.
    pub(super) windows: usize,
    pub(super) short: ShortClips,
}

/// How long a clip is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// Seconds from its first frame to its last one.
    pub(super) last: f64,
    /// Frames in a second, on average.
    pub(super) fps: f64,
}

impl Extent {
    /// Seconds that it lasts, its last frame's time included.
    pub(super) fn seconds(self) -> f64 {
        self.last + 1.0 / self.fps
    }
}

impl Cut {
    /// Seconds between the first and the last moment of a window.
    pub(super) fn reach(self) -> f64 {
        (self.frames - 1) as f64 / self.fps
    }

    /// Whether a clip ends before a window does, by more than half of the time between two moments.
    pub(super) fn is_short(self, clip: Extent) -> bool {
        self.reach() > clip.last + (0.5 / self.fps).max(HAIR)
    }

    /// How many windows a clip has.
    pub(super) fn count(self, clip: Extent) -> usize {
        if self.is_short(clip) {
            return usize::from(self.short == ShortClips::Repeat);
        }
        match self.windows {
            // Each covers as long as its frames are shown; a tenth of a window is left over rather than seen twice.
            0 => ((clip.seconds() * self.fps / self.frames as f64 - 0.1).ceil() as usize).max(1),
            windows => windows,
        }
    }

    /// Seconds from a clip's first frame to the start of a window, `window` below `count`: they are spread evenly, and the last one
    /// ends at the last frame. A single one lies in the middle.
    pub(super) fn start(self, clip: Extent, window: usize, count: usize) -> f64 {
        let room = (clip.last - self.reach()).max(0.0);
        if count <= 1 { room / 2.0 } else { room * window as f64 / (count - 1) as f64 }
    }

    /// The moments of a window that begins there.
    pub(super) fn moments(self, start: f64) -> impl Iterator<Item = f64> {
        (0..self.frames).map(move |frame| start + frame as f64 / self.fps)
    }
}

/// The frame that is shown at a moment, of frames at these times from the first on; the last one behind the end.
pub(super) fn shown(times: &[f64], moment: f64) -> usize {
    let first = times.first().copied().unwrap_or(0.0);
    times.partition_point(|time| time - first <= moment + HAIR).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(frames: usize, fps: f64, windows: usize) -> Cut {
        Cut { frames, fps, windows, short: ShortClips::Repeat }
    }

    /// 100 frames at 25 a second.
    const CLIP: Extent = Extent { last: 3.96, fps: 25.0 };

    fn starts(cut: Cut) -> Vec<f64> {
        let count = cut.count(CLIP);
        (0..count).map(|window| cut.start(CLIP, window, count)).collect()
    }

    #[track_caller]
    fn near(found: &[f64], expected: &[f64]) {
        let same = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(same, "{found:?} and not {expected:?}");
    }

    #[test]
    fn the_last_window_ends_at_the_last_frame() {
        near(&starts(cut(16, 8.0, 3)), &[0.0, 1.0425, 2.085]);
        near(&[2.085 + cut(16, 8.0, 3).reach()], &[CLIP.last]);
        near(&starts(cut(16, 8.0, 1)), &[1.0425]);
        // Two seconds each: two of them cover the clip.
        near(&starts(cut(16, 8.0, 0)), &[0.0, 2.085]);
        assert_eq!(starts(cut(16, 25.0, 0)).len(), 7);
        near(&starts(cut(100, 25.0, 0)), &[0.0]);
    }

    #[test]
    fn every_frame_of_a_clip_is_in_a_window() {
        let times: Vec<f64> = (0..100).map(|frame| f64::from(frame) / 25.0).collect();
        let cut = cut(16, 25.0, 0);
        let count = cut.count(CLIP);
        let mut seen = vec![0; 100];
        for window in 0..count {
            let frames: Vec<usize> =
                cut.moments(cut.start(CLIP, window, count)).map(|moment| shown(&times, moment)).collect();
            assert!(frames.windows(2).all(|pair| pair[1] - pair[0] == 1), "{frames:?}");
            for frame in frames {
                seen[frame] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }

    #[test]
    fn short_clips_are_repeated_or_left_out() {
        let long = cut(64, 8.0, 0);
        assert!(long.is_short(CLIP));
        assert_eq!((long.count(CLIP), Cut { short: ShortClips::LeaveOut, ..long }.count(CLIP)), (1, 0));
        let times: Vec<f64> = (0..100).map(|frame| f64::from(frame) / 25.0).collect();
        let frames: Vec<usize> = long.moments(long.start(CLIP, 0, 1)).map(|moment| shown(&times, moment)).collect();
        assert_eq!((frames[0], frames[1], frames[31], frames[63]), (0, 3, 96, 99));
        // One frame is a clip too.
        assert_eq!(long.count(Extent { last: 0.0, fps: 25.0 }), 1);
        assert_eq!(shown(&[5.0], 3.0), 0);
    }

    #[test]
    fn time_counts_and_not_the_number() {
        // Shown from 0, 0.1, 0.2, 1, 2 and 2.9 s on, counted from the first.
        let times = [10.0, 10.1, 10.2, 11.0, 12.0, 12.9];
        let frames: Vec<usize> = cut(4, 1.0, 1).moments(0.0).map(|moment| shown(&times, moment)).collect();
        assert_eq!(frames, [0, 3, 4, 5]);
    }
}
