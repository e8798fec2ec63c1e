//! `[data]` of a recipe over EEG.

use serde::{Deserialize, Serialize};

use crate::eeg::heads::HeadsConfig;
use crate::eeg::montage;
use crate::eeg::units::Volts;
use crate::modality::OnBadSample;
use crate::{Auto, DataError};

/// Where recordings come from and how they are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EegConfig {
    /// A recording or a folder of them; empty for the built-in generated ones.
    pub path: String,
    /// Length of a window.
    pub seconds: f64,
    /// From the beginning of a window to that of the next; 0: one follows the other.
    pub step: f64,
    /// Samples in a second, to which all signals are brought.
    pub rate: usize,
    /// Lowest and highest frequency that is left, in Hz; a lowest of 0 takes out nothing slow.
    pub band: (f64, f64),
    /// The electrodes, by their names in the 10–10 system; empty until read: those that all recordings have.
    pub channels: Vec<String>,
    /// The unit of all signals, whatever their files say; `auto`: each signal's own, and where a file names none the one that fits a head.
    pub unit: Auto<Volts>,
    /// `auto`, or a pattern: the part of a recording's path that names its subject.
    pub group: String,
    /// What windows are labelled by: `auto`, `none`, `annotations`, or a pattern: the part of a recording's path that names its class.
    pub label: String,
    /// µV that count as 1, the usual deviation of a channel in the training part; 0 until measured.
    pub scale: f64,
    /// What becomes of a window that cannot be read.
    pub on_bad_sample: OnBadSample,
    /// The generated recordings.
    pub heads: HeadsConfig,
    /// Of the recordings and their split when the run began, so that a resumed run notices others; empty until taken.
    pub fingerprint: String,
}

impl Default for EegConfig {
    /// The paper's rate and band; its windows are of 1, 4 and 16 seconds.
    fn default() -> Self {
        Self {
            path: String::new(),
            seconds: 4.0,
            step: 0.0,
            rate: 128,
            band: (0.5, 40.0),
            channels: Vec::new(),
            unit: Auto::Auto,
            group: "auto".to_owned(),
            label: "auto".to_owned(),
            scale: 0.0,
            on_bad_sample: OnBadSample::Fail,
            heads: HeadsConfig::default(),
            fingerprint: String::new(),
        }
    }
}

impl EegConfig {
    /// T: samples of a window.
    pub fn samples(&self) -> usize {
        (self.seconds * self.rate as f64).round() as usize
    }

    /// Where the electrodes lie, on a head of radius 1.
    pub fn places(&self) -> Vec<[f32; 3]> {
        self.channels.iter().map(|name| montage::place(name).unwrap_or([0.0; 3])).collect()
    }

    /// From one window to the next, in seconds.
    pub(crate) fn stride(&self) -> f64 {
        if self.step > 0.0 { self.step } else { self.seconds }
    }

    /// Electrodes by the names of the 10–10 system: T7 for T3.
    pub(crate) fn rename(&mut self) {
        for name in &mut self.channels {
            if let Some(own) = montage::electrode(name) {
                *name = own;
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), DataError> {
        let refuse = |name: &'static str, expected, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if !(self.seconds >= 0.25 && self.seconds <= 600.0) {
            return refuse("data.seconds", "0.25 to 600 seconds", self.seconds.to_string());
        }
        if !(self.step == 0.0 || self.step >= 0.05 && self.step <= 86_400.0) {
            return refuse("data.step", "0 (a window's length) or 0.05 to 86400 seconds", self.step.to_string());
        }
        if !(16..=4_096).contains(&self.rate) {
            return refuse("data.rate", "16 to 4096 samples in a second", self.rate.to_string());
        }
        let (low, high) = self.band;
        if !(low >= 0.0 && high > low && high <= self.rate as f64 / 2.0) {
            return refuse(
                "data.band",
                "two frequencies in Hz, the first below the second and that at most half of `data.rate`",
                format!("{low} and {high}"),
            );
        }
        if let Some(name) = self.channels.iter().find(|name| montage::place(name).is_none()) {
            return refuse("data.channels", "names of the 10–10 system such as Fp1, Cz or PO7", format!("`{name}`"));
        }
        let mut names: Vec<String> = self.channels.iter().filter_map(|name| montage::electrode(name)).collect();
        names.sort();
        if let Some([twice, _]) = names.array_windows().find(|[one, other]| one == other) {
            return refuse("data.channels", "each electrode once (T3 and T7 are the same)", format!("`{twice}` twice"));
        }
        if !(self.scale == 0.0 || self.scale.is_finite() && self.scale > 0.0) {
            return refuse("data.scale", "0 (to be measured) or µV above 0", self.scale.to_string());
        }
        Ok(())
    }
}
