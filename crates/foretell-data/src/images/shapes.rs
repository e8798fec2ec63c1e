//! The six shapes of the generated scenes as signed distances (after Quilez): negative inside, in units of the shape's
//! radius, so that an edge can be drawn smooth at any size.

/// The shapes' names; a label is an index.
pub(crate) const NAMES: [&str; 6] = ["circle", "square", "triangle", "star", "cross", "ring"];

/// The signed distance of the point from the outline of shape number `shape`, upright, with `y` up.
pub(crate) fn distance(shape: u32, x: f32, y: f32) -> f32 {
    match shape {
        0 => x.hypot(y) - 0.86,
        1 => square(x, y, 0.74),
        2 => triangle(x, y + 0.1, 0.9),
        3 => star(x, y, 1.12, 0.45),
        4 => cross(x, y, 1.0, 0.33),
        _ => (x.hypot(y) - 0.7).abs() - 0.24,
    }
}

fn square(x: f32, y: f32, half: f32) -> f32 {
    let (x, y) = (x.abs() - half, y.abs() - half);
    x.max(0.0).hypot(y.max(0.0)) + x.max(y).min(0.0)
}

/// Equilateral, `half` a side wide.
fn triangle(x: f32, y: f32, half: f32) -> f32 {
    let slope = 3_f32.sqrt();
    let (mut x, mut y) = (x.abs() - half, y + half / slope);
    if x + slope * y > 0.0 {
        (x, y) = ((x - slope * y) / 2.0, (-slope * x - y) / 2.0);
    }
    x -= x.clamp(-2.0 * half, 0.0);
    -x.hypot(y) * y.signum()
}

/// Five points; `inner` is the ratio of the notch to the point.
fn star(x: f32, y: f32, radius: f32, inner: f32) -> f32 {
    const COS: f32 = 0.809_017;
    const SIN: f32 = 0.587_785_25;
    let (mut x, mut y) = (x.abs(), y);
    let fold = 2.0 * (COS * x - SIN * y).max(0.0);
    (x, y) = (x - fold * COS, y + fold * SIN);
    let fold = 2.0 * (-COS * x - SIN * y).max(0.0);
    (x, y) = (x + fold * COS, y + fold * SIN);
    x = x.abs();
    y -= radius;
    let (edge_x, edge_y) = (inner * SIN, inner * COS - 1.0);
    let along = ((x * edge_x + y * edge_y) / (edge_x * edge_x + edge_y * edge_y)).clamp(0.0, radius);
    (x - edge_x * along).hypot(y - edge_y * along) * (y * edge_x - x * edge_y).signum()
}

/// Two bars of the given half length and half width.
fn cross(x: f32, y: f32, length: f32, width: f32) -> f32 {
    let (x, y) = (x.abs().max(y.abs()), x.abs().min(y.abs()));
    let (beyond, beside) = (x - length, y - width);
    let outer = beyond.max(beside);
    let (dx, dy) = if outer > 0.0 { (beyond, beside) } else { (width - x, -outer) };
    dx.max(0.0).hypot(dy.max(0.0)) * outer.signum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Area by counting, in units of the radius squared.
    fn area(shape: u32) -> f32 {
        let inside = (0..300 * 300).filter(|i| {
            let at = |i: i32| (i as f32 - 149.5) / 100.0;
            distance(shape, at(i % 300), at(i / 300)) < 0.0
        });
        inside.count() as f32 / 1e4
    }

    #[test]
    fn shapes_are_of_like_area_so_that_size_does_not_tell_the_shape() {
        for shape in 0..6 {
            let area = area(shape);
            assert!((1.0..2.6).contains(&area), "{} has area {area}", NAMES[shape as usize]);
        }
    }

    #[test]
    fn distances_never_grow_faster_than_the_way_walked() {
        for shape in 0..6 {
            for i in 0..2000 {
                let (x, y) = ((i % 50) as f32 / 20.0 - 1.25, (i / 50) as f32 / 16.0 - 1.25);
                let step = (distance(shape, x + 1e-2, y) - distance(shape, x, y)).abs();
                assert!(step <= 1.01e-2, "{} at {x}, {y}: {step}", NAMES[shape as usize]);
            }
        }
    }
}
