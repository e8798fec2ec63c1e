//! How the pixels of a moving scene's frame move to another frame: exactly, for the scene knows what moves and how fast.

use super::{BALL, CARD, DISC, MovingConfig, Scene, Vector, around, draw_labels, place};
use crate::images::shapes;
use crate::modality::Part;

/// Where each pixel of a frame lies in another frame.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowMap {
    /// Pixels in a row, and rows.
    pub size: usize,
    /// `[S · S]`: to the right and down, in pixels. Of what leaves on one side and comes back on the other: the short way, over the edge.
    pub vectors: Vec<[f32; 2]>,
    /// `[S · S]`: whether what the pixel shows is seen in the other frame where its vector leads, neither covered nor beyond the edge.
    pub seen: Vec<bool>,
}

impl FlowMap {
    /// Whether what a pixel shows moves.
    pub fn moves(&self, pixel: usize) -> bool {
        self.vectors[pixel] != [0.0; 2]
    }
}

/// What a place shows, from below; counted as [`objects`](super::objects) names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Thing {
    Ground,
    Disc,
    Card,
    Ball,
    Object,
}

impl Scene {
    /// What lies on top.
    pub(super) fn topmost(&self, moment: f32, [x, y]: Vector) -> Thing {
        let off = |[right, down]: Vector| [around(x - right), around(y - down)];
        let [dx, dy] = off(self.object.at(moment));
        let (right, up) = (self.cos * dx + self.sin * dy, self.sin * dx - self.cos * dy);
        if shapes::distance(self.shape, right / self.radius, up / self.radius) < 0.0 {
            return Thing::Object;
        }
        let [right, down] = self.ball.bounced(moment, BALL);
        if (x - right).hypot(y - down) < BALL {
            return Thing::Ball;
        }
        if (x - self.card[0]).abs().max((y - self.card[1]).abs()) < CARD {
            return Thing::Card;
        }
        let [dx, dy] = off(self.disc.at(moment));
        if dx.hypot(dy) < DISC { Thing::Disc } else { Thing::Ground }
    }

    /// How far a thing moves between two moments.
    fn moved(&self, thing: Thing, [from, to]: [f32; 2]) -> Vector {
        match thing {
            Thing::Ground | Thing::Card => [0.0; 2],
            Thing::Disc => self.disc.way.map(|way| around((to - from) * way)),
            Thing::Object => self.object.way.map(|way| around((to - from) * way)),
            Thing::Ball => {
                let [before, after] = [from, to].map(|moment| self.ball.bounced(moment, BALL));
                [after[0] - before[0], after[1] - before[1]]
            }
        }
    }

    /// The flow from one moment to another, of `size` × `size` pixels.
    pub(super) fn flow(&self, moments: [f32; 2], size: usize) -> FlowMap {
        let at = |i: usize| (i as f32 + 0.5) / size as f32;
        let of = |pixel: usize| {
            let place = [at(pixel % size), at(pixel / size)];
            let thing = self.topmost(moments[0], place);
            let way = self.moved(thing, moments);
            let there = [place[0] + way[0], place[1] + way[1]];
            let inside = there.iter().all(|x| (0.0..1.0).contains(x));
            (way.map(|x| x * size as f32), inside && self.topmost(moments[1], there) == thing)
        };
        let (vectors, seen) = (0..size * size).map(of).unzip();
        FlowMap { size, vectors, seen }
    }
}

/// The flow from one of a scene's `frames` frames to another.
pub(in crate::clips) fn flow(
    config: &MovingConfig,
    size: usize,
    frames: usize,
    (part, index): (Part, u64),
    between: [usize; 2],
) -> FlowMap {
    let rng = &mut place(config, part, index);
    let labels = draw_labels(rng);
    Scene::new(rng, labels).flow(between.map(|frame| frame as f32 / frames as f32), size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::random::{Stream, rng};

    const SIZE: usize = 64;
    const MOMENTS: [[f32; 2]; 3] = [[0.0, 0.0625], [0.5, 0.5625], [0.8125, 0.875]];

    fn scenes() -> impl Iterator<Item = Scene> {
        (0..40).map(|index| {
            let rng = &mut place(&MovingConfig::default(), Part::HeldOut, index);
            let labels = draw_labels(rng);
            let mut scene = Scene::new(rng, labels);
            // Things keep their colours wherever they are, and nothing flickers.
            scene.light = scene.light.even().silent();
            scene
        })
    }

    fn frame(scene: &Scene, moment: f32) -> Image {
        scene.frame(moment, &scene.still(SIZE), SIZE, &mut rng(0, Stream::Noise, 0, 0))
    }

    /// Interpolated between pixels' centres.
    fn sampled(image: &Image, [x, y]: [f32; 2], channel: usize) -> f32 {
        let last = SIZE as f32 - 1.0;
        let (x, y) = (x.clamp(0.0, last), y.clamp(0.0, last));
        let pixel =
            |x: usize, y: usize| f32::from(image.pixels[3 * (y.min(SIZE - 1) * SIZE + x.min(SIZE - 1)) + channel]);
        let (left, top) = (x.floor() as usize, y.floor() as usize);
        let (right, low) = (x.fract(), y.fract());
        let row = |y: usize| (1.0 - right) * pixel(left, y) + right * pixel(left + 1, y);
        (1.0 - low) * row(top) + low * row(top + 1)
    }

    /// Grey levels by which a frame differs at these pixels from another one that is warped by `scale` times the flow.
    fn apart(frames: &[Image; 2], flow: &FlowMap, scale: f32, pixels: &[usize]) -> f32 {
        let [before, after] = frames;
        let of = |pixel: &usize| -> f32 {
            let place = [pixel % SIZE, pixel / SIZE];
            let at = [0, 1].map(|axis| place[axis] as f32 + scale * flow.vectors[*pixel][axis]);
            let differs = |channel| (sampled(after, at, channel) - f32::from(before.pixels[3 * pixel + channel])).abs();
            (0..3).map(differs).sum::<f32>() / 3.0
        };
        pixels.iter().map(of).sum()
    }

    /// The pixels within two of this one.
    fn near(pixel: usize) -> impl Iterator<Item = usize> {
        let (x, y) = (pixel % SIZE, pixel / SIZE);
        let rows = y.saturating_sub(2)..(y + 3).min(SIZE);
        rows.flat_map(move |y| (x.saturating_sub(2)..(x + 3).min(SIZE)).map(move |x| y * SIZE + x))
    }

    #[test]
    fn a_frame_without_noise_is_the_other_one_warped() {
        let (mut whole, mut inside, mut counted, mut resting) = ([0.0; 3], 0.0, [0; 2], [0; 2]);
        for scene in scenes() {
            for moments in MOMENTS {
                let frames = moments.map(|moment| frame(&scene, moment));
                let flow = scene.flow(moments, SIZE);
                let seen = |pixel: &usize| flow.seen[*pixel];
                let moving: Vec<usize> = (0..SIZE * SIZE).filter(|at| flow.moves(*at) && seen(at)).collect();
                for (sum, scale) in whole.iter_mut().zip([1.0, 0.0, -1.0]) {
                    *sum += apart(&frames, &flow, scale, &moving);
                }
                // Where no smooth edge is near, nothing is left but rounding.
                let alike = |at: &usize| near(*at).all(|near| flow.vectors[near] == flow.vectors[*at] && seen(&near));
                let within: Vec<usize> = moving.iter().copied().filter(alike).collect();
                inside += apart(&frames, &flow, 1.0, &within);
                counted[0] += moving.len();
                counted[1] += within.len();
                for at in (0..SIZE * SIZE).filter(|at| !flow.moves(*at) && alike(at)) {
                    let [before, after] = frames.each_ref().map(|frame| &frame.pixels[3 * at..][..3]);
                    resting[0] += 1;
                    resting[1] += usize::from(before != after);
                }
            }
        }
        // A tip that is thinner than a pixel may pass between centres.
        assert!(resting[0] > 100_000 && resting[1] * 1_000 < resting[0], "{} of {}", resting[1], resting[0]);
        let [exact, none, back] = whole.map(|sum| sum / counted[0] as f32);
        let inside = inside / counted[1] as f32;
        assert!(counted[1] > 1_000 && inside < 1.0, "{inside} of {}", counted[1]);
        assert!(exact < 0.5 * none && exact < 0.5 * back, "{exact} {none} {back}");
    }

    #[test]
    fn the_way_back_is_the_way_there() {
        for scene in scenes() {
            for moments in MOMENTS {
                let (there, back) = (scene.flow(moments, SIZE), scene.flow([moments[1], moments[0]], SIZE));
                let mut met = 0;
                for pixel in (0..SIZE * SIZE).filter(|pixel| there.moves(*pixel) && there.seen[*pixel]) {
                    let [right, down] = there.vectors[pixel];
                    let (x, y) = ((pixel % SIZE) as f32 + right, (pixel / SIZE) as f32 + down);
                    // The nearest pixel may show the thing's neighbour at its edge.
                    let other = back.vectors[y.round() as usize % SIZE * SIZE + x.round() as usize % SIZE];
                    met += usize::from((other[0] + right).hypot(other[1] + down) < 1e-3);
                }
                let moving = (0..SIZE * SIZE).filter(|pixel| there.moves(*pixel) && there.seen[*pixel]).count();
                assert!(met as f64 > 0.8 * moving as f64, "{met} of {moving}");
            }
        }
    }

    #[test]
    fn nothing_goes_the_long_way_around() {
        for scene in scenes() {
            // Nine tenths of a scene: on a plane the object may have gone nine tenths of the frame, here at most half of it.
            let flow = scene.flow([0.0, 0.9], SIZE);
            assert!(flow.vectors.iter().flatten().all(|x| x.abs() <= SIZE as f32));
            let object = scene.moved(Thing::Object, [0.0, 0.9]);
            assert!(object.iter().all(|x| x.abs() <= 0.5));
            let [start, end] = [0.0, 0.9].map(|moment| scene.object.at(moment));
            for axis in 0..2 {
                let whole = start[axis] + object[axis] - end[axis];
                assert!((whole - whole.round()).abs() < 1e-5, "it ends where it is");
            }
        }
    }
}
