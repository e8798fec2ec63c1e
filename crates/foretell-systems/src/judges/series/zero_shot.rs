//! Forecasts of series that a network was never trained on (LaT-PFN, arXiv 2405.10093), from other stretches of the same data as context.

use foretell_data::Part;
use foretell_data::series::{Series, Stretch};
use foretell_eval::{Better, Card, FEATURES, Figures, Finding, Pictures, Row, TRAINED, Tile, UNTRAINED};
use foretell_jepa::lat_pfn::{Answer, Forecaster, KeptForecaster, Question, Spans};
use foretell_train::Which;

use super::forecasts::{NAIVE, Plain, REGRESSION, chart};
use super::scale::{errors, filled};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Steps ahead that are reported, as in the literature, beside the longest that was trained for.
const HORIZONS: [usize; 2] = [96, 192];
/// Stretches that are forecast, at most.
const TEST: usize = 192;
/// Context series that are tried.
const COUNTS: [usize; 5] = [1, 2, 4, 8, 16];
/// Questions at a time.
const CHUNK: usize = 16;
/// Forecasts that are shown.
const SHOWN: usize = 4;

/// Whole stretches of the training part that stand for what a series is like: of the same column, at the same phase of its season and the
/// last ones first; of a set other series. Fewer where there are no more.
fn contexts(
    training: &[Vec<f32>],
    of_recording: bool,
    season: usize,
    stretch: &Stretch,
    spans: Spans,
    most: usize,
) -> Vec<Vec<f32>> {
    let len = spans.steps();
    if !of_recording {
        let own = training.iter().filter(|series| series.len() >= len);
        return own.take(most).map(|series| series[series.len() - len..].to_vec()).collect();
    }
    let series = &training[stretch.column.min(training.len() - 1)];
    let Some(last) = series.len().checked_sub(len) else { return Vec::new() };
    let season = season.max(1);
    // Half a stretch apart at least, in whole seasons.
    let apart = (len / 2).max(1).div_ceil(season) * season;
    let off = (last % season + season - stretch.start % season) % season;
    let starts = (0..).map_while(|i: usize| last.checked_sub(off + i * apart));
    starts.take(most).map(|start| series[start..start + len].to_vec()).collect()
}

/// Forecasts of all stretches from so many context series, `[H]` each.
fn asked(forecaster: &Forecaster, questions: &[Question], count: usize) -> Vec<Answer> {
    let of = |question: &Question| Question {
        context: question.context[..count.min(question.context.len())].to_vec(),
        history: question.history.clone(),
    };
    questions.chunks(CHUNK).flat_map(|chunk| forecaster.forecast(&chunk.iter().map(of).collect::<Vec<_>>())).collect()
}

/// The stretches and forecasts as far as a horizon.
fn within(stretches: &[Stretch], horizon: usize) -> Vec<Stretch> {
    let cut = |stretch: &Stretch| Stretch { future: stretch.future.cut(0..horizon), ..stretch.clone() };
    stretches.iter().map(cut).collect()
}

/// Errors beside a season repeated and an autoregression, errors along the number of context series, and pictures; none where series are too
/// short or too few.
pub fn zero_shot(run: &Judging<'_, Series>, usual: usize) -> Result<Vec<Finding>, JudgeError> {
    let forecaster = |which| -> Result<Forecaster, JudgeError> {
        let model = run.kept(which)?.model.and_then(|model| model.downcast::<KeptForecaster>().ok());
        Ok(model.ok_or_else(|| JudgeError::Other("the run has kept nothing that forecasts".to_owned()))?.0)
    };
    let networks = [(TRAINED, forecaster(Which::Trained)?), (UNTRAINED, forecaster(Which::Untrained)?)];
    let data = run.data.as_ref();
    let spans = networks[0].1.spans();
    if data.config().channels() != 1 {
        return Ok(Vec::new());
    }
    let test = data.stretches(Part::HeldOut, spans.history, spans.horizon, TEST);
    let test: Vec<Stretch> = test.into_iter().filter(|stretch| stretch.history.steps() == spans.history).collect();
    if test.len() < 2 {
        return Ok(Vec::new());
    }
    let plain = Plain::of(data, spans.history, spans.horizon.min(HORIZONS[0]));
    let training: Vec<Vec<f32>> = data.training(512).iter().map(|series| filled(series, 0)).collect();
    let of_recording = data.training(1).iter().any(|series| series.steps() > data.config().steps.1);
    let seasons = plain.seasons();
    let most = COUNTS.into_iter().max().unwrap_or(1).max(usual);
    let question = |stretch: &Stretch| {
        let season = seasons.get(stretch.column).or(seasons.first()).copied().unwrap_or(1);
        let context = contexts(&training, of_recording, season, stretch, spans, most);
        Question { context, history: filled(&stretch.history, 0) }
    };
    let questions: Vec<Question> = test.iter().map(question).collect();
    let known = questions.iter().map(|question| question.context.len()).min().unwrap_or(0);
    if known == 0 {
        return Ok(Vec::new());
    }
    let (naive, regression): (Vec<_>, Vec<_>) =
        test.iter().map(|stretch| plain.forecast(stretch)).map(|[a, b]| (a, b)).unzip();
    let usual = usual.min(known);
    let mut horizons: Vec<usize> = HORIZONS.into_iter().filter(|horizon| *horizon < spans.horizon).collect();
    horizons.push(spans.horizon);
    let mut figures = Figures::new(&["horizon", "error", FEATURES], "value", "", Better::Lower);
    let answers: Vec<(&str, Vec<Answer>)> =
        networks.iter().map(|(name, network)| (*name, asked(network, &questions, usual))).collect();
    let medians = |answers: &[Answer]| answers.iter().map(|answer| answer.quantiles[1].clone()).collect::<Vec<_>>();
    let means = |answers: &[Answer]| answers.iter().map(|answer| answer.mean.clone()).collect::<Vec<_>>();
    for horizon in horizons {
        let test = within(&test, horizon);
        for (at, error) in ["MSE", "MAE"].into_iter().enumerate() {
            let mut add = |name: &str, forecasts: &[Vec<f32>]| {
                let cells = vec![horizon.into(), error.into(), name.into()];
                let value = errors(forecasts, &test)[at];
                figures.rows.push(Row { cells, value, spread: None, samples: Some(test.len()) });
            };
            for (name, answers) in &answers {
                // The mean makes the squared error small, the median the absolute one.
                add(name, &if at == 0 { means(answers) } else { medians(answers) });
            }
            add(NAIVE, &naive);
            add(REGRESSION, &regression);
        }
    }
    let lead = format!(
        "Errors of forecasts so many steps ahead on held-out stretches of data that the network never trained on, from {} steps of history \
         and {usual} context series of the training part, at the same phase of the season; beside it the season before repeated, and an \
         autoregression that was fitted to the training part. On the scale of the training series.",
        spans.history
    );
    let mut findings = vec![Finding::figures("zero_shot", "What comes next, unseen", &lead, figures)];

    let mut along = Figures::new(&["context series", FEATURES], "MSE", "", Better::Lower).along("context series");
    for count in COUNTS.into_iter().filter(|count| *count <= known) {
        let naive_error = errors(&naive, &test)[0];
        for (name, network) in &networks {
            along.push([count.into(), (*name).into()], errors(&means(&asked(network, &questions, count)), &test)[0]);
        }
        along.push([count.into(), NAIVE.into()], naive_error);
    }
    findings.push(Finding::figures(
        "context_series",
        "What context series are worth",
        "The squared error of the same forecasts from more and more context series.",
        along.over(test.len()),
    ));
    let card = |place: usize| {
        let Answer { mean, quantiles: [low, _, high] } = &answers[0].1[place];
        let picture = chart(&test[place], mean, [low.clone(), high.clone()], Some(&naive[place]));
        Card { tiles: vec![Tile::new(picture, "")], strips: Vec::new() }
    };
    let cards: Vec<Card> = foretell_data::spread(Some(test.len()), SHOWN).map(card).collect();
    findings.push(Finding::pictures(
        "forecast_pictures",
        "Forecasts",
        "Held-out stretches: the history, then what came (dark), the mean of what the network expects (red) with the band in which it expects \
         eight tenths, and the season before (grey).",
        Pictures { legend: Vec::new(), cards },
    ));
    Ok(findings)
}
