//! Random convolutions beside the probes: who learns features of series has these to beat.

use foretell_data::series::Series;
use foretell_data::{DataError, Modality, OnBadSample, Part, for_each, spread};
use foretell_eval::{Body, Budget, Convolutions, Features, Finding, Probed, probes};

use crate::judges::labelled;
use crate::judging::Judging;
use crate::system::JudgeError;

/// The row's name.
pub(super) const CONVOLUTIONS: &str = "random convolutions";
/// Training series that biases are taken from.
const FITTED: usize = 256;

/// Convolutions, and their features of both parts.
pub(super) struct Bar {
    pub(super) convolutions: Convolutions,
    pub(super) train: Features,
    test: Features,
}

/// `None` where there are no labels or nothing is held out.
pub(super) fn bar(run: &Judging<'_, Series>) -> Result<Option<Bar>, JudgeError> {
    if labelled(run)?.is_none() {
        return Ok(None);
    }
    let data = run.data.as_ref();
    let some: Vec<Vec<f32>> = spread(data.len(Part::Train), FITTED)
        .filter_map(|index| data.load(Part::Train, index).ok())
        .map(|sample| data.baseline(&sample))
        .collect();
    let convolutions = Convolutions::fit(&some, data.config().channels(), run.on.seed);
    let features = |part, limit| -> Result<Features, JudgeError> {
        let (mut rows, mut values) = (0, Vec::new());
        for_each(run.data, part, limit, run.on.threads, OnBadSample::Skip, |_, sample| -> Result<(), DataError> {
            values.extend(convolutions.features(&data.baseline(&sample)));
            rows += 1;
            Ok(())
        })?;
        Ok(Features::new(rows, convolutions.width(), values)?)
    };
    let (train, test) = (features(Part::Train, run.train_samples())?, features(Part::HeldOut, usize::MAX)?);
    Ok(Some(Bar { convolutions, train, test }))
}

/// Adds their rows to the probes.
pub(super) fn beside(run: &Judging<'_, Series>, bar: &Bar, findings: &mut [Finding]) -> Result<(), JudgeError> {
    let Some((_, factors)) = labelled(run)? else { return Ok(()) };
    let Some(finding) = findings.iter_mut().find(|finding| finding.key == "probes") else { return Ok(()) };
    let probed =
        Probed { name: CONVOLUTIONS.to_owned(), train: bar.train.clone().into(), test: bar.test.clone().into() };
    let found = probes(&[probed], factors, &Budget::default())?;
    if let (Body::Figures(figures), Some(found)) = (&mut finding.body, found.as_figures()) {
        for row in &found.rows {
            let last = figures.rows.iter().rposition(|other| other.cells[..2] == row.cells[..2]);
            figures.rows.insert(last.map_or(figures.rows.len(), |last| last + 1), row.clone());
        }
    }
    finding.notes.push(format!(
        "{CONVOLUTIONS}: {} features by kernels that nobody trained, after MiniRocket, read by the same probes",
        bar.convolutions.width()
    ));
    Ok(())
}
