//! `foretell classify`: the classes that a published model's classifier gives images or clips.

use std::collections::VecDeque;
use std::path::PathBuf;

use foretell_nn::released::Model;
use serde::Serialize;
use serde_json::Value;

use super::embed::published::bad;
use super::embed::{BadSample, ReadingArgs};
use crate::Error;
use crate::interrupt::stopped;
use crate::output::{counted, print, print_json, say};
use crate::released::{ArrayFile, InputArgs, Inputs, ModelArgs, Pass, Rows, Taken};

/// What `classify` was asked.
#[derive(Debug, clap::Args)]
pub struct ClassifyArgs {
    /// Images (files, folders, tars), or clips: frame folders, GIF, y4m, .npy, and what an installed ffmpeg decodes.
    #[arg(value_name = "INPUT")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    published: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// How many classes to name.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Classified {
    results: Vec<Named>,
    skipped: Vec<String>,
    #[serde(flatten)]
    about: Value,
}

/// One input's classes, the likeliest first.
#[derive(Serialize)]
struct Named {
    input: String,
    top: Vec<Guess>,
}

#[derive(Serialize)]
struct Guess {
    class: usize,
    label: String,
    probability: f64,
    logit: f32,
}

/// Runs the command.
pub fn classify(args: &ClassifyArgs) -> Result<(), Error> {
    let array = args.inputs.array().map(ArrayFile::open).transpose()?;
    let device = args.reading.device.open()?;
    let published = args.published.open(&device, args.reading.precision)?;
    let model = &published.model;
    if model.labels().is_empty() {
        return Err(Error::Misuse(format!(
            "{} ({}) has no classifier: give a folder of IJepaForImageClassification or VJEPA2ForVideoClassification, or an official \
             attentive probe with `--probe FILE`",
            published.path().display(),
            model.name()
        )));
    }
    let inputs = Inputs::open(&args.inputs, array, &args.paths, model)?;
    let (top, count, unit) = (args.top as usize, inputs.len(), inputs.unit().0);
    let mut pass = Pass::new(model, &device, Taken::Classes);
    let mut said = Said { top, text: !args.reading.json, waiting: VecDeque::new(), results: Vec::new() };
    let (mut skipped, mut first) = (Vec::new(), 0);
    while first < count {
        if stopped() {
            return Err(Error::Failure(format!("stopped after {first} of {count}")));
        }
        let end = count.min(first + inputs.stride(first));
        for (pixels, index) in inputs.load(model, first, end).into_iter().zip(first..) {
            let name = inputs.name(index)?;
            match pixels {
                Ok(pixels) => {
                    said.waiting.push_back(name);
                    let rows = pass.push(pixels)?;
                    said.say(rows, model)?;
                }
                Err(Error::Data(_)) if args.reading.on_bad_sample == BadSample::Skip => skipped.push(name),
                Err(error) => return Err(bad(error, count)),
            }
        }
        first = end;
    }
    said.say(pass.flush()?, model)?;
    if !skipped.is_empty() {
        say(format_args!("{} left out as unreadable, the first is {}", counted(skipped.len(), unit), skipped[0]));
    }
    if args.reading.json {
        return print_json(&Classified { results: said.results, skipped, about: published.about() });
    }
    Ok(())
}

/// What was found so far.
struct Said {
    top: usize,
    text: bool,
    waiting: VecDeque<String>,
    results: Vec<Named>,
}

impl Said {
    fn say(&mut self, rows: Option<Rows>, model: &Model) -> Result<(), Error> {
        let Some(rows) = rows else { return Ok(()) };
        for logits in rows.values.chunks_exact(rows.shape[0]) {
            let Some(input) = self.waiting.pop_front() else { break };
            let named = Named { input, top: likeliest(logits, self.top, model.labels()) };
            if self.text {
                let of = |class: &Guess| format!("{} {:.1} %", class.label, 100.0 * class.probability);
                let classes: Vec<String> = named.top.iter().map(of).collect();
                print(format_args!("{}: {}\n", named.input, classes.join(", ")))?;
            } else {
                self.results.push(named);
            }
        }
        Ok(())
    }
}

/// The likeliest classes by softmax; of equal ones the first.
fn likeliest(logits: &[f32], top: usize, labels: &[String]) -> Vec<Guess> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| f64::from(logit - most).exp();
    let total: f64 = logits.iter().map(|logit| weight(*logit)).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let class = |class: usize| Guess {
        class,
        label: labels.get(class).cloned().unwrap_or_else(|| format!("class {class}")),
        probability: weight(logits[class]) / total,
        logit: logits[class],
    };
    order.into_iter().take(top).map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_with_their_share() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let top = likeliest(&[0.0, 2.0_f32.ln(), 0.0], 2, &labels);
        let named: Vec<(&str, usize)> = top.iter().map(|class| (class.label.as_str(), class.class)).collect();
        assert_eq!(named, [("b", 1), ("a", 0)]);
        assert!((top[0].probability - 0.5).abs() < 1e-6 && (top[1].probability - 0.25).abs() < 1e-6);
        assert_eq!(likeliest(&[1e30, -1e30], 9, &labels).len(), 2, "no more than there are, and no NaN");
        assert_eq!(likeliest(&[1e30, -1e30], 1, &labels)[0].probability, 1.0);
    }
}
