//! `foretell embed`: features of any samples, written as they come. Memory does not grow with their number.

pub(super) mod published;

use std::path::{Path, PathBuf};
use std::time::Instant;

use foretell_data::{DataError, Unit};
use foretell_eval::Pool;
use serde::Serialize;

use crate::feature_file::FeatureFile;
use crate::interrupt::stopped;
use crate::kept::KeptRun;
use crate::kept_rows::KeptRows;
use crate::output::{print, print_json, say};
use crate::progress::Progress;
use crate::released::{InputArgs, ModelArgs, Pooling};
use crate::{DeviceChoice, Error, PrecisionChoice};

/// What `embed` was asked.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "foretell embed RUN INPUT... --out FILE [--tokens | --probed]\n       foretell embed --model DIR|FILE INPUT... --out FILE [--tokens | --pool mean] [--layers 3,7,11]\n       foretell embed --model DIR|FILE --input X.npy --out FILE [--tokens]"
)]
pub struct EmbedArgs {
    /// A finished run's folder and then data of the kind that it learnt from, such as images (files, folders, tars, IDX files,
    /// CIFAR binaries); with `--model` no run, but images or clips: frame folders, GIF, y4m, .npy, and what an installed
    /// ffmpeg decodes.
    #[arg(value_name = "PATH", required_unless_present = "array")]
    paths: Vec<PathBuf>,
    /// The file to write: FILE.npz or FILE.safetensors, with `features` [N, D] and the samples' names.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Go on behind the rows that the same call kept when it stopped: they lie in FILE.rows.
    #[arg(long)]
    resume: bool,
    /// Keep every token instead of one vector a sample: of a run `features` is [N, T, D], of a published model the array is
    /// called `tokens`.
    #[arg(long)]
    tokens: bool,
    /// Write what linear probes are given: of a transformer, the means of the last four blocks side by side.
    #[arg(long, conflicts_with_all = ["tokens", "model"])]
    probed: bool,
    #[command(flatten)]
    published: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// How tokens become one vector, which is what happens without `--tokens`.
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        requires = "model",
        conflicts_with = "tokens",
        help_heading = "Published models"
    )]
    pool: Option<Pooling>,
    /// After these blocks, counted from 0, in place of the last one: an axis of its own, [N, L, D].
    #[arg(long, value_name = "I,J", value_delimiter = ',', requires = "model", help_heading = "Published models")]
    layers: Vec<usize>,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// How inputs are gone through, one after the other.
#[derive(Debug, clap::Args)]
pub(super) struct ReadingArgs {
    /// What to do with an input that cannot be read.
    #[arg(long, value_enum, default_value_t)]
    pub(super) on_bad_sample: BadSample,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub(super) device: DeviceChoice,
    /// In how many bits to hold the weights of transformer blocks.
    #[arg(long, value_enum, default_value_t)]
    pub(super) precision: PrecisionChoice,
    /// Print one JSON object at the end instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// `--on-bad-sample`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum BadSample {
    /// Stop and name it.
    #[default]
    Fail,
    /// Leave it out and count it.
    Skip,
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Embedded {
    rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    width: usize,
    seconds: f64,
    samples_per_s: f64,
    skipped: Vec<String>,
}

/// Runs the command.
pub fn embed(args: &EmbedArgs) -> Result<(), Error> {
    let model = args.published.model.is_some();
    match args.paths.split_first() {
        Some((first, _)) if model && first.join("config.toml").is_file() => Err(Error::Misuse(format!(
            "a run ({}) and `--model` exclude each other: give one of the two",
            first.display()
        ))),
        _ if model => published::embed(args),
        _ if let Some(option) = args.inputs.of_a_model() => Err(Error::Misuse(format!(
            "`{option}` is for published models: name one with `--model DIR|FILE`, or leave `{option}` out"
        ))),
        Some((run, input)) if !input.is_empty() => of_run(args, run, input),
        _ => Err(Error::Misuse(
            "`embed` needs a run's folder and then data (`foretell embed RUN INPUT… --out FILE`), or a published model (`foretell \
             embed --model DIR|FILE INPUT… --out FILE`)"
                .to_owned(),
        )),
    }
}

fn of_run(args: &EmbedArgs, run: &Path, input: &[PathBuf]) -> Result<(), Error> {
    let mut file = FeatureFile::create(&args.out)?;
    let skip = args.reading.on_bad_sample == BadSample::Skip;
    let kept = KeptRun::finished_for_others(run, &args.reading.device.open()?, skip)?;
    let encoder = kept.encoder_at(args.reading.precision)?;
    let samples = encoder.open(input)?;
    let (count, unit) = (samples.len(), samples.unit());
    if count == 0 {
        return Err(nothing(input, unit));
    }
    for note in samples.notes() {
        say(note);
    }
    let name = |index: usize| -> Result<String, Error> { Ok(samples.meta(index)?.name) };
    file.check_names((0..count).map(name))?;
    if !args.reading.precision.is_f32() {
        // A search makes queries likewise.
        file.describe(FEATURES, encoder.about().to_string())?;
    }

    let started = Instant::now();
    let pool = match (args.tokens, args.probed) {
        (true, _) => Pool::Tokens,
        (_, true) => Pool::Probed,
        _ => Pool::Sample,
    };
    let made_by = format!("{} {pool:?}", encoder.about());
    let mut kept = begin(args, &mut file, made_by, || (0..count).map(name))?;
    let mut progress = Progress::new(count as u64, unit.one, unit.many);
    let (begun, mut row_len) = (kept.done, kept.row.first().copied());
    for first in (begun..count).step_by(CHUNK) {
        if stopped() {
            return Err(stop(args, file, kept, unit, (0..count).map(name), Stop::Asked(count)));
        }
        let end = count.min(first + CHUNK);
        for (features, index) in samples.features(first..end, pool).into_iter().zip(first..) {
            match features {
                Ok(features) => {
                    if let Some(expected) = row_len.filter(|expected| *expected != features.len()) {
                        return Err(Error::Misuse(format!(
                            "`--tokens`: {} have different numbers of tokens ({} numbers in `{}`, {expected} before), which do not fit one array: leave `--tokens` out",
                            unit.many,
                            features.len(),
                            name(index)?
                        )));
                    }
                    if features.iter().any(|value| !value.is_finite()) {
                        let what = format!(
                            "the features of `{}` are no numbers: its values are out of all proportion to what the encoder was trained on",
                            name(index)?
                        );
                        return Err(stop(args, file, kept, unit, (0..count).map(name), Stop::At(what)));
                    }
                    row_len = Some(features.len());
                    kept.row = vec![features.len()];
                    file.append(&features)?;
                }
                Err(_) if args.reading.on_bad_sample == BadSample::Skip => kept.skipped.push(index),
                Err(source) => {
                    return Err(stop(args, file, kept, unit, (0..count).map(name), Stop::Unreadable(source)));
                }
            }
            kept.done = index + 1;
        }
        let done = end - begun;
        progress.at(end as u64, || format!("{:.0} {}/s", done as f64 / started.elapsed().as_secs_f64(), unit.many));
    }
    let (rows, skipped) = (kept.rows(), kept.skipped);
    let Some(row_len) = row_len else {
        // The first one again, for its reason.
        let first = (count > 0).then(|| samples.features(0..1, pool).into_iter().find_map(Result::err)).flatten();
        return Err(first
            .map_or(DataError::NoInputs, |source| DataError::AllBad { unit, tried: count, source: Box::new(source) })
            .into());
    };
    let width = if args.tokens { encoder.width() } else { row_len };
    let tokens = args.tokens.then(|| row_len / width.max(1));
    let shape: Vec<usize> = [Some(rows), tokens, Some(width)].into_iter().flatten().collect();
    let good = |index: &usize| skipped.binary_search(index).is_err();
    file.finish(&shape, || (0..count).filter(good).map(name))?;

    let seconds = started.elapsed().as_secs_f64();
    let skipped = skipped.iter().map(|i| name(*i)).collect::<Result<Vec<_>, _>>()?;
    if !skipped.is_empty() {
        say(format_args!("{} left out as unreadable, the first is {}", unit.counted(skipped.len()), skipped[0]));
    }
    let samples_per_s = (count - begun) as f64 / seconds.max(1e-9);
    if args.reading.json {
        return print_json(&Embedded { rows, tokens, width, seconds, samples_per_s, skipped });
    }
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    print(format_args!("{}: features [{shape}], {samples_per_s:.0} {}/s\n", args.out.display(), unit.many))
}

/// Where a call begins: at the first input, or behind what the same call has kept.
fn begin<N: Iterator<Item = Result<String, Error>>>(
    args: &EmbedArgs,
    file: &mut FeatureFile,
    made_by: String,
    names: impl FnOnce() -> N,
) -> Result<KeptRows, Error> {
    if !args.resume {
        return Ok(KeptRows::none(made_by));
    }
    let kept = file.take_up()?;
    kept.check(&made_by, names())?;
    say(format_args!("going on behind {} kept rows", kept.rows()));
    Ok(kept)
}

/// Why a call ends before its last input.
enum Stop {
    /// Ctrl-C, before the last of so many.
    Asked(usize),
    /// An input that cannot be read.
    Unreadable(DataError),
    /// An input that makes no features.
    At(String),
}

/// Keeps the rows that there are, and says so.
fn stop(
    args: &EmbedArgs,
    file: FeatureFile,
    mut kept: KeptRows,
    unit: Unit,
    names: impl Iterator<Item = Result<String, Error>>,
    why: Stop,
) -> Error {
    let (done, rows, place) = (kept.done, kept.rows(), KeptRows::place(&args.out));
    if rows == 0 {
        return match why {
            Stop::Asked(count) => {
                Error::Failure(format!("stopped after {done} of {count} {}: there are no rows yet", unit.many))
            }
            Stop::Unreadable(source) => unreadable(&source),
            Stop::At(what) => Error::Misuse(what),
        };
    }
    let written = KeptRows::mark_of(names.take(done)).and_then(|names| {
        kept.names = names;
        file.keep(&kept)
    });
    if let Err(error) = written {
        return error;
    }
    let behind = format!(
        "the rows of {} are kept in {}, and the same call goes on behind them with `--resume`",
        unit.counted(rows),
        place.display()
    );
    match why {
        Stop::Asked(count) => Error::Failure(format!("stopped after {done} of {count} {}: {behind}", unit.many)),
        Stop::Unreadable(source) => {
            Error::Misuse(format!("{source} ({behind}; to leave such samples out: `--on-bad-sample skip`)"))
        }
        Stop::At(what) => Error::Misuse(format!("{what} ({behind})")),
    }
}

/// An error for inputs that hold nothing.
pub(super) fn nothing(inputs: &[PathBuf], unit: Unit) -> Error {
    let (first, more) =
        (inputs.first().map(|path| path.display().to_string()).unwrap_or_default(), inputs.len().saturating_sub(1));
    let others = if more > 0 { format!(" and {more} more inputs hold") } else { " holds".to_owned() };
    Error::Misuse(format!("`{first}`{others} no {}: give files or folders that hold some", unit.many))
}

/// A sample that cannot be read, and how to go on without it.
pub(super) fn unreadable(source: &DataError) -> Error {
    Error::Misuse(format!("{source} (to go on without such samples: `--on-bad-sample skip`)"))
}

/// The array that holds one row for each sample.
const FEATURES: &str = "features";

/// Samples that go through an encoder at a time.
const CHUNK: usize = 128;
