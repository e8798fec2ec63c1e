//! Generated moving scenes: a coloured object flies over a textured background, a dark ball bounces between the edges, and a white
//! disc passes behind a card. They need no download, and what tells a motion is in no single frame.
//!
//! The object and the disc move on a torus: what leaves on one side comes back on the other. An object that begins anywhere on it is
//! anywhere at every moment, whatever its direction and its speed, so a frame alone says nothing of either.

pub(super) mod flow;

use std::f32::consts::TAU;
use std::ops::RangeInclusive;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::images::colour::from_hsv;
use crate::images::labels::Factor;
use crate::images::scenes::{Background, COLOURS, Light, TEXTURES, smooth_below};
use crate::images::shapes;
use crate::modality::Part;
use crate::random::{Stream, rng};
use crate::{Auto, DataError, Image};

/// How many moving scenes, how large, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MovingConfig {
    /// Width and height in pixels, 8 to 1024.
    pub size: Auto<usize>,
    /// Clips to learn from; 0 for clips without end, no one twice.
    pub train: usize,
    /// Clips to judge on.
    pub held_out: usize,
    /// Another seed, other scenes.
    pub seed: u64,
    /// What things move over.
    pub ground: Ground,
}

/// What things move over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// Another texture, in other colours and another light, in each clip.
    #[default]
    Textured,
    /// The same grey in all clips, evenly lit: what tells one clip from another is what moves in it.
    Plain,
}

impl Default for MovingConfig {
    fn default() -> Self {
        Self { size: Auto::Auto, train: 0, held_out: 1_000, seed: 0, ground: Ground::Textured }
    }
}

/// Sizes that can be drawn, in pixels.
const SIZES: RangeInclusive<usize> = 8..=1024;
/// The usual one.
pub(super) const USUAL_SIZE: usize = 64;

impl MovingConfig {
    /// Whether the size is one that can be drawn.
    pub fn check(&self) -> Result<(), DataError> {
        match self.size {
            Auto::Value(size) if !SIZES.contains(&size) => Err(DataError::BadSetting {
                name: "size".into(),
                expected: "8 to 1024 pixels",
                found: size.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// How many clips a part has; `None` without end.
    pub(super) fn len(&self, part: Part) -> Option<usize> {
        match part {
            Part::Train => (self.train > 0).then_some(self.train),
            Part::HeldOut => Some(self.held_out),
        }
    }
}

/// Seconds that a scene lasts, however many frames are taken of it.
pub(super) const SECONDS: f64 = 2.0;

const DIRECTIONS: [&str; 8] = ["right", "down right", "down", "down left", "left", "up left", "up", "up right"];
/// Names, and widths of the image in a scene.
const SPEEDS: [(&str, f32); 3] = [("slow", 0.25), ("medium", 0.5), ("fast", 1.0)];
/// Where behind the card the disc is in the middle of the scene.
const PLACES: [&str; 4] = ["top left", "top right", "bottom left", "bottom right"];

/// In widths of the image, as all that follow.
const OBJECT: f32 = 0.145;
const BALL: f32 = 0.09;
const DISC: f32 = 0.08;
/// Half of the card's side.
const CARD: f32 = 0.22;

/// The plain ground.
const GREY: [f32; 3] = [0.35; 3];

/// Number of factors; their order is that of [`factors`].
const FACTORS: usize = 5;

pub(super) fn factors() -> Vec<Factor> {
    vec![
        Factor::named("shape", &shapes::NAMES),
        Factor::named("colour", &COLOURS.map(|(name, _)| name)),
        Factor::named("direction", &DIRECTIONS),
        Factor::named("speed", &SPEEDS.map(|(name, _)| name)),
        Factor::named("hidden place", &PLACES),
    ]
}

/// The labels alone, as [`draw`] draws them.
pub(super) fn labels(config: &MovingConfig, part: Part, index: u64) -> [u32; FACTORS] {
    draw_labels(&mut place(config, part, index))
}

fn place(config: &MovingConfig, part: Part, index: u64) -> impl Rng + use<> {
    rng(config.seed, Stream::Scene, part as u64, index)
}

fn draw_labels(rng: &mut impl Rng) -> [u32; FACTORS] {
    let classes = [shapes::NAMES.len(), COLOURS.len(), DIRECTIONS.len(), SPEEDS.len(), PLACES.len()];
    classes.map(|classes| rng.random_range(0..classes as u32))
}

/// So many frames of one scene, spread over its time: `[T]` images of `size` × `size`.
pub(super) fn draw(
    config: &MovingConfig,
    size: usize,
    frames: usize,
    part: Part,
    index: u64,
) -> (Vec<Image>, [u32; FACTORS]) {
    let rng = &mut place(config, part, index);
    let labels = draw_labels(rng);
    let mut scene = Scene::new(rng, labels);
    if config.ground == Ground::Plain {
        scene.light = scene.light.even();
    }
    let still = match config.ground {
        Ground::Textured => scene.still(size),
        Ground::Plain => vec![GREY; size * size],
    };
    let moments = (0..frames).map(|frame| frame as f32 / frames as f32);
    (moments.map(|moment| scene.frame(moment, &still, size, rng)).collect(), labels)
}

/// What lies in a token, by name.
pub(super) fn objects() -> Vec<String> {
    // As `Thing` counts them.
    ["none", "disc", "card", "ball", "flying object"].map(str::to_owned).into()
}

/// Of each token of a grid of so many moments, rows and columns over a clip of so many frames: which of the [`objects`] covers most of it, and
/// the share that it covers of the token's pixels in all of its frames.
pub(super) fn covered(
    config: &MovingConfig,
    frames: usize,
    part: Part,
    index: u64,
    (moments, rows, columns): (usize, usize, usize),
) -> Vec<(u32, f32)> {
    /// Points a side of a token that are looked at.
    const FINE: usize = 6;
    let rng = &mut place(config, part, index);
    let labels = draw_labels(rng);
    let scene = Scene::new(rng, labels);
    let each = (frames / moments.max(1)).max(1);
    let at = |token: usize, fine: usize, of: usize| (token as f32 + (fine as f32 + 0.5) / FINE as f32) / of as f32;
    let token = |token: usize| {
        let (time, row, column) = (token / (rows * columns), token / columns % rows, token % columns);
        let mut counts = [0_usize; 5];
        for frame in time * each..(time + 1) * each {
            for point in 0..FINE * FINE {
                let (x, y) = (at(column, point % FINE, columns), at(row, point / FINE, rows));
                counts[scene.topmost(frame as f32 / frames as f32, [x, y]) as usize] += 1;
            }
        }
        let most = (1..counts.len()).max_by_key(|kind| counts[*kind]).filter(|kind| counts[*kind] > 0).unwrap_or(0);
        let share = if most == 0 { 0.0 } else { counts[most] as f32 / (each * FINE * FINE) as f32 };
        (most as u32, share)
    };
    (0..moments * rows * columns).map(token).collect()
}

/// Of each of these frames of a scene, the share of each of `side` × `side` cells, row by row, in which something is seen that moves:
/// neither the ground nor the card, and nothing of a disc that is behind it.
pub(super) fn moving_shares(
    config: &MovingConfig,
    frames: usize,
    (part, index): (Part, u64),
    of: &[usize],
    side: usize,
) -> Vec<Vec<f32>> {
    /// Points a side of a cell that are looked at.
    const FINE: usize = 6;
    let rng = &mut place(config, part, index);
    let labels = draw_labels(rng);
    let scene = Scene::new(rng, labels);
    let at = |cell: usize, fine: usize| (cell as f32 + (fine as f32 + 0.5) / FINE as f32) / side as f32;
    let cell = |moment: f32, cell: usize| {
        let moves = |point: &usize| {
            let place = [at(cell % side, point % FINE), at(cell / side, point / FINE)];
            !matches!(scene.topmost(moment, place), flow::Thing::Ground | flow::Thing::Card)
        };
        (0..FINE * FINE).filter(moves).count() as f32 / (FINE * FINE) as f32
    };
    let frame = |frame: &usize| (0..side * side).map(|at| cell(*frame as f32 / frames as f32, at)).collect();
    of.iter().map(frame).collect()
}

/// A point or a way, in widths of the image.
type Vector = [f32; 2];

/// Something that moves evenly.
#[derive(Clone, Copy, Debug)]
struct Mover {
    start: Vector,
    /// In a scene.
    way: Vector,
}

impl Mover {
    /// Where it is when this share of the scene has passed, on a plane without an end.
    fn at(&self, moment: f32) -> Vector {
        [0, 1].map(|axis| self.start[axis] + moment * self.way[axis])
    }

    /// The same between walls at `radius` from the edges.
    fn bounced(&self, moment: f32, radius: f32) -> Vector {
        let inside = 1.0 - 2.0 * radius;
        self.at(moment).map(|x| {
            let turns = (x - radius) / (2.0 * inside);
            radius + inside * (2.0 * (turns - turns.round())).abs()
        })
    }
}

/// The shortest way from one point of the torus to another, along one axis.
fn around(difference: f32) -> f32 {
    difference - difference.round()
}

/// One scene.
struct Scene {
    shape: u32,
    colour: [f32; 3],
    radius: f32,
    sin: f32,
    cos: f32,
    object: Mover,
    ball: Mover,
    disc: Mover,
    card: Vector,
    card_colour: [f32; 3],
    background: Background,
    light: Light,
}

impl Scene {
    fn new(rng: &mut impl Rng, [shape, colour, direction, speed, hidden]: [u32; FACTORS]) -> Self {
        let mut jitter = |spread: f32| rng.random_range(-spread..=spread);
        // Fifteen degrees to either side of the direction leave a gap of fifteen to the next.
        let (down, right) = ((direction as f32 + jitter(1.0 / 3.0)) / 8.0 * TAU).sin_cos();
        let length = SPEEDS[speed as usize].1 * (1.0 + jitter(0.12));
        let object = Mover { start: [0.5 + jitter(0.5), 0.5 + jitter(0.5)], way: [right * length, down * length] };
        let card = [0.5 + jitter(0.2), 0.5 + jitter(0.2)];
        let card_colour = from_hsv(jitter(0.5) + 0.5, 0.25, 0.55 + jitter(0.2));
        // Hidden wholly wherever it is in its quarter, and out on either side of the card half a scene before and after.
        let quarter = |far: u32| if far == 0 { -0.07 } else { 0.07 };
        let middle = [card[0] + quarter(hidden % 2) + jitter(0.02), card[1] + quarter(hidden / 2) + jitter(0.02)];
        let way = beyond(jitter(0.5) * TAU, 1.0 + jitter(0.1));
        let disc = Mover { start: [0, 1].map(|axis| middle[axis] - 0.5 * way[axis]), way };
        let within = 0.5 - BALL;
        let start = [0.5 + jitter(within), 0.5 + jitter(within)];
        // Further along one axis than there is room: it bounces.
        let ball = Mover { start, way: beyond(jitter(0.5) * TAU, 1.15 + jitter(0.25)) };
        let (sin, cos) = (jitter(0.5) * TAU).sin_cos();
        let radius = OBJECT * (1.0 + jitter(0.07));
        let colour = from_hsv(COLOURS[colour as usize].1 + jitter(0.012), 0.85 + jitter(0.1), 0.9 + jitter(0.1));
        let texture = rng.random_range(0..TEXTURES.len() as u32);
        let (background, light) = (Background::new(rng, texture), Light::new(rng));
        Self { shape, colour, radius, sin, cos, object, ball, disc, card, card_colour, background, light }
    }

    /// What does not move, but for the card.
    fn still(&self, size: usize) -> Vec<[f32; 3]> {
        let pixel = 1.0 / size as f32;
        let at = |i: usize| (i as f32 + 0.5) * pixel;
        (0..size * size).map(|i| self.background.at(at(i % size), at(i / size), pixel)).collect()
    }

    fn frame(&self, moment: f32, still: &[[f32; 3]], size: usize, rng: &mut impl Rng) -> Image {
        let pixel = 1.0 / size as f32;
        let (object, disc) = (self.object.at(moment), self.disc.at(moment));
        let ball = self.ball.bounced(moment, BALL);
        let mut image = Image::black(size, size, 3);
        for (i, (out, below)) in image.pixels.chunks_exact_mut(3).zip(still).enumerate() {
            let (x, y) = (((i % size) as f32 + 0.5) * pixel, ((i / size) as f32 + 0.5) * pixel);
            let mut colour = *below;
            let distance = around(x - disc[0]).hypot(around(y - disc[1])) - DISC;
            blend(&mut colour, [0.97; 3], smooth_below(distance, pixel));
            let distance = (x - self.card[0]).abs().max((y - self.card[1]).abs()) - CARD;
            blend(&mut colour, self.card_colour, smooth_below(distance, pixel));
            // A seam along its edge, so that a card of the background's colour is seen.
            blend(
                &mut colour,
                self.card_colour.map(|value| 0.6 * value),
                smooth_below((distance + 0.01).abs() - 0.01, pixel),
            );
            let distance = (x - ball[0]).hypot(y - ball[1]) - BALL;
            blend(&mut colour, [0.04; 3], smooth_below(distance, pixel));
            let (dx, dy) = (around(x - object[0]), around(y - object[1]));
            // Beyond the shape's longest point nothing changes.
            if dx * dx + dy * dy < (1.3 * self.radius + pixel).powi(2) {
                let (right, up) = (self.cos * dx + self.sin * dy, self.sin * dx - self.cos * dy);
                let distance = shapes::distance(self.shape, right / self.radius, up / self.radius) * self.radius;
                blend(&mut colour, self.colour, smooth_below(distance, pixel));
            }
            self.light.expose(colour, x, y, rng.next_u64(), out);
        }
        image
    }
}

fn blend(below: &mut [f32; 3], above: [f32; 3], share: f32) {
    if share > 0.0 {
        below.iter_mut().zip(above).for_each(|(below, above)| *below += share * (above - *below));
    }
}

/// A way in this direction that is so long along its longer axis.
fn beyond(angle: f32, length: f32) -> Vector {
    let (sin, cos) = angle.sin_cos();
    let longest = sin.abs().max(cos.abs());
    [length * cos / longest, length * sin / longest]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIPS: u64 = 9_600;
    const MOMENTS: [f32; 4] = [0.0, 0.25, 0.5, 0.9375];

    fn scenes() -> impl Iterator<Item = ([u32; FACTORS], Scene)> {
        (0..CLIPS).map(|index| {
            let rng = &mut place(&MovingConfig::default(), Part::Train, index);
            let labels = draw_labels(rng);
            (labels, Scene::new(rng, labels))
        })
    }

    /// How often the class that is most frequent in a cell among the even scenes is the class of an odd one, and the share of the
    /// most frequent class.
    fn guessed(cells: &[(usize, u32)], classes: usize) -> (f64, f64) {
        let most = cells.iter().map(|(cell, _)| cell + 1).max().unwrap_or(1);
        let mut counts = vec![vec![0; classes]; most];
        for (cell, class) in cells.iter().step_by(2) {
            counts[*cell][*class as usize] += 1;
        }
        let best = |cell: usize| (0..classes).max_by_key(|class| counts[cell][*class]).unwrap_or(0) as u32;
        let odd = || cells.iter().skip(1).step_by(2);
        let right = odd().filter(|(cell, class)| best(*cell) == *class).count();
        (right as f64 / odd().count() as f64, 1.0 / classes as f64)
    }

    /// A cell of the torus, 8 × 8.
    fn cell(at: Vector) -> usize {
        let place = |x: f32| ((x - x.floor()) * 8.0) as usize % 8;
        8 * place(at[1]) + place(at[0])
    }

    #[test]
    fn every_label_is_as_frequent_as_the_others_and_says_nothing_of_another() {
        let all: Vec<[u32; FACTORS]> =
            (0..CLIPS).map(|index| labels(&MovingConfig::default(), Part::Train, index)).collect();
        let classes: Vec<usize> = factors().iter().map(|factor| factor.classes.len()).collect();
        for (factor, &count) in classes.iter().enumerate() {
            for class in 0..count as u32 {
                let found = all.iter().filter(|labels| labels[factor] == class).count() as f64;
                let expected = CLIPS as f64 / count as f64;
                // Four standard deviations of a binomial count.
                assert!((found - expected).abs() < 4.0 * expected.sqrt(), "{factor} {class}: {found} of {expected}");
            }
            for other in (0..FACTORS).filter(|other| *other != factor) {
                let cells: Vec<(usize, u32)> =
                    all.iter().map(|labels| (labels[other] as usize, labels[factor])).collect();
                let (right, chance) = guessed(&cells, count);
                assert!(right < chance + 0.02, "{other} tells {factor}: {right}");
            }
        }
    }

    #[test]
    fn where_the_object_is_in_a_frame_says_nothing_of_its_direction_or_speed() {
        for moment in MOMENTS {
            let all: Vec<([u32; FACTORS], usize)> =
                scenes().map(|(labels, scene)| (labels, cell(scene.object.at(moment)))).collect();
            for (factor, classes) in [(2, DIRECTIONS.len()), (3, SPEEDS.len())] {
                let cells: Vec<(usize, u32)> = all.iter().map(|(labels, cell)| (*cell, labels[factor])).collect();
                let (right, chance) = guessed(&cells, classes);
                assert!(right < chance + 0.02, "{right} of {chance} at {moment}");
            }
            // The bouncing ball and the disc know nothing of them either, or the frame as a whole would.
            for other in [
                |scene: &Scene, moment| scene.ball.bounced(moment, BALL),
                |scene: &Scene, moment| scene.disc.at(moment),
            ] {
                let cells: Vec<(usize, u32)> =
                    scenes().map(|(labels, scene)| (cell(other(&scene, moment)), labels[2])).collect();
                let (right, chance) = guessed(&cells, DIRECTIONS.len());
                assert!(right < chance + 0.02, "{right} of {chance} at {moment}");
            }
        }
    }

    /// The same pixels come from another direction and another speed: a frame is a function of places.
    #[test]
    fn a_frame_is_the_same_whichever_way_the_object_goes() {
        let frame = |scene: &Scene| {
            let noise = &mut rng(0, Stream::Noise, 0, 0);
            scene.frame(0.5, &scene.still(32), 32, noise)
        };
        for (_, mut scene) in scenes().take(20) {
            let before = frame(&scene);
            let [x, y] = scene.object.at(0.5);
            for way in [[0.5, 0.0], [-0.25, 0.25], [0.0, -1.0]] {
                scene.object = Mover { start: [x - 0.5 * way[0], y - 0.5 * way[1]], way };
                assert!(frame(&scene) == before);
            }
        }
    }

    #[test]
    fn the_disc_is_hidden_in_the_middle_and_seen_before_and_after() {
        /// Whether none of the disc is seen beside the card.
        fn hidden(scene: &Scene, moment: f32) -> bool {
            let [x, y] = scene.disc.at(moment);
            let off = around(x - scene.card[0]).abs().max(around(y - scene.card[1]).abs());
            off + DISC <= CARD
        }
        let (mut times, mut places) = (0, Vec::new());
        for (labels, scene) in scenes() {
            assert!(hidden(&scene, 0.5));
            let [x, y] = scene.disc.at(0.5);
            let quarter = 2 * u32::from(y > scene.card[1]) + u32::from(x > scene.card[0]);
            assert_eq!(quarter, labels[4]);
            // All of it is seen in the first frame.
            let [x, y] = scene.disc.at(0.0);
            let (dx, dy) = (around(x - scene.card[0]), around(y - scene.card[1]));
            assert!(dx.abs().max(dy.abs()) > CARD + DISC, "{dx} {dy}");
            times += (0..16).filter(|frame| hidden(&scene, *frame as f32 / 16.0)).count();
            // Where the disc lies beside the card does not say behind which quarter it will be: how far it goes in a frame does.
            places.push((cell([dx + 0.5, dy + 0.5]), labels[4]));
        }
        let frames = times as f64 / CLIPS as f64;
        assert!((2.0..8.0).contains(&frames), "hidden for {frames} frames of 16");
        let (right, chance) = guessed(&places, PLACES.len());
        assert!(right < 2.0 * chance + 0.05, "the first frame tells the place in {right}");
    }

    #[test]
    fn the_ball_stays_inside_and_turns_back() {
        for (_, scene) in scenes().take(2000) {
            let path: Vec<Vector> = (0..=64).map(|i| scene.ball.bounced(i as f32 / 64.0, BALL)).collect();
            assert!(path.iter().flatten().all(|x| (BALL - 1e-4..=1.0 - BALL + 1e-4).contains(x)));
            let turns = |axis: usize| {
                let steps: Vec<f32> = path.windows(2).map(|pair| pair[1][axis] - pair[0][axis]).collect();
                steps.windows(2).filter(|pair| pair[0] * pair[1] < 0.0).count()
            };
            assert!(turns(0) + turns(1) > 0);
        }
    }

    #[test]
    fn scenes_are_a_function_of_their_place() {
        let config = MovingConfig::default();
        let (first, labels_of_first) = draw(&config, 16, 4, Part::Train, 3);
        assert!(
            (&first, labels_of_first) == (&draw(&config, 16, 4, Part::Train, 3).0, labels(&config, Part::Train, 3))
        );
        assert!(first != draw(&config, 16, 4, Part::HeldOut, 3).0);
        assert!(first != draw(&config, 16, 4, Part::Train, 4).0);
        assert!(first != draw(&MovingConfig { seed: 1, ..config }, 16, 4, Part::Train, 3).0);
    }

    #[test]
    fn on_plain_ground_the_same_things_move() {
        let config = MovingConfig { ground: Ground::Plain, ..MovingConfig::default() };
        let (clip, labels_of) = draw(&config, 48, 4, Part::Train, 3);
        assert_eq!(labels_of, draw(&MovingConfig::default(), 48, 4, Part::Train, 3).1);
        for (image, index) in clip.iter().zip(0..) {
            // Most of a frame is the ground, as bright on the left as on the right but for noise.
            let grey = |pixel: &&[u8]| pixel.iter().all(|x| x.abs_diff(89) < 14);
            let ground = image.pixels.chunks_exact(3).filter(grey).count();
            assert!((1_000..2_304).contains(&ground), "{index}: {ground} of 2304");
        }
        assert!(clip[0] != clip[1], "something moves");
    }

    #[test]
    fn what_covers_a_token_is_what_is_drawn_there() {
        let config = MovingConfig { ground: Ground::Plain, ..MovingConfig::default() };
        let (size, mut met) = (48, [0; 5]);
        for index in 0..40 {
            let (clip, _) = draw(&config, size, 4, Part::Train, index);
            // Tokens of one pixel: a ball is dark, a disc white, and where there is nothing the ground is.
            let covered = covered(&config, 4, Part::Train, index, (4, size, size));
            for (at, (object, share)) in covered.into_iter().enumerate() {
                let pixel = &clip[at / (size * size)].pixels[3 * (at % (size * size))..][..3];
                let near = |grey: u8, by| pixel.iter().all(|x| x.abs_diff(grey) < by);
                met[object as usize] += 1;
                match (object, share) {
                    // The card's seam, which lies half a pixel beyond it, and edges are neither.
                    (0, _) => assert!(share == 0.0),
                    // Edges are smooth over a pixel, and there is noise.
                    (3, 1.0) => assert!(near(10, 48), "{pixel:?}"),
                    (1, 1.0) => assert!(near(247, 48), "{pixel:?}"),
                    _ => {}
                }
            }
        }
        assert!(met.iter().all(|count| *count > 1_000), "{met:?}");
        // Coarser tokens are the means of finer ones.
        let whole = covered(&config, 4, Part::Train, 1, (1, 1, 1));
        assert!(whole.len() == 1 && whole[0].0 == 2 && (0.1..0.25).contains(&whole[0].1), "{whole:?}");
    }

    #[test]
    fn what_moves_is_where_the_exact_flow_says() {
        const SIDE: usize = 8;
        const SIZE: usize = 48;
        let config = MovingConfig::default();
        for index in 0..20 {
            let place = (Part::HeldOut, index);
            let shares = moving_shares(&config, 16, place, &[3, 12], SIDE);
            for (shares, frame) in shares.iter().zip([3, 12]) {
                let flow = flow::flow(&config, SIZE, 16, place, [frame, frame + 1]);
                for (cell, share) in shares.iter().enumerate() {
                    let (top, left) = (cell / SIDE * 6, cell % SIDE * 6);
                    let pixels = (0..36).map(|at| (top + at / 6) * SIZE + left + at % 6);
                    let moves = pixels.filter(|pixel| flow.moves(*pixel)).count();
                    assert!((share - moves as f32 / 36.0).abs() < 1e-6, "{index} {frame} {cell}: {share} {moves}");
                }
            }
        }
    }
}
