//! Drawings of heads from above: what each electrode has, and which are hidden.

use crate::Image;

const PAPER: [f32; 3] = [1.0, 1.0, 1.0];
const INK: [f32; 3] = [0.25, 0.27, 0.3];
const HIDDEN: [f32; 3] = [0.86, 0.87, 0.89];
/// Angles from the top that are drawn, in quarter turns: what lies below the equator is outside of the head's circle.
const WIDEST: f32 = 1.32;

/// An electrode as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// From 0 (blue) over 0.5 (white) to 1 (red).
    pub value: f32,
    /// Whether it is hidden: a grey disc that is crossed out, of which the field around tells nothing.
    pub hidden: bool,
}

/// A head from above, the nose at the top: electrodes at their places, and between those that are seen the field that they suggest.
/// A function of its arguments alone.
pub fn draw(places: &[[f32; 3]], marks: &[Mark], side: usize) -> Image {
    let side = side.max(16);
    let centre = side as f32 / 2.0;
    let radius = centre / WIDEST;
    let at: Vec<[f32; 2]> = places.iter().map(|place| from_above(*place).map(|x| x * radius + centre)).collect();
    let electrodes: Vec<([f32; 2], Mark)> = at.into_iter().zip(marks.iter().copied()).collect();
    let dot = (0.045 * side as f32).max(2.0);
    let line = (0.006 * side as f32).max(0.6);
    let mut pixels = Vec::with_capacity(3 * side * side);
    for row in 0..side {
        for column in 0..side {
            let here = [column as f32 + 0.5, row as f32 + 0.5];
            let away = (here[0] - centre).hypot(here[1] - centre);
            let mut colour = PAPER;
            let mut over = |ink: [f32; 3], covered: f32| {
                colour.iter_mut().zip(ink).for_each(|(below, ink)| *below += covered.clamp(0.0, 1.0) * (ink - *below));
            };
            if let Some(field) = field(here, &electrodes) {
                over(shade(field, 0.75), radius - away + 0.5);
            }
            over(INK, line - (away - radius).abs() + 0.5);
            over(INK, line - nose(here, centre, radius) + 0.5);
            for (place, mark) in &electrodes {
                let (x, y) = (here[0] - place[0], here[1] - place[1]);
                let distance = x.hypot(y);
                over(INK, dot - distance + 0.5);
                over(if mark.hidden { HIDDEN } else { shade(mark.value, 1.0) }, 0.78 * dot - distance + 0.5);
                if mark.hidden {
                    let cross = (x - y).abs().min((x + y).abs()) * std::f32::consts::FRAC_1_SQRT_2;
                    over(INK, (line - cross + 0.5).min(0.78 * dot - distance));
                }
            }
            pixels.extend(colour.map(|x| (x * 255.0 + 0.5) as u8));
        }
    }
    Image { width: side, height: side, channels: 3, pixels }
}

/// Azimuthal equidistant: the distance from the top is kept.
fn from_above([x, y, z]: [f32; 3]) -> [f32; 2] {
    let flat = x.hypot(y);
    if flat < 1e-6 {
        return [0.0, 0.0];
    }
    let angle = flat.atan2(z) / std::f32::consts::FRAC_PI_2;
    [x / flat * angle, -y / flat * angle]
}

/// How far a point is from the nose's two sides.
fn nose([x, y]: [f32; 2], centre: f32, radius: f32) -> f32 {
    let (wide, tip) = (0.14 * radius, centre - 1.13 * radius);
    let foot = centre - (radius * radius - wide * wide).sqrt();
    let [a, b] = [[centre + wide, foot], [centre, tip]];
    // Mirrored, one side is both.
    let x = centre + (x - centre).abs();
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let along = (((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    (x - a[0] - along * dx).hypot(y - a[1] - along * dy)
}

/// The mean of the electrodes that are seen, near ones before far ones.
fn field([x, y]: [f32; 2], electrodes: &[([f32; 2], Mark)]) -> Option<f32> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (place, mark) in electrodes.iter().filter(|(_, mark)| !mark.hidden) {
        let square = (x - place[0]).powi(2) + (y - place[1]).powi(2) + 1.0;
        let weight = 1.0 / (square * square);
        (sum, weights) = (sum + weight * mark.value, weights + weight);
    }
    (weights > 0.0).then(|| sum / weights)
}

/// Blue, white, red.
fn shade(value: f32, strength: f32) -> [f32; 3] {
    const BLUE: [f32; 3] = [0.13, 0.40, 0.67];
    const RED: [f32; 3] = [0.70, 0.09, 0.17];
    let value = if value.is_finite() { 2.0 * value.clamp(0.0, 1.0) - 1.0 } else { 0.0 };
    let end = if value < 0.0 { BLUE } else { RED };
    end.map(|ink| 1.0 + strength * value.abs() * (ink - 1.0))
}

/// Courses of voltage, one below the other, `[C, T]`; each line has a deviation of all as its unit.
pub(crate) fn courses(values: &[f32], samples: usize, (width, height): (usize, usize)) -> Image {
    let channels = (values.len() / samples.max(1)).max(1);
    let mut pixels = vec![255; 3 * width * height];
    let square = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / values.len().max(1) as f64;
    let unit = (square.sqrt() as f32).max(1e-6);
    let lane = height as f32 / channels as f32;
    for (channel, course) in values.chunks_exact(samples.max(1)).enumerate() {
        let middle = (channel as f32 + 0.5) * lane;
        let level = |at: usize| (middle - 0.4 * lane * course[at] / unit).clamp(0.0, height as f32 - 1.0) as usize;
        for column in 0..width {
            let (from, to) = (column * samples / width, ((column + 1) * samples / width).min(samples));
            let levels: Vec<usize> = (from..to.max(from + 1)).map(|at| level(at.min(samples - 1))).collect();
            let (top, bottom) = (levels.iter().min().copied().unwrap_or(0), levels.iter().max().copied().unwrap_or(0));
            for row in top..=bottom {
                pixels[3 * (row * width + column)..][..3].copy_from_slice(&[70, 80, 95]);
            }
        }
    }
    Image { width, height, channels: 3, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eeg::montage::place;

    #[test]
    fn hidden_electrodes_are_grey_and_the_others_have_their_colour() {
        let places = ["C3", "C4"].map(|name| place(name).unwrap());
        let marks = [Mark { value: 1.0, hidden: false }, Mark { value: 0.0, hidden: true }];
        let image = draw(&places, &marks, 160);
        assert_eq!((image.width, image.height, image.channels, image.pixels.len()), (160, 160, 3, 3 * 160 * 160));
        let has = |colour: [f32; 3]| {
            let colour = colour.map(|x| (x * 255.0 + 0.5) as u8);
            image.pixels.chunks_exact(3).filter(|pixel| *pixel == colour).count()
        };
        assert!(has(shade(1.0, 1.0)) > 20 && has(HIDDEN) > 20, "{} {}", has(shade(1.0, 1.0)), has(HIDDEN));
        assert_eq!(has(shade(0.0, 1.0)), 0);
        assert_eq!(image, draw(&places, &marks, 160));
    }

    #[test]
    fn whatever_there_is_can_be_drawn() {
        let image = draw(&[], &[], 40);
        assert_eq!(image.pixels.len(), 3 * 40 * 40);
        let image = draw(&[[0.0, 0.0, 1.0]], &[Mark { value: f32::NAN, hidden: false }], 40);
        assert_eq!(image.width, 40);
        assert_eq!(courses(&[0.0; 8], 4, (10, 10)).pixels.len(), 300);
        assert_eq!(courses(&[], 4, (10, 10)).pixels.len(), 300);
    }
}
