//! The generated scenes: a function of their configuration, even in their factors, and what their labels say.

use foretell_data::{Auto, Dataset, Image, Images, ImagesConfig, Modality, Normalise, Part, ScenesConfig};

fn sample(dataset: &Dataset, part: Part, index: usize) -> (Image, Vec<u32>) {
    let sample = dataset.load(part, index).unwrap();
    (Image::clone(&sample.image), sample.labels)
}

#[test]
fn a_scene_is_a_function_of_seed_part_and_index() {
    let config = ScenesConfig::default();
    let dataset = Dataset::scenes(&config);
    assert_eq!((dataset.len(Part::Train), dataset.len(Part::HeldOut)), (20_000, 2_000));
    assert_eq!((dataset.channels(), dataset.median_short_side()), (3, 32));
    let first = sample(&dataset, Part::Train, 5);
    assert_eq!(first, sample(&Dataset::scenes(&config), Part::Train, 5));
    assert_eq!(first.1, dataset.labels(Part::Train, 5).unwrap());
    let other = Dataset::scenes(&ScenesConfig { seed: 1, ..config });
    for another in
        [sample(&dataset, Part::Train, 6), sample(&dataset, Part::HeldOut, 5), sample(&other, Part::Train, 5)]
    {
        assert_ne!(first.0, another.0);
    }
    assert_ne!(dataset.fingerprint(), other.fingerprint());
}

#[test]
fn every_class_of_every_factor_is_equally_likely() {
    let dataset = Dataset::scenes(&ScenesConfig::default());
    let factors = dataset.factors();
    assert_eq!(factors.iter().map(|factor| factor.classes.len()).collect::<Vec<_>>(), [6, 8, 3, 9, 4, 5]);
    let mut counts: Vec<Vec<usize>> = factors.iter().map(|factor| vec![0; factor.classes.len()]).collect();
    for index in 0..3600 {
        for (counts, label) in counts.iter_mut().zip(dataset.labels(Part::Train, index).unwrap()) {
            counts[label as usize] += 1;
        }
    }
    for counts in counts {
        let expected = 3600 / counts.len();
        // Four standard deviations of the rarest class.
        assert!(counts.iter().all(|count| count.abs_diff(expected) < 90), "{counts:?}");
    }
}

/// The saturation-weighted centre of the image, in its width: backgrounds are dull, objects are not.
fn centre(image: &Image) -> (f32, f32) {
    let (mut total, mut x, mut y) = (0.0, 0.0, 0.0);
    for (i, pixel) in image.pixels.chunks_exact(3).enumerate() {
        let (most, least) = (*pixel.iter().max().unwrap() as f32, *pixel.iter().min().unwrap() as f32);
        let weight = if most > 0.0 && (most - least) / most > 0.62 { 1.0 } else { 0.0 };
        total += weight;
        x += weight * (i % image.width) as f32;
        y += weight * (i / image.width) as f32;
    }
    (x / total / image.width as f32, y / total / image.width as f32)
}

#[test]
fn the_object_is_where_its_position_says() {
    let dataset = Dataset::scenes(&ScenesConfig { size: 48, ..ScenesConfig::default() });
    let right = (0..400).filter(|&index| {
        let (image, labels) = sample(&dataset, Part::Train, index);
        let (x, y) = centre(&image);
        let cell = |at: f32| ((at - 0.385) / 0.23 + 0.0).floor().clamp(-1.0, 1.0) as i32 + 1;
        (cell(x), cell(y)) == (labels[3] as i32 % 3, labels[3] as i32 / 3)
    });
    let right = right.count();
    assert!(right > 360, "{right} of 400");
}

#[test]
fn scenes_differ_in_pixels_between_any_two_classes_of_rotation_even_for_circles() {
    let dataset = Dataset::scenes(&ScenesConfig::default());
    // The brighter half of a circle points the way its rotation says.
    let mut right = 0;
    let mut circles = 0;
    for index in 0..2000 {
        let (image, labels) = sample(&dataset, Part::Train, index);
        if labels[0] != 0 || labels[2] != 2 {
            continue;
        }
        circles += 1;
        let (cx, cy) = centre(&image);
        let (mut x, mut y) = (0.0, 0.0);
        for (i, pixel) in image.pixels.chunks_exact(3).enumerate() {
            let (dx, dy) = ((i % 32) as f32 - cx * 32.0, (i / 32) as f32 - cy * 32.0);
            if dx.hypot(dy) < 6.0 {
                let value = *pixel.iter().max().unwrap() as f32;
                (x, y) = (x + dx * value, y + dy * value);
            }
        }
        let angle = x.atan2(-y).rem_euclid(std::f32::consts::TAU);
        let bin = (angle / std::f32::consts::FRAC_PI_2).round() as u32 % 4;
        right += u32::from(bin == labels[4]);
    }
    assert!(circles > 60 && right * 10 > circles * 9, "{right} of {circles}");
}

#[test]
fn it_is_known_where_the_object_lies() {
    let dataset = Dataset::scenes(&ScenesConfig::default());
    let config =
        ImagesConfig { image_size: Auto::Value(32), normalise: Normalise::nothing(3), ..ImagesConfig::default() };
    let images = Images::of(dataset.clone(), &config).unwrap();
    let names = images.objects();
    assert_eq!((names.len(), names[0].as_str(), names[6].as_str()), (7, "none", "ring"));
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for index in 0..200 {
        let (image, labels) = sample(&dataset, Part::HeldOut, index);
        let covered = images.covered(Part::HeldOut, index, (1, 8, 8)).unwrap();
        assert!(covered.iter().all(|(object, share)| *object == if *share > 0.0 { labels[0] + 1 } else { 0 }));
        let shares: Vec<f32> = covered.into_iter().map(|(_, share)| share).collect();
        assert_eq!(shares.len(), 64);
        // A coarser grid over the same object covers the same area, as far as points can tell.
        let coarse = images.covered(Part::HeldOut, index, (1, 4, 4)).unwrap();
        let coarse: Vec<f32> = coarse.into_iter().map(|(_, share)| share).collect();
        let area = |shares: &[f32]| shares.iter().sum::<f32>() / shares.len() as f32;
        assert!((area(&shares) - area(&coarse)).abs() < 0.02, "{index}");
        assert!((0.02..0.25).contains(&area(&shares)), "{index}: {}", area(&shares));
        for (token, share) in shares.iter().enumerate() {
            let saturation = |at: usize| {
                let pixel = &image.pixels[3 * at..][..3];
                (f32::from(*pixel.iter().max().unwrap()) - f32::from(*pixel.iter().min().unwrap()))
                    / f32::from(*pixel.iter().max().unwrap()).max(1.0)
            };
            let mean =
                (0..16).map(|i| saturation((token / 8 * 4 + i / 4) * 32 + token % 8 * 4 + i % 4)).sum::<f32>() / 16.0;
            match *share {
                1.0 => inside.push(mean),
                0.0 => outside.push(mean),
                _ => {}
            }
        }
    }
    assert!(inside.len() > 150 && outside.len() > 3000, "{} and {}", inside.len(), outside.len());
    // Objects are bright in colour and backgrounds dull: hardly a token is on the wrong side.
    let wrong = inside.iter().filter(|s| **s < 0.5).count() as f32 / inside.len() as f32;
    let other = outside.iter().filter(|s| **s > 0.5).count() as f32 / outside.len() as f32;
    assert!(wrong < 0.05 && other < 0.05, "{wrong} and {other}");
}
