//! A data set as the rest of the program sees it: two parts, factors, and samples decoded one at a time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use xxhash_rust::xxh3::Xxh3;

use crate::images::Images;
use crate::images::depth::{FULL, Levels, as_option, as_setting, few_levels};
use crate::images::labels::Factor;
use crate::images::listing::Place;
use crate::images::recognise::{Extent, Reading, recognise};
use crate::images::records::{Contents, Entry, Header};
use crate::images::scenes::{self, ScenesConfig};
use crate::images::twins::on_both_sides;
use crate::modality::{Description, Modality, Part};
use crate::visit::spread;
use crate::{Clip, DataError, Image};

/// Headers that are read to learn what the images are like.
const HEADERS: usize = 256;

/// Figures of fewer held-out images say little.
const FEW: usize = 10;

/// One decoded image with its labels.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its place in its part.
    pub index: usize,
    /// Its path in the folder or archive, or its place in its file.
    pub name: String,
    /// The decoded pixels.
    pub image: Arc<Image>,
    /// One label for each factor; empty without factors.
    pub labels: Vec<u32>,
}

/// Images, their labels and their split. Cloning is cheap; all methods may be called from many threads.
#[derive(Clone, Debug)]
pub struct Dataset(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    factors: Vec<Factor>,
    channels: usize,
    median_short_side: usize,
    format: String,
    split: String,
    notes: Vec<String>,
    /// Which numbers of 16 bits are black and white.
    range: [u16; 2],
    /// Of the training part, where that is the whole range.
    few_levels: Option<Levels>,
}

#[derive(Debug)]
enum Source {
    Listed { train: Vec<Entry>, held_out: Vec<Entry> },
    Scenes(ScenesConfig),
}

impl Dataset {
    /// Opens a folder, tar, IDX file or CIFAR batch; its content decides what it is.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::open_as(path, Reading::usual(Extent::Split))
    }

    /// The same with a word on how it is read.
    pub(crate) fn open_as(path: &Path, reading: Reading<'_>) -> Result<Self, DataError> {
        Self::from_contents(recognise(path, reading)?, reading.range)
    }

    /// The generated images: a function of the configuration, made when they are asked for. A size outside of what
    /// [`ScenesConfig::check`] allows is brought to the nearest one that it allows.
    pub fn scenes(config: &ScenesConfig) -> Self {
        let config = config.drawable();
        Self(Arc::new(Inner {
            factors: scenes::factors(),
            channels: 3,
            median_short_side: config.size,
            format: format!("generated scenes, {0}×{0}, seed {1}", config.size, config.seed),
            source: Source::Scenes(config),
            split: "each part is drawn for itself".to_owned(),
            notes: Vec::new(),
            range: FULL,
            few_levels: None,
        }))
    }

    pub(crate) fn from_contents(contents: Contents, range: [u16; 2]) -> Result<Self, DataError> {
        let Contents { format, split, mut notes, factors, train, held_out } = contents;
        let headers = sampled_headers(&train)?;
        let colour = headers.iter().filter(|header| !header.grey).count();
        // A sample that is grey says nothing of the rest, and a coloured image that is read as a grey one is another image.
        let coloured = colour > 0 || any_colour(&[&train, &held_out]);
        if coloured && colour < headers.len() {
            notes.push("grey and coloured images are mixed: all are taken as coloured".to_owned());
        }
        let mut short_sides: Vec<usize> = headers.iter().map(|header| header.width.min(header.height)).collect();
        short_sides.sort_unstable();
        let file = |index: usize| train[index].file();
        let few_levels = if range == FULL { few_levels(train.len(), file) } else { None };
        notes.extend(few_levels.map(|levels| levels.told(as_setting)));
        notes.extend(on_both_sides(&train, &held_out));
        if (1..FEW).contains(&held_out.len()) {
            let few = Images::UNIT.counted(held_out.len());
            let are = if held_out.len() == 1 { "is" } else { "are" };
            notes.push(format!("{few} {are} held out: too few to judge by"));
        }
        Ok(Self(Arc::new(Inner {
            channels: if coloured { 3 } else { 1 },
            median_short_side: short_sides.get(short_sides.len() / 2).copied().unwrap_or(0),
            source: Source::Listed { train, held_out },
            factors,
            format,
            split,
            notes,
            range,
            few_levels,
        })))
    }

    /// What to know of pictures that are taken one by one: that 16 bits keep few levels, and that some are animated.
    pub fn cautions(&self) -> Vec<String> {
        self.cautions_as(as_option)
    }

    /// The same; `setting` says how a range of 16 bits is given.
    pub(crate) fn cautions_as(&self, setting: impl Fn([u16; 2]) -> String) -> Vec<String> {
        let Source::Listed { train, .. } = &self.0.source else { return Vec::new() };
        let looked = spread(Some(train.len()), HEADERS);
        let animated =
            looked.clone().filter_map(|index| train[index].file()).filter(|(place, _)| is_animated(place)).count();
        let animated = (animated > 0).then(|| {
            let are = if animated == 1 { "1 picture is".to_owned() } else { format!("{animated} pictures are") };
            let of = if train.len() > HEADERS { format!(" of {HEADERS} that were looked at") } else { String::new() };
            format!("{are} animated{of}: the first frame is taken")
        });
        self.0.few_levels.map(|levels| levels.told(setting)).into_iter().chain(animated).collect()
    }

    /// How many samples a part has.
    pub fn len(&self, part: Part) -> usize {
        match (&self.0.source, part) {
            (Source::Listed { train, .. }, Part::Train) => train.len(),
            (Source::Listed { held_out, .. }, Part::HeldOut) => held_out.len(),
            (Source::Scenes(config), Part::Train) => config.train,
            (Source::Scenes(config), Part::HeldOut) => config.held_out,
        }
    }

    /// Whether a part has no samples.
    pub fn is_empty(&self, part: Part) -> bool {
        self.len(part) == 0
    }

    /// What the labels tell; empty without labels.
    pub fn factors(&self) -> &[Factor] {
        &self.0.factors
    }

    /// 1 if all images are grey, 3 otherwise; every sample has so many.
    pub fn channels(&self) -> usize {
        self.0.channels
    }

    /// The labels of a sample without reading its pixels.
    pub fn labels(&self, part: Part, index: usize) -> Result<Vec<u32>, DataError> {
        self.check(part, index)?;
        Ok(match &self.0.source {
            Source::Scenes(config) => scenes::labels(config, part, index).to_vec(),
            Source::Listed { .. } => self.entry(part, index).map(|entry| entry.labels.to_vec()).unwrap_or_default(),
        })
    }

    /// A sample's name without reading its pixels.
    pub fn name(&self, part: Part, index: usize) -> Result<String, DataError> {
        self.check(part, index)?;
        Ok(match self.entry(part, index) {
            Some(entry) => entry.name.clone(),
            None => scenes::name(part, index),
        })
    }

    /// The length of a sample's file; `None` where it has none of its own.
    pub(crate) fn bytes(&self, part: Part, index: usize) -> Option<u64> {
        self.entry(part, index).filter(|entry| !entry.is_raw()).map(|entry| entry.size)
    }

    /// Reads and decodes one sample.
    pub fn load(&self, part: Part, index: usize) -> Result<Sample, DataError> {
        self.check(part, index)?;
        let (name, image, labels) = match (&self.0.source, self.entry(part, index)) {
            (Source::Scenes(config), _) => {
                let (image, labels) = scenes::draw(config, part, index);
                (scenes::name(part, index), image, labels.to_vec())
            }
            (_, Some(entry)) => (entry.name.clone(), entry.decode(self.0.range)?, entry.labels.to_vec()),
            (Source::Listed { .. }, None) => return Err(self.out_of_range(part, index)),
        };
        Ok(Sample { index, name, image: Arc::new(image.with_channels(self.0.channels)), labels })
    }

    /// What was found, for people and for `--json`.
    pub fn describe(&self) -> Description {
        let (channels, side) = (self.0.channels, self.0.median_short_side);
        let colour = if channels == 1 { "grey" } else { "colour" };
        Description {
            format: self.0.format.clone(),
            train: self.len(Part::Train),
            held_out: self.len(Part::HeldOut),
            endless: false,
            split: self.0.split.clone(),
            factors: self.0.factors.clone(),
            facts: vec![("pixels".to_owned(), format!("{colour}, median short side {side}"))],
            numbers: [("median_short_side", side), ("channels", channels)]
                .map(|(name, number)| (name.to_owned(), number.into()))
                .into(),
            notes: self.0.notes.clone(),
            unit: Images::UNIT,
        }
    }

    /// Of each token of a grid the share that the object of a generated scene covers, and which object that is, from 1; `None` of
    /// images that are not generated.
    pub(crate) fn covered(&self, part: Part, index: usize, grid: (usize, usize)) -> Option<(u32, Vec<f32>)> {
        match &self.0.source {
            Source::Scenes(config) => Some(scenes::covered(config, part, index, grid)),
            Source::Listed { .. } => None,
        }
    }

    /// Whether these are the built-in scenes.
    pub fn is_generated(&self) -> bool {
        matches!(self.0.source, Source::Scenes(_))
    }

    /// The median of the images' shorter sides in pixels, from at most 256 headers spread over the training part.
    pub fn median_short_side(&self) -> usize {
        self.0.median_short_side
    }

    /// A number that changes when samples are added, removed, renamed, moved to the other part, relabelled or stored in
    /// another number of bytes. It does not depend on the order in which a folder lists them.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3::new();
        match &self.0.source {
            Source::Scenes(config) => {
                hash.update(b"scenes");
                for word in [config.size as u64, config.train as u64, config.held_out as u64, config.seed] {
                    hash.update(&word.to_le_bytes());
                }
            }
            Source::Listed { train, held_out } => {
                for (part, entries) in [(0_u8, train), (1, held_out)] {
                    let mut sorted: Vec<&Entry> = entries.iter().collect();
                    sorted.sort_by(|a, b| a.name.cmp(&b.name));
                    for entry in sorted {
                        hash.update(&[part]);
                        hash.update(&(entry.name.len() as u64).to_le_bytes());
                        hash.update(entry.name.as_bytes());
                        hash.update(&entry.size.to_le_bytes());
                        entry.labels.iter().for_each(|label| hash.update(&label.to_le_bytes()));
                    }
                }
            }
        }
        hash.digest()
    }

    /// Whether a decoded copy would save work: raw records are as fast to read as a cache.
    pub(crate) fn pays_to_cache(&self, part: Part) -> bool {
        self.entry(part, 0).is_none_or(|entry| !entry.is_raw())
    }

    fn entry(&self, part: Part, index: usize) -> Option<&Entry> {
        match (&self.0.source, part) {
            (Source::Listed { train, .. }, Part::Train) => train.get(index),
            (Source::Listed { held_out, .. }, Part::HeldOut) => held_out.get(index),
            (Source::Scenes(_), _) => None,
        }
    }

    fn check(&self, part: Part, index: usize) -> Result<(), DataError> {
        if index < self.len(part) { Ok(()) } else { Err(self.out_of_range(part, index)) }
    }

    fn out_of_range(&self, part: Part, index: usize) -> DataError {
        DataError::OutOfRange { part: part.name(), index, len: self.len(part) }
    }
}

/// Whether a picture has several frames.
fn is_animated(place: &Place) -> bool {
    /// Nearly always enough for what stands before the pixels.
    const HEAD: usize = 4096;
    place.head(HEAD).is_ok_and(|head| Clip::is_animated(&head))
}

/// Whether any of the images is coloured, by their headers; those that cannot be read are passed over.
fn any_colour(parts: &[&Vec<Entry>]) -> bool {
    const CHUNK: usize = 64;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (found, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    // Records of one file are all alike, and one of them was in the sample.
    let encoded: Vec<&Entry> = parts.iter().flat_map(|part| part.iter()).filter(|entry| !entry.is_raw()).collect();
    let look = || {
        while !found.load(Ordering::Relaxed) {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= encoded.len() {
                break;
            }
            let chunk = &encoded[start..encoded.len().min(start + CHUNK)];
            if chunk.iter().any(|entry| entry.header().is_ok_and(|header| !header.grey)) {
                found.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(look)));
    found.into_inner()
}

/// The headers of a sample spread evenly over the entries; images that cannot be read are passed over unless all are.
fn sampled_headers(entries: &[Entry]) -> Result<Vec<Header>, DataError> {
    let count = entries.len().min(HEADERS);
    let mut headers = Vec::with_capacity(count);
    let mut first_error = None;
    for index in 0..count {
        match entries[index * entries.len() / count].header() {
            Ok(header) => headers.push(header),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if headers.is_empty() => {
            Err(DataError::AllBad { unit: Images::UNIT, tried: count, source: Box::new(error) })
        }
        _ => Ok(headers),
    }
}
