//! Forecasts from frozen features: a ridge regression from what the encoder makes of a history to what comes then, beside the same from raw
//! values, an autoregression and the season before.

use foretell_data::Part;
use foretell_data::series::{Band, Chart, Line, Series, SeriesSample, Stretch, stretched};
use foretell_eval::{
    Autoregression, Better, Card, FEATURES, Features, Figures, Finding, Pictures, Ridge, Row, TRAINED, Tile, UNTRAINED,
    naive_season, seasonal_naive,
};
use foretell_nn::Encode;
use foretell_ops as ops;
use foretell_train::Which;

use super::scale::{Scale, errors, filled, recent};
use crate::judges::rgb;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Steps ahead, as in the literature.
const HORIZONS: [usize; 2] = [96, 192];
/// Stretches that the readers learn from and are tested on, at most.
const TRAIN: usize = 1500;
const TEST: usize = 400;
/// Steps of a history that the readers of raw values see, at most.
const LAGS: usize = 192;
/// Lags of the autoregression, at most.
const ORDER: usize = 160;
/// Longest season that is looked for.
const SEASON: usize = 400;
/// Series of the training part from which the season and the autoregression are taken, at most.
const SERIES: usize = 400;
/// Series that go through an encoder at a time.
const CHUNK: usize = 64;
/// Forecasts that are shown.
const SHOWN: usize = 4;
/// Deviations on either side of which a tenth of what is normal lies.
const TENTH: f32 = 1.2816;

pub(super) const RAW: &str = "raw series";
pub(super) const NAIVE: &str = "seasonal naive";
pub(super) const REGRESSION: &str = "autoregression";

/// Steps ahead that these data have room for: of a recording those of the literature, and a quarter of a series where it has neither.
pub(super) fn horizons(data: &Series, history: usize) -> Vec<usize> {
    let fits = |horizon: &usize| {
        [Part::Train, Part::HeldOut].iter().all(|part| data.stretches(*part, history, *horizon, 64).len() >= 8)
    };
    let found: Vec<usize> = HORIZONS.into_iter().filter(fits).collect();
    if found.is_empty() {
        let quarter = (data.config().steps.0 / 4).max(1);
        return [quarter].into_iter().filter(fits).collect();
    }
    found
}

/// The baselines without a network: of each recording's column, or of all series of a set, its season and an autoregression.
pub(super) struct Plain {
    columns: Vec<(usize, Option<Autoregression>)>,
    channels: usize,
}

impl Plain {
    /// From the training part alone: the season is that whose naive forecast so many steps ahead is best there.
    pub(super) fn of(data: &Series, history: usize, horizon: usize) -> Self {
        let training = data.training(SERIES);
        let channels = data.config().channels();
        let of_recording = training.first().is_some_and(|series| series.steps() > data.config().steps.1);
        // A recording's columns are each their own; the series of a set are one kind.
        let groups: Vec<Vec<Vec<f32>>> = if of_recording {
            training.iter().flat_map(|series| (0..series.channels).map(|c| vec![filled(series, c)])).collect()
        } else {
            (0..channels).map(|c| training.iter().map(|series| filled(series, c)).collect()).collect()
        };
        let mut columns = Vec::new();
        for group in groups {
            let season = naive_season(&group, SEASON.min(history), horizon);
            let order = (2 * season).clamp(16, ORDER).min(history / 2).max(1);
            columns.push((season, Autoregression::fit(&group, order)));
        }
        Self { columns, channels }
    }

    /// Forecasts `[C, H]` of one stretch: seasonal naive, and by the autoregression.
    pub(super) fn forecast(&self, stretch: &Stretch) -> [Vec<f32>; 2] {
        let horizon = stretch.future.steps();
        let mut found = [Vec::new(), Vec::new()];
        for channel in 0..stretch.history.channels {
            let column = if self.channels == 1 { stretch.column.min(self.columns.len() - 1) } else { channel };
            let (season, regression) = &self.columns[column];
            let history = filled(&stretch.history, channel);
            let naive = seasonal_naive(&history, *season, horizon);
            found[1].extend(regression.as_ref().map_or_else(|| naive.clone(), |fit| fit.forecast(&history, horizon)));
            found[0].extend(naive);
        }
        found
    }

    /// Of each column.
    pub(super) fn seasons(&self) -> Vec<usize> {
        self.columns.iter().map(|(season, _)| *season).collect()
    }
}

/// Mean and last of an encoder's tokens of each history, `[N, 2 D]`.
fn seen(encoder: &dyn Encode<SeriesSample>, stretches: &[Stretch]) -> Result<Features, JudgeError> {
    let (width, mut values) = (encoder.width(), Vec::new());
    for chunk in stretches.chunks(CHUNK) {
        let tokens = encoder.tokens(&chunk.iter().map(|stretch| &stretch.history).collect::<Vec<_>>());
        let ends: Vec<u32> = (0..tokens.sets.count()).map(|set| tokens.sets.range(set).end as u32 - 1).collect();
        let last = ops::values(ops::gather(tokens.rows.clone(), &ends));
        let mean = ops::values(tokens.mean());
        for (mean, last) in mean.chunks_exact(width).zip(last.chunks_exact(width)) {
            values.extend_from_slice(mean);
            values.extend_from_slice(last);
        }
    }
    Ok(Features::new(stretches.len(), 2 * width, values)?)
}

/// Recent values of each history on its scale.
fn raw(stretches: &[Stretch], len: usize) -> Result<Features, JudgeError> {
    let of = |stretch: &Stretch| recent(&stretch.history, &Scale::of(&stretch.history), len);
    let values: Vec<f32> = stretches.iter().flat_map(of).collect();
    Ok(Features::new(stretches.len(), values.len() / stretches.len().max(1), values)?)
}

/// What came on the scale of its history, `[C, H]` each, without holes.
fn targets(stretches: &[Stretch]) -> Vec<f32> {
    let of = |stretch: &Stretch| {
        let scale = Scale::of(&stretch.history);
        let horizon = stretch.future.steps();
        (0..stretch.future.channels)
            .flat_map(|channel| {
                let values = stretched(&stretch.future, channel, horizon);
                values.into_iter().map(|value| scale.scaled(channel, value)).collect::<Vec<_>>()
            })
            .collect::<Vec<f32>>()
    };
    stretches.iter().flat_map(of).collect()
}

/// A fit's answers on the scale of the data.
fn answers(fit: &Ridge, features: &Features, stretches: &[Stretch]) -> Vec<Vec<f32>> {
    let of = |(row, stretch): (usize, &Stretch)| {
        let (scale, horizon) = (Scale::of(&stretch.history), stretch.future.steps());
        let said = fit.predict(features.row(row));
        said.iter().enumerate().map(|(at, value)| scale.back(at / horizon, *value)).collect()
    };
    stretches.iter().enumerate().map(of).collect()
}

/// Errors at each horizon, and pictures; `None` where series are too short or too few.
pub(super) fn forecasts(run: &Judging<'_, Series>) -> Result<Vec<Finding>, JudgeError> {
    let data = run.data.as_ref();
    let history = data.config().steps.1;
    let horizons = horizons(data, history);
    if horizons.is_empty() {
        return Ok(Vec::new());
    }
    let plain = Plain::of(data, history, horizons[0]);
    let encoders = [(TRAINED, run.kept(Which::Trained)?.encoder), (UNTRAINED, run.kept(Which::Untrained)?.encoder)];
    let mut figures = Figures::new(&["horizon", "error", FEATURES], "value", "", Better::Lower);
    let mut cards = Vec::new();
    let mut samples = 0;
    for horizon in horizons {
        let train = data.stretches(Part::Train, history, horizon, TRAIN);
        let test = data.stretches(Part::HeldOut, history, horizon, TEST);
        let targets = targets(&train);
        let lags = train.iter().map(|stretch| stretch.history.steps()).max().unwrap_or(1).min(LAGS);
        let mut found: Vec<(&str, Vec<Vec<f32>>)> = Vec::new();
        let mut band = Vec::new();
        for (name, encoder) in &encoders {
            let features = seen(encoder.as_ref(), &train)?;
            let fit = Ridge::fit(&features, &targets)?;
            if *name == TRAINED {
                band = residuals(&fit, &features, &targets);
            }
            found.push((name, answers(&fit, &seen(encoder.as_ref(), &test)?, &test)));
        }
        let fit = Ridge::fit(&raw(&train, lags)?, &targets)?;
        found.push((RAW, answers(&fit, &raw(&test, lags)?, &test)));
        let (naive, regression) = test.iter().map(|stretch| plain.forecast(stretch)).map(|[a, b]| (a, b)).unzip();
        found.push((NAIVE, naive));
        found.push((REGRESSION, regression));
        for (at, error) in ["MSE", "MAE"].into_iter().enumerate() {
            for (name, forecasts) in &found {
                let cells = vec![horizon.into(), error.into(), (*name).into()];
                let value = errors(forecasts, &test)[at];
                figures.rows.push(Row { cells, value, spread: None, samples: Some(test.len()) });
            }
        }
        samples = test.len();
        if cards.is_empty() {
            let places = foretell_data::spread(Some(test.len()), SHOWN);
            cards = places.map(|place| card(&test[place], &found[0].1[place], &band, &found[3].1[place])).collect();
        }
    }
    let mut said = Finding::figures(
        "forecasts",
        "What comes next",
        "Errors of forecasts so many steps ahead on held-out stretches, on the scale of the training series: a ridge regression reads them from \
         the mean and the last of a frozen encoder's tokens of the history, each history and its future on the history's own scale; the same \
         from the raw recent values; an autoregression (Burg's) that is rolled out; and the season before, repeated. Readers learn from the training \
         part alone.",
        figures,
    );
    let mut seasons = plain.seasons();
    seasons.sort_unstable();
    seasons.dedup();
    let seasons = seasons.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    said.notes.push(format!("season of the naive forecast, the best one on the training part: {seasons} steps"));
    let shown = Finding::pictures(
        "forecast_pictures",
        "Forecasts",
        &format!(
            "{} of {samples} held-out stretches: the history, then what came (dark), what is read from the trained features (red, with a band \
             that held eight tenths of what came in the training part) and the season before (grey).",
            cards.len()
        ),
        Pictures { legend: Vec::new(), cards },
    );
    Ok(vec![said, shown])
}

/// The deviation of what came around the answers, for each output.
fn residuals(fit: &Ridge, features: &Features, targets: &[f32]) -> Vec<f32> {
    let rows = features.rows.max(1);
    let outputs = targets.len() / rows;
    let mut sums = vec![0.0_f64; outputs];
    for (row, targets) in targets.chunks_exact(outputs.max(1)).enumerate() {
        for (sum, (said, target)) in sums.iter_mut().zip(fit.predict(features.row(row)).iter().zip(targets)) {
            *sum += f64::from(said - target).powi(2);
        }
    }
    sums.into_iter().map(|sum| (sum / rows as f64).sqrt() as f32).collect()
}

/// The first channel of a stretch and its forecasts.
fn card(stretch: &Stretch, said: &[f32], band: &[f32], naive: &[f32]) -> Card {
    let horizon = stretch.future.steps();
    let scale = Scale::of(&stretch.history);
    let wide = |step: usize| TENTH * band.get(step).copied().unwrap_or(0.0) * scale.deviation(0);
    let edges = |sign: f32| (0..horizon).map(|step| said[step] + sign * wide(step)).collect::<Vec<f32>>();
    Card {
        tiles: vec![Tile::new(
            chart(stretch, &said[..horizon], [edges(-1.0), edges(1.0)], Some(&naive[..horizon])),
            "",
        )],
        strips: Vec::new(),
    }
}

/// The drawing of a stretch's first channel with what was foretold of it and a band.
pub(super) fn chart(
    stretch: &Stretch,
    said: &[f32],
    [low, high]: [Vec<f32>; 2],
    naive: Option<&[f32]>,
) -> Option<foretell_eval::Picture> {
    const SIZE: (usize, usize) = (480, 140);
    const RED: [f32; 3] = [0.84, 0.22, 0.18];
    const GREY: [f32; 3] = [0.65, 0.67, 0.7];
    const DARK: [f32; 3] = [0.13, 0.16, 0.22];
    // Twice the horizon before it is enough to see.
    let shown = stretch.history.steps().min(2 * said.len().max(16));
    let history = stretch.history.cut(stretch.history.steps() - shown..stretch.history.steps());
    let line = |start: usize, values: Vec<f32>, colour| Line { start, values, colour };
    let mut lines = vec![line(0, history.channel(0).collect(), Chart::colour(0))];
    lines.extend(naive.map(|naive| line(shown, naive.to_vec(), GREY)));
    lines.push(line(shown, stretch.future.channel(0).collect(), DARK));
    lines.push(line(shown, said.to_vec(), RED));
    let bands = vec![Band { start: shown, low, high, colour: RED }];
    rgb(&Chart { lines, bands, marks: vec![shown] }.draw(SIZE.0, SIZE.1))
}
