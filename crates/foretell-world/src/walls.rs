//! A point among solid rectangles.

/// A solid rectangle, `x0 ≤ x ≤ x1`, `y0 ≤ y ≤ y1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Solid {
    pub(crate) x: (f32, f32),
    pub(crate) y: (f32, f32),
}

/// A point stops so far from a wall, in pixels.
const GAP: f32 = 1e-3;

impl Solid {
    pub(crate) fn contains(&self, [x, y]: [f32; 2]) -> bool {
        (self.x.0..=self.x.1).contains(&x) && (self.y.0..=self.y.1).contains(&y)
    }

    /// Share of the way at which the segment enters, if it does.
    fn entry(&self, from: [f32; 2], by: [f32; 2]) -> Option<f32> {
        let (mut enter, mut leave) = (0.0_f32, 1.0_f32);
        for ((start, change), (low, high)) in from.into_iter().zip(by).zip([self.x, self.y]) {
            if change == 0.0 {
                if start < low || start > high {
                    return None;
                }
                continue;
            }
            let (a, b) = ((low - start) / change, (high - start) / change);
            enter = enter.max(a.min(b));
            leave = leave.min(a.max(b));
        }
        (enter <= leave).then_some(enter)
    }

    /// Share of a rectangle's area that is solid.
    pub(crate) fn covers(&self, x: (f32, f32), y: (f32, f32)) -> f32 {
        let overlap = |a: (f32, f32), b: (f32, f32)| (a.1.min(b.1) - a.0.max(b.0)).max(0.0);
        overlap(self.x, x) * overlap(self.y, y) / ((x.1 - x.0) * (y.1 - y.0))
    }
}

/// Where a point ends that walks straight and stops at the first wall.
pub(crate) fn walk(solids: &[Solid], from: [f32; 2], by: [f32; 2]) -> [f32; 2] {
    let length = by[0].hypot(by[1]);
    if length == 0.0 {
        return from;
    }
    let first = solids.iter().filter_map(|solid| solid.entry(from, by)).fold(f32::INFINITY, f32::min);
    let share = if first > 1.0 { 1.0 } else { (first - GAP / length).max(0.0) };
    [from[0] + share * by[0], from[1] + share * by[1]]
}
