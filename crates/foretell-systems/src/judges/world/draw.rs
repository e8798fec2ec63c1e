//! Small moving pictures: discs, rings and lines on a grey backdrop, as GIF.

use std::collections::HashMap;

use crate::system::JudgeError;

/// Red, green, blue, each 0 to 1.
pub(super) type Colour = [f32; 3];

/// Strengths at which a colour may lie on a backdrop.
const LEVELS: usize = 5;
/// Greys of the backdrop.
const GREYS: usize = 9;

/// A square picture.
#[derive(Clone)]
pub(super) struct Canvas {
    side: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// A backdrop, 0 to 1 between two colours; places are in shares of the side from here on.
    pub(super) fn new(backdrop: &[f32], side: usize, floor: Colour, wall: Colour) -> Self {
        Self { side, pixels: backdrop.iter().map(|share| blend(floor, wall, *share)).collect() }
    }

    /// With a colour where these shares of each pixel ask for it.
    pub(super) fn tinted(mut self, shares: &[f32], colour: Colour) -> Self {
        for (pixel, share) in self.pixels.iter_mut().zip(shares) {
            *pixel = blend(*pixel, colour, *share);
        }
        self
    }

    /// Covers what lies within `half` pixels of the line between two places.
    pub(super) fn line(&mut self, [from, to]: [[f32; 2]; 2], half: f32, colour: Colour) {
        let [a, b] = [self.pixel(from), self.pixel(to)];
        let along = [b[0] - a[0], b[1] - a[1]];
        let length = along[0].mul_add(along[0], along[1] * along[1]);
        self.cover([a, b], half, colour, |x, y| {
            let share = if length > 0.0 {
                (((x - a[0]) * along[0] + (y - a[1]) * along[1]) / length).clamp(0.0, 1.0)
            } else {
                0.0
            };
            (x - a[0] - share * along[0]).hypot(y - a[1] - share * along[1])
        });
    }

    /// A filled circle.
    pub(super) fn disc(&mut self, at: [f32; 2], radius: f32, colour: Colour) {
        self.line([at, at], radius, colour);
    }

    /// A circle's line, `2 half` pixels wide.
    pub(super) fn ring(&mut self, at: [f32; 2], radius: f32, half: f32, colour: Colour) {
        let centre = self.pixel(at);
        let corner = |sign: f32| [centre[0] + sign * radius, centre[1] + sign * radius];
        self.cover([corner(-1.0), corner(1.0)], half, colour, |x, y| {
            ((x - centre[0]).hypot(y - centre[1]) - radius).abs()
        });
    }

    fn pixel(&self, place: [f32; 2]) -> [f32; 2] {
        place.map(|x| x * self.side as f32)
    }

    /// Blends a colour in where `distance` is under `half`, with half a pixel of edge.
    fn cover(&mut self, box_: [[f32; 2]; 2], half: f32, colour: Colour, distance: impl Fn(f32, f32) -> f32) {
        let range = |axis: usize| {
            let (low, high) = (box_[0][axis].min(box_[1][axis]), box_[0][axis].max(box_[1][axis]));
            let clamped = |x: f32| x.clamp(0.0, self.side as f32) as usize;
            clamped(low - half - 1.0)..clamped(high + half + 2.0)
        };
        let (columns, rows) = (range(0), range(1));
        for row in rows {
            for column in columns.clone() {
                let share = (half + 0.5 - distance(column as f32 + 0.5, row as f32 + 0.5)).clamp(0.0, 1.0);
                if share > 0.0 {
                    let pixel = &mut self.pixels[row * self.side + column];
                    *pixel = blend(*pixel, colour, share);
                }
            }
        }
    }
}

fn blend(under: Colour, over: Colour, share: f32) -> Colour {
    std::array::from_fn(|i| under[i] + share * (over[i] - under[i]))
}

fn bytes(colour: Colour) -> [u8; 3] {
    colour.map(|x| (255.0 * x).round() as u8)
}

/// Colours that a moving picture may show, and the nearest of them to any other.
pub(super) struct Palette {
    colours: Vec<[u8; 3]>,
    nearest: HashMap<[u8; 3], u8>,
}

impl Palette {
    /// Greys between floor and wall, and the marks at several strengths on either.
    pub(super) fn new(floor: Colour, wall: Colour, marks: &[Colour]) -> Self {
        let share = |i: usize, of: usize| i as f32 / (of - 1) as f32;
        let mut colours: Vec<[u8; 3]> = (0..GREYS).map(|i| bytes(blend(floor, wall, share(i, GREYS)))).collect();
        for mark in marks {
            for under in [floor, wall] {
                colours.extend((1..LEVELS).map(|i| bytes(blend(under, *mark, share(i, LEVELS)))));
            }
        }
        Self { colours, nearest: HashMap::new() }
    }

    fn index(&mut self, colour: Colour) -> u8 {
        let wanted = bytes(colour);
        let colours = &self.colours;
        *self.nearest.entry(wanted).or_insert_with(|| {
            let far =
                |c: &[u8; 3]| -> i32 { c.iter().zip(wanted).map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2)).sum() };
            (0..colours.len()).min_by_key(|i| far(&colours[*i])).unwrap_or(0) as u8
        })
    }
}

/// The frames as a GIF that plays again and again; `hundredths` of a second each, and longer on the last.
pub(super) fn moving(
    frames: impl IntoIterator<Item = Canvas>,
    mut palette: Palette,
    hundredths: u16,
) -> Result<Vec<u8>, JudgeError> {
    const LAST: u16 = 150;
    let mut frames = frames.into_iter().peekable();
    let side = frames.peek().map_or(0, |frame| frame.side);
    let indices: Vec<Vec<u8>> =
        frames.map(|canvas| canvas.pixels.iter().map(|pixel| palette.index(*pixel)).collect()).collect();
    foretell_eval::gif(indices, side, &palette.colours, (hundredths, LAST)).map_err(JudgeError::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Colour = [1.0; 3];
    const BLACK: Colour = [0.0; 3];
    const RED: Colour = [1.0, 0.0, 0.0];

    fn canvas() -> Canvas {
        Canvas::new(&[0.0; 400], 20, WHITE, BLACK)
    }

    #[test]
    fn marks_lie_where_they_are_asked_for() {
        let mut drawn = canvas();
        drawn.disc([0.5, 0.25], 2.0, RED);
        assert_eq!((drawn.pixels[5 * 20 + 10], drawn.pixels[15 * 20 + 10]), (RED, WHITE));
        drawn.line([[0.0, 0.9], [1.0, 0.9]], 0.5, BLACK);
        assert!((0..20).all(|x| drawn.pixels[18 * 20 + x][0] < 0.6), "a line across");
        drawn.ring([0.5, 0.5], 6.0, 1.0, BLACK);
        assert!(drawn.pixels[10 * 20 + 10] == WHITE && drawn.pixels[10 * 20 + 16][0] < 0.1, "hollow");
        // Beyond the edge and at no place at all.
        drawn.disc([7.0, -3.0], 2.0, RED);
        drawn.disc([f32::NAN, 0.5], 2.0, RED);
    }

    #[test]
    fn a_moving_picture_is_read_back_frame_by_frame() {
        let frames = [0.2, 0.5, 0.5, 0.8].map(|x| {
            let mut frame = canvas();
            frame.disc([x, 0.5], 3.0, RED);
            frame
        });
        let bytes = moving(frames, Palette::new(WHITE, BLACK, &[RED]), 5).unwrap();
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(&bytes[..]).unwrap();
        assert_eq!((decoder.width(), decoder.height()), (20, 20));
        let (mut screen, mut seen) = (vec![[0; 4]; 400], Vec::new());
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            let (width, left) = (usize::from(frame.width), usize::from(frame.left));
            for (i, pixel) in frame.buffer.chunks_exact(4).enumerate() {
                let at = (usize::from(frame.top) + i / width) * 20 + left + i % width;
                screen[at] = [pixel[0], pixel[1], pixel[2], pixel[3]];
            }
            seen.push([4, 10, 16].map(|x| screen[10 * 20 + x] == [255, 0, 0, 255]));
        }
        assert_eq!(seen, [[true, false, false], [false, true, false], [false, true, false], [false, false, true]]);
    }
}
