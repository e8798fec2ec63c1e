//! `foretell embed --model`: features of a published model.

use std::collections::BTreeMap;
use std::time::Instant;

use foretell_data::{DataError, Unit};
use serde::Serialize;
use serde_json::Value;

use super::{BadSample, EmbedArgs, Stop, begin, nothing, stop, unreadable};
use crate::Error;
use crate::feature_file::FeatureFile;
use crate::interrupt::stopped;
use crate::kept_rows::KeptRows;
use crate::output::{counted, print, print_json, say};
use crate::progress::Progress;
use crate::released::{ArrayFile, Inputs, MadeBy, Moments, Pass, Rows, Taken};

/// The outcome for scripts.
#[derive(Serialize)]
struct Embedded {
    rows: usize,
    shape: Vec<usize>,
    seconds: f64,
    rows_per_s: f64,
    skipped: Vec<String>,
    #[serde(flatten)]
    about: Value,
}

/// Rows as they come, all of one shape.
struct Sink {
    file: FeatureFile,
    shape: Option<Vec<usize>>,
}

impl Sink {
    fn take(&mut self, rows: Option<Rows>) -> Result<(), Error> {
        let Some(rows) = rows else { return Ok(()) };
        match &self.shape {
            Some(shape) if *shape != rows.shape => {
                return Err(Error::Misuse(format!(
                    "inputs of different sizes make rows of {shape:?} and of {:?}, which do not fit one array: give inputs of one size, or \
                     leave `--tokens` out",
                    rows.shape
                )));
            }
            _ => self.shape = Some(rows.shape),
        }
        if rows.values.iter().any(|value| !value.is_finite()) {
            return Err(Error::Misuse(
                "the model's features are no finite numbers (NaN or infinite): its weights or its config.json are not what it was trained \
                 with; restore them from where they came"
                    .to_owned(),
            ));
        }
        self.file.append(&rows.values)
    }

    /// What has gone into the network comes out before the rows are kept.
    fn stop(
        mut self,
        pass: &mut Pass<'_>,
        args: &EmbedArgs,
        mut kept: KeptRows,
        unit: Unit,
        names: impl Iterator<Item = Result<String, Error>>,
        why: Stop,
    ) -> Error {
        if let Err(error) = pass.flush().and_then(|rows| self.take(rows)) {
            return error;
        }
        kept.row = self.shape.unwrap_or_default();
        stop(args, self.file, kept, unit, names, why)
    }
}

/// Runs the command.
pub(super) fn embed(args: &EmbedArgs) -> Result<(), Error> {
    let mut file = FeatureFile::create(&args.out)?;
    // Its header is read before the model's gigabytes.
    let array = args.inputs.array().map(ArrayFile::open).transpose()?;
    let device = args.reading.device.open()?;
    let mut published = args.published.open(&device, args.reading.precision)?;
    let inputs = Inputs::open(&args.inputs, array, &args.paths, &published.model)?;
    let (taken, holding) = match (&args.layers, args.tokens) {
        (layers, tokens) if !layers.is_empty() => {
            (Taken::Layers(layers.clone(), tokens), if tokens { "tokens" } else { "features" })
        }
        (_, true) => (Taken::Tokens, "tokens"),
        _ => (Taken::Mean, "features"),
    };
    let depth = published.model.encoder().config().depth;
    if let Some(layer) = args.layers.iter().find(|layer| **layer >= depth) {
        return Err(Error::Misuse(format!(
            "`--layers`: block {layer} was asked for, and {} has the blocks 0 to {}",
            published.model.name(),
            depth.saturating_sub(1)
        )));
    }
    let mut about = published.about();
    about["array"] = holding.into();
    about["layers"] = args.layers.clone().into();
    if !args.tokens {
        let made_by = MadeBy::of(&args.published, &args.inputs, &args.layers, &published);
        // A path that is no text cannot be kept.
        about["made_by"] = serde_json::to_value(made_by).unwrap_or_default();
    }
    // Notes count the inputs, of which one may have gone when rows that were kept are gone on with.
    let made_by = about.to_string();
    if !inputs.notes().is_empty() {
        about["notes"] = inputs.notes().into();
    }
    file.describe(holding, about.to_string())?;
    let count = inputs.len();
    if count == 0 {
        let (one, many) = inputs.unit();
        return Err(nothing(&args.paths, Unit { one, many }));
    }
    file.check_names((0..count).map(|i| inputs.name(i)))?;
    if count > FEW && args.reading.precision.is_f32() {
        published.model.prepare(args.reading.precision.get());
    }

    let (started, (unit, units)) = (Instant::now(), inputs.unit());
    let named = Unit { one: unit, many: units };
    let mut pass = Pass::new(&published.model, &device, taken);
    let mut progress = Progress::new(count as u64, unit, units);
    let names = || (0..count).map(|i| inputs.name(i));
    let mut kept = begin(args, &mut file, made_by, names)?;
    let mut sink = Sink { file, shape: (!kept.row.is_empty()).then(|| kept.row.clone()) };
    let (begun, mut first) = (kept.done, kept.done);
    while first < count {
        if stopped() {
            return Err(sink.stop(&mut pass, args, kept, named, names(), Stop::Asked(count)));
        }
        let end = count.min(first + inputs.stride(first));
        for (pixels, index) in inputs.load(&published.model, first, end).into_iter().zip(first..) {
            match pixels {
                Ok(mut pixels) => {
                    kept.moments.extend(pixels.moments.take().map(|moments| (index, moments)));
                    let rows = pass.push(pixels).map_err(|error| named_misfit(error, &inputs, index))?;
                    sink.take(rows)?;
                }
                Err(Error::Data(_)) if args.reading.on_bad_sample == BadSample::Skip => kept.skipped.push(index),
                Err(Error::Data(source)) if count > 1 => {
                    return Err(sink.stop(&mut pass, args, kept, named, names(), Stop::Unreadable(source)));
                }
                Err(error) => return Err(error),
            }
            kept.done = index + 1;
        }
        first = end;
        let rate = || (first - begun) as f64 / started.elapsed().as_secs_f64();
        progress.at(first as u64, || format!("{:.1} {units}/s", rate()));
    }
    sink.take(pass.flush()?)?;
    let Some(per_row) = sink.shape else {
        let source = inputs.load(&published.model, 0, 1).into_iter().find_map(Result::err);
        return Err(match source {
            Some(Error::Data(source)) => {
                DataError::AllBad { unit: named, tried: count, source: Box::new(source) }.into()
            }
            Some(error) => error,
            None => DataError::NoInputs.into(),
        });
    };
    if !kept.moments.is_empty() {
        about["clips"] = clips(&kept.moments, &inputs)?;
        sink.file.describe(holding, about.to_string())?;
    }
    let (rows, skipped) = (kept.rows(), kept.skipped);
    let shape = [&[rows], per_row.as_slice()].concat();
    let good = |index: &usize| skipped.binary_search(index).is_err();
    sink.file.finish(&shape, || (0..count).filter(good).map(|i| inputs.name(i)))?;

    let seconds = started.elapsed().as_secs_f64();
    let skipped = skipped.iter().map(|i| inputs.name(*i)).collect::<Result<Vec<_>, _>>()?;
    if !skipped.is_empty() {
        say(format_args!("{} left out as unreadable, the first is {}", counted(skipped.len(), unit), skipped[0]));
    }
    let rows_per_s = (count - begun) as f64 / seconds.max(1e-9);
    if args.reading.json {
        return print_json(&Embedded { rows, shape, seconds, rows_per_s, skipped, about });
    }
    print(format_args!(
        "{}: {holding} {shape:?} of {}, {rows_per_s:.1} {units}/s\n",
        args.out.display(),
        published.model.name()
    ))
}

/// With the input that does not fit.
fn named_misfit(error: Error, inputs: &Inputs, index: usize) -> Error {
    match (error, inputs.name(index)) {
        (Error::Misuse(what), Ok(name)) => Error::Misuse(format!(
            "`{name}`: {what} (what its pixels become is said by preprocessor_config.json beside the model's config)"
        )),
        (error, _) => error,
    }
}

/// What went into rows: of each clip, the frames that were really taken and their times in seconds.
fn clips(moments: &BTreeMap<usize, Moments>, inputs: &Inputs) -> Result<Value, Error> {
    let mut clips = serde_json::Map::new();
    for (row, moments) in moments {
        clips.insert(inputs.name(*row)?, serde_json::to_value(moments).unwrap_or_default());
    }
    Ok(clips.into())
}

/// Rows for which laying the weights out anew costs more than it saves.
const FEW: usize = 16;

/// With what to do about it, where it is about one input of several.
pub(crate) fn bad(error: Error, count: usize) -> Error {
    match error {
        Error::Data(source) if count > 1 => unreadable(&source),
        other => other,
    }
}
