//! A closed walk through all tokens of a grid: from each token to a neighbour, and from the last one to the first.
//!
//! The grid is cut into an even number of strips about as thick as a block is high. The walk goes back and forth through
//! the strips, and inside each strip up and down, one thin slice after another, so that any run of consecutive tokens
//! fills a strip's whole thickness: a rectangle with ragged ends, or two such pieces side by side where the run turns
//! into the next strip. Two strips close by themselves; four and more go home through a lane along one border.
//!
//! Steps go to one of the four nearest tokens, except for a few diagonal ones: where a grid has an odd number of tokens
//! no closed walk can do without (colour the grid like a chessboard).

use rand::{Rng, RngExt};

use super::Grid;

/// One way to lay the strips.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    /// Strips are columns of the grid instead of rows.
    upright: bool,
    /// Number of strips, even.
    strips: usize,
    /// Logarithm of height / width of a block in such a strip.
    log_aspect: f64,
}

/// Draws closed walks whose runs of `run` tokens look like blocks.
pub(super) struct Walks {
    grid: Grid,
    layouts: Vec<Layout>,
}

/// How far a border between two strips may stray, as a share of a strip's thickness.
const STRAY: f64 = 0.2;

impl Walks {
    /// Walks for blocks of `run` tokens. The grid has at least two tokens.
    pub(super) fn new(grid: Grid, run: usize) -> Self {
        let mut layouts = Vec::new();
        if grid.rows.min(grid.cols) >= 2 {
            for upright in [false, true] {
                let (across, along) = if upright { (grid.cols, grid.rows) } else { (grid.rows, grid.cols) };
                for strips in (2..=across).step_by(2) {
                    let thickness = across as f64 / strips as f64;
                    let length = run as f64 / thickness;
                    // The lane home takes one thickness of the strips, and a block must fit into what is left.
                    if strips > 2 && length.max(thickness) + thickness > along as f64 {
                        continue;
                    }
                    let log = (thickness / length).ln();
                    layouts.push(Layout { upright, strips, log_aspect: if upright { -log } else { log } });
                }
            }
        }
        Self { grid, layouts }
    }

    /// Draws a walk: the layout whose blocks come nearest to `aspect` (height / width), with its borders and its
    /// direction at random. A grid of a single row or column has no closed walk: its ends are joined.
    pub(super) fn draw(&self, aspect: f64, rng: &mut impl Rng, walk: &mut Vec<u32>) {
        walk.clear();
        let log = aspect.ln();
        let away = |layout: &Layout| (layout.log_aspect - log).abs();
        let Some(layout) = self.layouts.iter().min_by(|a, b| away(a).total_cmp(&away(b))) else {
            walk.extend(0..self.grid.tokens() as u32);
            return;
        };
        let (across, along) =
            if layout.upright { (self.grid.cols, self.grid.rows) } else { (self.grid.rows, self.grid.cols) };
        let mut path =
            Path { walk, grid: self.grid, upright: layout.upright, flip_rows: rng.random(), flip_cols: rng.random() };
        let strips = layout.strips;
        let thickness = across as f64 / strips as f64;
        let mut border = |i: usize, before: usize| {
            let stray = STRAY * (2.0 * rng.random::<f64>() - 1.0);
            // At least one token remains for each strip on either side.
            (((i as f64 + stray) * thickness).round() as usize).clamp(before + 1, across - (strips - i))
        };
        if strips == 2 {
            let middle = border(1, 0);
            let (above, below) = (middle - 1, across - middle);
            path.sweep((above, 0), (Up, Right), along, middle, Exit::Near);
            path.sweep((middle, along - 1), (Down, Left), along, below, Exit::Near);
            return;
        }
        let lane = (thickness.round() as usize).clamp(1, along / 2);
        let mut top = 0;
        for strip in 1..=strips {
            let bottom = if strip == strips { across } else { border(strip, top) };
            let (start, turn) = if strip % 2 == 1 { (lane, Right) } else { (along - 1, Left) };
            path.sweep((top, start), (Down, turn), along - lane, bottom - top, Exit::Far);
            top = bottom;
        }
        path.sweep((across - 1, lane - 1), (Left, Up), across, lane, Exit::Near);
    }
}

/// A direction in the frame of the strips: they lie in rows.
#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
    Left,
    Right,
}
use Direction::{Down, Left, Right, Up};

impl Direction {
    /// The place `steps` steps from `(row, col)`.
    fn from(self, (row, col): (usize, usize), steps: usize) -> (usize, usize) {
        match self {
            Up => (row - steps, col),
            Down => (row + steps, col),
            Left => (row, col - steps),
            Right => (row, col + steps),
        }
    }
}

/// At which end of the last slice a sweep comes out: that of its first token, or the other one.
#[derive(Clone, Copy, PartialEq)]
enum Exit {
    Near,
    Far,
}

struct Path<'a> {
    walk: &'a mut Vec<u32>,
    grid: Grid,
    upright: bool,
    flip_rows: bool,
    flip_cols: bool,
}

impl Path<'_> {
    /// Visits a rectangle from its corner `start`: `slices` slices next to each other in direction `next`, each of
    /// `depth` tokens in direction `into`, to and fro. Comes out in the last slice, at `exit`.
    fn sweep(
        &mut self,
        start: (usize, usize),
        (into, next): (Direction, Direction),
        slices: usize,
        depth: usize,
        exit: Exit,
    ) {
        let natural = if slices.is_multiple_of(2) { Exit::Near } else { Exit::Far };
        // To and fro ends at one side by parity. For the other one, the last two slices are taken together.
        let single = if natural == exit || slices < 2 { slices } else { slices - 2 };
        for slice in 0..single {
            let from = next.from(start, slice);
            for d in 0..depth {
                let d = if slice % 2 == 0 { d } else { depth - 1 - d };
                self.visit(into.from(from, d));
            }
        }
        if single < slices {
            let pair = [next.from(start, single), next.from(start, single + 1)];
            for d in 0..depth {
                let across = if exit == Exit::Far { d } else { depth - 1 - d };
                // Ends in the last slice: with an even depth this takes the one diagonal step.
                let swapped = d % 2 == 1 && d + 1 < depth;
                for slice in if swapped { [1, 0] } else { [0, 1] } {
                    self.visit(into.from(pair[slice], across));
                }
            }
        }
    }

    fn visit(&mut self, (across, along): (usize, usize)) {
        let (mut row, mut col) = if self.upright { (along, across) } else { (across, along) };
        if self.flip_rows {
            row = self.grid.rows - 1 - row;
        }
        if self.flip_cols {
            col = self.grid.cols - 1 - col;
        }
        self.walk.push((row * self.grid.cols + col) as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_data::random::{Stream, rng};

    /// Chebyshev distance of two tokens.
    fn distance(grid: Grid, a: u32, b: u32) -> usize {
        let place = |t: u32| (t as usize / grid.cols, t as usize % grid.cols);
        let ((ar, ac), (br, bc)) = (place(a), place(b));
        ar.abs_diff(br).max(ac.abs_diff(bc))
    }

    #[test]
    fn walks_are_closed_and_visit_every_token_once() {
        let mut walk = Vec::new();
        let odd_shapes = [(2, 50), (50, 2), (3, 41), (5, 30), (31, 6)];
        let squares = (2..=20).flat_map(|rows| (2..=20).map(move |cols| (rows, cols)));
        for (rows, cols) in squares.chain(odd_shapes) {
            let grid = Grid::new(rows, cols);
            let n = grid.tokens();
            for (place, run) in [1, n / 40, n / 20, n / 10, n / 6, n / 2].into_iter().enumerate() {
                let walks = Walks::new(grid, run.max(1));
                for (index, aspect) in [0.1, 0.75, 1.0, 1.5, 10.0].into_iter().enumerate() {
                    let mut rng = rng(n as u64, Stream::Mask, place as u64, index as u64);
                    walks.draw(aspect, &mut rng, &mut walk);
                    for i in 0..n {
                        let step = distance(grid, walk[i], walk[(i + 1) % n]);
                        assert_eq!(step, 1, "{grid:?}, run {run}, aspect {aspect}, step {i}");
                    }
                    let mut seen = walk.clone();
                    seen.sort_unstable();
                    assert!(seen.iter().copied().eq(0..n as u32), "{grid:?}, run {run}");
                }
            }
        }
    }

    #[test]
    fn small_blocks_get_more_strips() {
        let strips = |run, aspect: f64| {
            let walks = Walks::new(Grid::new(16, 16), run);
            let near = |l: &&Layout| (l.log_aspect - aspect.ln()).abs();
            let best = walks.layouts.iter().min_by(|a, b| near(a).total_cmp(&near(b))).copied().unwrap();
            (best.strips, best.upright)
        };
        assert_eq!(strips(45, 1.4), (2, false));
        assert_eq!(strips(45, 0.7), (2, true));
        assert_eq!(strips(16, 1.0), (4, false));
        assert_eq!(strips(7, 1.0), (6, false));
    }
}
