//! What a model of a world knows: where things are, what comes next, and how it plans.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::html::{Section, text};
use super::{Curve, Moving, Reading, chart};

pub(super) fn readings(readings: &[Reading]) -> Option<Section> {
    let worst = readings.iter().map(|reading| reading.error).filter(|error| error.is_finite()).fold(0.0, f64::max);
    if readings.is_empty() {
        return None;
    }
    let bars: Vec<_> = readings.iter().map(|reading| bar(reading, worst)).collect();
    Some(Section {
        id: "places",
        title: "Where things are",
        lead: "How far off the state is that a linear map reads from latents of held-out play, on average, in the \
               world's units: less is better. Only the map saw states; the network under it was trained without, or \
               not at all.",
        body: format!("<div class=\"card wide\">{}</div>\n", bars.concat()),
    })
}

fn bar(Reading { features, error }: &Reading, worst: f64) -> String {
    let class = match features.as_str() {
        "trained" => "trained",
        "untrained" => "untrained",
        _ => "plain",
    };
    let (width, value) = if error.is_finite() {
        (100.0 * error / worst.max(f64::MIN_POSITIVE), format!("{error:.2}"))
    } else {
        (0.0, "not finite".to_owned())
    };
    format!(
        "<div class=\"bar {class}\"><span>{}</span><i><b style=\"width:{width:.2}%\"></b></i><em>{value}</em></div>",
        text(features),
    )
}

pub(super) fn forecast(curves: &[Curve]) -> Option<Section> {
    if curves.is_empty() {
        return None;
    }
    Some(Section {
        id: "forecast",
        title: "What comes next",
        lead: "By steps ahead, over held-out episodes: the model is told the actions and sees nothing on the way. Beside it, \
               saying that nothing changes, and saying the mean of all that is ever seen.",
        body: format!("<div class=\"grid charts\">\n{}</div>\n", chart::figures(curves)),
    })
}

pub(super) fn episodes(episodes: &[Moving]) -> Option<Section> {
    let cards: Vec<_> = episodes.iter().filter(|moving| !moving.gif.is_empty()).map(card).collect();
    if cards.is_empty() {
        return None;
    }
    Some(Section {
        id: "episodes",
        title: "Episodes",
        lead: "Held-out starts, goals and layouts, planned in the model's latents. Teal the dot and its way, green the \
               goal, grey where the present plan leads, orange where the model imagines that it leads, read from its \
               latents by a linear map.",
        body: format!("<div class=\"grid films\">\n{}</div>\n", cards.concat()),
    })
}

fn card(Moving { title, note, side, gif }: &Moving) -> String {
    let (title, note) = (text(title), text(note));
    format!(
        "<figure class=\"card\"><img class=\"smooth\" width=\"{side}\" height=\"{side}\" \
         src=\"data:image/gif;base64,{}\" alt=\"{title}\"><figcaption>{title}: {note}</figcaption></figure>\n",
        STANDARD.encode(gif),
    )
}
