//! The verdict: a banner that can be read across the room, and the measures behind it.

use super::html::{Section, text};
use super::{Measure, Verdict};

/// Its class in the style sheet, and the word for people.
fn banner_of(verdict: foretell_train::Verdict) -> (&'static str, &'static str) {
    use foretell_train::Verdict as Word;
    match verdict {
        Word::Healthy => ("good", "Healthy"),
        Word::PartialCollapse => ("doubtful", "Partial collapse"),
        Word::Collapse => ("bad", "Collapse"),
    }
}

pub(super) fn banner(verdict: &Verdict) -> String {
    let sentences: Vec<_> = verdict.sentences.iter().map(|sentence| format!("<p>{}</p>", text(sentence))).collect();
    let (class, words) = banner_of(verdict.health);
    format!("<div class=\"verdict {class}\">\n<strong>{words}</strong>\n<div>{}</div>\n</div>\n", sentences.concat())
}

pub(super) fn section(verdict: &Verdict) -> Option<Section> {
    if verdict.measures.is_empty() {
        return None;
    }
    let rows: Vec<_> = verdict.measures.iter().map(row).collect();
    Some(Section::new(
        "health",
        "Health",
        "What the verdict rests on. The untrained column is the same network before its first step: a \
               measure means something only beside it.",
        format!(
            "<div class=\"card wide\"><table class=\"numbers\">\n<thead><tr><th scope=\"col\">measure</th>\
             <th scope=\"col\">trained</th><th scope=\"col\">untrained</th>\
             <th scope=\"col\">asked</th></tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
            rows.concat(),
        ),
    ))
}

fn row(measure: &Measure) -> String {
    let mark = match measure.met {
        Some(true) => " <span class=\"mark good\" role=\"img\" aria-label=\"met\">✓</span>",
        Some(false) => " <span class=\"mark bad\" role=\"img\" aria-label=\"not met\">✕</span>",
        None => " <span class=\"mark\"></span>",
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"main\">{}</td><td>{}</td><td>{}{mark}</td></tr>\n",
        text(&measure.name),
        text(&measure.trained),
        text(&measure.untrained),
        text(&measure.threshold),
    )
}
