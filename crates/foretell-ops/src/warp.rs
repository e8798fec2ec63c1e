//! Maps moved by a flow, and brought to twice or half their size.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::gather::gather_composed;
use crate::reduce::values;
use crate::simd::dispatch;

/// Backward warp: output pixel `(y, x)` is `map` at `(y + v, x + u)`, interpolated from the four pixels around. Pixels' centres lie at
/// whole numbers, and beyond the edge lies what is on it: PyTorch's `grid_sample` with `align_corners=True`, `padding_mode="border"` and
/// `grid = 2 (x + u) / (W − 1) − 1`.
///
/// # Shapes
/// - `map` and output: `[B, H, W, C]`; `flow`: `[B, H, W, 2]`, `(u, v)` to the right and down, in pixels of this map
pub fn warp(map: Tensor<4>, flow: Tensor<4>) -> Tensor<4> {
    if is_fused(&map) && is_fused(&flow) {
        return Tensor::from_dispatch(Dispatch::fused_warp(map.into_dispatch(), flow.into_dispatch()));
    }
    warp_composed(map, flow)
}

/// The composed body of [`warp`].
pub fn warp_composed(map: Tensor<4>, flow: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = map.dims();
    let pixels = b * h * w;
    let seen = values(flow.clone());
    // Of each pixel the corner before it, as far from the pixel itself as the flow is long; and the rows of all four corners.
    let (mut corner, mut own) = (vec![0.0_f32; 2 * pixels], vec![0.0_f32; 2 * pixels]);
    let mut rows = vec![0_u32; 4 * pixels];
    let [right, down] = [w, h].map(|side| side.saturating_sub(1) as f32);
    for (pixel, flow) in seen.chunks_exact(2).enumerate() {
        let (x, y, sample) = (pixel % w, pixel / w % h, pixel / (w * h));
        let left = (x as f32 + flow[0]).clamp(0.0, right).floor();
        let top = (y as f32 + flow[1]).clamp(0.0, down).floor();
        corner[2 * pixel..][..2].copy_from_slice(&[left, top]);
        own[2 * pixel..][..2].copy_from_slice(&[x as f32, y as f32]);
        let (left, top) = (left as usize, top as usize);
        let row = |top: usize, left: usize| ((sample * h + top.min(h - 1)) * w + left.min(w - 1)) as u32;
        let corners = [row(top, left), row(top, left + 1), row(top + 1, left), row(top + 1, left + 1)];
        for (at, corner) in corners.into_iter().enumerate() {
            rows[at * pixels + pixel] = corner;
        }
    }
    let place = (&flow.device().inner(), flow.dtype());
    let numbers = |numbers| Tensor::<2>::from_data(TensorData::new(numbers, [pixels, 2]), place);
    let at = flow.reshape([pixels, 2]) + numbers(own);
    let along = |axis: usize, last: f32| at.clone().narrow(1, axis, 1).clamp(0.0, last);
    let share = Tensor::cat(vec![along(0, right), along(1, down)], 1) - numbers(corner);
    let (of_right, of_lower) = (share.clone().narrow(1, 0, 1), share.narrow(1, 1, 1));
    let (of_left, of_upper) = (of_right.clone().neg() + 1.0, of_lower.clone().neg() + 1.0);
    let shares = [
        of_left.clone() * of_upper.clone(),
        of_right.clone() * of_upper,
        of_left * of_lower.clone(),
        of_right * of_lower,
    ];
    let corners = gather_composed(map.reshape([pixels, c]), &rows);
    let of = |at: usize| corners.clone().narrow(0, at * pixels, pixels);
    let sum = shares.into_iter().enumerate().map(|(at, share)| of(at) * share).reduce(|a, b| a + b);
    sum.expect("four corners").reshape([b, h, w, c])
}

/// Where a pixel's flow leads: the rows of the four pixels around, `[upper left, upper right, lower left, lower right]`, how far right
/// and down between them, and whether it moves with the flow to the right and down, which it does not beyond the edge.
#[derive(Clone, Copy)]
struct Corners {
    rows: [usize; 4],
    right: f32,
    down: f32,
    free: [bool; 2],
}

impl Corners {
    /// Of the pixel in column `x` of row `row`, which counts through all maps of `h` rows and `w` columns.
    #[inline(always)]
    fn of(flow: &[f32], [h, w]: [usize; 2], row: usize, x: usize) -> Self {
        let (y, sample) = (row % h, row / h);
        let (at_x, at_y) = (x as f32 + flow[0], y as f32 + flow[1]);
        let (last_x, last_y) = ((w - 1) as f32, (h - 1) as f32);
        let (in_x, in_y) = (at_x.clamp(0.0, last_x), at_y.clamp(0.0, last_y));
        let (left, top) = (in_x.floor(), in_y.floor());
        // Of what is no number the first pixel, so that no row lies beyond the map.
        let (column, line) = ((left as usize).min(w - 1), (top as usize).min(h - 1));
        let (next, below) = ((column + 1).min(w - 1), (line + 1).min(h - 1));
        let place = |line: usize, column: usize| (sample * h + line) * w + column;
        Self {
            rows: [place(line, column), place(line, next), place(below, column), place(below, next)],
            right: in_x - left,
            down: in_y - top,
            free: [(0.0..=last_x).contains(&at_x), (0.0..=last_y).contains(&at_y)],
        }
    }

    /// How much of each corner.
    #[inline(always)]
    fn shares(&self) -> [f32; 4] {
        let (right, down) = (self.right, self.down);
        [(1.0 - right) * (1.0 - down), right * (1.0 - down), (1.0 - right) * down, right * down]
    }
}

pub(crate) fn forward(map: &FlexTensor, flow: &FlexTensor) -> FlexTensor {
    let shape = dims(map);
    let (h, w, c) = (shape[1], shape[2], shape[3]);
    let (map, flow, mut out) = (slice(map), slice(flow), buffer(shape.iter().product()));
    let rows = out.par_chunks_mut((w * c).max(1)).zip(flow.par_chunks((2 * w).max(1))).enumerate();
    rows.for_each(|(row, (out, flow))| {
        dispatch(
            #[inline(always)]
            || {
                for (x, (out, flow)) in out.chunks_exact_mut(c).zip(flow.chunks_exact(2)).enumerate() {
                    let corners = Corners::of(flow, [h, w], row, x);
                    let [a, b, d, e] = corners.rows.map(|row| &map[row * c..][..c]);
                    let [of_a, of_b, of_d, of_e] = corners.shares();
                    for ((((out, a), b), d), e) in out.iter_mut().zip(a).zip(b).zip(d).zip(e) {
                        *out = e.mul_add(of_e, d.mul_add(of_d, b.mul_add(of_b, a * of_a)));
                    }
                }
            },
        );
    });
    tensor(out, shape)
}

pub(crate) fn backward(
    map: &FlexTensor,
    flow: &FlexTensor,
    dy: &FlexTensor,
    want: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let (shape, flow_shape) = (dims(map), dims(flow));
    let (h, w, c) = (shape[1], shape[2], shape[3]);
    let (map, flow, dy) = (slice(map), slice(flow), slice(dy));
    let of_map = || {
        let mut out = buffer(map.len());
        // A sample is one task: its pixels add to one another's in their order, whatever the threads.
        out.par_chunks_mut((h * w * c).max(1)).enumerate().for_each(|(sample, out)| {
            dispatch(
                #[inline(always)]
                || {
                    out.fill(0.0);
                    for pixel in 0..h * w {
                        let place = sample * h * w + pixel;
                        let corners = Corners::of(&flow[2 * place..], [h, w], place / w, pixel % w);
                        let dy = &dy[place * c..][..c];
                        for (row, share) in corners.rows.into_iter().zip(corners.shares()) {
                            let out = &mut out[(row - sample * h * w) * c..][..c];
                            for (out, dy) in out.iter_mut().zip(dy) {
                                *out = dy.mul_add(share, *out);
                            }
                        }
                    }
                },
            );
        });
        tensor(out, shape.clone())
    };
    let of_flow = || {
        let mut out = buffer(flow.len());
        out.par_chunks_mut((2 * w).max(1)).enumerate().for_each(|(row, out)| {
            dispatch(
                #[inline(always)]
                || {
                    for (x, out) in out.chunks_exact_mut(2).enumerate() {
                        let place = row * w + x;
                        let corners = Corners::of(&flow[2 * place..], [h, w], row, x);
                        let [a, b, d, e] = corners.rows.map(|row| &map[row * c..][..c]);
                        let (mut right, mut down) = (0.0, 0.0);
                        let values = dy[place * c..][..c].iter().zip(a).zip(b).zip(d).zip(e);
                        for ((((dy, a), b), d), e) in values {
                            right += dy * ((b - a) * (1.0 - corners.down) + (e - d) * corners.down);
                            down += dy * ((d - a) * (1.0 - corners.right) + (e - b) * corners.right);
                        }
                        out[0] = if corners.free[0] { right } else { 0.0 };
                        out[1] = if corners.free[1] { down } else { 0.0 };
                    }
                },
            );
        });
        tensor(out, flow_shape.clone())
    };
    [want[0].then(of_map), want[1].then(of_flow)]
}

/// 1 where a flow leads to a place within its map, 0 where beyond: `[B, H, W, 2]` → `[B, H, W, 1]`, untracked.
pub fn lands_inside(flow: Tensor<4>) -> Tensor<4> {
    let [b, h, w, _] = flow.dims();
    let place = (&flow.device().inner(), flow.dtype());
    let inside = |(pixel, flow): (usize, &[f32])| {
        let (x, y) = ((pixel % w) as f32 + flow[0], (pixel / w % h) as f32 + flow[1]);
        let within = (0.0..=(w - 1) as f32).contains(&x) && (0.0..=(h - 1) as f32).contains(&y);
        f32::from(u8::from(within))
    };
    let found: Vec<f32> = values(flow).chunks_exact(2).enumerate().map(inside).collect();
    Tensor::from_data(TensorData::new(found, [b, h, w, 1]), place)
}

/// Twice as many rows and columns, bilinear: PyTorch's `interpolate` by 2 with `align_corners=False`. `[B, H, W, C]` →
/// `[B, 2 H, 2 W, C]`.
pub fn upsample_twice(map: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = map.dims();
    let rows = doubled(map, 1).reshape([b, 2 * h, w, c]);
    doubled(rows, 2).reshape([b, 2 * h, 2 * w, c])
}

/// Each entry along `axis` as two, three quarters of itself and one of its neighbour on that side: the two lie along a new axis behind.
fn doubled(map: Tensor<4>, axis: usize) -> Tensor<5> {
    let count = map.dims()[axis];
    let (first, last) = (map.clone().narrow(axis, 0, 1), map.clone().narrow(axis, count - 1, 1));
    let (before, after) = if count == 1 {
        (first, last)
    } else {
        let before = Tensor::cat(vec![first, map.clone().narrow(axis, 0, count - 1)], axis);
        (before, Tensor::cat(vec![map.clone().narrow(axis, 1, count - 1), last], axis))
    };
    let own = map * 0.75;
    let halves = vec![own.clone() + before * 0.25, own + after * 0.25];
    Tensor::stack(halves, axis + 1)
}

/// Means of two by two pixels: `[B, 2 H, 2 W, C]` → `[B, H, W, C]`.
pub fn downsample_twice(map: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = map.dims();
    let (h, w) = (h / 2, w / 2);
    let rows = map.reshape([b * h, 2, 2 * w, c]).mean_dim(1);
    rows.reshape([b * h * w, 2, c]).mean_dim(1).reshape([b, h, w, c])
}
