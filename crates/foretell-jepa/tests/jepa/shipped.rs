//! Terms against collapse as lightly 1.6.0 ships them: values and gradients that `bench/peers/shipped.py` wrote, with the directions that
//! the library drew. Where its convention is another than our default the setting that makes them equal stands in the test.

use burn::tensor::{Device, Tensor};
use foretell_jepa::AntiCollapse;
use foretell_jepa::anti_collapse::{BarlowConfig, Term, VicregConfig, VisregConfig};
use foretell_jepa::sigreg::sigreg;
use foretell_jepa::visreg;
use foretell_ops as ops;

use crate::parity::Golden;

/// Codes of four views, the first two of them global.
const GLOBAL: usize = 2;

#[track_caller]
fn equal(name: &str, loss: impl Fn(Tensor<3>, &[f32]) -> Tensor<1>) {
    let shipped = Golden::open(&["lightly.safetensors"]);
    let codes = shipped.tensor::<3>("codes", &Device::flex()).autodiff().require_grad();
    let directions = shipped.find(&format!("{name}.directions")).map_or(&[][..], |t| &t.values);
    let found = loss(codes.clone(), directions);
    let expected = shipped.get(&format!("{name}.value")).values[0];
    let value = ops::values(found.clone().inner())[0];
    assert!((value - expected).abs() <= 1e-5 * expected.abs(), "{name}: {value} beside {expected}");
    let gradient = ops::values(codes.grad(&found.backward()).expect("a gradient"));
    let expected = &shipped.get(&format!("{name}.gradient")).values;
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    assert!(largest > 0.0, "{name}: a gradient of nothing shows nothing");
    let worst = gradient.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 2e-5 * largest, "{name}: gradients are {worst:e} apart, the largest is {largest:e}");
}

fn value(term: Term) -> Tensor<1> {
    term.value
}

/// `SIGReg()`, and `LeJEPALoss()` whole: no factor.
#[test]
fn sigreg_and_the_loss_of_lejepa_are_those_of_lightly() {
    equal("sigreg", sigreg);
    equal("lejepa", |codes, directions| value(AntiCollapse::default().views(codes, GLOBAL, directions, 0.05)));
}

/// `VICRegLoss()` of two views: no factor.
#[test]
fn vicreg_is_that_of_lightly() {
    let term = AntiCollapse::Vicreg(VicregConfig::default());
    equal("vicreg", |codes, _| value(term.views(codes.narrow(0, 0, 2), GLOBAL, &[], 0.0)));
}

/// `BarlowTwinsLoss()` of two views: its λ is 0.005, the paper's and ours 0.0051.
#[test]
fn barlow_twins_is_that_of_lightly() {
    let term = AntiCollapse::BarlowTwins(BarlowConfig { off_diagonal: 5e-3 });
    equal("barlow", |codes, _| value(term.views(codes.narrow(0, 0, 2), GLOBAL, &[], 0.0)));
}

/// `VISRegLoss()`, whole and part by part: no factor. Its λ is 0.9; ours, the paper's for small data, is 0.6.
#[test]
fn visreg_is_that_of_lightly() {
    let config = VisregConfig::default();
    let term = AntiCollapse::Visreg(config);
    equal("visreg.total", |codes, directions| value(term.views(codes, GLOBAL, directions, 0.9)));
    equal("visreg.pred", |codes, directions| value(term.views(codes, GLOBAL, directions, 0.0)));
    equal("visreg.scale", |codes, _| visreg::scale(codes, config.scale_eps));
    equal("visreg.center", |codes, _| visreg::centre(codes));
    equal("visreg.shape", |codes, directions| visreg::shape(codes, directions, config.shape_eps));
}
