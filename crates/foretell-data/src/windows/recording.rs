//! Recorded episodes as they lie in `.npz` files.
//!
//! | key | shape | |
//! |---|---|---|
//! | `observations` or `frames` | `[T, H, W, C]`, `[T, C, H, W]`, `[T, H, W]` or `[T, K]` | `uint8` pictures (0 to 255), or other numbers as they are |
//! | `actions` or `action` | `[N, A]` or `[N]` | numbers or `bool` |
//! | `states` or `state` | `[N, S]` or `[T, S]` | optional: for probes alone |
//! | [where episodes end](super::ends) | | optional: several episodes one after the other |
//!
//! An episode has as many observations as actions, or one more. A folder's files are episodes in the order of their names.
//! Actions may lie in a file of their own that holds those of every episode: then an observation file is the episode whose
//! number its name bears, counted from 0.

use std::path::{Path, PathBuf};

use super::ends::{End, Ends, Flags};
use crate::DataError;
use crate::axes::Layout;
use crate::kind::foreign_in;
use crate::npy::{Array, Values};
use crate::npz::Npz;

/// Keys of observations.
pub(crate) const OBSERVATIONS: [&str; 2] = ["observations", "frames"];
/// Keys of actions.
pub(crate) const ACTIONS: [&str; 2] = ["actions", "action"];
const STATES: [&str; 2] = ["states", "state"];
/// More choices than any recorder has: whole numbers beyond are none.
const MOST_CHOICES: usize = 4096;

/// How files are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    /// Where the actions lie, if not beside the observations.
    pub(crate) actions: Option<&'a Path>,
    /// Actions recorded for each observation.
    pub(crate) every: usize,
    /// Where channels lie, if that is said.
    pub(crate) layout: Option<Layout>,
    /// `[C, H, W]`, where that was found before.
    pub(crate) observation: Option<[usize; 3]>,
    /// Which arrays say where episodes end.
    pub(crate) ends: &'a str,
    /// Whether each action is one of several choices.
    pub(crate) one_hot: bool,
}

/// Observations as they were recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pixels {
    /// 0 to 255.
    Bytes(Vec<u8>),
    /// As they are.
    Floats(Vec<f32>),
}

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recording {
    /// The file, and which of its episodes.
    pub(crate) name: String,
    /// `[F, H, W, C]`, or `[F, C, H, W]`.
    pub(crate) pixels: Pixels,
    /// F.
    pub(crate) frames: usize,
    /// `[N, A]`.
    pub(crate) actions: Vec<f32>,
    /// `[N, S]`, or nothing.
    pub(crate) states: Vec<f32>,
    /// How it ends, if that is said.
    pub(crate) end: Option<End>,
}

/// All episodes of a file or folder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recordings {
    /// `[C, H, W]`.
    pub(crate) observation: [usize; 3],
    /// A.
    pub(crate) action: usize,
    /// S, 0 where there are none.
    pub(crate) state: usize,
    /// In the order of their names.
    pub(crate) episodes: Vec<Recording>,
    /// How the observations' axes lie, and the shape that says so where they are pictures with channels.
    pub(crate) layout: Layout,
    pub(crate) pictures: Option<(String, Vec<usize>)>,
    /// The keys that said where episodes end, in the first file that has some.
    pub(crate) ends: Option<String>,
    /// What was left out, and what else to know.
    pub(crate) left_out: LeftOut,
    /// Whether actions are whole numbers in one column, which may be choices.
    pub(crate) choices: bool,
}

/// What people recorded and no window can have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LeftOut {
    /// Episodes with a single observation, or none.
    pub(crate) single: usize,
    /// Episodes whose last action, which nothing follows, is no number.
    pub(crate) unused: usize,
    /// Others, as they are told.
    pub(crate) notes: Vec<String>,
}

pub(crate) fn bad(path: &Path, reason: String) -> DataError {
    DataError::BadEpisodes { name: path.display().to_string(), reason }
}

/// What helps where something is no number.
const REPAIR: &str = "; leave its episode out, or save what was meant, such as `numpy.nan_to_num(x)` where 0 was";

/// Rows of numbers, `[N, width]`.
struct Rows {
    key: String,
    width: usize,
    values: Vec<f32>,
    whole: bool,
}

impl Rows {
    fn of(path: &Path, (key, array): (String, Array)) -> Result<Self, DataError> {
        let Array { shape, values } = array;
        let whole = !matches!(values, Values::Floats(_));
        let width = match *shape.as_slice() {
            [_] => 1,
            [_, width] => width,
            _ => 0,
        };
        if let Values::Text(texts) = &values {
            let first = texts.first().map(|text| format!(" (`{text}`)")).unwrap_or_default();
            return Err(bad(
                path,
                format!(
                    "`{key}` holds texts{first} where numbers were expected: save the number of each, such as `numpy.unique(x, return_inverse=True)[1]`"
                ),
            ));
        }
        match numbers(values) {
            Some(values) if width > 0 => Ok(Self { key, width, values, whole }),
            _ => Err(bad(path, format!("`{key}` must be numbers in rows, [N] or [N, A], found the shape {shape:?}"))),
        }
    }

    /// An error if one of these rows holds something that is no number.
    fn check(&self, path: &Path, rows: std::ops::Range<usize>) -> Result<(), DataError> {
        let Self { key, width, values, .. } = self;
        let Some(at) = (rows.start * width..rows.end * width).find(|at| !values[*at].is_finite()) else {
            return Ok(());
        };
        let (row, column) = (at / width, at % width);
        let hint = if row == rows.start && rows.len() > 1 && self.all_finite(row + 1..rows.end) {
            "; it is the first of its episode: where each action led to the observation beside it, save `actions[1:]` of each episode"
        } else {
            REPAIR
        };
        Err(bad(path, format!("`{key}` holds {} in row {row}, column {column}{hint}", values[at])))
    }

    fn all_finite(&self, rows: std::ops::Range<usize>) -> bool {
        self.values[rows.start * self.width..rows.end * self.width].iter().all(|x| x.is_finite())
    }

    fn count(&self) -> usize {
        self.values.len() / self.width
    }

    fn slice(&self, rows: std::ops::Range<usize>) -> Vec<f32> {
        self.values[rows.start * self.width..rows.end * self.width].to_vec()
    }
}

/// Numbers of any kind as floats; nothing of texts.
fn numbers(values: Values) -> Option<Vec<f32>> {
    match values {
        Values::Bytes(bytes) => Some(bytes.into_iter().map(f32::from).collect()),
        Values::Whole(values) => Some(values.into_iter().map(|x| x as f32).collect()),
        Values::Floats(values) => Some(values),
        Values::Text(_) => None,
    }
}

/// Actions, perhaps states, of one or several episodes.
struct Steps {
    actions: Rows,
    states: Option<Rows>,
    /// Where episodes end, if the file says it.
    ends: Option<Ends>,
    flags: Flags,
    notes: Vec<String>,
}

impl Steps {
    fn read(path: &Path, npz: &mut Npz, ends: &str) -> Result<Self, DataError> {
        let Some(actions) = npz.find(&ACTIONS)? else {
            let held = npz.keys();
            return Err(bad(
                path,
                format!(
                    "it has no `actions`: it holds {held}; if they lie in a file of their own, name it in `data.actions`"
                ),
            ));
        };
        let actions = Rows::of(path, actions)?;
        let states = npz.find(&STATES)?.map(|states| Rows::of(path, states)).transpose()?;
        if let Some(states) = &states {
            states.check(path, 0..states.count())?;
        }
        let mut notes = Vec::new();
        let ends = Ends::read(path, npz, ends, actions.count(), &mut notes)?;
        let flags = Flags::read(path, npz, actions.count(), ends.as_ref().map_or(1, |ends| ends.lengths.len()))?;
        Ok(Self { actions, states, ends, flags, notes })
    }

    /// Rows of one episode's actions.
    fn range(&self, episode: usize) -> Option<std::ops::Range<usize>> {
        match &self.ends {
            None => (episode == 0).then(|| 0..self.actions.count()),
            Some(Ends { lengths, .. }) => {
                let length = lengths.get(episode)?;
                let start: usize = lengths[..episode].iter().sum();
                Some(start..start + length)
            }
        }
    }

    fn episodes(&self) -> usize {
        self.ends.as_ref().map_or(1, |ends| ends.lengths.len())
    }
}

/// Pictures or numbers, `[F, H, W, C]` or `[F, C, H, W]`.
struct Seen {
    frames: usize,
    /// `[C, H, W]`.
    observation: [usize; 3],
    layout: Layout,
    /// Key and shape of pictures with channels.
    pictures: Option<(String, Vec<usize>)>,
    pixels: Pixels,
}

impl Seen {
    fn read(path: &Path, npz: &mut Npz, reading: &Reading<'_>) -> Result<Self, DataError> {
        let Some((key, Array { shape, values })) = npz.find(&OBSERVATIONS)? else {
            return Err(bad(path, format!("it has neither `observations` nor `frames`: it holds {}", npz.keys())));
        };
        let mut layout = Layout::ChannelsLast;
        let (frames, observation) = match *shape.as_slice() {
            [t, a, b, c] => {
                let axes = [a, b, c];
                let known = [Layout::ChannelsLast, Layout::ChannelsFirst];
                let known = known.into_iter().find(|layout| reading.observation == Some(layout.channels_first(axes)));
                let Some(told) = reading.layout.or(known).or_else(|| Layout::of(axes)) else {
                    return Err(bad(
                        path,
                        format!(
                            "`{key}` of shape {shape:?} may have its channels on the last axis or on the second: say which by setting `data.layout` to `channels-last` or `channels-first` (`x.transpose(0, 2, 3, 1)` brings the second axis behind the others)"
                        ),
                    ));
                };
                layout = told;
                (t, layout.channels_first(axes))
            }
            [t, h, w] => (t, [1, h, w]),
            [t, k] => (t, [k, 1, 1]),
            _ => {
                return Err(bad(
                    path,
                    format!(
                        "`{key}` must have the shape [T, H, W, C], [T, C, H, W], [T, H, W] or [T, K], found {shape:?}"
                    ),
                ));
            }
        };
        if observation.contains(&0) || frames == 0 {
            return Err(bad(path, format!("`{key}` of shape {shape:?} holds nothing")));
        }
        let pixels = match values {
            Values::Bytes(bytes) => Pixels::Bytes(bytes),
            values => {
                let Some(values) = numbers(values) else {
                    return Err(bad(path, format!("`{key}` must be numbers, found texts")));
                };
                if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                    let frame = at / (values.len() / frames);
                    return Err(bad(path, format!("`{key}` holds {} in observation {frame}{REPAIR}", values[at])));
                }
                Pixels::Floats(values)
            }
        };
        let pictures = (shape.len() == 4).then_some((key, shape));
        Ok(Self { frames, observation, layout, pictures, pixels })
    }

    fn slice(&self, frames: std::ops::Range<usize>) -> Pixels {
        let area: usize = self.observation.iter().product();
        let range = frames.start * area..frames.end * area;
        match &self.pixels {
            Pixels::Bytes(bytes) => Pixels::Bytes(bytes[range].to_vec()),
            Pixels::Floats(values) => Pixels::Floats(values[range].to_vec()),
        }
    }
}

/// The number in a file's name: its first run of digits.
fn number(path: &Path) -> Option<usize> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let digits: String = stem.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The `.npz` files at a path, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|source| DataError::reading(path, source))? {
        let file = entry.map_err(|source| DataError::reading(path, source))?.path();
        if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(foreign_in(path).unwrap_or_else(|| bad(path, "the folder holds no `.npz` file".to_owned())));
    }
    Ok(files)
}

impl Recordings {
    /// The episodes at `path`, a file or a folder.
    pub(crate) fn read(path: &Path, reading: &Reading<'_>) -> Result<Self, DataError> {
        let read = |path: &Path| Npz::open(path).and_then(|mut npz| Steps::read(path, &mut npz, reading.ends));
        let apart = reading.actions.map(|path| Ok((path, read(path)?))).transpose()?;
        let mut all: Option<Self> = None;
        for file in files(path)? {
            let mut npz = Npz::open(&file)?;
            let seen = Seen::read(&file, &mut npz, reading)?;
            let own = if apart.is_none() { Some(Steps::read(&file, &mut npz, reading.ends)?) } else { None };
            let (source, steps, numbers) = match (&own, &apart) {
                (Some(steps), _) => (file.as_path(), steps, 0..steps.episodes()),
                (None, Some((other, steps))) => {
                    let Some(number) = number(&file) else {
                        let other = other.display();
                        return Err(bad(
                            &file,
                            format!(
                                "its name bears no number, which would say whose episode's actions in {other} are its own"
                            ),
                        ));
                    };
                    if steps.range(number).is_none() {
                        let (count, other) = (steps.episodes(), other.display());
                        return Err(bad(
                            &file,
                            format!(
                                "its name bears the number {number}, but {other} holds {count} episodes, counted from 0"
                            ),
                        ));
                    }
                    (*other, steps, number..number + 1)
                }
                (None, None) => unreachable!("actions are read from one place or the other"),
            };
            let found = Self {
                observation: seen.observation,
                action: steps.actions.width,
                state: steps.states.as_ref().map_or(0, |s| s.width),
                episodes: Vec::new(),
                layout: seen.layout,
                pictures: seen.pictures.clone(),
                ends: None,
                left_out: LeftOut::default(),
                choices: true,
            };
            let all = all.get_or_insert_with(|| found.clone());
            if (all.observation, all.action, all.state) != (found.observation, found.action, found.state) {
                return Err(bad(
                    &file,
                    format!(
                        "its observations [C, H, W] are {:?} with actions of {} and states of {} numbers, but the files before it have {:?}, {} and {}",
                        found.observation, found.action, found.state, all.observation, all.action, all.state
                    ),
                ));
            }
            let notes = steps.notes.iter().filter(|note| !all.left_out.notes.contains(note)).cloned();
            let notes: Vec<String> = notes.collect();
            all.left_out.notes.extend(notes);
            all.ends = all.ends.take().or_else(|| steps.ends.as_ref().map(|ends| ends.keys.clone()));
            all.choices &= steps.actions.whole && steps.actions.width == 1;
            all.add(&file, &seen, (source, steps), numbers, reading.every)?;
        }
        let mut all = all.ok_or_else(|| bad(path, "it holds no episode".to_owned()))?;
        if all.episodes.is_empty() {
            let found = all.left_out.single;
            return Err(bad(
                path,
                format!(
                    "its {found} episodes have a single observation or none: expected two or more, and an action between"
                ),
            ));
        }
        if reading.one_hot {
            all.choose(path)?;
        }
        Ok(all)
    }

    /// Of each episode of a file, how many observations it has: as many as actions, rounded up where one was recorded for
    /// several, or one more. Of a file of one, all.
    fn frames(
        file: &Path,
        seen: &Seen,
        (rows, ends): (&[usize], Option<&Ends>),
        every: usize,
    ) -> Result<Vec<usize>, DataError> {
        let observed = ends.is_some_and(|ends| ends.observed);
        if let [_] = rows {
            return Ok(vec![seen.frames]);
        }
        let plain: Vec<usize> = rows.iter().map(|rows| rows.div_ceil(every)).collect();
        let more: Vec<usize> = rows.iter().map(|rows| rows / every + 1).collect();
        let [fewest, most] = [&plain, &more].map(|frames| frames.iter().sum::<usize>());
        // An empty episode may have left no observation either.
        let some: Vec<usize> = rows.iter().zip(&more).map(|(rows, more)| if *rows == 0 { 0 } else { *more }).collect();
        if seen.frames == fewest && !observed {
            Ok(plain)
        } else if seen.frames == most {
            Ok(more)
        } else if seen.frames == some.iter().sum::<usize>() {
            Ok(some)
        } else {
            let found = seen.frames;
            let keys = ends.map_or("lengths", |ends| ends.keys.as_str());
            let sum: usize = rows.iter().sum();
            let ask = format!(
                "{} its `{keys}` ({} episodes, {sum} actions in all) asks for {fewest}, or {most} with one behind each last action",
                if found < fewest { "fewer than" } else { "and" },
                rows.len()
            );
            let hint = if every > 1 {
                ""
            } else {
                "; where one was recorded for several actions, say how many in `data.every`"
            };
            Err(bad(file, format!("it has {found} observations, {ask}{hint}")))
        }
    }

    fn add(
        &mut self,
        file: &Path,
        seen: &Seen,
        (source, steps): (&Path, &Steps),
        numbers: std::ops::Range<usize>,
        every: usize,
    ) -> Result<(), DataError> {
        let several = numbers.len() > 1;
        let of = |number: usize| steps.range(number).expect("a number that was looked up");
        let rows: Vec<usize> = numbers.clone().map(|number| of(number).len()).collect();
        let frames_of = Self::frames(file, seen, (&rows, steps.ends.as_ref()), every)?;
        let mut first = 0;
        for (number, frames) in numbers.zip(frames_of) {
            let rows = of(number);
            let name = if several { format!("{}#{number}", file.display()) } else { file.display().to_string() };
            let most = frames.saturating_mul(every);
            if !(most.saturating_sub(every)..=most).contains(&rows.len()) {
                let hint = if rows.len() > most && frames > 1 {
                    let k = rows.len().div_ceil(frames);
                    format!("; if one observation was recorded for {k} actions, say `data.every = {k}`")
                } else {
                    String::new()
                };
                return Err(bad(
                    file,
                    format!(
                        "{frames} observations and {} actions do not belong together: expected two observations or more, and {every} times as many actions or a few less{hint}",
                        rows.len()
                    ),
                ));
            }
            let states = steps.states.as_ref().map_or(Ok(Vec::new()), |states| {
                // Where actions lie apart, so do the states of all episodes.
                let observations = if source == file { seen.frames } else { 0 };
                let observed = (first..first + frames, observations);
                Self::states(file, states, (&rows, steps.actions.count()), observed, every)
            })?;
            let from = first;
            first += frames;
            if frames < 2 {
                self.left_out.single += 1;
                continue;
            }
            // What is done behind the last observation leads to nothing that was seen.
            let used = rows.start + (frames - 1) * every;
            let end = steps.flags.end(number, &rows);
            let kept = if steps.actions.all_finite(used..rows.end) { rows } else { rows.start..used };
            self.left_out.unused += usize::from(kept.end < of(number).end);
            steps.actions.check(source, kept.clone())?;
            self.episodes.push(Recording {
                name,
                pixels: seen.slice(from..first),
                frames,
                actions: steps.actions.slice(kept),
                states,
                end,
            });
        }
        Ok(())
    }

    /// States of an episode, as many as actions or, of one for each observation, at the rows of the actions that follow them.
    fn states(
        file: &Path,
        states: &Rows,
        (rows, actions): (&std::ops::Range<usize>, usize),
        (frames, observations): (std::ops::Range<usize>, usize),
        every: usize,
    ) -> Result<Vec<f32>, DataError> {
        let count = states.count();
        if count == actions {
            Ok(states.slice(rows.clone()))
        } else if count == observations {
            Ok(frames.flat_map(|frame| states.slice(frame..frame + 1).repeat(every)).collect())
        } else {
            Err(bad(
                file,
                format!(
                    "it has {actions} actions and {count} states: expected one state for each action or observation"
                ),
            ))
        }
    }

    /// The change from each state to the next becomes the action between them. A last observation whose state was not recorded is
    /// left out.
    pub(crate) fn take_differences(&mut self, path: &Path, every: usize) -> Result<(), DataError> {
        let width = self.state;
        if width == 0 {
            return Err(bad(
                path,
                "`data.differences` takes the change of states for actions, and it has no `states`: leave it out"
                    .to_owned(),
            ));
        }
        let area: usize = self.observation.iter().product();
        for episode in &mut self.episodes {
            let known = (episode.states.len() / width).div_ceil(every);
            episode.frames = episode.frames.min(known);
            match &mut episode.pixels {
                Pixels::Bytes(bytes) => bytes.truncate(episode.frames * area),
                Pixels::Floats(values) => values.truncate(episode.frames * area),
            }
            let steps = episode.frames.saturating_sub(1) * every;
            let states = &episode.states;
            episode.actions = (0..steps * width).map(|i| states[i + width] - states[i]).collect();
        }
        self.action = width;
        self.choices = false;
        Ok(())
    }

    /// Whole numbers from 0 on become a column for each.
    fn choose(&mut self, path: &Path) -> Result<(), DataError> {
        let all = || self.episodes.iter().flat_map(|episode| &episode.actions);
        let whole = |x: &f32| x.fract() == 0.0 && (0.0..MOST_CHOICES as f32).contains(x);
        if let Some(x) = all().find(|x| self.action != 1 || !whole(x)) {
            let found = if self.action == 1 { format!("{x}") } else { format!("{} numbers an action", self.action) };
            return Err(bad(
                path,
                format!(
                    "`data.one_hot` is for one whole number an action, from 0 to {}, found {found}: leave it out",
                    MOST_CHOICES - 1
                ),
            ));
        }
        let choices = all().map(|x| *x as usize + 1).max().unwrap_or(1);
        for episode in &mut self.episodes {
            let one = |x: &f32| (0..choices).map(|k| f32::from(u8::from(k == *x as usize))).collect::<Vec<f32>>();
            episode.actions = episode.actions.iter().flat_map(one).collect();
        }
        self.action = choices;
        Ok(())
    }
}
