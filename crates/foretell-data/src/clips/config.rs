//! `[data]` of a recipe over clips.

use serde::{Deserialize, Serialize};

use crate::clips::moving::MovingConfig;
use crate::images::split::Folders;
use crate::modality::OnBadSample;
use crate::normalise::Normalise;
use crate::{Auto, DataError};

/// What becomes of a clip that is shorter than a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShortClips {
    /// Its last frame is repeated until the window is full.
    #[default]
    Repeat,
    /// It is left out.
    LeaveOut,
}

/// Where clips come from and how windows are cut out of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipsConfig {
    /// A folder of videos or of folders of frames, or a list of them (`path label` in each line); empty for the built-in moving
    /// scenes.
    pub path: String,
    /// What the folders of clips mean.
    pub folders: Folders,
    /// A regular expression with one part in parentheses, which tells from a clip's name whom or what it belongs to: all of a group are
    /// held out, or none of it. Without one each clip is a group of its own.
    pub group: String,
    /// T: frames of a sample.
    pub frames: usize,
    /// S: side to which frames are brought, in pixels.
    pub image_size: Auto<usize>,
    /// Frames of a sample in a second of the clip. This and `seconds` say the same: one of them is given, or none.
    pub fps: Auto<f64>,
    /// Seconds of a clip that a sample covers: `frames / fps`.
    pub seconds: Auto<f64>,
    /// Frames in a second of clips that say nothing of their time: folders of frames and arrays.
    pub assumed_fps: f64,
    /// Windows of each clip, each a sample: spread evenly, the last one ends at the clip's last frame. As many as lie in the clip one
    /// behind the other where it is 0.
    pub windows: usize,
    /// What becomes of clips that are shorter than a window.
    pub short: ShortClips,
    /// What to do with a clip that cannot be read.
    pub on_bad_sample: OnBadSample,
    /// Decoded windows are kept in memory up to so many MB (2²⁰ bytes).
    pub cache_mb: usize,
    /// Files and decoders that are open at once.
    pub open_files: usize,
    /// The moving scenes, where the path is empty.
    pub scenes: MovingConfig,
    /// Mean and standard deviation of the training part; empty until measured.
    pub normalise: Normalise,
    /// Of the data set when the run began, so that a resumed run notices another; empty until taken.
    pub fingerprint: String,
}

impl Default for ClipsConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            folders: Folders::Auto,
            group: String::new(),
            frames: 16,
            image_size: Auto::Auto,
            fps: Auto::Auto,
            seconds: Auto::Auto,
            assumed_fps: 30.0,
            windows: 0,
            short: ShortClips::Repeat,
            on_bad_sample: OnBadSample::Fail,
            cache_mb: 1024,
            open_files: 16,
            scenes: MovingConfig::default(),
            normalise: Normalise { mean: Vec::new(), std: Vec::new() },
            fingerprint: String::new(),
        }
    }
}

impl ClipsConfig {
    /// T frames of S × S pixels and C channels, of a resolved config.
    pub fn form(&self) -> Result<(usize, usize, usize), DataError> {
        let Auto::Value(size) = self.image_size else {
            return Err(DataError::BadSetting {
                name: "data.image_size".into(),
                expected: "a number in the config of a run",
                found: "auto".to_owned(),
            });
        };
        self.check_frames()?;
        self.normalise.check()?;
        Ok((self.frames, size, self.normalise.mean.len()))
    }

    pub(super) fn check_frames(&self) -> Result<(), DataError> {
        let found = || self.frames.to_string();
        if (1..=MOST_FRAMES).contains(&self.frames) {
            return Ok(());
        }
        Err(DataError::BadSetting { name: "data.frames".into(), expected: "1 to 1024 frames", found: found() })
    }
}

/// Longer samples are no clips.
const MOST_FRAMES: usize = 1024;
