//! The page of a search: each query, and what lies nearest to it.

use foretell_eval::Card;

use super::html::Section;
use super::{frame, pictures, run};

/// Everything that the page shows.
#[derive(Clone, Debug, Default)]
pub struct SearchPage {
    /// "Nearest to cat.png".
    pub title: String,
    /// What the samples are called: "graphs".
    pub samples: String,
    /// Label → value: index, model, how many samples.
    pub facts: Vec<(String, String)>,
    /// One for each query, with its neighbours, nearest first.
    pub found: Vec<Card>,
}

/// Writes the page.
pub fn render_search(page: &SearchPage) -> String {
    let cards: String =
        page.found.iter().enumerate().map(|(i, card)| pictures::card(card, &format!("query-{i}"))).collect();
    let section = Section::new(
        "nearest",
        "Nearest neighbours",
        &format!("Left the query, right the {} whose features lie nearest by cosine, nearest first.", page.samples),
        format!("<div class=\"grid found\">\n{cards}</div>\n"),
    );
    frame("Foretell search", &page.title, &run::facts(&page.facts), &[section])
}
