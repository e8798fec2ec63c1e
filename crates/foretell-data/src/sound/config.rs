//! `[data]` of a recipe over sound.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::mel::MelConfig;
use super::spectrogram::ShortSounds;
use super::tones::TonesConfig;
use crate::images::depth::FULL;
use crate::images::keys;
use crate::images::recognise::{Extent, Reading};
use crate::images::split::Folders;
use crate::modality::OnBadSample;
use crate::{Auto, DataError, decimal};

/// Which channel of a recording of several is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelTaken {
    /// Their mean.
    #[default]
    Mean,
    /// The first (left).
    First,
    /// The second (right).
    Second,
}

impl fmt::Display for ChannelTaken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Mean => "the mean of its channels",
            Self::First => "its first channel",
            Self::Second => "its second channel",
        })
    }
}

/// Mean and deviation of the spectrograms of the training part, one number each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// In the preset's units.
    #[serde(serialize_with = "decimal::one")]
    pub mean: f32,
    /// In the preset's units.
    #[serde(serialize_with = "decimal::one")]
    pub std: f32,
}

/// Where recordings come from and how spectrograms are made of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoundConfig {
    /// A folder or a tar of recordings, a list of them (`path label` in each line) or one file; empty for the built-in generated sounds.
    pub path: String,
    /// What the folders of recordings mean.
    pub folders: Folders,
    /// The column of a table beside the recordings (`metadata.csv`) that gives the labels; `none` for no labels.
    pub label: String,
    /// How file names tell labels, such as `{digit}_{speaker}_{take}`: each name in braces is a set of labels, `{}` is anything.
    pub pattern: String,
    /// The name in the pattern by which the two parts are told apart: all recordings of one speaker, say, stand on one side. It is no
    /// set of labels then.
    pub apart: String,
    /// What is held out of it, such as `["theo"]`; where none is given, one in ten by a hash, at least one.
    pub held_out: Vec<String>,
    /// A regular expression with one part in parentheses, which tells from a recording's name whom or what it belongs to: all of a group
    /// are held out, or none of it.
    pub group: String,
    /// Samples a second to which recordings are brought.
    pub rate: Auto<u32>,
    /// Which channel is heard.
    pub channel: ChannelTaken,
    /// How spectrograms are made.
    pub mel: MelConfig,
    /// T: moments of a sample, each `mel.hop` samples long. Of longer recordings training takes any part, evaluation the middle.
    pub frames: Auto<usize>,
    /// What becomes of shorter ones.
    pub short: ShortSounds,
    /// What to do with a recording that cannot be read.
    pub on_bad_sample: OnBadSample,
    /// Spectrograms of training recordings are kept in memory up to so many MB (2²⁰ bytes).
    pub cache_mb: usize,
    /// The generated sounds, where the path is empty.
    pub tones: TonesConfig,
    /// Of the training part; measured where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Of the data set when the run began, so that a resumed run notices another; empty until taken.
    pub fingerprint: String,
}

impl Default for SoundConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            folders: Folders::Auto,
            label: String::new(),
            pattern: String::new(),
            apart: String::new(),
            held_out: Vec::new(),
            group: String::new(),
            rate: Auto::Auto,
            channel: ChannelTaken::Mean,
            mel: MelConfig::default(),
            frames: Auto::Auto,
            short: ShortSounds::Silence,
            on_bad_sample: OnBadSample::Fail,
            cache_mb: 1024,
            tones: TonesConfig::default(),
            level: None,
            fingerprint: String::new(),
        }
    }
}

/// Longer samples are no samples: five minutes at 10 ms.
const MOST_FRAMES: usize = 30_000;
const RATES: std::ops::RangeInclusive<u32> = 1_000..=384_000;

impl SoundConfig {
    /// How data are opened.
    pub(super) fn reading(&self, extent: Extent) -> Reading<'_> {
        Reading {
            extent,
            folders: self.folders,
            member: keys::AUTO,
            range: FULL,
            label: &self.label,
            group: &self.group,
        }
    }

    /// Refuses what cannot be, as far as it is known.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let refuse = |name: &'static str, expected: &'static str, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        match (self.rate, self.frames) {
            (Auto::Value(rate), _) if !RATES.contains(&rate) => {
                refuse("data.rate", "from 1000 to 384000 Hz", rate.to_string())
            }
            (_, Auto::Value(frames)) if !(1..=MOST_FRAMES).contains(&frames) => {
                refuse("data.frames", "from 1 to 30000", frames.to_string())
            }
            _ if self.apart.is_empty() && !self.held_out.is_empty() => refuse(
                "data.held_out",
                "left out where `data.apart` names nothing that could be held out",
                format!("{:?}", self.held_out),
            ),
            _ if !self.apart.is_empty() && !self.group.is_empty() => refuse(
                "data.group",
                "left out where `data.apart` says how the parts are told apart",
                self.group.clone(),
            ),
            _ => Ok(()),
        }
    }

    /// Bands and moments of a sample, of a resolved config.
    pub fn form(&self) -> Result<(usize, usize), DataError> {
        let Auto::Value(frames) = self.frames else {
            return Err(DataError::BadSetting {
                name: "data.frames".into(),
                expected: "a number in the config of a run",
                found: "auto".to_owned(),
            });
        };
        Ok((self.mel.bands, frames))
    }
}
