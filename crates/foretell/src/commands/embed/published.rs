//! `foretell embed --model`: features of a published model.

use std::time::Instant;

use foretell_data::DataError;
use serde::Serialize;
use serde_json::Value;

use super::{BadSample, EmbedArgs, unreadable};
use crate::Error;
use crate::feature_file::FeatureFile;
use crate::interrupt::stopped;
use crate::output::{counted, print, print_json, say};
use crate::progress::Progress;
use crate::released::{ArrayFile, Inputs, MadeBy, Pass, Rows, Taken};

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
        self.file.append(&rows.values)
    }
}

/// Runs the command.
pub(super) fn embed(args: &EmbedArgs) -> Result<(), Error> {
    let mut file = FeatureFile::create(&args.out)?;
    // Its header is read before the model's gigabytes.
    let array = args.inputs.array().map(ArrayFile::open).transpose()?;
    let device = args.reading.device.open()?;
    let mut published = args.published.open(&device)?;
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
    file.describe(holding, about.to_string())?;
    let count = inputs.len();
    file.check_names((0..count).map(|i| inputs.name(i)))?;
    if count > FEW {
        published.model.prepare();
    }

    let (started, (unit, units)) = (Instant::now(), inputs.unit());
    let mut pass = Pass::new(&published.model, &device, taken);
    let mut progress = Progress::new(count as u64, unit, units);
    let mut sink = Sink { file, shape: None };
    let (mut skipped, mut first) = (Vec::new(), 0);
    while first < count {
        if stopped() {
            return Err(Error::Failure(format!(
                "stopped after {first} of {count} {units}: {} was not written",
                args.out.display()
            )));
        }
        let end = count.min(first + inputs.stride(first));
        for (pixels, index) in inputs.load(&published.model, first, end).into_iter().zip(first..) {
            match pixels {
                Ok(pixels) => sink.take(pass.push(pixels)?)?,
                Err(Error::Data(_)) if args.reading.on_bad_sample == BadSample::Skip => skipped.push(index),
                Err(error) => return Err(bad(error, count)),
            }
        }
        first = end;
        progress.at(first as u64, || format!("{:.1} {units}/s", first as f64 / started.elapsed().as_secs_f64()));
    }
    sink.take(pass.flush()?)?;
    let Some(per_row) = sink.shape else {
        let source = inputs.load(&published.model, 0, 1).into_iter().find_map(Result::err);
        return Err(match source {
            Some(Error::Data(source)) => DataError::AllBad {
                unit: foretell_data::Unit { one: unit, many: units },
                tried: count,
                source: Box::new(source),
            }
            .into(),
            Some(error) => error,
            None => DataError::NoInputs.into(),
        });
    };
    let rows = count - skipped.len();
    let shape = [&[rows], per_row.as_slice()].concat();
    let good = |index: &usize| skipped.binary_search(index).is_err();
    sink.file.finish(&shape, || (0..count).filter(good).map(|i| inputs.name(i)))?;

    let seconds = started.elapsed().as_secs_f64();
    let skipped = skipped.iter().map(|i| inputs.name(*i)).collect::<Result<Vec<_>, _>>()?;
    if !skipped.is_empty() {
        say(format_args!("{} left out as unreadable, the first is {}", counted(skipped.len(), unit), skipped[0]));
    }
    let rows_per_s = rows as f64 / seconds.max(1e-9);
    if args.reading.json {
        return print_json(&Embedded { rows, shape, seconds, rows_per_s, skipped, about });
    }
    print(format_args!(
        "{}: {holding} {shape:?} of {}, {rows_per_s:.1} {units}/s\n",
        args.out.display(),
        published.model.name()
    ))
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
