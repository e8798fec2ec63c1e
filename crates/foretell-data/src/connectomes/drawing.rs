//! A recording as people see it: its graph in one window after the other, regions at the same places.

use crate::connectomes::dynamic_graph::DynamicGraph;
use crate::graphs::drawing::{Canvas, FIRST_HUE, RIM, scaled};
use crate::images::colour::from_hsv;
use crate::{Film, Image};

/// Windows that a still picture shows, side by side.
const SHOWN: usize = 4;
/// Windows of a film at most, and so many in a second.
const FRAMES: usize = 48;
const FPS: f64 = 4.0;
/// Side of a graph in pixels.
const SIDE: usize = 128;

/// Where regions are drawn: regions that go together over the whole recording lie near each other, on a disc.
fn places(sample: &DynamicGraph) -> Vec<[f32; 2]> {
    let (n, fixed) = (sample.regions(), sample.fixed());
    let mut distances = vec![0.0; n * n];
    let mut next = fixed.iter();
    for u in 0..n {
        for v in u + 1..n {
            let distance = 1.05 - next.next().copied().unwrap_or(0.0);
            (distances[u * n + v], distances[v * n + u]) = (distance, distance);
        }
    }
    let scaled = scaled(&distances, n);
    // By rank around the middle and by rank away from it, so that none lies on another.
    let angle = |place: &[f32; 2]| place[1].atan2(place[0]);
    let mut around: Vec<usize> = (0..n).collect();
    around.sort_by(|a, b| angle(&scaled[*a]).total_cmp(&angle(&scaled[*b])));
    let mut places = vec![[0.0; 2]; n];
    for (rank, region) in around.into_iter().enumerate() {
        let turn = std::f32::consts::TAU * rank as f32 / n as f32;
        let away = if rank % 2 == 0 || n < 24 { 0.43 } else { 0.33 };
        places[region] = [0.5 + away * turn.cos(), 0.5 + away * turn.sin()];
    }
    places
}

fn draw(sample: &DynamicGraph, window: usize, places: &[[f32; 2]]) -> Image {
    let graph = sample.graph(window);
    let side = SIDE as f32;
    let mut canvas = Canvas::new(SIDE);
    let at = |region: u32| places[region as usize].map(|x| x * side);
    let half = (12.0 / (graph.edges.len().max(1) as f32).sqrt()).clamp(0.2, 0.6);
    for (u, v) in &graph.edges {
        canvas.line(at(*u), at(*v), half);
    }
    let radius = (1.2 * side / sample.regions() as f32).clamp(1.2, 4.0);
    for (region, place) in places.iter().enumerate() {
        let hue = FIRST_HUE + (place[1] - 0.5).atan2(place[0] - 0.5) / std::f32::consts::TAU;
        // Hollow where nothing was measured.
        let (saturation, value) = if graph.present[region] { (0.62, 0.93) } else { (0.0, 1.0) };
        let place = place.map(|x| x * side);
        canvas.disc(place, radius, RIM);
        canvas.disc(place, 0.74 * radius, from_hsv(hue, saturation, value));
    }
    canvas.image()
}

/// Some windows side by side, spread over the recording.
pub(super) fn picture(sample: &DynamicGraph) -> Option<Image> {
    let shown: Vec<usize> = crate::evenly(sample.windows(), SHOWN).collect();
    let places = places(sample);
    let images: Vec<Image> = shown.iter().map(|window| draw(sample, *window, &places)).collect();
    let width = SIDE * images.len();
    let row =
        |y: usize| images.iter().flat_map(move |image| image.pixels[y * SIDE * 3..(y + 1) * SIDE * 3].iter().copied());
    let pixels: Vec<u8> = (0..SIDE).flat_map(row).collect();
    (!images.is_empty()).then_some(Image { width, height: SIDE, channels: 3, pixels })
}

/// Window after window.
pub(super) fn film(sample: &DynamicGraph) -> Option<Film> {
    let places = places(sample);
    let windows = crate::evenly(sample.windows(), FRAMES);
    let frames: Vec<Image> = windows.map(|window| draw(sample, window, &places)).collect();
    (!frames.is_empty()).then_some(Film { frames, fps: FPS })
}
