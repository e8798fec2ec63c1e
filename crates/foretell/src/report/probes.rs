//! The probes' table: a row for each factor, a column for each probe, a bar for each kind of features.

use super::ProbeRow;
use super::html::{Section, text};

pub(super) fn section(rows: &[ProbeRow]) -> Option<Section> {
    if rows.is_empty() {
        return None;
    }
    let factors = distinct(rows.iter().map(|row| row.factor.as_str()));
    let probes = distinct(rows.iter().map(|row| row.probe.as_str()));
    let features = distinct(rows.iter().map(|row| row.features.as_str()));
    let heads: Vec<_> = probes.iter().map(|probe| format!("<th scope=\"col\">{}</th>", text(title(probe)))).collect();
    let lines: Vec<_> = factors
        .iter()
        .map(|factor| {
            let cells: Vec<_> = probes.iter().map(|probe| cell(rows, factor, probe, &features)).collect();
            format!("<tr><th scope=\"row\">{}</th>{}</tr>\n", text(factor), cells.concat())
        })
        .collect();
    Some(Section {
        id: "probes",
        title: "What the features know",
        lead: "Share of right answers on held-out samples. Only the probe saw labels; the network under it was \
               trained without, or not at all.",
        body: format!(
            "<div class=\"card wide\"><table class=\"probes\">\n<thead><tr><th></th>{}</tr></thead>\n\
             <tbody>\n{}</tbody></table></div>\n",
            heads.concat(),
            lines.concat(),
        ),
    })
}

/// One table cell: the bars of one probe on one factor, and how far training carried it.
fn cell(rows: &[ProbeRow], factor: &str, probe: &str, features: &[&str]) -> String {
    let accuracy = |name: &str| {
        rows.iter()
            .find(|row| row.factor == factor && row.probe == probe && row.features == name)
            .map(|row| row.accuracy)
    };
    let bars: Vec<_> = features.iter().filter_map(|name| accuracy(name).map(|accuracy| bar(name, accuracy))).collect();
    if bars.is_empty() {
        return format!("<td class=\"none\" data-probe=\"{}\">–</td>", text(title(probe)));
    }
    let gain = match (accuracy("trained"), accuracy("untrained")) {
        (Some(trained), Some(untrained)) if trained.is_finite() && untrained.is_finite() => {
            let points = 100.0 * (trained - untrained);
            let sign = if points < 0.0 { '−' } else { '+' };
            format!("<p class=\"gain\">{sign}{:.1} points by training</p>", points.abs())
        }
        _ => String::new(),
    };
    format!("<td data-probe=\"{}\">{}{gain}</td>", text(title(probe)), bars.concat())
}

fn bar(features: &str, accuracy: f64) -> String {
    let class = match features {
        "trained" => "trained",
        "untrained" => "untrained",
        _ => "plain",
    };
    let (width, value) = if accuracy.is_finite() {
        (100.0 * accuracy.clamp(0.0, 1.0), format!("{:.1} %", 100.0 * accuracy))
    } else {
        (0.0, "not finite".to_owned())
    };
    format!(
        "<div class=\"bar {class}\"><span>{}</span><i><b style=\"width:{width:.2}%\"></b></i><em>{value}</em></div>",
        text(features),
    )
}

fn title(probe: &str) -> &str {
    match probe {
        "knn" => "k-nearest neighbours",
        "linear" => "linear probe",
        other => other,
    }
}

/// Each name once, in the order of first appearance.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}
