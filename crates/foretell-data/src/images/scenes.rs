//! Generated scenes: one object with a known shape, colour, size, position and rotation over a textured background.
//! They need no download, their factors are exact, and raw pixels do not give them away to a linear probe.

use std::f32::consts::TAU;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::images::colour::from_hsv;
use crate::images::labels::Factor;
use crate::images::shapes;
use crate::modality::Part;
use crate::random::{Stream, rng};
use crate::{DataError, Image};

/// How many scenes, how large, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenesConfig {
    /// Width and height in pixels, 8 to 1024.
    pub size: usize,
    /// Scenes to learn from.
    pub train: usize,
    /// Scenes to judge on.
    pub held_out: usize,
    /// Another seed, other scenes.
    pub seed: u64,
}

impl Default for ScenesConfig {
    fn default() -> Self {
        Self { size: 32, train: 20_000, held_out: 2_000, seed: 0 }
    }
}

impl ScenesConfig {
    /// Sizes that can be drawn, in pixels.
    const SIZES: std::ops::RangeInclusive<usize> = 8..=1024;

    /// Whether the size is one that can be drawn.
    pub fn check(&self) -> Result<(), DataError> {
        if Self::SIZES.contains(&self.size) {
            return Ok(());
        }
        Err(DataError::BadSetting { name: "size".into(), expected: "8 to 1024 pixels", found: self.size.to_string() })
    }

    /// The same with a size that can be drawn.
    pub(crate) fn drawable(&self) -> Self {
        Self { size: self.size.clamp(*Self::SIZES.start(), *Self::SIZES.end()), ..self.clone() }
    }
}

/// Names and hues in turns. The steps are by eye, not by angle.
pub(crate) const COLOURS: [(&str, f32); 8] = [
    ("red", 0.0),
    ("orange", 0.075),
    ("yellow", 0.15),
    ("green", 0.33),
    ("cyan", 0.5),
    ("blue", 0.61),
    ("purple", 0.76),
    ("pink", 0.9),
];
/// Names and radii in widths of the image.
const SIZES: [(&str, f32); 3] = [("small", 0.15), ("medium", 0.205), ("large", 0.27)];
const POSITIONS: [&str; 9] =
    ["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"];
const ROTATIONS: [&str; 4] = ["up", "right", "down", "left"];
pub(crate) const TEXTURES: [&str; 5] = ["plain", "stripes", "checker", "dots", "noise"];

/// Number of factors; their order is that of [`factors`].
const FACTORS: usize = 6;

pub(crate) fn factors() -> Vec<Factor> {
    vec![
        Factor::named("shape", &shapes::NAMES),
        Factor::named("colour", &COLOURS.map(|(name, _)| name)),
        Factor::named("size", &SIZES.map(|(name, _)| name)),
        Factor::named("position", &POSITIONS),
        Factor::named("rotation", &ROTATIONS),
        Factor::named("texture", &TEXTURES),
    ]
}

pub(crate) fn name(part: Part, index: usize) -> String {
    match part {
        Part::Train => format!("train/{index:06}"),
        Part::HeldOut => format!("held-out/{index:06}"),
    }
}

/// The labels alone, as [`draw`] draws them.
pub(crate) fn labels(config: &ScenesConfig, part: Part, index: usize) -> [u32; FACTORS] {
    draw_labels(&mut place(config, part, index))
}

fn place(config: &ScenesConfig, part: Part, index: usize) -> impl Rng + use<> {
    rng(config.seed, Stream::Scene, part as u64, index as u64)
}

fn draw_labels(rng: &mut impl Rng) -> [u32; FACTORS] {
    let classes = [shapes::NAMES.len(), COLOURS.len(), SIZES.len(), POSITIONS.len(), ROTATIONS.len(), TEXTURES.len()];
    classes.map(|classes| rng.random_range(0..classes as u32))
}

/// Draws one scene.
pub(crate) fn draw(config: &ScenesConfig, part: Part, index: usize) -> (Image, [u32; FACTORS]) {
    let rng = &mut place(config, part, index);
    let labels = draw_labels(rng);
    let [shape, colour, size, position, rotation, texture] = labels;
    let object = Object::new(rng, shape, colour, size, position, rotation);
    let background = Background::new(rng, texture);
    let light = Light::new(rng);

    let side = config.size;
    let pixel = 1.0 / side as f32;
    let mut image = Image::black(side, side, 3);
    for (row, line) in image.pixels.chunks_exact_mut(3 * side).enumerate() {
        let y = (row as f32 + 0.5) * pixel;
        for (column, out) in line.chunks_exact_mut(3).enumerate() {
            let x = (column as f32 + 0.5) * pixel;
            let colour = object.over(background.at(x, y, pixel), x, y, pixel);
            light.expose(colour, x, y, rng.next_u64(), out);
        }
    }
    (image, labels)
}

/// What lies in a token, by name: nothing of the object, or the shape that most of it shows.
pub(crate) fn objects() -> Vec<String> {
    ["none"].into_iter().chain(shapes::NAMES).map(str::to_owned).collect()
}

/// Of each token of a grid over the scene the share that the object covers, `[rows · columns]` in raster order, and the object's place
/// among [`objects`].
pub(crate) fn covered(config: &ScenesConfig, part: Part, index: usize, grid: (usize, usize)) -> (u32, Vec<f32>) {
    /// Points a side of a token that are looked at.
    const FINE: usize = 8;
    let rng = &mut place(config, part, index);
    let [shape, colour, size, position, rotation, _] = draw_labels(rng);
    let object = Object::new(rng, shape, colour, size, position, rotation);
    let (rows, columns) = grid;
    let at = |token: usize, fine: usize, of: usize| (token as f32 + (fine as f32 + 0.5) / FINE as f32) / of as f32;
    let share = |token: usize| {
        let (row, column) = (token / columns, token % columns);
        let inside = |point: &usize| {
            let (y, x) = (at(row, point / FINE, rows), at(column, point % FINE, columns));
            object.distance(x - object.x, y - object.y) < 0.0
        };
        (0..FINE * FINE).filter(inside).count() as f32 / (FINE * FINE) as f32
    };
    (shape + 1, (0..rows * columns).map(share).collect())
}

/// The object, in units of the image's width.
struct Object {
    shape: u32,
    x: f32,
    y: f32,
    radius: f32,
    /// Of the angle between the object's up and the image's up, clockwise.
    sin: f32,
    cos: f32,
    /// The half that points up, and the other. The fold between them shows the rotation of a circle too.
    tones: [[f32; 3]; 2],
    shadow: f32,
}

impl Object {
    fn new(rng: &mut impl Rng, shape: u32, colour: u32, size: u32, position: u32, rotation: u32) -> Self {
        let mut jitter = |spread: f32| rng.random_range(-spread..=spread);
        let cell = |cell: u32| 0.5 + 0.23 * (cell as f32 - 1.0);
        let (x, y) = (cell(position % 3) + jitter(0.05), cell(position / 3) + jitter(0.05));
        let radius = SIZES[size as usize].1 * (1.0 + jitter(0.07));
        // Thirty degrees to either side of the bin's centre leave a gap of thirty between the bins.
        let (sin, cos) = ((rotation as f32 + jitter(1.0 / 3.0)) / 4.0 * TAU).sin_cos();
        let hue = COLOURS[colour as usize].1 + jitter(0.012);
        let saturation = 0.85 + jitter(0.1);
        let value = 0.9 + jitter(0.1);
        let tones = [from_hsv(hue, saturation * 0.8, value), from_hsv(hue, saturation, value * 0.6)];
        Self { shape, x, y, radius, sin, cos, tones, shadow: 0.35 + jitter(0.15) }
    }

    /// The object and its shadow over the colour of the background at this point.
    fn over(&self, below: [f32; 3], x: f32, y: f32, pixel: f32) -> [f32; 3] {
        let (dx, dy) = (x - self.x, y - self.y);
        // Beyond the shape's longest point and its shadow nothing changes.
        if dx * dx + dy * dy > (1.45 * self.radius + 2.0 * pixel).powi(2) {
            return below;
        }
        let (shade_dx, shade_dy) = (dx - 0.12 * self.radius, dy - 0.2 * self.radius);
        let shade = smooth_below(self.distance(shade_dx, shade_dy), 0.22 * self.radius + pixel);
        let mut colour = below.map(|value| value * (1.0 - self.shadow * shade));
        let coverage = smooth_below(self.distance(dx, dy), pixel);
        if coverage > 0.0 {
            let up = smooth_below(-self.up(dx, dy), pixel);
            for (value, (lit, dark)) in colour.iter_mut().zip(self.tones[0].iter().zip(self.tones[1])) {
                *value += coverage * (dark + up * (lit - dark) - *value);
            }
        }
        colour
    }

    fn up(&self, dx: f32, dy: f32) -> f32 {
        self.sin * dx - self.cos * dy
    }

    fn distance(&self, dx: f32, dy: f32) -> f32 {
        let (right, up) = (self.cos * dx + self.sin * dy, self.up(dx, dy));
        shapes::distance(self.shape, right / self.radius, up / self.radius) * self.radius
    }
}

/// 1 where `distance` is well below 0, 0 where it is well above, and a ramp of the given width between.
pub(crate) fn smooth_below(distance: f32, width: f32) -> f32 {
    (0.5 - distance / width).clamp(0.0, 1.0)
}

/// Two colours of little contrast and how they alternate.
pub(crate) struct Background {
    texture: u32,
    colours: [[f32; 3]; 2],
    sin: f32,
    cos: f32,
    /// Of the pattern, in widths of the image.
    period: f32,
    phase: (f32, f32),
    lattice: [f32; LATTICE * LATTICE],
}

/// Random values on a side of the noise texture: enough for the shortest period, turned.
const LATTICE: usize = 10;

impl Background {
    pub(crate) fn new(rng: &mut impl Rng, texture: u32) -> Self {
        let hue = rng.random::<f32>();
        let saturation = rng.random_range(0.05..0.4);
        let value = rng.random_range(0.25..0.8);
        let contrast = rng.random_range(0.12..0.24) * if rng.random() { 1.0 } else { -1.0 };
        let other = from_hsv(hue + rng.random_range(-0.08..0.08), saturation, value + contrast);
        let (sin, cos) = (rng.random::<f32>() * TAU).sin_cos();
        let mut lattice = [0.0; LATTICE * LATTICE];
        if texture == 4 {
            lattice.fill_with(|| rng.random());
        }
        Self {
            texture,
            colours: [from_hsv(hue, saturation, value), other],
            sin,
            cos,
            period: rng.random_range(0.15..0.25),
            phase: (rng.random(), rng.random()),
            lattice,
        }
    }

    pub(crate) fn at(&self, x: f32, y: f32, pixel: f32) -> [f32; 3] {
        let (u, v) = (self.cos * x + self.sin * y, self.cos * y - self.sin * x);
        // In periods, and a pixel's width in periods, which is how wide an edge is drawn.
        let (u, v) = (u / self.period + self.phase.0, v / self.period + self.phase.1);
        let edge = pixel / self.period;
        let share = match self.texture {
            0 => 0.0,
            1 => smooth_below(0.25 - wave(u), edge),
            2 => {
                let (a, b) =
                    (smooth_below(0.25 - wave(u / 1.6), edge / 1.6), smooth_below(0.25 - wave(v / 1.6), edge / 1.6));
                a + b - 2.0 * a * b
            }
            3 => smooth_below(wave(u / 1.3).hypot(wave(v / 1.3)) - 0.27, edge / 1.3),
            _ => self.noise(x, y),
        };
        let [a, b] = self.colours;
        [0, 1, 2].map(|channel| a[channel] + share * (b[channel] - a[channel]))
    }

    /// Smooth noise: random values on a lattice, blended by the smooth step; contrast is raised to match the patterns'.
    fn noise(&self, x: f32, y: f32) -> f32 {
        // At most 8.4 cells across, which the lattice covers.
        let cell = 0.8 * self.period;
        let (x, y) = (x / cell, y / cell);
        let (column, row) = ((x as usize).min(LATTICE - 2), (y as usize).min(LATTICE - 2));
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (s, t) = (smooth((x - column as f32).min(1.0)), smooth((y - row as f32).min(1.0)));
        let at = |row: usize, column: usize| self.lattice[row * LATTICE + column];
        let top = at(row, column) + s * (at(row, column + 1) - at(row, column));
        let bottom = at(row + 1, column) + s * (at(row + 1, column + 1) - at(row + 1, column));
        ((top + t * (bottom - top) - 0.5) * 1.8 + 0.5).clamp(0.0, 1.0)
    }
}

/// The distance from the nearest whole number, 0 to 0.5.
fn wave(t: f32) -> f32 {
    (t - t.round()).abs()
}

/// A gradient of light from one side, and the sensor's noise.
pub(crate) struct Light {
    x: f32,
    y: f32,
    noise: f32,
}

impl Light {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        let (sin, cos) = (rng.random::<f32>() * TAU).sin_cos();
        let strength = rng.random_range(0.0..0.5_f32);
        Self { x: strength * cos, y: strength * sin, noise: rng.random_range(0.01..0.04) }
    }

    /// The same from everywhere.
    pub(crate) fn even(self) -> Self {
        Self { x: 0.0, y: 0.0, ..self }
    }

    /// The same without the sensor's noise.
    #[cfg(test)]
    pub(crate) fn silent(self) -> Self {
        Self { noise: 0.0, ..self }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        1.0 + self.x * (x - 0.5) + self.y * (y - 0.5)
    }

    /// A pixel as the sensor has it, from a colour and 48 random bits.
    pub(crate) fn expose(&self, colour: [f32; 3], x: f32, y: f32, bits: u64, out: &mut [u8]) {
        let light = self.at(x, y);
        // One draw of noise for each channel: the sum of two uniform numbers, a triangle.
        for (channel, (out, value)) in out.iter_mut().zip(colour).enumerate() {
            let [a, b] = [2 * channel, 2 * channel + 1].map(|byte| (bits >> (8 * byte)) as u8 as f32);
            let noise = (a + b - 255.0) / 255.0;
            *out = ((value * light + self.noise * noise) * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
}
