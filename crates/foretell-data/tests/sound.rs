//! Sound from files and from nothing: every form of file, labels and splits, the spectrograms of four libraries, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell_data::sound::{
    ChannelTaken, LogMel, MelConfig, MelPreset, ShortSounds, SoundConfig, SoundSample, Sounds, TonesConfig, decode,
};
use foretell_data::{Auto, DataError, Decision, Modality, OnBadSample, Opening, Part};
use serde_json::Value;
use tempfile::TempDir;

#[path = "made/damage.rs"]
mod damage;

use damage::survives;

fn open(mut config: SoundConfig) -> Result<(Sounds, SoundConfig, Vec<Decision>), DataError> {
    let mut decisions = Vec::new();
    let mut opening = Opening { seed: 0, batch: 2, threads: 2, decisions: &mut decisions };
    let sounds = Sounds::open(&mut config, &mut opening)?;
    Ok((sounds, config, decisions))
}

fn at(path: &Path) -> SoundConfig {
    SoundConfig { path: path.display().to_string(), ..SoundConfig::default() }
}

/// A WAV of 16 bits.
fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut out = b"RIFF".to_vec();
    out.extend((36 + data.len() as u32).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * 2 * u32::from(channels)).to_le_bytes());
    out.extend((2 * channels).to_le_bytes());
    out.extend(b"\x10\0data");
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out
}

fn tone(rate: u32, seconds: f64, hertz: f64) -> Vec<i16> {
    let count = (f64::from(rate) * seconds) as u32;
    (0..count)
        .map(|i| ((std::f64::consts::TAU * hertz * f64::from(i) / f64::from(rate)).sin() * 9000.0) as i16)
        .collect()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Digits by speakers, of different lengths.
fn digits(root: &TempDir) -> PathBuf {
    let folder = root.path().join("digits");
    for digit in 0..3_u32 {
        for (speaker, name) in ["ann", "bob", "eve"].iter().enumerate() {
            for take in 0..3 {
                let hertz = 200.0 + 150.0 * f64::from(digit) + 20.0 * speaker as f64;
                let samples = tone(8000, 0.3 + 0.05 * f64::from(take), hertz);
                write(&folder, &format!("{digit}_{name}_{take}.wav"), &wav(8000, 1, &samples));
            }
        }
    }
    folder
}

fn tar_of(folder: &Path, to: &Path) {
    let mut archive = tar::Builder::new(fs::File::create(to).unwrap());
    archive.append_dir_all(".", folder).unwrap();
    archive.finish().unwrap();
}

/// By torchaudio 2.11, librosa 0.11 and transformers 5: `bench/peers/mel.py`.
#[test]
fn spectrograms_are_those_of_the_libraries() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sound/mel.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let numbers =
        |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let rate = case["rate"].as_u64().unwrap() as u32;
        let preset: MelPreset = serde_json::from_value(case["preset"].clone()).unwrap();
        let config = MelConfig { preset, bands: case["bands"].as_u64().unwrap() as usize, ..MelConfig::default() };
        let wave: Vec<f32> = numbers(&golden["waves"][rate.to_string()]).iter().map(|x| *x as f32 / 32768.0).collect();
        let mels = LogMel::new(&config, rate).unwrap().of(&wave);
        let expected = numbers(&case["values"]);
        assert_eq!(
            (mels.frames as u64, mels.values.len()),
            (case["frames"].as_u64().unwrap(), expected.len()),
            "{preset}"
        );
        // Decibels are counted in tens of a logarithm.
        let unit = if preset == MelPreset::Librosa { 10.0 } else { 1.0 };
        let apart = mels.values.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs() / unit);
        let worst = apart.fold(0.0, f64::max);
        assert!(worst < 1e-4, "{preset} at {rate}: {worst}");
    }
}

#[test]
fn generated_sounds_have_their_labels_and_are_drawn_alike() {
    let (sounds, config, decisions) = open(SoundConfig::default()).unwrap();
    assert_eq!((sounds.len(Part::Train), sounds.len(Part::HeldOut)), (Some(4000), Some(1000)));
    assert_eq!(config.form().unwrap(), (64, 64));
    assert!(decisions.iter().any(|decision| decision.what == "data.frames"));
    let names: Vec<&str> = sounds.factors().iter().map(|factor| factor.name.as_str()).collect();
    assert_eq!(names, ["pitch", "timbre", "rhythm", "event"]);
    let sample = sounds.prepare(sounds.load(Part::HeldOut, 7).unwrap());
    assert_eq!((sample.bands, sample.frames, sample.heard), (64, 64, 64));
    assert_eq!(sounds.baseline(&sample).len(), 128);
    assert_eq!(sounds.meta(Part::HeldOut, 7).unwrap().labels.len(), 4);
    assert!(sample.values.iter().all(|x| x.is_finite()));
    // The training part has mean 0 and deviation 1.
    let all: Vec<f32> = (0..200).flat_map(|i| sounds.load(Part::Train, i).unwrap().values.to_vec()).collect();
    let mean = all.iter().sum::<f32>() / all.len() as f32;
    let deviation = (all.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / all.len() as f32).sqrt();
    assert!(mean.abs() < 0.05 && (deviation - 1.0).abs() < 0.05, "{mean} {deviation}");
    // A resolved config opens as it is.
    let (again, same, _) = open(config.clone()).unwrap();
    assert_eq!(same, config);
    assert!(again.load(Part::HeldOut, 7).unwrap() == sounds.load(Part::HeldOut, 7).unwrap());
    assert!(sounds.load(Part::HeldOut, 1000).is_err());
    let other = SoundConfig { tones: TonesConfig { seed: 1, ..TonesConfig::default() }, ..config };
    assert!(open(other).unwrap().0.load(Part::HeldOut, 7).unwrap() != sounds.load(Part::HeldOut, 7).unwrap());
}

#[test]
fn folders_tars_and_lists_hold_the_same_recordings() {
    let root = TempDir::new().unwrap();
    let folder = digits(&root);
    let archive = root.path().join("digits.tar");
    tar_of(&folder, &archive);
    let pattern = |path: &Path| SoundConfig { pattern: "{digit}_{speaker}_{}".to_owned(), ..at(path) };
    let (a, config, _) = open(pattern(&folder)).unwrap();
    let (b, _, _) = open(pattern(&archive)).unwrap();
    assert_eq!(config.rate, Auto::Value(8000));
    // Nine in ten last 0.4 s or less: 41 frames.
    assert_eq!(config.frames, Auto::Value(48));
    for part in [Part::Train, Part::HeldOut] {
        let all = |sounds: &Sounds| -> BTreeMap<String, (Vec<u32>, SoundSample)> {
            let one = |index| {
                let meta = sounds.meta(part, index).unwrap();
                (meta.name, (meta.labels, sounds.load(part, index).unwrap()))
            };
            (0..sounds.len(part).unwrap()).map(one).collect()
        };
        let (a, b) = (all(&a), all(&b));
        assert!(a.keys().eq(b.keys()));
        for ((labels, a), (others, b)) in a.values().zip(b.values()) {
            // Means are summed in another order.
            let near = a.values.iter().zip(b.values.iter()).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(labels == others && near && a.frames == b.frames);
        }
    }
    assert!(Sounds::recognises(&folder) && Sounds::recognises(&archive));
    assert!(a.describe().to_string().contains("27 at 8000 Hz") || a.describe().to_string().contains("8000 Hz"));

    // By speaker: held out whole, and no set of labels.
    let apart = SoundConfig { apart: "speaker".to_owned(), held_out: vec!["eve".to_owned()], ..pattern(&archive) };
    let (apart, ..) = open(apart).unwrap();
    assert_eq!((apart.len(Part::Train), apart.len(Part::HeldOut)), (Some(18), Some(9)));
    assert_eq!(apart.factors().len(), 1);
    assert!((0..9).all(|i| apart.meta(Part::HeldOut, i).unwrap().name.contains("eve")));

    let list = write(
        &folder,
        "list.tsv",
        b"0_ann_0.wav\tzero\n1_ann_0.wav\tone\n0_bob_1.wav\tzero\n2_bob_2.wav\tsome thing\n1_eve_0.wav\tone\n",
    );
    let (listed, ..) = open(at(&list)).unwrap();
    assert_eq!(listed.factors()[0].classes, ["one", "some thing", "zero"]);
    assert!(Sounds::recognises(&list));

    // Class folders, and other data prepared alike.
    let classes = root.path().join("classes");
    for (i, class) in ["low", "high"].iter().enumerate() {
        for take in 0..12 {
            write(
                &classes,
                &format!("{class}/{take}.wav"),
                &wav(16_000, 1, &tone(16_000, 0.4, 300.0 + 900.0 * i as f64)),
            );
        }
    }
    let (own, config, _) = open(at(&classes)).unwrap();
    assert_eq!(own.factors()[0].classes, ["high", "low"]);
    let paths = [folder.join("0_ann_0.wav"), classes.join("low/3.wav")];
    let some = Sounds::of_paths(&config, &paths).unwrap();
    assert_eq!(some.len(Part::Train), Some(2));
    let samples: Vec<SoundSample> = (0..2).map(|i| some.prepare(some.load(Part::Train, i).unwrap())).collect();
    assert_eq!(samples[0].frames, samples[1].frames);
    assert!(some.meta(Part::Train, 0).unwrap().name.ends_with("0_ann_0.wav"));

    // A resumed run notices other data.
    fs::remove_file(classes.join("low/3.wav")).unwrap();
    assert!(matches!(open(config), Err(DataError::Changed { .. })));
}

#[test]
fn another_rate_is_resampled_and_channels_are_chosen() {
    let root = TempDir::new().unwrap();
    let folder = root.path();
    for i in 0..6 {
        write(folder, &format!("{i}.wav"), &wav(16_000, 1, &tone(16_000, 0.5, 440.0)));
    }
    let stereo: Vec<i16> = tone(48_000, 0.5, 440.0).iter().flat_map(|x| [*x, 0]).collect();
    write(folder, "stereo.wav", &wav(48_000, 2, &stereo));
    let (sounds, config, _) = open(at(folder)).unwrap();
    assert_eq!(config.rate, Auto::Value(16_000));
    let text = sounds.describe().to_string();
    assert!(text.contains("several channels") && text.contains("resampled"), "{text}");
    let find = |sounds: &Sounds, name: &str| {
        [Part::Train, Part::HeldOut]
            .into_iter()
            .flat_map(|part| (0..sounds.len(part).unwrap()).map(move |i| (part, i)))
            .find(|(part, i)| sounds.meta(*part, *i).unwrap().name == name)
            .unwrap()
    };
    let (part, index) = find(&sounds, "stereo.wav");
    assert_eq!(sounds.wave(part, index).unwrap().len(), 8000);
    let loudest = |channel| {
        let (sounds, ..) = open(SoundConfig { channel, ..at(folder) }).unwrap();
        let (part, index) = find(&sounds, "stereo.wav");
        sounds.wave(part, index).unwrap()[1000..7000].iter().fold(0.0_f32, |most, x| most.max(x.abs()))
    };
    let (mean, first, second) =
        (loudest(ChannelTaken::Mean), loudest(ChannelTaken::First), loudest(ChannelTaken::Second));
    assert!((first - 2.0 * mean).abs() < 1e-3 && second < 1e-4 && first > 0.2, "{mean} {first} {second}");
    // The same tone at the same pitch: the loudest band is the same.
    let band = |name: &str| {
        let (part, index) = find(&sounds, name);
        let sample = sounds.load(part, index).unwrap();
        let column = |band: usize| sample.values[band * sample.frames + sample.frames / 2];
        (0..sample.bands).max_by(|a, b| column(*a).total_cmp(&column(*b))).unwrap()
    };
    assert_eq!(band("stereo.wav"), band("0.wav"));
    // Channels that cancel each other, and a recording of nothing.
    let told = |channel| {
        let (sounds, ..) = open(SoundConfig { channel, ..at(folder) }).unwrap();
        sounds.describe().notes.join("; ")
    };
    assert!(!told(ChannelTaken::Mean).contains("silent"));
    let against: Vec<i16> = tone(16_000, 0.5, 440.0).iter().flat_map(|x| [*x, -*x]).collect();
    (0..5).for_each(|i| _ = write(folder, &format!("against-{i}.wav"), &wav(16_000, 2, &against)));
    assert!(told(ChannelTaken::Mean).contains("recordings looked at are silent as they are heard"));
    assert!(!told(ChannelTaken::First).contains("silent"));
    (0..5).for_each(|i| _ = write(folder, &format!("nothing-{i}.wav"), &wav(16_000, 1, &[0; 8000])));
    assert!(told(ChannelTaken::First).contains("recordings looked at are silent: nothing ever changes"));
}

fn refused(config: SoundConfig) -> String {
    let text = open(config).map(|_| ()).expect_err("a refusal").to_string();
    assert!(!text.contains("  ") && text.len() < 600, "{text}");
    text
}

#[test]
fn what_cannot_be_used_is_told_in_a_sentence() {
    let root = TempDir::new().unwrap();
    let good = wav(8000, 1, &tone(8000, 0.3, 300.0));
    for (name, bytes, expected) in [
        ("cut", &good[..good.len() - 100], "is cut"),
        ("empty", &[][..], "empty"),
        ("text", b"these are words and no sound".as_slice(), "expected WAV"),
        ("picture", b"\x89PNG\r\n\x1a\n0000".as_slice(), "begins with"),
        ("aiff", b"FORM\0\0\0\0AIFF".as_slice(), "an AIFF"),
        ("lfs", b"version https://git-lfs.github.com/spec/v1\n".as_slice(), "git lfs pull"),
        #[cfg(not(feature = "symphonia"))]
        ("flac", b"fLaC0000".as_slice(), "--features foretell/symphonia"),
        #[cfg(feature = "symphonia")]
        ("flac", b"fLaC0000".as_slice(), "damaged"),
    ] {
        let folder = root.path().join(name);
        (0..5).for_each(|i| _ = write(&folder, &format!("{i}.wav"), &good));
        write(&folder, "5.wav", bytes);
        let text = refused(at(&folder));
        assert!(text.contains("5.wav") && text.contains(expected), "{text}");
        // The others alone, where that is asked for.
        let (sounds, config, _) = open(SoundConfig { on_bad_sample: OnBadSample::Skip, ..at(&folder) }).unwrap();
        assert_eq!(config.rate, Auto::Value(8000));
        assert_eq!(sounds.on_bad(), OnBadSample::Skip);
        let one = at(&folder.join("5.wav"));
        assert!(refused(one).contains(expected));
    }
    let none = root.path().join("none");
    write(&none, "readme.txt", b"words");
    assert!(refused(at(&none)).contains("1 files and none named .wav"));
    assert!(refused(at(&root.path().join("nowhere"))).contains("nothing at"));
    let folder = root.path().join("text");
    fs::remove_file(folder.join("5.wav")).unwrap();
    let set = |change: fn(&mut SoundConfig)| {
        let mut config = at(&folder);
        change(&mut config);
        refused(config)
    };
    assert!(set(|c| c.rate = Auto::Value(10)).contains("data.rate"));
    assert!(set(|c| c.frames = Auto::Value(0)).contains("data.frames"));
    assert!(set(|c| c.mel.bands = 0).contains("data.mel.bands"));
    assert!(set(|c| c.mel.high = Auto::Value(8000.0)).contains("data.mel.high"));
    assert!(set(|c| c.held_out = vec!["a".to_owned()]).contains("data.held_out"));
    assert!(set(|c| c.pattern = "{a}-{b}".to_owned()).contains("does not fit the name"));
    assert!(set(|c| "speaker".clone_into(&mut c.apart)).contains("data.apart"));
    let missing = write(&folder, "list.txt", b"0.wav a\nmissing.wav b\n");
    assert!(refused(at(&missing)).contains("list.txt, line 2"));
    let generated = SoundConfig { rate: Auto::Value(16_000), ..SoundConfig::default() };
    assert!(refused(generated).contains("data.rate"));
}

#[test]
fn silence_stays_finite_from_file_to_sample() {
    let root = TempDir::new().unwrap();
    (0..6).for_each(|i| _ = write(root.path(), &format!("{i}.wav"), &wav(8000, 1, &vec![0; 2000 + i])));
    for preset in [MelPreset::Torchaudio, MelPreset::Librosa, MelPreset::KaldiAst, MelPreset::Whisper] {
        for short in [ShortSounds::Silence, ShortSounds::Repeat] {
            let mel = MelConfig { preset, ..MelConfig::default() };
            let (sounds, ..) = open(SoundConfig { mel, short, frames: Auto::Value(64), ..at(root.path()) }).unwrap();
            let sample = sounds.prepare(sounds.load(Part::Train, 0).unwrap());
            assert!(sample.values.iter().all(|x| x.is_finite()) && sample.values.len() == 64 * 64);
            assert!(sounds.baseline(&sample).iter().all(|x| x.is_finite()));
        }
    }
}

/// Files as ffmpeg writes them.
#[test]
fn coded_files_are_the_same_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sound");
    let read = |name: &str| decode(fs::read(folder.join(name)).unwrap(), name);
    let plain = read("tone.wav").unwrap();
    assert_eq!((plain.rate, plain.channels, plain.samples.len()), (16_000, 1, 4000));
    assert_eq!(read("piped.wav").unwrap(), plain, "lengths of 0xFFFFFFFF and a LIST before the sound");
    if cfg!(feature = "symphonia") {
        assert_eq!(read("tone.flac").unwrap(), plain);
        for name in ["tone.ogg", "tone.mp3"] {
            let coded = read(name).unwrap();
            assert_eq!(coded.rate, 16_000);
            let loudest = |x: &[f32]| x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let (a, b) = (loudest(&coded.samples), loudest(&plain.samples));
            assert!(
                (a / b - 1.0).abs() < 0.2 && (coded.seconds() - 0.25).abs() < 0.15,
                "{name}: {a} {b} {}",
                coded.seconds()
            );
        }
        assert!(read("tone-opus.ogg").unwrap_err().to_string().contains("tone-opus.ogg"));
    } else {
        for name in ["tone.flac", "tone.ogg", "tone.mp3"] {
            assert!(read(name).unwrap_err().to_string().contains("foretell/symphonia"));
        }
    }
}

/// Whatever happens to a file, it is a recording of finite numbers or a sentence.
#[test]
fn damaged_recordings_cost_nothing_but_a_sentence() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sound");
    let coded = ["tone.flac", "tone.ogg", "tone.mp3"].map(|name| fs::read(folder.join(name)).unwrap());
    let plain = [
        wav(8000, 1, &tone(8000, 0.02, 300.0)),
        wav(44_100, 2, &tone(44_100, 0.01, 300.0)),
        wav(8000, 3, &[1, 2, 3, 4, 5, 6]),
        fs::read(folder.join("piped.wav")).unwrap(),
    ];
    let files: Vec<Vec<u8>> =
        plain.into_iter().chain(coded.into_iter().filter(|_| cfg!(feature = "symphonia"))).collect();
    survives(8, &files, 3_000, 1 << 30, |bytes| match decode(bytes.to_vec(), "x") {
        Ok(recording) => {
            assert!(recording.rate > 0 && recording.channels > 0);
            assert!(recording.samples.iter().all(|x| x.is_finite()));
            let _ = recording.mono(ChannelTaken::Mean, 8000);
        }
        Err(error) => assert!(error.to_string().contains("`x`"), "{error}"),
    });
}

#[test]
fn training_takes_each_recording_once_an_epoch() {
    let config = SoundConfig { tones: TonesConfig { train: 6, held_out: 2, seed: 0 }, ..SoundConfig::default() };
    let sounds = Arc::new(open(config).unwrap().0);
    let source = sounds.training(3, 0).unwrap();
    let mut seen: Vec<Vec<f32>> =
        (1..=2).flat_map(|step| source.batch(step).unwrap()).map(|s| s.values.to_vec()).collect();
    seen.sort_by(|a, b| a[0].total_cmp(&b[0]));
    seen.dedup();
    assert_eq!(seen.len(), 6);
}
