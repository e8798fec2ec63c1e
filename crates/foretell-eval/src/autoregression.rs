//! Forecasts that need no network: an autoregression by Burg's method, and the season before repeated.

/// `x_t − m = Σ_i w_i (x_(t − i) − m)`, m the mean of the history, rolled out step by step.
///
/// The weights are Burg's (1968): each lag takes what is left of the errors forwards and backwards, which keeps every fit stable. Least
/// squares has a little less error one step ahead, and can run away when it is rolled out.
#[derive(Clone, Debug)]
pub struct Autoregression {
    /// Of the last value, of the one before it, and so on.
    weights: Vec<f64>,
}

impl Autoregression {
    /// Fitted to series without holes, each less its mean; `None` where none of them is longer than `order` and the fit has nothing to learn from.
    pub fn fit(series: &[Vec<f32>], order: usize) -> Option<Self> {
        let order = order.max(1);
        if !series.iter().any(|series| series.len() > order) {
            return None;
        }
        // Errors forwards and backwards, of no lag first: the values themselves.
        let mut errors: Vec<[Vec<f64>; 2]> = series
            .iter()
            .map(|series| {
                let mean = mean(series);
                let values: Vec<f64> = series.iter().map(|x| f64::from(*x) - mean).collect();
                [values.clone(), values]
            })
            .collect();
        let energy: f64 = errors.iter().flat_map(|[values, _]| values).map(|x| x * x).sum();
        let mut weights: Vec<f64> = Vec::with_capacity(order);
        for lag in 1..=order {
            let (mut product, mut squares) = (0.0, 0.0);
            for [ahead, back] in &errors {
                for (f, b) in ahead.iter().skip(lag).zip(back.iter().skip(lag - 1)) {
                    product += f * b;
                    squares += f * f + b * b;
                }
            }
            // What is foretold to the last digits has nothing left to learn from.
            if squares <= energy * 1e-12 {
                break;
            }
            let k = 2.0 * product / squares;
            let before = weights.clone();
            weights.iter_mut().zip(before.iter().rev()).for_each(|(w, mirrored)| *w -= k * mirrored);
            weights.push(k);
            for [ahead, back] in &mut errors {
                for t in (lag..ahead.len()).rev() {
                    let (f, b) = (ahead[t], back[t - 1]);
                    (ahead[t], back[t]) = (f - k * b, b - k * f);
                }
            }
        }
        Some(Self { weights })
    }

    /// What comes after a history: each step from those before it, its own guesses among them. What lies before the history is its mean.
    pub fn forecast(&self, history: &[f32], horizon: usize) -> Vec<f32> {
        let mean = mean(history);
        let mut past: Vec<f64> = history.iter().map(|x| f64::from(*x) - mean).collect();
        for _ in 0..horizon {
            past.push(self.weights.iter().zip(past.iter().rev()).map(|(w, x)| w * x).sum());
        }
        past[history.len()..].iter().map(|x| (x + mean) as f32).collect()
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len().max(1) as f64
}

/// The last season of a history again and again; of a season of one step, or longer than the history, its last value.
pub fn seasonal_naive(history: &[f32], season: usize, horizon: usize) -> Vec<f32> {
    let season = if season == 0 || season > history.len() { 1 } else { season };
    let Some(start) = history.len().checked_sub(season) else { return vec![0.0; horizon] };
    if history.is_empty() {
        return vec![0.0; horizon];
    }
    (0..horizon).map(|step| history[start + step % season]).collect()
}

/// Places from which [`naive_season`] forecasts, about so many over all series.
const PLACES: usize = 256;

/// The season, of 1 to `most` steps, whose [naive forecast](seasonal_naive) of `horizon` steps has the least squared error on these series,
/// without holes, from places that are evenly spread; the shortest of equals. Where series are short it is looked for in their first half,
/// and 1 where they have fewer than four steps.
pub fn naive_season(series: &[Vec<f32>], most: usize, horizon: usize) -> usize {
    let shortest = series.iter().map(Vec::len).min().unwrap_or(0);
    if shortest < 4 {
        return 1;
    }
    let most = most.min(shortest / 2);
    let horizon = horizon.clamp(1, shortest - most);
    let each = PLACES.div_ceil(series.len());
    let mut errors = vec![0.0_f64; most + 1];
    for series in series {
        let ends = series.len() - horizon - most + 1;
        for place in 0..each.min(ends) {
            let (history, future) = series.split_at(most + place * ends / each.min(ends));
            for (season, error) in errors.iter_mut().enumerate().skip(1) {
                let last = &history[history.len() - season..];
                let squares = future[..horizon].iter().zip(last.iter().cycle()).map(|(a, b)| f64::from(a - b).powi(2));
                *error += squares.sum::<f64>();
            }
        }
    }
    (1..=most).min_by(|a, b| errors[*a].total_cmp(&errors[*b])).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};
    use rand::RngExt;

    use super::*;

    #[test]
    fn the_season_is_that_of_the_best_naive_forecast() {
        // A wave of 24 steps under a trend, and one of 57 with a tenth of its height as noise: neighbours are alike, seasons more so.
        let trend = |t: usize| (t as f32 * std::f32::consts::TAU / 24.0).sin() + 0.002 * t as f32;
        assert_eq!(naive_season(&[(0..400).map(trend).collect()], 100, 96), 24);
        let noisy = |t: usize| {
            let noise = ((t * 7919 % 1009) as f32 / 1009.0 - 0.5) * 0.35;
            (t as f32 * std::f32::consts::TAU / 57.0).sin() + noise
        };
        let found = naive_season(&[(0..1200).map(noisy).collect()], 100, 96);
        assert!((55..=59).contains(&found), "{found}");
        // What has no season is best told by its last value.
        let steps = (0..600_u64).scan(0.0_f32, |at, t| {
            *at += if ((t * t * 2_654_435_761) >> 7).is_multiple_of(2) { 1.0 } else { -1.0 };
            Some(*at)
        });
        assert!(naive_season(&[steps.collect()], 100, 12) < 4);
        assert_eq!((naive_season(&[vec![1.0; 100]], 30, 12), naive_season(&[vec![1.0; 3]], 30, 12)), (1, 1));
        assert_eq!(naive_season(&[], 30, 12), 1);
    }

    #[test]
    fn a_wave_goes_on() {
        let wave: Vec<f32> = (0..300).map(|t| (t as f32 * std::f32::consts::TAU / 25.0).sin()).collect();
        let fit = Autoregression::fit(&[wave[..200].to_vec()], 4).unwrap();
        let found = fit.forecast(&wave[150..200], 60);
        for (found, expected) in found.iter().zip(&wave[200..260]) {
            assert!((found - expected).abs() < 0.05, "{found} {expected}");
        }
        for (found, expected) in seasonal_naive(&wave[..200], 25, 60).iter().zip(&wave[200..260]) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    /// Known weights are found again, from several series; what is rolled out for long comes to rest at the mean.
    #[test]
    fn known_weights_are_found_and_no_fit_runs_away() {
        let noise = |seed: u64, count: usize| -> Vec<f32> {
            let mut random = rng(seed, Stream::Scene, 0, 0);
            (0..count).map(|_| random.random::<f32>() - 0.5).collect()
        };
        let series: Vec<Vec<f32>> = (0..3)
            .map(|seed| {
                let mut values = vec![0.0_f32; 2];
                for (t, noise) in noise(seed, 4000).into_iter().enumerate() {
                    values.push(1.2 * values[t + 1] - 0.5 * values[t] + noise);
                }
                values.iter().map(|x| x + 7.0).collect()
            })
            .collect();
        let fit = Autoregression::fit(&series, 2).unwrap();
        assert!((fit.weights[0] - 1.2).abs() < 0.03 && (fit.weights[1] + 0.5).abs() < 0.03, "{:?}", fit.weights);
        // A trend with noise, which least squares takes for a root at 1.
        let trend: Vec<f32> = noise(5, 500).into_iter().enumerate().map(|(t, x)| 0.01 * t as f32 + x).collect();
        let fit = Autoregression::fit(std::slice::from_ref(&trend), 40).unwrap();
        let far = fit.forecast(&trend[..100], 5000);
        assert!(
            far.iter().all(|x| x.abs() < 5.0) && (far[4999] - mean(&trend[..100]) as f32).abs() < 0.5,
            "{}",
            far[4999]
        );
    }

    #[test]
    fn short_histories_and_nothing_at_all_are_answered() {
        assert!(Autoregression::fit(&[vec![1.0; 3]], 8).is_none());
        let constant = Autoregression::fit(&[vec![2.0; 50]], 8).unwrap();
        assert_eq!(constant.forecast(&[2.0], 3), [2.0; 3]);
        assert_eq!(constant.forecast(&[], 2).len(), 2);
        assert_eq!(seasonal_naive(&[1.0, 2.0], 5, 3), [2.0; 3]);
        assert_eq!(seasonal_naive(&[], 5, 2), [0.0; 2]);
    }
}
