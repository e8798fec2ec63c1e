//! Next-embedding prediction: its loss by hand, and what each of its parts is for.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, Image, Normalise, Sample};
use foretell_jepa::next_embedding::{NextBatch, NextCollator, NextEmbedding, NextNetworks, directions, next};
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_jepa::{Clock, Objective, Role};
use foretell_nn::causal_vit::{CausalVit, CausalVitConfig, Sight};
use foretell_nn::parameters::{change, gradients};
use foretell_ops as ops;
use rand::RngExt;

/// An objective and its loss as a function of the network.
type Lost<'a> = (&'a NextEmbedding, &'a dyn Fn(&CausalVit) -> f64);

const CLOCK: Clock = Clock { step: 1, total: 10, batch: 2, health_due: true };

fn config() -> CausalVitConfig {
    CausalVitConfig {
        image: (4, 6),
        patch: 2,
        channels: 1,
        width: 8,
        depth: 1,
        heads: 1,
        hidden: 12,
        eps: 1e-6,
        cls: true,
        qk_norm: true,
        layer_scale: 0.5,
        patch_std: None,
        sight: Sight::Causal,
        tuned: Sight::Both,
    }
}

fn objective() -> NextEmbedding {
    let collator = NextCollator {
        seed: 4,
        size: 4,
        patch: 2,
        augment: Augment::default(),
        normalise: Normalise::nothing(1),
        stretch: 1.0,
    };
    NextEmbedding {
        stop_gradient: true,
        shift: true,
        ema: EmaConfig::default(),
        collator: Arc::new(collator),
        device: Device::flex(),
    }
}

fn network(config: &CausalVitConfig) -> CausalVit {
    // Every parameter moved, so that nothing is zero or one by chance of the start.
    let mut draw = rng(8, Stream::Init, 0, 0);
    let fresh = config.init(&mut rng(1, Stream::Init, 0, 0), &Device::flex().autodiff());
    change(fresh, &mut |_, old| {
        let moved: Vec<f32> = (0..old.dims()[0]).map(|_| draw.random_range(-0.3..0.3)).collect();
        old + Tensor::<1>::from_floats(moved.as_slice(), &Device::flex())
    })
}

/// Two images of six patches of four values.
fn batch(seed: u64) -> NextBatch {
    let mut draw = rng(seed, Stream::Init, 0, 1);
    NextBatch { patches: (0..48).map(|_| draw.random_range(-1.0..1.0)).collect(), images: 2, stretch: 1.0 }
}

fn value(objective: &NextEmbedding, encoder: &CausalVit, batch: &NextBatch) -> f32 {
    let networks = NextNetworks { encoder: encoder.clone(), average: None };
    ops::values(objective.loss(&networks, batch, &CLOCK).loss.inner())[0]
}

/// Every gradient of the loss by its parameter's name.
fn slopes(objective: &NextEmbedding, encoder: &CausalVit, batch: &NextBatch) -> Vec<(String, Vec<f32>)> {
    let networks = NextNetworks { encoder: encoder.clone(), average: None };
    let mut all = objective.loss(&networks, batch, &CLOCK).loss.backward();
    let mut found = Vec::new();
    gradients(&networks.encoder, &mut all, &mut |parameter, slope| {
        found.push((parameter.name.to_owned(), ops::values(slope)));
    });
    found
}

#[test]
fn the_loss_is_the_formula() {
    let tensor = |values: [f32; 6]| Tensor::<1>::from_floats(values, &Device::flex()).reshape([1, 3, 2]);
    let (hidden, embeddings) = (tensor([1.0, 0.0, 3.0, 4.0, 9.0, 9.0]), tensor([7.0, 7.0, 1.0, 1.0, 0.0, -5.0]));
    // The first says the second, the second the third; the last says nothing and the first is not said.
    let (said, behind) = next(hidden, embeddings);
    assert_eq!(
        (ops::values(said.clone()), ops::values(behind.clone())),
        (vec![1.0, 0.0, 3.0, 4.0], vec![1.0, 1.0, 0.0, -5.0])
    );
    let loss = ops::values(ops::cosine_distance(said, behind) - 1.0)[0];
    let by_hand = -(0.5_f32.sqrt() - 0.8) / 2.0;
    assert!((loss - by_hand).abs() < 1e-6, "{loss} {by_hand}");

    // And the objective's is that of the network's embeddings and hidden tokens, over all positions of all images.
    let (objective, encoder, batch) = (objective(), network(&config()), batch(2));
    let patches = Tensor::<1>::from_floats(batch.patches.as_slice(), &Device::flex()).reshape([2, 6, 4]);
    let plain = encoder.valid();
    let embeddings = plain.embed(patches);
    let hidden = plain.hidden(embeddings.clone(), 1.0);
    let (e, h) = (ops::values(embeddings), ops::values(hidden));
    let row = |values: &[f32], image: usize, token: usize| values[(image * 7 + token) * 8..][..8].to_vec();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let mut sum = 0.0;
    for image in 0..2 {
        for token in 0..6 {
            let (h, e) = (row(&h, image, token), row(&e, image, token + 1));
            sum += dot(&h, &e) / (dot(&h, &h) * dot(&e, &e)).sqrt();
        }
    }
    let loss = f64::from(value(&objective, &encoder, &batch));
    assert!((loss + sum / 12.0).abs() < 1e-5, "{loss} {}", -sum / 12.0);
}

#[test]
fn a_later_patch_changes_no_earlier_prediction() {
    let (objective, encoder) = (objective(), network(&config()));
    let before = batch(2);
    let mut other = batch(2);
    // Patch 4 of the first image: token 5, the target of token 4.
    other.patches[16..20].copy_from_slice(&[0.9, -0.9, 0.4, 0.1]);
    let of = |batch: &NextBatch| ops::values(objective.predict(&encoder, batch).0.inner());
    let (before, after) = (of(&before), of(&other));
    assert_eq!(before[..5 * 8], after[..5 * 8]);
    assert_ne!(before[5 * 8..6 * 8], after[5 * 8..6 * 8]);
    assert_eq!(before[6 * 8..], after[6 * 8..], "the other image");
    // Where all see all, the target is seen.
    let open = network(&CausalVitConfig { sight: Sight::Both, ..config() });
    let of = |batch: &NextBatch| ops::values(objective.predict(&open, batch).0.inner());
    assert_ne!(of(&batch(2))[..8], of(&other)[..8]);
}

#[test]
fn gradients_are_slopes() {
    let (objective, encoder, batch) = (objective(), network(&config()), batch(3));
    // Targets without gradient are held as they are while the rest moves.
    let targets = objective.predict(&encoder, &batch).1.inner();
    let held = |encoder: &CausalVit| {
        let said = objective.predict(encoder, &batch).0.inner();
        f64::from(ops::values(ops::cosine_distance(said, targets.clone()) - 1.0)[0])
    };
    let live = NextEmbedding { stop_gradient: false, ..self::objective() };
    let free = |encoder: &CausalVit| f64::from(value(&live, encoder, &batch));
    let lost: [Lost<'_>; 2] = [(&objective, &held), (&live, &free)];
    for (objective, loss) in lost {
        let found = slopes(objective, &encoder, &batch);
        assert_eq!(found.len(), 19, "every parameter has a gradient");
        for (name, slope) in found {
            for at in (0..slope.len()).step_by(slope.len().div_ceil(3)) {
                let moved = |by: f32| {
                    loss(&change(encoder.clone(), &mut |parameter, old| {
                        if parameter.name != name {
                            return old;
                        }
                        let mut values = ops::values(old);
                        values[at] += by;
                        Tensor::<1>::from_floats(values.as_slice(), &Device::flex())
                    }))
                };
                let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                let got = f64::from(slope[at]);
                assert!((got - expected).abs() < 2e-3 + 0.02 * expected.abs(), "{name} {at}: {got} {expected}");
            }
        }
    }
}

/// Targets take a gradient only where it is not stopped, and it changes what the embedding learns.
#[test]
fn each_part_of_the_objective_matters() {
    let (encoder, batch) = (network(&config()), batch(3));
    let of = |objective: &NextEmbedding| slopes(objective, &encoder, &batch);
    let whole = of(&objective());
    let live = of(&NextEmbedding { stop_gradient: false, ..objective() });
    let differ = |name: &str| {
        let of = |slopes: &[(String, Vec<f32>)]| slopes.iter().find(|(n, _)| n == name).unwrap().1.clone();
        of(&whole) != of(&live)
    };
    assert!(differ("patch_embed.proj.weight") && !differ("blocks.0.mlp.fc1.weight") && !differ("norm.weight"));
    let (here, unshifted) = (
        value(&objective(), &encoder, &batch),
        value(&NextEmbedding { shift: false, ..objective() }, &encoder, &batch),
    );
    assert!((here - unshifted).abs() > 1e-3, "{here} {unshifted}");
    let open = network(&CausalVitConfig { sight: Sight::Both, ..config() });
    assert!((here - value(&objective(), &open, &batch)).abs() > 1e-3);
    // Without a token before them, the first patch is predicted from nothing: one prediction less.
    let bare = network(&CausalVitConfig { cls: false, ..config() });
    assert_eq!(objective().predict(&bare, &batch).0.dims(), [2, 5, 8]);
    assert_eq!(objective().predict(&encoder, &batch).0.dims(), [2, 6, 8]);
    assert_eq!(NextEmbedding { shift: false, ..objective() }.predict(&encoder, &batch).0.dims(), [2, 7, 8]);
}

#[test]
fn health_sees_directions_alone() {
    let long = Tensor::<1>::from_floats([3.0, 4.0, 30.0, 40.0, 0.0, 0.0], &Device::flex()).reshape([1, 3, 2]);
    let rows = ops::values(directions(long));
    let expected = [0.6, 0.8, 0.6, 0.8, 0.0, 0.0];
    assert!(rows.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{rows:?}");
}

#[test]
fn the_average_follows_and_is_kept() {
    let constant = EmaConfig { schedule: EmaSchedule::Constant { momentum: 0.9 }, ..EmaConfig::default() };
    let objective = NextEmbedding { ema: constant, ..objective() };
    let role = objective.role("average.norm.weight", &CLOCK);
    let Role::Follows { of, weight } = role else { panic!("{role:?}") };
    assert_eq!(of, "encoder.norm.weight");
    assert!((weight - 0.1).abs() < 1e-12);
    assert_eq!(objective.role("encoder.norm.weight", &CLOCK), Role::LEARNS);
    let (encoder, other) = (network(&config()), config().init(&mut rng(77, Stream::Init, 0, 0), &Device::flex()));
    let kept = |average: Option<CausalVit>| {
        let kept = objective.kept(&NextNetworks { encoder: encoder.clone(), average });
        kept.encoder.state()["norm.weight"].values.clone()
    };
    assert_eq!(kept(None), ops::values(encoder.norm.weight.val().inner()));
    assert_eq!(kept(Some(other.clone())), ops::values(other.norm.weight.val()));
}

/// One draw for a batch, within a factor of the setting both ways, another in each step; none where the setting is 1.
#[test]
fn places_are_stretched_by_the_batch() {
    let image = Arc::new(Image { width: 4, height: 4, channels: 1, pixels: vec![128; 16] });
    let sample = Sample { index: 0, name: String::new(), image, labels: Vec::new() };
    let drawn = |stretch: f64| -> Vec<f64> {
        let collator = NextCollator {
            stretch,
            seed: 4,
            size: 4,
            patch: 2,
            augment: Augment::default(),
            normalise: Normalise::nothing(1),
        };
        (0..200).map(|step| collator.collate(step, std::slice::from_ref(&sample)).unwrap().stretch).collect()
    };
    assert!(drawn(1.0).iter().all(|stretch| *stretch == 1.0));
    let drawn = drawn(2.0);
    assert!(drawn.iter().all(|stretch| (0.5..=2.0).contains(stretch)));
    let shrunk = drawn.iter().filter(|stretch| **stretch < 1.0).count();
    assert!((60..140).contains(&shrunk) && drawn.iter().any(|s| *s > 1.8) && drawn.iter().any(|s| *s < 0.56));
}
