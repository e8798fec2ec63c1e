//! I-JEPA (Assran et al., 2023, arXiv 2301.08243): from one context block of an image, predict the teacher's features of
//! several target blocks. No view augmentation but a crop.
//!
//! The composition is [`Masked`](foretell_jepa::masked::Masked); the settings are those of [`ImageModel`], the defaults ours. The released
//! code's are `masks.kind = "official"`, `target_transform = "layer-norm"`, `sigreg = 0` and
//! `ema.schedule = { kind = "ramp", start = 0.996 }`.

use foretell_data::{Decision, Images, ImagesConfig};
use foretell_eval::Finding;
use foretell_train::Learner;

use crate::image_model::{ImageModel, Kind};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 2,
    name: "i-jepa",
    title: "I-JEPA",
    one_line: "image blocks predicted from one context block",
    papers: &["arXiv:2301.08243"],
    state: State::Trains,
};

/// Settings of I-JEPA.
pub type IJepaConfig = ImageModel;

impl System for ImageModel {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ImagesConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (objective, networks) = self.made(on, &Kind::default(), decisions)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::dense(run)?);
        findings.extend(self.masks(run, &Kind::default())?);
        findings.push(judges::lidar(run)?);
        Ok(findings)
    }
}
