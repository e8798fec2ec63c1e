//! `foretell bench knn`: exact nearest neighbours by cosine.

use foretell_data::random::{Stream, rng};
use foretell_eval::{Features, nearest};
use rand::RngExt;
use serde::Serialize;

use super::{ceiling, counted, median, peak_memory, positive, rounded, show};
use crate::{DeviceChoice, Error};

/// What `bench knn` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct KnnArgs {
    /// Rows among which neighbours are sought.
    #[arg(long, value_parser = positive, default_value_t = 50_000)]
    gallery: usize,
    /// Rows whose neighbours are sought.
    #[arg(long, value_parser = positive, default_value_t = 10_000)]
    queries: usize,
    /// Width of the rows.
    #[arg(long, value_parser = positive, default_value_t = 768)]
    width: usize,
    /// Neighbours of each.
    #[arg(long, value_parser = positive, default_value_t = 20)]
    neighbours: usize,
    /// Searches that are timed.
    #[arg(long, value_parser = positive, default_value_t = 3)]
    steps: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    search_ms: f64,
    queries_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_mb: Option<f64>,
    gflops: f64,
    gemm_ceiling_gflops: f64,
    ceiling_share: f64,
    search_ms_all: Vec<f64>,
}

/// Rows of random features; the rows' scaling to length 1 is part of what is timed.
pub(super) fn knn(args: &KnnArgs) -> Result<(), Error> {
    let mut noise = rng(0, Stream::Augment, 0, 0);
    let mut rows = |rows: usize| {
        let values = (0..rows * args.width).map(|_| noise.random::<f32>() - 0.5).collect();
        Features::new(rows, args.width, values)
    };
    let (gallery, queries) = (rows(args.gallery)?, rows(args.queries)?);
    let (times, work) = counted(1, args.steps, || {
        nearest(&queries, &gallery, args.neighbours)?;
        Ok(())
    })?;
    let peak = peak_memory();
    let ms = median(&times);
    let (gflops, ceiling) = (work / ms / 1e6, ceiling(&DeviceChoice::default().open()?)?);
    let report = Report {
        search_ms: rounded(ms),
        queries_per_s: rounded(args.queries as f64 / ms * 1e3),
        rss_mb: peak.map(rounded),
        gflops: rounded(gflops),
        gemm_ceiling_gflops: rounded(ceiling),
        ceiling_share: rounded(gflops / ceiling),
        search_ms_all: times.into_iter().map(rounded).collect(),
    };
    show(&report, args.json)
}
