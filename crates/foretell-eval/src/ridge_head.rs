//! Ridge heads: classes read from frozen features by ridge regression on their indicators, as scikit-learn's
//! `RidgeClassifierCV` does; the penalty is chosen by the leave-one-out error on the training rows.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::findings::FEATURES;
use crate::spectrum::{eigen, product};
use crate::stored::{FeatureRows, Stored};
use crate::{Better, EvalError, Factor, Features, Figures, Finding, Probed};

/// Penalties on standardised features, as a share of the rows: from hardly any to nearly all.
const PENALTIES: [f64; 9] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0];

/// Accuracies of ridge heads by factor and features, beside the share of the commonest class.
///
/// # Errors
/// Fewer than 2 training rows, values that are not finite, labels that do not fit the rows.
pub fn ridge_heads(probed: &[Probed], factors: &[Factor]) -> Result<Finding, EvalError> {
    let mut figures = Figures::new(&["factor", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let all = |part: &Stored| FeatureRows::select(part, &(0..part.rows()).collect::<Vec<_>>());
    let probed = probed.iter().map(|probed| Ok((&probed.name, all(&probed.train)?, all(&probed.test)?)));
    let probed: Vec<(&String, Features, Features)> = probed.collect::<Result<_, EvalError>>()?;
    for factor in factors {
        for (name, train, test) in &probed {
            figures.push([factor.name.as_str().into(), name.as_str().into()], accuracy(train, test, factor)?);
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None], factor.chance());
    }
    Ok(Finding::figures(
        "ridge",
        "What a ridge head reads",
        "Share of held-out samples that ridge regression on the classes' indicators labels correctly, its penalty chosen by the \
         leave-one-out error on the training samples; n is the number of held-out samples.",
        figures.over(probed.first().map_or(0, |(_, _, test)| test.rows)),
    ))
}

/// The share of `test` rows whose class a ridge head from `train` names.
fn accuracy(train: &Features, test: &Features, factor: &Factor) -> Result<f64, EvalError> {
    factor.check(train.rows, test.rows)?;
    train.check("a ridge head", 2)?;
    test.check("a ridge head", 1)?;
    let classes = factor.train.iter().chain(&factor.test).max().map_or(1, |most| *most as usize + 1);
    let (rows, dim) = (train.rows, train.dim);
    let (mean, scale) = standard(train);
    let standardised = |features: &Features| {
        Mat::from_fn(features.rows, dim, |n, d| (f64::from(features.row(n)[d]) - mean[d]) / scale[d])
    };
    let x = standardised(train);
    // Indicators of ±1, less their mean: the intercept.
    let indicator = |n: usize, k: usize| if factor.train[n] as usize == k { 1.0 } else { -1.0 };
    let offset: Vec<f64> =
        (0..classes).map(|k| (0..rows).map(|n| indicator(n, k)).sum::<f64>() / rows as f64).collect();
    let y = Mat::from_fn(rows, classes, |n, k| indicator(n, k) - offset[k]);
    let (values, vectors) = eigen(product(x.transpose(), x.as_ref()).as_ref())?;
    // Along the principal directions: `[N, D]` and `[D, K]`.
    let along = times(x.as_ref(), vectors.as_ref());
    let right = times(along.transpose(), y.as_ref());
    let shrink = |penalty: f64| -> Vec<f64> {
        values.iter().map(|value| 1.0 / (value.max(0.0) + penalty * rows as f64)).collect()
    };
    let left_out = |penalty: f64| {
        let shrink = shrink(penalty);
        (0..rows)
            .map(|n| {
                let leverage = 1.0 / rows as f64 + (0..dim).map(|d| along[(n, d)].powi(2) * shrink[d]).sum::<f64>();
                let left = (1.0 - leverage).max(1e-9);
                let error = |k: usize| {
                    let read = (0..dim).map(|d| along[(n, d)] * shrink[d] * right[(d, k)]).sum::<f64>();
                    ((y[(n, k)] - read) / left).powi(2)
                };
                (0..classes).map(error).sum::<f64>()
            })
            .sum::<f64>()
    };
    let errors = PENALTIES.map(|penalty| (penalty, left_out(penalty)));
    let best = errors.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1.0, |(penalty, _)| penalty);
    let shrink = shrink(best);
    let weight = Mat::from_fn(dim, classes, |d, k| shrink[d] * right[(d, k)]);
    let read = times(times(standardised(test).as_ref(), vectors.as_ref()).as_ref(), weight.as_ref());
    let named = |n: usize| {
        let score = |k: &usize| read[(n, *k)] + offset[*k];
        (0..classes).max_by(|a, b| score(a).total_cmp(&score(b)).then(b.cmp(a))).unwrap_or(0)
    };
    let right = (0..test.rows).filter(|n| named(*n) == factor.test[*n] as usize).count();
    Ok(right as f64 / test.rows.max(1) as f64)
}

/// `[A, B] · [B, C]`, the same bits for any number of threads.
fn times(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(left.nrows(), right.ncols());
    matmul(&mut out, Accum::Replace, left, right, 1.0, Par::Seq);
    out
}

/// Mean and standard deviation of each column; one that does not vary is not divided.
fn standard(features: &Features) -> (Vec<f64>, Vec<f64>) {
    let column = |d: usize| (0..features.rows).map(move |n| f64::from(features.row(n)[d]));
    (0..features.dim)
        .map(|d| {
            let mean = column(d).sum::<f64>() / features.rows as f64;
            let deviation = (column(d).map(|x| (x - mean).powi(2)).sum::<f64>() / features.rows as f64).sqrt();
            (mean, if deviation > 1e-9 * mean.abs().max(1e-9) { deviation } else { 1.0 })
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    fn labels(features: &Features) -> Vec<u32> {
        features.values.chunks_exact(features.dim).map(|x| u32::from(x[0] + 0.5 * x[1] > 0.0)).collect()
    }

    #[test]
    fn what_lies_along_a_direction_is_read_and_noise_is_not() {
        let (train, test) = (normal(300, 20, 1), normal(200, 20, 2));
        let factor = Factor::new("side".to_owned(), labels(&train), labels(&test));
        let found = accuracy(&train, &test, &factor).unwrap();
        assert!(found > 0.93, "{found}");
        let (other, unseen) = (normal(300, 20, 3), normal(200, 20, 4));
        let found = accuracy(&other, &unseen, &factor).unwrap();
        assert!((0.35..0.65).contains(&found), "{found}");
    }

    #[test]
    fn features_that_say_nothing_leave_the_commonest_class() {
        let train = normal(12, 3, 5);
        let factor = Factor::new("side".to_owned(), labels(&train), labels(&train));
        let constant = Features::new(12, 3, vec![1.0; 36]).unwrap();
        let majority = accuracy(&constant, &constant, &factor).unwrap();
        assert!((majority - factor.chance()).abs() < 1e-12, "{majority} and {}", factor.chance());
    }
}
