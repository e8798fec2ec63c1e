//! EDF (Kemp et al., 1992), EDF+ (Kemp and Olivan, 2003) with and without gaps, and BDF, their form of 24 bits.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::eeg::recording::{Event, Recording, Segment, Signal, Storage, bad, shown_text};
use crate::{DataError, read_exact_at};

/// Bytes of the fixed part of the head, and of each signal's.
const FIXED: usize = 256;
/// Signals that a file may have; the format's four digits allow more than any recorder.
const MOST: usize = 4_096;
/// The longest head of annotations that is read: 256 MiB.
const MOST_ANNOTATIONS: u64 = 1 << 28;

/// Where samples lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Records {
    /// Bytes before the first record.
    head: u64,
    /// Bytes of a record.
    length: u64,
    /// Bytes of a sample: 2 or 3.
    bytes: u64,
    /// Of each signal that is kept: where it begins in a record, in bytes, and its samples in a record.
    signals: Vec<(u64, u64)>,
}

impl Records {
    /// Samples of a signal in a record.
    pub(crate) fn of(&self, signal: usize) -> u64 {
        self.signals[signal].1
    }

    /// Samples of a signal, counted from the beginning of the record `first`.
    pub(crate) fn read(&self, file: &File, signal: usize, first: u64, samples: Range<u64>) -> io::Result<Vec<f64>> {
        let (offset, each) = self.signals[signal];
        let mut values = Vec::with_capacity((samples.end - samples.start) as usize);
        let mut at = samples.start;
        while at < samples.end {
            let (record, within) = (first + at / each, at % each);
            let count = (each - within).min(samples.end - at);
            let mut bytes = vec![0; (count * self.bytes) as usize];
            let place = self.head + record * self.length + offset + within * self.bytes;
            read_exact_at(file, &mut bytes, place)?;
            values.extend(bytes.chunks_exact(self.bytes as usize).map(number));
            at += count;
        }
        Ok(values)
    }
}

/// A whole number of two or three bytes, the lowest first.
fn number(bytes: &[u8]) -> f64 {
    f64::from(match *bytes {
        [low, high] => i32::from(i16::from_le_bytes([low, high])),
        [low, middle, high] => i32::from_le_bytes([0, low, middle, high]) >> 8,
        _ => 0,
    })
}

/// Whether a file begins as EDF or BDF does.
pub(crate) fn begins(head: &[u8]) -> bool {
    head.starts_with(b"0       ") || head.starts_with(b"\xFFBIOSEMI")
}

/// One signal's part of the head.
struct Described {
    label: String,
    unit: String,
    physical: [String; 2],
    digital: [String; 2],
    samples: String,
}

/// The head's fields.
struct Head<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

impl Head<'_> {
    /// Text of a field. It is ASCII by the standard; recorders write their own letters, above all `µ`.
    fn text(&self, at: usize, length: usize) -> String {
        let bytes = &self.bytes[at..at + length];
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        };
        text.trim_matches([' ', '\0']).to_owned()
    }

    fn bad(&self, reason: impl Into<String>) -> DataError {
        bad(self.path, reason)
    }

    /// A number of a field.
    fn whole(&self, at: usize, length: usize, what: &str) -> Result<i64, DataError> {
        let text = self.text(at, length);
        text.parse().map_err(|_| {
            self.bad(format!("its head has `{text}` where {what} was expected: it is damaged; copy it again"))
        })
    }
}

/// A decimal, with a point or, as some recorders write it, a comma.
fn decimal(text: &str) -> Option<f64> {
    text.replace(',', ".").parse().ok().filter(|x: &f64| x.is_finite())
}

/// Reads the head, and the times at which records begin.
pub(crate) fn open(path: &Path) -> Result<Recording, DataError> {
    let reading = |source| DataError::reading(path, source);
    let mut file = File::open(path).map_err(reading)?;
    let length = file.metadata().map_err(reading)?.len();
    let mut head = Head { path, bytes: Vec::new() };
    (&mut file).take(FIXED as u64).read_to_end(&mut head.bytes).map_err(reading)?;
    let cut = |head: &Head<'_>, expected: String| {
        head.bad(format!("it ends after {length} bytes, within its head of {expected}: it was cut; copy it again"))
    };
    if head.bytes.len() < FIXED {
        return Err(cut(&head, "at least 256".to_owned()));
    }
    let is_bdf = head.bytes[0] == 0xFF;
    let count = head.whole(252, 4, "the number of signals")?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (1..=MOST).contains(count))
        .ok_or_else(|| head.bad(format!("its head says that it has {count} signals; expected 1 to {MOST}")))?;
    let expected = FIXED * (count + 1);
    let said = head.whole(184, 8, "the length of the head")?;
    if said != expected as i64 {
        return Err(head.bad(format!(
            "its head says that it is {said} bytes long, and {count} signals take {expected}: it is damaged; copy it again"
        )));
    }
    (&mut file).take((expected - FIXED) as u64).read_to_end(&mut head.bytes).map_err(reading)?;
    if head.bytes.len() < expected {
        return Err(cut(&head, expected.to_string()));
    }
    let signals = described(&head, count);
    let reserved = head.text(192, 44);
    let duration = head.text(244, 8);
    let seconds = decimal(&duration).filter(|seconds| *seconds >= 0.0).ok_or_else(|| {
        head.bad(format!(
            "its head has `{duration}` where the seconds of a record were expected: it is damaged; copy it again"
        ))
    })?;
    let records = head.whole(236, 8, "the number of records")?;

    let bytes = if is_bdf { 3 } else { 2 };
    let mut offset = 0_u64;
    let mut laid = Vec::new();
    for signal in &signals {
        let samples = signal.samples.parse::<u64>().ok().filter(|samples| *samples <= 1 << 32).ok_or_else(|| {
            let Described { label, samples, .. } = signal;
            head.bad(format!("its head has `{samples}` where the samples of signal `{label}` were expected: it is damaged; copy it again"))
        })?;
        laid.push((offset, samples));
        offset += samples * bytes;
    }
    let (length_of_record, head_bytes) = (offset, expected as u64);
    if length_of_record == 0 {
        return Err(head.bad("its signals have no samples"));
    }
    let (there, rest) = ((length - head_bytes) / length_of_record, (length - head_bytes) % length_of_record);
    let mut notes = Vec::new();
    let records = match u64::try_from(records) {
        // The recorder did not come to write how many there are.
        Err(_) if records == -1 => {
            notes.push(format!("its head does not say how many records it has; its length says {there}"));
            there
        }
        Err(_) => {
            return Err(head.bad(format!("its head says that it has {records} records: it is damaged; copy it again")));
        }
        Ok(records) if records > there => {
            return Err(head.bad(format!(
                "it holds {there} of the {records} records that its head tells of: it was cut; copy it again"
            )));
        }
        Ok(records) => {
            if there > records || rest > 0 {
                notes.push(format!(
                    "{} bytes behind its last record are left out",
                    length - head_bytes - records * length_of_record
                ));
            }
            records
        }
    };
    if records == 0 {
        return Err(head.bad("it holds no records"));
    }
    let is_plus = reserved.starts_with("EDF+") || reserved.starts_with("BDF+");
    let has_gaps = is_plus && reserved[4..].starts_with('D');
    let of_annotations = |signal: &Described| signal.label == "EDF Annotations" || signal.label == "BDF Annotations";
    let annotated: Vec<(u64, u64)> = signals
        .iter()
        .zip(&laid)
        .filter(|(signal, _)| is_plus && of_annotations(signal))
        .map(|(_, laid)| *laid)
        .collect();
    if signals.iter().all(&of_annotations) {
        return Err(head.bad("it holds annotations alone and no signal: give the recording that they belong to"));
    }
    if seconds == 0.0 {
        return Err(head.bad("its records last 0 seconds, so that its signals have no rate"));
    }
    if has_gaps && annotated.is_empty() {
        return Err(head.bad(format!(
            "it is {}, whose records have times of their own, and holds no annotations that tell them",
            &reserved[..5]
        )));
    }

    let layout = Records { head: head_bytes, length: length_of_record, bytes, signals: annotated };
    let (starts, events) = if layout.signals.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        times(&file, &layout, (records, seconds, has_gaps), &head)?
    };
    let segments = segments(&starts, records, seconds);
    if segments.len() > 1 && !has_gaps {
        notes.push(format!("it calls itself free of gaps, and its records tell of {}", segments.len() - 1));
    }

    let mut kept = Vec::new();
    let mut places = Vec::new();
    for (signal, laid) in signals.iter().zip(&laid) {
        // Triggers of BioSemi are numbers of bits, not voltages.
        if of_annotations(signal) || signal.label.eq_ignore_ascii_case("status") || laid.1 == 0 {
            continue;
        }
        kept.push(scaled(signal, laid.1 as f64 / seconds));
        places.push(*laid);
    }
    let form = match (is_bdf, is_plus, has_gaps) {
        (false, false, _) => "EDF",
        (true, false, _) => "BDF",
        (false, true, false) => "EDF+",
        (false, true, true) => "EDF+ with gaps",
        (true, true, false) => "BDF+",
        (true, true, true) => "BDF+ with gaps",
    };
    let mut mark = head.bytes.clone();
    mark.extend(length.to_le_bytes());
    mark.extend(starts.iter().flat_map(|start| start.to_le_bytes()));
    mark.extend(events.iter().flat_map(|event: &Event| event.text.bytes().chain(event.onset.to_le_bytes())));
    let code = head.text(8, 80);
    let code = code.split(' ').next().filter(|code| !code.is_empty() && *code != "X").map(str::to_owned);
    Ok(Recording {
        path: path.to_owned(),
        samples: path.to_owned(),
        form: form.to_owned(),
        code,
        signals: kept,
        segments,
        events,
        storage: Storage::Records(Records { signals: places, ..layout }),
        notes,
        mark: xxh3_64(&mark),
    })
}

/// The signals' part of the head: each field of all signals before the next field.
fn described(head: &Head<'_>, count: usize) -> Vec<Described> {
    let mut at = FIXED;
    let mut fields = |length: usize| -> Vec<String> {
        let texts = (0..count).map(|signal| head.text(at + signal * length, length)).collect();
        at += count * length;
        texts
    };
    let labels = fields(16);
    let _transducers = fields(80);
    let units = fields(8);
    let (low, high) = (fields(8), fields(8));
    let (least, most) = (fields(8), fields(8));
    let _filters = fields(80);
    let samples = fields(8);
    (0..count)
        .map(|i| Described {
            label: labels[i].clone(),
            unit: units[i].clone(),
            physical: [low[i].clone(), high[i].clone()],
            digital: [least[i].clone(), most[i].clone()],
            samples: samples[i].clone(),
        })
        .collect()
}

/// A signal with the line from its stored numbers to its unit. A physical maximum below the minimum turns the signal over.
fn scaled(described: &Described, rate: f64) -> Signal {
    let Described { label, unit, physical, digital, .. } = described;
    let [low, high, least, most] =
        [&physical[0], &physical[1], &digital[0], &digital[1]].map(|text| decimal(text).unwrap_or(f64::NAN));
    let scale = (high - low) / (most - least);
    let sound = scale.is_finite() && scale != 0.0 && most > least;
    let mut signal = Signal::new(label.clone(), unit.clone(), rate, (scale, low - least * scale));
    if !sound {
        signal.fault = Some(format!(
            "its range is `{}` to `{}` for stored numbers from `{}` to `{}`, which gives no scale",
            physical[0], physical[1], digital[0], digital[1]
        ));
    }
    signal
}

/// When each record begins, in seconds, and what was noted: the time-stamped annotation lists of EDF+.
fn times(
    file: &File,
    layout: &Records,
    (records, each_lasts, has_gaps): (u64, f64, bool),
    head: &Head<'_>,
) -> Result<(Vec<f64>, Vec<Event>), DataError> {
    let each: u64 = layout.signals.iter().map(|(_, samples)| samples * layout.bytes).sum();
    if each * records > MOST_ANNOTATIONS {
        return Err(head.bad(format!("its annotations take {} bytes, and at most 256 MiB are read", each * records)));
    }
    let (mut starts, mut events) = (Vec::new(), Vec::new());
    for record in 0..records {
        let mut start = None;
        for (place, (offset, samples)) in layout.signals.iter().enumerate() {
            let mut bytes = vec![0; (samples * layout.bytes) as usize];
            read_exact_at(file, &mut bytes, layout.head + record * layout.length + offset)
                .map_err(|source| DataError::reading(head.path, source))?;
            for (i, list) in bytes.split(|byte| *byte == 0).filter(|list| !list.is_empty()).enumerate() {
                let Some((onset, seconds, texts)) = annotation(list) else { continue };
                // The first list of a record's first annotations begins with an empty text: the time of the record.
                if place == 0 && i == 0 && texts.first().is_some_and(String::is_empty) {
                    start = Some(onset);
                }
                let texts = texts.into_iter().filter(|text| !text.is_empty());
                events.extend(texts.map(|text| Event { onset, seconds, text }));
            }
        }
        // Without gaps the times say nothing that is not known.
        let Some(start) = start.or((!has_gaps).then_some(record as f64 * each_lasts)) else {
            return Err(head.bad(format!("record {record} (the first is 0) does not tell when it begins, as EDF+ wants it: it is damaged; copy it again")));
        };
        starts.push(start);
    }
    // Times count from the first record.
    let zero = starts.first().copied().unwrap_or(0.0);
    for start in &mut starts {
        *start -= zero;
    }
    for event in &mut events {
        event.onset -= zero;
    }
    events.sort_by(|a, b| a.onset.total_cmp(&b.onset));
    Ok((starts, events))
}

/// `+180.5[21]1.5[20]text[20]text[20]` as seconds, how long, and the texts.
fn annotation(list: &[u8]) -> Option<(f64, f64, Vec<String>)> {
    let mut parts = list.split(|byte| *byte == 20);
    let time = parts.next()?;
    let mut time = time.split(|byte| *byte == 21);
    let seconds =
        |bytes: Option<&[u8]>| std::str::from_utf8(bytes?).ok()?.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    let first = time.next();
    if !matches!(first?.first()?, b'+' | b'-') {
        return None;
    }
    let onset = seconds(first)?;
    let long = seconds(time.next()).filter(|long| *long >= 0.0).unwrap_or(0.0);
    let mut texts: Vec<String> = parts.map(|text| shown_text(String::from_utf8_lossy(text).trim())).collect();
    // Behind the last separator nothing follows.
    if texts.len() > 1 {
        texts.pop();
    }
    Some((onset, long, texts))
}

/// Records that follow each other without a gap. Times may be off by half a thousandth of a record, as they are written in decimals.
fn segments(starts: &[f64], records: u64, seconds: f64) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for record in 0..records {
        let start = starts.get(record as usize).copied().unwrap_or(record as f64 * seconds);
        match segments.last_mut() {
            Some(last) if (start - (last.start + last.seconds)).abs() <= (5e-4 * seconds).max(1e-5) => {
                last.range.end = record + 1;
                last.seconds = (last.range.end - last.range.start) as f64 * seconds;
            }
            _ => segments.push(Segment { start, seconds, range: record..record + 1 }),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bytes_keep_their_sign() {
        assert_eq!(number(&[0xFF, 0xFF, 0xFF]), -1.0);
        assert_eq!(number(&[0x00, 0x00, 0x80]), -8_388_608.0);
        assert_eq!(number(&[0xFF, 0xFF, 0x7F]), 8_388_607.0);
        assert_eq!(number(&[0x01, 0x80]), -32_767.0);
    }

    #[test]
    fn annotations_are_read_with_and_without_a_length() {
        assert_eq!(annotation(b"+12\x14\x14"), Some((12.0, 0.0, vec![String::new()])));
        let both = annotation(b"-0.5\x152.25\x14eyes closed\x14moved\x14").unwrap();
        assert_eq!(both, (-0.5, 2.25, vec!["eyes closed".to_owned(), "moved".to_owned()]));
        assert_eq!(annotation(b"12\x14\x14"), None);
        assert_eq!(annotation(b""), None);
    }

    #[test]
    fn a_gap_ends_a_segment() {
        let found = segments(&[0.0, 1.0, 2.0, 7.5, 8.5], 5, 1.0);
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].start, found[1].seconds, found[1].range.clone()), (7.5, 2.0, 3..5));
        assert_eq!(segments(&[], 4, 0.25).len(), 1);
    }
}
