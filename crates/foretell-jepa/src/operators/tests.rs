//! Against sums taken pixel by pixel, against numbers from NumPy, and against what the operators are for.

use proptest::prelude::*;

use super::boxes::mirrored;
use super::*;

/// The picture whose numbers NumPy gave (`numpy.pad(mode="reflect")`, sums in f64).
fn picture() -> Vec<f32> {
    (0..20 * 24)
        .map(|i| {
            let (y, x) = (i / 24, i % 24);
            ((7 * x + 13 * y + ((x * y) % 11) * 5) % 97) as f32 / 96.0
        })
        .collect()
}

const PLACES: [(usize, usize); 6] = [(0, 0), (0, 23), (3, 7), (10, 12), (19, 5), (19, 23)];

fn assert_places(map: &[f32], expected: [f32; 6], what: &str) {
    for ((y, x), expected) in PLACES.into_iter().zip(expected) {
        let found = map[y * 24 + x];
        assert!((found - expected).abs() < 2e-6, "{what} at {y}, {x}: {found} for {expected}");
    }
}

#[test]
fn maps_have_the_values_of_numpy() {
    let scales = vec![1, 5, 9];
    let of = |operator: OperatorConfig| operator.maps(&picture(), (20, 24));
    let ratio = of(OperatorConfig::RatioGradient { scales: scales.clone(), offset: 0.01 });
    let gradient = of(OperatorConfig::Gradient { scales: scales.clone() });
    let low_pass = of(OperatorConfig::LowPass { scales });
    for (scale, (ratios, gradients, means)) in [
        (
            [0.0, 0.0, 0.3479314, 0.476751, 0.1626703, 0.0],
            [0.0, 0.0, 0.128061, 0.211834, 0.0729167, 0.0],
            [0.162037, 0.7199074, 0.3969907, 0.4108796, 0.3587963, 0.1967593],
        ),
        (
            [0.0, 0.0, 0.0910783, 0.0219545, 0.0524935, 0.0],
            [0.0, 0.0, 0.0450638, 0.0107474, 0.025726, 0.0],
            [0.4511019, 0.4306129, 0.4840737, 0.478478, 0.4737431, 0.5607782],
        ),
        (
            [0.0, 0.0, 0.0715276, 0.1262972, 0.1691349, 0.0],
            [0.0, 0.0, 0.0355282, 0.0655144, 0.0888706, 0.0],
            [0.4464451, 0.5371076, 0.4843894, 0.5092913, 0.5176304, 0.5444945],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let map = |maps: &[f32]| maps[scale * 480..][..480].to_vec();
        assert_places(&map(&ratio), ratios, "ratio");
        assert_places(&map(&gradient), gradients, "gradient");
        assert_places(&map(&low_pass), means, "low pass");
    }
}

#[test]
fn histograms_have_the_values_of_numpy() {
    let operator = OperatorConfig::Hog { bins: 9, cells: 2 };
    let patches = operator.patches(&picture(), (20, 24), 8);
    assert_eq!(patches.len(), 6 * operator.width(1, 8));
    let histogram = |token: usize, cell: usize| &patches[(token * 4 + cell) * 9..][..9];
    for (found, expected) in [
        (histogram(0, 0), [0.181691, 0.007314, 0.628677, 0.689781, 0.239233, 0.14122, 0.099637, 0.093231, 0.010388]),
        (histogram(4, 2), [0.270081, 0.277406, 0.0, 0.321453, 0.77422, 0.259717, 0.212544, 0.165388, 0.085865]),
    ] {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-5, "{found} for {expected}");
        }
    }
}

/// The sums of one pixel's window, each pixel looked at: left, right, top, bottom and whole.
fn direct(plane: &[f32], (height, width): (usize, usize), (y, x): (usize, usize), k: usize, offset: f64) -> [f64; 5] {
    let k = k as isize;
    let mut sums = [0.0; 5];
    for dy in -k..=k {
        for dx in -k..=k {
            let (row, col) = (mirrored(y as isize + dy, height), mirrored(x as isize + dx, width));
            let value = f64::from(plane[row * width + col]) + offset;
            for (sum, counts) in sums.iter_mut().zip([dx <= 0, dx >= 0, dy <= 0, dy >= 0, true]) {
                *sum += if counts { value } else { 0.0 };
            }
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn maps_are_what_each_window_gives_by_itself(
        (height, width) in (1_usize..26, 1_usize..26),
        channels in 1_usize..=3,
        scales in prop::collection::vec(1_usize..20, 1..4),
        seed: u32,
    ) {
        let size = (height, width);
        let mut state = seed | 1;
        let image: Vec<f32> = (0..channels * height * width)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // A third of the pixels are black: the offset alone is left of them.
                (state >> 8) as f32 / (1 << 24) as f32 * f32::from(u8::from(state >> 30 > 0))
            })
            .collect();
        let taken = fitting(&scales, height.min(width));
        prop_assert_eq!(taken.len(), scales.len());
        let of = |operator: OperatorConfig| operator.maps(&image, size);
        let ratio = of(OperatorConfig::RatioGradient { scales: scales.clone(), offset: 0.01 });
        let gradient = of(OperatorConfig::Gradient { scales: scales.clone() });
        let low_pass = of(OperatorConfig::LowPass { scales: scales.clone() });
        for (channel, plane) in image.chunks_exact(height * width).enumerate() {
            for (s, &k) in taken.iter().enumerate() {
                for pixel in 0..height * width {
                    let place = (pixel / width, pixel % width);
                    let at = (channel * taken.len() + s) * height * width + pixel;
                    let [l, r, t, b, _] = direct(plane, size, place, k, 0.01);
                    let expected = (l / r).ln().hypot((t / b).ln());
                    prop_assert!((f64::from(ratio[at]) - expected).abs() < 1e-5, "ratio {} {expected}", ratio[at]);
                    let [l, r, t, b, whole] = direct(plane, size, place, k, 0.0);
                    let half = ((k + 1) * (2 * k + 1)) as f64;
                    let expected = ((l - r) / half).hypot((t - b) / half);
                    prop_assert!((f64::from(gradient[at]) - expected).abs() < 1e-5, "gradient");
                    let expected = whole / ((2 * k + 1) * (2 * k + 1)) as f64;
                    prop_assert!((f64::from(low_pass[at]) - expected).abs() < 1e-6, "low pass");
                }
            }
        }
    }

    #[test]
    fn every_operator_fills_the_width_it_names(
        (rows, cols, patch) in (1_usize..4, 1_usize..4, 1_usize..9),
        channels in 1_usize..=3,
        (more, kind) in (0_usize..3, 0_usize..5),
    ) {
        let operator = match kind {
            0 => OperatorConfig::default(),
            1 => OperatorConfig::Gradient { scales: vec![1, 2] },
            2 => OperatorConfig::Hog { bins: 5, cells: 3 },
            3 => OperatorConfig::Pixels {},
            _ => OperatorConfig::LowPass { scales: vec![3] },
        };
        operator.check().unwrap();
        let size = (rows * patch + more.min(patch - 1), cols * patch);
        let image: Vec<f32> = (0..channels * size.0 * size.1).map(|i| (i * 37 % 101) as f32 / 100.0).collect();
        let patches = operator.patches(&image, size, patch);
        prop_assert_eq!(patches.len(), rows * cols * operator.width(channels, patch));
        prop_assert!(patches.iter().all(|value| value.is_finite()));
        let text = serde_json::to_string(&operator).unwrap();
        prop_assert_eq!(serde_json::from_str::<OperatorConfig>(&text).unwrap(), operator);
    }
}

/// Mean of `|a − b|` as a share of the mean of `|a|`.
fn change(a: &[f32], b: &[f32]) -> f32 {
    let difference: f32 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
    difference / a.iter().map(|a| a.abs()).sum::<f32>()
}

/// A bright square and a ramp on a dim ground.
fn scene(side: usize) -> Vec<f32> {
    (0..side * side)
        .map(|i| {
            let (y, x) = (i / side, i % side);
            let square = y > side / 3 && y < 2 * side / 3 && x > side / 4 && x < side / 2;
            0.2 + if square { 0.25 } else { 0.0 } + 0.1 * x as f32 / side as f32
        })
        .collect()
}

#[test]
fn a_brighter_picture_has_the_same_ratio_and_another_gradient() {
    let image = scene(48);
    let brighter: Vec<f32> = image.iter().map(|value| 1.8 * value).collect();
    let size = (48, 48);
    let moved =
        |operator: OperatorConfig| change(&operator.patches(&image, size, 8), &operator.patches(&brighter, size, 8));
    let ratio = moved(OperatorConfig::default());
    assert!(ratio < 0.03, "the ratio moved by {ratio}");
    // In proportion, as every linear operator.
    for operator in [OperatorConfig::Gradient { scales: scales() }, OperatorConfig::Pixels {}] {
        let linear = moved(operator.clone());
        assert!((linear - 0.8).abs() < 1e-3, "{operator:?} moved by {linear}");
    }
    // Cells are of length 1 whatever the contrast.
    let hog = moved(OperatorConfig::Hog { bins: 9, cells: 2 });
    assert!(hog < 1e-3, "{hog}");
}

#[test]
fn the_offset_is_what_keeps_a_dark_picture_from_counting() {
    let dark: Vec<f32> = scene(48).iter().map(|value| 0.001 * value).collect();
    let mean = |offset: f64| {
        let operator = OperatorConfig::RatioGradient { scales: vec![5], offset };
        let map = operator.maps(&dark, (48, 48));
        map.iter().sum::<f32>() / map.len() as f32
    };
    assert!(mean(1e-2) < 0.1 * mean(1e-6), "{} {}", mean(1e-2), mean(1e-6));
}

/// A factor of mean 1 for each pixel, the sum of four exponentials over four: speckle of four looks.
fn speckled(image: &[f32], seed: u64) -> Vec<f32> {
    use rand::RngExt;
    let mut rng = foretell_data::random::rng(seed, foretell_data::random::Stream::Noise, 0, 0);
    image.iter().map(|value| value * (0..4).map(|_| -(1.0 - rng.random::<f32>()).ln()).sum::<f32>() / 4.0).collect()
}

#[test]
fn speckle_disturbs_the_ratio_as_much_in_bright_places_as_in_dark_ones() {
    // Two even halves, one four times as bright; far from the edge between them there is nothing but noise.
    let side = 96;
    let even: Vec<f32> = (0..side * side).map(|i| if i % side < side / 2 { 0.15 } else { 0.6 }).collect();
    let noisy = speckled(&even, 3);
    let noise = |operator: OperatorConfig| {
        let map = operator.maps(&noisy, (side, side));
        let of = |cols: std::ops::Range<usize>| {
            let values = (0..side * side).filter(|i| cols.contains(&(i % side))).map(|i| map[i]);
            values.sum::<f32>() / (side * cols.len()) as f32
        };
        of(60..side) / of(0..36)
    };
    let ratio = noise(OperatorConfig::RatioGradient { scales: vec![5], offset: 1e-2 });
    let gradient = noise(OperatorConfig::Gradient { scales: vec![5] });
    assert!((0.75..1.35).contains(&ratio), "bright against dark: {ratio}");
    assert!(gradient > 3.0, "bright against dark: {gradient}");
}

#[test]
fn larger_windows_quieten_speckle() {
    let operator = OperatorConfig::RatioGradient { scales: vec![1, 9], offset: 1e-2 };
    let maps = operator.maps(&speckled(&vec![0.4; 4096], 5), (64, 64));
    let mean = |map: &[f32]| map.iter().sum::<f32>() / map.len() as f32;
    assert!(mean(&maps[4096..]) < 0.35 * mean(&maps[..4096]), "{} {}", mean(&maps[4096..]), mean(&maps[..4096]));
}

#[test]
fn small_pictures_shrink_all_scales_by_one_factor() {
    let of = |side| fitting(&SCALES, side);
    assert_eq!(of(224), SCALES);
    assert_eq!(of(35), SCALES);
    assert_eq!(of(34), [5, 8, 12, 16]);
    assert_eq!(of(28), [4, 7, 10, 13]);
    assert_eq!(of(8), [1, 2, 2, 3]);
    assert_eq!(of(1), [1, 1, 1, 1]);
    // One pixel is its own mirror image: no gradient, and no division by nothing.
    assert_eq!(OperatorConfig::default().patches(&[0.5], (1, 1), 1), [0.0; 4]);
    assert_eq!(OperatorConfig::LowPass { scales: vec![5] }.patches(&[0.5], (1, 1), 1), [0.5]);
    assert_eq!(OperatorConfig::default().patches(&[], (0, 0), 4), [0.0_f32; 0]);
}

#[test]
fn patches_are_cut_in_raster_order() {
    let image: Vec<f32> = (0..2 * 4 * 6).map(|i| i as f32).collect();
    let patches = OperatorConfig::Pixels {}.patches(&image, (4, 6), 2);
    assert_eq!(patches.len(), 6 * 8);
    assert_eq!(patches[..8], [0.0, 1.0, 6.0, 7.0, 24.0, 25.0, 30.0, 31.0]);
    assert_eq!(patches[5 * 8..], [16.0, 17.0, 22.0, 23.0, 40.0, 41.0, 46.0, 47.0]);
}

#[test]
fn settings_out_of_range_are_one_sentence() {
    for (operator, key) in [
        (OperatorConfig::RatioGradient { scales: vec![], offset: 0.01 }, "scales"),
        (OperatorConfig::RatioGradient { scales: vec![5], offset: 0.0 }, "offset"),
        (OperatorConfig::RatioGradient { scales: vec![5], offset: f64::NAN }, "offset"),
        (OperatorConfig::Gradient { scales: vec![0] }, "scales"),
        (OperatorConfig::LowPass { scales: vec![5000] }, "scales"),
        (OperatorConfig::Hog { bins: 0, cells: 2 }, "bins"),
        (OperatorConfig::Hog { bins: 9, cells: 65 }, "cells"),
    ] {
        let error = operator.check().unwrap_err();
        assert_eq!(error.key, key);
        assert!(error.to_string().starts_with("the operator's setting `") && !error.to_string().contains('\n'));
    }
    let plain = serde_json::from_str::<OperatorConfig>(r#"{"kind": "ratio-gradient"}"#).unwrap();
    assert_eq!(plain, OperatorConfig::default());
}
