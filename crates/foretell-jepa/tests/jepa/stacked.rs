//! Stacked joint embeddings: whose loss reaches which level.

use std::sync::Arc;

use burn::tensor::Device;
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, Image, Normalise, Sample};
use foretell_jepa::anti_collapse::VicregConfig;
use foretell_jepa::stacked::{Stacked, StackedNetworks};
use foretell_jepa::views::ViewsCollator;
use foretell_jepa::{AntiCollapse, Clock, Objective};
use foretell_nn::conv::ResNetConfig;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::parameters;
use foretell_nn::stack::{Source, StackConfig};
use foretell_ops as ops;

/// The largest gradient that each level is given, `[first, second]`, and the loss.
fn reached(weights: &[f64], detached: bool, source: Source) -> ([f32; 2], f32) {
    let device = Device::flex().autodiff();
    let config = StackConfig {
        first: ResNetConfig {
            image: (16, 16),
            channels: 3,
            widths: vec![6],
            blocks: 1,
            stem_kernel: 3,
            stem_stride: 2,
        },
        upper: vec![vec![8, 8]],
        source,
    };
    let mut random = rng(1, Stream::Init, 0, 0);
    let encoder = config.init(&mut random, &device);
    let projectors = [6, 8][2 - weights.len()..]
        .iter()
        .map(|width| Projector::new(&[*width, 12, 5], Activation::Relu, &mut random, &device))
        .collect();
    let networks = StackedNetworks { encoder, projectors };
    let collator = ViewsCollator {
        code_width: 5,
        ..ViewsCollator::pairs(3, 16, Augment { crop_scale: (0.3, 1.0), ..Augment::default() }, Normalise::nothing(3))
    };
    let sample = |index: usize| {
        let pixels = (0..16 * 16 * 3).map(|i| ((i * 31 + index * 57) % 251) as u8).collect();
        let image = Arc::new(Image { width: 16, height: 16, channels: 3, pixels });
        Sample { index, name: String::new(), image, labels: Vec::new() }
    };
    let batch = collator.collate(1, &(0..6).map(sample).collect::<Vec<_>>()).unwrap();
    let objective = Stacked {
        anti_collapse: AntiCollapse::Vicreg(VicregConfig::default()),
        lambda: 0.0,
        weights: weights.to_vec(),
        detached,
        collator: Arc::new(collator),
        device: Device::flex(),
    };
    let outcome = objective.loss(&networks, &batch, &Clock { step: 1, total: 1, batch: 6, health_due: false });
    assert_eq!(outcome.terms.len(), weights.len());
    assert_eq!(outcome.terms.last().unwrap().0, "level 2");
    let loss = ops::values(outcome.loss.clone().inner())[0];
    let mut gradients = outcome.loss.backward();
    let mut largest = [0.0_f32; 2];
    parameters::gradients(&networks, &mut gradients, &mut |parameter, gradient| {
        if let Some(name) = parameter.name.strip_prefix("encoder.") {
            let level = &mut largest[usize::from(name.starts_with("upper"))];
            *level = ops::values(gradient).into_iter().fold(*level, |most, x| most.max(x.abs()));
        }
    });
    (largest, loss)
}

#[test]
fn a_detached_level_leaves_the_one_below_alone() {
    for source in [Source::Map, Source::Pooled] {
        let (top, _) = reached(&[0.0, 1.0], true, source);
        assert!(top[0] == 0.0 && top[1] > 1e-4, "{top:?}");
        let (both, _) = reached(&[0.0, 1.0], false, source);
        assert!(both[0] > 1e-4 && both[1] > 1e-4, "{both:?}");
        let (bottom, _) = reached(&[1.0, 0.0], false, source);
        assert!(bottom[0] > 1e-4 && bottom[1] == 0.0, "{bottom:?}");
    }
}

#[test]
fn each_level_adds_its_own_loss() {
    let loss = |weights: &[f64]| reached(weights, false, Source::Map).1;
    let (first, second, both) = (loss(&[1.0, 0.0]), loss(&[0.0, 1.0]), loss(&[2.0, 3.0]));
    assert!((2.0 * first + 3.0 * second - both).abs() < 1e-4 * both, "{first} {second} {both}");
    // The flat control: one projector, the highest level's.
    let (flat, _) = reached(&[1.0], false, Source::Map);
    assert!(flat[0] > 1e-4 && flat[1] > 1e-4);
}
