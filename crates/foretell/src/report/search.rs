//! The page of a search: each query, and what lies nearest to it.

use super::html::{Section, text};
use super::{Labelled, frame, run};

/// A query and what was found for it, nearest first.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was asked for; its label is its name.
    pub query: Labelled,
    /// Pictures, their names and cosines.
    pub nearest: Vec<(Labelled, f32)>,
}

/// Everything that the page shows.
#[derive(Clone, Debug, Default)]
pub struct SearchPage {
    /// "Nearest to cat.png".
    pub title: String,
    /// Label → value: index, model, pictures.
    pub facts: Vec<(String, String)>,
    /// One for each query.
    pub found: Vec<Found>,
}

/// Writes the page.
pub fn render_search(page: &SearchPage) -> String {
    let cards: Vec<_> = page.found.iter().map(card).collect();
    let section = Section {
        id: "nearest",
        title: "Nearest neighbours",
        lead: "Left what was asked for, right the pictures whose features lie nearest by cosine, nearest first.",
        body: format!("<div class=\"grid\">\n{}</div>\n", cards.concat()),
    };
    frame("Foretell search", &page.title, &run::facts(&page.facts), &[section])
}

fn card(found: &Found) -> String {
    let name = |labelled: &Labelled| labelled.label.as_deref().map(|label| text(label).to_string()).unwrap_or_default();
    let tiles: Vec<_> = found
        .nearest
        .iter()
        .map(|(picture, similarity)| {
            let name = name(picture);
            format!(
                "<figure title=\"{name}\">{}<figcaption>{similarity:.4}<br>{name}</figcaption></figure>",
                picture.image.img(&name)
            )
        })
        .collect();
    let query = name(&found.query);
    format!(
        "<div class=\"card found\"><figure>{}<figcaption>{query}</figcaption></figure><div class=\"tiles\">{}</div></div>\n",
        found.query.image.img(&query),
        tiles.concat(),
    )
}
