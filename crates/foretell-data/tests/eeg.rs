//! Recordings of EEG: what is read of each format, what is refused and in which words, and that nothing that is cut, empty or changed at
//! random does more than be refused.

#[path = "made/edf.rs"]
mod edf_file;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edf_file::{Form, Made, edf, made, seconds, wave};
use foretell_data::eeg::{Eeg, EegConfig, EegSample, Volts};
use foretell_data::{Auto, DataError, Description, Modality, OnBadSample, Opening, Part};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A BrainVision recording of two electrodes, in µV by halves.
fn brainvision(folder: &Path, name: &str, change: impl Fn(String) -> String, numbers: &[u8], markers: &str) -> PathBuf {
    let header = format!(
        "Brain Vision Data Exchange Header File Version 1.0\n; made for a test\n\n[Common Infos]\nCodepage=UTF-8\nDataFile={name}.eeg\nMarkerFile={name}.vmrk\nDataFormat=BINARY\n\
         DataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval=4000\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n[Channel Infos]\nCh1=Fp1,,0.5,µV\nCh2=T4,,0.0005,mV\n"
    );
    let path = folder.join(format!("{name}.vhdr"));
    fs::write(&path, change(header)).unwrap();
    fs::write(folder.join(format!("{name}.eeg")), numbers).unwrap();
    fs::write(
        folder.join(format!("{name}.vmrk")),
        format!("Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n{markers}"),
    )
    .unwrap();
    path
}

fn int16(seconds: usize) -> Vec<u8> {
    wave(10.0, 250, seconds, 200.0).into_iter().flat_map(|x| [x as i16, x as i16]).flat_map(i16::to_le_bytes).collect()
}

fn config(path: &Path) -> EegConfig {
    EegConfig { path: path.display().to_string(), seconds: 2.0, ..EegConfig::default() }
}

fn opened(config: &EegConfig) -> Result<Eeg, DataError> {
    let mut config = config.clone();
    let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
    Eeg::open(&mut config, &mut opening)
}

fn described(config: &EegConfig) -> Description {
    opened(config).unwrap().describe()
}

#[track_caller]
fn refused(config: &EegConfig, words: &[&str]) {
    let error = opened(config).map(|_| ()).expect_err("refused").to_string();
    assert_eq!(error.lines().count(), 1, "one sentence: {error}");
    for word in words {
        assert!(error.contains(word), "{word} in: {error}");
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// The largest value of each electrode in µV.
fn peaks(eeg: &Eeg, sample: &EegSample) -> Vec<f32> {
    let unit = eeg.config().scale as f32;
    sample
        .values
        .chunks_exact(sample.samples)
        .map(|x| unit * x.iter().fold(0.0, |most: f32, x| most.max(x.abs())))
        .collect()
}

#[test]
fn each_signal_has_its_own_unit_and_its_own_rate() {
    let folder = tempfile::tempdir().unwrap();
    let signals = [
        made("EEG Fp1-REF", "uV", 256, 20),
        made("T3", "mV", 200, 20),
        made("O1..", "nV", 128, 20),
        made("Cz", "V", 250, 20),
        made("EOG left", "uV", 100, 20),
        made("Pz", "µV", 512, 20),
    ];
    for bdf in [false, true] {
        let form = Form { bdf, reserved: if bdf { "" } else { "EDF+C" }, ..Form::default() };
        let mut signals = signals.to_vec();
        if bdf {
            // 24 bits: 256 steps where 16 have one.
            for x in signals.iter_mut().flat_map(|made| &mut made.numbers) {
                *x *= 256;
            }
            signals.push(Made { label: "Status", unit: "Boolean", ..made("Status", "", 256, 20) });
        }
        let path = put(folder.path(), "a.edf", &edf(form, &signals, &seconds(20), &[]));
        let eeg = opened(&config(&path)).unwrap();
        assert_eq!(eeg.config().channels, ["Fp1", "T7", "O1", "Cz", "Pz"]);
        assert!(
            (60.0..80.0).contains(&eeg.config().scale),
            "a wave of 100 µV has a deviation of 71: {}",
            eeg.config().scale
        );
        let sample = eeg.load(Part::Train, 1).unwrap();
        assert_eq!((sample.channels(), sample.samples), (5, 256));
        for (name, peak) in eeg.config().channels.iter().zip(peaks(&eeg, &sample)) {
            assert!((peak - 100.0).abs() < 2.0, "{name} by its unit: {peak}");
        }
        // Each at its own rate: the same wave at the same time in all of them.
        let first = &sample.values[..256];
        for other in sample.values.chunks_exact(256).skip(1) {
            let off = first.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 0.05, "{off}");
        }
        let described = eeg.describe();
        let left_out = described.notes.iter().find(|note| note.contains("left out")).unwrap();
        assert!(left_out.contains("`EOG left`") && !left_out.contains("Annotations"), "{left_out}");
        assert_eq!(described.format, if bdf { "BDF" } else { "EDF+" });
    }
}

/// A reader that closes the gap has ten seconds in one piece, and an event that lies where there is nothing.
#[test]
fn windows_do_not_reach_across_gaps_and_events_keep_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let starts: Vec<f64> = seconds(5).into_iter().chain((0..5).map(|i| 60.0 + i as f64)).collect();
    let signals = [made("Fp1", "uV", 128, 10), made("Fp2", "uV", 128, 10)];
    let form = Form { reserved: "EDF+D", ..Form::default() };
    let annotations = [(0, "+0\u{15}5\u{14}rest\u{14}"), (5, "+60\u{15}4.5\u{14}task\u{14}")];
    let path = put(folder.path(), "gaps.edf", &edf(form, &signals, &starts, &annotations));
    let eeg = opened(&config(&path)).unwrap();
    let names: Vec<String> = [Part::Train, Part::HeldOut]
        .into_iter()
        .flat_map(|part| (0..eeg.len(part).unwrap()).map(move |i| (part, i)))
        .map(|(part, i)| eeg.meta(part, i).unwrap().name)
        .collect();
    // Two windows of two seconds in each stretch of five.
    assert_eq!(names, ["gaps.edf 0s", "gaps.edf 2s", "gaps.edf 60s", "gaps.edf 62s"]);
    assert_eq!(eeg.factors()[0].classes, ["rest", "task"]);
    let label = |part, i| eeg.factors()[0].classes[eeg.meta(part, i).unwrap().labels[0] as usize].clone();
    assert_eq!([label(Part::Train, 0), label(Part::Train, 2), label(Part::HeldOut, 0)], ["rest", "task", "task"]);
    assert!(eeg.describe().notes.iter().any(|note| note.contains("1 gaps")));
    let long = EegConfig { seconds: 6.0, ..config(&path) };
    refused(&long, &["5.000 seconds", "without a gap", "data.seconds"]);
}

#[test]
fn what_a_file_names_no_unit_for_is_told_by_what_a_head_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let volts = Made { unit: "", ..made("Fp1", "V", 128, 20) };
    let micro = Made { unit: "", ..made("Fp1", "uV", 128, 20) };
    for (made, unit) in [(volts, "V"), (micro.clone(), "uV")] {
        let signals = [made.clone(), Made { label: "Fp2", ..made }];
        let path = put(folder.path(), "none.edf", &edf(Form::default(), &signals, &seconds(20), &[]));
        let eeg = opened(&config(&path)).unwrap();
        let sample = eeg.load(Part::Train, 0).unwrap();
        assert!(peaks(&eeg, &sample).iter().all(|peak| (peak - 100.0).abs() < 2.0));
        let notes = eeg.describe().notes;
        assert!(notes.iter().any(|note| note.contains(&format!("taken as {unit}, since a deviation is"))), "{notes:?}");
    }
    // In no unit that of a head.
    let odd = Made { physical: ("-1e-9", "1e-9"), ..micro.clone() };
    let signals = [odd.clone(), Made { label: "Fp2", ..odd }];
    let path = put(folder.path(), "odd.edf", &edf(Form::default(), &signals, &seconds(20), &[]));
    refused(&config(&path), &["have no unit", "deviation of 2.", "data.unit"]);
    // A unit that cannot be right, and what to do.
    let wrong = Made { unit: "V", ..micro };
    let signals = [wrong.clone(), Made { label: "Fp2", ..wrong }];
    let path = put(folder.path(), "wrong.edf", &edf(Form::default(), &signals, &seconds(20), &[]));
    refused(&config(&path), &["deviation of 7.0", "by the unit `V`", "(in uV it would be one)", "data.unit"]);
    let set = EegConfig { unit: Auto::Value(Volts::Micro), ..config(&path) };
    assert!((60.0..80.0).contains(&opened(&set).unwrap().config().scale));
}

#[test]
fn a_physical_maximum_below_the_minimum_turns_a_signal_over() {
    let folder = tempfile::tempdir().unwrap();
    let up = made("Fp1", "uV", 128, 20);
    let down = Made { label: "Fp2", physical: ("3276.8", "-3276.7"), ..up.clone() };
    let path = put(folder.path(), "flip.edf", &edf(Form::default(), &[up, down], &seconds(20), &[]));
    let sample = opened(&config(&path)).unwrap().load(Part::Train, 0).unwrap();
    let (up, down) = sample.values.split_at(256);
    assert!(up.iter().zip(down).all(|(a, b)| (a + b).abs() < 0.02));
}

#[test]
fn brainvision_is_read_by_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let markers = "Mk1=New Segment,,1,1,0,20200101120000000000\nMk2=Comment,rest,1,2500,0\nMk3=New Segment,,1876,1,0\nMk4=Stimulus,S  1,2000,1,0\n";
    let path = brainvision(folder.path(), "a", |header| header, &int16(20), markers);
    for path in [path.clone(), path.with_extension("eeg"), path.with_extension("vmrk")] {
        assert!(Eeg::recognises(&path));
        let eeg = opened(&config(&path)).unwrap();
        assert_eq!(eeg.config().channels, ["Fp1", "T8"]);
        let sample = eeg.load(Part::Train, 0).unwrap();
        for peak in peaks(&eeg, &sample) {
            assert!((peak - 100.0).abs() < 2.0, "{peak}");
        }
        // The second stretch begins at sample 1876, which is 7.5 seconds: 3 and 6 windows of two.
        assert_eq!(eeg.len(Part::Train).unwrap() + eeg.len(Part::HeldOut).unwrap(), 9);
    }
    let vectorized = |header: String| header.replace("MULTIPLEXED", "VECTORIZED").replace("INT_16", "IEEE_FLOAT_32");
    let one: Vec<u8> = wave(10.0, 250, 20, 200.0).into_iter().flat_map(|x| (x as f32).to_le_bytes()).collect();
    let path = brainvision(folder.path(), "b", vectorized, &[one.clone(), one].concat(), "");
    let eeg = opened(&config(&path)).unwrap();
    let sample = eeg.load(Part::HeldOut, 0).unwrap();
    assert!(peaks(&eeg, &sample).iter().all(|peak| (peak - 100.0).abs() < 2.0));
    let big = |header: String| header.replace("BinaryFormat", "UseBigEndianOrder=YES\nBinaryFormat");
    let swapped: Vec<u8> = int16(20).chunks_exact(2).flat_map(|two| [two[1], two[0]]).collect();
    let path = brainvision(folder.path(), "c", big, &swapped, "");
    assert!(
        peaks(&opened(&config(&path)).unwrap(), &opened(&config(&path)).unwrap().load(Part::Train, 0).unwrap())
            .iter()
            .all(|peak| (peak - 100.0).abs() < 2.0)
    );
}

/// What edfio, pyedflib, pybv and mne write (`bench/peers/eeg_files.py`): 50 µV of 10 Hz and 25 µV of 20 Hz, half of it rest.
#[test]
fn files_of_other_programs_are_what_was_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/eeg");
    for (name, format) in
        [("edfio.edf", "EDF+"), ("pyedflib.bdf", "BDF+"), ("pybv.vhdr", "BrainVision"), ("mne.edf", "EDF+")]
    {
        let eeg = opened(&config(&folder.join(name))).unwrap();
        assert_eq!(
            (eeg.describe().format.as_str(), eeg.config().channels.join(" ").as_str()),
            (format, "Fp1 T8"),
            "{name}"
        );
        assert_eq!(eeg.factors()[0].classes, ["rest", "task"], "{name}");
        for index in 0..5 {
            let sample = eeg.load(Part::Train, index).unwrap();
            let peaks = peaks(&eeg, &sample);
            assert!((peaks[0] - 50.0).abs() < 1.0 && (peaks[1] - 25.0).abs() < 0.6, "{name}: {peaks:?}");
            // A wave of 10 Hz that was at 0 when the recording began, at the new rate.
            let wave =
                |i: usize| (std::f32::consts::TAU * 10.0 * i as f32 / 128.0).sin() * 50.0 / eeg.config().scale as f32;
            let off = sample.values[..256].iter().enumerate().map(|(i, x)| (x - wave(i)).abs()).fold(0.0, f32::max);
            assert!(off < 0.05, "{name}, window {index}: {off}");
            assert_eq!(eeg.meta(Part::Train, index).unwrap().labels, [u32::from(index >= 3)], "{name}");
        }
    }
}

#[test]
fn subjects_are_held_out_whole() {
    let folder = tempfile::tempdir().unwrap();
    let signals = [made("Fp1", "uV", 128, 20), made("Fp2", "uV", 128, 20)];
    let bytes = edf(Form::default(), &signals, &seconds(20), &[]);
    for subject in 0..10 {
        for run in 1..3 {
            put(folder.path(), &format!("sub-{subject:02}/eeg/sub-{subject:02}_task-t{run}_eeg.edf"), &bytes);
        }
    }
    let eeg = opened(&EegConfig { label: "task-([a-z0-9]+)".to_owned(), ..config(folder.path()) }).unwrap();
    let groups = |part| -> std::collections::BTreeSet<u32> {
        (0..eeg.len(part).unwrap()).map(|i| eeg.meta(part, i).unwrap().group.unwrap()).collect()
    };
    let (train, held_out) = (groups(Part::Train), groups(Part::HeldOut));
    assert_eq!((train.len(), held_out.len()), (8, 2));
    assert!(train.is_disjoint(&held_out));
    assert!(eeg.describe().split.contains("2 of 10 subjects"));
    assert_eq!(eeg.factors()[0].classes, ["t1", "t2"]);
    assert!(eeg.meta(Part::Train, 0).unwrap().whole().is_none(), "windows are samples of their own");

    // Another file in it, another set.
    let mut config = eeg.config().clone();
    put(folder.path(), "sub-11/eeg/sub-11_task-t1_eeg.edf", &bytes);
    refused(&config, &["added, removed"]);
    config.fingerprint.clear();
    assert!(opened(&config).is_ok());
    // One electrode that is missing in one recording is left out everywhere.
    put(folder.path(), "sub-12/eeg/sub-12_task-t1_eeg.edf", &edf(Form::default(), &signals[..1], &seconds(20), &[]));
    config.channels.clear();
    refused(&config, &["1 of the electrodes is in all", "data.channels"]);
    // Where those that were held out are too short for a window, others are.
    let brief = edf(Form::default(), &[made("Fp1", "uV", 128, 1), made("Fp2", "uV", 128, 1)], &seconds(1), &[]);
    let other = tempfile::tempdir().unwrap();
    for subject in 0..10 {
        let bytes = if held_out.contains(&subject) { &brief } else { &bytes };
        put(other.path(), &format!("sub-{subject:02}/eeg/sub-{subject:02}_task-t1_eeg.edf"), bytes);
    }
    let split = described(&self::config(other.path()));
    assert!(split.held_out > 0 && split.split.contains("1 of 8 subjects"), "{}", split.split);
    // Samples elsewhere, prepared alike.
    let one = folder.path().join("sub-00/eeg/sub-00_task-t1_eeg.edf");
    let there = Eeg::of_paths(eeg.config(), &[one]).unwrap();
    assert_eq!(there.len(Part::Train), Some(10));
    assert_eq!(there.config().scale, eeg.config().scale);
}

#[test]
fn settings_that_cannot_be_are_refused_by_their_keys() {
    let base = EegConfig::default();
    for (config, word) in [
        (EegConfig { seconds: 0.0, ..base.clone() }, "`data.seconds`"),
        (EegConfig { seconds: f64::NAN, ..base.clone() }, "`data.seconds`"),
        (EegConfig { step: -1.0, ..base.clone() }, "`data.step`"),
        (EegConfig { rate: 3, ..base.clone() }, "`data.rate`"),
        (EegConfig { band: (50.0, 40.0), ..base.clone() }, "`data.band`"),
        (EegConfig { band: (0.5, 70.0), ..base.clone() }, "`data.band`"),
        (EegConfig { channels: vec!["Fp1".into(), "nose".into()], ..base.clone() }, "`data.channels`"),
        (EegConfig { channels: vec!["T3".into(), "T7".into()], ..base.clone() }, "`data.channels`"),
        (EegConfig { scale: f64::INFINITY, ..base.clone() }, "`data.scale`"),
    ] {
        refused(&config, &[word]);
    }
    let folder = tempfile::tempdir().unwrap();
    let signals = [made("Fp1", "uV", 128, 20), made("Fp2", "uV", 128, 20)];
    let path = put(folder.path(), "a.edf", &edf(Form::default(), &signals, &seconds(20), &[]));
    refused(&EegConfig { group: "(".into(), ..config(&path) }, &["`data.group`", "regular expression"]);
    refused(&EegConfig { group: "sub-([0-9]+)".into(), ..config(&path) }, &["`data.group`", "`a.edf`"]);
    refused(&EegConfig { label: "task-(.)".into(), ..config(&path) }, &["`data.label`", "`a.edf`"]);
    refused(&EegConfig { label: "annotations".into(), ..config(&path) }, &["`data.label`", "1 kinds"]);
    refused(&EegConfig { channels: vec!["Fp1".into(), "Oz".into()], ..config(&path) }, &["no electrode Oz", "`Fp2`"]);
}

#[test]
fn cut_empty_and_mislabelled_edf_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let signals = [made("Fp1", "uV", 128, 20), made("Fp2", "uV", 128, 20)];
    let whole = edf(Form { reserved: "EDF+C", ..Form::default() }, &signals, &seconds(20), &[]);
    let put = |bytes: &[u8]| config(&put(folder.path(), "a.edf", bytes));
    refused(&put(&[]), &["it is empty", "expected EDF"]);
    refused(&put(&whole[..100]), &["ends after 100 bytes", "was cut"]);
    refused(&put(&whole[..500]), &["ends after 500 bytes", "1024"]);
    refused(&put(&whole[..whole.len() - 700]), &["18 of the 20 records", "was cut"]);
    refused(&put(&whole[..1024]), &["0 of the 20 records"]);
    refused(&put(b"not a recording at all"), &["begins with `not a record", "expected EDF"]);
    refused(&put(b"\x89PNG\r\n\x1a\n and so on"), &["begins with"]);
    refused(&put(b"<!DOCTYPE html><html>"), &["web page"]);
    let with = |form: Form| edf(form, &signals, &seconds(20), &[]);
    refused(&put(&with(Form { records: Some("-7"), ..Form::default() })), &["-7 records"]);
    refused(&put(&with(Form { records: Some("many"), ..Form::default() })), &["`many`", "number of records"]);
    refused(&put(&with(Form { duration: Some("0"), ..Form::default() })), &["0 seconds"]);
    refused(&put(&with(Form { duration: Some("soon"), ..Form::default() })), &["`soon`"]);
    // Still being recorded: the length says how many.
    let open = put(&with(Form { records: Some("-1"), ..Form::default() }));
    assert!(described(&open).notes.iter().any(|note| note.contains("its length says 20")));
    // Gaps without the times of records.
    let mut lost = with(Form { reserved: "EDF+D", ..Form::default() });
    let record = lost.len() - 2 * 40;
    lost[record..].fill(0);
    refused(&put(&lost), &["record 19", "does not tell when it begins"]);
    let mut head = whole.clone();
    head[252..256].copy_from_slice(b"0   ");
    refused(&put(&head), &["0 signals"]);
    head[252..256].copy_from_slice(b"7   ");
    refused(&put(&head), &["1024 bytes long", "2048"]);
    // Nothing to learn from.
    refused(&put(&edf(Form { reserved: "EDF+C", ..Form::default() }, &[], &seconds(3), &[])), &["annotations alone"]);
    let pairs = [made("Fp1-F7", "uV", 128, 20), made("EEG Fpz-Cz", "uV", 128, 20)];
    refused(&put(&edf(Form::default(), &pairs, &seconds(20), &[])), &["differences of two electrodes", "`Fp1-F7`"]);
    let others = [made("ECG", "uV", 128, 20), made("EMG", "uV", 128, 20)];
    refused(&put(&edf(Form::default(), &others, &seconds(20), &[])), &["10–10 system", "`ECG`"]);
    let twice = [made("T3", "uV", 128, 20), made("T7", "uV", 128, 20)];
    refused(&put(&edf(Form::default(), &twice, &seconds(20), &[])), &["`T3` and `T7`", "both the electrode T7"]);
    let flat = Made { physical: ("0", "0"), ..made("Fp1", "uV", 128, 20) };
    refused(&put(&edf(Form::default(), &[flat], &seconds(20), &[])), &["`Fp1`", "gives no scale"]);
    let short = edf(Form::default(), &signals, &seconds(1), &[]);
    refused(&put(&short), &["1.000 seconds", "data.seconds"]);

    refused(&config(&folder.path().join("nothing.edf")), &["nothing at"]);
    let empty = tempfile::tempdir().unwrap();
    refused(&config(empty.path()), &["none of the 0 files", ".edf"]);
    for (name, word) in [("a.set", "EEGLAB"), ("a.fif", "FIF"), ("a.gdf", "GDF")] {
        let path = empty.path().join(name);
        fs::write(&path, b"whatever it is").unwrap();
        refused(&config(&path), &[word, "not read", "mne"]);
    }
}

#[test]
fn recordings_that_cannot_be_opened_are_passed_over_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let whole = edf(Form::default(), &[made("Fp1", "uV", 128, 20), made("Fp2", "uV", 128, 20)], &seconds(20), &[]);
    for name in ["sub-1.edf", "sub-2.edf"] {
        put(folder.path(), name, &whole);
    }
    put(folder.path(), "sub-3.edf", &whole[..900]);
    refused(&config(folder.path()), &["sub-3.edf", "was cut"]);
    let skip = EegConfig { on_bad_sample: OnBadSample::Skip, ..config(folder.path()) };
    let said = described(&skip);
    assert_eq!(said.train + said.held_out, 20);
    let told = |notes: &[String]| notes.iter().filter(|note| note.contains("`sub-3.edf` is left out")).count();
    assert_eq!(told(&said.notes), 1, "{:?}", said.notes);
    // Of other paths likewise.
    let mut resolved = skip.clone();
    Eeg::open(&mut resolved, &mut Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() }).unwrap();
    let paths = ["sub-1.edf", "sub-3.edf"].map(|name| folder.path().join(name));
    let others = Eeg::of_paths(&resolved, &paths).unwrap();
    assert_eq!((others.len(Part::Train), told(&others.cautions())), (Some(10), 1));
    assert!(Eeg::of_paths(&EegConfig { on_bad_sample: OnBadSample::Fail, ..resolved }, &paths).is_err());
    fs::remove_file(folder.path().join("sub-1.edf")).unwrap();
    fs::remove_file(folder.path().join("sub-2.edf")).unwrap();
    refused(&skip, &["sub-3.edf", "was cut"]);
}

#[test]
fn cut_empty_and_mislabelled_brainvision_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let with = |from: &str, to: &str| {
        let path =
            brainvision(folder.path(), "a", |header| header.replace(from, to), &int16(20), "Mk1=New Segment,,1,1,0\n");
        config(&path)
    };
    refused(&with("DataFile=a.eeg", "DataFile=b.eeg"), &["b.eeg", "no such file"]);
    refused(&with("DataFile=a.eeg\n", ""), &["no `DataFile`"]);
    refused(&with("BINARY", "ASCII"), &["ASCII", "binary"]);
    refused(&with("INT_16", "INT_12"), &["`INT_12`", "expected INT_16"]);
    refused(&with("MULTIPLEXED", "SOMEHOW"), &["`SOMEHOW`"]);
    refused(&with("NumberOfChannels=2", "NumberOfChannels=two"), &["`two`"]);
    refused(&with("NumberOfChannels=2", "NumberOfChannels=3"), &["multiple of 6"]);
    // A list of more channels than are counted: samples would be taken for those of others.
    refused(&with("NumberOfChannels=2", "NumberOfChannels=1"), &["`NumberOfChannels` is 1", "a line `Ch2=`"]);
    refused(&with("Ch2=", "Ch7="), &["no line `Ch2=`"]);
    refused(&with("SamplingInterval=4000", "SamplingInterval=0"), &["`SamplingInterval` is `0`"]);
    let path = brainvision(folder.path(), "a", |header| header, &int16(20)[..1001], "");
    refused(&config(&path), &["1001 bytes", "multiple of 4"]);
    let path = brainvision(folder.path(), "a", |header| header, &[], "");
    refused(&config(&path), &["it is empty"]);
    let path = brainvision(folder.path(), "a", |header| header, &int16(20), "Mk1=Stimulus,S1,soon,1,0\n");
    refused(&config(&path), &["`mk1`", "`soon`"]);
    fs::remove_file(path.with_extension("vmrk")).unwrap();
    let notes = described(&config(&path)).notes;
    assert!(notes.iter().any(|note| note.contains("markers should lie in")), "{notes:?}");
}

/// A float that is no number lies in one window alone.
#[test]
fn values_that_are_no_numbers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let change = |header: String| header.replace("INT_16", "IEEE_FLOAT_32");
    let mut numbers: Vec<u8> =
        wave(10.0, 250, 20, 200.0).into_iter().flat_map(|x| [x as f32; 2]).flat_map(f32::to_le_bytes).collect();
    let at = 8 * 250 * 17;
    numbers[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let path = brainvision(folder.path(), "nan", change, &numbers, "");
    let error = opened(&config(&path)).and_then(|eeg| {
        for part in [Part::Train, Part::HeldOut] {
            (0..eeg.len(part).unwrap_or(0)).try_for_each(|i| eeg.load(part, i).map(|_| ()))?;
        }
        Ok(())
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`Fp1`") && error.contains("NaN"), "{error}");
}

/// Files that are damaged, or as many as `FORETELL_DAMAGE_CASES` says.
fn cases(usual: usize) -> usize {
    std::env::var("FORETELL_DAMAGE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// Whatever is done to a file, it is read or refused in a sentence.
#[test]
fn damaged_recordings_are_read_or_refused() {
    let each = cases(700);
    let folder = tempfile::tempdir().unwrap();
    let signals = [made("Fp1", "uV", 32, 6), made("EEG T3-REF", "mV", 16, 6), made("Oz", "", 32, 6)];
    let times: Vec<f64> = vec![0.0, 1.0, 2.0, 9.0, 10.0, 11.0];
    let annotations = [(1, "+1\u{15}2\u{14}closed\u{14}")];
    let plus = edf(Form { reserved: "EDF+D", ..Form::default() }, &signals, &times, &annotations);
    let mut wide = signals.to_vec();
    for x in wide.iter_mut().flat_map(|made| &mut made.numbers) {
        *x *= 256;
    }
    let bdf = edf(Form { bdf: true, ..Form::default() }, &wide, &times, &[]);
    let header = fs::read(brainvision(
        folder.path(),
        "v",
        |header| header,
        &int16(6),
        "Mk1=New Segment,,1,1,0\nMk2=Comment,rest,200,600,0\n",
    ))
    .unwrap();
    let markers = fs::read(folder.path().join("v.vmrk")).unwrap();
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    let (mut read, mut refused) = (0, 0);
    for (name, bytes) in [("m.edf", &plus), ("m.bdf", &bdf), ("v.vhdr", &header), ("v.vmrk", &markers)] {
        for turn in 0..each {
            let mut changed = bytes.clone();
            match turn % 4 {
                0 => changed.truncate(rng.random_range(0..bytes.len())),
                1 => {
                    let (at, digit) = (rng.random_range(0..bytes.len().min(1_500)), rng.random_range(0..10_u8));
                    changed[at] = b'0' + digit;
                }
                2 => {
                    let from = rng.random_range(0..bytes.len());
                    let to = (from + rng.random_range(1..40)).min(bytes.len());
                    changed.drain(from..to);
                }
                _ => {
                    for _ in 0..rng.random_range(1..30) {
                        let at = rng.random_range(0..bytes.len());
                        changed[at] = rng.random();
                    }
                }
            }
            fs::write(folder.path().join(name), &changed).unwrap();
            let path = if name == "v.vmrk" { "v.vhdr" } else { name };
            let config = EegConfig { rate: 32, band: (0.5, 14.0), seconds: 1.0, ..config(&folder.path().join(path)) };
            match opened(&config) {
                Ok(eeg) => {
                    read += 1;
                    for part in [Part::Train, Part::HeldOut] {
                        for i in 0..eeg.len(part).unwrap().min(3) {
                            assert!(!eeg.meta(part, i).unwrap().name.is_empty());
                            if let Ok(sample) = eeg.load(part, i) {
                                assert!(sample.values.iter().all(|x| x.is_finite()));
                            }
                        }
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.to_string().lines().count(), 1, "{error}");
                }
            }
        }
        fs::write(folder.path().join("v.vhdr"), &header).unwrap();
    }
    assert!(read > each / 2 && refused > each / 2, "{read} read, {refused} refused");
}

#[test]
fn generated_recordings_need_no_file_and_are_drawn() {
    let mut config = EegConfig::default();
    let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
    let eeg = Arc::new(Eeg::open(&mut config, &mut opening).unwrap());
    assert_eq!(config.channels.len(), 19);
    assert!(config.scale > 1.0 && config.scale < 100.0);
    let names: Vec<&str> = eeg.factors().iter().map(|factor| factor.name.as_str()).collect();
    assert_eq!(names, ["source", "rhythm", "state", "blink"]);
    let sample = eeg.load(Part::HeldOut, 3).unwrap();
    assert_eq!((sample.channels(), sample.samples), (19, 512));
    assert_eq!(eeg.baseline(&sample).len(), 19 * 5);
    let picture = eeg.picture(&sample).unwrap();
    assert_eq!(picture.pixels.len(), 3 * picture.width * picture.height);
    assert_eq!(eeg.load(Part::HeldOut, 3).unwrap(), sample);
    // The resolved settings open the same again.
    let again =
        Eeg::open(&mut config.clone(), &mut Opening { seed: 9, batch: 1, threads: 1, decisions: &mut Vec::new() })
            .unwrap();
    assert_eq!(again.load(Part::HeldOut, 3).unwrap(), sample);
    assert!(eeg.load(Part::HeldOut, 1_000).is_err());
}
