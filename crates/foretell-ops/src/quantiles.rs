//! Quantiles of N(0, 1): where sorted projections ought to lie (the sliced Wasserstein distance of VISReg, arXiv 2606.02572).

use burn::Tensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

/// Φ⁻¹(p) for 0 < p < 1, to about 1e-15 (Wichura, 1988, algorithm AS 241).
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let x = if r <= 5.0 { ratio(r - 1.6, &SIDE) } else { ratio(r - 5.0, &TAIL) };
    x.copysign(q)
}

/// A numerator's coefficients and a denominator's, the highest power first; the denominator ends with 1.
type Ratio = ([f64; 8], [f64; 7]);

fn ratio(r: f64, (above, below): &Ratio) -> f64 {
    let polynomial = |coefficients: &[f64]| coefficients.iter().fold(0.0, |sum, c| sum * r + c);
    polynomial(above) / (polynomial(below) * r + 1.0)
}

const CENTRE: Ratio = (
    [
        2.509_080_928_730_122_672_7e3,
        3.343_057_558_358_812_810_5e4,
        6.726_577_092_700_870_085_3e4,
        4.592_195_393_154_987_145_7e4,
        1.373_169_376_550_946_112_5e4,
        1.971_590_950_306_551_442_7e3,
        1.331_416_678_917_843_774_5e2,
        3.387_132_872_796_366_608,
    ],
    [
        5.226_495_278_852_854_561e3,
        2.872_908_573_572_194_267_4e4,
        3.930_789_580_009_271_061e4,
        2.121_379_430_158_659_586_7e4,
        5.394_196_021_424_751_107_7e3,
        6.871_870_074_920_579_083e2,
        4.231_333_070_160_091_125_2e1,
    ],
);
const SIDE: Ratio = (
    [
        7.745_450_142_783_414_076_4e-4,
        2.272_384_498_926_918_458_33e-2,
        2.417_807_251_774_506_117_7e-1,
        1.270_458_252_452_368_382_58,
        3.647_848_324_763_204_605_04,
        5.769_497_221_460_691_405_5,
        4.630_337_846_156_545_295_9,
        1.423_437_110_749_683_577_34,
    ],
    [
        1.050_750_071_644_416_843_24e-9,
        5.475_938_084_995_344_946e-4,
        1.519_866_656_361_645_719_66e-2,
        1.481_039_764_274_800_745_9e-1,
        6.897_673_349_851_000_045_5e-1,
        1.676_384_830_183_803_849_4,
        2.053_191_626_637_758_821_87,
    ],
);
const TAIL: Ratio = (
    [
        2.010_334_399_292_288_132_65e-7,
        2.711_555_568_743_487_578_15e-5,
        1.242_660_947_388_078_438_6e-3,
        2.653_218_952_657_612_309_3e-2,
        2.965_605_718_285_048_912_3e-1,
        1.784_826_539_917_291_335_8,
        5.463_784_911_164_114_369_9,
        6.657_904_643_501_103_777_2,
    ],
    [
        2.044_263_103_389_939_785_64e-15,
        1.421_511_758_316_445_888_7e-7,
        1.846_318_317_510_054_681_8e-5,
        7.868_691_311_456_132_591e-4,
        1.487_536_129_085_061_485_25e-2,
        1.369_298_809_227_358_053_1e-1,
        5.998_322_065_558_879_376_9e-1,
    ],
);

/// For each value the quantile of N(0, 1) that its rank has: the i-th smallest of N samples is given Φ⁻¹(i / (N + 1)), i = 1..N, equal
/// values by their order. The mean of `(u − normal_quantiles(u))²` is the mean of `(sorted u − q)²`, and so is its gradient, as
/// ranks do not change with a small step.
///
/// # Shapes
/// - `projected`: `[V, N, M]`: V groups ranked apart, N samples, M directions; output: the same, untracked
pub fn normal_quantiles(projected: Tensor<3>) -> Tensor<3> {
    let [groups, samples, directions] = projected.dims();
    let plain = if projected.device().is_autodiff() { projected.inner() } else { projected };
    let (device, dtype) = (plain.device(), plain.dtype());
    let columns = crate::values(plain.swap_dims(1, 2));
    let count = (samples + 1) as f64;
    let quantiles: Vec<f32> = (1..=samples).map(|i| normal_quantile(i as f64 / count) as f32).collect();
    let mut targets = vec![0.0_f32; columns.len()];
    let parts = targets.par_chunks_mut(samples.max(1)).zip(columns.par_chunks(samples.max(1)));
    parts.for_each_init(Vec::new, |order: &mut Vec<usize>, (targets, column)| {
        order.clear();
        order.extend(0..samples);
        order.sort_by(|a, b| column[*a].total_cmp(&column[*b]));
        for (sample, quantile) in order.iter().zip(&quantiles) {
            targets[*sample] = *quantile;
        }
    });
    Tensor::<3>::from_data(TensorData::new(targets, [groups, directions, samples]), (&device, dtype)).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python's `statistics.NormalDist().inv_cdf` on both sides of each change of formula.
    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        for (p, expected) in [
            (0.5, 0.0),
            (0.4, -0.253_347_103_135_799_8),
            (0.8, 0.841_621_233_572_914_2),
            (0.975, 1.959_963_984_540_054),
            (1e-3, -3.090_232_306_167_813),
            (1e-12, -7.034_483_825_301_131),
        ] {
            let found: f64 = normal_quantile(p);
            assert!((found - expected).abs() < 1e-14 * expected.abs().max(1.0), "{p}: {found}");
        }
    }
}
