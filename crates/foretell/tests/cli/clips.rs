//! A run over clips is used as one over images is, and clips that people bring are told, refused or left out: made in the test, videos
//! by an `ffmpeg` where there is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::input::one_sentence;
use crate::uses::{json, printed};
use crate::{controlled, findings, foretell, stderr};

/// A y4m at 25 frames a second: a bright square that moves by `step` pixels a frame on a dark ground.
fn y4m(frames: usize, (width, height): (usize, usize), step: isize, first: usize) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 Cmono XCOLORRANGE=FULL\n").into_bytes();
    for frame in 0..frames {
        bytes.extend(b"FRAME\n");
        let left = (first as isize + step * frame as isize).rem_euclid(width as isize) as usize;
        let inside = |i: usize| (i % width + width - left) % width < 6 && (4..10).contains(&(i / width));
        bytes.extend((0..width * height).map(|i| if inside(i) { 230 } else { 40 + (i % 7) as u8 }));
    }
    bytes
}

/// Two classes of twenty clips: what moves right, and what moves left.
fn labelled(root: &Path) -> PathBuf {
    let data = root.join("data");
    for clip in 0..40 {
        let (class, step) = if clip % 2 == 0 { ("left", -1) } else { ("right", 1) };
        fs::create_dir_all(data.join(class)).unwrap();
        fs::write(data.join(class).join(format!("c{clip:02}.y4m")), y4m(30, (24, 18), step, clip * 5)).unwrap();
    }
    data
}

/// A narrow V-JEPA of four frames of 16 × 16 pixels.
const SMALL: [&str; 12] = [
    "data.frames=4",
    "data.image_size=16",
    "data.windows=2",
    "train.batch=8",
    "model.patch=4",
    "model.width=24",
    "model.heads=2",
    "model.depth=2",
    "model.predictor_width=12",
    "model.predictor_heads=2",
    "model.predictor_depth=1",
    "model.ema.initial_teacher_limit=1.0",
];

fn train(data: &Path, run: &Path, more: &[&str]) -> Output {
    let mut command = foretell();
    command.args(["train", "v-jepa", "--steps", "3"]);
    SMALL.iter().chain(more).for_each(|setting| _ = command.args(["--set", setting]));
    command.arg("--data").arg(data).arg("--out").arg(run).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// No word of what other kinds of data are called.
#[track_caller]
fn speaks_of_clips(said: &str) {
    assert!(said.contains("clip"), "{said}");
    for other in ["image ", "images ", "picture", "graph"] {
        assert!(!said.to_lowercase().contains(other), "`{other}` is in: {said}");
    }
}

#[test]
fn a_run_over_clips_is_embedded_searched_inspected_and_reported() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let output = train(&data, &run, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    for part in ["data.fps", "data.seconds", "clips/s"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let keys = controlled(&run);
    for key in ["probes", "features", "neighbours"] {
        assert!(keys.iter().any(|found| found == key), "{keys:?}");
    }
    // Maps over time and neighbours move.
    let stored = serde_json::to_string(&findings(&run)).unwrap();
    assert!(stored.matches("\"format\":\"gif\"").count() > 20);

    let name = text(&run);
    let inspected = json(&["inspect", text(&data), "--json"]);
    assert_eq!((&inspected["unit"], &inspected["files"]), (&Value::Null, &Value::from(40)));
    let inspected = printed(&["inspect", text(&data)]);
    speaks_of_clips(&inspected);
    for part in [
        "a folder with clips in class folders",
        "16 frames, ",
        "class: 2 classes (left, right)",
        "median short side 18",
    ] {
        assert!(inspected.contains(part), "`{part}` is not in: {inspected}");
    }
    assert!(printed(&["inspect", name]).contains("V-JEPA on"));

    // By attention over frozen tokens and with the whole network, beside the same from scratch and pixels.
    let asked = ["probe", name, "--json", "--probe", "attentive,finetune", "--set", "judge.attentive.epochs=2"];
    let probed = json(&[&asked[..], &["--set", "judge.finetune.epochs=2"]].concat());
    for kind in ["attentive", "finetune"] {
        for of in ["trained", "untrained", "pixels"] {
            let rows = probed[kind].as_array().unwrap();
            assert!(rows.iter().any(|row| row["features"] == of && row["n"].as_u64() > Some(0)), "{kind}: {rows:?}");
        }
    }

    let features = root.path().join("features.npz");
    let output = foretell().args(["embed", name, text(&data), "--out", text(&features)]).output().unwrap();
    let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("[80, 24]"), "{said}");
    let page = root.path().join("search.html");
    let query = data.join("left/c00.y4m");
    let output = foretell()
        .args([
            "search",
            text(&features),
            "--run",
            name,
            "--query",
            text(&query),
            "--data",
            text(&data),
            "--report",
            text(&page),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("c00.y4m@"));
    assert!(fs::read_to_string(&page).unwrap().contains("data:image/gif;base64,"));

    fs::remove_dir_all(&data).unwrap();
    fs::remove_file(run.join("report.html")).unwrap();
    printed(&["report", name]);
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("data:image/gif;base64,") && page.contains("Nearest neighbours"));
}

#[test]
fn moving_scenes_are_trained_on_without_end() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let mut command = foretell();
    command.args(["train", "v-jepa", "--steps", "2", "--out"]).arg(&run);
    let settings = SMALL.into_iter().filter(|setting| !setting.contains("windows"));
    settings
        .chain(["data.scenes.held_out=40", "judge.train_samples=40"])
        .for_each(|setting| _ = command.args(["--set", setting]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    for part in ["direction", "speed", "hidden place", "without end"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

/// Whether there is an `ffmpeg` that makes this.
fn ffmpeg(arguments: &[&str]) -> bool {
    let made = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).status();
    made.is_ok_and(|status| status.success())
}

fn deep(data: &Path) -> (Option<i32>, Value) {
    let output = foretell().args(["inspect", "--deep", "--json"]).arg(data).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), json)
}

#[test]
fn a_clip_that_is_cut_is_told_and_left_out_where_that_is_asked() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    let whole = y4m(30, (24, 18), 1, 0);
    fs::write(data.join("left/cut.y4m"), &whole[..whole.len() * 2 / 3]).unwrap();
    let run = root.path().join("run");
    let output = train(&data, &run, &[]);
    one_sentence(&output, &["cut.y4m", "truncated", "on_bad_sample"]);
    let (code, found) = deep(&data);
    assert_eq!((code, found["unreadable"].as_array().map(Vec::len)), (Some(1), Some(1)), "{found}");
    let output = train(&data, &run, &["data.on_bad_sample=\"skip\""]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_list_with_a_missing_file_is_refused_with_its_line() {
    let root = tempfile::tempdir().unwrap();
    labelled(root.path());
    let list = root.path().join("clips.txt");
    fs::write(&list, "data/left/c00.y4m 0\n\"data/right/c01.y4m\" 1\ndata/gone.y4m\t1\n").unwrap();
    one_sentence(&train(&list, &root.path().join("run"), &[]), &["clips.txt, line 3", "gone.y4m"]);
    assert!(!root.path().join("run").exists());
    for (settings, part) in [
        (&["data.fps=4", "data.seconds=3"][..], "give one of the two"),
        (&["data.frames=0"][..], "data.frames"),
        (&["data.windows=-1"][..], "data.windows"),
    ] {
        let output = train(&root.path().join("data"), &root.path().join("run"), settings);
        one_sentence(&output, &[part]);
    }
}

/// A clip of one frame stands still; without a decoder a video is refused in a sentence.
#[test]
fn one_frame_is_a_clip_and_a_missing_decoder_is_told() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    fs::write(data.join("left/one.y4m"), y4m(1, (24, 18), 0, 3)).unwrap();
    let found = json(&["inspect", text(&data), "--json"]);
    let notes = found["notes"].to_string();
    assert!(notes.contains("1 clip is shorter"), "{found}");
    let (code, _) = deep(&data);
    assert_eq!(code, Some(0));

    let videos = root.path().join("videos");
    fs::create_dir_all(&videos).unwrap();
    fs::write(videos.join("a.mp4"), b"\0\0\0\x18ftypisom\0\0\0\0isomiso2").unwrap();
    let output = foretell().arg("inspect").arg(&videos).env("PATH", "").output().unwrap();
    one_sentence(&output, &["a.mp4", "takes `ffmpeg`, which is not installed"]);
}

#[test]
fn videos_of_all_kinds_are_told() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("videos");
    fs::create_dir_all(&data).unwrap();
    let at = |name: &str| text(&data.join(name)).to_owned();
    let source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=6"];
    let made = |more: &[&str], name: &str| ffmpeg(&[&source[..], more, &[&at(name)]].concat());
    if !made(&["-c:v", "mpeg4"], "plain.mp4") {
        fs::write(data.join("plain.mp4"), b"\0\0\0\x18ftypisom\0\0\0\0isomiso2").unwrap();
        let output = foretell().arg("inspect").arg(&data).output().unwrap();
        return one_sentence(&output, &["plain.mp4", "takes `ffmpeg`, which is not installed"]);
    }
    assert!(made(&["-vf", "setsar=2", "-c:v", "mpeg4"], "oblong.mp4"));
    // Two seconds of ten frames each, then one in two seconds.
    assert!(made(&["-vf", "select='lt(t,2)+not(mod(n,20))'", "-vsync", "vfr", "-c:v", "mpeg4"], "uneven.mkv"));
    let turned = ["-i", &at("plain.mp4"), "-c", "copy", "-metadata:s:v:0", "rotate=90", &at("turned.mp4")];
    assert!(
        ffmpeg(&turned)
            || ffmpeg(&["-display_rotation", "90", "-i", &at("plain.mp4"), "-c", "copy", &at("turned.mp4")])
    );
    let mut expected = vec!["1 clip has pixels that are not square", "1 clip has a rotation in the container"];
    if made(
        &["-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"],
        "hdr.mp4",
    ) {
        expected.extend(["1 clip has more than 8 bits", "1 clip has a high dynamic range"]);
    }
    let found = json(&["inspect", text(&data), "--json"]);
    let notes = found["notes"].to_string();
    for part in expected {
        assert!(notes.contains(part), "`{part}` is not in: {found}");
    }
    assert_eq!(deep(&data).0, Some(0));

    // Cut, damaged in the middle, and sound alone.
    assert!(ffmpeg(
        &[
            &source[..3],
            &["testsrc2=s=320x240:r=10:d=8", "-c:v", "mpeg4", "-g", "10", "-movflags", "faststart", &at("whole.mp4")]
        ]
        .concat()
    ));
    let bytes = fs::read(data.join("whole.mp4")).unwrap();
    fs::write(data.join("cut.mp4"), &bytes[..bytes.len() * 6 / 10]).unwrap();
    let mut middle = bytes.clone();
    middle[bytes.len() / 2..bytes.len() * 6 / 10].fill(0x5A);
    fs::write(data.join("middle.mp4"), middle).unwrap();
    let sound = ffmpeg(&["-f", "lavfi", "-i", "sine=d=2", "-c:a", "aac", &at("sound.mp4")]);
    let (code, found) = deep(&data);
    assert_eq!(code, Some(1));
    let bad: Vec<String> = found["unreadable"].as_array().unwrap().iter().map(Value::to_string).collect();
    let told = |name: &str, words: &str| bad.iter().any(|bad| bad.contains(name) && bad.contains(words));
    assert!(told("cut.mp4", "frames are there") && told("middle.mp4", "frames are there"), "{bad:?}");
    assert!(!sound || told("sound.mp4", "no video stream"), "{bad:?}");
    assert!(
        bad.iter().all(|bad| ["cut.mp4", "middle.mp4", "sound.mp4"].iter().any(|name| bad.contains(name))),
        "{bad:?}"
    );
    // A training stops at such a clip, or counts it.
    let output = train(&data, &root.path().join("run"), &["train.batch=2"]);
    one_sentence(&output, &["on_bad_sample"]);
    let output = train(&data, &root.path().join("run"), &["train.batch=2", "data.on_bad_sample=\"skip\""]);
    assert!(output.status.success(), "{}", stderr(&output));
}
