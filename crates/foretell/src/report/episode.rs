//! The page of one episode: a moving picture of it, and beside it what each module of its agent says at each moment. It moves by its style
//! alone and stands still under the pointer.

use std::fmt::Write as _;

use foretell_eval::Picture;

use super::html::{Section, text};
use super::{frame, run, ticks};

/// Everything that the page shows. Places are `[x, y]` in shares of the side of the picture.
#[derive(Clone, Debug)]
pub struct EpisodePage {
    /// "Episode 3 of two-rooms".
    pub title: String,
    /// Label → value: model, task, mode, how it ended.
    pub facts: Vec<(String, String)>,
    /// The world from above; none where it cannot be drawn.
    pub backdrop: Option<Picture>,
    /// Where the goal is.
    pub goal: [f32; 2],
    /// So near to it is there, in shares of the side.
    pub near: f32,
    /// Where the agent was at each moment, the first before any step.
    pub places: Vec<[f32; 2]>,
    /// Where the plan of each moment leads, as many as there are moments.
    pub ahead: Vec<Vec<[f32; 2]>>,
    /// What the modules say.
    pub readings: Vec<Reading>,
}

/// One number of one module at each moment.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The module.
    pub module: String,
    /// What its number is.
    pub what: String,
    /// As many as there are moments; none where it says nothing.
    pub values: Vec<Option<f64>>,
}

// One user unit is about one pixel; the page scales the whole.
const SIDE: f64 = 400.0;
const GAP: f64 = 30.0;
const WIDTH: f64 = 480.0;
/// Of a reading's row: its height, the part of it that the line takes, and where line and number begin.
const ROW: f64 = 46.0;
const BAND: f64 = 30.0;
const LINE: f64 = 170.0;
const NUMBER: f64 = 400.0;
/// Seconds of a moment.
const MOMENT: f64 = 0.12;

/// Writes the page.
pub fn render_episode(page: &EpisodePage) -> String {
    let section = Section::new(
        "episode",
        "The episode",
        "Left the agent's way: its place now, where its plan leads, and the goal. Right what each module says at this moment, over all \
         moments. Hold the pointer over the picture to stop it.",
        format!("<div class=\"card wide\">{}</div>\n", film(page)),
    );
    frame("Foretell agent", &page.title, &run::facts(&page.facts), &[section])
}

fn film(page: &EpisodePage) -> String {
    let moments = page.places.len().max(1);
    let height = SIDE.max(ROW * page.readings.len() as f64);
    let whole = MOMENT * moments as f64;
    let at = |[x, y]: [f32; 2]| (f64::from(x) * SIDE, f64::from(y) * SIDE);
    let way = |places: &[[f32; 2]]| {
        let mut d = String::new();
        for (i, (x, y)) in
            places.iter().map(|place| at(*place)).filter(|(x, y)| x.is_finite() && y.is_finite()).enumerate()
        {
            let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
        }
        d
    };
    let mut svg = format!(
        "<svg class=\"film\" viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" aria-label=\"an episode, moment by moment\">\n\
         <style>.film .now {{ animation: now {whole:.2}s step-end infinite; }} @keyframes now {{ 0% {{ visibility: visible; }} {:.4}% {{ visibility: hidden; }} }}</style>\n",
        SIDE + GAP + WIDTH,
        100.0 / moments as f64,
    );
    if let Some(picture) = &page.backdrop {
        let _ = writeln!(
            svg,
            "<image class=\"sharp\" width=\"{SIDE}\" height=\"{SIDE}\" href=\"{}\"/>",
            picture.data_uri()
        );
    }
    let (x, y) = at(page.goal);
    let _ = writeln!(
        svg,
        "<circle class=\"goal\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\"/><path class=\"way\" d=\"{}\"/>",
        f64::from(page.near) * SIDE,
        way(&page.places)
    );
    let bands: Vec<Band> =
        page.readings.iter().enumerate().map(|(row, reading)| Band::of(reading, row, moments)).collect();
    for (band, Reading { module, what, .. }) in bands.iter().zip(&page.readings) {
        let _ = writeln!(
            svg,
            "<text class=\"module\" x=\"{:.0}\" y=\"{:.1}\">{}</text><text x=\"{:.0}\" y=\"{:.1}\">{}</text><path class=\"line c1\" d=\"{}\"/>",
            SIDE + GAP,
            band.top + 13.0,
            text(module),
            SIDE + GAP,
            band.top + 27.0,
            text(what),
            band.path,
        );
    }
    for (i, place) in page.places.iter().enumerate() {
        let (x, y) = at(*place);
        let plan = page.ahead.get(i).map(|ahead| way(ahead)).unwrap_or_default();
        let along = SIDE + GAP + LINE + band_width() * i as f64 / (moments - 1).max(1) as f64;
        let _ = write!(
            svg,
            "<g class=\"now\" style=\"animation-delay:{:.2}s\"><path class=\"plan\" d=\"{plan}\"/><circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\"/>\
             <path class=\"axis\" d=\"M{along:.1} 0V{:.0}\"/>",
            // All have begun when the page opens, so that exactly one is seen.
            MOMENT * i as f64 - whole,
            ROW * page.readings.len() as f64,
        );
        for (band, reading) in bands.iter().zip(&page.readings) {
            let value = reading.values.get(i).copied().flatten().filter(|value| value.is_finite());
            let value = value.map_or_else(|| "–".to_owned(), ticks::value);
            let _ = write!(
                svg,
                "<text class=\"value\" x=\"{:.0}\" y=\"{:.1}\">{value}</text>",
                SIDE + GAP + NUMBER,
                band.top + 20.0
            );
        }
        svg.push_str("</g>\n");
    }
    svg + "</svg>"
}

fn band_width() -> f64 {
    NUMBER - LINE - 12.0
}

/// Where a reading is drawn, and its line.
struct Band {
    top: f64,
    path: String,
}

impl Band {
    fn of(reading: &Reading, row: usize, moments: usize) -> Self {
        let top = ROW * row as f64 + 4.0;
        // Differences of such numbers are finite too.
        let drawn = |value: &Option<f64>| value.filter(|value| value.abs() < 1e100);
        let all: Vec<f64> = reading.values.iter().filter_map(drawn).collect();
        let (low, high) =
            all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
        let range = if high > low { high - low } else { 1.0 };
        let (mut path, mut pen) = (String::new(), 'M');
        for (i, value) in reading.values.iter().enumerate() {
            let Some(value) = drawn(value) else {
                pen = 'M';
                continue;
            };
            let x = SIDE + GAP + LINE + band_width() * i as f64 / (moments - 1).max(1) as f64;
            let _ = write!(path, "{pen}{x:.1} {:.1}", top + BAND * (1.0 - (value - low) / range));
            pen = 'L';
        }
        Self { top, path }
    }
}
