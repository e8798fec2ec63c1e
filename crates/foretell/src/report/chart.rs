//! Curves as inline SVG: axes, grid, legend, and a tooltip on every point that can be reached with a pointer.

use super::html::{Section, text};
use super::ticks;

// One user unit is about one pixel; the page scales the whole.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// Longer series are drawn as the extremes of this many stretches.
const STRETCHES: usize = 150;
/// Points of one series that answer to the pointer.
const TOOLTIPS: usize = 64;
/// Colours of the style sheet.
const COLOURS: usize = 6;

/// One chart: one or several series along one quantity.
#[derive(Clone, Debug)]
pub struct Curve {
    /// "loss".
    pub title: String,
    /// Unit of the values ("bits", "samples/s"), or empty.
    pub unit: String,
    /// What runs from left to right: "step".
    pub along: String,
    /// Name → points (place, value). Points that are not finite interrupt the line.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
    /// Logarithmic value axis; points that are not positive interrupt the line.
    pub log_y: bool,
}

pub(super) fn section(curves: &[Curve]) -> Option<Section> {
    if curves.is_empty() {
        return None;
    }
    Some(Section::new(
        "training",
        "Training",
        "By optimiser step. Where the target moves, the loss by itself is no measure of progress: read it \
         beside the rank and the spread of the features.",
        format!("<div class=\"grid charts\">\n{}</div>\n", figures(curves)),
    ))
}

/// A figure for each curve.
pub(super) fn figures(curves: &[Curve]) -> String {
    curves.iter().map(figure).collect()
}

fn figure(curve: &Curve) -> String {
    let lines: Vec<Line> = curve.series.iter().map(|(_, points)| Line::new(points, curve.log_y)).collect();
    let drawing = match Axes::around(&lines, curve.log_y) {
        Some(axes) => drawing(curve, &lines, &axes),
        None => "<p class=\"empty\">No value can be drawn.</p>\n".to_owned(),
    };
    let unit = match (curve.unit.as_str(), curve.log_y) {
        ("", false) => String::new(),
        ("", true) => " <small>log scale</small>".to_owned(),
        (unit, false) => format!(" <small>{}</small>", text(unit)),
        (unit, true) => format!(" <small>{}, log scale</small>", text(unit)),
    };
    let skipped: usize = lines.iter().map(|line| line.skipped).sum();
    let note = match (skipped, curve.log_y) {
        (0, _) => String::new(),
        (n, false) => format!("<p class=\"note\">Not drawn: {n} not finite.</p>\n"),
        (n, true) => format!("<p class=\"note\">Not drawn: {n} not finite or not positive.</p>\n"),
    };
    format!(
        "<figure class=\"card\">\n<figcaption><h3>{}{unit}</h3>{}</figcaption>\n{drawing}{note}</figure>\n",
        text(&curve.title),
        legend(curve, &lines),
    )
}

/// Each series' last value; its name too where there are several.
fn legend(curve: &Curve, lines: &[Line]) -> String {
    let entries: Vec<_> = curve
        .series
        .iter()
        .zip(lines)
        .enumerate()
        .filter_map(|(i, ((name, _), line))| {
            let last = ticks::value(line.last()?);
            Some(if lines.len() == 1 {
                format!("<span><b>{last}</b></span>")
            } else {
                format!("<span class=\"key {}\"><u>{}</u> <b>{last}</b></span>", colour(i), text(name))
            })
        })
        .collect();
    format!("<p class=\"legend\">{}</p>", entries.concat())
}

fn drawing(curve: &Curve, lines: &[Line], axes: &Axes) -> String {
    let series: Vec<_> = curve
        .series
        .iter()
        .zip(lines)
        .enumerate()
        .map(|(i, ((name, _), line))| {
            format!(
                "<g class=\"{}\"><path class=\"line\" d=\"{}\"/>{}</g>\n",
                colour(i),
                line.path(axes),
                line.tooltips(axes, &curve.along, if lines.len() == 1 { "" } else { name }),
            )
        })
        .collect();
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} by {}\">\n{}{}</svg>\n",
        text(&curve.title),
        text(&curve.along),
        axes.svg(&curve.along),
        series.concat(),
    )
}

fn colour(series: usize) -> String {
    format!("c{}", series % COLOURS + 1)
}

/// The stretches of a series that can be drawn.
struct Line {
    pieces: Vec<Vec<(f64, f64)>>,
    skipped: usize,
}

impl Line {
    fn new(points: &[(f64, f64)], log: bool) -> Self {
        let mut line = Self { pieces: vec![Vec::new()], skipped: 0 };
        for &(step, value) in points {
            // Differences of such numbers are finite too.
            let drawable = step.abs() < 1e100 && value.abs() < 1e100 && (!log || value > 1e-100);
            match line.pieces.last_mut() {
                Some(piece) if drawable => piece.push((step, value)),
                _ => {
                    line.skipped += 1;
                    line.pieces.push(Vec::new());
                }
            }
        }
        line.pieces.retain(|piece| !piece.is_empty());
        let drawn: usize = line.pieces.iter().map(Vec::len).sum();
        let stretch = drawn.div_ceil(STRETCHES);
        if stretch > 2 {
            for piece in &mut line.pieces {
                *piece = extremes(piece, stretch);
            }
        }
        line
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.pieces.iter().flatten().copied()
    }

    fn last(&self) -> Option<f64> {
        Some(self.pieces.last()?.last()?.1)
    }

    fn path(&self, axes: &Axes) -> String {
        let strokes: Vec<_> = self
            .pieces
            .iter()
            .map(|piece| {
                let corners: Vec<_> = piece
                    .iter()
                    .enumerate()
                    .map(|(i, point)| {
                        let (x, y) = axes.place(*point);
                        // Without a length, a lone point's round cap is not drawn.
                        let tail = if piece.len() == 1 { "h.01" } else { "" };
                        format!("{}{x:.1} {y:.1}{tail}", if i == 0 { 'M' } else { 'L' })
                    })
                    .collect();
                corners.concat()
            })
            .collect();
        strokes.concat()
    }

    fn tooltips(&self, axes: &Axes, along: &str, name: &str) -> String {
        let points: Vec<_> = self.points().collect();
        let stride = points.len().div_ceil(TOOLTIPS).max(1);
        // Counted from the end, so that the last value always answers.
        let dots: Vec<_> = points
            .iter()
            .rev()
            .step_by(stride)
            .map(|&point| {
                let (x, y) = axes.place(point);
                let name = if name.is_empty() { String::new() } else { format!("{}, ", text(name)) };
                format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{name}{} {}: {}</title></circle>",
                    text(along),
                    step_name(point.0),
                    ticks::value(point.1),
                )
            })
            .collect();
        dots.concat()
    }
}

fn step_name(step: f64) -> String {
    if step.fract() == 0.0 && step.abs() < 1e15 { format!("{step:.0}") } else { ticks::value(step) }
}

/// The least and the greatest point of each stretch of `length` points, in their order, and the very last point.
fn extremes(points: &[(f64, f64)], length: usize) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for stretch in points.chunks(length) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        if let (Some(least), Some(most)) = (stretch.iter().min_by(by_value), stretch.iter().max_by(by_value)) {
            let (first, second) = if least.0 <= most.0 { (least, most) } else { (most, least) };
            kept.push(*first);
            if first != second {
                kept.push(*second);
            }
        }
    }
    if let Some(last) = points.last().filter(|last| kept.last() != Some(last)) {
        kept.push(*last);
    }
    kept
}

/// The ranges of both axes.
struct Axes {
    steps: (f64, f64),
    values: (f64, f64),
    log: bool,
}

impl Axes {
    /// Ranges that hold every point with some air above and below; `None` without points.
    fn around(lines: &[Line], log: bool) -> Option<Self> {
        let range = |numbers: &mut dyn Iterator<Item = f64>| {
            numbers.fold(None, |range: Option<(f64, f64)>, x| {
                Some(range.map_or((x, x), |(lo, hi)| (lo.min(x), hi.max(x))))
            })
        };
        let steps = range(&mut lines.iter().flat_map(Line::points).map(|point| point.0))?;
        let (lo, hi) = range(&mut lines.iter().flat_map(Line::points).map(|point| point.1))?;
        let values = if log {
            let air = (hi / lo).powf(0.05).max(1.05);
            (lo / air, hi * air)
        } else if hi - lo <= 1e-9 * hi.abs().max(lo.abs()) {
            let air = if hi == 0.0 { 1.0 } else { 0.1 * hi.abs() };
            (lo - air, hi + air)
        } else {
            // A quantity that is nearly zero at one end of its range is shown from zero.
            let air = 0.06 * (hi - lo);
            let floor = if (0.0..=0.2 * hi).contains(&lo) { 0.0 } else { lo - air };
            (floor, hi + air)
        };
        let steps = if steps.1 > steps.0 {
            steps
        } else {
            let air = (1e-3 * steps.0.abs()).max(1.0);
            (steps.0 - air, steps.0 + air)
        };
        Some(Self { steps, values, log })
    }

    fn place(&self, (step, value): (f64, f64)) -> (f64, f64) {
        let share = |x: f64, (lo, hi): (f64, f64)| ((x - lo) / (hi - lo)).clamp(0.0, 1.0);
        let height = if self.log {
            share(value.ln(), (self.values.0.ln(), self.values.1.ln()))
        } else {
            share(value, self.values)
        };
        let x = LEFT + share(step, self.steps) * (WIDTH - LEFT - RIGHT);
        let y = HEIGHT - BOTTOM - height * (HEIGHT - TOP - BOTTOM);
        (x, y)
    }

    fn svg(&self, along: &str) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut parts = Vec::new();
        for (value, label) in self.value_ticks() {
            let (_, y) = self.place((self.steps.0, value));
            parts.push(format!(
                "<path class=\"rule\" d=\"M{LEFT} {y:.1}H{right}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>\n",
                LEFT - 7.0,
                y + 3.5,
            ));
        }
        let (steps, gap) = ticks::linear(self.steps.0, self.steps.1, 5);
        for step in steps {
            let (x, _) = self.place((step, self.values.0));
            let label = ticks::label(step, gap, self.steps.0.abs().max(self.steps.1.abs()));
            let class = if x > right - 12.0 { "end" } else { "mid" };
            let at = if class == "end" { x.max(right - 2.0) + 4.0 } else { x };
            parts.push(format!(
                "<path class=\"tick\" d=\"M{x:.1} {bottom}v4\"/><text class=\"{class}\" x=\"{at:.1}\" y=\"{:.1}\">{label}</text>\n",
                HEIGHT - 7.0,
            ));
        }
        parts.push(format!(
            "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            LEFT - 7.0,
            HEIGHT - 7.0,
            text(along),
        ));
        parts.concat()
    }

    fn value_ticks(&self) -> Vec<(f64, String)> {
        let (lo, hi) = self.values;
        if self.log {
            let name = |tick: f64| (tick, ticks::label(tick, ticks::last_digit(tick), tick));
            return ticks::logarithmic(lo, hi, 5).into_iter().map(name).collect();
        }
        let (marks, gap) = ticks::linear(lo, hi, 5);
        let largest = lo.abs().max(hi.abs());
        marks.into_iter().map(|tick| (tick, ticks::label(tick, gap, largest))).collect()
    }
}
