//! A drawing of a graph: nodes coloured by their tags at distances that follow the numbers of edges between them.

use crate::Image;
use crate::graphs::adjacency::Adjacency;
use crate::graphs::graph::Graph;
use crate::images::colour::from_hsv;

/// Nodes that are drawn at most, in the order of a search from the first: the layout is quadratic, and more would be a blot.
const DRAWN: usize = 600;
/// Rounds of the layout.
const ROUNDS: usize = 60;
/// Turns between two tags' hues: the golden section keeps any number of them apart.
const HUE_STEP: f32 = 0.381_966;
pub(crate) const FIRST_HUE: f32 = 0.58;
const PAPER: [f32; 3] = [1.0, 1.0, 1.0];
const INK: [f32; 3] = [0.42, 0.45, 0.5];
pub(crate) const RIM: [f32; 3] = [0.16, 0.18, 0.22];

/// A square picture of `side` pixels, a function of the graph alone.
pub fn draw(graph: &Graph, side: usize) -> Image {
    let side = side.max(8);
    let components = components(graph.adjacency());
    let drawn = components.concat();
    let places = packed(graph.adjacency(), &components);
    let mut canvas = Canvas::new(side);

    // The layout's unit is an edge: a node's size follows from how long that is here, and from what a reader can see.
    let margin = 0.07 * side as f32;
    let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
    for place in &places {
        for axis in 0..2 {
            low[axis] = low[axis].min(place[axis]);
            high[axis] = high[axis].max(place[axis]);
        }
    }
    let extent = (high[0] - low[0]).max(high[1] - low[1]);
    // A graph of one node or two is not blown up to the whole picture.
    let scale = (side as f32 - 2.0 * margin) / extent.max(2.5);
    let centre = [0, 1].map(|axis| f32::midpoint(low[axis], high[axis]));
    let at = |place: [f32; 2]| [0, 1].map(|axis| (place[axis] - centre[axis]) * scale + side as f32 / 2.0);
    let radius = (0.3 * scale).clamp(0.011 * side as f32, 0.036 * side as f32).max(1.2);

    let mut place_of = vec![None; graph.nodes()];
    for (&node, &place) in drawn.iter().zip(&places) {
        place_of[node as usize] = Some(at(place));
    }
    // Finer where there are many, or cliques become blots.
    let crowd = (3.0 * graph.nodes() as f32 / graph.edges().max(1) as f32).sqrt().min(1.0);
    let half = (0.3 * radius * crowd).clamp(0.35, 1.2);
    for (u, v) in graph.adjacency().pairs() {
        if let (Some(u), Some(v)) = (place_of[u as usize], place_of[v as usize]) {
            canvas.line(u, v, half);
        }
    }
    for &node in &drawn {
        if let Some(place) = place_of[node as usize] {
            let hue = FIRST_HUE + HUE_STEP * graph.tags()[node as usize] as f32;
            canvas.disc(place, radius, RIM);
            canvas.disc(place, 0.74 * radius, from_hsv(hue, 0.62, 0.93));
        }
    }
    canvas.image()
}

/// The nodes that are drawn, one list for each component, the largest first.
fn components(adjacency: &Adjacency) -> Vec<Vec<u32>> {
    let mut seen = vec![false; adjacency.nodes()];
    let (mut components, mut left) = (Vec::new(), DRAWN);
    for first in 0..adjacency.nodes() as u32 {
        if left == 0 {
            break;
        }
        if std::mem::replace(&mut seen[first as usize], true) {
            continue;
        }
        let (mut queue, mut place) = (vec![first], 0);
        while let Some(&node) = queue.get(place) {
            place += 1;
            for &other in adjacency.neighbours(node) {
                if !std::mem::replace(&mut seen[other as usize], true) {
                    queue.push(other);
                }
            }
        }
        queue.truncate(left);
        left -= queue.len();
        components.push(queue);
    }
    components.sort_by_key(|nodes| std::cmp::Reverse(nodes.len()));
    components
}

/// Where the components' nodes lie, component after component, in units of an edge: rows of components that fill a square.
fn packed(adjacency: &Adjacency, components: &[Vec<u32>]) -> Vec<[f32; 2]> {
    const GAP: f32 = 1.0;
    let layouts: Vec<(Vec<[f32; 2]>, [f32; 2])> = components.iter().map(|nodes| upright(adjacency, nodes)).collect();
    let area: f32 = layouts.iter().map(|(_, [w, h])| (w + GAP) * (h + GAP)).sum();
    let widest = layouts.iter().map(|(_, [width, _])| *width).fold(area.sqrt(), f32::max);
    let (mut x, mut y, mut row) = (0.0, 0.0, 0.0_f32);
    let mut places = Vec::new();
    for (layout, [width, height]) in layouts {
        if x > 0.0 && x + width > widest {
            (x, y, row) = (0.0, y + row + GAP, 0.0);
        }
        places.extend(layout.into_iter().map(|[u, v]| [x + u, y + v]));
        x += width + GAP;
        row = row.max(height);
    }
    places
}

/// A component's layout from the corner of its box, and the box.
fn upright(adjacency: &Adjacency, nodes: &[u32]) -> (Vec<[f32; 2]>, [f32; 2]) {
    let mut layout = layout(&distances(adjacency, nodes), nodes.len());
    let low = [0, 1].map(|axis| layout.iter().map(|place| place[axis]).fold(f32::MAX, f32::min));
    let high = [0, 1].map(|axis| layout.iter().map(|place| place[axis]).fold(f32::MIN, f32::max));
    for place in &mut layout {
        *place = [place[0] - low[0], place[1] - low[1]];
    }
    (layout, [high[0] - low[0], high[1] - low[1]])
}

/// `[n, n]`: edges on the shortest way between two nodes of a connected list.
fn distances(adjacency: &Adjacency, nodes: &[u32]) -> Vec<f32> {
    let n = nodes.len();
    let mut own = vec![usize::MAX; adjacency.nodes()];
    nodes.iter().enumerate().for_each(|(place, &node)| own[node as usize] = place);
    let mut out = vec![0.0; n * n];
    for (from, row) in out.chunks_exact_mut(n).enumerate() {
        let mut met = vec![false; n];
        met[from] = true;
        let (mut queue, mut place) = (vec![from], 0);
        while let Some(&here) = queue.get(place) {
            place += 1;
            for &other in adjacency.neighbours(nodes[here]) {
                let other = own[other as usize];
                if other != usize::MAX && !std::mem::replace(&mut met[other], true) {
                    row[other] = row[here] + 1.0;
                    queue.push(other);
                }
            }
        }
    }
    out
}

/// Stress majorisation (Gansner, Koren and North, 2004) with weights `1 / d²`, from classical scaling: the planar picture
/// whose distances fit those in the graph best.
fn layout(distances: &[f32], n: usize) -> Vec<[f32; 2]> {
    let mut places = scaled(distances, n);
    for _ in 0..ROUNDS {
        // One node after the other, with what has moved already.
        for i in 0..n {
            let (mut to, mut weights) = ([0.0; 2], 0.0);
            for j in (0..n).filter(|j| *j != i) {
                let wanted = distances[i * n + j];
                if wanted == 0.0 {
                    continue;
                }
                let away = [0, 1].map(|axis| places[i][axis] - places[j][axis]);
                let length = away[0].hypot(away[1]).max(1e-4);
                let weight = 1.0 / (wanted * wanted);
                for axis in 0..2 {
                    to[axis] += weight * (places[j][axis] + wanted * away[axis] / length);
                }
                weights += weight;
            }
            if weights > 0.0 {
                places[i] = to.map(|sum| sum / weights);
            }
        }
    }
    places
}

/// Classical scaling: the two leading axes of the doubly centred squared distances, by power iteration. Nodes that the
/// distances do not tell apart are set a little apart, each in a direction of its own.
pub(crate) fn scaled(distances: &[f32], n: usize) -> Vec<[f32; 2]> {
    let mut centred: Vec<f32> = distances.iter().map(|distance| -0.5 * distance * distance).collect();
    let means: Vec<f32> = centred.chunks_exact(n).map(|row| row.iter().sum::<f32>() / n as f32).collect();
    let mean = means.iter().sum::<f32>() / n as f32;
    for (i, row) in centred.chunks_exact_mut(n).enumerate() {
        row.iter_mut().zip(&means).for_each(|(value, other)| *value += mean - means[i] - other);
    }
    // The golden angle: no two directions are the same.
    let turn = |i: usize| i as f32 * std::f32::consts::TAU * HUE_STEP;
    let mut places: Vec<[f32; 2]> = (0..n).map(|i| [0.05 * turn(i).cos(), 0.05 * turn(i).sin()]).collect();
    let mut first: Option<Vec<f32>> = None;
    for axis in 0..2 {
        let mut vector: Vec<f32> = (0..n).map(|i| (turn(i) + axis as f32).cos()).collect();
        let mut value = 0.0;
        for _ in 0..30 {
            if let Some(first) = &first {
                let along: f32 = vector.iter().zip(first).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(first).for_each(|(a, b)| *a -= along * b);
            }
            let next: Vec<f32> =
                centred.chunks_exact(n).map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
            value = next.iter().map(|a| a * a).sum::<f32>().sqrt();
            if value < 1e-6 {
                break;
            }
            vector = next.into_iter().map(|a| a / value).collect();
        }
        if value >= 1e-6 {
            places.iter_mut().zip(&vector).for_each(|(place, along)| place[axis] += along * value.sqrt());
        }
        first.get_or_insert(vector);
    }
    places
}

/// Colours from 0 to 1, drawn over with the share of each pixel that a shape covers.
pub(crate) struct Canvas {
    side: usize,
    pixels: Vec<[f32; 3]>,
}

impl Canvas {
    pub(crate) fn new(side: usize) -> Self {
        Self { side, pixels: vec![PAPER; side * side] }
    }

    /// `distance` says how far a point is outside of a shape within the box, in pixels.
    fn fill(&mut self, low: [f32; 2], high: [f32; 2], colour: [f32; 3], distance: impl Fn(f32, f32) -> f32) {
        let bound = |value: f32| value.clamp(0.0, self.side as f32) as usize;
        for row in bound(low[1] - 1.0)..bound(high[1] + 2.0) {
            for column in bound(low[0] - 1.0)..bound(high[0] + 2.0) {
                let covered = (0.5 - distance(column as f32 + 0.5, row as f32 + 0.5)).clamp(0.0, 1.0);
                let pixel = &mut self.pixels[row * self.side + column];
                pixel.iter_mut().zip(colour).for_each(|(below, ink)| *below += covered * (ink - *below));
            }
        }
    }

    pub(crate) fn disc(&mut self, [x, y]: [f32; 2], radius: f32, colour: [f32; 3]) {
        let (low, high) = ([x - radius, y - radius], [x + radius, y + radius]);
        self.fill(low, high, colour, |px, py| (px - x).hypot(py - y) - radius);
    }

    pub(crate) fn line(&mut self, [ax, ay]: [f32; 2], [bx, by]: [f32; 2], half: f32) {
        let (dx, dy) = (bx - ax, by - ay);
        let length = (dx * dx + dy * dy).max(1e-6);
        let low = [ax.min(bx) - half, ay.min(by) - half];
        let high = [ax.max(bx) + half, ay.max(by) + half];
        self.fill(low, high, INK, |px, py| {
            let along = (((px - ax) * dx + (py - ay) * dy) / length).clamp(0.0, 1.0);
            (px - ax - along * dx).hypot(py - ay - along * dy) - half
        });
    }

    pub(crate) fn image(self) -> Image {
        let pixels = self.pixels.into_iter().flatten().map(|value| (value * 255.0 + 0.5) as u8).collect();
        Image { width: self.side, height: self.side, channels: 3, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stress(edges: &[(u32, u32)], n: usize) -> f32 {
        let (adjacency, ..) = Adjacency::new(n, edges);
        let nodes: Vec<u32> = (0..n as u32).collect();
        let distances = distances(&adjacency, &nodes);
        let places = layout(&distances, n);
        let mut off = 0.0;
        for i in 0..n {
            for j in 0..i {
                let apart = (places[i][0] - places[j][0]).hypot(places[i][1] - places[j][1]);
                off += (apart / distances[i * n + j] - 1.0).powi(2);
            }
        }
        off / (n * (n - 1) / 2) as f32
    }

    #[test]
    fn a_path_is_drawn_straight_and_a_ring_round() {
        let path: Vec<_> = (1..12).map(|v| (v - 1, v)).collect();
        assert!(stress(&path, 12) < 1e-3, "{}", stress(&path, 12));
        let ring: Vec<_> = (0..12).map(|v| (v, (v + 1) % 12)).collect();
        // A circle of 12 cannot do better than about 0.03.
        assert!(stress(&ring, 12) < 0.05, "{}", stress(&ring, 12));
    }

    #[test]
    fn nodes_show_their_tags_edges_their_ink_and_a_graph_is_drawn_the_same_each_time() {
        let graph = Graph::new(vec![0, 1], &[(0, 1)], &[]).unwrap();
        let image = draw(&graph, 160);
        assert_eq!((image.width, image.height, image.channels), (160, 160, 3));
        let has = |colour: [f32; 3]| {
            let bytes = colour.map(|value| (value * 255.0 + 0.5) as u8);
            image.pixels.chunks_exact(3).filter(|pixel| *pixel == bytes).count()
        };
        let fill = |tag: f32| from_hsv(FIRST_HUE + HUE_STEP * tag, 0.62, 0.93);
        assert!(has(fill(0.0)) > 20 && has(fill(1.0)) > 20 && has(INK) > 20);
        assert_eq!(has(fill(2.0)), 0);
        assert_eq!(image, draw(&graph, 160));
    }

    #[test]
    fn whatever_the_graph_there_is_a_picture() {
        let lonely = Graph::new(vec![3; 7], &[], &[]).unwrap();
        let big: Vec<_> = (1..5_000).map(|v| (v / 3, v)).collect();
        let big = Graph::new(vec![0; 5_000], &big, &[]).unwrap();
        for graph in [Graph::new(vec![0], &[], &[]).unwrap(), lonely, big] {
            let image = draw(&graph, 96);
            assert!(image.pixels.chunks_exact(3).filter(|pixel| *pixel != [255; 3]).count() > 20);
        }
    }
}
