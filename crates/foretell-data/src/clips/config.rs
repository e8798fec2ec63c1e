//! `[data]` of a recipe over clips.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::listing::Looking;
use super::moving::MovingConfig;
use super::windows::{Cut, Extent};
use crate::images::depth::FULL;
use crate::images::keys;
use crate::images::recognise::{Extent as Whose, Reading};
use crate::images::split::Folders;
use crate::modality::OnBadSample;
use crate::normalise::Normalise;
use crate::{Auto, DataError, Decision};

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
    /// The column of a table beside the clips (`metadata.csv`) that gives the labels; `none` for no labels.
    pub label: String,
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
            label: String::new(),
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
            open_files: 64,
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
        self.normalise.check()?;
        Ok((self.frames, size, self.normalise.mean.len()))
    }

    /// An error unless every setting is within its range.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let wrong = |name: &'static str, expected, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if !(1..=MOST_FRAMES).contains(&self.frames) {
            return wrong("data.frames", "1 to 1024 frames", self.frames.to_string());
        }
        for (name, setting) in [("data.fps", self.fps), ("data.seconds", self.seconds)] {
            match setting {
                Auto::Value(value) if !(value > 0.0 && value.is_finite()) => {
                    return wrong(name, "a positive number, or \"auto\"", value.to_string());
                }
                _ => {}
            }
        }
        if !(self.assumed_fps > 0.0 && self.assumed_fps.is_finite()) {
            return wrong("data.assumed_fps", "a positive number of frames in a second", self.assumed_fps.to_string());
        }
        if !(1..=1024).contains(&self.open_files) {
            return wrong("data.open_files", "1 to 1024", self.open_files.to_string());
        }
        if self.cache_mb > MOST_CACHE {
            return wrong("data.cache_mb", "at most 1048576 MB (0 for none)", self.cache_mb.to_string());
        }
        self.check_size()
    }

    pub(super) fn check_size(&self) -> Result<(), DataError> {
        match self.image_size {
            Auto::Value(size) if !(4..=4096).contains(&size) => Err(DataError::BadSetting {
                name: "data.image_size".into(),
                expected: "a side of 4 to 4096 pixels",
                found: size.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// How clips are listed.
    pub(super) fn reading(&self, extent: Whose) -> Reading<'_> {
        let Self { folders, ref label, ref group, .. } = *self;
        Reading { extent, folders, member: keys::AUTO, range: FULL, label, group }
    }

    /// How clips are looked at.
    pub(super) fn looking(&self, threads: usize) -> Result<Looking, DataError> {
        self.check()?;
        Ok(Looking { program: PathBuf::from("ffmpeg"), assumed_fps: self.assumed_fps, threads })
    }

    /// How windows are cut, of a resolved config.
    pub(super) fn cut(&self) -> Option<Cut> {
        let Auto::Value(fps) = self.fps else { return None };
        Some(Cut { frames: self.frames, fps, windows: self.windows, short: self.short })
    }

    /// Chooses frames in a second and seconds of a window, of which one is given or none, by how long clips are.
    pub(super) fn resolve_time(&mut self, seen: &[Extent], decisions: &mut Vec<Decision>) -> Result<Cut, DataError> {
        let frames = self.frames as f64;
        match (self.fps, self.seconds) {
            (Auto::Value(fps), Auto::Value(seconds)) if (fps * seconds / frames - 1.0).abs() > 1e-3 => {
                return Err(DataError::Setting(format!(
                    "`data.fps` is {fps} and `data.seconds` {seconds}, and {} frames at {fps} a second take {} seconds: give one of the two",
                    self.frames,
                    frames / fps
                )));
            }
            (Auto::Value(_), Auto::Value(_)) => {}
            (Auto::Value(fps), Auto::Auto) => {
                let why = || (frames / fps, format!("{} frames, {fps} a second", self.frames));
                self.seconds.resolve("data.seconds", decisions, why);
            }
            (Auto::Auto, Auto::Value(seconds)) => {
                let why = || (frames / seconds, format!("{} frames in {seconds} seconds", self.frames));
                self.fps.resolve("data.fps", decisions, why);
            }
            (Auto::Auto, Auto::Auto) => {
                let median = |of: &dyn Fn(&Extent) -> f64| {
                    let mut all: Vec<f64> = seen.iter().map(of).collect();
                    all.sort_unstable_by(f64::total_cmp);
                    all.get(all.len() / 2).copied().unwrap_or(1.0)
                };
                let (long, own) = (median(&|clip| clip.seconds()), median(&|clip| clip.fps));
                let told = |value: f64| (value * 1e3).round() / 1e3;
                let covered = long.min(USUAL_SECONDS);
                let (fps, why) = if frames / covered > own {
                    (own, format!("clips have so many: every frame of {} in a row is taken", self.frames))
                } else if long < USUAL_SECONDS {
                    (
                        frames / long,
                        format!("{} frames are spread over the median clip of {} seconds", self.frames, told(long)),
                    )
                } else {
                    (frames / covered, format!("{} frames are spread over {USUAL_SECONDS} seconds", self.frames))
                };
                let fps = told(fps).max(1e-3);
                self.fps.resolve("data.fps", decisions, || (fps, why));
                let why = || (frames / fps, format!("{} frames, {fps} a second", self.frames));
                self.seconds.resolve("data.seconds", decisions, why);
            }
        }
        self.cut().ok_or(DataError::NoInputs)
    }
}

/// Longer samples are no clips.
const MOST_FRAMES: usize = 1024;
/// In MB.
const MOST_CACHE: usize = 1 << 20;
/// Seconds that a window usually covers: V-JEPA's 16 frames are every fourth of 30 in a second.
const USUAL_SECONDS: f64 = 2.0;
