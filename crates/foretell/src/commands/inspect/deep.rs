//! What of a data set cannot be read: `--deep` finds it before a training does.

use std::fmt::Write;
use std::path::Path;

use foretell_data::Clip;
use foretell_nn::weights::are_weights;
use foretell_systems::Member;
use serde_json::json;
use toml::Table;

use super::Account;
use crate::Error;
use crate::progress::Progress;

/// Bad samples that are listed in text; all of them are in the JSON.
const LISTED: usize = 100;

/// What lies at a path, if it is no data set.
pub(super) fn no_data(path: &Path) -> Option<&'static str> {
    let what = [
        ("a run", path.join("config.toml").is_file()),
        ("a checkpoint", path.join("progress.json").is_file()),
        ("weights", are_weights(path)),
        ("a clip", path.is_file() && Clip::is_video(path)),
    ];
    what.into_iter().find_map(|(what, is)| is.then_some(what))
}

/// The account of the data of such settings.
pub(super) fn account(path: &Path, member: &dyn Member, data: Table) -> Result<Account, Error> {
    if let Some(what) = no_data(path) {
        return Err(Error::Misuse(format!(
            "`--deep` reads the samples of a data set, and {} is {what}: leave `--deep` out",
            path.display()
        )));
    }
    let unit = member.unit();
    let mut progress: Option<Progress> = None;
    let whole = member.read_all(data, &mut |done, all| {
        let progress = progress.get_or_insert_with(|| Progress::new(all as u64, unit.one, unit.many));
        progress.at(done as u64, || "read".to_owned());
    })?;
    let bad = &whole.unreadable;
    let mut text = match bad.len() {
        0 => format!("{} read, all of them can be used\n", unit.counted(whole.samples)),
        count => format!("{} read, {count} of them cannot be used\n", unit.counted(whole.samples)),
    };
    for sample in bad.iter().take(LISTED) {
        let _ = writeln!(text, "  {}: {}", sample.name, sample.error);
    }
    if bad.len() > LISTED {
        let _ = writeln!(text, "  and {} more (`--json` lists all)", bad.len() - LISTED);
    }
    let listed: Vec<_> = bad
        .iter()
        .map(|sample| json!({ "name": sample.name, "part": sample.part, "reason": sample.error.to_string() }))
        .collect();
    let fault = (!bad.is_empty()).then(|| {
        format!(
            "{} of {} in {} cannot be read: replace or remove them, or train with `--on-bad-sample skip`",
            bad.len(),
            unit.counted(whole.samples),
            path.display()
        )
    });
    Ok(Account { text, json: json!({ "kind": "data", "samples": whole.samples, "unreadable": listed }), fault })
}
