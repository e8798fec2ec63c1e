//! Windows cut from recordings: none across a gap, and what each is labelled by.

use std::collections::BTreeMap;

use crate::DataError;
use crate::eeg::config::EegConfig;
use crate::eeg::found::{Found, captured, regex};
use crate::eeg::recording::Event;
use crate::images::labels::{Factor, by_text};

/// Classes that annotations may have: more are no classes but remarks.
const CLASSES: usize = 64;
/// The class of windows in whose middle nothing was noted.
pub(crate) const NOTHING: &str = "none";

/// One window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) recording: u32,
    pub(crate) segment: u32,
    /// Seconds after the segment's beginning.
    pub(crate) start: f64,
}

/// All windows, recording by recording.
pub(crate) fn places(found: &[Found], config: &EegConfig) -> Vec<Place> {
    let (length, stride) = (config.seconds, config.stride());
    let mut places = Vec::new();
    for (recording, Found { recording: there, .. }) in found.iter().enumerate() {
        for (segment, part) in there.segments.iter().enumerate() {
            if part.seconds + 1e-9 < length {
                continue;
            }
            let count = ((part.seconds - length) / stride + 1e-9).floor() as usize + 1;
            let place =
                |i: usize| Place { recording: recording as u32, segment: segment as u32, start: i as f64 * stride };
            places.extend((0..count).map(place));
        }
    }
    places
}

/// What windows are labelled by, and each one's label; none where nothing tells.
pub(crate) fn labels(
    found: &[Found],
    places: &[Place],
    config: &EegConfig,
    notes: &mut Vec<String>,
) -> Result<Option<(Factor, Vec<u32>)>, DataError> {
    let texts: Vec<String> = match config.label.as_str() {
        "none" => return Ok(None),
        asked @ ("auto" | "annotations") => {
            let texts: Vec<String> = places.iter().map(|place| noted(found, place, config.seconds)).collect();
            let mut counts = BTreeMap::new();
            for text in &texts {
                *counts.entry(text).or_insert(0_usize) += 1;
            }
            let covered = texts.len() - counts.get(&NOTHING.to_owned()).copied().unwrap_or(0);
            let fits = (2..=CLASSES).contains(&counts.len());
            if asked == "auto" && !(fits && 2 * covered >= texts.len()) {
                if covered > 0 {
                    notes.push(format!(
                        "{covered} of {} windows have an annotation that lasts in their middle, of {} kinds: to use them as labels, set `data.label` to `annotations`",
                        texts.len(),
                        counts.len()
                    ));
                }
                return Ok(None);
            }
            if !fits {
                return Err(DataError::BadSetting {
                    name: "data.label".into(),
                    expected: "annotations of 2 to 64 kinds that last beyond the middle of a window",
                    found: format!("{} kinds, `{NOTHING}` among them", counts.len()),
                });
            }
            texts
        }
        pattern => {
            let pattern = regex("data.label", pattern)?;
            let of = |found: &Found| {
                captured(&pattern, &found.name).ok_or_else(|| DataError::BadSetting {
                    name: "data.label".into(),
                    expected: "`auto`, `none`, `annotations`, or a pattern that each recording's path holds",
                    found: format!("`{}`, which `{}` does not hold", pattern.as_str(), found.name),
                })
            };
            let names = found.iter().map(of).collect::<Result<Vec<String>, _>>()?;
            places.iter().map(|place| names[place.recording as usize].clone()).collect()
        }
    };
    let (factor, labels) = by_text(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(Some((factor, labels)))
}

/// The annotation that lasts in a window's middle; of several the one that began last.
fn noted(found: &[Found], place: &Place, seconds: f64) -> String {
    let recording = &found[place.recording as usize].recording;
    let middle = recording.segments[place.segment as usize].start + place.start + seconds / 2.0;
    let lasts = |event: &&Event| event.onset <= middle && middle < event.onset + event.seconds;
    recording.events.iter().rfind(lasts).map_or_else(|| NOTHING.to_owned(), |event| event.text.clone())
}
