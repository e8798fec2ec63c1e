//! Everything that can go wrong with a user's data, in sentences that say what was expected, what was found, where,
//! and what to do.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use crate::modality::Unit;

/// What went wrong with the data; its `Display` is the whole message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path leads nowhere.
    #[error("there is nothing at `{}`: check the path", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The operating system would not let us read.
    #[error("`{}` could not be read: {source}", path.display())]
    Unreadable {
        /// What was being read.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A folder or tar without a single image in it.
    #[error(
        "`{}` holds no images: {files} files were found in it, none with one of the extensions {} (nor IDX files, \
         CIFAR binaries or parquet of images); point to the folder or tar that has them",
        path.display(),
        crate::images::listing::EXTENSIONS.join(", ")
    )]
    Empty {
        /// The folder or tar.
        path: PathBuf,
        /// How many other files it holds.
        files: usize,
    },
    /// A file that is none of the formats.
    #[error(
        "`{}` is not a data set: {found}; expected a folder of images, a tar of images, an IDX images file (plain or \
         gzip), CIFAR binary batches, an .npz of images or a parquet of images",
        path.display()
    )]
    NotADataSet {
        /// The file.
        path: PathBuf,
        /// What it looks like instead.
        found: String,
    },
    /// A file or folder of a kind that is known and not read.
    #[error("`{name}` is {kind}; {next}")]
    Foreign {
        /// The file or folder.
        name: String,
        /// What it is.
        kind: String,
        /// What makes it readable.
        next: String,
    },
    /// A folder or tar without an image, in which something else was found.
    #[error("`{}` holds no images that are read; {files} files were found in it: {source}", path.display())]
    OnlyForeign {
        /// The folder or tar.
        path: PathBuf,
        /// How many files it holds.
        files: usize,
        /// The first file of a kind that is known.
        source: Box<DataError>,
    },
    /// An archive that has to be unpacked or decompressed first, because its members cannot be read in any order.
    #[error("`{}` is {kind}, whose members cannot be read in any order; {remedy}", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// The command or step that helps.
        remedy: String,
    },
    /// A tar that ends in the middle of a member.
    #[error(
        "the tar `{}` is truncated: it ends inside {member}, after {length} bytes; copy or download it again",
        path.display()
    )]
    TruncatedArchive {
        /// The tar.
        path: PathBuf,
        /// The member (or the header after a member) that is incomplete.
        member: String,
        /// The tar's length in bytes.
        length: u64,
    },
    /// A tar whose structure is broken in another way.
    #[error("the tar `{}` is damaged {place}: {reason}; copy or download it again", path.display())]
    BrokenArchive {
        /// The tar.
        path: PathBuf,
        /// After which member.
        place: String,
        /// What the reader said.
        reason: String,
    },
    /// A member that would lie outside the archive's own folder.
    #[error(
        "the tar `{}` has the member `{member}`, whose path is absolute or climbs out with `..`; pack it again with \
         relative paths",
        path.display()
    )]
    UnsafeMember {
        /// The tar.
        path: PathBuf,
        /// The member's path.
        member: String,
    },
    /// A gzip stream that ends early or is damaged.
    #[error(
        "the gzip file `{name}` is truncated or damaged: expected {expected} bytes after decompression, found {found}; \
         copy or download it again"
    )]
    BrokenGzip {
        /// The file.
        name: String,
        /// The bytes that the file's header promises, in words where unknown.
        expected: String,
        /// The bytes that could be decompressed.
        found: usize,
    },
    /// An IDX file that contradicts itself.
    #[error("the IDX file `{name}` is not usable: {reason}")]
    BadIdx {
        /// The file.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// An `.npz` that is none, or is damaged.
    #[error("the arrays in `{name}` cannot be read: {reason}")]
    BadArrays {
        /// The file.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// A parquet file that cannot be read.
    #[error("the table `{name}` cannot be read: {reason}")]
    BadTable {
        /// The file.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// Recorded episodes that contradict themselves.
    #[error("the episodes in `{name}` are not usable: {reason}")]
    BadEpisodes {
        /// The file or folder.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// Rows of features that contradict themselves.
    #[error("the features in `{name}` are not usable: {reason}")]
    BadFeatures {
        /// The file.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// Graphs that contradict themselves.
    #[error("the graphs in `{name}` are not usable: {reason}")]
    BadGraphs {
        /// The file or folder.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// Series that contradict themselves.
    #[error("the series in `{name}` are not usable: {reason}")]
    BadSeries {
        /// The file or folder.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// A recording of EEG that contradicts itself.
    #[error("the recording `{name}` is not usable: {reason}")]
    BadRecording {
        /// The file or folder.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// A recording of regions, or what belongs to it, that cannot be used.
    #[error("`{name}` cannot be used: {reason}")]
    BadConnectome {
        /// The file or folder.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// A video clip that cannot be used.
    #[error("the clip `{name}` cannot be used: {reason}")]
    BadClip {
        /// The file or folder.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// A recording that cannot be used.
    #[error("the recording `{name}` cannot be used: {reason}")]
    BadSound {
        /// The file, or the line of a list.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// A CIFAR file that is not made of whole, plausible records.
    #[error("the CIFAR file `{name}` is not usable: {reason}")]
    BadCifar {
        /// The file.
        name: String,
        /// Expected against found, and what to do.
        reason: String,
    },
    /// Images and labels do not pair up.
    #[error(
        "`{images_name}` holds {images} images, but `{labels_name}` holds {labels} labels; each image needs exactly \
         one label, so find the labels file that belongs to these images, or move this one away to go without labels"
    )]
    LabelCount {
        /// Where the images are.
        images_name: String,
        /// How many images.
        images: usize,
        /// Where the labels are.
        labels_name: String,
        /// How many labels.
        labels: usize,
    },
    /// A label member that cannot be read.
    #[error("the label file `{name}` is not usable: {reason}")]
    BadLabel {
        /// The label's file or member.
        name: String,
        /// Expected against found.
        reason: String,
    },
    /// An image that cannot be decoded.
    #[error("the image `{name}` cannot be decoded: {reason}; replace or remove it")]
    BadImage {
        /// The image.
        name: String,
        /// What the decoder said.
        reason: String,
    },
    /// An image beyond the decoder's limits.
    #[error("the image `{name}` is refused: {found}, and the limit is {limit}; shrink it or remove it")]
    TooLarge {
        /// The image.
        name: String,
        /// How large it says it is.
        found: String,
        /// The limit, with its unit.
        limit: &'static str,
    },
    /// A bad sample met by a loader that was told to fail.
    #[error("{source} (to go on without such samples, set `data.on_bad_sample` to `skip`)")]
    BadSample {
        /// Its path in the folder or archive, or its place in its file.
        name: String,
        /// What is wrong with the sample.
        source: Box<DataError>,
    },
    /// Not one sample could be read.
    #[error("none of the {tried} {} tried can be read; the first failed like this: {source}", unit.many)]
    AllBad {
        /// What they are.
        unit: Unit,
        /// How many were tried.
        tried: usize,
        /// What is wrong with the first.
        source: Box<DataError>,
    },
    /// A sample that does not exist.
    #[error("sample {index} does not exist: {part} has {len} (0 to {})", len.saturating_sub(1))]
    OutOfRange {
        /// Which part, in words.
        part: &'static str,
        /// The index asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// Too few samples for the batch.
    #[error("{} to train on {} fewer than two batches of {batch}; {remedy}", unit.counted(*found), if *found == 1 { "is" } else { "are" })]
    TooFew {
        /// What they are.
        unit: Unit,
        /// How many there are.
        found: usize,
        /// The batch asked for.
        batch: usize,
        /// A batch that works, or more samples.
        remedy: String,
    },
    /// Data that a run did not begin with.
    #[error(
        "the {} at `{path}` are not what this run began with ({what}): put them back, or start a new run",
        unit.many
    )]
    Changed {
        /// What they are.
        unit: Unit,
        /// Where they lie.
        path: String,
        /// The first of them, as far as it is known.
        what: String,
    },
    /// A collator that cannot make a batch of the samples, such as masks that do not fit the images.
    #[error("cannot make a batch: {0}")]
    Collate(String),
    /// A setting outside its range.
    #[error("the setting `{name}` is {found}, but must be {expected}")]
    BadSetting {
        /// The setting's key.
        name: Cow<'static, str>,
        /// The range.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// What a kind of data cannot do, or settings that do not fit each other.
    #[error("{0}")]
    Setting(String),
    /// No input at all.
    #[error("no input was given: give one or more folders or files")]
    NoInputs,
}

impl DataError {
    /// The same where the setting stands in a table: `flip` under `model.augment` is `model.augment.flip`.
    #[must_use]
    pub fn under(self, table: &str) -> Self {
        match self {
            Self::BadSetting { name, expected, found } => {
                Self::BadSetting { name: format!("{table}.{name}").into(), expected, found }
            }
            other => other,
        }
    }

    /// Data that a run did not begin with, where it is not known which of them are others.
    pub fn changed(unit: Unit, path: &str) -> Self {
        let what = "some were added, removed, renamed, relabelled or changed".to_owned();
        Self::Changed { unit, path: path.to_owned(), what }
    }

    /// An error of the operating system while reading `path`; a path that does not exist gets its own message.
    pub(crate) fn reading(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else {
            Self::Unreadable { path, source }
        }
    }
}
