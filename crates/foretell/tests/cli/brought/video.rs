//! Clips as people have them: beside posters and labels, animated pictures, cut files, uneven times, long videos.

use std::fmt::Write;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use super::executable;
use crate::made::{encoded, npz};
use crate::released::{arrays, folder};
use crate::{foretell, pictures, stderr};

pub(super) struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What `embed --model` says and prints of inputs; a program `ffmpeg` that lies in the folder is the one it finds.
    pub(super) fn embed(&self, model: &str, inputs: &[&str], more: &[&str]) -> Result<(Value, String), String> {
        let mut command = foretell();
        let path = format!("{}:{}", self.root.path().display(), std::env::var("PATH").unwrap());
        command
            .args(["embed", "--json", "--out"])
            .arg(self.at("y.safetensors"))
            .arg("--model")
            .arg(folder(self.root.path(), model));
        command.args(more).args(inputs.iter().map(|name| self.at(name))).env("PATH", path);
        let output = command.output().unwrap();
        match output.status.code() {
            Some(0) => Ok((serde_json::from_slice(&output.stdout).unwrap(), stderr(&output))),
            code => {
                assert_eq!(code, Some(2), "{}", stderr(&output));
                Err(stderr(&output))
            }
        }
    }

    fn clip(&self, name: &str) {
        let gif = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-data/tests/clips/disposals.gif");
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::copy(gif, self.at(name)).unwrap();
    }

    /// A program in ffmpeg's place: it writes down that it was called, says `words` of a video, and gives `frames` grey frames
    /// of 16 × 16, the first black and each brighter by one.
    fn ffmpeg(&self, words: &str, frames: usize) {
        let log = self.at("calls");
        let script = format!(
            r#"#!/bin/sh
echo "$*" >> '{}'
case "$*" in
*"-f null -") cat >&2 <<'WORDS'
{words}
WORDS
;;
*) i=0; while [ $i -lt {frames} ]; do printf 'P6\n16 16\n255\n'; head -c 768 /dev/zero | tr '\0' "\\$(printf %o $i)"; i=$((i+1)); done ;;
esac
"#,
            log.display()
        );
        executable(&self.at("ffmpeg"), &script);
    }
}

/// What ffmpeg 5.1 says of a file of 10 frames a second, of which it decodes those at these times.
fn words(times: &[f64], wrong: &str) -> String {
    let mut words = "[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:v.mp4':\n[info]   Duration: 00:00:03.00, start: 0.000000, bitrate: 8 kb/s\n[info]   Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(progressive), 16x16 [SAR 1:1 DAR 4:3], 8 kb/s, 10 fps, 10 tbr, 10240 tbn (default)\n[Parsed_showinfo_0 @ 0x559283876840] [info] config in time_base: 1/10240, frame_rate: 10/1\n".to_owned();
    for (n, time) in times.iter().enumerate() {
        let ticks = (time * 10240.0) as u64;
        let _ = writeln!(
            words,
            "[Parsed_showinfo_0 @ 0x559283876840] [info] n:{n:4} pts:{ticks:7} pts_time:{time}       pos:     1234 fmt:yuv420p sar:1/1 s:16x16 i:P iskey:1 type:I checksum:6D7A9C4E plane_checksum:[6D7A9C4E]"
        );
    }
    words + wrong
}

fn steady(frames: usize) -> Vec<f64> {
    (0..frames).map(|n| n as f64 / 10.0).collect()
}

/// `[frames, 12, 8]` in an animated WebP, each of one colour and shown so many milliseconds.
pub(super) fn webp(frames: &[([u8; 3], u32)]) -> Vec<u8> {
    let chunk = |name: &[u8; 4], body: &[u8]| {
        let mut bytes = name.to_vec();
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        bytes.extend(vec![0; body.len() % 2]);
        bytes
    };
    let small = |value: u32| value.to_le_bytes()[..3].to_vec();
    // The bit of animations, then the canvas, less one.
    let mut body = b"WEBP".to_vec();
    body.extend(chunk(b"VP8X", &[&[2, 0, 0, 0][..], &small(11), &small(7)].concat()));
    body.extend(chunk(b"ANIM", &[0xFF, 0xFF, 0xFF, 0xFF, 0, 0]));
    for (colour, milliseconds) in frames {
        let mut still = Cursor::new(Vec::new());
        let pixels = colour.repeat(96);
        WebPEncoder::new_lossless(&mut still).write_image(&pixels, 12, 8, ExtendedColorType::Rgb8).unwrap();
        let place = [small(0), small(0), small(11), small(7), small(*milliseconds), vec![2]].concat();
        body.extend(chunk(b"ANMF", &[place, still.into_inner()[12..].to_vec()].concat()));
    }
    chunk(b"RIFF", &body)
}

#[test]
fn what_lies_beside_clips_is_told() {
    let bench = Bench::new();
    bench.clip("clips/a.gif");
    bench.clip("clips/more/b.gif");
    fs::write(bench.at("clips/poster.png"), crate::made::png(20, 20, 3, 1)).unwrap();
    fs::write(bench.at("clips/labels.npy"), npz::wholes(&[0, 1])).unwrap();
    let (told, said) = bench.embed("v-jepa-2", &["clips"], &[]).unwrap();
    assert_eq!(told["rows"], 2);
    for part in ["1 image beside clips is left untouched", "poster.png", "1 array beside clips", "labels.npy"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(told["notes"].as_array().map(Vec::len), Some(2));
    // A preview beside numbered frames is not the clip.
    pictures(&bench.at("frames"), 9, 20);
    bench.clip("frames/preview.gif");
    let (told, said) = bench.embed("v-jepa-2", &["frames"], &[]).unwrap();
    assert!(told["rows"] == 1 && said.contains("its 9 images are the frames of one clip"), "{said}");
    assert!(said.contains("1 video beside clips is left untouched") && said.contains("preview.gif"), "{said}");
}

#[test]
fn pictures_become_one_clip_with_a_word_or_a_row_each() {
    let bench = Bench::new();
    pictures(&bench.at("many"), 5, 20);
    let (told, said) = bench.embed("v-jepa-2", &["many"], &[]).unwrap();
    assert!(told["rows"] == 1 && said.contains("its 5 images are the frames of one clip (`--images`"), "{said}");
    let (told, said) = bench.embed("v-jepa-2", &["many"], &["--images"]).unwrap();
    assert!(told["rows"] == 5 && !said.contains("clip"), "{said}");
    assert!(told.get("clips").is_none() && told.get("notes").is_none());
}

#[test]
fn an_animated_picture_is_a_clip_for_a_model_of_clips() {
    let bench = Bench::new();
    let colours = [([10, 20, 30], 100), ([200, 20, 30], 100), ([10, 20, 230], 800), ([90, 90, 90], 100)];
    fs::write(bench.at("moving.webp"), webp(&colours)).unwrap();
    fs::write(bench.at("still.webp"), webp(&colours[..1])).unwrap();
    let (told, _) = bench.embed("v-jepa-2", &["moving.webp"], &["--frames", "4"]).unwrap();
    // Shown from 0, 0.1, 0.2 and 1 s on, to 1.1 s: the moments are 0, 0.367, 0.733 and the last.
    let name = bench.at("moving.webp").display().to_string();
    assert_eq!(told["clips"][&name]["frames"], json!([0, 2, 2, 3]));
    assert_eq!(told["clips"][&name]["times"], json!([0.0, 0.2, 0.2, 1.0]));
    let (told, _) = bench.embed("v-jepa-2", &["moving.webp"], &["--frames", "4", "--frames-by", "index"]).unwrap();
    assert_eq!(told["clips"][&name]["frames"], json!([0, 1, 2, 3]));
    // For a model of images it is the picture that it always was.
    let (told, _) = bench.embed("i-jepa", &["moving.webp"], &[]).unwrap();
    assert_eq!(told["rows"], 1);
    let output = foretell().args(["inspect", "--json"]).arg(bench.at("moving.webp")).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["format"], &told["frames"], &told["width"]), (&"an animated WebP".into(), &4.into(), &12.into()));
    assert!(told["notes"][0].as_str().unwrap().contains("0.1 to 0.8 s apart"), "{told}");
}

#[test]
fn a_cut_video_says_how_much_of_it_is_there() {
    let bench = Bench::new();
    fs::write(bench.at("v.mp4"), b"\0\0\0\x18ftypisom").unwrap();
    bench.ffmpeg(
        &words(&steady(5), "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x5592835039c0] [error] stream 0, offset 0xc52: partial file"),
        5,
    );
    let (told, said) = bench.embed("v-jepa-2", &["v.mp4"], &["--frames", "2"]).unwrap();
    assert!(said.contains("5 of about 30 frames are there") && said.contains("partial file"), "{said}");
    let clip = &told["clips"][bench.at("v.mp4").display().to_string()];
    assert_eq!((&clip["frames"], &clip["times"]), (&json!([0, 4]), &json!([0.0, 0.4])));
    assert!(clip["notes"][0].as_str().unwrap().contains("5 of about 30 frames are there"), "{clip}");
    bench.ffmpeg(&words(&steady(30), ""), 30);
    let (_, said) = bench.embed("v-jepa-2", &["v.mp4"], &["--frames", "2"]).unwrap();
    assert!(!said.contains("v.mp4:"), "nothing to say of a whole one: {said}");
}

#[test]
fn frames_at_uneven_times_are_taken_by_their_times() {
    let bench = Bench::new();
    fs::write(bench.at("v.mkv"), b"\x1A\x45\xDF\xA3").unwrap();
    // Six frames over three seconds; a constant rate would make thirty of them.
    let times = [0.0, 0.1, 0.2, 1.0, 2.0, 2.9];
    bench.ffmpeg(&words(&times, ""), 6);
    let name = bench.at("v.mkv").display().to_string();
    let (told, said) = bench.embed("v-jepa-2", &["v.mkv"], &["--frames", "5"]).unwrap_or_else(|said| panic!("{said}"));
    assert_eq!(told["clips"][&name]["frames"], json!([0, 2, 3, 4, 5]));
    assert_eq!(told["clips"][&name]["times"], json!([0.0, 0.2, 1.0, 2.0, 2.9]));
    assert!(said.contains("0.1 to 1 s apart") && said.contains("--frames-by index"), "{said}");
    let (told, _) = bench.embed("v-jepa-2", &["v.mkv"], &["--frames", "5", "--frames-by", "index"]).unwrap();
    assert_eq!(told["clips"][&name]["frames"], json!([0, 1, 3, 4, 5]));
}

#[test]
fn a_long_video_is_decoded_once_for_a_model_of_images() {
    let bench = Bench::new();
    fs::write(bench.at("v.mp4"), b"\0\0\0\x18ftypisom").unwrap();
    bench.ffmpeg(&words(&steady(200), ""), 200);
    let (told, _) = bench.embed("i-jepa", &["v.mp4"], &[]).unwrap();
    assert_eq!(told["rows"], 200);
    let calls = fs::read_to_string(bench.at("calls")).unwrap();
    assert_eq!(calls.lines().count(), 2, "to count the frames, and to read them: {calls}");
    let first = bench.at("v.mp4").display().to_string() + "#150";
    assert_eq!(told["clips"][&first], json!({ "frames": [150], "times": [15.0] }));
    // Each row is its own frame's: the same as of that frame alone, given as a picture.
    let features = || arrays(&bench.at("y.safetensors")).0.remove("features").unwrap().1;
    let rows = features();
    let width = rows.len() / 200;
    let grey = RgbImage::from_pixel(16, 16, Rgb([150; 3]));
    fs::write(bench.at("frame.png"), encoded(&grey.into(), ImageFormat::Png)).unwrap();
    bench.embed("i-jepa", &["frame.png"], &[]).unwrap();
    let alone = features();
    let far = alone.iter().zip(&rows[150 * width..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-4, "{far}");
}

#[test]
fn what_is_no_video_is_said() {
    let bench = Bench::new();
    bench.clip("clips/a.gif");
    fs::write(bench.at("clips/photo.heic"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    let (told, _) = bench.embed("v-jepa-2", &["clips"], &[]).unwrap();
    assert_eq!(told["rows"], 1, "a photograph is no video");
    fs::write(bench.at("sound.mp4"), b"\0\0\0\x18ftypM4A ").unwrap();
    executable(&bench.at("ffmpeg"), "#!/bin/sh\necho \"[fatal] Stream map '0:v:0' matches no streams.\" >&2\nexit 1\n");
    let said = bench.embed("v-jepa-2", &["sound.mp4"], &[]).unwrap_err();
    assert!(
        said.contains("sound.mp4") && said.contains("no video stream") && said.trim().lines().count() == 1,
        "{said}"
    );
}

#[test]
fn rows_follow_the_arguments_whatever_they_are() {
    let bench = Bench::new();
    bench.clip("b.gif");
    pictures(&bench.at("many"), 2, 20);
    fs::write(bench.at("z.png"), crate::made::png(20, 20, 3, 7)).unwrap();
    bench.embed("i-jepa", &["z.png", "b.gif", "many"], &["--frames", "2"]).unwrap();
    let names: Vec<String> = serde_json::from_str(&arrays(&bench.at("y.safetensors")).1["names"]).unwrap();
    let ends = ["z.png", "b.gif#0", "b.gif#4", "many/000.png", "many/001.png"];
    assert!(names.len() == 5 && names.iter().zip(ends).all(|(name, end)| name.ends_with(end)), "{names:?}");
    // The row of a picture is the same wherever it stands.
    let rows = arrays(&bench.at("y.safetensors")).0.remove("features").unwrap().1;
    bench.embed("i-jepa", &["many", "z.png"], &[]).unwrap();
    let others = arrays(&bench.at("y.safetensors")).0.remove("features").unwrap().1;
    let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far(&rows[..24], &others[48..]) < 1e-5 && far(&rows[72..], &others[..48]) < 1e-5);
    // A folder that holds videos alone gives their frames.
    bench.clip("films/c.gif");
    assert_eq!(bench.embed("i-jepa", &["films"], &["--frames", "2"]).unwrap().0["rows"], 2);
    let said = bench.embed("i-jepa", &["many"], &["--images"]).unwrap_err();
    assert!(said.contains("`--images` is for models of clips"), "{said}");
}

#[test]
fn a_folder_of_another_tool_is_named_to_a_model_of_clips_too() {
    let bench = Bench::new();
    fs::create_dir_all(bench.at("robot/meta")).unwrap();
    fs::write(bench.at("robot/meta/info.json"), "{\"codebase_version\": \"v3.0\"}").unwrap();
    let said = bench.embed("v-jepa-2", &["robot"], &[]).unwrap_err();
    assert!(said.contains("robot") && said.contains("episodes_to_npz.py"), "{said}");
}
