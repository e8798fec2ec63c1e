//! Maps moved by a flow, and brought to twice or half their size.

use burn::Tensor;
use burn::tensor::TensorData;

use crate::gather::{gather, gather_composed};
use crate::reduce::values;

/// Backward warp: output pixel `(y, x)` is `map` at `(y + v, x + u)`, interpolated from the four pixels around. Pixels' centres lie at
/// whole numbers, and beyond the edge lies what is on it: PyTorch's `grid_sample` with `align_corners=True`, `padding_mode="border"` and
/// `grid = 2 (x + u) / (W − 1) − 1`.
///
/// # Shapes
/// - `map` and output: `[B, H, W, C]`; `flow`: `[B, H, W, 2]`, `(u, v)` to the right and down, in pixels of this map
pub fn warp(map: Tensor<4>, flow: Tensor<4>) -> Tensor<4> {
    warped(map, flow, gather)
}

/// The composed body of [`warp`].
pub fn warp_composed(map: Tensor<4>, flow: Tensor<4>) -> Tensor<4> {
    warped(map, flow, gather_composed)
}

/// Rows of a table by index.
type Gather = fn(Tensor<2>, &[u32]) -> Tensor<2>;

fn warped(map: Tensor<4>, flow: Tensor<4>, gather: Gather) -> Tensor<4> {
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
    let corners = gather(map.reshape([pixels, c]), &rows);
    let of = |at: usize| corners.clone().narrow(0, at * pixels, pixels);
    let sum = shares.into_iter().enumerate().map(|(at, share)| of(at) * share).reduce(|a, b| a + b);
    sum.expect("four corners").reshape([b, h, w, c])
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
