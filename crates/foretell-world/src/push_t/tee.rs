//! The block: a T of two boxes, and what there is to say of its pose.

use std::f64::consts::{PI, TAU};

/// The block's boxes about its origin: their middles and half sides.
pub(super) const BOXES: [([f64; 2], [f64; 2]); 2] = [([0.0, 15.0], [60.0, 15.0]), ([0.0, 75.0], [15.0, 45.0])];
/// Its area, centre of mass, and moment of inertia over its mass, as gym-pusht sets them.
const AREA: f64 = 6300.0;
pub(super) const CENTRE: [f64; 2] = [0.0, 45.0];
pub(super) const INERTIA: f64 = 7875.0;
/// Farther from the centre of mass than this no point of it lies.
pub(super) const EXTENT: f64 = 80.0;
/// Points of the block whose displacement is its distance from a goal.
const MARKS: [[f64; 2]; 3] = [[-60.0, 15.0], [60.0, 15.0], [0.0, 120.0]];

/// A pose of the block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pose {
    pub(super) at: [f64; 2],
    pub(super) angle: f64,
}

impl Pose {
    pub(super) fn of(state: &[f32]) -> Self {
        Self { at: [f64::from(state[4]), f64::from(state[5])], angle: f64::from(state[6]) }
    }

    pub(super) fn turned(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (sin, cos) = self.angle.sin_cos();
        [cos * x - sin * y, sin * x + cos * y]
    }

    /// A point of the block on the table.
    pub(super) fn out(self, point: [f64; 2]) -> [f64; 2] {
        let turned = self.turned(point);
        [self.at[0] + turned[0], self.at[1] + turned[1]]
    }

    /// A point of the table about the block.
    fn into(self, point: [f64; 2]) -> [f64; 2] {
        let (sin, cos) = self.angle.sin_cos();
        let [x, y] = [point[0] - self.at[0], point[1] - self.at[1]];
        [cos * x + sin * y, cos * y - sin * x]
    }

    /// How far a point of the table is from the block; inside it is below 0.
    pub(super) fn clearance(self, point: [f64; 2]) -> f64 {
        let point = self.into(point);
        let box_of = |(middle, half): ([f64; 2], [f64; 2])| {
            let off: [f64; 2] = std::array::from_fn(|i| (point[i] - middle[i]).abs() - half[i]);
            off[0].max(0.0).hypot(off[1].max(0.0)) + off[0].max(off[1]).min(0.0)
        };
        BOXES.into_iter().map(box_of).fold(f64::INFINITY, f64::min)
    }

    /// Mean displacement of its marks from another pose.
    pub(super) fn apart(self, other: Self) -> f64 {
        let marks = MARKS.map(|mark| length(between(self.out(mark), other.out(mark))));
        marks.iter().sum::<f64>() / marks.len() as f64
    }

    /// Corners of its boxes, in order around each.
    pub(super) fn corners(self) -> [[[f64; 2]; 4]; 2] {
        BOXES.map(|(middle, half)| {
            [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
                .map(|side: [f64; 2]| self.out([middle[0] + side[0] * half[0], middle[1] + side[1] * half[1]]))
        })
    }

    /// Share of another pose that it covers.
    pub(super) fn covers(self, other: Self) -> f64 {
        let (own, others) = (self.corners(), other.corners());
        own.iter().flat_map(|a| others.iter().map(|b| overlap(a, b))).sum::<f64>() / AREA
    }
}

pub(super) fn between(from: [f64; 2], to: [f64; 2]) -> [f64; 2] {
    [to[0] - from[0], to[1] - from[1]]
}

pub(super) fn length(of: [f64; 2]) -> f64 {
    of[0].hypot(of[1])
}

pub(super) fn cross(a: [f64; 2], b: [f64; 2]) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

/// The way around from one angle to another, −π to π.
pub(super) fn turn(from: f64, to: f64) -> f64 {
    (to - from + PI).rem_euclid(TAU) - PI
}

/// Area that two convex polygons of the same sense share (Sutherland and Hodgman, 1974).
fn overlap(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let mut left = a.to_vec();
    for (i, from) in b.iter().enumerate() {
        let edge = between(*from, b[(i + 1) % b.len()]);
        let inside = |point: [f64; 2]| cross(edge, between(*from, point));
        let mut cut = Vec::new();
        for (j, here) in left.iter().enumerate() {
            let next = left[(j + 1) % left.len()];
            let (now, then) = (inside(*here), inside(next));
            if now >= 0.0 {
                cut.push(*here);
            }
            if (now < 0.0) != (then < 0.0) {
                let share = now / (now - then);
                cut.push([0, 1].map(|k| here[k] + share * (next[k] - here[k])));
            }
        }
        left = cut;
    }
    let twice: f64 = (0..left.len()).map(|i| cross(left[i], left[(i + 1) % left.len()])).sum();
    twice.abs() / 2.0
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_4;

    use super::*;

    #[test]
    fn coverage_is_the_shared_area() {
        let at = |x: f64, y: f64, angle: f64| Pose { at: [x, y], angle };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(at(200.0, 100.0, 0.7).covers(at(200.0, 100.0, 0.7)), 1.0));
        // 10 along the bar: 110 × 30 and 20 × 90 of 6300.
        assert!(near(at(210.0, 100.0, 0.0).covers(at(200.0, 100.0, 0.0)), 5100.0 / 6300.0));
        // Upside down at the far end of the stem: stem on stem between the bars, 30 × 60, and each bar's middle on the other's stem.
        assert!(near(at(200.0, 220.0, PI).covers(at(200.0, 100.0, 0.0)), (1800.0 + 900.0 + 900.0) / 6300.0));
        assert!(near(at(200.0, 100.0, 0.0).covers(at(400.0, 100.0, 0.0)), 0.0));
        // A square turned by an eighth on itself: a regular octagon, 2 (√2 − 1) of its area.
        let square = |angle: f64| {
            [0, 1, 2, 3]
                .map(|i| [(angle + FRAC_PI_4 * f64::from(2 * i)).cos(), (angle + FRAC_PI_4 * f64::from(2 * i)).sin()])
        };
        assert!(near(overlap(&square(0.0), &square(FRAC_PI_4)), 4.0 * (2.0_f64.sqrt() - 1.0)));
    }
}
