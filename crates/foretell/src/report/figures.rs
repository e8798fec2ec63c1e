//! Figures: a table of bars, one for each value of the last dimension, or charts of lines along a dimension.

use foretell_eval::{Better, Cell, FEATURES, Figures, Group, Row, TRAINED, UNTRAINED};

use super::chart::{self, Curve};
use super::html::text;

/// The content of a section; `None` where there is nothing to show.
pub(super) fn body(figures: &Figures, title: &str) -> Option<String> {
    if figures.rows.is_empty() || figures.dims.is_empty() {
        return None;
    }
    let along = figures.along.as_ref().and_then(|along| figures.dims.iter().position(|dim| dim == along));
    Some(match along {
        Some(along) => lines(figures, along, title),
        None => bars(figures),
    })
}

/// Bars by the last dimension, in a table with a column for each value of the one before it, if there are three or more.
fn bars(figures: &Figures) -> String {
    let last = figures.dims.len() - 1;
    let groups = figures.groups(last);
    let place = |group: &Group<'_>| {
        let cells: Vec<String> = group.cells.iter().map(ToString::to_string).collect();
        match cells.split_last() {
            Some((column, row)) if !row.is_empty() => (row.join(", "), column.clone()),
            _ => (cells.concat(), String::new()),
        }
    };
    let (mut rows, mut columns): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for (row, column) in groups.iter().map(place) {
        rows.extend((!rows.contains(&row)).then(|| row.clone()));
        columns.extend((!columns.contains(&column)).then(|| column.clone()));
    }
    let named = |names: &[String]| names.iter().any(|name| !name.is_empty());
    let head = |scope: &str, name: &str| format!("<th scope=\"{scope}\">{}</th>", text(name));
    let line = |row: &String| {
        let cell = |column: &String| {
            let group = groups.iter().find(|group| place(group) == (row.clone(), column.clone()));
            let bars = group.map(|group| cell(figures, group, last));
            let (class, bars) = bars.map_or((" class=\"none\"", "–".to_owned()), |bars| ("", bars));
            format!("<td{class} data-column=\"{}\">{bars}</td>", text(column))
        };
        let name = if named(&rows) { head("row", row) } else { String::new() };
        format!("<tr>{name}{}</tr>\n", columns.iter().map(cell).collect::<String>())
    };
    let names: String = columns.iter().map(|column| head("col", column)).collect();
    let corner = if named(&rows) { "<th></th>" } else { "" };
    let names = if named(&columns) { format!("<thead><tr>{corner}{names}</tr></thead>\n") } else { String::new() };
    let samples = figures.rows.iter().find_map(|row| row.samples).map(|samples| format!(", n = {samples}"));
    format!(
        "<div class=\"card wide\"><table class=\"figures\">\n<caption>{}</caption>\n{names}<tbody>\n{}</tbody></table></div>\n",
        text(&(figures.measure() + &samples.unwrap_or_default())),
        rows.iter().map(line).collect::<String>(),
    )
}

/// The bars of a group, the levels to read them against, and what training changed.
fn cell(figures: &Figures, group: &Group<'_>, last: usize) -> String {
    let levels = figures.references_of(group, last);
    let percent = figures.unit == Figures::PERCENT;
    let values = group.rows.iter().map(|row| row.value).chain(levels.iter().map(|level| level.value));
    let most = if percent { 1.0 } else { values.filter(|value| value.is_finite()).fold(0.0, f64::max) };
    let width = |value: f64| match value / most {
        share if share.is_finite() => 100.0 * share.clamp(0.0, 1.0),
        _ => 0.0,
    };
    let unit = |value: f64| if percent && value.is_finite() { " %" } else { "" };
    let rows = group.rows.iter().map(|row| {
        let name = row.cells.get(last).map(ToString::to_string).unwrap_or_default();
        let class = match name.as_str() {
            TRAINED | UNTRAINED => name.as_str(),
            _ => "plain",
        };
        bar(class, &name, width(row.value), &(figures.shown(row) + unit(row.value)))
    });
    let levels = levels.iter().map(|level| {
        let value = figures.digits(level.value) + unit(level.value);
        bar("level", &level.name, width(level.value), &value)
    });
    let bars: String = rows.chain(levels).collect();
    bars + &gain(figures, group, last)
}

/// `class` is HTML.
fn bar(class: &str, name: &str, width: f64, value: &str) -> String {
    format!(
        "<div class=\"bar {class}\"><span>{}</span><i><b style=\"width:{width:.2}%\"></b></i><em>{}</em></div>",
        text(name),
        text(value),
    )
}

/// What training changed, where both are there to be compared.
fn gain(figures: &Figures, group: &Group<'_>, last: usize) -> String {
    let of = |name: &str| {
        let is = |row: &&&Row| row.cells.get(last) == Some(&Cell::from(name));
        group.rows.iter().find(is).map(|row| row.value).filter(|value| value.is_finite())
    };
    let (Some(trained), Some(untrained)) = (of(TRAINED), of(UNTRAINED)) else { return String::new() };
    if figures.dims.get(last).is_none_or(|dim| dim != FEATURES) {
        return String::new();
    }
    let change = trained - untrained;
    let worse = match figures.better {
        Better::Higher => change < 0.0,
        Better::Lower => change > 0.0,
    };
    let points = if figures.unit == Figures::PERCENT { " points" } else { "" };
    format!(
        "<p class=\"gain{}\">{}{}{points} by training</p>",
        if worse { " worse" } else { "" },
        if change < 0.0 { '−' } else { '+' },
        figures.digits(change.abs()),
    )
}

/// A chart for each combination of the leading dimensions, a line for each value of the last but that which lines run along.
fn lines(figures: &Figures, along: usize, title: &str) -> String {
    let mut curves: Vec<Curve> = Vec::new();
    for group in figures.groups(along) {
        let (name, leading) = match group.cells.split_last() {
            Some((name, leading)) => (name.to_string(), leading),
            None => (String::new(), &[][..]),
        };
        let leading: Vec<String> = leading.iter().map(ToString::to_string).collect();
        let title = if leading.is_empty() { title.to_owned() } else { leading.join(", ") };
        let scale = if figures.unit == Figures::PERCENT { 100.0 } else { 1.0 };
        let place = |row: &&Row| match row.cells.get(along) {
            Some(Cell::Number(place)) => (*place, scale * row.value),
            _ => (f64::NAN, scale * row.value),
        };
        let points: Vec<(f64, f64)> = group.rows.iter().map(place).collect();
        let ends = points.iter().map(|(place, _)| *place).filter(|place| place.is_finite());
        let (first, end) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        let levels = figures.references_of(&group, along).into_iter();
        let levels = levels.map(|level| {
            let value = scale * level.value;
            (level.name.clone(), vec![(first, value), (end, value)])
        });
        let at = curves.iter().position(|curve| curve.title == title).unwrap_or_else(|| {
            let along = figures.dims[along].clone();
            curves.push(Curve { title, unit: figures.measure(), along, series: Vec::new(), log_y: false });
            curves.len() - 1
        });
        let series = &mut curves[at].series;
        series.push((name, points));
        for level in levels {
            series.extend((!series.contains(&level)).then_some(level));
        }
    }
    format!("<div class=\"grid charts\">\n{}</div>\n", chart::figures(&curves))
}
