//! Brains as graphs over time: NIfTI-1 by the letter, an atlas, tables, and what is refused.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use foretell_data::connectomes::{
    Atlas, Connectomes, ConnectomesConfig, Correlation, Nifti, Orientation, RegionSeries,
};
use foretell_data::{DataError, Modality, Opening, Part};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A header and its voxels as one file.
#[derive(Clone)]
struct Made {
    shape: [i16; 4],
    scaling: (f32, f32),
    sform: Option<[[f32; 4]; 3]>,
    /// Quaternion and offset.
    qform: Option<([f32; 3], [f32; 3])>,
    sizes: [f32; 3],
    big: bool,
    numbers: Vec<i16>,
}

impl Made {
    fn new(shape: [i16; 4], numbers: Vec<i16>) -> Self {
        Self { shape, scaling: (0.0, 0.0), sform: None, qform: None, sizes: [2.0; 3], big: false, numbers }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0_u8; 352];
        let short = |value: i16| if self.big { value.to_be_bytes() } else { value.to_le_bytes() };
        let float = |value: f32| if self.big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &if self.big { 348_i32.to_be_bytes() } else { 348_i32.to_le_bytes() });
        put(40, &short(if self.shape[3] > 1 { 4 } else { 3 }));
        (0..4).for_each(|axis| put(42 + 2 * axis, &short(self.shape[axis])));
        put(70, &short(4));
        put(72, &short(16));
        put(76, &float(1.0));
        (0..3).for_each(|axis| put(80 + 4 * axis, &float(self.sizes[axis])));
        put(92, &float(2000.0));
        put(108, &float(352.0));
        put(112, &float(self.scaling.0));
        put(116, &float(self.scaling.1));
        // Millimetres and thousandths of a second.
        put(123, &[2 | 16]);
        if let Some((turn, offset)) = self.qform {
            put(252, &short(1));
            turn.iter().chain(&offset).enumerate().for_each(|(place, value)| put(256 + 4 * place, &float(*value)));
        }
        if let Some(rows) = self.sform {
            put(254, &short(2));
            rows.iter().flatten().enumerate().for_each(|(place, value)| put(280 + 4 * place, &float(*value)));
        }
        put(344, b"n+1\0");
        out.extend(self.numbers.iter().flat_map(|number| short(*number)));
        out
    }
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn diagonal(step: f32, offset: [f32; 3]) -> [[f32; 4]; 3] {
    [[step, 0.0, 0.0, offset[0]], [0.0, step, 0.0, offset[1]], [0.0, 0.0, step, offset[2]]]
}

fn opened(config: &ConnectomesConfig) -> Result<Connectomes, DataError> {
    Connectomes::open(&mut config.clone(), &mut Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() })
}

#[track_caller]
fn refused<T>(found: Result<T, DataError>, words: &[&str]) {
    let error = found.err().expect("refused").to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    words.iter().for_each(|word| assert!(error.contains(word), "{word} in: {error}"));
}

fn values(path: &Path) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    Nifti::open(path).unwrap().volumes(|_, volume| all.push(volume.to_vec())).unwrap();
    all
}

#[test]
fn a_slope_of_zero_or_none_scales_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::new([2, 2, 1, 2], vec![1, 2, 3, 4, 5, 6, 7, 8]);
    for (scaling, first, known) in [
        ((0.0, 7.0), 1.0, None),
        ((f32::NAN, 7.0), 1.0, None),
        ((f32::INFINITY, 7.0), 1.0, None),
        ((0.5, 10.0), 10.5, Some((0.5, 10.0))),
        ((2.0, f32::NAN), 2.0, Some((2.0, 0.0))),
    ] {
        for big in [false, true] {
            let path = write(folder.path(), "a.nii", Made { scaling, big, ..made.clone() }.bytes());
            assert_eq!(Nifti::open(&path).unwrap().scaling, known);
            assert_eq!(values(&path)[0][0], first, "{scaling:?}");
        }
    }
    // The same behind gzip, and as a pair of files.
    let bytes = made.bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let path = write(folder.path(), "a.nii.gz", gzip.finish().unwrap());
    assert_eq!(values(&path)[1], [5.0, 6.0, 7.0, 8.0]);
    assert_eq!(Nifti::open(&path).unwrap().seconds, Some(2.0));
    let mut header = bytes[..348].to_vec();
    header[344..348].copy_from_slice(b"ni1\0");
    header[108..112].copy_from_slice(&0.0_f32.to_le_bytes());
    let path = write(folder.path(), "b.hdr", header);
    refused(Nifti::open(&path), &["b.img", "no such file"]);
    write(folder.path(), "b.img", &bytes[352..]);
    assert_eq!(values(&path)[1], [5.0, 6.0, 7.0, 8.0]);
}

#[test]
fn the_sform_comes_before_the_qform_and_that_before_the_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let base = Made { sizes: [3.0; 3], ..Made::new([2, 2, 1, 1], vec![0; 4]) };
    let affine = |made: Made| Nifti::open(&write(folder.path(), "a.nii", made.bytes())).unwrap().affine;
    let (sform, qform) = (Some(diagonal(4.0, [1.0, 2.0, 3.0])), Some(([0.0, 0.0, 1.0], [9.0, 8.0, 7.0])));
    assert_eq!(affine(Made { sform, qform, ..base.clone() })[0], [4.0, 0.0, 0.0, 1.0]);
    assert_eq!(affine(Made { qform, ..base.clone() })[0], [-3.0, 0.0, 0.0, 9.0]);
    assert_eq!(affine(base)[1], [0.0, 3.0, 0.0, 0.0]);
}

/// Regions by where voxels lie: an atlas on a finer grid that lies elsewhere; a region beyond the image is kept, without a course.
#[test]
fn an_atlas_gives_courses_of_regions_and_keeps_those_without_a_voxel() {
    let folder = tempfile::tempdir().unwrap();
    // 4 × 1 × 1 voxels of 2 mm, the first at x = 10; three times.
    let image = Made {
        sform: Some(diagonal(2.0, [10.0, 0.0, 0.0])),
        ..Made::new([4, 1, 1, 3], vec![1, 3, 10, 100, 2, 4, 20, 200, 3, 5, 30, 300])
    };
    // 1 mm, the first at x = 9: voxels 1, 3, 5, 7 lie at the image's. Region 7 lies behind its end.
    let atlas = Made {
        sform: Some(diagonal(1.0, [9.0, 0.0, 0.0])),
        ..Made::new([12, 1, 1, 1], vec![0, 2, 2, 2, 5, 5, 5, 0, 0, 0, 7, 7])
    };
    let image = Nifti::open(&write(folder.path(), "a.nii", image.bytes())).unwrap();
    let path = write(folder.path(), "atlas.nii", atlas.bytes());
    let atlas = Atlas::open(&path).unwrap();
    assert_eq!(atlas.labels, [2, 5, 7]);
    let series = RegionSeries::of_image(&image, &atlas).unwrap();
    assert_eq!((series.regions(), series.times, series.seconds), (3, 3, Some(2.0)));
    assert_eq!(series.present, [true, true, false]);
    assert_eq!(series.values, [2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 0.0, 0.0, 0.0]);
    let config = ConnectomesConfig {
        path: folder.path().join("a.nii").display().to_string(),
        atlas: path.display().to_string(),
        window: 3,
        stride: 1,
        windows: 1,
        ..ConnectomesConfig::default()
    };
    let set = opened(&config).unwrap();
    let sample = set.load(Part::Train, 0).unwrap();
    assert_eq!((sample.regions(), sample.windows), (3, 1));
    assert!((sample.window(0)[1] - 1.0).abs() < 1e-6 && sample.window(0)[2] == 0.0);
    assert_eq!(sample.edges(0).len(), 0, "0.3 of one pair");
    assert!(set.describe().notes[0].contains("1 of 3 regions have no course"));
    refused(opened(&ConnectomesConfig { atlas: String::new(), ..config }), &["data.atlas"]);
}

#[test]
fn tables_lie_either_way_and_holes_are_holes() {
    let folder = tempfile::tempdir().unwrap();
    let named = write(folder.path(), "a.tsv", "left\tright\tmiddle\n1\t2\tn/a\n2\t4\t1\n3\t7\t1\n");
    let series = RegionSeries::of_table(&named, Orientation::Auto).unwrap();
    assert_eq!((series.regions(), series.times), (3, 3));
    assert_eq!(series.present, [true, true, false]);
    assert_eq!(series.values[3..6], [2.0, 4.0, 7.0]);
    let bare = write(folder.path(), "a.csv", "1,2,3,4\n5,6,7,8\n");
    let series = RegionSeries::of_table(&bare, Orientation::Auto).unwrap();
    assert_eq!((series.regions(), series.times), (2, 4));
    assert_eq!(RegionSeries::of_table(&bare, Orientation::RegionsInColumns).unwrap().regions(), 4);
    let of = |text: &str| RegionSeries::of_table(&write(folder.path(), "b.csv", text), Orientation::Auto);
    refused(of(""), &["it is empty"]);
    refused(of("1,2\n3\n"), &["line 2 has 1 cells"]);
    refused(of("1,2\n3,x\n"), &["line 2", "no number"]);
    refused(RegionSeries::of_table(&write(folder.path(), "c.csv", [0xFF, 0xFE, 1]), Orientation::Auto), &["byte 0"]);
}

#[test]
fn a_folder_of_tables_is_split_by_subject_and_cut_into_windows() {
    let folder = tempfile::tempdir().unwrap();
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    for subject in 0..10 {
        let rows: Vec<String> = (0..5)
            .map(|_| (0..90).map(|_| format!("{:.3}", rng.random_range(-1.0..1.0))).collect::<Vec<_>>().join(","))
            .collect();
        write(
            folder.path(),
            &format!("sub-{subject:02}_task-{}.csv", if subject % 2 == 0 { "rest" } else { "film" }),
            rows.join("\n"),
        );
    }
    let config = ConnectomesConfig {
        path: folder.path().display().to_string(),
        window: 20,
        stride: 10,
        windows: 3,
        label: "task-([a-z]+)".to_owned(),
        correlation: Correlation::Shrunk,
        ..ConnectomesConfig::default()
    };
    let set = opened(&config).unwrap();
    // 40 times a sample, the next 30 later: two of 90.
    assert_eq!((set.len(Part::Train), set.len(Part::HeldOut)), (Some(16), Some(4)));
    assert_eq!(set.factors()[0].classes, ["film", "rest"]);
    let groups = |part| {
        (0..set.len(part).unwrap()).map(|i| set.meta(part, i).unwrap().group).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(groups(Part::Train).is_disjoint(&groups(Part::HeldOut)));
    let sample = set.load(Part::HeldOut, 1).unwrap();
    assert_eq!(sample.edges(2).len(), 3);
    assert_eq!(set.baseline(&sample).len(), 10);
    assert!(set.picture(&sample).is_some());
    refused(opened(&ConnectomesConfig { windows: 30, ..config.clone() }), &["90 times", "data.windows"]);
    refused(opened(&ConnectomesConfig { label: "nothing".into(), ..config.clone() }), &["`data.label`"]);
    refused(opened(&ConnectomesConfig { edges: 0.0, ..config.clone() }), &["`data.edges`"]);
    refused(opened(&ConnectomesConfig { window: 1, ..config.clone() }), &["`data.window`"]);
    write(folder.path(), "sub-99_task-rest.csv", "1,2,3\n4,5,6\n");
    refused(opened(&config), &["2 regions", "5"]);
}

#[test]
fn cut_empty_and_mislabelled_images_are_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Made::new([3, 2, 1, 4], (0..24).collect()).bytes();
    let of = |bytes: &[u8]| Nifti::open(&write(folder.path(), "a.nii", bytes));
    refused(of(&[]), &["it is empty", "348"]);
    refused(of(&whole[..200]), &["after 200 bytes"]);
    refused(of(&[b'x'; 400]), &["another format"]);
    let change = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    refused(of(&change(0, &540_i32.to_le_bytes())), &["NIfTI-2"]);
    refused(of(&change(344, b"\0\0\0\0")), &["`n+1`", "Analyze"]);
    refused(of(&change(70, &32_i16.to_le_bytes())), &["type 32"]);
    refused(of(&change(42, &(-3_i16).to_le_bytes())), &["damaged"]);
    refused(of(&change(40, &9_i16.to_le_bytes())), &["9 axes"]);
    refused(of(&change(42, &[0xFF, 0x7F, 0xFF, 0x7F, 0xFF, 0x7F])), &["larger than any head"]);
    let cut = of(&whole[..whole.len() - 5]).unwrap();
    refused(cut.volumes(|_, _| ()), &["within volume 3", "of 4"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&whole).unwrap();
    let gzip = gzip.finish().unwrap();
    let path = write(folder.path(), "a.nii.gz", &gzip[..gzip.len() - 12]);
    match Nifti::open(&path) {
        Ok(image) => refused(image.volumes(|_, _| ()), &["was cut"]),
        Err(error) => assert!(error.to_string().contains("damaged"), "{error}"),
    }
    refused(Atlas::open(&write(folder.path(), "b.nii", &whole)), &["4 volumes"]);
    let map = Made { scaling: (0.3, 0.0), ..Made::new([2, 1, 1, 1], vec![1, 2]) };
    refused(Atlas::open(&write(folder.path(), "b.nii", map.bytes())), &["whole numbers"]);
    refused(Atlas::open(&write(folder.path(), "b.nii", Made::new([2, 1, 1, 1], vec![0, 0]).bytes())), &["0 labels"]);
    refused(
        opened(&ConnectomesConfig {
            path: folder.path().join("no").display().to_string(),
            ..ConnectomesConfig::default()
        }),
        &["nothing at"],
    );
}

#[test]
fn damaged_images_and_tables_are_read_or_refused() {
    let cases = std::env::var("FORETELL_DAMAGE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000);
    let folder = tempfile::tempdir().unwrap();
    let whole = Made { sform: Some(diagonal(2.0, [0.0; 3])), ..Made::new([3, 2, 1, 6], (0..36).collect()) }.bytes();
    let atlas = Atlas::open(&write(
        folder.path(),
        "atlas.nii",
        Made { sform: Some(diagonal(2.0, [0.0; 3])), ..Made::new([3, 2, 1, 1], vec![1, 1, 2, 2, 3, 3]) }.bytes(),
    ))
    .unwrap();
    let table = b"a,b,c\n1,2,3\n4,5,6\n7,8,n/a\n".to_vec();
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let (mut read, mut refused) = (0, 0);
    for turn in 0..cases {
        let is_table = turn % 3 == 0;
        let mut changed = if is_table { table.clone() } else { whole.clone() };
        if turn % 2 == 0 {
            changed.truncate(rng.random_range(0..changed.len()));
        }
        for _ in 0..rng.random_range(0..4) {
            if !changed.is_empty() {
                let at = rng.random_range(0..changed.len());
                changed[at] = rng.random();
            }
        }
        let path = write(folder.path(), if is_table { "m.csv" } else { "m.nii" }, &changed);
        let found = if is_table {
            RegionSeries::of_table(&path, Orientation::Auto)
        } else {
            Nifti::open(&path).and_then(|image| RegionSeries::of_image(&image, &atlas))
        };
        match found {
            Ok(series) => {
                read += 1;
                assert!(series.values.iter().all(|x| x.is_finite()));
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.to_string().lines().count(), 1, "{error}");
            }
        }
    }
    assert!(read > cases / 10 && refused > cases / 10, "{read} read, {refused} refused");
}

#[test]
fn generated_networks_need_no_file() {
    let mut config = ConnectomesConfig { windows: 4, ..ConnectomesConfig::default() };
    let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
    let set = Connectomes::open(&mut config, &mut opening).unwrap();
    assert_eq!(config.regions, 30);
    let sample = set.load(Part::HeldOut, 3).unwrap();
    assert_eq!((sample.regions(), sample.windows, sample.states.len()), (30, 4, 4));
    assert_eq!(sample.edges(0).len(), 131);
    assert_eq!(set.load(Part::HeldOut, 3).unwrap(), sample);
    assert_eq!(set.meta(Part::HeldOut, 3).unwrap().labels.len(), 2);
    assert_eq!(set.baseline(&sample).len(), 435);
}
