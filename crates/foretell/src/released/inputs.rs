//! What a published model is given: images, clips, or an array of normalised pixels.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use foretell_data::{Clip, Cursor, DataError, Dataset, FULL_RANGE, Film, FramesBy, Image, Part, open_inputs_over};
use foretell_nn::released::Model;
use rayon::prelude::*;

use super::clips::{Found, Input};
use super::pixels::{filter, prepare};
use super::{ArrayFile, Moments, Pixels};
use crate::Error;
use crate::output::say;

/// Images that are decoded at a time.
const IMAGES: usize = 64;

/// How inputs are read.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InputArgs {
    /// Pixels that are normalised already, in place of INPUT: a float32 array [B, 3, H, W], or [B, T, 3, H, W] of clips.
    #[arg(long = "input", value_name = "X.npy", requires = "model", help_heading = "Published models")]
    array: Option<PathBuf>,
    /// Frames of a clip, spread evenly over it; by default as many as the model was trained on, and all of them where it
    /// takes images.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Published models")]
    frames: Option<u32>,
    /// By what those frames are spread evenly: by their times where a clip's frames come at uneven times, or always by their
    /// numbers, as official evaluations do.
    #[arg(long, value_name = "time|index", help_heading = "Published models")]
    frames_by: Option<By>,
    /// With a model of clips: each picture of a folder is a row of its own, and not a frame of one clip.
    #[arg(long, help_heading = "Published models")]
    images: bool,
    /// Which numbers of 16-bit pictures are black and white, such as 0,4095 for 12 bits in 16; by default 0,65535.
    #[arg(long, value_name = "LOW,HIGH", value_parser = range, help_heading = "Published models")]
    range: Option<[u16; 2]>,
}

/// `--range`.
fn range(text: &str) -> Result<[u16; 2], String> {
    let numbers =
        text.split_once(',').and_then(|(low, high)| Some([low.trim().parse().ok()?, high.trim().parse().ok()?]));
    numbers
        .filter(|[low, high]| low < high)
        .ok_or_else(|| "expected two whole numbers from 0 to 65535, the first smaller, such as 0,4095".to_owned())
}

/// `--frames-by`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Their times where those are uneven.
    Time,
    /// Their numbers.
    Index,
}

impl InputArgs {
    /// Whether one of them was given.
    pub fn array(&self) -> Option<&Path> {
        self.array.as_deref()
    }

    /// As features were made before: see the methods of these names.
    pub fn as_made(frames: Option<u32>, by: FramesBy, images: bool, range: Option<[u16; 2]>) -> Self {
        let frames_by = (by == FramesBy::Index).then_some(By::Index);
        Self { array: None, frames, frames_by, images, range }
    }

    /// The first option that only a published model has and that was given.
    pub fn of_a_model(&self) -> Option<&'static str> {
        let given = [
            ("--frames", self.frames.is_some()),
            ("--frames-by", self.frames_by.is_some()),
            ("--images", self.images),
            ("--range", self.range.is_some()),
        ];
        given.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    /// `--images`.
    pub fn images(&self) -> bool {
        self.images
    }

    /// `--range`.
    pub fn range(&self) -> Option<[u16; 2]> {
        self.range
    }

    /// `--frames`.
    pub fn frames(&self) -> Option<u32> {
        self.frames
    }

    /// `--frames-by`.
    pub fn frames_by(&self) -> FramesBy {
        match self.frames_by {
            None | Some(By::Time) => FramesBy::Time,
            Some(By::Index) => FramesBy::Index,
        }
    }
}

/// One row of the output.
#[derive(Debug)]
enum Item {
    /// Of the images.
    Picture(usize),
    /// A frame, as an image, of one of the open clips.
    Frame(usize, usize),
    /// To be opened when its turn comes.
    Clip(PathBuf),
    /// Of the array.
    Row(usize),
}

/// See the module.
#[derive(Debug)]
pub struct Inputs {
    items: Vec<Item>,
    pictures: Option<Dataset>,
    clips: Vec<Clip>,
    /// Which of them is being read, and where that has come to.
    reading: Mutex<(usize, Cursor)>,
    array: Option<ArrayFile>,
    frames: usize,
    by: FramesBy,
    /// Which numbers of 16 bits are black and white.
    range: [u16; 2],
    filter: foretell_data::Filter,
    /// How folders were taken.
    notes: Vec<String>,
    /// Whether a clip's notes have been told.
    told: AtomicBool,
}

impl Inputs {
    /// Finds them, and reads no pixel. `array` is what [`InputArgs::array`] names.
    pub fn open(args: &InputArgs, array: Option<ArrayFile>, paths: &[PathBuf], model: &Model) -> Result<Self, Error> {
        let of_clips = model.takes_clips();
        let filter = if array.is_some() { foretell_data::Filter::Bilinear } else { filter(model.preprocessing())? };
        let asked = args.frames.map(|frames| frames as usize);
        let frames = asked.unwrap_or(if of_clips { model.frames() } else { 0 });
        let mut inputs = Self {
            items: Vec::new(),
            pictures: None,
            clips: Vec::new(),
            reading: Mutex::default(),
            array: None,
            frames,
            by: args.frames_by(),
            range: args.range.unwrap_or(FULL_RANGE),
            filter,
            notes: Vec::new(),
            told: AtomicBool::new(false),
        };
        if let Some(array) = array {
            if !paths.is_empty() {
                return Err(Error::Misuse("`--input X.npy` takes the place of INPUT: give one of the two".to_owned()));
            }
            if let Some(option) = args.of_a_model() {
                return Err(Error::Misuse(format!(
                    "`{option}` says how files are read, and `--input` takes an array as it is: leave one of the two out"
                )));
            }
            check(&array, model)?;
            inputs.items = (0..array.shape()[0]).map(Item::Row).collect();
            inputs.array = Some(array);
            return Ok(inputs);
        }
        if paths.is_empty() {
            return Err(DataError::NoInputs.into());
        }
        if args.images && !of_clips {
            return Err(Error::Misuse(format!(
                "`--images` is for models of clips, and {} takes each picture as a row anyway: leave it out",
                model.name()
            )));
        }
        if args.frames_by.is_some() && !of_clips && asked.is_none() {
            return Err(Error::Misuse(format!(
                "`--frames-by` says how frames are chosen, and {} takes all frames of a video, a row each: leave it out, or say how many with `--frames N`",
                model.name()
            )));
        }
        let mut found = Found::default();
        for path in paths {
            found.take(path, of_clips, args.images)?;
        }
        inputs.pictures = open_pictures(&mut found, !of_clips, inputs.range)?;
        inputs.notes = found.notes();
        inputs.notes.extend(inputs.pictures.iter().flat_map(Dataset::cautions));
        if of_clips && !args.images {
            inputs.notes.extend(inputs.pictures.as_ref().map(still));
        }
        for note in &inputs.notes {
            say(note);
        }
        // All pictures are opened together, and named so; where clips lie between them, each input's number counts.
        let pictures = found.inputs.iter().filter(|input| matches!(input, Input::Pictures(_))).count();
        let apart = pictures > 1 && pictures < found.inputs.len();
        let all = inputs.pictures.as_ref().map_or(0, |pictures| pictures.len(Part::Train));
        let mut first = 0;
        for input in found.inputs {
            let path = match input {
                Input::Clip(path) => path,
                Input::Pictures(path) => {
                    let count =
                        if apart { open_inputs_over(&[path], inputs.range)?.len(Part::Train) } else { all - first };
                    inputs.items.extend((first..first + count).map(Item::Picture));
                    first += count;
                    continue;
                }
            };
            if of_clips {
                inputs.items.push(Item::Clip(path));
                continue;
            }
            let clip = Clip::open_over(&path, inputs.range)?;
            inputs.tell(&clip);
            let taken = if frames == 0 { (0..clip.frames()).collect() } else { clip.sample(frames, inputs.by) };
            inputs.items.extend(taken.into_iter().map(|frame| Item::Frame(inputs.clips.len(), frame)));
            inputs.clips.push(clip);
        }
        Ok(inputs)
    }

    /// Says how the first clip of which there is something to say was taken.
    fn tell(&self, clip: &Clip) {
        if !clip.notes().is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            say(format_args!("{}: {} (`foretell inspect` tells of each clip)", clip.name(), clip.notes().join("; ")));
        }
    }

    /// How folders were taken: a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// "clip", "image" or "row".
    pub fn unit(&self) -> (&'static str, &'static str) {
        match self.items.first() {
            Some(Item::Clip(_)) => ("clip", "clips"),
            Some(Item::Row(_)) => ("row", "rows"),
            _ => ("image", "images"),
        }
    }

    /// What a row is called.
    pub fn name(&self, index: usize) -> Result<String, Error> {
        Ok(match &self.items[index] {
            Item::Picture(i) => match &self.pictures {
                Some(pictures) => pictures.name(Part::Train, *i)?,
                None => i.to_string(),
            },
            Item::Frame(clip, frame) => format!("{}#{frame}", self.clips[*clip].name()),
            Item::Clip(path) => path.display().to_string(),
            Item::Row(row) => row.to_string(),
        })
    }

    /// What a row looks like: of a clip some of its frames. None where it cannot be read, or is no picture.
    pub fn film(&self, index: usize) -> Option<Film> {
        match &self.items[index] {
            Item::Picture(i) => Some(Film::still((*self.pictures.as_ref()?.load(Part::Train, *i).ok()?.image).clone())),
            Item::Clip(path) => film(path),
            Item::Frame(clip, frame) => self.clips[*clip].read(&[*frame]).ok()?.pop().map(Film::still),
            Item::Row(_) => None,
        }
    }

    /// How many rows are best read at a time from here on.
    pub fn stride(&self, first: usize) -> usize {
        let clip = |item: &Item| matches!(item, Item::Clip(_));
        match self.items.get(first) {
            Some(Item::Clip(_)) => 1,
            // An array's row may be a long clip.
            Some(Item::Row(_)) => {
                let values = self.array.as_ref().map_or(1, |array| array.shape()[1..].iter().product());
                ((1 << 24) / values.max(1)).clamp(1, IMAGES)
            }
            _ => self.items[first..].iter().take(IMAGES).take_while(|item| !clip(item)).count().max(1),
        }
    }

    /// Rows from `first` to before `end`, as the model wants them.
    pub fn load(&self, model: &Model, first: usize, end: usize) -> Vec<Result<Pixels, Error>> {
        let mut loaded = Vec::with_capacity(end - first);
        let mut at = first;
        while at < end {
            if let Item::Frame(clip, _) = self.items[at] {
                let of_it = self.items[at..end].iter().map_while(|item| match item {
                    Item::Frame(other, frame) if *other == clip => Some(*frame),
                    _ => None,
                });
                let frames: Vec<usize> = of_it.collect();
                at += frames.len();
                loaded.extend(self.frames_of(clip, &frames, model));
            } else {
                let frame = |item: &Item| matches!(item, Item::Frame(..));
                let count = self.items[at..end].iter().take_while(|item| !frame(item)).count();
                loaded.par_extend(self.items[at..at + count].par_iter().map(|item| self.one(item, model)));
                at += count;
            }
        }
        loaded
    }

    fn frames_of(&self, clip: usize, frames: &[usize], model: &Model) -> Vec<Result<Pixels, Error>> {
        let of = clip;
        let clip = &self.clips[of];
        let images = {
            let mut reading = self.reading();
            if reading.0 != of {
                *reading = (of, Cursor::default());
            }
            clip.read_on(frames, &mut reading.1)
        };
        match images {
            Ok(images) => {
                let prepared = images.into_par_iter().zip(frames);
                prepared.map(|(image, frame)| self.prepared(clip, vec![image], &[*frame], model)).collect()
            }
            // Each for itself, so that a bad one costs itself alone.
            Err(_) if frames.len() > 1 => frames.iter().map(|frame| self.frame_alone(clip, *frame, model)).collect(),
            Err(error) => vec![Err(error.into())],
        }
    }

    fn frame_alone(&self, clip: &Clip, frame: usize, model: &Model) -> Result<Pixels, Error> {
        let read = clip.read(&[frame]).map_err(Error::from);
        read.and_then(|images| self.prepared(clip, images, &[frame], model))
    }

    fn prepared(&self, clip: &Clip, images: Vec<Image>, frames: &[usize], model: &Model) -> Result<Pixels, Error> {
        let mut pixels = prepare(images, model.preprocessing(), self.filter, clip.name())?;
        pixels.moments = Some(Moments::of(clip, frames));
        Ok(pixels)
    }

    fn reading(&self) -> MutexGuard<'_, (usize, Cursor)> {
        // What a panic left behind is a cursor all the same.
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, item: &Item, model: &Model) -> Result<Pixels, Error> {
        match item {
            Item::Picture(i) => {
                let Some(pictures) = &self.pictures else { return Err(DataError::NoInputs.into()) };
                let sample = pictures.load(Part::Train, *i)?;
                let image = sample.image.as_ref().clone();
                prepare(vec![image], model.preprocessing(), self.filter, &sample.name)
            }
            Item::Clip(path) => {
                let clip = Clip::open_over(path, self.range)?;
                self.tell(&clip);
                let frames = clip.sample(self.frames, self.by);
                self.prepared(&clip, clip.read(&frames)?, &frames, model)
            }
            Item::Row(row) => {
                let Some(array) = &self.array else { return Err(DataError::NoInputs.into()) };
                let shape = match *array.shape() {
                    [_, t, c, h, w] => [t, c, h, w],
                    [_, c, h, w] => [1, c, h, w],
                    _ => [0; 4],
                };
                Ok(Pixels { shape, values: array.row(*row)?, moments: None })
            }
            Item::Frame(clip, frame) => {
                let mut one = self.frames_of(*clip, &[*frame], model);
                one.pop().unwrap_or_else(|| Err(DataError::NoInputs.into()))
            }
        }
    }
}

/// What becomes of pictures that are given to a model of clips.
fn still(pictures: &Dataset) -> String {
    match pictures.len(Part::Train) {
        1 => "a still picture is taken as a clip that shows it all the time".to_owned(),
        count => format!("{count} still pictures are taken as a clip each, which shows it all the time"),
    }
}

/// The pictures among the inputs; folders that hold none may hold `films`.
fn open_pictures(found: &mut Found, films: bool, range: [u16; 2]) -> Result<Option<Dataset>, Error> {
    let path = |input: &Input| match input {
        Input::Pictures(path) => Some(path.clone()),
        Input::Clip(_) => None,
    };
    let paths: Vec<PathBuf> = found.inputs.iter().filter_map(path).collect();
    if paths.is_empty() {
        return Ok(None);
    }
    match open_inputs_over(&paths, range) {
        Err(_) if films && found.films() => open_pictures(found, false, range),
        opened => Ok(Some(opened?)),
    }
}

/// An error if the model cannot take such an array.
fn check(array: &ArrayFile, model: &Model) -> Result<(), Error> {
    let wrong = |what: String| Error::Misuse(format!("the array {} cannot be used: {what}", array.path().display()));
    let (shape, name) = (array.shape(), model.name());
    let stills = !model.takes_clips() || model.encoder().config().dense.is_some();
    let clip = match *shape {
        [b, c, h, w] if stills => [b, 1, c, h, w],
        [b, t, c, h, w] if model.takes_clips() => [b, t, c, h, w],
        _ => {
            let expected =
                if model.takes_clips() { "[B, T, 3, H, W] (T = 1 for single images)" } else { "[B, 3, H, W]" };
            return Err(wrong(format!("its shape is {shape:?}, and {name} takes {expected}")));
        }
    };
    model.grid(clip).map(|_| ()).map_err(|e| wrong(format!("its shape is {shape:?}; {e}")))
}

/// Some frames of a clip, spread over it.
pub(crate) fn film(path: &Path) -> Option<Film> {
    /// Frames of a loop.
    const LOOP: usize = 8;
    /// Frames in a second of a clip that says nothing of its time.
    const USUAL: f64 = 25.0;
    let clip = Clip::open(path).ok()?;
    let frames = clip.sample(LOOP.min(clip.frames()), FramesBy::Time);
    let seconds = match clip.times() {
        Some([first, .., last]) => last - first,
        _ => clip.frames() as f64 / USUAL,
    };
    let fps = frames.len() as f64 / seconds.max(1e-3);
    Some(Film { frames: clip.read(&frames).ok()?, fps })
}
