//! Forecasts that need no network: an autoregression by least squares, and the season before repeated.

use crate::{EvalError, Features, Ridge};

/// Rows that coefficients are fitted to, at most.
const ROWS: usize = 4000;

/// `x_t = b + Σ_i w_i x_(t − i)`, rolled out step by step.
#[derive(Clone, Debug)]
pub struct Autoregression {
    ridge: Ridge,
    order: usize,
}

impl Autoregression {
    /// Fitted to series without holes; `None` where none of them is longer than `order` and the fit has nothing to learn from.
    ///
    /// # Errors
    /// As [`Ridge::fit`].
    pub fn fit(series: &[Vec<f32>], order: usize) -> Result<Option<Self>, EvalError> {
        let order = order.max(1);
        let all: usize = series.iter().map(|series| series.len().saturating_sub(order)).sum();
        if all < 2 {
            return Ok(None);
        }
        let every = all.div_ceil(ROWS);
        let (mut rows, mut targets, mut at) = (Vec::new(), Vec::new(), 0);
        for series in series {
            for end in order..series.len() {
                if at % every == 0 {
                    rows.extend_from_slice(&series[end - order..end]);
                    targets.push(series[end]);
                }
                at += 1;
            }
        }
        let ridge = Ridge::fit(&Features::new(targets.len(), order, rows)?, &targets)?;
        Ok(Some(Self { ridge, order }))
    }

    /// Lags.
    pub fn order(&self) -> usize {
        self.order
    }

    /// What comes after a history: each step from those before it, its own guesses among them. A short history is lengthened by its first
    /// value. Guesses stay within ten times the largest value that was seen: an unstable fit is a bad one and no infinity.
    pub fn forecast(&self, history: &[f32], horizon: usize) -> Vec<f32> {
        let first = history.first().copied().unwrap_or(0.0);
        let mut past = vec![first; self.order.saturating_sub(history.len())];
        past.extend_from_slice(&history[history.len().saturating_sub(self.order)..]);
        let most = 10.0 * history.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
        for _ in 0..horizon {
            let next = self.ridge.predict(&past[past.len() - self.order..]);
            past.push(next.first().copied().unwrap_or(first).clamp(-most, most));
        }
        past.split_off(past.len() - horizon)
    }
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
        let fit = Autoregression::fit(&[wave[..200].to_vec()], 4).unwrap().unwrap();
        let found = fit.forecast(&wave[150..200], 60);
        for (found, expected) in found.iter().zip(&wave[200..260]) {
            assert!((found - expected).abs() < 0.05, "{found} {expected}");
        }
        for (found, expected) in seasonal_naive(&wave[..200], 25, 60).iter().zip(&wave[200..260]) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn short_histories_and_nothing_at_all_are_answered() {
        assert!(Autoregression::fit(&[vec![1.0; 3]], 8).unwrap().is_none());
        let constant = Autoregression::fit(&[vec![2.0; 50]], 8).unwrap().unwrap();
        assert_eq!(constant.forecast(&[2.0], 3), [2.0; 3]);
        assert_eq!(constant.forecast(&[], 2).len(), 2);
        assert_eq!(seasonal_naive(&[1.0, 2.0], 5, 3), [2.0; 3]);
        assert_eq!(seasonal_naive(&[], 5, 2), [0.0; 2]);
    }
}
