//! Views: settings that do nothing do nothing, each change does what its definition says, and none leaves the image.

use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Colours, Dataset, Image, Part, ScenesConfig, fit};
use proptest::prelude::*;

fn scene(size: usize) -> Image {
    let config = ScenesConfig { size, ..ScenesConfig::default() };
    Image::clone(&Dataset::scenes(&config).load(Part::Train, 1).unwrap().image)
}

fn view(augment: &Augment, image: &Image, size: usize, index: u64) -> Image {
    augment.apply(image, size, &mut rng(3, Stream::Augment, 1, index))
}

#[test]
fn the_default_is_fit_and_nothing_else() {
    for size in [32, 20, 100] {
        let image = scene(32);
        let (view, fitted) = (view(&Augment::default(), &image, size, 0), fit(&image, size));
        assert!(view.pixels.iter().zip(&fitted.pixels).all(|(a, b)| a.abs_diff(*b) <= 2));
    }
    let image = scene(32);
    assert_eq!(view(&Augment::default(), &image, 32, 0), image);
    assert!(Augment::default().check().is_ok());
}

#[test]
fn a_certain_flip_mirrors() {
    let image = scene(24);
    let flipped = view(&Augment { flip: 1.0, ..Augment::default() }, &image, 24, 0);
    for (row, mirrored) in image.pixels.chunks_exact(72).zip(flipped.pixels.chunks_exact(72)) {
        assert!(row.chunks_exact(3).eq(mirrored.chunks_exact(3).rev()));
    }
    // By hand, in another size, the same.
    let small = fit(&image, 17);
    let flipped = view(&Augment { flip: 1.0, ..Augment::default() }, &image, 17, 0);
    for (row, mirrored) in small.pixels.chunks_exact(51).zip(flipped.pixels.chunks_exact(51)) {
        assert!(
            row.chunks_exact(3)
                .zip(mirrored.chunks_exact(3).rev())
                .all(|(a, b)| (0..3).all(|c| a[c].abs_diff(b[c]) <= 2))
        );
    }
}

#[test]
fn grey_makes_channels_equal_and_solarise_inverts_what_is_bright() {
    let image = scene(16);
    let grey = view(&Augment { grey: 1.0, ..Augment::default() }, &image, 16, 0);
    assert!(grey.channels == 3 && grey.pixels.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]));
    let luma = image.clone().with_channels(1);
    assert!(grey.pixels.chunks_exact(3).zip(&luma.pixels).all(|(a, b)| a[0].abs_diff(*b) <= 1));
    let solarised = view(&Augment { solarise: 1.0, ..Augment::default() }, &image, 16, 0);
    assert!(image.pixels.iter().zip(&solarised.pixels).all(|(a, b)| *b == if *a < 128 { *a } else { 255 - a }));
}

#[test]
fn jitter_changes_what_it_says_and_leaves_grey_images_their_single_channel() {
    let image = scene(16);
    let mean = |image: &Image| image.pixels.iter().map(|&v| v as f32).sum::<f32>() / image.pixels.len() as f32;
    let bright = Augment { jitter: 1.0, brightness: 0.5, ..Augment::default() };
    let means: Vec<f32> = (0..40).map(|index| mean(&view(&bright, &image, 16, index)) / mean(&image)).collect();
    assert!(
        means.iter().any(|&m| m < 0.8)
            && means.iter().any(|&m| m > 1.1)
            && means.iter().all(|m| (0.49..1.51).contains(m))
    );

    // Hue keeps the largest and the smallest channel of each pixel.
    let hue = Augment { jitter: 1.0, hue: 0.5, ..Augment::default() };
    let turned = view(&hue, &image, 16, 1);
    assert_ne!(turned, image);
    for (a, b) in image.pixels.chunks_exact(3).zip(turned.pixels.chunks_exact(3)) {
        assert!(a.iter().max().unwrap().abs_diff(*b.iter().max().unwrap()) <= 1);
        assert!(a.iter().min().unwrap().abs_diff(*b.iter().min().unwrap()) <= 1);
    }
    let grey = image.with_channels(1);
    let all = Augment { saturation: 0.9, grey: 1.0, ..hue };
    assert_eq!(view(&all, &grey, 16, 1), grey);
}

#[test]
fn speckle_multiplies_each_place_and_is_drawn_only_where_it_is_on() {
    let half = Image { width: 64, height: 64, channels: 3, pixels: [20, 40, 60].repeat(64 * 64) };
    let mean = |image: &Image, channel: usize| {
        image.pixels.iter().skip(channel).step_by(3).map(|&v| v as f32).sum::<f32>() / 4096.0
    };
    let noisy = view(&Augment { speckle: 4.0, ..Augment::default() }, &half, 64, 0);
    for (channel, value) in [20.0, 40.0, 60.0].into_iter().enumerate() {
        assert!((mean(&noisy, channel) / value - 1.0).abs() < 0.05);
    }
    for pixel in noisy.pixels.chunks_exact(3) {
        // One factor for the three channels, as far as rounding lets it be seen.
        let factor = pixel[2] as f32 / 60.0;
        assert!((pixel[0] as f32 - 20.0 * factor).abs() <= 0.7 && (pixel[1] as f32 - 40.0 * factor).abs() <= 0.9);
    }
    let spread = noisy.pixels.iter().skip(2).step_by(3).map(|&v| (v as f32 - 60.0).powi(2)).sum::<f32>() / 4096.0;
    assert!((spread / 900.0 - 1.0).abs() < 0.12, "{spread}");

    // The jitter behind it sees the generator as it would without speckle only where speckle is off.
    let jitter = Augment { jitter: 1.0, brightness: 0.5, ..Augment::default() };
    let off = Augment { speckle: 0.0, ..jitter.clone() };
    assert_eq!(view(&jitter, &half, 64, 1), view(&off, &half, 64, 1));
    let error = Augment { speckle: -2.0, ..jitter }.check().unwrap_err().to_string();
    assert!(error.contains("the setting `speckle` is -2.0, but must be 0 for none"), "{error}");
}

#[test]
fn contrast_moves_away_from_the_mean() {
    let pixels = (0..1024).map(|i| if i % 32 < 16 { 80 } else { 120 }).collect();
    let image = Image { width: 32, height: 32, channels: 1, pixels };
    let contrast = Augment { jitter: 1.0, contrast: 0.5, ..Augment::default() };
    let mut spreads = Vec::new();
    for index in 0..40 {
        let seen = view(&contrast, &image, 32, index);
        let (dark, light) = (seen.pixels[0] as f32, seen.pixels[31] as f32);
        assert!((dark + light - 200.0).abs() <= 1.0, "the mean moved: {dark} {light}");
        spreads.push((light - dark) / 40.0);
    }
    assert!(spreads.iter().all(|s| (0.47..1.53).contains(s)));
    assert!(spreads.iter().any(|&s| s < 0.65) && spreads.iter().any(|&s| s > 1.35), "{spreads:?}");
}

#[test]
fn crops_cover_the_areas_they_should() {
    // A ramp of columns: the first and last value of a row tell where a crop began and ended.
    let ramp = Image { width: 200, height: 200, channels: 1, pixels: (0..40_000).map(|i| (i % 200) as u8).collect() };
    let augment = Augment { crop_scale: (0.25, 0.25), ..Augment::default() };
    let starts: Vec<u8> = (0..60)
        .map(|index| {
            let row = &view(&augment, &ramp, 50, index).pixels[..50];
            assert!((97..=99).contains(&(row[49] - row[0])), "{row:?}");
            row[0]
        })
        .collect();
    assert!(starts.iter().any(|&s| s < 12) && starts.iter().any(|&s| s > 88));
}

#[test]
fn odd_settings_are_explained_and_missing_ones_are_the_defaults() {
    let odd = Augment { crop_scale: (0.5, 0.2), ..Augment::default() };
    assert!(odd.check().unwrap_err().to_string().contains("`crop_scale` is (0.5, 0.2), but must be two shares"));
    let odd = Augment { hue: 0.7, ..Augment::default() };
    assert!(odd.check().unwrap_err().to_string().contains("0 to 0.5 turns"));
    let some: Augment = serde_json::from_str("{\"flip\": 0.5}").unwrap();
    assert_eq!(some, Augment { flip: 0.5, ..Augment::default() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_settings_give_a_view_of_the_right_size_that_its_place_determines(
        (width, height, size) in (1_usize..90, 1_usize..90, 1_usize..50),
        (a, b, c, d) in (-1.0_f32..2.0, -1.0_f32..2.0, -1.0_f32..9.0, -1.0_f32..9.0),
        odds in prop::array::uniform5(0.0_f32..1.5),
        strengths in prop::array::uniform4(0.0_f32..2.0),
        grey: bool,
        speckle in prop::sample::select(vec![0.0_f32, 0.01, 1.0, 3.5, 1e9, -1.0]),
        seed: u64,
    ) {
        let channels = if grey { 1 } else { 3 };
        let pixels = (0..width * height * channels).map(|i| (i * 31) as u8).collect();
        let image = Image { width, height, channels, pixels };
        let [flip, jitter, grey, blur, solarise] = odds;
        let [brightness, contrast, saturation, hue] = strengths;
        let augment = Augment {
            crop_scale: (a, b), crop_aspect: (c, d), blur_sigma: (a, b),
            flip, speckle, jitter, brightness, contrast, saturation, hue, grey, blur, solarise,
        };
        let make = || augment.apply(&image, size, &mut rng(seed, Stream::Augment, 0, 0));
        let view = make();
        prop_assert_eq!((view.width, view.height, view.channels), (size, size, channels));
        prop_assert_eq!(view.pixels.len(), size * size * channels);
        prop_assert_eq!(view, make());
        prop_assert_eq!(&serde_json::from_str::<Augment>(&serde_json::to_string(&augment).unwrap()).unwrap(), &augment);
    }
}

#[test]
fn settings_are_written_with_the_digits_that_were_meant() {
    let augment = Augment { crop_scale: (0.3, 1.0), crop_aspect: (0.75, 4.0 / 3.0), flip: 0.2, ..Augment::default() };
    let written = serde_json::to_string(&augment).unwrap();
    for part in ["\"crop_scale\":[0.3,1.0]", "\"crop_aspect\":[0.75,1.3333334]", "\"flip\":0.2,", "[0.1,2.0]"] {
        assert!(written.contains(part), "{part} is not in {written}");
    }
}

/// Every change at once, as IWM's source has them.
fn all_changes() -> Augment {
    Augment {
        crop_scale: (0.3, 1.0),
        crop_aspect: (0.75, 4.0 / 3.0),
        flip: 0.5,
        jitter: 0.8,
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.2,
        hue: 0.1,
        grey: 0.2,
        blur: 0.2,
        solarise: 0.2,
        ..Augment::default()
    }
}

#[test]
fn a_view_is_made_again_from_what_it_was_made_by() {
    let augment = all_changes();
    // Above and below the size at which crops are resampled by the general resizer.
    for image in [scene(32), scene(96)] {
        let mut seen = [0; 5];
        for index in 0..200 {
            let place = || rng(3, Stream::Augment, 1, index);
            let (view, made) = augment.view(&image, 24, &mut place());
            assert_eq!(view, augment.apply(&image, 24, &mut place()), "telling draws nothing");
            assert_eq!(view, made.of(&image, 24), "{made:?}");
            // By halves the draws are the same.
            let mut rng = place();
            let (crop, flip) = augment.place(&image, &mut rng);
            assert_eq!((crop, flip, &augment.colours(&mut rng)), (made.crop, made.flip, &made.colours));
            let Colours { brightness, contrast, saturation, grey, blur, solarise, .. } = made.colours;
            for (value, spread) in [(brightness, 0.4), (contrast, 0.4), (saturation, 0.2)] {
                assert!((value - 1.0).abs() <= spread + 1e-6, "{made:?}");
            }
            assert!(made.colours.hue().abs() <= 0.1 + 1e-6 && (blur == 0.0 || (0.1..=2.0).contains(&blur)));
            let happened = [brightness != 1.0, grey, blur > 0.0, solarise, flip];
            seen.iter_mut().zip(happened).for_each(|(seen, here)| *seen += usize::from(here));
            let alone = made.colours.clone().jitter_alone();
            assert_eq!((alone.grey, alone.blur, alone.solarise, alone.brightness), (false, 0.0, false, brightness));
        }
        let likely = [160, 40, 40, 40, 100];
        for (seen, likely) in seen.into_iter().zip(likely) {
            assert!(seen.abs_diff(likely) < 25, "{seen} of 200, expected about {likely}");
        }
    }
}

#[test]
fn the_numbers_are_what_was_done_to_the_picture() {
    let flat = Image { width: 8, height: 8, channels: 1, pixels: vec![100; 64] };
    let bright = Augment { jitter: 1.0, brightness: 0.5, ..Augment::default() };
    for index in 0..20 {
        let (view, made) = bright.view(&flat, 8, &mut rng(3, Stream::Augment, 1, index));
        assert_eq!(f32::from(view.pixels[0]), (100.0 * made.colours.brightness).round());
        assert_eq!((made.colours.contrast, made.colours.hue()), (1.0, 0.0), "what is off is not changed");
    }
}

/// Views as they were before they told what they are made by: sums of bytes.
#[test]
fn views_of_a_seed_stay_what_they_are() {
    let sums: Vec<u64> = (0..4)
        .map(|index| {
            let speckle = if index == 3 { 8.0 } else { 0.0 };
            let view = view(&Augment { speckle, ..all_changes() }, &scene(32), 24, index);
            view.pixels.iter().enumerate().map(|(at, value)| (at as u64 + 1) * u64::from(*value)).sum()
        })
        .collect();
    assert_eq!(sums, [123_113_330, 83_369_829, 90_144_501, 149_413_526]);
}
