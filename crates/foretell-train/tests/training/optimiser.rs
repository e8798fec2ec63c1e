//! Weight decay takes matrices alone, clipping is by the global norm, and moments survive being written down.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_jepa::Role;
use foretell_nn::conv::ResNetConfig;
use foretell_nn::layers::Pass;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::predictor::{Predictor, PredictorConfig};
use foretell_nn::vit::{Vit, VitConfig};
use foretell_nn::{Backbone, NamedTensors, weights};
use foretell_ops as ops;
use foretell_train::Optimiser;

#[derive(Module, Debug)]
struct Networks {
    encoder: Vit,
    predictor: Predictor,
    residual: foretell_nn::conv::ResNet,
    projector: Projector,
}

/// Every kind of parameter that the systems have.
fn networks(device: &Device) -> Networks {
    let mut rng = rng(1, Stream::Init, 0, 0);
    let vit = VitConfig { image: (8, 8), patch: 4, channels: 3, width: 8, depth: 1, heads: 2, hidden: 16 };
    let predictor = PredictorConfig { grid: (2, 2), encoder_width: 8, width: 4, depth: 1, heads: 1, outputs: 8 };
    let residual =
        ResNetConfig { image: (8, 8), channels: 3, widths: vec![4, 6], blocks: 1, stem_kernel: 3, stem_stride: 1 };
    Networks {
        encoder: vit.init(&mut rng, device),
        predictor: predictor.init(&mut rng, device),
        residual: residual.init(&mut rng, device),
        projector: Projector::new(&[6, 5, 4], Activation::Relu, &mut rng, device),
    }
}

/// A scalar that depends on every parameter.
fn loss(n: &Networks) -> Tensor<1> {
    let ramp = |len: usize| Tensor::<1, burn::tensor::Int>::arange(0..len as i64, &Device::flex()).float();
    let images = (ramp(2 * 3 * 64) * 0.37).sin().reshape([2, 3, 8, 8]);
    let tokens = n.encoder.encode_view(images.clone());
    let predicted = n.predictor.forward(tokens, &[0, 1, 2, 3, 0, 1, 2, 3], &[3, 0], 1);
    let mut seen = Vec::new();
    let codes =
        n.projector.forward(n.residual.view(images, &mut Pass::Training(&mut seen)), &mut Pass::Training(&mut seen));
    predicted.square().sum() + codes.square().sum()
}

fn hyper(weight_decay: f64, step: u64) -> ops::AdamW {
    ops::AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay, step, gradient_scale: 1.0 }
}

/// As most do.
fn learns(_: &str) -> Role<'_> {
    Role::LEARNS
}

fn norm(tensors: &NamedTensors, prefix: &str) -> f64 {
    let of = tensors.iter().filter(|(name, _)| name.starts_with(prefix));
    of.flat_map(|(_, t)| &t.values).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn weight_decay_takes_matrices_and_leaves_biases_norms_and_buffers() {
    let before = networks(&Device::flex().autodiff());
    // Gradients that are zero: what moves is moved by decay alone.
    let gradients = (loss(&before) * 0.0).backward();
    let (after, norm) = Optimiser::default().step(before.clone(), gradients, 1.0, hyper(0.5, 1), &learns);
    assert_eq!(norm, 0.0);
    let (before, after) = (weights::read(&before, ""), weights::read(&after, ""));
    let (mut decayed, mut kept) = (0, 0);
    for (name, old) in &before {
        let buffer = name.contains("pos_embed") || name.contains("running_");
        let matrix = old.shape.len() >= 2 && !name.ends_with("bias") && !buffer;
        let factor = if matrix { 1.0 - 0.1 * 0.5 } else { 1.0 };
        for (a, b) in after[name].values.iter().zip(&old.values) {
            assert!((a - factor * b).abs() <= 1e-6 * b.abs(), "{name}: {b} became {a}");
        }
        *(if matrix { &mut decayed } else { &mut kept }) += 1;
    }
    for name in [
        "encoder.blocks.0.attn.qkv.weight",
        "predictor.mask_token",
        "residual.conv1.weight",
        "projector.layers.0.weight",
    ] {
        assert_ne!(before[name], after[name], "{name}");
    }
    for name in [
        "encoder.norm.weight",
        "encoder.blocks.0.mlp.fc1.bias",
        "encoder.pos_embed",
        "residual.bn1.weight",
        "residual.bn1.running_var",
    ] {
        assert_eq!(before[name], after[name], "{name}");
    }
    assert!(decayed > 15 && kept > 25, "{decayed} and {kept}");
}

fn roles(name: &str) -> Role<'_> {
    match name {
        "encoder.blocks.0.attn.qkv.weight" => Role::Learns { lr: 0.5, decays: Some(false) },
        "encoder.norm.weight" => Role::Learns { lr: 1.0, decays: Some(true) },
        "residual.conv1.weight" => Role::Stays,
        "predictor.mask_token" => Role::Given,
        _ => Role::LEARNS,
    }
}

#[test]
fn roles_say_what_moves_and_how_far() {
    let start = networks(&Device::flex().autodiff());
    let step = |roles: &dyn for<'a> Fn(&'a str) -> Role<'a>, weight_decay: f64, share: f64| {
        let gradients = (loss(&start) * share).backward();
        let (after, _) = Optimiser::default().step(start.clone(), gradients, 0.0, hyper(weight_decay, 1), roles);
        weights::read(&after, "")
    };
    let before = weights::read(&start, "");
    let (plain, with) = (step(&learns, 0.0, 1.0), step(&roles, 0.0, 1.0));
    for name in ["residual.conv1.weight", "predictor.mask_token"] {
        assert_ne!(plain[name], before[name], "{name} would learn");
        assert_eq!(with[name], before[name], "{name} is left as it is");
    }
    let name = "encoder.blocks.0.attn.qkv.weight";
    for ((with, plain), before) in with[name].values.iter().zip(&plain[name].values).zip(&before[name].values) {
        assert!(((with - before) - 0.5 * (plain - before)).abs() < 1e-6, "half the rate is half the way");
    }
    assert_eq!(with["encoder.blocks.0.attn.proj.weight"], plain["encoder.blocks.0.attn.proj.weight"]);
    // Gradients that are zero: what moves is moved by decay alone, where a role asks for it.
    let decayed = step(&roles, 0.5, 0.0);
    assert_eq!(decayed[name], before[name]);
    for (a, b) in decayed["encoder.norm.weight"].values.iter().zip(&before["encoder.norm.weight"].values) {
        assert!((a - 0.95 * b).abs() < 1e-6, "{b} became {a}");
    }
}

#[test]
fn gradients_are_clipped_by_their_global_norm() {
    let start = networks(&Device::flex().autodiff());
    let step = |clip: f64| {
        let mut optimiser = Optimiser::default();
        let (_, norm) = optimiser.step(start.clone(), loss(&start).backward(), clip, hyper(0.0, 1), &learns);
        let state = optimiser.state();
        // After one step the first moment is 0.1 of the gradient as it was used.
        (norm, self::norm(&state, "first.") / 0.1, state)
    };
    let (free, used, plain) = step(0.0);
    assert!(free > 1.0 && (used / free - 1.0).abs() < 1e-5, "without a limit: {free}, used {used}");
    let (norm, used, clipped) = step(free / 4.0);
    assert_eq!(norm, free, "the norm is told as it was before clipping");
    assert!((used / free - 0.25).abs() < 1e-5, "{used} of {free}");
    // All of them by the same factor, not each to its own length.
    for (name, tensor) in plain.iter().filter(|(name, _)| name.starts_with("first.")) {
        for (a, b) in tensor.values.iter().zip(&clipped[name].values) {
            assert!((a * 0.25 - b).abs() <= 1e-5 * a.abs() + 1e-12, "{name}");
        }
    }
    let (_, used, _) = step(2.0 * free);
    assert!((used / free - 1.0).abs() < 1e-5, "a short gradient is left as it is");
}

#[test]
fn moments_that_were_written_down_go_on_as_if_nothing_had_happened() {
    let start = networks(&Device::flex().autodiff());
    let mut optimiser = Optimiser::default();
    let (network, _) = optimiser.step(start.clone(), loss(&start).backward(), 1.0, hyper(0.1, 1), &learns);
    let (state, tensors) = (optimiser.state(), weights::read(&network, ""));

    let mut written = tensors.clone();
    let restored = weights::load(networks(&Device::flex().autodiff()), "", &mut written).unwrap();
    let mut again = Optimiser::with_state(&restored, state.clone()).unwrap();
    assert_eq!(again.state(), state);

    let (on, _) = optimiser.step(network.clone(), loss(&network).backward(), 1.0, hyper(0.1, 2), &learns);
    let (on_again, _) = again.step(restored.clone(), loss(&restored).backward(), 1.0, hyper(0.1, 2), &learns);
    assert_eq!(weights::read(&on, ""), weights::read(&on_again, ""));
    assert_eq!(optimiser.state(), again.state());
    let fresh = Optimiser::default().step(network.clone(), loss(&network).backward(), 1.0, hyper(0.1, 2), &learns).0;
    assert_ne!(weights::read(&on, ""), weights::read(&fresh, ""), "moments matter");

    let mut spare = state.clone();
    spare.insert("first.nowhere".to_owned(), state["first.encoder.norm.weight"].clone());
    let error = Optimiser::with_state(&network, spare).err().unwrap().to_string();
    assert!(error.contains("first.nowhere"), "{error}");
    let mut misshapen = state.clone();
    misshapen.get_mut("second.encoder.norm.weight").unwrap().shape = vec![2, 4];
    let error = Optimiser::with_state(&network, misshapen).err().unwrap().to_string();
    assert!(error.contains("encoder.norm.weight"), "{error}");
}
