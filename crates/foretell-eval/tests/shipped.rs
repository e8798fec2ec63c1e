//! LiDAR and RankMe as stable-pretraining 0.1.8 ships them, on features that `bench/peers/shipped.py` wrote with its figures.

use foretell_eval::{Features, LIDAR_DELTA, Statistics, lidar, rankme};
use serde::Deserialize;

#[derive(Deserialize)]
struct Shipped {
    samples: usize,
    views: usize,
    width: usize,
    rows: Vec<f32>,
    /// In f32, as the callback has it.
    lidar: f64,
    /// The same code given features in f64.
    lidar_f64: f64,
    rankme: f64,
}

fn shipped() -> (Shipped, Features) {
    let text = include_str!("stable-pretraining.json");
    let shipped: Shipped = serde_json::from_str(text).expect("the script's file");
    let features = Features::new(shipped.samples * shipped.views, shipped.width, shipped.rows.clone()).unwrap();
    (shipped, features)
}

/// It divides the shares by their sum again after adding ε = 1e-8, which the paper and we do not: of D = 6 dimensions that is a
/// factor of 1 + 6e-8 on each share, below what is compared here.
#[test]
fn lidar_is_that_of_stable_pretraining() {
    let (shipped, features) = shipped();
    let found = lidar(&features, shipped.views, LIDAR_DELTA).unwrap();
    assert!((found - shipped.lidar_f64).abs() < 1e-6 * found, "{found} beside {}", shipped.lidar_f64);
    assert!((found - shipped.lidar).abs() < 1e-5 * found, "{found} beside {} in f32", shipped.lidar);
}

/// Its ε is 1e-5, the paper's and ours 1e-7: with its own ε the figures are equal, with ours they are not.
#[test]
fn rankme_is_that_of_stable_pretraining_with_its_epsilon() {
    let (shipped, features) = shipped();
    let found = rankme(&features, 1e-5).unwrap();
    assert!((found - shipped.rankme).abs() < 1e-5 * found, "{found} beside {}", shipped.rankme);
    let ours = Statistics::of(&features).unwrap().rankme;
    assert_eq!(ours, rankme(&features, 1e-7).unwrap());
    let apart = (ours - shipped.rankme).abs() / ours;
    assert!((2e-5..1e-3).contains(&apart), "{apart}");
}
