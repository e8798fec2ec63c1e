//! Foretell as a library: from any member and any settings to a trained run and its features, without a word printed. The
//! commands train and open runs by the same functions.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foretell_eval::{Encoder, Finding};
use foretell_systems::Member;
use foretell_train::{LoopObserver, RunFolder, Silent};
use toml::Table;

use crate::asked::{Asked, Steps};
use crate::findings::RunFindings;
use crate::kept::KeptRun;
use crate::output::word;
use crate::run::{Conduct, start};
use crate::summary::Summary;
use crate::{DeviceChoice, Error};

/// A member of the family, or a recipe file, with `key=value` settings on top: those that `config.toml` of a run lists.
///
/// ```no_run
/// use foretell::Steps;
/// use foretell::eval::Pool;
///
/// # fn main() -> Result<(), foretell::Error> {
/// let run = foretell::open("i-jepa", &["data.path=IMAGES", "model.size=small"])?.train("runs/first", Steps::Minutes(30.0))?;
/// for finding in run.findings() {
///     println!("{finding}");
/// }
/// let encoder = run.encoder()?;
/// let features = encoder.open(&["cats".into()])?.features(0..100, Pool::Sample);
/// # Ok(())
/// # }
/// ```
pub fn open(system: &str, settings: &[&str]) -> Result<Opened<'static>, Error> {
    let asked = Asked::of(system)?;
    Opened::new(asked.member()?, asked, settings)
}

/// The same for a system of one's own: `open_member(&Of::<Mine>::new(), &[…])`.
pub fn open_member<'a>(member: &'a dyn Member, settings: &[&str]) -> Result<Opened<'a>, Error> {
    Opened::new(member, Asked::of(member.row().name)?, settings)
}

/// A run that has not begun.
pub struct Opened<'a> {
    member: &'a dyn Member,
    asked: Asked,
    device: Device,
}

impl<'a> Opened<'a> {
    fn new(member: &'a dyn Member, mut asked: Asked, settings: &[&str]) -> Result<Self, Error> {
        for entry in settings {
            asked.set(entry)?;
        }
        // Wrong settings are refused here, and not when training begins.
        asked.whole(member)?;
        Ok(Self { member, asked, device: DeviceChoice::default().open()? })
    }

    /// Computes there, instead of on the processor.
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// The whole recipe, what is still open in it included.
    pub fn recipe(&self) -> Result<Table, Error> {
        self.asked.whole(self.member)
    }

    /// Trains and evaluates a run in a folder, which must be new or empty.
    pub fn train(self, folder: impl AsRef<Path>, steps: Steps) -> Result<Run<'a>, Error> {
        self.train_watched(folder, steps, &mut Silent)
    }

    /// The same, watched.
    pub fn train_watched(
        mut self,
        folder: impl AsRef<Path>,
        steps: Steps,
        observer: &mut dyn LoopObserver,
    ) -> Result<Run<'a>, Error> {
        self.asked.steps(steps)?;
        let Self { member, asked, device } = self;
        let conduct = Conduct { device: device.clone(), observer, stop: &AtomicBool::new(false) };
        let (folder, _) = start(member, asked.whole(member)?, Some(folder.as_ref().to_owned()), conduct)?;
        Run::of(member, folder.path(), device)
    }
}

/// A finished run.
pub struct Run<'a> {
    member: &'a dyn Member,
    folder: RunFolder,
    device: Device,
    summary: Summary,
    findings: Vec<Finding>,
}

impl Run<'static> {
    /// The finished run of a member of the family in this folder.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let opened = RunFolder::open(folder.as_ref())?;
        let (member, _) = crate::kept::of_run(&opened)?;
        Self::of(member, folder.as_ref(), DeviceChoice::default().open()?)
    }
}

impl<'a> Run<'a> {
    fn of(member: &'a dyn Member, folder: &Path, device: Device) -> Result<Self, Error> {
        let folder = RunFolder::open(folder)?;
        let (Some(summary), Some(found)) = (Summary::read(&folder)?, RunFindings::read(&folder)?) else {
            let run = word(folder.path());
            return Err(Error::Misuse(format!(
                "{run} is not finished: finish it with `foretell train --resume {run}`"
            )));
        };
        Ok(Self { member, folder, device, summary, findings: found.findings })
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `summary.json`.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What was found, with its controls; each prints as a table.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The trained encoder, which opens samples of the kind that the run learnt from and makes features of them.
    pub fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        KeptRun::finished_of(self.member, self.folder.path(), &self.device, false)?.encoder()
    }
}
