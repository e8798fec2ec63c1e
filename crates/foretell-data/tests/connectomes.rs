//! Recordings of regions: NIfTI-1 as nibabel and nilearn read it (`bench/peers/nifti.py`), tables, labels, splits, and every way in which
//! files can be wrong.

use std::fs;
use std::path::{Path, PathBuf};

use foretell_data::connectomes::{
    Atlas, Connectomes, ConnectomesConfig, Correlation, DynamicGraph, Edges, Nifti, Rows,
};
use foretell_data::{Auto, DataError, Decision, Modality, OnBadSample, Opening, Part};
use proptest::prelude::*;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nifti").join(name)
}

fn open_told(config: &mut ConnectomesConfig) -> Result<(Connectomes, Vec<Decision>), DataError> {
    let mut decisions = Vec::new();
    let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut decisions };
    let data = Connectomes::open(config, &mut opening)?;
    Ok((data, decisions))
}

fn open(config: ConnectomesConfig) -> Result<Connectomes, DataError> {
    open_told(&mut config.clone()).map(|(data, _)| data)
}

fn at(path: &Path) -> ConnectomesConfig {
    ConnectomesConfig { path: path.to_string_lossy().into_owned(), ..ConnectomesConfig::default() }
}

fn under_atlas(path: &Path, atlas: &Path) -> ConnectomesConfig {
    ConnectomesConfig {
        atlas: atlas.to_string_lossy().into_owned(),
        window: Auto::Value(6),
        stride: Auto::Value(2),
        ..at(path)
    }
}

/// One sentence that holds these words.
#[track_caller]
fn refused<T>(result: Result<T, DataError>, parts: &[&str]) {
    let Err(error) = result else { panic!("it is taken, and {parts:?} should be said") };
    let said = error.to_string();
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    assert!(!said.contains('\n') && !said.ends_with('.'), "{said}");
}

/// `count` regions of so many time points, as text.
fn table(regions: usize, length: usize, seed: usize) -> String {
    let value = |r: usize, t: usize| ((r * 37 + t * 11 + seed * 5 + r * t * 7) % 23) as f64 + 0.5 * r as f64;
    let row = |r: usize| (0..length).map(|t| value(r, t).to_string()).collect::<Vec<_>>().join(",");
    (0..regions).map(row).collect::<Vec<_>>().join("\n") + "\n"
}

fn standardised(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    values.iter().map(|x| (x - mean) / std).collect()
}

#[test]
fn volumes_become_the_region_series_that_nilearn_makes_of_them_and_regions_without_a_voxel_stay() {
    let expected: Value = serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap();
    let labels = Atlas::open(&fixture("atlas.nii.gz")).unwrap().labels().to_vec();
    assert_eq!(labels, [3, 13, 23, 33, 43, 53, 63, 99]);
    for (name, expected) in expected.as_object().unwrap() {
        let file = Nifti::open(&fixture(name)).unwrap();
        let header = file.header();
        assert_eq!((header.space, header.volumes, header.seconds), ([9, 8, 6], 12, Some(2.5)));
        let affine: Vec<f64> = expected["affine"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|x| x.as_f64().unwrap())
            .collect();
        let got: Vec<f64> = header.affine.unwrap().iter().flatten().copied().collect();
        assert!(got.iter().zip(&affine).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: {got:?} {affine:?}");
        let mut first = Vec::new();
        file.volumes(|volume, values| first.extend((volume < 4).then(|| values[(3 * 8 + 2) * 9 + 1]))).unwrap();
        assert_eq!(first.len(), 4);
        for (a, b) in first.iter().zip(expected["first"].as_array().unwrap()) {
            assert!((a - b.as_f64().unwrap()).abs() < 1e-9, "{name}: {first:?}");
        }

        let data = open(under_atlas(&fixture(name), &fixture("atlas.nii.gz"))).unwrap();
        assert!(data.describe().notes.iter().any(|note| note.contains("no voxel")), "{:?}", data.describe().notes);
        let sample = data.load(Part::Train, 0).unwrap();
        let series = sample.series();
        assert_eq!((series.regions(), series.length(), sample.windows()), (8, 12, 4));
        // nilearn leaves the eighth region out, so that its columns are seven.
        let found: Vec<i64> = expected["labels"].as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect();
        assert_eq!(found, labels[..7]);
        for region in 0..7 {
            let theirs: Vec<f64> =
                expected["series"].as_array().unwrap().iter().map(|row| row[region].as_f64().unwrap()).collect();
            for (t, b) in standardised(&theirs).iter().enumerate() {
                let a = f64::from(series.values()[t * 8 + region]);
                assert!((a - b).abs() < 2e-3, "{name}: region {region} at {t}: {a} {b}");
            }
        }
        assert!((0..12).all(|t| series.values()[t * 8 + 7].is_nan()));
        assert!(!sample.graph(0).present[7] && sample.graph(0).present[..7] == [true; 7]);
        assert_eq!(sample.graph(0).edges.len(), 6, "30 % of 21 pairs");
    }
}

/// A header of which a test changes some bytes, little-endian, and the bytes behind it.
fn nifti(change: impl FnOnce(&mut [u8]), voxels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    bytes[..4].copy_from_slice(&348_i32.to_le_bytes());
    for (at, dim) in (40..).step_by(2).zip([4_i16, 2, 2, 1, 8]) {
        bytes[at..at + 2].copy_from_slice(&dim.to_le_bytes());
    }
    bytes[70..72].copy_from_slice(&4_i16.to_le_bytes());
    bytes[72..74].copy_from_slice(&16_i16.to_le_bytes());
    bytes[108..112].copy_from_slice(&352_f32.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    change(&mut bytes);
    bytes.extend(voxels);
    bytes
}

fn shorts(values: impl Iterator<Item = i16>) -> Vec<u8> {
    values.flat_map(i16::to_le_bytes).collect()
}

/// Four regions of one voxel each, without a place in space.
fn small_atlas(folder: &Path) -> PathBuf {
    let path = folder.join("atlas.nii");
    fs::write(&path, nifti(|h| h[48..50].copy_from_slice(&1_i16.to_le_bytes()), &shorts([1, 2, 3, 4].into_iter())))
        .unwrap();
    path
}

fn voxels() -> Vec<u8> {
    shorts((0..32).map(|i| (i * 13 % 29) as i16))
}

fn first_region(path: &Path, atlas: &Path) -> Vec<f32> {
    let sample = open(under_atlas(path, atlas)).unwrap().load(Part::Train, 0).unwrap();
    sample.series().values().iter().step_by(sample.regions()).copied().collect()
}

#[test]
fn a_voxel_without_a_measurement_does_not_count_in_its_region() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    // Two voxels lie in region 1.
    let labels = nifti(|h| h[48..50].copy_from_slice(&1_i16.to_le_bytes()), &shorts([1, 1, 2, 3].into_iter()));
    let atlas = write("atlas.nii", labels);
    let floats = |second: fn(i64, f32) -> f32| {
        let value = |i: i64| {
            let value = (i * 13 % 29) as f32;
            if i % 4 == 1 { second(i, value) } else { value }
        };
        let body: Vec<u8> = (0..32).flat_map(|i| value(i).to_le_bytes()).collect();
        let kind = |h: &mut [u8]| {
            h[70..72].copy_from_slice(&16_i16.to_le_bytes());
            h[72..74].copy_from_slice(&32_i16.to_le_bytes());
        };
        nifti(kind, &body)
    };
    let first = |name: &str, second: fn(i64, f32) -> f32| first_region(&write(name, floats(second)), &atlas);
    let alone = first("like-its-neighbour.nii", |i, _| ((i - 1) * 13 % 29) as f32);
    assert_eq!(first("never.nii", |_, _| f32::NAN), alone, "the mean of those that were measured");
    let (both, once) = (first("both.nii", |_, x| x), first("once.nii", |i, x| if i == 9 { f32::NAN } else { x }));
    assert!(both != alone && once != both && once.iter().all(|x| x.is_finite()), "{once:?}");
}

#[test]
fn another_atlas_and_regions_of_another_order_are_noticed() {
    let root = tempfile::tempdir().unwrap();
    let (atlas, image) = (small_atlas(root.path()), root.path().join("s1.nii"));
    fs::write(&image, nifti(|_| (), &voxels())).unwrap();
    let mut config = under_atlas(&image, &atlas);
    open_told(&mut config).unwrap();
    open_told(&mut config).unwrap();
    // The same numbers elsewhere: as many regions, and a file of the same length.
    let labels = nifti(|h| h[48..50].copy_from_slice(&1_i16.to_le_bytes()), &shorts([2, 1, 3, 4].into_iter()));
    fs::write(&atlas, labels).unwrap();
    refused(Connectomes::of_paths(&config, std::slice::from_ref(&image)), &["atlas.nii", "another atlas"]);

    let rows = "1,2,5\n2,3,1\n3,1,2\n5,2,4\n".repeat(5);
    let tables = root.path().join("tables");
    fs::create_dir(&tables).unwrap();
    fs::write(tables.join("s1.csv"), format!("a,b,c\n{rows}")).unwrap();
    fs::write(tables.join("s2.csv"), format!("b,a,c\n{rows}")).unwrap();
    refused(open(at(&tables)), &["s2.csv", "region 1 is called `b`", "`a`"]);
    fs::write(tables.join("s2.csv"), format!("a,b,a\n{rows}")).unwrap();
    refused(open(at(&tables)), &["s2.csv", "two of its regions are called `a`"]);
}

/// A number as a kind of voxel has it.
type Coded = fn(i64) -> Vec<u8>;

#[test]
fn a_slope_of_zero_or_nan_scales_nothing_and_kinds_of_numbers_and_orders_of_bytes_do_not_matter() {
    let root = tempfile::tempdir().unwrap();
    let atlas = small_atlas(root.path());
    let write = |name: &str, bytes: Vec<u8>| {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let values = |path: &Path| {
        let mut all = Vec::new();
        Nifti::open(path).unwrap().volumes(|_, values| all.extend_from_slice(values)).unwrap();
        all
    };
    let plain = values(&write("plain.nii", nifti(|_| (), &voxels())));
    assert_eq!(plain[..4], [0.0, 13.0, 26.0, 10.0]);
    let scaled = |slope: f32, inter: f32| {
        nifti(
            |h| {
                h[112..116].copy_from_slice(&slope.to_le_bytes());
                h[116..120].copy_from_slice(&inter.to_le_bytes());
            },
            &voxels(),
        )
    };
    for (name, slope, inter) in
        [("zero", 0.0, 5.0), ("nan", f32::NAN, 5.0), ("both", f32::NAN, f32::NAN), ("one", 1.0, 0.0)]
    {
        assert_eq!(values(&write(&format!("{name}.nii"), scaled(slope, inter))), plain, "{name}");
    }
    let twice: Vec<f64> = plain.iter().map(|x| 2.0 * x + 5.0).collect();
    assert_eq!(values(&write("twice.nii", scaled(2.0, 5.0))), twice);
    refused(Nifti::open(&write("shift.nii", scaled(2.0, f32::NAN))), &["shift.nii", "scl_inter"]);

    // The same numbers in each kind, in both orders of bytes, compressed or not whatever the name says.
    let numbers: Vec<i64> = plain.iter().map(|x| *x as i64).collect();
    let kinds: [(i16, i16, Coded); 10] = [
        (2, 8, |x| vec![x as u8]),
        (256, 8, |x| vec![x as u8]),
        (4, 16, |x| (x as i16).to_le_bytes().to_vec()),
        (512, 16, |x| (x as u16).to_le_bytes().to_vec()),
        (8, 32, |x| (x as i32).to_le_bytes().to_vec()),
        (768, 32, |x| (x as u32).to_le_bytes().to_vec()),
        (16, 32, |x| (x as f32).to_le_bytes().to_vec()),
        (1024, 64, |x| x.to_le_bytes().to_vec()),
        (1280, 64, |x| (x as u64).to_le_bytes().to_vec()),
        (64, 64, |x| (x as f64).to_le_bytes().to_vec()),
    ];
    for (code, bits, bytes) in kinds {
        let body: Vec<u8> = numbers.iter().flat_map(|x| bytes(*x)).collect();
        let kind = |h: &mut [u8]| {
            h[70..72].copy_from_slice(&code.to_le_bytes());
            h[72..74].copy_from_slice(&bits.to_le_bytes());
        };
        let file = nifti(kind, &body);
        assert_eq!(values(&write("kind.nii", file.clone())), plain, "{code}");
        let mut big = file[..352].to_vec();
        // Fields of two bytes, then of four; those of one stay.
        for (from, to, size) in
            [(0, 4, 4), (40, 56, 2), (68, 76, 2), (76, 112, 4), (112, 120, 4), (252, 256, 2), (256, 328, 4)]
        {
            big[from..to].chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        big.extend(body.chunks_exact(bits as usize / 8).flat_map(|number| number.iter().rev()));
        assert_eq!(values(&write("big.nii", big)), plain, "{code}, the other way round");
        let zipped = {
            use std::io::Write as _;
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(&file).unwrap();
            out.finish().unwrap()
        };
        assert_eq!(values(&write("zipped.nii", zipped)), plain, "compressed under a plain name");
        assert_eq!(values(&write("plain.nii.gz", file)), plain, "plain under a name of what is compressed");
    }
    assert_eq!(
        first_region(&root.path().join("zero.nii"), &atlas),
        first_region(&root.path().join("plain.nii"), &atlas)
    );
}

#[test]
fn volumes_that_cannot_be_used_are_refused_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let atlas = small_atlas(root.path());
    let folder = root.path().join("one");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("sub-1_bold.nii");
    let of = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        open(under_atlas(&path, &atlas)).and_then(|data| data.load(Part::Train, 0))
    };
    let whole = nifti(|_| (), &voxels());
    assert!(of(&whole).is_ok());
    for length in [0, 3, 4, 100, 347, 348, 352, whole.len() - 1] {
        refused(
            of(&whole[..length]),
            &[
                "sub-1_bold.nii",
                if length == 0 {
                    "empty"
                } else if length < 4 {
                    "no NIfTI-1"
                } else if length < 348 {
                    "ends inside its header"
                } else {
                    "was cut"
                },
            ],
        );
    }
    let with = |at: usize, bytes: &[u8]| nifti(|h| h[at..at + bytes.len()].copy_from_slice(bytes), &voxels());
    for (bytes, part) in [
        (with(0, &540_i32.to_le_bytes()), "NIfTI-2"),
        (with(0, &7_i32.to_le_bytes()), "first number is not 348"),
        (with(344, b"ni1\0"), "second file"),
        (with(344, &[0; 4]), "Analyze 7.5"),
        (with(40, &9_i16.to_le_bytes()), "9 axes"),
        (with(42, &0_i16.to_le_bytes()), "is 0 long"),
        (with(44, &(-2_i16).to_le_bytes()), "is -2 long"),
        (with(40, &[5, 0, 2, 0, 2, 0, 1, 0, 4, 0, 2, 0]), "one of time"),
        (with(48, &1_i16.to_le_bytes()), "one volume and no recording"),
        (with(70, &32_i16.to_le_bytes()), "complex numbers"),
        (with(70, &128_i16.to_le_bytes()), "colours"),
        (with(70, &77_i16.to_le_bytes()), "datatype 77"),
        (with(72, &8_i16.to_le_bytes()), "8 bits of a voxel"),
        (with(108, &0_f32.to_le_bytes()), "begin at byte 0"),
        (with(108, &f32::NAN.to_le_bytes()), "begin at byte NaN"),
        (with(42, &[0xFF, 0x7F, 0xFF, 0x7F, 0xFF, 0x7F, 0xFF, 0x7F]), "was cut"),
        (with(254, &1_i16.to_le_bytes()), "the atlas has none"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), "git lfs pull"),
        (nifti(|_| (), &shorts(std::iter::repeat_n(4, 32))), "a signal that changes"),
    ] {
        refused(of(&bytes), &["sub-1_bold.nii", part]);
    }
    // Compressed and cut: the header is whole, and the end is missing.
    let zipped = fs::read(fixture("float32-qform.nii.gz")).unwrap();
    for keep in [30, 200, zipped.len() / 2, zipped.len() - 4] {
        let cut = root.path().join("cut.nii.gz");
        fs::write(&cut, &zipped[..keep]).unwrap();
        let result = open(under_atlas(&cut, &fixture("atlas.nii.gz"))).and_then(|data| data.load(Part::Train, 0));
        refused(result, &["cut.nii.gz", "again"]);
    }
    let mut damaged = zipped.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    fs::write(root.path().join("sum.nii.gz"), damaged).unwrap();
    let result = open(under_atlas(&root.path().join("sum.nii.gz"), &fixture("atlas.nii.gz")))
        .and_then(|data| data.load(Part::Train, 0));
    refused(result, &["sum.nii.gz", "damaged"]);
}

#[test]
fn an_atlas_that_is_none_or_lies_elsewhere_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x.nii");
    fs::write(&path, nifti(|_| (), &voxels())).unwrap();
    refused(open(at(&path)), &["x.nii", "no atlas", "data.atlas"]);
    refused(open(under_atlas(&path, &root.path().join("nowhere.nii"))), &["nowhere.nii", "nothing"]);
    let atlas = root.path().join("a.nii");
    let with = |bytes: Vec<u8>, parts: &[&str]| {
        fs::write(&atlas, bytes).unwrap();
        refused(open(under_atlas(&path, &atlas)), parts);
    };
    let one = |h: &mut [u8]| h[48..50].copy_from_slice(&1_i16.to_le_bytes());
    with(nifti(|_| (), &voxels()), &["a.nii", "8 volumes", "atlas of one"]);
    with(nifti(one, &shorts([0, 0, 5, 5].into_iter())), &["a.nii", "1 regions"]);
    with(nifti(one, &shorts([-1, 0, 5, 6].into_iter())), &["a.nii", "a voxel of it is -1"]);
    let half = |h: &mut [u8]| {
        one(h);
        h[112..116].copy_from_slice(&0.5_f32.to_le_bytes());
    };
    with(nifti(half, &shorts([1, 2, 3, 4].into_iter())), &["a.nii", "0.5", "whole numbers"]);
    let wide = |h: &mut [u8]| {
        one(h);
        h[42..44].copy_from_slice(&4_i16.to_le_bytes());
        h[44..46].copy_from_slice(&1_i16.to_le_bytes());
    };
    with(nifti(wide, &shorts([1, 2, 3, 4].into_iter())), &["x.nii", "2 × 2 × 1", "4 × 1 × 1"]);
    // Both somewhere, and nowhere near each other.
    let placed = |shift: f32| {
        move |h: &mut [u8]| {
            h[254..256].copy_from_slice(&1_i16.to_le_bytes());
            for row in 0..3 {
                h[280 + 16 * row + 4 * row..][..4].copy_from_slice(&1_f32.to_le_bytes());
                h[280 + 16 * row + 12..][..4].copy_from_slice(&shift.to_le_bytes());
            }
        }
    };
    fs::write(&path, nifti(placed(100.0), &voxels())).unwrap();
    fs::write(
        &atlas,
        nifti(
            |h| {
                one(h);
                placed(0.0)(h);
            },
            &shorts([1, 2, 3, 4].into_iter()),
        ),
    )
    .unwrap();
    let result = open(under_atlas(&path, &atlas)).and_then(|data| data.load(Part::Train, 0));
    refused(result, &["x.nii", "no voxel of it lies in a region"]);
    refused(
        open(ConnectomesConfig { atlas: "a.nii".to_owned(), ..ConnectomesConfig::default() }),
        &["data.atlas", "built-in"],
    );
}

/// A folder of tables of two classes, six subjects each.
fn classes(root: &Path) -> PathBuf {
    let folder = root.join("study");
    for (class, name) in ["patients", "controls"].into_iter().enumerate() {
        fs::create_dir_all(folder.join(name)).unwrap();
        for subject in 0..6 {
            fs::write(
                folder.join(name).join(format!("s{class}{subject}.csv")),
                table(5, 30 + subject, subject + 9 * class),
            )
            .unwrap();
        }
    }
    folder
}

#[test]
fn tables_have_the_labels_of_their_folders_and_rows_are_what_is_alike_in_all() {
    let root = tempfile::tempdir().unwrap();
    let folder = classes(root.path());
    let mut config = at(&folder);
    let (data, decisions) = open_told(&mut config).unwrap();
    assert_eq!((config.regions, config.rows), (5, Auto::Value(Rows::Regions)));
    assert!(decisions.iter().any(|d| d.what == "data.rows" && d.reason.contains("columns differ")), "{decisions:?}");
    assert_eq!((config.window, config.stride), (Auto::Value(6), Auto::Value(2)));
    let described = data.describe();
    assert_eq!((described.train + described.held_out, described.held_out >= 1), (12, true));
    assert_eq!(described.factors[0].classes, ["controls", "patients"]);
    let sample: DynamicGraph = data.load(Part::Train, 0).unwrap();
    assert_eq!((sample.regions(), data.baseline(&sample).len(), sample.of_window(0).len()), (5, 10, 10));
    assert!(data.meta(Part::Train, 0).unwrap().name.contains('/'));
    assert!(
        data.picture(&sample).is_some() && data.film(&sample).is_some_and(|film| film.frames.len() == sample.windows())
    );

    // The other way round, and by NumPy's format.
    let turned = root.path().join("turned");
    fs::create_dir(&turned).unwrap();
    for (subject, length) in [(0, 30), (1, 31)] {
        let (mut text, mut bytes) = (String::new(), foretell_data::npy::write_header("<f8", &[5, length]));
        let rows: Vec<Vec<f64>> =
            table(5, length, subject).lines().map(|l| l.split(',').map(|x| x.parse().unwrap()).collect()).collect();
        for t in 0..length {
            text.push_str(&rows.iter().map(|row| row[t].to_string()).collect::<Vec<_>>().join("\t"));
            text.push('\n');
        }
        bytes.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
        fs::write(turned.join(format!("s0{subject}.tsv")), text).unwrap();
        fs::write(root.path().join(format!("{subject}.npy")), bytes).unwrap();
    }
    let mut config = at(&turned);
    let (data, _) = open_told(&mut config).unwrap();
    assert_eq!((config.regions, config.rows), (5, Auto::Value(Rows::Time)));
    let one = data.load(Part::Train, 0).unwrap();
    let length = one.series().length();
    let npy = open(at(&root.path().join(format!("{}.npy", length - 30)))).unwrap().load(Part::Train, 0).unwrap();
    assert_eq!(one.series(), npy.series());
}

#[test]
fn windows_go_through_every_setting_of_graphs() {
    let root = tempfile::tempdir().unwrap();
    let folder = classes(root.path());
    let with = |correlation, edges| {
        let config = ConnectomesConfig { correlation, edges, density: 0.4, window: Auto::Value(10), ..at(&folder) };
        open(config).unwrap().load(Part::Train, 1).unwrap()
    };
    let plain = with(Correlation::Pearson, Edges::Pairs);
    assert_eq!(plain.graph(0).edges.len(), 4);
    assert!(with(Correlation::Pearson, Edges::Official).graph(0).edges.len() < 4);
    let shrunk = with(Correlation::LedoitWolf, Edges::Pairs);
    let size = |sample: &DynamicGraph| sample.of_window(0).iter().map(|x| x.abs()).sum::<f32>();
    assert!(size(&shrunk) < size(&plain));
    refused(open(ConnectomesConfig { density: 1.0, ..at(&folder) }), &["data.density"]);
    refused(open(ConnectomesConfig { window: Auto::Value(2), ..at(&folder) }), &["data.window"]);
    refused(open(ConnectomesConfig { window: Auto::Value(33), ..at(&folder) }), &["33", "data.window"]);
}

#[test]
fn subjects_of_a_table_of_participants_keep_together_and_what_is_mislabelled_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    for subject in 0..12 {
        for session in 1..3 {
            let name = format!("sub-{subject:02}_ses-{session}_desc-atlas_timeseries.tsv");
            fs::write(folder.join(name), table(4, 40, subject * 3 + session).replace(',', "\t")).unwrap();
        }
        fs::write(folder.join(format!("sub-{subject:02}_task-rest_desc-confounds_timeseries.tsv")), "csf\n1\n")
            .unwrap();
    }
    let rows = |sex: &dyn Fn(usize) -> &'static str| {
        let rows: Vec<String> = (0..12).map(|s| format!("sub-{s:02}\t{}\t{}.5\tx{s}", sex(s), 20 + s)).collect();
        format!("participant_id\tsex\tage\tnote\n{}\n", rows.join("\n"))
    };
    let write = |text: String| fs::write(folder.join("participants.tsv"), text).unwrap();
    write(rows(&|s| if s % 2 == 0 { "F" } else { "M" }));
    let data = open(at(folder)).unwrap();
    let described = data.describe();
    assert_eq!(described.train + described.held_out, 24);
    assert_eq!(
        described.factors.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
        ["sex"],
        "age is a measure, notes are names"
    );
    let groups = |part| {
        (0..data.len(part).unwrap())
            .map(|i| data.meta(part, i).unwrap().group.unwrap())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(
        groups(Part::Train).is_disjoint(&groups(Part::HeldOut))
            && groups(Part::HeldOut).len() * 2 == described.held_out
    );
    let fingerprint = |config: &mut ConnectomesConfig| open_told(config).map(|_| config.fingerprint.clone());
    let mut config = at(folder);
    let before = fingerprint(&mut config).unwrap();
    write(rows(&|_| "F").replace("sub-00\tF", "sub-00\tM").replace("sub-01\tF", "sub-01\tM"));
    refused(fingerprint(&mut config), &["began with"]);
    assert_ne!(fingerprint(&mut at(folder)).unwrap(), before);

    let asked = |name: &str| open(ConnectomesConfig { labels: vec![name.to_owned()], ..at(folder) });
    refused(asked("weight"), &["`weight`", "sex, age, note"]);
    assert!(asked("note").is_ok());
    write(rows(&|s| if s == 3 { "n/a" } else { "F" }));
    refused(asked("sex"), &["2 of 24", "`sex`"]);
    write(rows(&|_| "F").replace("sub-07\t", "sub-77\t"));
    refused(open(at(folder)), &["2 of 24 recordings have no row", "sub-07"]);
    write(rows(&|_| "F") + "sub-03\tM\t9\tx\n");
    refused(open(at(folder)), &["`sub-03` has two rows"]);
    write(rows(&|_| "F") + "sub-03\tM\n");
    refused(open(at(folder)), &["line 14 has 2 cells"]);
    write("name\tsex\n".to_owned());
    refused(open(at(folder)), &["`name`", "participant_id"]);
    write(String::new());
    refused(open(at(folder)), &["participants.tsv", "empty"]);
    fs::remove_file(folder.join("participants.tsv")).unwrap();
    refused(asked("sex"), &["no `participants.tsv`"]);
}

#[test]
fn folders_and_tables_that_cannot_be_used_are_refused_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    refused(open(at(&root.path().join("nowhere"))), &["nowhere", "nothing"]);
    refused(open(at(root.path())), &["holds no recording", "0 files"]);
    let folder = classes(root.path());
    let put = |name: &str, bytes: &[u8], parts: &[&str]| {
        fs::write(folder.join(name), bytes).unwrap();
        refused(open(at(&folder)), parts);
        // Passed over where that is asked for; what is wrong with the folder is not.
        fs::remove_file(folder.join(name)).unwrap();
    };
    let (gz, utf16) = ([0x1F, 0x8B, 8, 0, 0], [0xFF, 0xFE, b'1', 0]);
    for (bytes, part) in [
        (&b""[..], "no row of numbers"),
        (b"1,2,3\n4,5\n", "row 2 of numbers has 2 cells"),
        (b"1,2,3\n4,what,6\n", "`what`"),
        (b"1,2,3\n4,5,6\n", "regions"),
        (&gz, "gzip"),
        (&utf16, "UTF-16"),
        (b"a\0b", "no text"),
        (b"\xE9\xE8,1\n", "UTF-8"),
    ] {
        put("patients/s09.csv", bytes, &["s09.csv", part]);
    }
    put("patients/s09.npy", b"\x93NUMPY", &["s09.npy", "header"]);
    put("patients/s09.npy", b"1,2,3\n", &["s09.npy", "no `.npy`"]);
    put("patients/s09.npy", &foretell_data::npy::write_header("<f4", &[2, 3, 4]), &["s09.npy", "does not fit"]);
    let mut cube = foretell_data::npy::write_header("<f4", &[2, 3, 4]);
    cube.extend([0; 96]);
    put("patients/s09.npy", &cube, &["s09.npy", "[2, 3, 4]", "two axes"]);
    put("outside.csv", table(5, 30, 0).as_bytes(), &["1 of its recordings lie beside its folders and 12 in them"]);
    put("patients/x.nii", &nifti(|_| (), &voxels()), &["1 volumes and 12 tables"]);
    put("patients/s09.csv", b"V1,1,2,3,4,5,6\nV2,7,8,9,1,2,4\n", &["regions"]);
    assert!(open(at(&folder)).is_ok());

    fs::write(folder.join("patients/s09.csv"), "1,2\n3\n").unwrap();
    let config = ConnectomesConfig { on_bad_sample: OnBadSample::Skip, ..at(&folder) };
    let data = open(config).unwrap();
    let parts = [Part::Train, Part::HeldOut]
        .map(|part| (0..data.len(part).unwrap()).filter(|i| data.load(part, *i).is_err()).count());
    assert_eq!(parts.iter().sum::<usize>(), 1);
    // One that is too short for a window likewise; not all of them.
    fs::write(folder.join("patients/s09.csv"), table(5, 12, 9)).unwrap();
    let windows = |window: usize, on_bad_sample: OnBadSample| {
        open(ConnectomesConfig { on_bad_sample, window: Auto::Value(window), ..at(&folder) })
    };
    refused(windows(20, OnBadSample::Fail), &["s09.csv", "12 time points"]);
    refused(windows(200, OnBadSample::Skip), &["time points", "data.window"]);
    let data = windows(20, OnBadSample::Skip).unwrap();
    assert!(data.fewest_windows() > 0);
    let bad = |part: Part| (0..data.len(part).unwrap()).filter(|i| data.load(part, *i).is_err()).count();
    assert_eq!(bad(Part::Train) + bad(Part::HeldOut), 1);
    fs::remove_file(folder.join("patients/s09.csv")).unwrap();
    // Other recordings than the network was made for.
    let mut config = at(&folder.join("controls"));
    open_told(&mut config).unwrap();
    let other = root.path().join("other.csv");
    fs::write(&other, table(6, 30, 0)).unwrap();
    refused(Connectomes::of_paths(&config, std::slice::from_ref(&other)), &["6 regions", "made for 5"]);
    refused(Connectomes::of_paths(&config, &[]), &["no input"]);
    fs::write(root.path().join("x.docx"), "x").unwrap();
    refused(open(at(&root.path().join("x.docx"))), &["x.docx", ".nii.gz"]);
}

#[test]
fn generated_networks_have_what_is_to_be_found_in_them() {
    let data = open(ConnectomesConfig::default()).unwrap();
    assert_eq!((data.len(Part::Train), data.states(), data.fewest_windows()), (Some(1000), 4, 22));
    let (first, again) = (data.load(Part::HeldOut, 5).unwrap(), data.load(Part::HeldOut, 5).unwrap());
    assert_eq!(first.series(), again.series());
    assert!(first.series() != data.load(Part::Train, 5).unwrap().series());
    assert_eq!(data.meta(Part::HeldOut, 5).unwrap().labels.len(), 3);
    assert!((0..22).all(|window| first.state(window).is_some_and(|(state, share)| state < 4 && share >= 0.25)));
    assert!(data.load(Part::Train, 1000).is_err());
    assert!(data.describe().to_string().contains("habit: 2 classes (dwells, switches)"));
    let small = |regions| {
        let networks = foretell_data::connectomes::StatesConfig { regions, ..Default::default() };
        open(ConnectomesConfig { networks, ..ConnectomesConfig::default() })
    };
    refused(small(8), &["data.networks.regions"]);
    assert!(small(16).is_ok());
}

/// What is read of some bytes, or said of them: never a panic.
fn survive(path: &Path, bytes: &[u8], atlas: Option<&Path>) {
    fs::write(path, bytes).unwrap();
    let config = atlas.map_or_else(|| at(path), |atlas| under_atlas(path, atlas));
    match open(config).and_then(|data| data.load(Part::Train, 0)) {
        Ok(sample) => {
            for window in 0..sample.windows().min(3) {
                let graph = sample.graph(window);
                assert!(graph.edges.iter().all(|(u, v)| graph.present[*u as usize] && graph.present[*v as usize]));
                assert!(sample.of_window(window).iter().chain(&sample.fixed()).all(|x| x.is_finite()));
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

/// Bytes in which some are others, and of which an end may be missing.
fn changed(whole: &[u8], changes: &[(usize, u8)], keep: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (at, byte) in changes {
        let at = at % bytes.len();
        bytes[at] = *byte;
    }
    if keep != usize::MAX {
        bytes.truncate(keep % whole.len());
    }
    bytes
}

fn changes() -> impl Strategy<Value = (Vec<(usize, u8)>, usize)> {
    (prop::collection::vec((any::<usize>(), any::<u8>()), 0..6), prop_oneof![Just(usize::MAX), any::<usize>()])
}

/// Changes within a header, where they matter.
fn of_header() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((prop_oneof![0..4_usize, 40..56_usize, 68..124_usize, 252..348_usize], any::<u8>()), 1..5)
}

/// 1500, or as many as are asked for.
fn cases() -> u32 {
    std::env::var("FORETELL_DAMAGE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_volume_holds_it_is_read_or_refused((changes, keep) in changes(), of_header in of_header()) {
        let root = tempfile::tempdir().unwrap();
        let atlas = small_atlas(root.path());
        survive(&root.path().join("x.nii"), &changed(&nifti(|_| (), &voxels()), &changes, keep), Some(&atlas));
        survive(&root.path().join("y.nii"), &changed(&nifti(|_| (), &voxels()), &of_header, usize::MAX), Some(&atlas));
        // The same of an atlas.
        let bytes = changed(&fs::read(&atlas).unwrap(), &of_header, usize::MAX);
        fs::write(&atlas, bytes).unwrap();
        survive(&root.path().join("z.nii"), &nifti(|_| (), &voxels()), Some(&atlas));
    }

    #[test]
    fn whatever_a_table_holds_it_is_read_or_refused((changes, keep) in changes(), text in "[0-9a-z,;\t\n .\"#-]{0,80}") {
        let root = tempfile::tempdir().unwrap();
        survive(&root.path().join("x.csv"), &changed(table(4, 30, 1).as_bytes(), &changes, keep), None);
        survive(&root.path().join("y.tsv"), text.as_bytes(), None);
        let mut npy = foretell_data::npy::write_header("<f4", &[4, 30]);
        npy.extend((0..120).flat_map(|i| ((i * 7 % 13) as f32).to_le_bytes()));
        survive(&root.path().join("z.npy"), &changed(&npy, &changes, keep), None);
        // A table of participants beside a recording.
        fs::write(root.path().join("s1.csv"), table(4, 30, 1)).unwrap();
        fs::write(root.path().join("participants.tsv"), text.as_bytes()).unwrap();
        if let Err(error) = open(at(&root.path().join("s1.csv"))) {
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }
}
