//! Sets of clips: folders, lists, windows by time, and every way in which they can be wrong.

mod made;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use foretell_data::{
    Auto, ClipSample, Clips, ClipsConfig, DataError, Decision, Description, Folders, Meta, Modality, OnBadSample,
    Opening, Part, ShortClips, unreadable,
};
use made::{folder, png};

/// A y4m of so many frames, each of one grey: `first` and one brighter each time.
fn y4m(frames: usize, fps: &str, (width, height): (usize, usize), first: u8) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 W{width} H{height} F{fps} Ip A1:1 Cmono XCOLORRANGE=FULL\n").into_bytes();
    for frame in 0..frames {
        bytes.extend(b"FRAME\n");
        bytes.extend(vec![first.wrapping_add(frame as u8); width * height]);
    }
    bytes
}

/// A `.npy` of `[T, H, W, 3]` bytes, likewise.
fn npy(frames: usize, side: usize, first: u8) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({frames}, {side}, {side}, 3), }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    for frame in 0..frames {
        bytes.extend(vec![first.wrapping_add(frame as u8); side * side * 3]);
    }
    bytes
}

fn settings(path: &Path) -> ClipsConfig {
    ClipsConfig {
        path: path.to_string_lossy().into_owned(),
        frames: 4,
        image_size: Auto::Value(8),
        ..ClipsConfig::default()
    }
}

fn opened(mut config: ClipsConfig) -> Result<(Clips, ClipsConfig, Vec<Decision>), DataError> {
    let mut decisions = Vec::new();
    let mut opening = Opening { seed: 0, batch: 1, threads: 2, decisions: &mut decisions };
    let clips = Clips::open(&mut config, &mut opening)?;
    Ok((clips, config, decisions))
}

fn open(config: ClipsConfig) -> Clips {
    opened(config).unwrap().0
}

#[track_caller]
fn refused(config: ClipsConfig, parts: &[&str]) {
    let said = opened(config).map(|_| ()).unwrap_err().to_string();
    says(&said, parts);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

/// The greys of a sample's frames.
fn greys(sample: &ClipSample) -> Vec<u8> {
    sample.frames.iter().map(|frame| frame.pixels[0]).collect()
}

fn all(clips: &Clips, part: Part) -> Vec<Meta> {
    (0..clips.len(part).unwrap()).map(|index| clips.meta(part, index).unwrap()).collect()
}

fn class(clips: &Clips, meta: &Meta) -> String {
    clips.factors()[0].classes[meta.labels[0] as usize].clone()
}

/// Twenty clips of 25 frames at 25 a second, in two classes.
fn classes(root: &Path) {
    for clip in 0..20 {
        let class = if clip % 2 == 0 { "jump" } else { "run" };
        let bytes = y4m(25, "25:1", (12, 10), clip as u8 * 5);
        folder(root, [(format!("{class}/c{clip:02}.y4m").as_str(), bytes)]);
    }
}

#[test]
fn class_folders_of_files_are_windows_by_time() {
    let root = tempfile::tempdir().unwrap();
    classes(root.path());
    let (clips, config, decisions) =
        opened(ClipsConfig { windows: 3, fps: Auto::Value(10.0), ..settings(root.path()) }).unwrap();
    // 4 frames at 10 a second.
    assert_eq!(config.seconds, Auto::Value(0.4));
    assert!(decisions.iter().any(|decision| decision.what == "data.seconds"), "{decisions:?}");
    assert_eq!(clips.len(Part::Train).unwrap() + clips.len(Part::HeldOut).unwrap(), 60);
    assert_eq!(clips.factors()[0].classes, ["jump", "run"]);
    let train = all(&clips, Part::Train);
    let held = all(&clips, Part::HeldOut);
    for meta in train.iter().chain(&held) {
        assert!(meta.name.starts_with(&class(&clips, meta)), "{meta:?}");
    }
    // Of one clip all windows are on one side.
    let groups =
        |metas: &[Meta]| metas.iter().map(|meta| meta.group.unwrap()).collect::<std::collections::BTreeSet<_>>();
    assert!(groups(&train).is_disjoint(&groups(&held)) && !held.is_empty());
    // Moments 0, 0.1, 0.2 and 0.3 s from 0, 0.33 and 0.66 s on: the last is that of the last frame, 0.96 s.
    let first = train[0].name.trim_end_matches("@0s").to_owned();
    assert_eq!(train[1].name, format!("{first}@0.33s"));
    let shown: Vec<Vec<u8>> = (0..3).map(|index| greys(&clips.load(Part::Train, index).unwrap())).collect();
    let base = shown[0][0];
    let expected = [[0, 2, 5, 7], [8, 10, 13, 15], [16, 19, 21, 24]];
    assert_eq!(shown, expected.map(|frames| frames.map(|frame| base + frame).to_vec()));
    // And so they are read together, and prepared.
    let clips = Arc::new(clips);
    let together: Vec<ClipSample> =
        clips.load_many(Part::Train, &[2, 0, 2]).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(together.iter().map(greys).collect::<Vec<_>>(), [&shown[2], &shown[0], &shown[2]].map(Clone::clone));
    let prepared = clips.prepare(together[0].clone());
    assert!(prepared.frames.iter().all(|frame| (frame.width, frame.height, frame.channels) == (8, 8, 3)));
    assert_eq!(clips.training(7, 0).unwrap().batch(3).unwrap().len(), 7);
    let description = clips.describe();
    says(&description.format, &["a folder with clips in class folders"]);
    says(
        &description.to_string(),
        &["4 frames, 10 a second: 0.4 seconds", "3.0 windows of each", "median short side 10"],
    );
}

#[test]
fn time_and_windows_are_chosen_and_told() {
    let root = tempfile::tempdir().unwrap();
    let names = ["a.y4m", "b.y4m", "c.y4m", "d.y4m", "e.y4m", "f.y4m"];
    folder(root.path(), names.map(|name| (name, y4m(100, "25:1", (8, 8), 0))));
    // Two seconds of four: two windows each.
    let (clips, config, decisions) = opened(ClipsConfig { frames: 16, ..settings(root.path()) }).unwrap();
    assert_eq!((config.fps, config.seconds), (Auto::Value(8.0), Auto::Value(2.0)));
    assert_eq!(clips.len(Part::Train).unwrap() + clips.len(Part::HeldOut).unwrap(), 12);
    let told: Vec<&str> = decisions.iter().map(|decision| decision.what.as_str()).collect();
    assert_eq!(told, ["data.fps", "data.seconds"]);
    // No more frames than there are.
    let (_, many, _) = opened(ClipsConfig { frames: 64, ..settings(root.path()) }).unwrap();
    assert_eq!(many.fps, Auto::Value(25.0));
    let both = ClipsConfig { fps: Auto::Value(4.0), seconds: Auto::Value(2.0), ..settings(root.path()) };
    refused(ClipsConfig { frames: 16, ..both }, &["data.fps", "data.seconds", "give one of the two"]);
    // A resolved config is opened as it is, and other data are noticed.
    assert_eq!(opened(config.clone()).unwrap().1, config);
    fs::remove_file(root.path().join("a.y4m")).unwrap();
    refused(config, &["not what this run began with"]);
}

#[test]
fn a_list_names_clips_and_labels() {
    let root = tempfile::tempdir().unwrap();
    classes(&root.path().join("all of it"));
    let name =
        |clip: usize| format!("all of it/{}/c{clip:02}.y4m", if clip.is_multiple_of(2) { "jump" } else { "run" });
    let list = |text: String| {
        let path = root.path().join("clips.csv");
        fs::write(&path, text).unwrap();
        path
    };
    let quoted: String = (0..20).map(|clip| format!("\"{}\" {}\n", name(clip), clip % 5)).collect::<Vec<_>>().concat();
    let tabs: String = (0..20).map(|clip| format!("{}\t{}\n", name(clip), clip % 5)).collect::<Vec<_>>().concat();
    for text in [quoted.clone(), tabs] {
        let clips = open(settings(&list(text)));
        assert_eq!(clips.factors()[0].classes, ["0", "1", "2", "3", "4"]);
        says(&clips.describe().format, &["a list with clips"]);
        assert!(Clips::recognises(&root.path().join("clips.csv")));
    }
    refused(
        settings(&list(format!("{quoted}\"gone.y4m\" 3\n"))),
        &["clips.csv, line 21", "there is no file", "gone.y4m"],
    );
    refused(settings(&list(format!("{quoted}{} 3\n", name(3)))), &["clips.csv, line 21", "quotation marks"]);
    refused(settings(&list(format!("{quoted}\"{}\"\n", name(3)))), &["line 21", "no label"]);
}

#[test]
fn folders_of_frames_arrays_and_tables_are_clips_too() {
    let root = tempfile::tempdir().unwrap();
    for clip in 0..4 {
        for frame in 0..12 {
            let path = format!("frames/{}/k{clip}/f{frame}.png", ["a", "b"][clip % 2]);
            folder(root.path(), [(path.as_str(), png(10, 8, 3, clip + frame))]);
        }
        folder(root.path(), [(format!("arrays/v{clip}.npy").as_str(), npy(30, 9, 0))]);
    }
    let clips = open(settings(&root.path().join("frames")));
    assert_eq!(clips.factors()[0].classes, ["a", "b"]);
    let notes = clips.describe().notes.join("; ");
    says(&notes, &["4 clips are folders of frames", "a/k0` of 12"]);
    // Pictures alone may be images: nobody is asked to take them for clips.
    assert!(!Clips::recognises(&root.path().join("frames")));

    // 30 frames a second are assumed of what does not say.
    let seconds = Auto::Value(0.8);
    let clips = open(ClipsConfig { seconds, windows: 1, ..settings(&root.path().join("arrays")) });
    assert_eq!(greys(&clips.load(Part::Train, 0).unwrap()), [5, 11, 17, 23]);
    let slow = ClipsConfig { seconds, windows: 1, assumed_fps: 10.0, ..settings(&root.path().join("arrays")) };
    assert_eq!(greys(&open(slow).load(Part::Train, 0).unwrap()), [11, 13, 15, 17]);
    // A table beside them.
    let table = "file_name,label,who\nv0.npy,up,a\nv1.npy,down,b\nv2.npy,up,a\nv3.npy,down,b\n";
    fs::write(root.path().join("arrays/metadata.csv"), table).unwrap();
    let labelled = open(ClipsConfig { label: "label".to_owned(), ..settings(&root.path().join("arrays")) });
    assert_eq!((labelled.factors()[0].name.as_str(), labelled.factors()[0].classes.len()), ("label", 2));
    // Whose they are.
    let config = ClipsConfig { group: "v([0-9])".to_owned(), ..settings(&root.path().join("arrays")) };
    says(&open(config).describe().split, &["of 4 groups are held out"]);
}

#[test]
fn short_clips_are_repeated_or_left_out_and_one_frame_is_a_clip() {
    let root = tempfile::tempdir().unwrap();
    for (name, frames) in [("long1", 50), ("long2", 50), ("long3", 50), ("short", 10), ("one", 1)] {
        folder(root.path(), [(format!("{name}.y4m").as_str(), y4m(frames, "25:1", (8, 8), 0))]);
    }
    let base = ClipsConfig { seconds: Auto::Value(1.0), windows: 1, ..settings(root.path()) };
    let clips = open(base.clone());
    let of = |clips: &Clips, name: &str| -> Option<Vec<u8>> {
        [Part::Train, Part::HeldOut].into_iter().find_map(|part| {
            let at = all(clips, part).iter().position(|meta| meta.name == name)?;
            Some(greys(&clips.load(part, at).unwrap()))
        })
    };
    assert_eq!(of(&clips, "short.y4m").unwrap(), [0, 6, 9, 9]);
    assert_eq!(of(&clips, "one.y4m").unwrap(), [0, 0, 0, 0]);
    assert_eq!(of(&clips, "long1.y4m").unwrap(), [15, 21, 27, 33]);
    says(&clips.describe().notes.join("; "), &["2 clips are shorter than the 0.75 seconds", "last frame is repeated"]);
    let clips = open(ClipsConfig { short: ShortClips::LeaveOut, ..base });
    assert_eq!((of(&clips, "short.y4m"), of(&clips, "one.y4m")), (None, None));
    says(&clips.describe().notes.join("; "), &["2 clips are shorter", "they are left out"]);
}

#[test]
fn what_cannot_be_read_is_told_and_counted() {
    let root = tempfile::tempdir().unwrap();
    for clip in 0..8 {
        folder(root.path(), [(format!("c{clip}.y4m").as_str(), y4m(25, "25:1", (8, 8), 0))]);
    }
    let whole = y4m(25, "25:1", (8, 8), 0);
    fs::write(root.path().join("cut.y4m"), &whole[..whole.len() - 30]).unwrap();
    let skipping = ClipsConfig { on_bad_sample: OnBadSample::Skip, ..settings(root.path()) };
    let clips = Arc::new(open(skipping));
    let bad = unreadable(&clips, 2, &mut |_| {}).unwrap();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(bad[0].name, "cut.y4m");
    says(&bad[0].error.to_string(), &["cut.y4m", "truncated inside its frame 24"]);
    let source = clips.training(4, 0).unwrap();
    (1..=4).for_each(|step| assert_eq!(source.batch(step).unwrap().len(), 4));
    assert!(source.skipped() <= 1);
    refused(settings(&root.path().join("nothing")), &["there is nothing at"]);
    fs::create_dir(root.path().join("empty")).unwrap();
    refused(settings(&root.path().join("empty")), &["holds neither clips"]);
    for (set, part) in [
        (ClipsConfig { fps: Auto::Value(0.0), ..settings(root.path()) }, "data.fps"),
        (ClipsConfig { assumed_fps: -1.0, ..settings(root.path()) }, "data.assumed_fps"),
        (ClipsConfig { open_files: 0, ..settings(root.path()) }, "data.open_files"),
        (ClipsConfig { image_size: Auto::Value(1), ..settings(root.path()) }, "data.image_size"),
    ] {
        refused(set, &[part]);
    }
}

#[test]
fn given_paths_are_taken_whole_and_in_their_order() {
    let root = tempfile::tempdir().unwrap();
    classes(root.path());
    let (_, config, _) = opened(ClipsConfig { windows: 2, folders: Folders::Ignore, ..settings(root.path()) }).unwrap();
    let paths: Vec<PathBuf> = ["run/c03.y4m", "jump"].map(|name| root.path().join(name)).to_vec();
    let clips = Clips::of_paths(&config, &paths).unwrap();
    let names: Vec<String> = all(&clips, Part::Train).into_iter().map(|meta| meta.name).collect();
    assert_eq!(names.len(), 22);
    assert!(names[0].ends_with("run/c03.y4m@0s") && names[2].ends_with("jump/c00.y4m@0s"), "{names:?}");
    assert!(Clips::of_paths(&config, &[]).is_err());
    let film = clips.film(&clips.load(Part::Train, 0).unwrap()).unwrap();
    assert_eq!(film.frames.len(), 4);
}

#[test]
fn the_cache_gives_what_was_read_and_stays_within_its_bytes() {
    let root = tempfile::tempdir().unwrap();
    classes(root.path());
    let cached = open(ClipsConfig { windows: 2, cache_mb: 1, ..settings(root.path()) });
    let plain = open(ClipsConfig { windows: 2, cache_mb: 0, open_files: 1, ..settings(root.path()) });
    for _ in 0..2 {
        for index in 0..cached.len(Part::Train).unwrap() {
            assert!(cached.load(Part::Train, index).unwrap() == plain.load(Part::Train, index).unwrap());
        }
    }
    // Files that have gone are still there as far as they are kept.
    fs::remove_dir_all(root.path()).unwrap();
    assert!(cached.load(Part::Train, 0).is_ok() && plain.load(Part::Train, 5).is_err());
}

/// Whether there is an `ffmpeg` that makes videos.
fn ffmpeg(arguments: &[&str]) -> bool {
    let made = Command::new("ffmpeg").args(["-v", "error", "-y", "-f", "lavfi"]).args(arguments).status();
    made.is_ok_and(|status| status.success())
}

/// Videos of several kinds, and what they are read as; without `ffmpeg`, that they cannot be.
#[test]
fn videos_are_read_by_seeking_to_their_windows() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let text = |name: &str| at(name).to_string_lossy().into_owned();
    // The frame's number as its grey.
    let source = "nullsrc=s=64x48:r=10:d=20,geq=lum='16+N':cb=128:cr=128,format=yuv420p";
    if !ffmpeg(&["-i", source, "-c:v", "mpeg4", "-q:v", "1", "-g", "30", &text("a.mp4")]) {
        return refused_without_decoder(root.path());
    }
    for name in ["b.mkv", "c.avi", "d.webm.mkv"] {
        assert!(ffmpeg(&["-i", source, "-c:v", "mpeg4", "-q:v", "1", "-g", "30", &text(name)]));
    }
    let (clips, config, _) =
        opened(ClipsConfig { fps: Auto::Value(2.0), windows: 5, image_size: Auto::Value(24), ..settings(root.path()) })
            .unwrap();
    assert_eq!(config.seconds, Auto::Value(2.0));
    for part in [Part::Train, Part::HeldOut] {
        let places: Vec<usize> = (0..clips.len(part).unwrap()).collect();
        let samples = clips.load_many(part, &places);
        for (sample, meta) in samples.into_iter().zip(all(&clips, part)) {
            let sample = sample.unwrap_or_else(|error| panic!("{}: {error}", meta.name));
            assert_eq!(sample.frames.len(), 4);
            let start: f64 = meta.name.rsplit_once('@').unwrap().1.trim_end_matches('s').parse().unwrap();
            // 16 + N of studio range: black is 16, and each frame 255 / 219 brighter.
            let numbers: Vec<f64> = greys(&sample).iter().map(|grey| f64::from(*grey) * 219.0 / 255.0).collect();
            for (moment, number) in numbers.iter().enumerate() {
                let expected = ((start + moment as f64 / 2.0 + 0.002) * 10.0).floor();
                assert!((number - expected).abs() <= 2.0, "{}: {numbers:?} and not {expected}", meta.name);
            }
        }
    }
}

#[test]
fn what_is_changed_about_videos_is_told_and_damage_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let text = |name: &str| at(name).to_string_lossy().into_owned();
    let source = "testsrc2=s=64x48:r=10:d=8";
    if !ffmpeg(&["-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p10le", &text("deep.mp4")]) {
        return refused_without_decoder(root.path());
    }
    assert!(ffmpeg(&["-i", source, "-vf", "setsar=2", "-c:v", "mpeg4", &text("oblong.mp4")]));
    assert!(ffmpeg(&[
        "-i",
        source,
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-color_trc",
        "smpte2084",
        "-color_primaries",
        "bt2020",
        "-colorspace",
        "bt2020nc",
        &text("hdr.mp4")
    ]));
    assert!(ffmpeg(&["-i", source, "-c:v", "mpeg4", &text("straight.mp4")]));
    let turned = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-display_rotation",
            "90",
            "-i",
            &text("straight.mp4"),
            "-c",
            "copy",
            &text("turned.mp4"),
        ])
        .status();
    let turned = turned.is_ok_and(|status| status.success())
        || Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-y",
                "-i",
                &text("straight.mp4"),
                "-c",
                "copy",
                "-metadata:s:v:0",
                "rotate=90",
                &text("turned.mp4"),
            ])
            .status()
            .is_ok_and(|status| status.success());
    assert!(turned);
    let clips = open(ClipsConfig { windows: 1, image_size: Auto::Value(64), ..settings(root.path()) });
    let notes = clips.describe().notes.join("; ");
    says(
        &notes,
        &[
            "1 clip has more than 8 bits",
            "1 clip has a high dynamic range",
            "1 clip has pixels that are not square",
            "1 clip has a rotation",
        ],
    );
    let size = |name: &str| {
        [Part::Train, Part::HeldOut]
            .into_iter()
            .find_map(|part| {
                let at = all(&clips, part).iter().position(|meta| meta.name == name)?;
                let frame = clips.load(part, at).unwrap().frames[0].clone();
                Some((frame.width, frame.height))
            })
            .unwrap()
    };
    assert_eq!((size("deep.mp4"), size("oblong.mp4"), size("turned.mp4")), ((64, 48), (128, 48), (48, 64)));

    // Cut in the middle, and damaged there: the frames that are left are counted.
    let damaged = root.path().join("damaged");
    fs::create_dir(&damaged).unwrap();
    assert!(ffmpeg(&[
        "-i",
        "testsrc2=s=320x240:r=10:d=8",
        "-c:v",
        "libx264",
        "-g",
        "10",
        "-pix_fmt",
        "yuv420p",
        "-movflags",
        "faststart",
        &text("damaged/whole.mp4")
    ]));
    let bytes = fs::read(damaged.join("whole.mp4")).unwrap();
    fs::write(damaged.join("cut.mp4"), &bytes[..bytes.len() * 6 / 10]).unwrap();
    let mut middle = bytes.clone();
    let (from, to) = (bytes.len() / 2, bytes.len() * 6 / 10);
    middle[from..to].iter_mut().for_each(|byte| *byte = 0x5A);
    fs::write(damaged.join("middle.mp4"), &middle).unwrap();
    let config =
        ClipsConfig { seconds: Auto::Value(2.0), windows: 4, on_bad_sample: OnBadSample::Skip, ..settings(&damaged) };
    let clips = Arc::new(open(config));
    let bad = unreadable(&clips, 2, &mut |_| {}).unwrap();
    let of = |name: &str| bad.iter().filter(|bad| bad.name.starts_with(name)).collect::<Vec<_>>();
    assert!(of("whole").is_empty(), "{bad:?}");
    for (name, least) in [("cut", 1), ("middle", 1)] {
        let found = of(name);
        assert!((least..4).contains(&found.len()), "{name}: {bad:?}");
        says(&found[0].error.to_string(), &[name, "cut or damaged", "frames are there"]);
    }
    assert!(of("cut").iter().any(|bad| bad.error.to_string().contains(" of about 20 frames")), "{bad:?}");

    // Sound alone, and something else by a video's name.
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    assert!(ffmpeg(&["-i", "sine=d=2", "-c:a", "aac", &text("other/sound.mp4")]));
    refused(settings(&other), &["sound.mp4", "no video stream"]);
    fs::write(other.join("sound.mp4"), b"hello, I am a text of some length").unwrap();
    refused(settings(&other), &["sound.mp4", "ffmpeg cannot read it"]);
}

#[track_caller]
fn refused_without_decoder(root: &Path) {
    fs::write(root.join("a.mp4"), b"\0\0\0\x18ftypisom").unwrap();
    refused(settings(root), &["a.mp4", "takes `ffmpeg`, which is not installed"]);
}

/// A description's words hold no word of images.
#[test]
fn descriptions_speak_of_clips() {
    let root = tempfile::tempdir().unwrap();
    classes(root.path());
    let description: Description = open(settings(root.path())).describe();
    let said = description.to_string();
    assert!(!said.contains("image") && said.contains("clips"), "{said}");
}
