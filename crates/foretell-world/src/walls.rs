//! A point, or a disk, among solid rectangles.

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

    /// How far a place lies off it; 0 inside.
    pub(crate) fn off(&self, [x, y]: [f32; 2]) -> f32 {
        let along = |(low, high): (f32, f32), x: f32| (low - x).max(x - high).max(0.0);
        along(self.x, x).hypot(along(self.y, y))
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

/// A disk comes so near to what it meets, and is pushed so far off it, in pixels.
const SKIN: f64 = 1e-4;
/// Rounding may leave a disk so far inside a wall.
const HAIR: f64 = 1e-3;
/// Contacts of one move, at most.
const CONTACTS: usize = 4;

/// Share of the way at which the centre of a moving disk first meets a solid that it moves towards, and the direction away
/// from it: faces moved out by the radius, and circles around the corners.
fn contact(solids: &[Solid], radius: f64, from: [f64; 2], by: [f64; 2]) -> Option<(f64, [f64; 2])> {
    let (square, mut first) = (by[0] * by[0] + by[1] * by[1], None);
    let mut meet = |at: f64, normal: [f64; 2]| {
        let approaches = by[0] * normal[0] + by[1] * normal[1] < 0.0;
        let reached = at <= 1.0 && at * square.sqrt() >= -HAIR;
        if approaches && reached && first.is_none_or(|(least, _)| at < least) {
            first = Some((at, normal));
        }
    };
    for solid in solids {
        let [x, y] = [solid.x, solid.y].map(|(low, high)| [f64::from(low), f64::from(high)]);
        let passes = |[low, high]: [f64; 2], from: f64, by: f64| {
            from.max(from + by) + radius + HAIR < low || from.min(from + by) - radius - HAIR > high
        };
        if passes(x, from[0], by[0]) || passes(y, from[1], by[1]) {
            continue;
        }
        for (axis, [along, beside]) in [[x, y], [y, x]].into_iter().enumerate().filter(|(axis, _)| by[*axis] != 0.0) {
            for (edge, side) in along.into_iter().zip([-1.0, 1.0]) {
                let at = (edge + side * radius - from[axis]) / by[axis];
                if (beside[0]..=beside[1]).contains(&(from[1 - axis] + at * by[1 - axis])) {
                    meet(at, if axis == 0 { [side, 0.0] } else { [0.0, side] });
                }
            }
        }
        for corner in x.into_iter().flat_map(|x| y.map(|y| [x, y])) {
            let off = [from[0] - corner[0], from[1] - corner[1]];
            let (b, c) = (off[0] * by[0] + off[1] * by[1], off[0] * off[0] + off[1] * off[1] - radius * radius);
            let root = b * b - square * c;
            if root >= 0.0 {
                let at = (-b - root.sqrt()) / square;
                meet(at, [0, 1].map(|i| (off[i] + at * by[i]) / radius));
            }
        }
    }
    first
}

/// Whether a disk gets from one place to another on a straight line.
pub(crate) fn clear_way(solids: &[Solid], radius: f64, from: [f64; 2], to: [f64; 2]) -> bool {
    from == to || contact(solids, radius, from, [to[0] - from[0], to[1] - from[1]]).is_none()
}

/// Where the centre of a disk ends that moves straight and slides along what it meets.
pub(crate) fn sweep(solids: &[Solid], radius: f64, from: [f64; 2], by: [f64; 2]) -> [f64; 2] {
    let (mut place, mut left) = (from, by);
    for _ in 0..CONTACTS {
        let length = left[0].hypot(left[1]);
        if length < f64::EPSILON {
            break;
        }
        let Some((at, normal)) = contact(solids, radius, place, left) else {
            return [place[0] + left[0], place[1] + left[1]];
        };
        let at = (at - SKIN / length).max(0.0);
        place = [0, 1].map(|i| place[i] + at * left[i] + SKIN * normal[i]);
        left = left.map(|x| (1.0 - at) * x);
        let inward = (left[0] * normal[0] + left[1] * normal[1]).min(0.0);
        left = [0, 1].map(|i| left[i] - inward * normal[i]);
    }
    place
}

/// Whether a disk lies in no solid.
pub(crate) fn clear(solids: &[Solid], radius: f64, place: [f64; 2]) -> bool {
    solids.iter().all(|solid| {
        let off = |(low, high): (f32, f32), x: f64| (f64::from(low) - x).max(x - f64::from(high)).max(0.0);
        off(solid.x, place[0]).hypot(off(solid.y, place[1])) > radius - HAIR
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: [Solid; 1] = [Solid { x: (0.0, 10.0), y: (0.0, 10.0) }];

    fn near(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).hypot(a[1] - b[1]) < 1e-3
    }

    #[test]
    fn a_disk_slides_along_a_face_and_around_a_corner() {
        // Head on: it stops a radius off.
        assert!(near(sweep(&BOX, 2.0, [-6.0, 5.0], [8.0, 0.0]), [-2.0, 5.0]));
        // Aslant: what is left along the face is kept.
        assert!(near(sweep(&BOX, 2.0, [-6.0, 1.0], [8.0, 8.0]), [-2.0, 9.0]));
        // Past a corner it keeps its radius from it.
        let place = sweep(&BOX, 2.0, [-1.0, 15.0], [0.5, -8.0]);
        let off = [place[0].min(0.0), (place[1] - 10.0).max(0.0)];
        assert!(off[0].hypot(off[1]) > 2.0 && clear(&BOX, 2.0, place), "{place:?}");
        // What moves away, or along, is not held.
        assert!(near(sweep(&BOX, 2.0, [-2.0001, 5.0], [-3.0, 1.0]), [-5.0001, 6.0]));
        assert!(near(sweep(&BOX, 2.0, [-2.0001, 5.0], [0.0, 3.0]), [-2.0001, 8.0]));
        assert_eq!(sweep(&BOX, 2.0, [-6.0, 5.0], [0.0, 0.0]), [-6.0, 5.0]);
    }

    #[test]
    fn a_disk_is_never_inside() {
        let two = [BOX[0], Solid { x: (0.0, 10.0), y: (15.0, 30.0) }];
        for i in 0..400_u32 {
            let angle = f64::from(i) * 0.377;
            let mut place = [-6.0 + f64::from(i % 7), 12.5];
            if !clear(&two, 2.0, place) {
                continue;
            }
            for step in 0..30 {
                let turn = angle + 0.9 * f64::from(step);
                place = sweep(&two, 2.0, place, [4.0 * turn.cos(), 4.0 * turn.sin()]);
                assert!(clear(&two, 2.0, place), "{place:?} after {step} steps of {i}");
            }
        }
        assert!(clear_way(&two, 2.0, [-6.0, 12.5], [20.0, 12.5]) && !clear_way(&two, 2.6, [-6.0, 12.5], [20.0, 12.5]));
    }
}
