//! Every format is recognised by its content and yields the right images, labels and split.

mod made;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use foretell_data::{Dataset, Image, Part, open_inputs};
use image::{DynamicImage, ImageFormat};
use made::{bytes_of, cifar, encoded, folder, gzip, idx, jpeg, jpeg_cmyk, jpeg_turned, picture, png, tar};

fn open(path: &Path) -> Dataset {
    Dataset::open(path).unwrap()
}

fn image(dataset: &Dataset, index: usize) -> Image {
    Image::clone(&dataset.load(Part::Train, index).unwrap().image)
}

/// The one image of a folder that holds nothing else.
fn only(name: &str, bytes: Vec<u8>) -> Image {
    let root = tempfile::tempdir().unwrap();
    folder(root.path(), [(name, bytes)]);
    let dataset = open(root.path());
    assert_eq!((dataset.len(Part::Train), dataset.len(Part::HeldOut)), (1, 0));
    image(&dataset, 0)
}

fn names(dataset: &Dataset, part: Part) -> Vec<String> {
    (0..dataset.len(part)).map(|index| dataset.name(part, index).unwrap()).collect()
}

/// `name:class` of each sample.
fn labelled(dataset: &Dataset, part: Part) -> Vec<String> {
    (0..dataset.len(part))
        .map(|index| {
            let sample = dataset.load(part, index).unwrap();
            assert_eq!(sample.labels, dataset.labels(part, index).unwrap());
            let class = &dataset.factors()[0].classes[sample.labels[0] as usize];
            format!("{}:{class}", sample.name)
        })
        .collect()
}

#[test]
fn class_folders_and_the_same_as_a_tar_agree_in_all_but_the_format() {
    let root = tempfile::tempdir().unwrap();
    let files: Vec<(String, Vec<u8>)> = (0..60)
        .map(|i| (format!("things/{}/deep/{i:03}.png", ["cat", "dog", "emu"][i % 3]), png(10 + i % 5, 12, 3, i)))
        .collect();
    let listed = || files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone()));
    folder(&root.path().join("folder"), listed());
    folder(&root.path().join("folder"), [(".hidden/x.png", png(4, 4, 3, 0)), ("readme.md", b"hello".to_vec())]);
    let mut sorted: Vec<_> = listed().collect();
    sorted.sort();
    let from_tar = open(&tar(&root.path().join("data"), sorted));
    let from_folder = open(&root.path().join("folder"));

    assert_eq!(from_folder.factors()[0].classes, ["cat", "dog", "emu"]);
    assert_eq!(from_folder.len(Part::Train) + from_folder.len(Part::HeldOut), 60);
    assert!((1..20).contains(&from_folder.len(Part::HeldOut)));
    for part in [Part::Train, Part::HeldOut] {
        assert_eq!(labelled(&from_folder, part), labelled(&from_tar, part));
        assert!(
            labelled(&from_folder, part)
                .iter()
                .all(|name| name.starts_with(&format!("things/{}", &name[name.len() - 3..])))
        );
    }
    assert_eq!(from_folder.fingerprint(), from_tar.fingerprint());
    assert_eq!(from_folder.median_short_side(), 12);
    assert_eq!(image(&from_folder, 3), image(&from_tar, 3));
    let text = from_folder.describe().to_string();
    assert!(text.contains("a folder with images in class folders") && text.contains("10 % are held out"), "{text}");
}

#[test]
fn the_fingerprint_notices_what_changed() {
    let root = tempfile::tempdir().unwrap();
    folder(root.path(), [("a/1.png", png(5, 5, 3, 1)), ("b/2.png", png(5, 5, 3, 2)), ("b/3.png", png(5, 5, 3, 3))]);
    let before = open(root.path()).fingerprint();
    assert_eq!(before, open(root.path()).fingerprint());
    fs::rename(root.path().join("b/3.png"), root.path().join("a/3.png")).unwrap();
    let moved = open(root.path()).fingerprint();
    fs::write(root.path().join("a/3.png"), png(50, 50, 3, 3)).unwrap();
    let resized = open(root.path()).fingerprint();
    fs::remove_file(root.path().join("a/3.png")).unwrap();
    let removed = open(root.path()).fingerprint();
    assert_eq!(BTreeSet::from([before, moved, resized, removed]).len(), 4);
}

#[test]
fn bare_images_have_no_labels_and_names_of_long_paths_survive_a_tar() {
    let root = tempfile::tempdir().unwrap();
    let long = format!("{}/{}.PNG", "folder".repeat(20), "ä".repeat(90));
    let path = tar(&root.path().join("no-extension"), [("./a.jpeg", jpeg(9, 7, 1)), (long.as_str(), png(9, 7, 3, 2))]);
    let dataset = open(&path);
    assert!(dataset.factors().is_empty());
    let all: Vec<String> = [Part::Train, Part::HeldOut].into_iter().flat_map(|part| names(&dataset, part)).collect();
    assert!(all.contains(&"a.jpeg".to_owned()) && all.contains(&long), "{all:?}");
    assert!(dataset.load(Part::Train, 0).unwrap().labels.is_empty());
    let text = dataset.describe().to_string();
    assert!(text.contains("labels    none") && text.contains("1 images lie outside of class folders"), "{text}");
}

#[test]
fn named_parts_are_taken_as_they_are_and_test_comes_before_val() {
    let root = tempfile::tempdir().unwrap();
    let files = ["train/a/1.png", "train/b/2.png", "val/a/3.png", "test/b/4.png", "test/c/5.png", "extra/6.png"];
    folder(&root.path().join("set"), files.map(|name| (name, png(6, 6, 3, 1))));
    let dataset = open(root.path());
    assert_eq!(labelled(&dataset, Part::Train), ["set/train/a/1.png:a", "set/train/b/2.png:b"]);
    assert_eq!(labelled(&dataset, Part::HeldOut), ["set/test/b/4.png:b", "set/test/c/5.png:c"]);
    let text = dataset.describe().to_string();
    assert!(text.contains("folder `train/` trains, folder `test/` is held out"), "{text}");
    assert!(text.contains("`val/` (1 images) is left untouched"), "{text}");
    assert!(text.contains("1 images outside of the folders"), "{text}");

    fs::remove_dir_all(root.path().join("set/test")).unwrap();
    fs::rename(root.path().join("set/val"), root.path().join("set/Validation")).unwrap();
    assert_eq!(labelled(&open(root.path()), Part::HeldOut), ["set/Validation/a/3.png:a"]);
}

#[test]
fn a_test_folder_without_classes_is_passed_over_where_training_has_them() {
    let root = tempfile::tempdir().unwrap();
    let files = ["train/a/1.png", "train/b/2.png", "test/3.png", "val/a/4.png"];
    folder(root.path(), files.map(|name| (name, png(6, 6, 3, 1))));
    let dataset = open(root.path());
    assert_eq!(labelled(&dataset, Part::HeldOut), ["val/a/4.png:a"]);
    let text = dataset.describe().to_string();
    assert!(text.contains("`test/` (1 images) is left untouched because it has no class folders"), "{text}");

    fs::remove_dir_all(root.path().join("val")).unwrap();
    let dataset = open(root.path());
    assert_eq!(dataset.len(Part::Train) + dataset.len(Part::HeldOut), 2);
    assert!(dataset.describe().to_string().contains("folder `train/` alone: 10 %"));
}

#[test]
fn a_folder_between_the_part_and_the_classes_says_nothing() {
    let root = tempfile::tempdir().unwrap();
    let files = ["train/images/a/1.png", "train/images/b/2.png", "valid/images/b/3.png"];
    folder(root.path(), files.map(|name| (name, png(6, 6, 3, 1))));
    assert_eq!(labelled(&open(root.path()), Part::HeldOut), ["valid/images/b/3.png:b"]);
}

/// As MSTAR is passed on: deep folders, lists of the files beside the parts, numbers for classes.
#[test]
fn lists_beside_the_parts_are_no_labels_and_numbered_classes_sort_by_value() {
    let root = tempfile::tempdir().unwrap();
    let image = |name| (name, png(8, 8, 1, 1));
    let list = |name, text: &str| (name, text.as_bytes().to_vec());
    let path = tar(
        &root.path().join("chips.tar"),
        [
            list("a/data/chips/train.txt", "10/1.jpeg 10\n2/1.jpeg 2\n"),
            image("a/data/chips/train/10/1.jpeg"),
            image("a/data/chips/train/2/1.jpeg"),
            list("a/data/chips/val.txt", "10/2.jpeg 10\n"),
            image("a/data/chips/val/10/2.jpeg"),
        ],
    );
    let dataset = open(&path);
    assert_eq!(dataset.factors()[0].classes, ["2", "10"]);
    assert_eq!(dataset.channels(), 1);
    assert_eq!(labelled(&dataset, Part::Train), ["a/data/chips/train/10/1.jpeg:10", "a/data/chips/train/2/1.jpeg:2"]);
    assert_eq!(labelled(&dataset, Part::HeldOut), ["a/data/chips/val/10/2.jpeg:10"]);
}

#[test]
fn a_folder_of_train_and_test_tars_is_one_data_set() {
    let root = tempfile::tempdir().unwrap();
    tar(&root.path().join("train.tar"), [("split/cat/1.png", png(4, 4, 3, 1)), ("split/dog/2.png", png(4, 4, 3, 2))]);
    tar(&root.path().join("test.tar"), [("test/dog/3.png", png(4, 4, 3, 3)), ("test/cat/4.png", png(4, 4, 3, 4))]);
    let dataset = open(root.path());
    assert_eq!(labelled(&dataset, Part::Train), ["train/cat/1.png:cat", "train/dog/2.png:dog"]);
    assert_eq!(labelled(&dataset, Part::HeldOut), ["test/dog/3.png:dog", "test/cat/4.png:cat"]);
}

#[test]
fn webdataset_labels_come_from_members_beside_the_images() {
    let root = tempfile::tempdir().unwrap();
    let member = |text: &str| text.as_bytes().to_vec();
    let numbers = [
        ("0.cls", member("10\n")),
        ("0.png", png(4, 4, 3, 0)),
        ("1.png", png(4, 4, 3, 1)),
        ("1.cls", member("9")),
        ("2.json", member("{\"caption\": \"x\"}")),
        ("2.input.png", png(4, 4, 3, 1)),
        ("2.cls", member("10")),
    ];
    let dataset = open(&tar(&root.path().join("numbers.tar"), numbers));
    assert_eq!(dataset.factors()[0].classes, ["9", "10"]);
    let all: BTreeSet<String> =
        [Part::Train, Part::HeldOut].into_iter().flat_map(|part| labelled(&dataset, part)).collect();
    assert_eq!(all, ["0.png:10", "1.png:9", "2.input.png:10"].map(str::to_owned).into());

    // Two shards repeat their keys; labels belong to the images of their own shard.
    fs::create_dir(root.path().join("shards")).unwrap();
    for (shard, class) in [("pets-0000.tar", "cat"), ("pets-0001.tar", "dog")] {
        let json = format!("{{\"label\": \"{class}\"}}").into_bytes();
        let members = [("a.jpg", jpeg(8, 8, 0)), ("a.json", json.clone()), ("b.jpg", jpeg(8, 8, 0)), ("b.json", json)];
        tar(&root.path().join("shards").join(shard), members);
    }
    let dataset = open(&root.path().join("shards"));
    let mut all: Vec<String> =
        [Part::Train, Part::HeldOut].into_iter().flat_map(|part| labelled(&dataset, part)).collect();
    all.sort();
    assert_eq!(all, ["pets/a.jpg:cat", "pets/a.jpg:dog", "pets/b.jpg:cat", "pets/b.jpg:dog"]);

    // Captions are no labels.
    let texts = (0..8).map(|i| (format!("{i}.txt"), format!("{i}.png"), format!("a photo, number {i}")));
    let members: Vec<(String, Vec<u8>)> =
        texts.flat_map(|(txt, image, text)| [(image, png(4, 4, 3, 0)), (txt, text.into_bytes())]).collect();
    let captions = tar(&root.path().join("c.tar"), members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    assert!(open(&captions).factors().is_empty());
}

fn idx_files() -> [(&'static str, Vec<u8>); 4] {
    let images = |n: u8| (0..n).flat_map(|i| [i; 6]).collect::<Vec<u8>>();
    [
        ("train-images-idx3-ubyte.gz", gzip(&idx(&[30, 2, 3], &images(30)))),
        ("train-labels-idx1-ubyte.gz", gzip(&idx(&[30], &(0..30).map(|i| i % 3).collect::<Vec<u8>>()))),
        ("t10k-images-idx3-ubyte", idx(&[4, 2, 3], &images(4))),
        ("t10k-labels-idx1-ubyte", idx(&[4], &[3, 2, 1, 0])),
    ]
}

#[test]
fn idx_files_by_their_official_names_with_and_without_gzip_in_a_folder_or_a_tar() {
    let root = tempfile::tempdir().unwrap();
    folder(&root.path().join("mnist"), idx_files());
    let packed = tar(&root.path().join("mnist.tar"), idx_files());
    for path in [root.path().join("mnist"), packed] {
        let dataset = open(&path);
        assert_eq!((dataset.len(Part::Train), dataset.len(Part::HeldOut)), (30, 4));
        assert_eq!(dataset.factors()[0].classes, ["0", "1", "2", "3"]);
        let sample = dataset.load(Part::Train, 7).unwrap();
        assert_eq!((sample.image.width, sample.image.height, sample.image.channels), (3, 2, 1));
        assert_eq!((&sample.image.pixels[..], &sample.labels[..]), (&[7; 6][..], &[1][..]));
        let sample = dataset.load(Part::HeldOut, 1).unwrap();
        assert_eq!((&sample.image.pixels[..], &sample.labels[..]), (&[1; 6][..], &[2][..]));
        assert!(sample.name.ends_with("t10k-images-idx3-ubyte#1"));
        assert_eq!((dataset.channels(), dataset.median_short_side()), (1, 2));
    }
}

#[test]
fn one_idx_file_finds_its_labels_and_splits_by_hash() {
    let root = tempfile::tempdir().unwrap();
    let train_alone = idx_files().into_iter().filter(|(name, _)| name.starts_with("train"));
    folder(root.path(), train_alone);
    let dataset = open(&root.path().join("train-images-idx3-ubyte.gz"));
    let (train, held_out) = (dataset.len(Part::Train), dataset.len(Part::HeldOut));
    assert!(train + held_out == 30 && held_out > 0, "{train} {held_out}");
    let mut seen = Vec::new();
    for (part, count) in [(Part::Train, train), (Part::HeldOut, held_out)] {
        for index in 0..count {
            let sample = dataset.load(part, index).unwrap();
            assert_eq!(sample.labels, [sample.image.pixels[0] as u32 % 3]);
            seen.push(sample.image.pixels[0]);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..30).collect::<Vec<u8>>());

    fs::write(root.path().join("photos"), idx(&[3, 2, 2, 3], &[9; 36])).unwrap();
    let colour = open(&root.path().join("photos"));
    assert_eq!((colour.channels(), colour.factors().len()), (3, 0));
}

#[test]
fn cifar_batches_have_planes_and_one_or_two_labels() {
    let root = tempfile::tempdir().unwrap();
    let ten = [
        ("data_batch_1.bin", cifar(&[&[3], &[9]])),
        ("data_batch_2.bin", cifar(&[&[0]])),
        ("test_batch.bin", cifar(&[&[7]])),
        ("batches.meta.txt", b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n".to_vec()),
    ];
    let dataset = open(&tar(&root.path().join("ten.tar"), ten));
    assert_eq!((dataset.len(Part::Train), dataset.len(Part::HeldOut)), (3, 1));
    assert_eq!(labelled(&dataset, Part::Train)[1], "data_batch_1.bin#1:truck");
    assert_eq!(image(&dataset, 2).pixels[..6], [1, 2, 3, 1, 2, 3]);

    let hundred = [("train.bin", cifar(&[&[19, 99], &[0, 5]])), ("test.bin", cifar(&[&[1, 2]]))];
    folder(&root.path().join("hundred"), hundred);
    let dataset = open(&root.path().join("hundred"));
    let factors: Vec<(&str, usize)> = dataset.factors().iter().map(|f| (f.name.as_str(), f.classes.len())).collect();
    assert_eq!(factors, [("coarse", 20), ("fine", 100)]);
    assert_eq!(dataset.labels(Part::Train, 0).unwrap(), [19, 99]);

    fs::write(root.path().join("mine"), cifar(&[&[4_u8][..]; 40])).unwrap();
    let dataset = open(&root.path().join("mine"));
    assert_eq!(dataset.len(Part::Train) + dataset.len(Part::HeldOut), 40);
}

#[test]
fn a_turned_jpeg_comes_upright() {
    // Left half black, right half white; lossless enough at quality 100.
    let wide: DynamicImage = image::GrayImage::from_fn(16, 8, |x, _| image::Luma([if x < 8 { 0 } else { 255 }])).into();
    for (orientation, size, top_left, bottom_right) in
        [(1, (16, 8), 0, 255), (3, (16, 8), 255, 0), (6, (8, 16), 0, 255), (8, (8, 16), 255, 0)]
    {
        let image = only("x.jpg", jpeg_turned(&wide, orientation));
        assert_eq!((image.width, image.height), size);
        let corners = [image.pixels[0], image.pixels[127]];
        assert!(
            corners[0].abs_diff(top_left) < 4 && corners[1].abs_diff(bottom_right) < 4,
            "{orientation}: {corners:?}"
        );
    }
}

#[test]
fn alpha_lies_on_white_and_sixteen_bits_become_eight() {
    let rgba = image::RgbaImage::from_raw(3, 1, vec![200, 0, 0, 255, 200, 0, 0, 0, 0, 100, 255, 51]).unwrap();
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let image = only("x.png", encoded(&rgba.clone().into(), format));
        assert_eq!(image.pixels, [200, 0, 0, 255, 255, 255, 204, 224, 255]);
    }
    let grey_alpha = image::GrayAlphaImage::from_raw(2, 1, vec![10, 255, 10, 0]).unwrap();
    assert_eq!(only("x.png", encoded(&grey_alpha.into(), ImageFormat::Png)).pixels, [10, 255]);

    let deep = image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(1, 1, vec![0, 257 * 100, 65535]).unwrap();
    let image = only("x.png", encoded(&DynamicImage::ImageRgb16(deep), ImageFormat::Png));
    assert_eq!((image.channels, &image.pixels[..]), (3, &[0, 100, 255][..]));
    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![257, 65535]).unwrap();
    let image = only("x.png", encoded(&DynamicImage::ImageLuma16(deep), ImageFormat::Png));
    assert_eq!((image.channels, &image.pixels[..]), (1, &[1, 255][..]));
}

#[test]
fn cmyk_jpegs_become_rgb() {
    // No ink, magenta, black by its own ink.
    for (inks, rgb) in [([255; 4], [255; 3]), ([255, 0, 255, 255], [255, 0, 255]), ([255, 255, 255, 0], [0; 3])] {
        let image = only("x.jpg", jpeg_cmyk(inks));
        assert_eq!((image.width, image.height, image.channels), (8, 8, 3));
        assert!(image.pixels[..3].iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 2), "{:?}", &image.pixels[..3]);
    }
}

#[test]
fn the_content_decides_what_an_image_is_whatever_its_name_says() {
    let original = picture(7, 5, 3, 3);
    assert_eq!(only("a.jpg", encoded(&original, ImageFormat::Png)).pixels, bytes_of(&original));
    assert_eq!(only("a.png", encoded(&original, ImageFormat::WebP)).pixels, bytes_of(&original));
}

#[test]
fn grey_stays_grey_only_if_everything_is() {
    let root = tempfile::tempdir().unwrap();
    folder(root.path(), [("a.png", png(4, 4, 1, 1)), ("b.png", png(4, 4, 1, 2)), ("c.png", png(4, 4, 1, 3))]);
    let dataset = open(root.path());
    assert_eq!((dataset.channels(), image(&dataset, 0).channels), (1, 1));
    folder(root.path(), [("d.png", png(4, 4, 3, 1)), ("e.png", png(4, 4, 3, 1)), ("f.png", png(4, 4, 3, 1))]);
    let dataset = open(root.path());
    assert_eq!(dataset.channels(), 3);
    assert!((0..dataset.len(Part::Train)).all(|index| image(&dataset, index).channels == 3));
}

#[test]
fn inputs_are_one_list_in_their_order() {
    let root = tempfile::tempdir().unwrap();
    folder(&root.path().join("a"), [("train/cat/1.png", png(4, 4, 3, 1)), ("test/dog/2.png", png(4, 4, 3, 2))]);
    let archive = tar(&root.path().join("b.tar"), [("emu/3.png", png(4, 4, 3, 3)), ("cat/4.png", png(4, 4, 3, 4))]);
    folder(root.path(), [("single.jpg", jpeg(8, 8, 1))]);

    let one = open_inputs(&[root.path().join("a")]).unwrap();
    assert_eq!(labelled(&one, Part::Train), ["test/dog/2.png:dog", "train/cat/1.png:cat"]);
    assert_eq!(one.len(Part::HeldOut), 0);

    let two = open_inputs(&[archive.clone(), root.path().join("a")]).unwrap();
    assert_eq!(two.factors()[0].classes, ["cat", "emu", "dog"]);
    let classes: Vec<u32> = (0..4).flat_map(|index| two.labels(Part::Train, index).unwrap()).collect();
    assert_eq!(classes, [1, 0, 2, 0]);

    let single: PathBuf = root.path().join("single.jpg");
    let all = open_inputs(&[single.clone(), archive.clone()]).unwrap();
    let expected = [
        single.display().to_string(),
        format!("{0}/emu/3.png", archive.display()),
        format!("{}/cat/4.png", archive.display()),
    ];
    assert_eq!(names(&all, Part::Train), expected);
    assert!(all.factors().is_empty());
    assert_eq!(image(&all, 0).width, 8);
    assert!(open_inputs(&[]).unwrap_err().to_string().contains("no input was given"));
}
