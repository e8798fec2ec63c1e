//! The run itself: facts, decisions, configuration, and how to go on.

use super::html::{Section, prose, text};

pub(super) fn facts(facts: &[(String, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let cells: Vec<_> = facts
        .iter()
        .map(|(label, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", text(label), prose(value)))
        .collect();
    format!("<dl class=\"facts\">\n{}</dl>\n", cells.concat())
}

pub(super) fn decisions(decisions: &[(String, String, String)]) -> Option<Section> {
    if decisions.is_empty() {
        return None;
    }
    let rows: Vec<_> = decisions
        .iter()
        .map(|(what, value, reason)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"main\">{}</td><td>{}</td></tr>\n",
                text(what),
                text(value),
                prose(reason),
            )
        })
        .collect();
    Some(Section::new(
        "decisions",
        "Decisions",
        "Settings that were left open, what foretell chose for them, and why.",
        format!(
            "<div class=\"card wide\"><table class=\"reasons\">\n<thead><tr><th scope=\"col\">what</th>\
             <th scope=\"col\">value</th><th scope=\"col\">reason</th></tr></thead>\n\
             <tbody>\n{}</tbody></table></div>\n",
            rows.concat(),
        ),
    ))
}

pub(super) fn commands(commands: &[(String, String)]) -> Option<Section> {
    if commands.is_empty() {
        return None;
    }
    let cards: Vec<_> = commands
        .iter()
        .map(|(label, command)| {
            format!(
                "<div class=\"card\"><h3>{}</h3><pre class=\"command\"><code>{}</code></pre></div>\n",
                text(label),
                text(command),
            )
        })
        .collect();
    Some(Section::new("commands", "What next", "One click selects a command.", cards.concat()))
}

pub(super) fn config(toml: &str) -> Option<Section> {
    let toml = toml.trim();
    if toml.is_empty() {
        return None;
    }
    Some(Section::new(
        "configuration",
        "Configuration",
        "Every setting of this run, defaults included. The same file trains the same network again.",
        format!(
            "<details class=\"card wide\"><summary>{} lines of TOML</summary><pre><code>{}</code></pre></details>\n",
            toml.lines().count(),
            text(toml),
        ),
    ))
}
