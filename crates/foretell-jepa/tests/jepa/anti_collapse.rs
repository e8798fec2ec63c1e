//! Terms against collapse: the values that their papers and codes give, their gradients, and what must not change them.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_jepa::AntiCollapse;
use foretell_jepa::anti_collapse::{BarlowConfig, Convention, Scaling, SigregConfig, VicregConfig, VisregConfig};
use foretell_jepa::barlow::barlow;
use foretell_jepa::sigreg::{bcs, directions, sigreg};
use foretell_jepa::visreg::{centre, scale, shape};
use foretell_ops as ops;
use rand_distr::{Distribution, StandardNormal};

/// `[V, N, D]`, tracked.
fn tensor(values: &[f32], shape: [usize; 3]) -> Tensor<3> {
    let plain = Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &Device::flex());
    plain.autodiff().require_grad()
}

fn normal(seed: u64, shape: [usize; 3], scale: f32) -> Vec<f32> {
    let mut rng = rng(seed, Stream::Init, 0, 0);
    let count = shape.iter().product();
    (0..count).map(|_| Distribution::<f32>::sample(&StandardNormal, &mut rng) * scale).collect()
}

fn value(t: Tensor<1>) -> f32 {
    ops::values(t.inner())[0]
}

/// The value and the gradient with respect to `z`.
fn slope(z: Tensor<3>, f: impl Fn(Tensor<3>) -> Tensor<1>) -> (f32, Vec<f32>) {
    let out = f(z.clone());
    let gradients = out.backward();
    (value(out), ops::values(z.grad(&gradients).expect("a gradient")))
}

fn norm(values: &[f32]) -> f32 {
    values.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[track_caller]
fn near(got: f32, expected: f32, tolerance: f32) {
    assert!((got - expected).abs() <= tolerance, "{got}, expected {expected}");
}

#[track_caller]
fn all_near(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).for_each(|(got, expected)| near(*got, *expected, tolerance));
}

/// Every kind, in each published form.
fn kinds() -> Vec<AntiCollapse> {
    vec![
        AntiCollapse::Sigreg(SigregConfig { scaling: Scaling::Samples }),
        AntiCollapse::Sigreg(SigregConfig { scaling: Scaling::None }),
        AntiCollapse::Vicreg(VicregConfig::default()),
        AntiCollapse::Vicreg(VicregConfig::eb_jepa()),
        AntiCollapse::BarlowTwins(BarlowConfig::default()),
        AntiCollapse::Visreg(VisregConfig::default()),
        AntiCollapse::Visreg(VisregConfig::official()),
    ]
}

/// The named inputs of VISReg's published tests: 0, 4.0, 0 and 1.0.
#[test]
fn visreg_meets_its_published_values() {
    near(value(centre(tensor(&[1.0, -2.0, -1.0, 2.0], [1, 2, 2]))), 0.0, 0.0);
    near(value(centre(tensor(&[2.0; 12], [1, 4, 3]))), 4.0, 0.0);
    near(value(scale(tensor(&[1.0, -1.0, -1.0, 1.0], [1, 2, 2]), 0.0)), 0.0, 1e-7);
    near(value(scale(tensor(&[0.0; 32], [1, 8, 4]), 0.0)), 1.0, 0.0);
}

/// Worked out for given directions, on paper's formula.
#[test]
fn visreg_meets_values_worked_out_by_hand() {
    let a = tensor(&[1.0, -1.0, -1.0, 1.0], [1, 2, 2]);
    let identity = [1.0, 0.0, 0.0, 1.0];
    let (found, gradient) = slope(a.clone(), |z| shape(z, &identity, 1e-4));
    near(found, 0.323_957_6, 1e-6);
    all_near(&gradient, &[0.284_558, -0.284_558, -0.284_558, 0.284_558], 1e-5);
    near(value(shape(a, &identity, 1e-6)), 0.324_070_3, 1e-6);

    let b = tensor(&[0.0, 0.0, 1.0, -1.0, -1.0, 2.0, 3.0, 1.0], [1, 4, 2]);
    // Columns e₁, e₂, (0.6, 0.8).
    let directions = [1.0, 0.0, 0.6, 0.0, 1.0, 0.8];
    near(value(centre(b.clone())), 0.406_25, 1e-6);
    near(value(scale(b.clone(), 0.0)), 0.121_696_1, 1e-6);
    let (found, gradient) = slope(b, |z| shape(z, &directions, 1e-4));
    near(found, 0.133_729_4, 1e-6);
    let expected = [-0.056_214, -0.077_619, -0.018_303, -0.090_038, -0.031_046, 0.087_630, 0.105_564, 0.080_027];
    all_near(&gradient, &expected, 2e-6);
}

#[test]
fn where_codes_collapse_visreg_still_pulls_and_sigreg_does_not() {
    let (n, d) = (32, 16);
    let z = normal(3, [1, n, d], 1e-8);
    let (_, of_scale) = slope(tensor(&z, [1, n, d]), |z| scale(z, 0.0));
    near(norm(&of_scale), 2.0 / ((n * d) as f32).sqrt(), 1e-3);
    assert!(norm(&of_scale) > 1e-2, "{}", norm(&of_scale));
    let along = directions(0, 1, d, 64);
    let (_, of_sigreg) = slope(tensor(&z, [1, n, d]), |z| sigreg(z, &along));
    assert!(norm(&of_sigreg) < 1e-5, "{}", norm(&of_sigreg));
}

/// The root of a variance of 0 has no slope: a NaN would reach every weight.
#[test]
fn a_constant_batch_has_finite_gradients() {
    let along = directions(0, 1, 16, 8);
    for term in kinds() {
        let along = if term.directions(8) > 0 { along.as_slice() } else { &[] };
        for constant in [0.0, 5.0, 0.1] {
            let z = tensor(&[constant; 2 * 32 * 16], [2, 32, 16]);
            let (found, gradient) = slope(z, |z| term.term(z, along).value);
            assert!(found.is_finite() && gradient.iter().all(|x| x.is_finite()), "{term:?} at {constant}");
        }
    }
    let (_, gradient) = slope(tensor(&[5.0; 512], [1, 32, 16]), |z| scale(z, 0.0));
    assert!(gradient.iter().all(|x| *x == 0.0));
}

#[test]
fn the_shape_does_not_see_the_scale_but_its_gradient_does() {
    let z = normal(4, [2, 64, 8], 1.0);
    let along = directions(0, 2, 8, 64);
    let (found, small) = slope(tensor(&z, [2, 64, 8]), |z| shape(z, &along, 1e-6));
    let hundredfold: Vec<f32> = z.iter().map(|x| x * 100.0).collect();
    let (scaled, large) = slope(tensor(&hundredfold, [2, 64, 8]), |z| shape(z, &along, 1e-6));
    near(scaled, found, 1e-4);
    near(norm(&small) / norm(&large), 100.0, 1.0);
    // σ takes no gradient, so the gradient along z is not 0, as it would be of a function that really has no scale.
    let along_itself: f32 = z.iter().zip(&small).map(|(x, g)| x * g).sum();
    assert!(along_itself.abs() > 1e-3, "{along_itself}");
}

/// N(0, I) of 2048 × 8, and an exponential distribution beside it.
#[test]
fn visreg_knows_a_gaussian() {
    let along = directions(0, 3, 8, 64);
    let gaussian = tensor(&normal(5, [1, 2048, 8], 1.0), [1, 2048, 8]);
    assert!(value(centre(gaussian.clone())) < 0.01 && value(scale(gaussian.clone(), 0.0)) < 0.01);
    let of_gaussian = value(shape(gaussian, &along, 1e-4));
    assert!(of_gaussian < 0.05, "{of_gaussian}");
    // −ln of the normal distribution's own uniform would need its integral; the square of a pair of normals, halved and added, is
    // exponential.
    let pairs = normal(6, [1, 2048, 16], 1.0);
    let exponential: Vec<f32> = pairs.chunks(2).map(|p| (p[0] * p[0] + p[1] * p[1]) / 2.0).collect();
    let of_exponential = value(shape(tensor(&exponential, [1, 2048, 8]), &along, 1e-4));
    assert!(of_exponential > 2.0 * of_gaussian, "{of_exponential} beside {of_gaussian}");
}

#[test]
fn sigreg_meets_its_golden_values_in_both_scalings() {
    let along = directions(0, 4, 8, 256);
    let zeros = || tensor(&[0.0; 2400], [1, 300, 8]);
    near(value(sigreg(zeros(), &along)), 0.402_0 * 300.0, 0.02);
    near(value(bcs(zeros(), &along)), 0.399_96, 1e-4);
    let mut means = [0.0; 2];
    for seed in 0..8 {
        let z = tensor(&normal(20 + seed, [1, 256, 8], 1.0), [1, 256, 8]);
        means[0] += value(sigreg(z.clone(), &along)) / 8.0;
        means[1] += value(bcs(z, &along)) * 256.0 / 8.0;
    }
    near(means[0], 1.052, 0.12);
    near(means[1], 1.050, 0.12);
    // Nothing pulls a point apart: escape relies on noise.
    let (_, gradient) = slope(zeros(), |z| sigreg(z, &along));
    assert!(norm(&gradient) < 1e-6);
}

/// VICReg at collapse: 25 (1 − √1e-4) / 2 for each of two views; EB-JEPA's weights and sums; its covariance for ours.
#[test]
fn vicreg_meets_its_golden_values_in_both_conventions() {
    let constant = tensor(&[3.0; 2 * 16 * 4], [2, 16, 4]);
    let paper = AntiCollapse::Vicreg(VicregConfig::default());
    near(value(paper.views(constant.clone(), 2, &[], 0.0).value), 24.75, 1e-4);
    let sums = AntiCollapse::Vicreg(VicregConfig { convention: Convention::EbJepa, ..VicregConfig::default() });
    near(value(sums.views(constant, 2, &[], 0.0).value), 2.0 * 24.75, 1e-4);

    // Equal views of N(0, I): no invariance, about no variance, a covariance of 2 (D − 1) / (N − 1).
    let (n, d) = (512, 64);
    let one = normal(8, [1, n, d], 1.0);
    let twice = tensor(&[one.as_slice(), &one].concat(), [2, n, d]);
    let term = paper.views(twice.clone(), 2, &[], 0.0);
    let part = |term: &foretell_jepa::anti_collapse::Term, name: &str| {
        value(term.parts.iter().find(|(found, _)| *found == name).expect("that part").1.clone())
    };
    near(part(&term, "invariance"), 0.0, 0.0);
    assert!(part(&term, "variance") < 0.03);
    let expected = 2.0 * (d - 1) as f32 / (n - 1) as f32;
    near(part(&term, "covariance"), expected, 0.1 * expected);
    let term = sums.views(twice, 2, &[], 0.0);
    near(part(&term, "covariance"), expected / (d - 1) as f32, 0.1 * expected / (d - 1) as f32);
}

#[test]
fn barlow_twins_of_equal_views_has_no_diagonal() {
    let (n, d) = (512, 32);
    let z = tensor(&normal(9, [1, n, d], 2.0), [1, n, d]).squeeze_dim::<2>(0);
    let found = barlow(z.clone(), z);
    near(value(found.diagonal), 0.0, 1e-6);
    let expected = (d * (d - 1)) as f32 / n as f32;
    near(value(found.off_diagonal), expected, 0.15 * expected);
}

/// A batch that comes in pieces: what is laid together has the value and the gradient of the whole, and the mean of the pieces' values
/// is another number.
#[test]
fn statistics_over_groups_of_a_batch_are_those_of_the_whole() {
    let (views, n, d) = (2, 24, 6);
    let whole = normal(10, [views, n, d], 0.7);
    let along = directions(0, 5, d, 16);
    let piece = |from: usize, to: usize| -> Vec<f32> {
        (0..views).flat_map(|v| whole[(v * n + from) * d..(v * n + to) * d].to_vec()).collect()
    };
    for term in kinds() {
        let along = if term.directions(16) > 0 { along.as_slice() } else { &[] };
        let (expected, gradient) = slope(tensor(&whole, [views, n, d]), |z| term.views(z, views, along, 0.3).value);
        let cuts = [(0, 8), (8, 11), (11, 24)];
        let leaves: Vec<_> = cuts.iter().map(|(a, b)| tensor(&piece(*a, *b), [views, b - a, d])).collect();
        let found = term.views(Tensor::cat(leaves.clone(), 1), views, along, 0.3).value;
        let gradients = found.backward();
        near(value(found), expected, 1e-5 * expected.abs());
        let largest = gradient.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        for ((from, to), leaf) in cuts.iter().zip(&leaves) {
            let found = ops::values(leaf.grad(&gradients).expect("a gradient"));
            let expected: Vec<f32> =
                (0..views).flat_map(|v| gradient[(v * n + from) * d..(v * n + to) * d].to_vec()).collect();
            all_near(&found, &expected, 1e-5 * largest);
        }
        let each = leaves.into_iter().map(|leaf| value(term.views(leaf, views, along, 0.3).value));
        let mean = each.sum::<f32>() / 3.0;
        assert!((mean - expected).abs() > 0.01 * expected.abs(), "{term:?}: {mean} beside {expected}");
    }
}

/// λ = 0 leaves the invariance; more than two views take the pairs with a global one.
#[test]
fn views_are_weighed_as_published() {
    let z = normal(11, [3, 16, 4], 1.0);
    let along = directions(0, 6, 4, 8);
    let invariance = value(AntiCollapse::None.views(tensor(&z, [3, 16, 4]), 2, &[], 0.0).value);
    let by_hand: f32 = (0..64)
        .map(|i| {
            let mean = (z[i] + z[64 + i]) / 2.0;
            [z[i], z[64 + i], z[128 + i]].iter().map(|x| (x - mean).powi(2)).sum::<f32>()
        })
        .sum::<f32>()
        / 192.0;
    near(invariance, by_hand, 1e-5);
    for term in [AntiCollapse::default(), AntiCollapse::Visreg(VisregConfig::default())] {
        near(value(term.views(tensor(&z, [3, 16, 4]), 2, &along, 0.0).value), invariance, 1e-6);
        let alone = value(term.term(tensor(&z, [3, 16, 4]), &along).value);
        near(value(term.views(tensor(&z, [3, 16, 4]), 2, &along, 0.9).value), 0.1 * invariance + 0.9 * alone, 1e-5);
    }
    let bcs = AntiCollapse::Sigreg(SigregConfig { scaling: Scaling::None });
    let pairs: f32 = [(0, 1), (0, 2), (1, 2)]
        .iter()
        .flat_map(|(a, b)| (0..64).map(|i| (z[a * 64 + i] - z[b * 64 + i]).powi(2)).collect::<Vec<_>>())
        .sum::<f32>()
        / 192.0;
    near(value(bcs.views(tensor(&z, [3, 16, 4]), 2, &along, 0.0).value), pairs, 1e-5);
}

#[test]
fn settings_are_read_by_name_and_impossible_ones_are_refused() {
    let read = |text: &str| serde_json::from_str::<AntiCollapse>(text).unwrap();
    assert_eq!(read(r#"{"kind": "sigreg"}"#), AntiCollapse::default());
    assert_eq!(
        read(r#"{"kind": "vicreg", "convention": "eb-jepa", "invariance": 1.0, "variance": 1.0, "covariance": 80.0}"#),
        AntiCollapse::Vicreg(VicregConfig::eb_jepa())
    );
    assert_eq!(read(r#"{"kind": "barlow-twins"}"#), AntiCollapse::BarlowTwins(BarlowConfig::default()));
    assert_eq!(read(r#"{"kind": "none"}"#), AntiCollapse::None);
    let wrong = AntiCollapse::Visreg(VisregConfig { shape: -1.0, ..VisregConfig::default() });
    assert_eq!(
        wrong.check("model.anti_collapse").unwrap_err(),
        "`model.anti_collapse.shape` must be 0 or more, found -1"
    );
}
