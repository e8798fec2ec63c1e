//! `foretell bench masks`.

use foretell_jepa::masks::{BlockMasks, Grid, MaskConfig, OfficialMasks, RandomMasks};
use serde::Serialize;

use super::{median, positive, rounded, show, time};
use crate::Error;

/// What `bench masks` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct MasksArgs {
    /// Rows and columns of tokens.
    #[arg(long, value_parser = positive, default_value_t = 14)]
    grid: usize,
    /// Samples in a batch.
    #[arg(long, value_parser = positive, default_value_t = 128)]
    batch: usize,
    /// blocks, random or official.
    #[arg(long, value_enum, default_value_t = Kind::Official)]
    masks: Kind,
    /// Batches.
    #[arg(long, value_parser = positive, default_value_t = 200)]
    steps: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// `--masks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Blocks,
    Random,
    Official,
}

impl Kind {
    /// The settings of that kind. On a grid of 8 × 8 and less the released `min_keep` would never end.
    pub(super) fn config(self, grid: usize) -> MaskConfig {
        match self {
            Kind::Blocks => MaskConfig::Blocks(BlockMasks::default()),
            Kind::Random => MaskConfig::Random(RandomMasks::default()),
            Kind::Official => {
                let masks = OfficialMasks::default();
                MaskConfig::Official(if grid <= 8 { OfficialMasks { min_keep: 4, ..masks } } else { masks })
            }
        }
    }
}

#[derive(Serialize)]
struct Report {
    batch_ms: f64,
    masks_per_s: f64,
    context_tokens: f64,
    target_tokens: f64,
}

pub(super) fn masks(args: &MasksArgs) -> Result<(), Error> {
    let (config, grid) = (args.masks.config(args.grid), Grid::new(args.grid, args.grid));
    let wrong = |error| Error::Misuse(format!("{error}"));
    config.check(grid).map_err(wrong)?;
    let (mut step, mut context, mut target) = (0, 0, 0);
    let times = time(3, args.steps, || {
        step += 1;
        let drawn = config.draw(grid, args.batch, 0, step).map_err(wrong)?;
        context += drawn.context_len;
        target += drawn.target_len;
        Ok(())
    })?;
    let ms = median(&times);
    let mean = |sum: usize| rounded(sum as f64 / step as f64);
    let report = Report {
        batch_ms: ms,
        masks_per_s: rounded(args.batch as f64 / ms * 1e3),
        context_tokens: mean(context),
        target_tokens: mean(target),
    };
    show(&report, args.json)
}
