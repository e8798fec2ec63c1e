//! The report of a run over images: its own facts, pictures, and how to go on.

use std::path::Path;

use foretell_eval::{FeatureKind, ProbeKind};
use foretell_nn::Encode;
use foretell_train::RunFolder;

use super::OverImages;
use super::pictures::Pictures;
use crate::Error;
use crate::account::{report_of, write_page};
use crate::recipe::Over;
use crate::report::{ProbeRow, Report};
use crate::session::Session;
use crate::summary::{Found, Summary};

/// Writes `report.html` of a finished run.
pub(crate) fn write_report(
    folder: &RunFolder,
    session: &Session<OverImages>,
    summary: &Summary,
    trained: &dyn Encode,
    untrained: &dyn Encode,
) -> Result<(), Error> {
    let Found::Images { probes: rows, .. } = &summary.found else {
        return Err(Error::Failure("the summary of a run over images is one over a world".to_owned()));
    };
    let pictures = Pictures::take(session, trained, untrained)?;
    let page = Report {
        probes: rows.iter().map(probe).collect(),
        masks: pictures.masks,
        views: pictures.views,
        features: pictures.features,
        neighbours: pictures.neighbours,
        commands: commands(folder),
        ..report_of(folder, session, summary, &short_name(&session.recipe.over))?
    };
    write_page(folder, &page)
}

fn short_name(over: &OverImages) -> String {
    let path = Path::new(&over.data.path);
    path.file_name().map_or(over.source().to_owned(), |name| name.to_string_lossy().into_owned())
}

fn probe(row: &foretell_eval::ProbeRow) -> ProbeRow {
    let features = match row.features {
        FeatureKind::Trained => "trained",
        FeatureKind::Untrained => "untrained",
        FeatureKind::Pixels => "pixels",
    };
    let probe = match row.probe {
        ProbeKind::Knn => "knn",
        ProbeKind::Linear => "linear",
    };
    ProbeRow {
        features: features.to_owned(),
        probe: probe.to_owned(),
        factor: row.factor.clone(),
        accuracy: row.accuracy,
    }
}

fn commands(folder: &RunFolder) -> Vec<(String, String)> {
    let run = folder.path().display();
    let entry = |label: &str, command: String| (label.to_owned(), command);
    vec![
        entry("Features of any images", format!("foretell embed {run} IMAGES --out features.npz")),
        entry("Judge on other labels", format!("foretell probe {run} --data LABELLED")),
        entry("What this run holds", format!("foretell inspect {run}")),
        entry("The same run again", format!("foretell train {run}/config.toml")),
    ]
}
