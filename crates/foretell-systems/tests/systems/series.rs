//! Systems over series: what is released, what is refused, and what a short run learns.

use std::sync::Arc;

use foretell_data::series::{Series, SeriesConfig, WavesConfig};
use foretell_data::{Auto, Modality, Normalise, Opening};
use foretell_jepa::series::masked::{Gathers, SpanMasks};
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_systems::System;
use foretell_systems::family::find;
use foretell_systems::lat_pfn::LatPfnSettings;
use foretell_systems::le_nepa::LeNepaConfig;
use foretell_systems::recipe::parse;
use foretell_systems::series_model::SeriesNetwork;
use foretell_systems::ts_jepa::TsJepaConfig;
use foretell_train::TrainConfig;
use toml::{Table, Value};

use crate::made::Bench;

/// Series of 40 to 64 steps that nobody opens.
fn bench(channels: usize) -> Bench<Series> {
    let config = SeriesConfig {
        separate: Auto::Value(false),
        normalise: Normalise { mean: vec![0.0; channels], std: vec![1.0; channels] },
        steps: (40, 64),
        ..SeriesConfig::default()
    };
    Bench::new(None, config, (100, 4))
}

#[test]
fn the_released_settings_are_the_recipes() {
    let text = include_str!("../../../../recipes/ts-jepa-official.toml");
    let member = find("ts-jepa").unwrap();
    let read = member.recipe(&parse(text, "the recipe").unwrap(), "the recipe").unwrap();
    assert_eq!(read["model"], Value::Table(Table::try_from(TsJepaConfig::official()).unwrap()));
    let official = TsJepaConfig::official();
    assert_eq!((official.gathers, official.masks), (Gathers::Official, SpanMasks { share: 0.7, span: 1 }));
    for text in [
        include_str!("../../../../recipes/etth1-ts-jepa.toml"),
        include_str!("../../../../recipes/weather-ts-jepa.toml"),
        include_str!("../../../../recipes/waves-ts-jepa.toml"),
        include_str!("../../../../recipes/waves-le-nepa.toml"),
        include_str!("../../../../recipes/etth1-lat-pfn.toml"),
        include_str!("../../../../recipes/weather-lat-pfn.toml"),
    ] {
        let asked = parse(text, "a recipe").unwrap();
        let name = asked["system"].as_str().unwrap().to_owned();
        find(&name).unwrap().recipe(&asked, "a recipe").unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// As released, most of a short run's teacher is its random start: that is refused unless it is asked for.
#[test]
fn released_systems_are_built() {
    let all = EmaConfig { initial_teacher_limit: 1.0, ..TsJepaConfig::official().ema };
    let network = SeriesNetwork { patch: Auto::Value(16), ..TsJepaConfig::official().network };
    let asked = TsJepaConfig { network, ..TsJepaConfig::official() };
    bench(1).learner(&TsJepaConfig { ema: all, ..asked.clone() });
    let said = bench(1).refusal(&asked);
    assert!(said.contains("random initial teacher"), "{said}");
    let network = SeriesNetwork { width: Auto::Value(24), ..LeNepaConfig::official().network };
    bench(2).learner(&LeNepaConfig { network, ..LeNepaConfig::official() });
    bench(1).learner(&LatPfnSettings { width: Auto::Value(16), ..LatPfnSettings::official() });
}

#[test]
fn impossible_settings_are_refused_in_a_sentence() {
    let ours = TsJepaConfig::default;
    for (config, word) in [
        (
            TsJepaConfig { network: SeriesNetwork { patch: Auto::Value(40), ..SeriesNetwork::default() }, ..ours() },
            "two patches of 40",
        ),
        (
            TsJepaConfig { network: SeriesNetwork { patch: Auto::Value(0), ..SeriesNetwork::default() }, ..ours() },
            "`model.patch`",
        ),
        (TsJepaConfig { network: SeriesNetwork { kernel: 0, ..SeriesNetwork::default() }, ..ours() }, "`model.kernel`"),
        (
            TsJepaConfig {
                network: SeriesNetwork { width: Auto::Value(30), heads: Auto::Value(4), ..SeriesNetwork::default() },
                ..ours()
            },
            "`model.width`",
        ),
        (
            TsJepaConfig { network: SeriesNetwork { depth: Auto::Value(0), ..SeriesNetwork::default() }, ..ours() },
            "`model.depth`",
        ),
        (TsJepaConfig { predictor_width: Auto::Value(7), ..ours() }, "`model.predictor_width`"),
        (TsJepaConfig { predictor_depth: 0, ..ours() }, "`model.predictor_depth`"),
        (TsJepaConfig { masks: SpanMasks { share: 1.0, span: 1 }, ..ours() }, "`model.masks.share`"),
        (TsJepaConfig { masks: SpanMasks { share: 0.5, span: 0 }, ..ours() }, "`model.masks.span`"),
        (TsJepaConfig { sigreg: -1.0, ..ours() }, "`model.sigreg`"),
    ] {
        let said = bench(2).refusal(&config);
        assert!(said.contains(word), "{said}");
    }
    let ours = LeNepaConfig::default;
    for (config, word) in [
        (LeNepaConfig { sigreg_time: f64::NAN, ..ours() }, "`model.sigreg_time`"),
        (LeNepaConfig { code_width: 0, ..ours() }, "`model.code_width`"),
        (LeNepaConfig { projector: vec![0], ..ours() }, "`model.projector`"),
        (
            LeNepaConfig { network: SeriesNetwork { heads: Auto::Value(0), ..SeriesNetwork::default() }, ..ours() },
            "heads",
        ),
    ] {
        let said = bench(2).refusal(&config);
        assert!(said.contains(word), "{said}");
    }
    let ours = LatPfnSettings::default;
    for (config, word) in [
        (LatPfnSettings { heads: 5, ..ours() }, "`model.heads`"),
        (LatPfnSettings { context: 0, ..ours() }, "`model.context` is 0"),
        (LatPfnSettings { bins: 1, ..ours() }, "`model.bins`"),
        (LatPfnSettings { horizon: Auto::Value(0), ..ours() }, "`model.horizon`"),
        (LatPfnSettings { history: Auto::Value(2), ..ours() }, "`model.history`"),
        (LatPfnSettings { dilations: Auto::Value(40), ..ours() }, "`model.dilations`"),
    ] {
        let said = bench(1).refusal(&config);
        assert!(said.contains(word), "{said}");
    }
}

/// The loss of each step of a short run.
fn losses<S: System<Data = Series>>(bench: &Bench<Series>, system: &S) -> Vec<f64> {
    let mut learner = bench.learner(system);
    let feed = learner.feed().unwrap();
    let train = TrainConfig { lr: 2e-3, ..TrainConfig::default() };
    (1..=bench.steps)
        .map(|step| {
            let clock = foretell_jepa::Clock { step, total: bench.steps, batch: bench.batch, health_due: false };
            let batch = feed.batch(step).unwrap();
            learner.step(batch, &clock, train.adamw(step), 3.0).unwrap().loss
        })
        .collect()
}

/// A short run of each brings its loss down and stays finite.
#[test]
fn short_runs_learn() {
    let mut config = SeriesConfig {
        waves: WavesConfig { train: 256, held_out: 64, steps: 96, ..WavesConfig::default() },
        ..SeriesConfig::default()
    };
    let mut opening = Opening { seed: 3, batch: 16, threads: 1, decisions: &mut Vec::new() };
    let data = Arc::new(Series::open(&mut config, &mut opening).unwrap());
    let bench = Bench::new(Some(data), config, (60, 16));
    let half = EmaConfig { schedule: EmaSchedule::Constant { momentum: 0.9 }, ..EmaConfig::default() };
    let network = SeriesNetwork {
        patch: Auto::Value(8),
        width: Auto::Value(32),
        depth: Auto::Value(1),
        heads: Auto::Value(2),
        ..SeriesNetwork::default()
    };
    let small = TsJepaConfig { network: network.clone(), ema: half, ..TsJepaConfig::default() };
    let values = TsJepaConfig { predicts: foretell_jepa::series::masked::Predicts::Values, ..small.clone() };
    let nepa = LeNepaConfig { network, projector: vec![32], code_width: 16, slices: 32, ..LeNepaConfig::default() };
    let pfn = LatPfnSettings {
        width: Auto::Value(16),
        heads: 2,
        layers: 1,
        history: Auto::Value(32),
        horizon: Auto::Value(16),
        context: 3,
        ema: half,
        ..LatPfnSettings::default()
    };
    for (name, losses) in [
        ("ts-jepa", losses(&bench, &small)),
        ("values", losses(&bench, &values)),
        ("le-nepa", losses(&bench, &nepa)),
        ("lat-pfn", losses(&bench, &pfn)),
    ] {
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (first, last) = (mean(&losses[..6]), mean(&losses[54..]));
        println!("{name}: {first:.4} to {last:.4}");
        assert!(losses.iter().all(|loss| loss.is_finite()) && last < 0.95 * first, "{name}: {first} to {last}");
    }
}
