//! Recorded episodes as they lie in `.npz` files.
//!
//! | key | shape | |
//! |---|---|---|
//! | `observations` or `frames` | `[T, H, W, C]`, `[T, H, W]` or `[T, K]` | `uint8` pictures (0 to 255), or `float` as they are |
//! | `actions` or `action` | `[N, A]` | `float` |
//! | `states` or `state` | `[N, S]` | `float`, optional: for probes alone |
//! | `lengths`, `episode_len` or `episode_lengths` | `[E]` | whole numbers, optional: several episodes one after the other |
//!
//! Lengths count rows of actions. A folder's files are episodes in the order of their names. Actions may lie in a file of their
//! own that holds those of every episode: then an observation file is the episode whose number its name bears, counted from 0.

use std::path::{Path, PathBuf};

use crate::DataError;
use crate::npy::{Array, Values};
use crate::npz::Npz;

const OBSERVATIONS: [&str; 2] = ["observations", "frames"];
const ACTIONS: [&str; 2] = ["actions", "action"];
const STATES: [&str; 2] = ["states", "state"];
const LENGTHS: [&str; 3] = ["lengths", "episode_len", "episode_lengths"];

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
    /// `[F, H, W, C]`.
    pub(crate) pixels: Pixels,
    /// F.
    pub(crate) frames: usize,
    /// `[N, A]`.
    pub(crate) actions: Vec<f32>,
    /// `[N, S]`, or nothing.
    pub(crate) states: Vec<f32>,
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
}

fn bad(path: &Path, reason: String) -> DataError {
    DataError::BadEpisodes { name: path.display().to_string(), reason }
}

/// Rows of numbers, `[N, width]`.
struct Rows {
    width: usize,
    values: Vec<f32>,
}

impl Rows {
    fn of(path: &Path, (key, array): (String, Array)) -> Result<Self, DataError> {
        let Array { shape, values } = array;
        match (shape.as_slice(), values) {
            ([_, width], Values::Floats(values)) if *width > 0 => {
                if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                    let (row, column) = (at / width, at % width);
                    return Err(bad(path, format!("`{key}` holds {} in row {row}, column {column}", values[at])));
                }
                Ok(Self { width: *width, values })
            }
            (shape, _) => Err(bad(
                path,
                format!(
                    "`{key}` must be numbers of type float32 or float64 in rows, one a step, found the shape {shape:?}"
                ),
            )),
        }
    }

    fn count(&self) -> usize {
        self.values.len() / self.width
    }

    fn slice(&self, rows: std::ops::Range<usize>) -> Vec<f32> {
        self.values[rows.start * self.width..rows.end * self.width].to_vec()
    }
}

/// Actions, perhaps states, of one or several episodes.
struct Steps {
    actions: Rows,
    states: Option<Rows>,
    /// Rows of each episode.
    lengths: Option<Vec<usize>>,
}

impl Steps {
    fn read(path: &Path, npz: &mut Npz) -> Result<Self, DataError> {
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
        if let Some(states) = states.as_ref().filter(|states| states.count() != actions.count()) {
            let (n, s) = (actions.count(), states.count());
            return Err(bad(path, format!("it has {n} actions and {s} states: expected one state for each action")));
        }
        let lengths = npz.find(&LENGTHS)?.map(|lengths| Self::lengths(path, lengths, actions.count())).transpose()?;
        Ok(Self { actions, states, lengths })
    }

    fn lengths(path: &Path, (key, array): (String, Array), rows: usize) -> Result<Vec<usize>, DataError> {
        let Values::Whole(values) = array.values else {
            return Err(bad(path, format!("`{key}` must be whole numbers (int32 or int64), one an episode")));
        };
        let lengths: Option<Vec<usize>> = values.iter().map(|x| usize::try_from(*x).ok().filter(|x| *x > 0)).collect();
        let Some(lengths) = lengths.filter(|_| array.shape.len() == 1) else {
            return Err(bad(path, format!("`{key}` must hold positive numbers, one an episode")));
        };
        match lengths.iter().try_fold(0_usize, |sum, length| sum.checked_add(*length)) {
            Some(sum) if sum == rows => Ok(lengths),
            sum => Err(bad(
                path,
                format!(
                    "`{key}` adds up to {}, but there are {rows} actions: expected as many",
                    sum.map_or("more than can be counted".to_owned(), |sum| sum.to_string())
                ),
            )),
        }
    }

    /// Rows of one episode.
    fn range(&self, episode: usize) -> Option<std::ops::Range<usize>> {
        match &self.lengths {
            None => (episode == 0).then(|| 0..self.actions.count()),
            Some(lengths) => {
                let length = lengths.get(episode)?;
                let start: usize = lengths[..episode].iter().sum();
                Some(start..start + length)
            }
        }
    }

    fn episodes(&self) -> usize {
        self.lengths.as_ref().map_or(1, Vec::len)
    }
}

/// Pictures or numbers, `[F, H, W, C]`.
struct Seen {
    frames: usize,
    /// `[C, H, W]`.
    observation: [usize; 3],
    pixels: Pixels,
}

impl Seen {
    fn read(path: &Path, npz: &mut Npz) -> Result<Self, DataError> {
        let Some((key, Array { shape, values })) = npz.find(&OBSERVATIONS)? else {
            return Err(bad(path, format!("it has neither `observations` nor `frames`: it holds {}", npz.keys())));
        };
        let (frames, observation) = match *shape.as_slice() {
            [t, h, w, c] => (t, [c, h, w]),
            [t, h, w] => (t, [1, h, w]),
            [t, k] => (t, [k, 1, 1]),
            _ => {
                return Err(bad(
                    path,
                    format!("`{key}` must have the shape [T, H, W, C], [T, H, W] or [T, K], found {shape:?}"),
                ));
            }
        };
        if observation.contains(&0) || frames == 0 {
            return Err(bad(path, format!("`{key}` of shape {shape:?} holds nothing")));
        }
        let pixels = match values {
            Values::Bytes(bytes) => Pixels::Bytes(bytes),
            Values::Floats(values) => {
                if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                    let frame = at / (values.len() / frames);
                    return Err(bad(path, format!("`{key}` holds {} in observation {frame}", values[at])));
                }
                Pixels::Floats(values)
            }
            Values::Whole(_) | Values::Text(_) => {
                return Err(bad(path, format!("`{key}` must be uint8, float32 or float64, found wider whole numbers")));
            }
        };
        Ok(Self { frames, observation, pixels })
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
        return Err(bad(path, "the folder holds no `.npz` file".to_owned()));
    }
    Ok(files)
}

impl Recordings {
    /// The episodes at `path`, a file or a folder, with the actions of `actions` where they lie apart; an observation was
    /// recorded at every `every`th action.
    pub(crate) fn read(path: &Path, actions: Option<&Path>, every: usize) -> Result<Self, DataError> {
        let apart = actions.map(|path| Npz::open(path).and_then(|mut npz| Ok((path, Steps::read(path, &mut npz)?))));
        let apart = apart.transpose()?;
        let mut all: Option<Self> = None;
        for file in files(path)? {
            let mut npz = Npz::open(&file)?;
            let seen = Seen::read(&file, &mut npz)?;
            let own = if apart.is_none() { Some(Steps::read(&file, &mut npz)?) } else { None };
            let (steps, numbers) = match (&own, &apart) {
                (Some(steps), _) => (steps, 0..steps.episodes()),
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
                    (steps, number..number + 1)
                }
                (None, None) => unreachable!("actions are read from one place or the other"),
            };
            let found = Self {
                observation: seen.observation,
                action: steps.actions.width,
                state: steps.states.as_ref().map_or(0, |s| s.width),
                episodes: Vec::new(),
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
            all.add(&file, &seen, steps, numbers, every)?;
        }
        all.filter(|all| !all.episodes.is_empty()).ok_or_else(|| bad(path, "it holds no episode".to_owned()))
    }

    fn add(
        &mut self,
        file: &Path,
        seen: &Seen,
        steps: &Steps,
        numbers: std::ops::Range<usize>,
        every: usize,
    ) -> Result<(), DataError> {
        let several = steps.lengths.is_some() && numbers.len() > 1;
        let mut first = 0;
        for number in numbers {
            let rows = steps.range(number).expect("a number that was looked up");
            let frames = if several { rows.len().div_ceil(every) } else { seen.frames };
            let name = if several { format!("{}#{number}", file.display()) } else { file.display().to_string() };
            let most = frames.saturating_mul(every);
            if frames < 2 || !(most.saturating_sub(every)..=most).contains(&rows.len()) {
                let hint = if rows.len() > most {
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
            if first + frames > seen.frames {
                return Err(bad(file, format!("it has {} observations, fewer than its lengths ask for", seen.frames)));
            }
            self.episodes.push(Recording {
                name,
                pixels: seen.slice(first..first + frames),
                frames,
                actions: steps.actions.slice(rows.clone()),
                states: steps.states.as_ref().map_or(Vec::new(), |states| states.slice(rows)),
            });
            first += frames;
        }
        if first != seen.frames {
            return Err(bad(file, format!("it has {} observations, but its lengths ask for {first}", seen.frames)));
        }
        Ok(())
    }
}
