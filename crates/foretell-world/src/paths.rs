//! Shortest ways among walls, on a grid of one pixel: what an oracle knows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::walls::{Solid, walk};

/// Distance of every free pixel from a goal, around the walls.
pub(crate) struct Paths {
    solids: Vec<Solid>,
    side: usize,
    /// `[side, side]`, infinite where there is no way.
    distance: Vec<f32>,
    goal: [f32; 2],
}

/// The eight neighbours.
const NEIGHBOURS: [(i32, i32); 8] = [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

impl Paths {
    /// Dijkstra's algorithm from the goal, in a square of `side` pixels.
    pub(crate) fn to(solids: Vec<Solid>, side: usize, goal: [f32; 2]) -> Self {
        let centre = |i: usize| [(i % side) as f32 + 0.5, (i / side) as f32 + 0.5];
        let solid: Vec<bool> = (0..side * side).map(|i| solids.iter().any(|s| s.contains(centre(i)))).collect();
        let mut distance = vec![f32::INFINITY; side * side];
        let mut open = BinaryHeap::new();
        for i in 0..side * side {
            let c = centre(i);
            let near = (c[0] - goal[0]).hypot(c[1] - goal[1]);
            if near < 1.5 && !solid[i] && walk(&solids, c, [goal[0] - c[0], goal[1] - c[1]]) == goal {
                distance[i] = near;
                open.push(Reverse((Ordered(near), i)));
            }
        }
        while let Some(Reverse((Ordered(so_far), i))) = open.pop() {
            if so_far > distance[i] {
                continue;
            }
            let (x, y) = ((i % side) as i32, (i / side) as i32);
            for (dx, dy) in NEIGHBOURS {
                let (nx, ny) = (x + dx, y + dy);
                if nx < 0 || ny < 0 || nx >= side as i32 || ny >= side as i32 {
                    continue;
                }
                let next = ny as usize * side + nx as usize;
                // No cutting of corners.
                let beside = [y as usize * side + nx as usize, ny as usize * side + x as usize];
                if solid[next] || beside.iter().any(|b| solid[*b]) {
                    continue;
                }
                let through = so_far + ((dx * dx + dy * dy) as f32).sqrt();
                if through < distance[next] {
                    distance[next] = through;
                    open.push(Reverse((Ordered(through), next)));
                }
            }
        }
        Self { solids, side, distance, goal }
    }

    /// Length of the way from a point: straight where nothing stands in it, else along the grid, whose ways are up to 8 %
    /// too long; infinite if there is none.
    pub(crate) fn length(&self, from: [f32; 2]) -> f32 {
        let straight = [self.goal[0] - from[0], self.goal[1] - from[1]];
        if walk(&self.solids, from, straight) == self.goal {
            return straight[0].hypot(straight[1]);
        }
        let (cx, cy) = (from[0] as i32, from[1] as i32);
        let mut least = f32::INFINITY;
        // Walls are thicker than the way to a neighbour: none of these lies behind one.
        for y in (cy - 1).max(0)..=(cy + 1).min(self.side as i32 - 1) {
            for x in (cx - 1).max(0)..=(cx + 1).min(self.side as i32 - 1) {
                let to = (x as f32 + 0.5 - from[0]).hypot(y as f32 + 0.5 - from[1]);
                least = least.min(to + self.distance[y as usize * self.side + x as usize]);
            }
        }
        least
    }

    /// The farthest place within `reach` of a point that can be reached straight and lies best on the way to the goal;
    /// `None` if there is no way.
    pub(crate) fn step(&self, from: [f32; 2], reach: f32) -> Option<[f32; 2]> {
        let straight = [self.goal[0] - from[0], self.goal[1] - from[1]];
        let length = straight[0].hypot(straight[1]);
        if length <= reach && walk(&self.solids, from, straight) == self.goal {
            return Some(straight);
        }
        let mut best: Option<(f32, [f32; 2])> = None;
        let around = reach.ceil() as i32 + 1;
        let (cx, cy) = (from[0] as i32, from[1] as i32);
        for y in (cy - around).max(0)..=(cy + around).min(self.side as i32 - 1) {
            for x in (cx - around).max(0)..=(cx + around).min(self.side as i32 - 1) {
                let centre = [x as f32 + 0.5, y as f32 + 0.5];
                let by = [centre[0] - from[0], centre[1] - from[1]];
                let left = self.distance[y as usize * self.side + x as usize];
                if !left.is_finite() || by[0].hypot(by[1]) > reach || walk(&self.solids, from, by) != centre {
                    continue;
                }
                if best.is_none_or(|(least, _)| left < least) {
                    best = Some((left, by));
                }
            }
        }
        best.map(|(_, by)| by)
    }
}

/// A finite number with an order.
#[derive(PartialEq)]
pub(crate) struct Ordered(pub(crate) f32);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
