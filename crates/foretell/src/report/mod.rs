//! `report.html`: one run on one page that needs nothing else, neither network nor scripts.
//!
//! The input is plain data, so that the page knows nothing of tensors, systems or runs. Every text is escaped, what
//! cannot be drawn (a NaN, a picture with too few bytes) is left out and said, and empty sections disappear.

mod chart;
mod html;
mod pictures;
mod probes;
mod rgb;
mod run;
mod search;
mod ticks;
mod verdict;
mod world;

#[cfg(test)]
mod tests;

pub use rgb::Rgb;
pub use search::{Found, SearchPage, render_search};

use html::{Section, text};

/// Everything that a report shows, in the order in which the page shows it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// "I-JEPA on fashion-mnist".
    pub title: String,
    /// The health of the representation, in words and measures.
    pub verdict: Verdict,
    /// Label → value: system, data, split, parameters, device, steps, seconds, seed, version.
    pub facts: Vec<(String, String)>,
    /// What the features let a probe read, beside their controls.
    pub probes: Vec<ProbeRow>,
    /// What was logged, by optimiser step.
    pub curves: Vec<Curve>,
    /// Samples with what the context saw and what was to be predicted.
    pub masks: Vec<MaskPicture>,
    /// Samples with the views that were made of them, for systems without masks.
    pub views: Vec<ViewPicture>,
    /// Token features as colours, trained and untrained.
    pub features: Vec<FeaturePicture>,
    /// Nearest neighbours in feature space, trained and untrained.
    pub neighbours: Vec<Neighbours>,
    /// What a linear map reads from a world model's latents, beside its controls.
    pub readings: Vec<Reading>,
    /// A world model's errors, by steps ahead.
    pub forecast: Vec<Curve>,
    /// Episodes planned by a world model.
    pub episodes: Vec<Moving>,
    /// What was decided without being asked: what, value, reason.
    pub decisions: Vec<(String, String, String)>,
    /// How to go on: label → command.
    pub commands: Vec<(String, String)>,
    /// The resolved configuration of the run.
    pub config_toml: String,
}

/// The judgement of a run's health.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The judgement itself.
    pub health: Health,
    /// Why, in whole sentences.
    pub sentences: Vec<String>,
    /// The measures that it rests on.
    pub measures: Vec<Measure>,
}

/// Whether the representation collapsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// No measure speaks of collapse.
    #[default]
    Healthy,
    /// Some directions or some measures have collapsed.
    PartialCollapse,
    /// The representation says (almost) the same of every sample.
    Collapse,
}

/// One measure behind the verdict, as it is to be printed.
#[derive(Clone, Debug)]
pub struct Measure {
    /// "effective rank".
    pub name: String,
    /// Its value for the trained network.
    pub trained: String,
    /// Its value for the same network before training.
    pub untrained: String,
    /// What is asked of it: "≥ 8".
    pub threshold: String,
    /// Whether the trained value meets the threshold; `None` where nothing is asked.
    pub met: Option<bool>,
}

/// One chart: one or several series by optimiser step.
#[derive(Clone, Debug)]
pub struct Curve {
    /// "loss".
    pub title: String,
    /// Unit of the values ("bits", "samples/s"), or empty.
    pub unit: String,
    /// Name → points (step, value). Points that are not finite interrupt the line.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
    /// Logarithmic value axis; points that are not positive interrupt the line.
    pub log_y: bool,
}

/// A sample and its mask, by token.
#[derive(Clone, Debug)]
pub struct MaskPicture {
    /// The whole sample.
    pub image: Rgb,
    /// Tokens as (rows, columns).
    pub grid: (usize, usize),
    /// For each token, row by row: 0 is unused, 1 is context, 2 and above are the targets.
    pub classes: Vec<u8>,
}

/// A sample and the views that were made of it.
#[derive(Clone, Debug)]
pub struct ViewPicture {
    /// The whole sample.
    pub image: Rgb,
    /// Its views, as the encoder saw them.
    pub views: Vec<Rgb>,
}

/// Token features of one sample as colours: the first three principal components, as red, green and blue.
#[derive(Clone, Debug)]
pub struct FeaturePicture {
    /// The whole sample.
    pub image: Rgb,
    /// Tokens as (rows, columns).
    pub grid: (usize, usize),
    /// One colour for each token, row by row, from the trained network.
    pub trained: Vec<[u8; 3]>,
    /// The same from the untrained network.
    pub untrained: Vec<[u8; 3]>,
}

/// A query and its nearest neighbours, nearest first.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The sample whose neighbours are sought.
    pub query: Labelled,
    /// Its neighbours by the trained network's features.
    pub trained: Vec<Labelled>,
    /// Its neighbours by the untrained network's features.
    pub untrained: Vec<Labelled>,
}

/// A picture, and what it shows if that is known.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The sample.
    pub image: Rgb,
    /// Its label, never used in training.
    pub label: Option<String>,
}

/// One probe's result.
#[derive(Clone, Debug)]
pub struct ProbeRow {
    /// What was probed: "trained", "untrained" or "pixels".
    pub features: String,
    /// How: "knn" or "linear".
    pub probe: String,
    /// For what: "class", or a factor of generated data.
    pub factor: String,
    /// Share of right answers on held-out samples, in 0..=1.
    pub accuracy: f64,
}

/// How far off a state is that is read from latents.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What was read from: "trained", "untrained" or "mean".
    pub features: String,
    /// Mean distance from the true state, in the world's units.
    pub error: f64,
}

/// A moving picture.
#[derive(Clone, Debug)]
pub struct Moving {
    /// "episode 3".
    pub title: String,
    /// What came of it.
    pub note: String,
    /// Width and height in pixels.
    pub side: u32,
    /// The bytes of a GIF file.
    pub gif: Vec<u8>,
}

/// Writes the page.
pub fn render(report: &Report) -> String {
    let sections: Vec<Section> = [
        probes::section(&report.probes),
        world::episodes(&report.episodes),
        world::readings(&report.readings),
        world::forecast(&report.forecast),
        verdict::section(&report.verdict),
        chart::section(&report.curves),
        pictures::masks(&report.masks),
        pictures::views(&report.views),
        pictures::features(&report.features),
        pictures::neighbours(&report.neighbours),
        run::decisions(&report.decisions),
        run::commands(&report.commands),
        run::config(&report.config_toml),
    ]
    .into_iter()
    .flatten()
    .collect();
    let head = format!("{}{}", verdict::banner(&report.verdict), run::facts(&report.facts));
    frame("Foretell report", &report.title, &head, &sections)
}

/// A page: what stands at its `head` is HTML.
fn frame(kind: &str, title: &str, head: &str, sections: &[Section]) -> String {
    let links: Vec<_> = sections.iter().map(Section::link).collect();
    let bodies: Vec<_> = sections.iter().map(Section::html).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · Foretell</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<header>\n<p class=\"eyebrow\">{kind}</p>\n\
         <h1>{title}</h1>\n{head}<nav>{links}</nav>\n</header>\n<main>\n{bodies}</main>\n\
         <footer>This page holds everything it shows; it loads nothing.</footer>\n</body>\n</html>\n",
        title = text(title),
        style = include_str!("style.css"),
        links = links.concat(),
        bodies = bodies.concat(),
    )
}
