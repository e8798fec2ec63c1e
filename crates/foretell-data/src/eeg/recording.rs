//! A recording, whatever its format: signals with their own units and rates, stretches without a gap, what was noted on the way.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::eeg::montage::{Named, named};
use crate::eeg::units::Volts;
use crate::eeg::{brainvision, edf};
use crate::kind::{self, HEAD};

/// One signal of a recording.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signal {
    /// As the file has it.
    pub(crate) label: String,
    /// What it names.
    pub(crate) named: Named,
    /// As the file has it.
    pub(crate) unit: String,
    /// Samples in a second.
    pub(crate) rate: f64,
    /// A stored number times this, and the offset added, is in the signal's own unit.
    pub(crate) scale: f64,
    /// See [`scale`](Self::scale).
    pub(crate) offset: f64,
    /// Why its numbers mean nothing, if so.
    pub(crate) fault: Option<String>,
}

impl Signal {
    pub(crate) fn new(label: String, unit: String, rate: f64, (scale, offset): (f64, f64)) -> Self {
        let label = shown_text(&label);
        Self { named: named(&label), label, unit: shown_text(&unit), rate, scale, offset, fault: None }
    }

    /// Its unit of voltage, `None` where the file names none; an error if it is another one.
    pub(crate) fn volts(&self) -> Result<Option<Volts>, ()> {
        Volts::of(&self.unit)
    }
}

/// A stretch without a gap.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    /// Seconds after the recording began.
    pub(crate) start: f64,
    /// How long it is.
    pub(crate) seconds: f64,
    /// Records or samples of the file.
    pub(crate) range: Range<u64>,
}

/// What was noted during a recording.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// Seconds after the recording began.
    pub(crate) onset: f64,
    /// Seconds that it lasts; 0 for a moment.
    pub(crate) seconds: f64,
    /// In words.
    pub(crate) text: String,
}

/// How samples lie in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Storage {
    /// Records of all signals, one signal behind the other.
    Records(edf::Records),
    /// Samples of all channels, together or channel by channel.
    Samples(brainvision::Samples),
}

/// One recording, of which the head is in memory and the samples are read when they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recording {
    /// The file that people name.
    pub(crate) path: PathBuf,
    /// The file in which the samples lie.
    pub(crate) samples: PathBuf,
    /// `EDF+ (with gaps)`.
    pub(crate) form: String,
    /// A patient's code, where the file has one.
    pub(crate) code: Option<String>,
    /// All signals but annotations and triggers.
    pub(crate) signals: Vec<Signal>,
    /// In their order.
    pub(crate) segments: Vec<Segment>,
    /// In their order.
    pub(crate) events: Vec<Event>,
    pub(crate) storage: Storage,
    /// What else to know.
    pub(crate) notes: Vec<String>,
    /// Changes with the heads of the files and their lengths.
    pub(crate) mark: u64,
}

/// An error that names a recording.
pub(crate) fn bad(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::BadRecording { name: path.display().to_string(), reason: shown_text(&reason.into()) }
}

/// Text of a file as people can be shown it, on one line: what controls a terminal is replaced.
pub(crate) fn shown_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Whether a file begins as one of the formats does.
pub(crate) fn is_recording(path: &Path) -> bool {
    first_bytes(path).is_ok_and(|head| edf::begins(&head) || brainvision::begins(&head))
}

fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::new();
    if path.is_file() {
        File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    }
    Ok(head)
}

/// What other programs keep EEG in, by the end of the name.
const OTHERS: [(&str, &str); 8] = [
    ("set", "an EEGLAB file"),
    ("fdt", "the samples of an EEGLAB file"),
    ("fif", "a FIF file"),
    ("gdf", "a GDF file"),
    ("cnt", "a CNT file"),
    ("mff", "an EGI recording"),
    ("nwb", "an NWB file"),
    ("mefd", "a MEF recording"),
];

/// Reads the head of a recording.
pub(crate) fn open(path: &Path) -> Result<Recording, DataError> {
    let ends = path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    // The companions of a BrainVision header stand for it.
    let header = path.with_extension("vhdr");
    if matches!(ends.as_str(), "eeg" | "vmrk" | "dat") && header.is_file() {
        return brainvision::open(&header);
    }
    let head = first_bytes(path).map_err(|source| DataError::reading(path, source))?;
    if edf::begins(&head) {
        return edf::open(path);
    }
    if brainvision::begins(&head) {
        return brainvision::open(path);
    }
    if !path.exists() {
        return Err(DataError::Missing { path: path.to_owned() });
    }
    if let Some((_, what)) = OTHERS.iter().find(|(end, _)| *end == ends) {
        return Err(DataError::Foreign {
            name: path.display().to_string(),
            kind: format!("{what}, which is not read"),
            next: "write it as EDF: `python -c \"import mne; mne.io.read_raw('FILE').export('recording.edf')\"` (with `mne` and `edfio`)"
                .to_owned(),
        });
    }
    if let Some(error) = kind::foreign(&path.display().to_string(), &head) {
        return Err(error);
    }
    let found = if head.is_empty() { "is empty".to_owned() } else { format!("begins with {}", shown(&head)) };
    Err(bad(
        path,
        format!(
            "it {found}; expected EDF (`0` and seven spaces), BDF (a byte of 255 and `BIOSEMI`) or a BrainVision header (.vhdr)"
        ),
    ))
}

/// The first bytes of a file, as people can read them.
fn shown(head: &[u8]) -> String {
    let text: String = head.iter().take(12).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    format!("`{text}`")
}

impl Recording {
    /// Samples of a signal in a segment.
    pub(crate) fn count(&self, signal: usize, segment: usize) -> u64 {
        let Segment { range, .. } = &self.segments[segment];
        let length = range.end - range.start;
        match &self.storage {
            Storage::Records(records) => length * records.of(signal),
            Storage::Samples(_) => length,
        }
    }

    /// Some samples of each of several signals within a segment, in the signals' own units.
    pub(crate) fn read(
        &self,
        signals: &[usize],
        segment: usize,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<f32>>, DataError> {
        let file = File::open(&self.samples).map_err(|source| DataError::reading(&self.samples, source))?;
        let first = self.segments[segment].range.start;
        let raw = match &self.storage {
            Storage::Records(records) => {
                let each = signals.iter().zip(ranges);
                each.map(|(signal, samples)| records.read(&file, *signal, first, samples.clone())).collect()
            }
            // All channels have one rate, and so one range.
            Storage::Samples(layout) => {
                let range = ranges.first().cloned().unwrap_or(0..0);
                layout.read(&file, signals, first + range.start..first + range.end)
            }
        };
        let raw: Vec<Vec<f64>> = raw.map_err(|source: std::io::Error| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                bad(&self.samples, "it became shorter since it was opened; copy it again")
            }
            _ => DataError::reading(&self.samples, source),
        })?;
        let scaled = |(signal, raw): (&usize, Vec<f64>)| {
            let Signal { scale, offset, label, .. } = &self.signals[*signal];
            let values: Vec<f32> = raw.into_iter().map(|x| (x * scale + offset) as f32).collect();
            if values.iter().all(|x| x.is_finite()) {
                return Ok(values);
            }
            Err(bad(
                &self.path,
                format!(
                    "signal `{label}` holds values that are no numbers (NaN or infinite): cut them away, or leave the signal out"
                ),
            ))
        };
        signals.iter().zip(raw).map(scaled).collect()
    }

    /// How long all segments are together.
    pub(crate) fn seconds(&self) -> f64 {
        self.segments.iter().map(|segment| segment.seconds).sum()
    }
}
