//! BrainVision: a header of text (`.vhdr`), markers of text (`.vmrk`) and samples (`.eeg`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::eeg::recording::{Event, Recording, Segment, Signal, Storage, bad, shown_text};
use crate::eeg::units::Volts;
use crate::{DataError, read_exact_at};

/// Longer headers and lists of markers are none.
const MOST: u64 = 1 << 28;
const CHANNELS: usize = 4_096;

/// One number of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Int16,
    Uint16,
    Int32,
    Float32,
}

impl Number {
    fn bytes(self) -> u64 {
        match self {
            Self::Int16 | Self::Uint16 => 2,
            Self::Int32 | Self::Float32 => 4,
        }
    }

    fn read(self, bytes: &[u8], big: bool) -> f64 {
        let mut own = [0; 4];
        for (place, byte) in bytes.iter().take(4).enumerate() {
            own[if big { bytes.len() - 1 - place } else { place }] = *byte;
        }
        match self {
            Self::Int16 => f64::from(i16::from_le_bytes([own[0], own[1]])),
            Self::Uint16 => f64::from(u16::from_le_bytes([own[0], own[1]])),
            Self::Int32 => f64::from(i32::from_le_bytes(own)),
            Self::Float32 => f64::from(f32::from_le_bytes(own)),
        }
    }
}

/// Where samples lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Samples {
    number: Number,
    /// Whether the highest byte comes first.
    big: bool,
    /// In the file, and the place of each channel among them.
    channels: u64,
    /// Of a channel.
    count: u64,
    /// Whether all channels of a moment lie together.
    together: bool,
}

impl Samples {
    /// The same samples of several channels.
    pub(crate) fn read(&self, file: &File, channels: &[usize], samples: Range<u64>) -> io::Result<Vec<Vec<f64>>> {
        let (bytes, moments) = (self.number.bytes(), samples.end - samples.start);
        let block = |place: u64, length: u64| {
            let mut all = vec![0; length as usize];
            read_exact_at(file, &mut all, place)?;
            Ok::<_, io::Error>(all)
        };
        let numbers = |block: &[u8], step: u64, first: u64| -> Vec<f64> {
            let one = |moment: &[u8]| self.number.read(&moment[first as usize..(first + bytes) as usize], self.big);
            block.chunks_exact(step as usize).map(one).collect()
        };
        if self.together {
            let step = self.channels * bytes;
            let all = block(samples.start * step, moments * step)?;
            return Ok(channels.iter().map(|channel| numbers(&all, step, *channel as u64 * bytes)).collect());
        }
        let one = |channel: &usize| {
            let all = block((*channel as u64 * self.count + samples.start) * bytes, moments * bytes)?;
            Ok(numbers(&all, bytes, 0))
        };
        channels.iter().map(one).collect()
    }
}

/// Whether a file begins as a BrainVision header does.
pub(crate) fn begins(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let first: Vec<u8> = head.iter().take(40).map(u8::to_ascii_lowercase).collect();
    first.starts_with(b"brain vision data exchange header") || first.starts_with(b"brainvision data exchange header")
}

/// A file of `[sections]` with `key=value` lines; comments begin with `;`.
struct Text {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    bytes: Vec<u8>,
}

impl Text {
    fn read(path: &Path) -> Result<Self, DataError> {
        let reading = |source| DataError::reading(path, source);
        if fs::metadata(path).map_err(reading)?.len() > MOST {
            return Err(bad(path, "it has more than 256 MiB, which is no text of BrainVision"));
        }
        let bytes = fs::read(path).map_err(reading)?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text.to_owned(),
            // Older recorders write in Windows' letters, above all `µ`.
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        };
        let (mut sections, mut name) = (BTreeMap::<String, BTreeMap<String, String>>::new(), String::new());
        for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name = section.trim().to_ascii_lowercase();
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(';')) {
                let section = sections.entry(name.clone()).or_default();
                // Comments of people may hold anything; the first of two is meant.
                section.entry(key.trim().to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
            }
        }
        Ok(Self { sections, bytes })
    }

    fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(String::as_str)
    }
}

/// The channels' names may hold commas, which are written as `\1`.
fn cells(line: &str) -> Vec<String> {
    line.split(',').map(|cell| cell.trim().replace("\\1", ",")).collect()
}

/// Reads a header and its markers.
pub(crate) fn open(path: &Path) -> Result<Recording, DataError> {
    const COMMON: &str = "common infos";
    let text = Text::read(path)?;
    let wanted = |key: &str| {
        text.get(COMMON, &key.to_ascii_lowercase()).ok_or_else(|| {
            bad(path, format!("its section [Common Infos] has no `{key}`: it is damaged; export it again"))
        })
    };
    if let Some(format) = text.get(COMMON, "dataformat").filter(|format| !format.eq_ignore_ascii_case("binary")) {
        return Err(bad(
            path,
            format!("its samples are written as {format}, and binary ones are read: export it again in binary form"),
        ));
    }
    let name = wanted("DataFile")?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = |name: &str| {
        // A path of the recorder's own machine says no more than its last part.
        let name = name.replace("$b", &stem);
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        path.with_file_name(name)
    };
    let samples = beside(name);
    if !samples.is_file() {
        return Err(bad(
            path,
            format!(
                "its samples should lie in `{}`, and there is no such file: put it beside the header, or correct `DataFile`",
                samples.display()
            ),
        ));
    }
    let count = wanted("NumberOfChannels")?;
    let channels = count
        .parse::<usize>()
        .ok()
        .filter(|count| (1..=CHANNELS).contains(count))
        .ok_or_else(|| bad(path, format!("its `NumberOfChannels` is `{count}`; expected 1 to {CHANNELS}")))?;
    let interval = wanted("SamplingInterval")?;
    let rate =
        interval.replace(',', ".").parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0).map(|micro| 1e6 / micro);
    let Some(rate) = rate else {
        return Err(bad(path, format!("its `SamplingInterval` is `{interval}`; expected microseconds")));
    };
    let together = match text.get(COMMON, "dataorientation").unwrap_or("MULTIPLEXED") {
        word if word.eq_ignore_ascii_case("multiplexed") => true,
        word if word.eq_ignore_ascii_case("vectorized") => false,
        word => {
            return Err(bad(path, format!("its `DataOrientation` is `{word}`; expected MULTIPLEXED or VECTORIZED")));
        }
    };
    if let Some(kind) = text.get(COMMON, "datatype").filter(|kind| !kind.eq_ignore_ascii_case("timedomain")) {
        return Err(bad(path, format!("it holds {kind}, and voltages over time (TIMEDOMAIN) are read")));
    }
    let form = text.get("binary infos", "binaryformat").unwrap_or("INT_16");
    let number = match form.to_ascii_uppercase().as_str() {
        "INT_16" => Number::Int16,
        "UINT_16" => Number::Uint16,
        "INT_32" => Number::Int32,
        "IEEE_FLOAT_32" => Number::Float32,
        _ => {
            return Err(bad(
                path,
                format!("its `BinaryFormat` is `{form}`; expected INT_16, UINT_16, INT_32 or IEEE_FLOAT_32"),
            ));
        }
    };
    let big = text.get("binary infos", "usebigendianorder").is_some_and(|word| word.eq_ignore_ascii_case("yes"));

    let offset = text.get(COMMON, "dataoffset").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    if offset > 0 {
        return Err(bad(
            path,
            format!("its samples begin after {offset} bytes (`DataOffset`), which is not read: export it again"),
        ));
    }
    let length = fs::metadata(&samples).map_err(|source| DataError::reading(&samples, source))?.len();
    let moment = number.bytes() * channels as u64;
    if length == 0 || !length.is_multiple_of(moment) {
        let found = if length == 0 { "it is empty" } else { "it was cut, or the header is another's" };
        return Err(bad(
            &samples,
            format!(
                "it has {length} bytes, and {channels} channels of {} bytes need a multiple of {moment}: {found}",
                number.bytes()
            ),
        ));
    }
    let count = length / moment;
    if let Some(points) =
        text.get(COMMON, "datapoints").and_then(|points| points.parse::<u64>().ok()).filter(|points| *points > count)
    {
        return Err(bad(
            &samples,
            format!("it holds {count} of the {points} points that the header tells of: it was cut; copy it again"),
        ));
    }
    let signals = signals(path, &text, channels, rate)?;
    if text.get("channel infos", &format!("ch{}", channels + 1)).is_some() {
        return Err(bad(
            path,
            format!(
                "its `NumberOfChannels` is {channels}, and it has a line `Ch{}=`: one of both is wrong; export it again",
                channels + 1
            ),
        ));
    }
    let mut hash = Xxh3::new();
    hash.update(&text.bytes);
    hash.update(&length.to_le_bytes());
    let (mut events, mut starts) = (Vec::new(), vec![0]);
    let markers = text.get(COMMON, "markerfile").filter(|name| !name.is_empty()).map(beside);
    let mut notes = Vec::new();
    match markers {
        Some(markers) if markers.is_file() => {
            let text = Text::read(&markers)?;
            hash.update(&text.bytes);
            (events, starts) = noted(&markers, &text, rate, count)?;
        }
        Some(markers) => notes.push(format!(
            "its markers should lie in `{}`, and there is no such file: gaps are not known",
            markers.display()
        )),
        None => {}
    }
    let ends = starts.iter().skip(1).copied().chain([count]);
    let segments = starts.iter().zip(ends).filter(|(start, end)| *start < end).map(|(start, end)| Segment {
        start: *start as f64 / rate,
        seconds: (end - start) as f64 / rate,
        range: *start..end,
    });
    Ok(Recording {
        path: path.to_owned(),
        samples,
        form: "BrainVision".to_owned(),
        code: None,
        signals,
        segments: segments.collect(),
        events,
        storage: Storage::Samples(Samples { number, big, channels: channels as u64, count, together }),
        notes,
        mark: hash.digest(),
    })
}

/// `Ch1=Fp1,,0.5,µV`: name, reference, resolution, unit. Without a resolution it is 1, without a unit µV, as the format has it.
fn signals(path: &Path, text: &Text, channels: usize, rate: f64) -> Result<Vec<Signal>, DataError> {
    let one = |number: usize| {
        let line = text.get("channel infos", &format!("ch{number}")).ok_or_else(|| {
            bad(
                path,
                format!(
                    "it tells of {channels} channels, and has no line `Ch{number}=`: it is damaged; export it again"
                ),
            )
        })?;
        let cells = cells(line);
        let cell = |place: usize| cells.get(place).map_or("", String::as_str);
        let resolution = match cell(2) {
            "" => Some(1.0),
            text => text.replace(',', ".").parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0),
        };
        let unit = if cell(3).is_empty() { Volts::Micro.to_string() } else { cell(3).to_owned() };
        let mut signal = Signal::new(cell(0).to_owned(), unit, rate, (resolution.unwrap_or(1.0), 0.0));
        if resolution.is_none() {
            signal.fault = Some(format!("its resolution is `{}`, which is no positive number", cell(2)));
        }
        Ok(signal)
    };
    (1..=channels).map(one).collect()
}

/// `Mk2=Stimulus,S  1,487,1,0`: kind, text, the sample from 1, how many samples. `New Segment` begins a stretch.
fn noted(path: &Path, text: &Text, rate: f64, count: u64) -> Result<(Vec<Event>, Vec<u64>), DataError> {
    let (mut events, mut starts) = (Vec::new(), vec![0]);
    for (key, line) in text.sections.get("marker infos").into_iter().flatten() {
        if !key.starts_with("mk") {
            continue;
        }
        let cells = cells(line);
        let cell = |place: usize| cells.get(place).map_or("", String::as_str);
        let position = cell(2).parse::<u64>().ok().filter(|position| *position >= 1).ok_or_else(|| {
            bad(path, format!("marker `{key}` stands at `{}`; expected a sample, the first is 1", cell(2)))
        })?;
        if cell(0) == "New Segment" {
            if position <= count {
                starts.push(position - 1);
            }
            continue;
        }
        let samples = cell(3).parse::<u64>().unwrap_or(0);
        // One sample is a moment.
        let seconds = if samples > 1 { samples as f64 / rate } else { 0.0 };
        let name = if cell(1).is_empty() { cell(0) } else { cell(1) };
        events.push(Event { onset: (position - 1) as f64 / rate, seconds, text: shown_text(name) });
    }
    starts.sort_unstable();
    starts.dedup();
    events.sort_by(|a, b| a.onset.total_cmp(&b.onset));
    Ok((events, starts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_either_order() {
        assert_eq!(Number::Int16.read(&[0x01, 0x80], false), -32_767.0);
        assert_eq!(Number::Int16.read(&[0x80, 0x01], true), -32_767.0);
        assert_eq!(Number::Float32.read(&1.5_f32.to_be_bytes(), true), 1.5);
        assert_eq!(Number::Uint16.read(&[0xFF, 0xFF], false), 65_535.0);
    }

    #[test]
    fn commas_in_names_are_written_apart() {
        assert_eq!(cells("Fp1\\1a,,0.5,µV"), ["Fp1,a", "", "0.5", "µV"]);
    }
}
