//! Series from every form of file and from nothing: what is read, what is refused and how.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use foretell_data::npy::write_header;
use foretell_data::series::{Series, SeriesConfig, SeriesSample, Standardise, WavesConfig};
use foretell_data::zip::StoredZip;
use foretell_data::{Auto, DataError, Images, Modality, Opening, Part};
use proptest::prelude::*;
use tempfile::TempDir;

const PARTS: [Part; 2] = [Part::Train, Part::HeldOut];

fn write(root: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = root.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn of(path: &Path) -> SeriesConfig {
    SeriesConfig { path: path.display().to_string(), ..SeriesConfig::default() }
}

fn open_with(config: &mut SeriesConfig) -> Result<Series, DataError> {
    Series::open(config, &mut Opening { seed: 3, batch: 8, threads: 2, decisions: &mut Vec::new() })
}

fn open(path: &Path) -> Result<Series, DataError> {
    open_with(&mut of(path))
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[track_caller]
fn refused(path: &Path, parts: &[&str]) {
    says(&open(path).map(|_| ()).unwrap_err().to_string(), parts);
}

/// A table of `rows` hours: a slow wave, a fast one and a constant.
fn table(rows: usize) -> String {
    let mut text = "date,slow,fast,steady\n".to_owned();
    for row in 0..rows {
        let (day, hour) = (1 + row / 24 % 28, row % 24);
        let month = 1 + row / (24 * 28);
        let wave = |period: f64| (row as f64 * std::f64::consts::TAU / period).sin();
        let _ = writeln!(text, "2020-{month:02}-{day:02} {hour:02}:00:00,{:.4},{:.4},7", 5.0 + wave(200.0), wave(24.0));
    }
    text
}

fn values(sample: &SeriesSample) -> Vec<f32> {
    sample.values.to_vec()
}

#[test]
fn a_table_is_cut_by_time_and_no_window_crosses_the_split() {
    let root = tempfile::tempdir().unwrap();
    // As many months of 28 days as there are: the clock must not jump.
    let path = write(&root, "waves.csv", table(28 * 24));
    let mut config = SeriesConfig { window: Auto::Value(48), separate: Auto::Value(false), ..of(&path) };
    let series = open_with(&mut config).unwrap();
    let rows = 28 * 24;
    let train = (rows as f64 * 0.7) as usize;
    assert_eq!(series.len(Part::Train), Some(train - 48 + 1));
    let about = series.describe();
    assert!(about.facts.contains(&("time step".into(), "1 hour".into())), "{:?}", about.facts);
    assert!(about.split.contains("no window across"), "{}", about.split);
    assert!(about.notes.iter().any(|note| note.contains("`steady` never changes")), "{:?}", about.notes);
    // The last training window ends where the training rows do, on their scale; the constant is 0, not 1 and not NaN.
    let whole = &series.training(1)[0];
    assert_eq!(whole.steps(), train);
    let last = series.load(Part::Train, train - 48).unwrap();
    assert_eq!(values(&last), whole.values[(train - 48) * 3..]);
    assert!(last.channel(2).all(|value| value == 0.0));
    for channel in 0..2 {
        let mean = whole.channel(channel).sum::<f32>() / train as f32;
        let square = whole.channel(channel).map(|v| (v - mean).powi(2)).sum::<f32>() / train as f32;
        assert!(mean.abs() < 1e-3 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
    }
    for part in PARTS {
        for stretch in series.stretches(part, 40, 8, 50) {
            let end = stretch.start + 48;
            assert!(end <= train || stretch.start >= (rows as f64 * 0.8).ceil() as usize, "{}", stretch.start);
            assert_eq!((stretch.history.steps(), stretch.future.steps()), (40, 8));
        }
        assert!(!series.stretches(part, 40, 8, 50).is_empty());
    }
    // Each column a series of its own, as is usual.
    let mut config = SeriesConfig { window: Auto::Value(48), ..of(&path) };
    let own = open_with(&mut config).unwrap();
    assert_eq!((own.len(Part::Train), config.channels()), (Some(3 * (train - 48 + 1)), 1));
    assert_eq!(own.load(Part::Train, 0).unwrap().channels, 1);
    // Resumed with other rows it is told.
    write(&root, "waves.csv", table(27 * 24));
    says(&open_with(&mut config).map(|_| ()).unwrap_err().to_string(), &["not what this run began with"]);
}

/// Statistics are of the training part alone; the released code takes those of all rows.
#[test]
fn statistics_are_of_the_training_part_and_official_ones_of_all() {
    let root = tempfile::tempdir().unwrap();
    let mut text = "x\n".to_owned();
    (0..100).for_each(|row| writeln!(text, "{}", if row < 70 { row % 2 } else { 1000 }).unwrap());
    let path = write(&root, "jump.csv", text);
    let mean = |standardise| {
        let mut config = SeriesConfig { standardise, window: Auto::Value(8), ..of(&path) };
        open_with(&mut config).unwrap();
        config.normalise.mean[0]
    };
    assert_eq!(mean(Standardise::Training), 0.5);
    assert_eq!(mean(Standardise::Official), 300.35);
}

#[test]
fn what_tables_look_like() {
    let root = tempfile::tempdir().unwrap();
    let rows = |form: &dyn Fn(usize) -> String| (0..60).map(form).collect::<Vec<_>>().join("\n");
    let shown = |text: String| {
        let path = write(&root, "t.csv", text);
        let mut config = SeriesConfig {
            window: Auto::Value(6),
            standardise: Standardise::None,
            separate: Auto::Value(false),
            ..of(&path)
        };
        let series = open_with(&mut config).unwrap();
        (values(&series.load(Part::Train, 0).unwrap()), series.describe())
    };
    // Semicolons and decimal commas, German dates, a byte-order mark and Windows' line ends.
    let (first, _) = shown(format!("\u{FEFF}Datum;a;b\r\n{}", rows(&|i| format!("01.02.2020 00:{i:02};{i},5;2\r"))));
    assert_eq!(first[..4], [0.5, 2.0, 1.5, 2.0]);
    // Without header and time; with quotes; an index as numbers.
    assert_eq!(shown(rows(&|i| format!("{i},{}", i * 2))).0[..4], [0.0, 0.0, 1.0, 2.0]);
    assert_eq!(shown(format!("\"time\",\"x, y\"\n{}", rows(&|i| format!("{},{i}", 10 * i)))).0[..2], [0.0, 1.0]);
    // Missing rows are holes, a repeated time is left out, a column of words too.
    let (first, about) = shown(format!(
        "date,x,word\n{}",
        rows(&|i| format!(
            "2020-01-01 {:02}:{:02}:00,{i},w",
            (i + 2 * usize::from(i > 2)) / 60,
            (i + 2 * usize::from(i > 2)) % 60
        ))
    ));
    assert_eq!(first[..3], [0.0, 1.0, 2.0]);
    assert!(first[3].is_nan() && first[4].is_nan() && first[5] == 3.0);
    for note in ["2 rows that are missing by the clock became holes", "column `word` holds words"] {
        assert!(about.notes.iter().any(|found| found.contains(note)), "{note}: {:?}", about.notes);
    }
    let (_, about) =
        shown(format!("date,x\n{}", rows(&|i| format!("2020-01-01 00:{:02}:00,{i}", i - usize::from(i > 30)))));
    assert!(
        about.notes.iter().any(|note| note.contains("1 row is at the time of the row before")),
        "{:?}",
        about.notes
    );
    // Every word for a hole; a header in Latin-1.
    for (one, other) in [("?", "\"\""), ("NaN", "null"), ("NA", "n/a")] {
        let (first, _) = shown(format!("x\n{one}\n{other}\n{}", rows(&|i| i.to_string())));
        assert!(first[..2].iter().all(|value| value.is_nan()) && first[2..4] == [0.0, 1.0], "{one} {other}");
    }
    let path = write(&root, "l.csv", [b"W/m\xB2\n".to_vec(), rows(&|i| i.to_string()).into_bytes()].concat());
    assert!(open(&path).unwrap().describe().facts.iter().any(|(_, fact)| fact.contains("W/m²")));
    // A number that stands for a hole is told, and taken for one when that is said.
    let text = format!("x\n{}", rows(&|i| if i == 7 { "-9999".to_owned() } else { i.to_string() }));
    let path = write(&root, "s.csv", text);
    let notes = open(&path).unwrap().describe().notes;
    assert!(notes.iter().any(|note| note.contains("set `data.missing` to [-9999]")), "{notes:?}");
    let mut config = SeriesConfig { missing: vec![-9999.0], window: Auto::Value(10), ..of(&path) };
    let told = open_with(&mut config).unwrap();
    assert!(told.load(Part::Train, 0).unwrap().values[7].is_nan() && config.normalise.std[0] < 30.0);
}

#[test]
fn gzip_is_the_same_and_a_cut_one_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(table(600).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let (plain, gzip) = (write(&root, "a.csv", table(600)), write(&root, "b.csv.gz", &packed));
    let (plain, gzip) = (open(&plain).unwrap(), open(&gzip).unwrap());
    assert_eq!(plain.load(Part::Train, 5).unwrap(), gzip.load(Part::Train, 5).unwrap());
    refused(&write(&root, "c.csv.gz", &packed[..packed.len() / 2]), &["c.csv.gz", "truncated or damaged"]);
}

const TS: &str = "# made by hand\n@problemName Two\n@timestamps false\n@missing true\n@univariate false\n@dimensions 2\n\
    @equalLength false\n@classLabel true up down\n@data\n1,2,3,4,5:5,?,3,2,1:up\n3,2,1:1,2:down\n1,1,?,?:2,2,2,?:up\n";

#[test]
fn ts_of_unequal_lengths_and_holes() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "Two.ts", TS);
    let mut config = SeriesConfig { standardise: Standardise::None, ..of(&path) };
    let series = open_with(&mut config).unwrap();
    assert_eq!((config.steps, config.channels()), ((3, 5), 2));
    assert_eq!(series.factors()[0].classes, ["down", "up"]);
    let all: Vec<SeriesSample> = (0..3).map(|index| series.load(Part::Train, index).unwrap()).collect();
    assert_eq!(all[0].values[..3], [1.0, 5.0, 2.0]);
    assert!(all[0].known(1, 1).is_none() && all[0].known(4, 1) == Some(1.0));
    assert_eq!((all[1].steps(), all[1].known(2, 0), all[1].known(2, 1)), (3, Some(1.0), None));
    assert_eq!(all[2].steps(), 3, "what no channel knows at the end is no step");
    // Holes are no zeros on any scale.
    let scaled = open(&path).unwrap();
    assert!(scaled.load(Part::Train, 0).unwrap().known(1, 1).is_none());
    // With times, by numbers and by dates; a step without a value is a hole.
    for (a, b, c, d) in [
        ("0", "1", "2", "4"),
        ("2020-01-01 00:00:00", "2020-01-01 01:00:00", "2020-01-01 02:00:00", "2020-01-01 04:00:00"),
    ] {
        let text = format!(
            "@timestamps true\n@univariate true\n@classLabel true 1 2\n@data\n({a},1),({b},2),({c},?),({d},4):1\n({a},1),({b},1),({c},1),({d},9):2\n"
        );
        let mut config = SeriesConfig { standardise: Standardise::None, ..of(&write(&root, "Timed.ts", text)) };
        let timed = open_with(&mut config).unwrap().load(Part::Train, 0).unwrap();
        assert_eq!(
            (timed.steps(), timed.known(1, 0), timed.known(2, 0), timed.known(3, 0), timed.known(4, 0)),
            (5, Some(2.0), None, None, Some(4.0))
        );
    }
}

#[test]
fn ucr_files_and_their_companions() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "Gun_TRAIN.tsv", "2\t1.0\t2.0\t3.0\tNaN\n1.0000e+00\t1\tNaN\t3\t4\n10\t1\t1\t1\t1\n");
    write(&root, "Gun_TEST.tsv", "1\t0\t0\t0\t0\n2\t9\t9\t9\t9\n");
    for path in [root.path().join("Gun_TRAIN.tsv"), root.path().to_owned()] {
        let mut config = SeriesConfig { standardise: Standardise::None, ..of(&path) };
        let series = open_with(&mut config).unwrap();
        assert_eq!(PARTS.map(|part| series.len(part)), [Some(3), Some(2)]);
        assert_eq!(series.factors()[0].classes, ["1", "2", "10"]);
        let labels = |part, index| series.meta(part, index).unwrap().labels;
        assert_eq!(
            (labels(Part::Train, 1), labels(Part::Train, 2), labels(Part::HeldOut, 1)),
            (vec![0], vec![2], vec![1])
        );
        assert_eq!(series.load(Part::Train, 0).unwrap().steps(), 3, "an unequal tail is none of its steps");
        assert!(series.load(Part::Train, 1).unwrap().known(1, 0).is_none());
        assert!(Series::recognises(&path));
    }
    // Statistics of the training part alone.
    let mut config = of(root.path());
    open_with(&mut config).unwrap();
    assert!((config.normalise.mean[0] - 18.0 / 10.0).abs() < 1e-6, "{:?}", config.normalise);
    // Without a companion a fifth of each class is held out.
    let lines: Vec<String> = (0..50).map(|i| format!("{}\t{i}\t1\t2\t3", i % 2)).collect();
    let series = open(&write(&root, "Alone.tsv", lines.join("\n"))).unwrap();
    assert_eq!(PARTS.map(|part| series.len(part)), [Some(40), Some(10)]);
    let held_out: Vec<u32> = (0..10).map(|index| series.meta(Part::HeldOut, index).unwrap().labels[0]).collect();
    assert_eq!(held_out.iter().filter(|label| **label == 0).count(), 5);
}

#[test]
fn arrays_of_series() {
    let root = tempfile::tempdir().unwrap();
    let array = |shape: &[usize], values: &[f32]| {
        [write_header("<f4", shape), values.iter().flat_map(|value| value.to_le_bytes()).collect()].concat()
    };
    let numbers: Vec<f32> = (0..240).map(|i| i as f32).collect();
    let shape = |shape: &[usize]| {
        let mut config = SeriesConfig {
            standardise: Standardise::None,
            window: Auto::Value(20),
            ..of(&write(&root, "x.npy", array(shape, &numbers)))
        };
        let series = open_with(&mut config).unwrap();
        (series.len(Part::Train), values(&series.load(Part::Train, 0).unwrap()))
    };
    assert_eq!(shape(&[10, 24]).1[..2], [0.0, 1.0]);
    // Channels, then steps: a step of a sample is a value of each.
    assert_eq!(shape(&[10, 3, 8]).1[..4], [0.0, 8.0, 16.0, 1.0]);
    assert_eq!(shape(&[240]).0, Some(168 - 20 + 1));
    let mut unequal = numbers.clone();
    unequal[18..24].fill(f32::NAN);
    let series = open(&write(&root, "u.npy", array(&[10, 24], &unequal))).unwrap();
    assert_eq!(series.load(Part::Train, 0).map(|sample| sample.steps()).unwrap(), 18);
    for (shape, parts) in [
        (&[10, 24, 1, 1][..], &["[N, T]", "[10, 24, 1, 1]"][..]),
        (&[0, 24], &["holds no series"]),
        (&[24], &["24 in all", "each part needs 8", "a longer recording"]),
    ] {
        let count: usize = shape.iter().product();
        refused(&write(&root, "w.npy", array(shape, &numbers[..count])), parts);
    }
    refused(
        &write(&root, "i.npy", array(&[2, 3], &[0.0, f32::INFINITY, 0.0, 0.0, 0.0, 0.0])),
        &["value 1 is no finite number"],
    );
    refused(&write(&root, "n.npy", array(&[2, 3], &[f32::NAN; 6])), &["series 0", "nothing that is known"]);
    refused(&write(&root, "cut.npy", &array(&[10, 24], &numbers)[..500]), &["cut.npy", "does not fit"]);
}

#[test]
fn constant_series_are_finite_on_every_scale() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "c.tsv", "1\t3e8\t3e8\t3e8\t3e8\n2\t3e8\t3e8\t3e8\t3e8\n".repeat(10));
    for standardise in [Standardise::Training, Standardise::Each] {
        let mut config = SeriesConfig { standardise, ..of(&path) };
        let series = open_with(&mut config).unwrap();
        assert!(values(&series.load(Part::Train, 0).unwrap()).iter().all(|value| *value == 0.0), "{standardise}");
        assert!(series.baseline(&series.load(Part::Train, 0).unwrap()).iter().all(|value| *value == 0.0));
    }
}

/// Every way in which files are wrong is one sentence that names the file, the place and what to do.
#[test]
fn bad_files_are_refused_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let good = table(200);
    let replaced = |from: &str, to: &str| good.replacen(from, to, 1);
    for (name, text, parts) in [
        ("a.csv", String::new(), &["a.csv", "empty"][..]),
        ("b.csv", "date,x\n".into(), &["a header and no rows"]),
        ("c.csv", "date,x\n2020-01-01,1\n2020-01-02,1,3\n".into(), &["line 3 has 3 cells where the first line has 2"]),
        (
            "d.csv",
            replaced("2020-01-01 03:00:00", "2019-01-01 03:00:00"),
            &["time goes back at line 5", "sort the rows"],
        ),
        (
            "e.csv",
            replaced("2020-01-01 03:00:00", "yesterday"),
            &["line 5 holds `yesterday` in the time column `date`"],
        ),
        ("f.csv", replaced("5.0314", "five"), &["column `slow`: `five`", "a number was expected"]),
        ("g.csv", replaced("5.0314", "1e60"), &["`1e60`", "no finite number"]),
        ("h.csv", replaced("5.0314", "inf"), &["`inf`", "no finite number"]),
        ("i.csv", "date\n2020-01-01\n2020-01-02\n".into(), &["a time column and no other"]),
        ("j.csv", "a,b\nx,y\nz,w\n".into(), &["none of its columns holds numbers"]),
        ("k.csv", "x\n1\n2\n3\n".into(), &["3 in all", "a longer recording"]),
        ("l.tsv", "1\t1\t2\t3\n?\t1\t2\t3\n".into(), &["line 2 has no class"]),
        ("l0.tsv", "1\t1\t2\t3\n\t0.5\t2\t3\n".into(), &["line 2 has no class"]),
        ("us.csv", "date,a\n01/31/2020,1\n02/01/2020,2\n".into(), &["line 2", "with slashes the year comes first"]),
        ("m.tsv", "1\t1\t2\t3\n2\t1\ttwo\t3\n".into(), &["line 2", "`two`"]),
        ("n.tsv", "1\t1\t2\t3\n2\tNaN\tNaN\tNaN\n".into(), &["line 2: nothing of the series is known"]),
        ("o.ts", "@problemName x\n".into(), &["no line `@data`"]),
        ("p.ts", "@data\n".into(), &["no series behind `@data`"]),
        ("q.ts", "@classLabel true a\n@data\n1,2,3:b\n".into(), &["series 0", "its class `b` is none of those"]),
        (
            "r.ts",
            "@classLabel true a\n@univariate true\n@data\n1,2:1,2:a\n".into(),
            &["2 channels where 1 were expected"],
        ),
        ("s.ts", "@timestamps true\n@classLabel false\n@data\n(0,1),(0,2)\n".into(), &["time does not go on"]),
        ("t.ts", "@timestamps true\n@classLabel false\n@data\n(0,1),(1,2\n".into(), &["never closed"]),
        ("u.ts", "@timestamps maybe\n@data\n1,2\n".into(), &["line 1", "true or false"]),
        (
            "v.ts",
            "@equalLength true\n@seriesLength 4\n@univariate true\n@classLabel false\n@data\n1,2,3\n".into(),
            &["3 values where `@seriesLength` says 4"],
        ),
        ("w.ts", "#\nhello\n".into(), &["line 2", "before `@data`"]),
        ("x.ts", "@classLabel true a b\n@data\n1,2,3\n".into(), &["class"]),
        ("y.npz", "PK".into(), &["y.npz"]),
        ("z.npy", "hello".into(), &["no `.npy`"]),
        ("z.pdf", "%PDF".into(), &["expected a CSV", "`.ts`"]),
    ] {
        let path = write(&root, name, text);
        refused(&path, parts);
        says(&open(&path).map(|_| ()).unwrap_err().to_string(), &[name]);
    }
    refused(&root.path().join("nothing.csv"), &["there is nothing at"]);
    refused(root.path(), &["sets, such as"]);
    let empty = tempfile::tempdir().unwrap();
    refused(empty.path(), &["the folder holds no series"]);
    let path = write(&empty, "waves.csv", &good);
    for (config, parts) in [
        (SeriesConfig { window: Auto::Value(2), ..of(&path) }, &["`data.window` is 2"][..]),
        (
            SeriesConfig { window: Auto::Value(150), ..of(&path) },
            &["200 in all, 140 are to train on", "a shorter `data.window`"],
        ),
        (SeriesConfig { train: 0.95, ..of(&path) }, &["`data.validation`"]),
        (SeriesConfig { train: 0.0, ..of(&path) }, &["`data.train` is 0"]),
        (SeriesConfig { stride: 0, ..of(&path) }, &["`data.stride` is 0"]),
        (SeriesConfig { noise: -1.0, ..of(&path) }, &["`data.noise` is -1"]),
        (SeriesConfig { columns: vec!["quick".into()], ..of(&path) }, &["no column `quick`", "slow, fast, steady"]),
        (
            SeriesConfig { waves: WavesConfig { steps: 2, ..WavesConfig::default() }, ..SeriesConfig::default() },
            &["`data.waves.steps` is 2"],
        ),
    ] {
        says(&open_with(&mut config.clone()).map(|_| ()).unwrap_err().to_string(), parts);
    }
    // The two files of a set that do not belong together.
    write(&empty, "A_TRAIN.ts", "@classLabel false\n@data\n1,2,3\n");
    write(&empty, "A_TEST.ts", "@classLabel false\n@data\n1,2,3:4,5,6\n");
    refused(&empty.path().join("A_TRAIN.ts"), &["A_TEST.ts", "2 channels where those of"]);
}

#[test]
fn generated_series_have_their_factors_and_holes() {
    let mut config = SeriesConfig {
        waves: WavesConfig { train: 200, held_out: 50, ..WavesConfig::default() },
        ..SeriesConfig::default()
    };
    let series = open_with(&mut config).unwrap();
    assert_eq!(PARTS.map(|part| series.len(part)), [Some(200), Some(50)]);
    let names: Vec<&str> = series.factors().iter().map(|factor| factor.name.as_str()).collect();
    assert_eq!(names, ["trend", "season", "shape", "state"]);
    let samples: Vec<SeriesSample> = (0..200).map(|index| series.load(Part::Train, index).unwrap()).collect();
    assert_eq!(samples[3], series.load(Part::Train, 3).unwrap());
    assert_ne!(samples[3], series.load(Part::HeldOut, 3).unwrap());
    let holes = samples.iter().filter(|sample| sample.count() < sample.values.len()).count();
    assert!((50..=200).contains(&holes), "{holes}");
    let known: f64 = samples.iter().map(|sample| sample.count() as f64 / 320.0).sum::<f64>() / 200.0;
    assert!((0.96..0.995).contains(&known), "{known}");
    for (factor, about) in series.factors().iter().enumerate() {
        let found: std::collections::BTreeSet<u32> =
            (0..200).map(|index| series.meta(Part::Train, index).unwrap().labels[factor]).collect();
        assert_eq!(found.len(), about.classes.len(), "{}", about.name);
    }
    assert!(samples.iter().all(|sample| series.baseline(sample).iter().all(|value| value.is_finite())));
    assert!(series.picture(&samples[0]).is_some());
    // Noise is added where it is asked for, and to no hole.
    let noisy = open_with(&mut SeriesConfig { noise: 0.5, ..config.clone() }).unwrap();
    let (plain, noisy) = (&samples[0], noisy.load(Part::Train, 0).unwrap());
    assert_eq!(plain.count(), noisy.count());
    let off: Vec<f32> = plain.values.iter().zip(&*noisy.values).map(|(a, b)| b - a).filter(|x| !x.is_nan()).collect();
    let deviation = (off.iter().map(|x| x * x).sum::<f32>() / off.len() as f32).sqrt();
    assert!((0.4..0.6).contains(&deviation), "{deviation}");
}

#[test]
fn series_at_other_paths_are_prepared_as_a_run_learnt_them() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "waves.csv", table(600));
    let mut config = SeriesConfig { window: Auto::Value(100), ..of(&path) };
    let series = open_with(&mut config).unwrap();
    let others = Series::of_paths(&config, std::slice::from_ref(&path)).unwrap();
    assert_eq!(others.len(Part::Train), Some(6 * 3));
    let slow = series.training(1)[0].cut(0..100);
    assert_eq!(others.load(Part::Train, 0).unwrap(), slow);
    let ts = write(&root, "Two.ts", TS);
    let mut config = of(&ts);
    open_with(&mut config).unwrap();
    assert_eq!(Series::of_paths(&config, std::slice::from_ref(&ts)).unwrap().len(Part::Train), Some(3));
    let error = Series::of_paths(&config, &[write(&root, "one.tsv", "1\t1\t2\t3\n")]).map(|_| ()).unwrap_err();
    says(&error.to_string(), &["1 channels, and the network was made for 2"]);
}

#[test]
fn columns_are_known_by_their_names_wherever_they_stand() {
    let root = tempfile::tempdir().unwrap();
    let good = table(600);
    let path = write(&root, "waves.csv", &good);
    let mut config = SeriesConfig { window: Auto::Value(100), ..of(&path) };
    open_with(&mut config).unwrap();
    assert_eq!(config.measured, ["slow", "fast", "steady"]);
    let turned = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        format!("{},{},{},{}\n", cells[0], cells[2], cells[3], cells[1])
    };
    let turned = write(&root, "turned.csv", good.lines().map(turned).collect::<String>());
    let [straight, turned] = [path, turned].map(|path| Series::of_paths(&config, &[path]).unwrap());
    for index in 0..18 {
        let [a, b] = [&straight, &turned].map(|series| values(&series.load(Part::Train, index).unwrap()));
        assert_eq!(a, b, "{index}");
    }
    // Other names are of other things.
    let renamed = write(&root, "renamed.csv", good.replace("slow,fast", "height,width"));
    let error = Series::of_paths(&config, std::slice::from_ref(&renamed)).map(|_| ()).unwrap_err();
    says(&error.to_string(), &["height, width, steady", "learnt from slow, fast, steady", "train on this table"]);
    // A table to train or be judged on has a part to measure its own scale on.
    let mut elsewhere = Series::elsewhere(&config, &renamed.display().to_string());
    open_with(&mut elsewhere).unwrap();
    assert_eq!(elsewhere.measured, ["height", "width", "steady"]);
    let twice = SeriesConfig { columns: vec!["slow".into(), "slow".into()], ..of(&renamed) };
    let twice = SeriesConfig { path: root.path().join("waves.csv").display().to_string(), ..twice };
    says(&open_with(&mut twice.clone()).map(|_| ()).unwrap_err().to_string(), &["data.columns", "`slow` twice"]);
}

#[test]
fn an_npz_is_taken_for_what_its_shapes_are() {
    let root = tempfile::tempdir().unwrap();
    let npz = |name: &str, key: &str, shape: &[usize]| {
        let path = root.path().join(name);
        let mut zip = StoredZip::new(fs::File::create(&path).unwrap());
        let bytes = [write_header("|u1", shape), vec![7; shape.iter().product()]].concat();
        let mut member = zip.member(&format!("{key}.npy"), bytes.len() as u64).unwrap();
        member.write_all(&bytes).unwrap();
        member.end().unwrap();
        zip.finish().unwrap();
        path
    };
    let taken = |path: &Path| (Series::recognises(path), Images::recognises(path));
    assert_eq!(taken(&npz("series.npz", "x_train", &[20, 60])), (true, false));
    assert_eq!(taken(&npz("named.npz", "series", &[20, 60])), (true, false));
    assert_eq!(taken(&npz("images.npz", "x_train", &[20, 8, 8, 3])), (false, true));
    assert_eq!(taken(&npz("medical.npz", "train_images", &[20, 8, 8])), (false, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Files with some bytes changed, cut or repeated: read or refused in a sentence, never a panic.
    #[test]
    fn mutated_files_are_read_or_refused(
        kind in 0..5_usize,
        edits in proptest::collection::vec((0..4_u8, any::<u16>(), any::<u8>()), 1..6),
    ) {
        let root = tempfile::tempdir().unwrap();
        let (name, mut bytes) = match kind {
            0 => ("t.csv", table(60).into_bytes()),
            1 => ("t.ts", TS.as_bytes().to_vec()),
            2 => ("t.tsv", b"1\t1.5\t-2e3\t3\tNaN\n2\t1\tNaN\t3\t4\n".repeat(4)),
            3 => ("t.npy", [write_header("<f4", &[4, 5]), vec![63; 80]].concat()),
            _ => ("u.ts", b"@timestamps true\n@classLabel true 1\n@data\n(0,1),(1,2),(2,?),(4,4):1\n(2020-01-01,1),(2020-01-02,3):1\n".to_vec()),
        };
        for (edit, at, byte) in edits {
            let at = at as usize % bytes.len().max(1);
            match edit {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at.min(bytes.len()), b"\n,;\t:()?-.@#0e\"N"[byte as usize % 16]),
                _ => { let tail = bytes[at.min(bytes.len())..].to_vec(); bytes.extend(tail); }
            }
            bytes.truncate(1 << 16);
        }
        let path = root.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let _ = Series::recognises(&path);
        let mut config = SeriesConfig { window: Auto::Value(8), ..of(&path) };
        match open_with(&mut config) {
            Ok(series) => {
                for index in 0..series.len(Part::Train).unwrap().min(3) {
                    let sample = series.load(Part::Train, index).unwrap();
                    prop_assert!(!sample.values.iter().any(|value| value.is_infinite()));
                    prop_assert!(series.baseline(&sample).iter().all(|value| value.is_finite()));
                    prop_assert!(series.picture(&sample).is_some());
                }
                _ = series.stretches(Part::HeldOut, 8, 2, 4);
            }
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error),
        }
        let _ = Series::of_paths(&SeriesConfig::default(), &[path]);
    }
}
