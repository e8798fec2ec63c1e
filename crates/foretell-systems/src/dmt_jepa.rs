//! DMT-JEPA (Mo and Tong, 2024, arXiv 2405.17995): I-JEPA whose targets gather the most similar of their neighbours, and whose context
//! gathers the whole.
//!
//! The composition is [`Masked`](foretell_jepa::masked::Masked); here are the settings. The defaults are ours; the released code's are
//! [`DmtJepaConfig::official`].

use foretell_data::{Decision, Images, ImagesConfig};
use foretell_eval::Finding;
use foretell_jepa::neighbours::{AskedBy, Borders, Nearby};
use foretell_train::Learner;
use serde::{Deserialize, Serialize};

use crate::image_model::{ImageModel, Kind};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 21,
    name: "dmt-jepa",
    title: "DMT-JEPA",
    one_line: "targets aggregated from similar neighbours",
    papers: &["arXiv:2405.17995"],
    state: State::Partial("trains; short runs know less than the untrained network"),
};

/// Settings of DMT-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DmtJepaConfig {
    /// What it shares with I-JEPA.
    #[serde(flatten)]
    pub model: ImageModel,
    /// Whose tokens are gathered into a target.
    pub neighbours: Nearby,
}

impl Default for DmtJepaConfig {
    fn default() -> Self {
        // Gathered targets are more alike than single tokens: with I-JEPA's 0.001 they fall to three dimensions within 300 steps.
        Self { model: ImageModel { sigreg: 0.005, ..ImageModel::default() }, neighbours: Nearby::default() }
    }
}

impl DmtJepaConfig {
    /// The released code's: borders that wrap around, means that ask for other images of the batch, and the rest as the released I-JEPA.
    pub fn official() -> Self {
        let neighbours = Nearby { borders: Borders::Wrapped, query: AskedBy::Mixed, ..Nearby::default() };
        Self { model: ImageModel::official(), neighbours }
    }

    fn kind(&self) -> Kind {
        Kind { neighbours: Some(self.neighbours), ..Kind::default() }
    }
}

impl System for DmtJepaConfig {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ImagesConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(300)
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        if !(1..=8).contains(&self.neighbours.most) {
            return Err(SystemError::Setting(format!(
                "`model.neighbours.most` must be from 1 to 8, as many as lie around a token, found {}",
                self.neighbours.most
            )));
        }
        let kind = self.kind();
        let (objective, networks) = self.model.made(on, &kind, decisions)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::dense(run)?);
        findings.extend(self.model.masks(run, &self.kind())?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
