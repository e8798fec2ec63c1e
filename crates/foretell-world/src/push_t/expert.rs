//! The scripted expert.

use std::f64::consts::TAU;

use super::tee::{BOXES, CENTRE, EXTENT, INERTIA, Pose, between, cross, length};
use super::{INSIDE, RADIUS};

/// The expert begins a push so far off the block, goes around at this distance from its centre of mass, and for a pixel less of
/// error goes a good way.
const GAP: f64 = 4.0;
const AROUND: f64 = EXTENT + RADIUS + 12.0;
const TRAVEL: f64 = 0.004;

/// What it may push at: points of the outline and the directions out of it.
pub(super) struct Expert {
    faces: Vec<([f64; 2], [f64; 2])>,
}

impl Expert {
    pub(super) fn new() -> Self {
        Self { faces: faces() }
    }

    /// By how much the agent should move, in pixels: to push at the point of the outline where a push along the face, by the laws of an
    /// inelastic blow, brings the block nearest to its goal, or around the block to get there.
    pub(super) fn way(&self, pose: Pose, here: [f64; 2], there: Pose) -> Option<[f64; 2]> {
        let best = self
            .faces
            .iter()
            .filter_map(|(point, out)| {
                let begin = pose.out([0, 1].map(|i| point[i] + (RADIUS + GAP) * out[i]));
                let push = pose.turned(*out).map(|x| -x);
                let arm = pose.turned(between(CENTRE, *point));
                let lever = cross(arm, push);
                // A blow at rest: what a unit of the push at this point moves the centre of mass, and turns it.
                let share = 1.0 / (1.0 + lever * lever / INERTIA);
                let after = |by: f64| {
                    let angle = pose.angle + by * share * lever / INERTIA;
                    let centre = pose.out(CENTRE);
                    let turned = Pose { at: [0.0; 2], angle }.turned(CENTRE);
                    Pose { at: [0, 1].map(|i| centre[i] + by * share * push[i] - turned[i]), angle }
                };
                let by = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
                let (by, left) =
                    by.map(|by| (by, after(by).apart(there))).into_iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
                let travel = length(between(here, begin));
                inside(begin).then_some((left + TRAVEL * travel, begin, push, by))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let (_, begin, push, by) = best?;
        let off = between(begin, here);
        let (along, beside) = (off[0] * push[0] + off[1] * push[1], cross(push, off).abs());
        if beside < 3.0 && (-3.0..2.0 * GAP).contains(&along) {
            // In place: on along the face, the gap and then the push, gently where little is left.
            let ahead = (GAP - along).max(0.0) + by.min(15.0);
            let back = cross(push, off);
            return Some([push[0] * ahead + back * push[1], push[1] * ahead - back * push[0]]);
        }
        let next = around(pose, here, begin).unwrap_or_else(|| {
            // Out of the block's reach first.
            let centre = pose.out(CENTRE);
            let out = between(centre, here);
            [0, 1].map(|i| centre[i] + AROUND / length(out).max(1.0) * out[i])
        });
        let aim = between(here, next);
        let scale = (25.0 / length(aim).max(1e-9)).min(1.0);
        Some(aim.map(|x| x * scale))
    }
}

fn inside(place: [f64; 2]) -> bool {
    place.iter().all(|x| (INSIDE.0..=INSIDE.1).contains(x))
}

/// Whether the agent gets from one place to another without touching the block; one that touches it must move away.
fn open(pose: Pose, from: [f64; 2], to: [f64; 2]) -> bool {
    let (way, touching) = (between(from, to), pose.clearance(from));
    let steps = (length(way) / 4.0).ceil().max(1.0);
    (1..=steps as u32).all(|k| {
        let share = f64::from(k) / steps;
        let place = [0, 1].map(|i| from[i] + share * way[i]);
        pose.clearance(place) > (RADIUS + 1.0).min(touching + 0.5 * share * length(way))
    })
}

/// Where to go first on the shortest way that is free, by a ring of places around the block; `None` if there is none.
fn around(pose: Pose, from: [f64; 2], to: [f64; 2]) -> Option<[f64; 2]> {
    const RING: u32 = 24;
    if open(pose, from, to) {
        return Some(to);
    }
    let centre = pose.out(CENTRE);
    let ring = (0..RING).map(|i| {
        let (sin, cos) = (TAU * f64::from(i) / f64::from(RING)).sin_cos();
        [centre[0] + AROUND * cos, centre[1] + AROUND * sin].map(|x| x.clamp(INSIDE.0, INSIDE.1))
    });
    let places: Vec<[f64; 2]> = std::iter::once(to).chain(ring).collect();
    // From the end backwards (Dijkstra); the answer is the place from which the rest is shortest.
    let mut left = vec![f64::INFINITY; places.len()];
    let mut done = vec![false; places.len()];
    left[0] = 0.0;
    loop {
        let here = (0..places.len()).filter(|i| !done[*i]).min_by(|a, b| left[*a].total_cmp(&left[*b]))?;
        if !left[here].is_finite() {
            break;
        }
        done[here] = true;
        for next in (0..places.len()).filter(|i| !done[*i]).collect::<Vec<_>>() {
            let through = left[here] + length(between(places[next], places[here]));
            if through < left[next] && open(pose, places[next], places[here]) {
                left[next] = through;
            }
        }
        if done.iter().all(|done| *done) {
            break;
        }
    }
    let whole = |i: &usize| left[*i] + length(between(from, places[*i]));
    let seen = (0..places.len()).filter(|i| left[*i].is_finite() && open(pose, from, places[*i]));
    seen.min_by(|a, b| whole(a).total_cmp(&whole(b))).map(|i| places[i])
}

/// Points along the block's outline, a few pixels apart, at which a disk can lie.
fn faces() -> Vec<([f64; 2], [f64; 2])> {
    let still = Pose { at: [0.0; 2], angle: 0.0 };
    let mut faces = Vec::new();
    for (middle, half) in BOXES {
        for (axis, side) in [(0, -1.0), (0, 1.0), (1, -1.0), (1, 1.0)] {
            let mut out = [0.0; 2];
            out[axis] = side;
            let count = (half[1 - axis] / 3.0) as i32;
            for step in -count..=count {
                let mut point = middle;
                point[axis] += side * half[axis];
                point[1 - axis] += (half[1 - axis] - 1.0) * f64::from(step) / f64::from(count);
                let [touching, before] = [RADIUS, RADIUS + GAP].map(|by| [0, 1].map(|i| point[i] + by * out[i]));
                if still.clearance(touching) > RADIUS - 1e-6 && still.clearance(before) > RADIUS + 1.5 {
                    faces.push((point, out));
                }
            }
        }
    }
    faces
}
