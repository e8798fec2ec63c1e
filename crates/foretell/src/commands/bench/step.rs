//! `foretell bench step`: a training step of any system, on batches that are made beforehand.

use std::any::Any;
use std::path::{Path, PathBuf};

use foretell_jepa::Clock;
use foretell_jepa::clips::TubeBatch;
use foretell_jepa::masked::MaskedBatch;
use foretell_jepa::masks::tubes::TubeMasks;
use foretell_systems::family;
use serde::Serialize;
use serde_json::{Value, json};

use super::{ceiling, counted, median, peak_memory, positive, rounded, show};
use crate::asked::Asked;
use crate::{DeviceChoice, Error};

/// What `bench step` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct StepArgs {
    /// A system (`foretell systems` lists them) or a recipe file; without it, the one that `foretell train` takes.
    system: Option<String>,
    /// Change any setting, such as model.patch=8 or data.image_size=96.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Samples in a batch.
    #[arg(long, value_parser = positive, default_value_t = 128)]
    batch: usize,
    /// Steps that are timed.
    #[arg(long, value_parser = positive, default_value_t = 10)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Write the masks of all steps as JSON, for a peer that is to have the same ones (where a context is masked).
    #[arg(long, value_name = "FILE")]
    save_masks: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct StepTimes {
    system: &'static str,
    step_ms: f64,
    samples_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_tokens: Option<f64>,
    /// Operations in matrix products a second, in units of 10⁹.
    gflops: f64,
    gemm_ceiling_gflops: f64,
    ceiling_share: f64,
    parameters: usize,
    step_ms_all: Vec<f64>,
}

pub(super) fn step(args: &StepArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let name = args.system.as_deref().unwrap_or(family::usual(None, false));
    let mut asked = Asked::of(name)?;
    for entry in &args.set {
        asked.set(entry).map_err(|error| Error::Misuse(format!("`--set`: {error}")))?;
    }
    asked.put("train.batch", (args.batch as i64).into())?;
    let member = asked.member()?;
    let mut session = member.open(asked.whole(member)?, &device, true)?;
    let mut learner = session.learner(1_000_000)?;
    let feed = learner.feed()?;
    let all = args.warmup + args.steps;
    let mut batches =
        (1..=all as u64).map(|step| feed.batch(step).map(Some)).collect::<Result<Vec<_>, _>>().map_err(Error::from)?;
    let masked: Vec<Masked> = batches.iter().flatten().filter_map(|batch| Masked::of(batch.as_ref())).collect();
    if let Some(path) = &args.save_masks {
        save_masks(path, &masked)?;
    }
    let seen = &masked[args.warmup.min(masked.len())..];
    let mean = |f: &dyn Fn(&Masked) -> f64| {
        let total = seen.iter().map(f).sum::<f64>();
        (!seen.is_empty()).then(|| rounded(total / seen.len() as f64))
    };
    let (context_tokens, target_tokens) = (mean(&|m| m.context), mean(&|m| m.target));
    let config = session.train().clone();
    let mut at = 0;
    let (times, work) = counted(args.warmup, args.steps, || {
        let clock = Clock { step: at as u64 + 1, total: 1_000_000, batch: args.batch, health_due: false };
        let batch = batches[at].take().ok_or_else(|| Error::Failure("a batch was taken twice".to_owned()))?;
        at += 1;
        learner.step(batch, &clock, config.adamw(at as u64), config.clip)?;
        Ok(())
    })?;
    let ms = median(&times);
    let (gflops, ceiling) = (work / ms / 1e6, ceiling(&device)?);
    let report = StepTimes {
        system: member.row().name,
        step_ms: rounded(ms),
        samples_per_s: rounded(args.batch as f64 / ms * 1e3),
        rss_mb: peak_memory().map(rounded),
        context_tokens,
        target_tokens,
        gflops: rounded(gflops),
        gemm_ceiling_gflops: rounded(ceiling),
        ceiling_share: rounded(gflops / ceiling),
        parameters: learner.parameters(),
        step_ms_all: times.into_iter().map(rounded).collect(),
    };
    show(&report, args.json)
}

/// The masks of a step: how many tokens a sample's context and a target have on average, and which.
struct Masked {
    context: f64,
    target: f64,
    places: Value,
}

impl Masked {
    /// Of a batch that is masked.
    fn of(batch: &(dyn Any + Send)) -> Option<Self> {
        if let Some(batch) = batch.downcast_ref::<MaskedBatch>() {
            let m = &batch.masks;
            let targets: Vec<Vec<&[u32]>> =
                (0..m.batch).map(|i| (0..m.targets).map(|k| m.target_of(i, k)).collect()).collect();
            let context: Vec<&[u32]> = (0..m.batch).map(|i| m.context_of(i)).collect();
            let places = json!({ "context": context, "targets": targets });
            return Some(Self { context: m.context_len as f64, target: m.target_len as f64, places });
        }
        let part = batch.downcast_ref::<TubeBatch>()?.parts.first()?;
        let sets = part.masks.iter().map(|masks| {
            let context: Vec<&[u32]> = (0..masks.clips()).map(|i| masks.context_of(i)).collect();
            let target: Vec<&[u32]> = (0..masks.clips()).map(|i| masks.target_of(i)).collect();
            json!({ "context": context, "target": target })
        });
        let places = json!({ "sets": Value::Array(sets.collect()) });
        let mean = |tokens: &dyn Fn(&TubeMasks) -> usize| {
            part.masks.iter().map(tokens).sum::<usize>() as f64 / (part.clips * part.masks.len()).max(1) as f64
        };
        Some(Self { context: mean(&|m| m.context.len()), target: mean(&|m| m.target.len()), places })
    }
}

/// One entry for each step: of images `{"context": [B][N_c], "targets": [B][K][N_t]}`, of clips
/// `{"sets": [{"context": [B][N_c], "target": [B][N_t]}]}`.
fn save_masks(path: &Path, steps: &[Masked]) -> Result<(), Error> {
    if steps.is_empty() {
        return Err(Error::Misuse("`--save-masks`: this system masks no context: leave it out".to_owned()));
    }
    let text = Value::Array(steps.iter().map(|step| step.places.clone()).collect()).to_string();
    std::fs::write(path, text).map_err(|error| Error::Misuse(format!("cannot write {}: {error}", path.display())))
}
