//! Where one sample comes from: an encoded file, or a record of raw pixels (IDX, CIFAR) in memory or in a file.

use std::sync::Arc;

use crate::images::decode;
use crate::images::listing::Place;
#[cfg(feature = "parquet")]
use crate::images::parquet::{At, Table};
use crate::positional::Positional;
use crate::{DataError, Factor, Image};

/// What a recognised data set consists of.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// What was recognised, for people.
    pub(crate) format: String,
    /// How train and held-out were told apart, for people.
    pub(crate) split: String,
    /// What else a person should know.
    pub(crate) notes: Vec<String>,
    pub(crate) factors: Vec<Factor>,
    pub(crate) train: Vec<Entry>,
    pub(crate) held_out: Vec<Entry>,
}

impl Contents {
    /// Everything in the first part, as `embed` wants it.
    pub(crate) fn merged(mut self) -> Self {
        self.train.append(&mut self.held_out);
        self
    }
}

/// One sample before it is read.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Bytes as stored.
    pub(crate) size: u64,
    /// One for each factor.
    pub(crate) labels: Box<[u32]>,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Encoded(Place),
    Record {
        block: Arc<Records>,
        index: usize,
    },
    #[cfg(feature = "parquet")]
    Row {
        table: Arc<Table>,
        at: At,
    },
}

impl Entry {
    /// The decoded image, grey or RGB as it is stored; numbers of 16 bits are spread over these.
    pub(crate) fn decode(&self, range: [u16; 2]) -> Result<Image, DataError> {
        match &self.content {
            Content::Encoded(place) => decode::decode_over(&place.read(&self.name)?, &self.name, range),
            Content::Record { block, index } => block.image(*index),
            #[cfg(feature = "parquet")]
            Content::Row { table, at } => decode::decode_over(table.read(*at, &self.name)?.data(), &self.name, range),
        }
    }

    /// The bytes of its file, or of its record's pixels.
    pub(crate) fn stored(&self) -> Result<Vec<u8>, DataError> {
        match &self.content {
            Content::Encoded(place) => place.read(&self.name),
            Content::Record { block, index } => block.pixels(*index),
            #[cfg(feature = "parquet")]
            Content::Row { table, at } => Ok(table.read(*at, &self.name)?.data().to_vec()),
        }
    }

    /// Where it lies and what it is called, if it is a file or a member of an archive.
    pub(crate) fn file(&self) -> Option<(&Place, &str)> {
        if let Content::Encoded(place) = &self.content { Some((place, &self.name)) } else { None }
    }

    /// What the header says, without decoding where that is possible.
    pub(crate) fn header(&self) -> Result<Header, DataError> {
        match &self.content {
            Content::Encoded(place) => decode::header(place, &self.name),
            Content::Record { block, .. } => {
                Ok(Header { width: block.width, height: block.height, grey: block.channels == 1, deep: false })
            }
            #[cfg(feature = "parquet")]
            Content::Row { table, at } => decode::read_header(table.read(*at, &self.name)?.data(), &self.name),
        }
    }

    /// Whether reading it costs no decoding, so that a cache would not pay.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.content, Content::Record { .. })
    }
}

/// What an image's header says, before orientation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) grey: bool,
    /// 16 bits for each channel.
    pub(crate) deep: bool,
}

/// Images of one size stored back to back.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) bytes: RecordBytes,
    /// Bytes before the first record.
    pub(crate) start: usize,
    /// Bytes of a record that come before its pixels (CIFAR's labels).
    pub(crate) lead: usize,
    /// How many records.
    pub(crate) count: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
    /// One plane after the other instead of interleaved.
    pub(crate) planar: bool,
}

#[derive(Debug)]
pub(crate) enum RecordBytes {
    Memory(Vec<u8>),
    File { file: Arc<Positional>, offset: u64 },
}

impl Records {
    /// As they are stored.
    fn pixels(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let size = self.width * self.height * self.channels;
        let at = self.start + index * (self.lead + size) + self.lead;
        match &self.bytes {
            RecordBytes::Memory(bytes) => Ok(bytes[at..at + size].to_vec()),
            RecordBytes::File { file, offset } => {
                let mut pixels = vec![0; size];
                file.read_exact_at(&mut pixels, offset + at as u64)?;
                Ok(pixels)
            }
        }
    }

    fn image(&self, index: usize) -> Result<Image, DataError> {
        let pixels = self.pixels(index)?;
        let size = pixels.len();
        let pixels = if self.planar && self.channels == 3 {
            let (red, rest) = pixels.split_at(size / 3);
            let (green, blue) = rest.split_at(size / 3);
            red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]).collect()
        } else {
            pixels
        };
        Ok(Image { width: self.width, height: self.height, channels: self.channels, pixels })
    }
}
