//! What a video clip holds.

use std::fmt::Write;
use std::path::Path;

use foretell_data::Clip;
use serde_json::json;

use super::Account;
use crate::Error;

/// The account of a clip.
pub(super) fn account(path: &Path) -> Result<Account, Error> {
    let clip = Clip::open(path)?;
    let (format, frames, width, height) = (clip.format(), clip.frames(), clip.width(), clip.height());
    let mut text =
        format!("clip      {}\nformat    {format}\nframes    {frames} of {width} × {height}\n", path.display());
    let times = clip.times();
    if let Some(last) = times.and_then(<[f64]>::last) {
        let _ = writeln!(text, "last at   {last} s");
    }
    for note in clip.notes() {
        let _ = writeln!(text, "note      {note}");
    }
    let notes = clip.notes();
    let json = json!({ "kind": "clip", "format": format, "frames": frames, "width": width, "height": height, "times": times, "notes": notes });
    Ok(Account::of(text, json))
}
