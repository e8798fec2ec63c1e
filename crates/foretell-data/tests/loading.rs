//! The batch of a step is a function of the seed and the step: not of the threads, the cache, or where a run began.

mod made;

use std::sync::Arc;

use foretell_data::{
    Auto, Collate, DataError, Dataset, Images, ImagesConfig, Loader, Modality, Normalise, OnBadSample, Part, Sample,
    ScenesConfig, feed, for_each, judged_part,
};
use made::{folder, png};

/// Names, labels and pixels, so that nothing can differ unnoticed.
struct Keep;

type Kept = (u64, Vec<(usize, String, Vec<u32>, Vec<u8>)>);

impl Collate for Keep {
    type Sample = Sample;
    type Batch = Kept;

    fn collate(&self, step: u64, samples: &[Sample]) -> Result<Kept, DataError> {
        let keep =
            |sample: &Sample| (sample.index, sample.name.clone(), sample.labels.clone(), sample.image.pixels.clone());
        Ok((step, samples.iter().map(keep).collect()))
    }
}

/// How a data set is loaded.
#[derive(Clone)]
struct Loading {
    batch: usize,
    seed: u64,
    threads: usize,
    prefetch: usize,
    on_bad: OnBadSample,
    cache_bytes: usize,
    side: usize,
}

fn config(batch: usize) -> Loading {
    Loading { batch, seed: 7, threads: 1, prefetch: 2, on_bad: OnBadSample::Fail, cache_bytes: 0, side: 64 }
}

/// The images as a run takes them, brought to this side.
fn images(dataset: &Dataset, side: usize, on_bad: OnBadSample, cache_bytes: usize) -> Arc<Images> {
    let normalise = Normalise::nothing(dataset.channels());
    let image_size = Auto::Value(side);
    let config = ImagesConfig { image_size, on_bad_sample: on_bad, cache_bytes, normalise, ..ImagesConfig::default() };
    Arc::new(Images::of(dataset.clone(), &config).unwrap())
}

fn loader<B: Send + 'static>(
    dataset: &Dataset,
    collate: Arc<dyn Collate<Sample = Sample, Batch = B>>,
    config: &Loading,
    start: u64,
) -> Result<Loader, DataError> {
    let images = images(dataset, config.side, config.on_bad, config.cache_bytes);
    let feed = feed(images.training(config.batch, config.seed)?, collate);
    Ok(Loader::new(feed, config.threads, config.prefetch, start))
}

/// The next batch, of the type that its collator makes.
fn next<B: 'static>(loader: &mut Loader) -> Result<B, DataError> {
    loader.next().map(|batch| *batch.downcast().expect("what the collator makes"))
}

fn scenes(train: usize) -> Dataset {
    Dataset::scenes(&ScenesConfig { size: 8, train, ..ScenesConfig::default() })
}

fn batches(dataset: &Dataset, config: &Loading, start: u64, count: usize) -> Vec<Kept> {
    let mut loader = loader(dataset, Arc::new(Keep), config, start).unwrap();
    (0..count).map(|_| next(&mut loader).unwrap()).collect()
}

#[test]
fn a_batch_depends_on_its_step_alone() {
    let dataset = scenes(23);
    let one = batches(&dataset, &config(5), 1, 14);
    assert_eq!(one.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..=14).collect::<Vec<_>>());
    let three = Loading { threads: 3, prefetch: 0, cache_bytes: 1000, ..config(5) };
    assert_eq!(one, batches(&dataset, &three, 1, 14));
    assert_eq!(one[4..], batches(&dataset, &three, 5, 10));
    assert_ne!(one, batches(&dataset, &Loading { seed: 8, ..config(5) }, 1, 14));
}

#[test]
fn every_epoch_has_each_sample_once_and_its_own_order_across_the_borders_of_batches() {
    let order: Vec<usize> = batches(&scenes(23), &config(5), 1, 14)
        .into_iter()
        .flat_map(|(_, samples)| samples)
        .map(|kept| kept.0)
        .collect();
    let epochs: Vec<&[usize]> = order.chunks_exact(23).collect();
    assert_eq!(epochs.len(), 3);
    assert_ne!(epochs[0], epochs[1]);
    for epoch in epochs {
        let mut sorted = epoch.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..23).collect::<Vec<_>>());
    }
}

#[test]
fn a_collator_may_be_a_trait_object_and_dropping_in_the_middle_ends_the_threads() {
    let collate: Arc<dyn Collate<Sample = Sample, Batch = Kept>> = Arc::new(Keep);
    let config = Loading { threads: 4, prefetch: 8, ..config(3) };
    let mut loader = loader(&scenes(30), Arc::clone(&collate), &config, 1).unwrap();
    assert_eq!(next::<Kept>(&mut loader).unwrap().1.len(), 3);
    drop(loader);
    // The threads held the collator; none is left.
    assert_eq!(Arc::strong_count(&collate), 1);
}

/// Takes its time over each batch.
struct Slow;

impl Collate for Slow {
    type Sample = Sample;
    type Batch = ();

    fn collate(&self, _: u64, _: &[Sample]) -> Result<(), DataError> {
        std::thread::sleep(std::time::Duration::from_millis(20));
        Ok(())
    }
}

#[test]
fn waiting_for_a_batch_is_counted() {
    let config = Loading { threads: 1, prefetch: 1, ..config(3) };
    let mut loader = loader(&scenes(30), Arc::new(Slow), &config, 1).unwrap();
    // One after the other, at once: a machine would have to pause us at each of ten for nothing to be waited for.
    for _ in 0..10 {
        loader.next().unwrap();
    }
    assert!(loader.waited().as_nanos() > 0);
}

/// Cannot make its second batch.
struct Fails;

impl Collate for Fails {
    type Sample = Sample;
    type Batch = u64;

    fn collate(&self, step: u64, _: &[Sample]) -> Result<u64, DataError> {
        if step == 2 { Err(DataError::Collate("no mask fits".to_owned())) } else { Ok(step) }
    }
}

#[test]
fn what_a_collator_cannot_make_is_the_error_of_its_step() {
    let config = Loading { threads: 2, ..config(3) };
    let mut loader = loader(&scenes(30), Arc::new(Fails), &config, 1).unwrap();
    assert_eq!(next::<u64>(&mut loader).unwrap(), 1);
    assert_eq!(next::<u64>(&mut loader).unwrap_err().to_string(), "cannot make a batch: no mask fits");
    assert_eq!(next::<u64>(&mut loader).unwrap(), 3);
}

fn with_bad(bad: &[usize]) -> (tempfile::TempDir, Dataset) {
    let root = tempfile::tempdir().unwrap();
    let files: Vec<(String, Vec<u8>)> = (0..30)
        .map(|i| {
            (format!("train/{}/{i:02}.png", i % 2), if bad.contains(&i) { vec![1, 2, 3] } else { png(40, 20, 3, i) })
        })
        .chain([("test/0/x.png".to_owned(), png(40, 20, 3, 0))])
        .collect();
    folder(root.path(), files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!(dataset.len(Part::Train), 30);
    (root, dataset)
}

#[test]
fn a_bad_sample_is_replaced_by_the_next_good_one_whoever_meets_it_first() {
    // Sorted by class: the even ones are 0 to 14, the odd ones 15 to 29. The last two are bad, and what follows is 0.
    let (_root, dataset) = with_bad(&[4, 27, 29]);
    let skip = Loading { on_bad: OnBadSample::Skip, ..config(10) };
    let one = batches(&dataset, &skip, 1, 6);
    assert_eq!(one, batches(&dataset, &Loading { threads: 3, cache_bytes: 1 << 20, ..skip.clone() }, 1, 6));
    let counts = |index: usize| one[..3].iter().flat_map(|(_, samples)| samples).filter(|kept| kept.0 == index).count();
    assert_eq!([counts(2), counts(3), counts(28), counts(29), counts(0), counts(1)], [0, 2, 0, 0, 3, 1]);

    let mut skipping = loader(&dataset, Arc::new(Keep), &skip, 1).unwrap();
    (0..3).for_each(|_| drop(skipping.next().unwrap()));
    assert_eq!(skipping.skipped(), 3);
    assert_eq!(skipping.skipped_names(), ["train/0/04.png", "train/1/27.png", "train/1/29.png"]);

    let mut failing = loader(&dataset, Arc::new(Keep), &config(15), 1).unwrap();
    let error = failing.next().err().or_else(|| failing.next().err()).unwrap().to_string();
    let way_out = "set `data.on_bad_sample` to `skip`";
    assert!(error.contains(".png` cannot be decoded") && error.contains(way_out), "{error}");
}

#[test]
fn when_files_vanish_the_loader_says_that_none_is_left() {
    let (root, dataset) = with_bad(&[]);
    std::fs::remove_dir_all(root.path().join("train")).unwrap();
    let skip = Loading { on_bad: OnBadSample::Skip, ..config(10) };
    let mut loader = loader(&dataset, Arc::new(Keep), &skip, 1).unwrap();
    for _ in 0..2 {
        let error = loader.next().unwrap_err().to_string();
        assert!(error.contains("none of the 30 images tried can be read"), "{error}");
    }
}

#[test]
fn large_images_are_shrunk_once_and_the_cache_keeps_its_limit() {
    let (_root, dataset) = with_bad(&[]);
    // Twice the side that encoders take: a crop of half of it is as sharp.
    let small = Loading { side: 5, ..config(5) };
    let plain = batches(&dataset, &small, 1, 12);
    assert!(plain.iter().flat_map(|(_, samples)| samples).all(|kept| kept.3.len() == 20 * 10 * 3));
    for cache_bytes in [1, 700, 5000, 1 << 20] {
        assert_eq!(plain, batches(&dataset, &Loading { cache_bytes, threads: 2, ..small.clone() }, 1, 12));
    }
}

#[test]
fn too_few_images_for_the_batch_is_said_at_once() {
    let error = loader(&scenes(100), Arc::new(Keep), &config(64), 1).err().unwrap().to_string();
    assert!(error.contains("set `train.batch` to 32"), "{error}");
}

#[test]
fn a_whole_part_comes_fitted_and_in_order_with_any_number_of_threads() {
    let dataset = scenes(101);
    let images = images(&dataset, 6, OnBadSample::Fail, 0);
    for (threads, limit, count) in [(1, usize::MAX, 101), (3, usize::MAX, 101), (3, 40, 40), (2, 1000, 101), (1, 0, 0)]
    {
        let mut indices = Vec::new();
        for_each(&images, Part::Train, limit, threads, OnBadSample::Fail, |index, sample| {
            assert_eq!((sample.image.width, sample.image.height, sample.labels.len()), (6, 6, 6));
            assert_eq!(sample.index, index);
            indices.push(index);
            Ok(())
        })
        .unwrap();
        // One of each of as many equal stretches.
        assert_eq!(indices.len(), count);
        for (i, index) in indices.into_iter().enumerate() {
            assert!((i * 101 / count..(i + 1) * 101 / count).contains(&index), "{i} of {count}: {index}");
        }
    }
}

#[test]
fn what_health_is_judged_on_is_spread_over_a_part_sorted_by_class() {
    let root = tempfile::tempdir().unwrap();
    let places = ["train", "test"].into_iter().flat_map(|part| {
        ["ant", "bee", "cow", "dog"].into_iter().flat_map(move |class| (0..30).map(move |i| (part, class, i)))
    });
    let files: Vec<_> = places.map(|(part, class, i)| (format!("{part}/{class}/{i}.png"), png(4, 4, 3, i))).collect();
    folder(root.path(), files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    let dataset = Dataset::open(root.path()).unwrap();
    let images = images(&dataset, 4, OnBadSample::Fail, 0);
    let seen = |limit| {
        let mut samples = Vec::new();
        let keep = |_, sample| {
            samples.push(sample);
            Ok(())
        };
        for_each(&images, judged_part(images.as_ref()), limit, 2, OnBadSample::Fail, keep).unwrap();
        samples
    };
    let sizes: Vec<usize> = seen(20).iter().map(|sample| sample.image.pixels.len()).collect();
    assert_eq!(sizes, [3 * 16; 20]);
    assert_eq!(seen(8).iter().map(|s| s.labels[0]).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2, 3, 3]);
}
