//! `report.html`: one run on one page that needs nothing else, neither network nor scripts.
//!
//! The input is plain data, so that the page knows nothing of tensors, systems, runs or kinds of data. Every text is
//! escaped, what cannot be drawn (a NaN, a picture that is missing) is left out and said, and empty
//! sections disappear.

mod chart;
mod episode;
mod figures;
mod html;
mod pictures;
mod run;
mod search;
mod sheet;
mod ticks;
mod verdict;

#[cfg(test)]
mod tests;

use foretell_eval::{Body, Finding};

pub use chart::Curve;
pub use episode::{EpisodePage, Reading, render_episode};
pub use search::{SearchPage, render_search};
pub use sheet::{Sheet, SheetLine, SheetsPage, render_sheets};

use html::{Section, text};

/// Everything that a report shows, in the order in which the page shows it.
#[derive(Clone, Debug)]
pub struct Report {
    /// "I-JEPA on fashion-mnist".
    pub title: String,
    /// The health of the representation, in words and measures.
    pub verdict: Verdict,
    /// Label → value: system, data, split, parameters, device, steps, seconds, seed, version.
    pub facts: Vec<(String, String)>,
    /// What the run found, in the order in which it is shown.
    pub findings: Vec<Finding>,
    /// What was logged, by optimiser step.
    pub curves: Vec<Curve>,
    /// What was decided without being asked: what, value, reason.
    pub decisions: Vec<(String, String, String)>,
    /// How to go on: label → command.
    pub commands: Vec<(String, String)>,
    /// The resolved configuration of the run.
    pub config_toml: String,
}

/// The judgement of a run's health.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The judgement itself.
    pub health: foretell_train::Verdict,
    /// Why, in whole sentences.
    pub sentences: Vec<String>,
    /// The measures that it rests on.
    pub measures: Vec<Measure>,
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

/// Writes the page.
pub fn render(report: &Report) -> String {
    let Report { verdict, facts, findings, curves, decisions, commands, config_toml, .. } = report;
    let rest = [
        verdict::section(verdict),
        chart::section(curves),
        run::decisions(decisions),
        run::commands(commands),
        run::config(config_toml),
    ];
    let sections: Vec<Section> = findings.iter().map(section).chain(rest).flatten().collect();
    let head = format!("{}{}", verdict::banner(verdict), run::facts(facts));
    frame("Foretell report", &report.title, &head, &sections)
}

/// A section for a finding; `None` where there is nothing to show.
fn section(finding: &Finding) -> Option<Section> {
    let Finding { key, title, lead, notes, body } = finding;
    let body = match body {
        Body::Figures(figures) => figures::body(figures, title)?,
        Body::Pictures(pictures) => pictures::body(pictures, key)?,
    };
    let lead = notes.iter().fold(lead.clone(), |lead, note| format!("{lead} Note: {note}."));
    Some(Section::new(key, title, &lead, body))
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
