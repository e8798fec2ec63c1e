//! TensorBoard event files, scalars only: what `tensorboard --logdir` reads, without its dependencies.
//!
//! A file is a sequence of records, `length u64 | crc(length) u32 | data | crc(data) u32`, little-endian, with masked
//! CRC-32C. Each record holds one protobuf `Event`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use foretell_data::protobuf::Message;

/// Writes scalars to one event file. Dropping it flushes what is left.
#[derive(Debug)]
pub struct EventWriter {
    file: BufWriter<File>,
}

impl EventWriter {
    /// Starts a new event file in `dir`, which is made if it is missing.
    ///
    /// A file is never written twice: a resumed run adds a second one, and TensorBoard reads a folder's files in the
    /// order of their names.
    pub fn create(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut writer = Self { file: BufWriter::new(fresh(dir, now.as_secs())?) };
        writer.record(event(now.as_secs_f64(), 0).text(FILE_VERSION, "brain.Event:2"))?;
        writer.flush()?;
        Ok(writer)
    }

    /// Adds one point of the curve `tag`. `wall_time` is in seconds since 1970; the format keeps `value` as an f32.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64, wall_time: f64) -> io::Result<()> {
        let point = Message::default().text(VALUE_TAG, tag).float(VALUE_SIMPLE, value as f32);
        let summary = Message::default().message(SUMMARY_VALUE, &point);
        self.record(event(wall_time, step).message(SUMMARY, &summary))
    }

    /// Hands everything written so far to the operating system, so that a running TensorBoard sees it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn record(&mut self, event: Message) -> io::Result<()> {
        let data = event.into_bytes();
        let length = (data.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked_crc(&length).to_le_bytes())?;
        self.file.write_all(&data)?;
        self.file.write_all(&masked_crc(&data).to_le_bytes())
    }
}

// Field numbers of `Event`, `Summary` and `Summary.Value`.
const WALL_TIME: u32 = 1;
const STEP: u32 = 2;
const FILE_VERSION: u32 = 3;
const SUMMARY: u32 = 5;
const SUMMARY_VALUE: u32 = 1;
const VALUE_TAG: u32 = 1;
const VALUE_SIMPLE: u32 = 2;

/// A file that did not exist before. Two runs that start in the same second differ in the last part of the name.
fn fresh(dir: &Path, seconds: u64) -> io::Result<File> {
    let mut attempt = 0;
    loop {
        let path = dir.join(format!("events.out.tfevents.{seconds:010}.foretell.{attempt}"));
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 9 => {
                attempt += 1;
            }
            opened => return opened,
        }
    }
}

/// The fields that every event has.
fn event(wall_time: f64, step: u64) -> Message {
    Message::default().double(WALL_TIME, wall_time).number(STEP, step as i64)
}

/// TFRecord's mask keeps a checksum of data that holds checksums from being trivial.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scalar("loss", 300, 0.5, 1.5)` as TensorBoard 2.21's own record writer frames it.
    const GOLDEN: [u8; 43] = [
        0x1b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1a, 0x0d, 0x9e, 0x13, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0xf8, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04, 0x6c, 0x6f, 0x73, 0x73, 0x15, 0x00,
        0x00, 0x00, 0x3f, 0x69, 0xf9, 0x31, 0x5b,
    ];

    /// CRC-32C from its polynomial, bit by bit: independent of the crate that the writer uses.
    fn crc_by_bits(data: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for byte in data {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        !crc
    }

    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (head, rest) = bytes.split_at(count);
        *bytes = rest;
        head
    }

    fn check(data: &[u8], stored: &[u8]) {
        let crc = u64::from(crc_by_bits(data));
        let masked = ((crc >> 15 | crc << 17) + 0xa282_ead8) as u32;
        assert_eq!(stored, masked.to_le_bytes());
    }

    fn records(mut file: &[u8]) -> Vec<&[u8]> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = take(&mut file, 8);
            check(length, take(&mut file, 4));
            let data = take(&mut file, u64::from_le_bytes(length.try_into().unwrap()) as usize);
            check(data, take(&mut file, 4));
            found.push(data);
        }
        found
    }

    #[derive(Debug, PartialEq)]
    enum Field<'a> {
        Integer(u64),
        Double(f64),
        Float(f32),
        Bytes(&'a [u8]),
    }

    fn read_varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for place in 0.. {
            let byte = take(bytes, 1)[0];
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
        let mut found = Vec::new();
        while !message.is_empty() {
            let key = read_varint(&mut message);
            let field = match key & 7 {
                0 => Field::Integer(read_varint(&mut message)),
                1 => Field::Double(f64::from_le_bytes(take(&mut message, 8).try_into().unwrap())),
                2 => {
                    let length = read_varint(&mut message) as usize;
                    Field::Bytes(take(&mut message, length))
                }
                5 => Field::Float(f32::from_le_bytes(take(&mut message, 4).try_into().unwrap())),
                other => unreachable!("wire type {other}"),
            };
            found.push((key >> 3, field));
        }
        found
    }

    fn inner<'a>(found: &[(u64, Field<'a>)], wanted: u64) -> &'a [u8] {
        match found.iter().find(|(number, _)| *number == wanted) {
            Some((_, Field::Bytes(bytes))) => bytes,
            other => unreachable!("field {wanted}: {other:?}"),
        }
    }

    fn only_file(dir: &Path) -> Vec<u8> {
        let paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(paths.len(), 1);
        fs::read(&paths[0]).unwrap()
    }

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let points = [
            ("loss", 0, 0.5, 1.0),
            ("loss", 127, -3.25, 2.5),
            ("health/rank, trained", 128, 1e-30, 1_753_000_000.125),
            ("größe", 5_000_000_000, f64::INFINITY, 0.0),
        ];
        let mut writer = EventWriter::create(dir.path().join("new/folder")).unwrap();
        for (tag, step, value, wall_time) in points {
            writer.scalar(tag, step, value, wall_time).unwrap();
        }
        drop(writer);

        let file = only_file(&dir.path().join("new/folder"));
        let events = records(&file);
        assert_eq!(events.len(), points.len() + 1);
        assert_eq!(inner(&fields(events[0]), 3), b"brain.Event:2");
        for (event, (tag, step, value, wall_time)) in events[1..].iter().zip(points) {
            let event = fields(event);
            assert_eq!(event[0], (1, Field::Double(wall_time)));
            assert_eq!(event[1], (2, Field::Integer(step)));
            let point = fields(inner(&fields(inner(&event, 5)), 1));
            assert_eq!(point, [(1, Field::Bytes(tag.as_bytes())), (2, Field::Float(value as f32))]);
        }
    }

    #[test]
    fn a_point_is_the_bytes_that_tensorboard_writes() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path()).unwrap();
        let before = only_file(dir.path()).len();
        writer.scalar("loss", 300, 0.5, 1.5).unwrap();
        writer.flush().unwrap();
        assert_eq!(only_file(dir.path())[before..], GOLDEN);
    }

    #[test]
    fn a_second_writer_takes_a_second_file_and_tensorboard_knows_both() {
        let dir = tempfile::tempdir().unwrap();
        let writers = [EventWriter::create(dir.path()).unwrap(), EventWriter::create(dir.path()).unwrap()];
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), writers.len());
        assert!(names.iter().all(|name| name.to_string_lossy().contains(".tfevents.")));
    }
}
