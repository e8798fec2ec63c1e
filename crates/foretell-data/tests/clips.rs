//! Clips against what FFmpeg, Pillow and NumPy make of the same files (`bench/peers/clips.py`), and bad ones.

#[path = "made/damage.rs"]
mod damage;
mod made;

use std::fs;
use std::path::{Path, PathBuf};

use damage::survives;
use foretell_data::{
    Clip, Dataset, Filter, Image, Part, centre_crop, open_inputs, planes, resize, resize_short, sample_frames,
};
use made::{encoded, folder, gzip, idx, picture, png, tar};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clips").join(name)
}

fn all(clip: &Clip) -> Vec<Image> {
    clip.read(&(0..clip.frames()).collect::<Vec<_>>()).unwrap()
}

fn error(path: &Path) -> String {
    let message = Clip::open(path).and_then(|clip| clip.read(&[0])).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn y4m_has_the_colours_that_ffmpeg_sees() {
    for name in ["420", "420-odd", "422", "444", "444-full", "mono"] {
        let clip = Clip::open(&golden(&format!("{name}.y4m"))).unwrap();
        let (width, height) = if name == "420-odd" { (15, 9) } else { (16, 10) };
        assert_eq!((clip.frames(), clip.width(), clip.height()), (3, width, height), "{name}");
        let expected = fs::read(golden(&format!("{name}.rgb"))).unwrap();
        let found: Vec<u8> = all(&clip).into_iter().flat_map(|frame| frame.pixels).collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        let far = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(far <= 2, "{name}: {far} of 255");
    }
}

#[test]
fn gif_frames_are_drawn_on_what_the_ones_before_left() {
    let clip = Clip::open(&golden("disposals.gif")).unwrap();
    assert_eq!((clip.frames(), clip.width(), clip.height()), (5, 12, 10));
    let expected = fs::read(golden("disposals.rgb")).unwrap();
    for (number, (frame, expected)) in all(&clip).iter().zip(expected.chunks_exact(360)).enumerate() {
        assert!(frame.pixels == expected, "frame {number}");
    }
}

/// Found by fuzzing: such a frame was drawn behind the canvas's end.
#[test]
fn a_gif_frame_beside_the_canvas_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("beside.gif");
    let mut bytes = fs::read(golden("disposals.gif")).unwrap();
    let last = bytes.windows(2).rposition(|window| window == [0x2C, 0]).unwrap();
    bytes[last + 1..last + 3].copy_from_slice(&400_u16.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let frames = all(&Clip::open(&path).unwrap());
    assert_eq!(frames.len(), 5);
    assert!(frames[4] == frames[3]);
}

#[test]
fn frames_come_in_the_order_that_was_asked_for() {
    for name in ["disposals.gif", "420.y4m"] {
        let clip = Clip::open(&golden(name)).unwrap();
        let (frames, wanted) = (all(&clip), [2, 0, 2, 1]);
        let found = clip.read(&wanted).unwrap();
        assert!(found.iter().zip(wanted).all(|(frame, number)| *frame == frames[number]), "{name}");
        assert!(clip.read(&[]).unwrap().is_empty());
        let refusal = clip.read(&[99]).unwrap_err().to_string();
        says(&refusal, &[name, "frame 99 was asked for, but it has"]);
    }
}

#[test]
fn resized_as_pillow_does() {
    let open = |name: &str| open_inputs(&[golden(name)]).unwrap().load(Part::Train, 0).unwrap().image;
    let picture = open("picture.png");
    for (name, filter) in [("bilinear", Filter::Bilinear), ("bicubic", Filter::Bicubic)] {
        for (width, height) in [(17, 23), (5, 7), (52, 40), (41, 12)] {
            let expected = open(&format!("{name}-{width}x{height}.png"));
            let found = resize(&picture, width, height, filter);
            assert_eq!((found.width, found.height), (expected.width, expected.height));
            assert!(found.pixels == expected.pixels, "{name} {width}×{height}");
        }
    }
    let differ = resize(&picture, 17, 23, Filter::Bicubic) != resize(&picture, 17, 23, Filter::Bilinear);
    assert!(differ, "the filter plays a part");
}

#[test]
fn short_sides_and_middles_as_the_processors_have_them() {
    let image = Image { width: 100, height: 61, channels: 1, pixels: (0..6100).map(|i| (i % 100) as u8).collect() };
    // torchvision: int(256 · 100 / 61).
    let resized = resize_short(&image, 256, Filter::Bicubic);
    assert_eq!((resized.width, resized.height), (419, 256));
    let cropped = centre_crop(&image, 31, 4);
    assert_eq!(
        (cropped.pixels[0], cropped.pixels[30], cropped.pixels.len()),
        (34, 64, 124),
        "(100 - 31) / 2 rounded down"
    );
    let padded = centre_crop(&image, 103, 61);
    assert_eq!(padded.pixels[..4], [0, 0, 1, 2], "3 columns are missing: 1 before, 2 behind");
    assert_eq!(padded.pixels[98..103], [97, 98, 99, 0, 0]);
}

/// NumPy's `clip(linspace(0, n, t), 0, n - 1).astype(int)`.
#[test]
fn frames_are_sampled_evenly() {
    assert_eq!(sample_frames(16, 16), (0..16).collect::<Vec<_>>());
    assert_eq!(sample_frames(17, 16), [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(sample_frames(100, 16), [0, 6, 13, 20, 26, 33, 40, 46, 53, 60, 66, 73, 80, 86, 93, 99]);
    assert_eq!(sample_frames(7, 16), [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6]);
    assert_eq!(sample_frames(33, 7), [0, 5, 11, 16, 22, 27, 32]);
    assert_eq!((sample_frames(1, 4), sample_frames(10, 2)), (vec![0; 4], vec![0, 9]));
    assert_eq!((sample_frames(5, 1), sample_frames(5, 0), sample_frames(0, 3)), (vec![0], vec![], vec![]));
}

#[test]
fn a_folder_of_frames_in_natural_order() {
    let root = tempfile::tempdir().unwrap();
    for number in [10, 9, 1, 100] {
        folder(root.path(), [(format!("frame{number}.png").as_str(), png(8, 6, 3, number))]);
    }
    folder(root.path(), [("notes.txt", b"no frame".to_vec()), ("other/frame2.png", png(8, 6, 3, 2))]);
    let clip = Clip::open(root.path()).unwrap();
    assert_eq!((clip.frames(), clip.width(), clip.height()), (4, 8, 6));
    let expected: Vec<u8> =
        [1, 9, 10, 100].iter().flat_map(|seed| picture(8, 6, 3, *seed).to_rgb8().into_raw()).collect();
    let found: Vec<u8> = all(&clip).into_iter().flat_map(|frame| frame.pixels).collect();
    assert_eq!(found, expected);
    // [T, 3, H, W]: the first plane is the reds of the first frame.
    let reds: Vec<u8> = expected[..144].iter().step_by(3).copied().collect();
    assert_eq!(planes(&all(&clip))[..48], reds);

    folder(root.path(), [("frame50.png", png(8, 7, 3, 50))]);
    let clip = Clip::open(root.path()).unwrap();
    says(&clip.read(&[0, 3]).unwrap_err().to_string(), &["frame50.png", "8×7", "first frame of its clip is 8×6"]);
    let empty = tempfile::tempdir().unwrap();
    says(&error(empty.path()), &["holds no images"]);
}

fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\0", (header.len() as u16).to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}

#[test]
fn numpy_clips_in_every_layout() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("clip.npy");
    let frames = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        all(&Clip::open(&path).unwrap())
    };
    let last: Vec<u8> = (0..2 * 2 * 5 * 3).map(|i| (i * 4) as u8).collect();
    let found = frames(npy("|u1", "(2, 2, 5, 3)", &last));
    assert_eq!((found.len(), found[0].width, found[0].height), (2, 5, 2));
    assert_eq!(found.iter().flat_map(|frame| frame.pixels.clone()).collect::<Vec<_>>(), last);
    // The same with planes first.
    let first = planes(&found);
    assert_eq!(frames(npy("|u1", "(2, 3, 2, 5)", &first)), found);
    let floats = |scale: f32| first.iter().flat_map(|x| (*x as f32 / scale).to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(frames(npy("<f4", "(2, 3, 2, 5)", &floats(255.0))), found);
    assert_eq!(frames(npy("<f4", "(2, 3, 2, 5)", &floats(1.0))), found);
    let grey = frames(npy("|u1", "(1, 2, 5)", &last[..10]));
    assert_eq!(grey[0].pixels[..6], [last[0], last[0], last[0], last[1], last[1], last[1]]);

    for (bytes, part) in [
        (npy("|u1", "(2, 2, 5, 3)", &last[..59]), "does not fit the 59 bytes"),
        (npy("|u1", "(99999999999, 99999999999, 5, 3)", &last), "does not fit the 60 bytes"),
        (npy("|u1", "(2, 30)", &last), "expected [T, H, W, 3]"),
        (npy("<i8", "(1, 2, 2, 3)", &[0; 96]), "expected uint8, or float32"),
        (npy("<f4", "(1, 1, 1, 3)", &f32::NAN.to_le_bytes().repeat(3)), "it holds NaN in frame 0"),
        (npy("<f4", "(1, 1, 1, 3)", &(-1_f32).to_le_bytes().repeat(3)), "it holds -1 in frame 0"),
        (npy("|u1", "(0, 2, 2, 3)", &[]), "it has no frame"),
        (npy("|u1", "(1, 0, 2, 3)", &[]), "without a pixel"),
        (npy("|u1", "(1, 2, 2, 3)", &last)[..20].to_vec(), "it ends inside its header"),
        (npy("|O", "(1, 2, 2, 3)", &[]), "it is of type `|O`"),
    ] {
        fs::write(&path, bytes).unwrap();
        says(&error(&path), &["clip.npy", part]);
    }
}

#[test]
fn y4m_headers_are_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("clip.y4m");
    let frame = [b"FRAME\n".as_slice(), &[9; 24]].concat();
    for (bytes, part) in [
        (b"YUV4MPEG2 W4 H4\n".to_vec(), "it has no frame"),
        (b"YUV4MPEG2 W4\nFRAME\n".to_vec(), "names no width and height"),
        (b"YUV4MPEG2 W4 Hx\nFRAME\n".to_vec(), "its header says `Hx`"),
        (b"YUV4MPEG2 W0 H4\nFRAME\n".to_vec(), "without a pixel"),
        (b"YUV4MPEG2 W4000000 H4000000\nFRAME\n".to_vec(), "4000000×4000000, and the limit is 32 megapixels"),
        (b"YUV4MPEG2 W99999999999999999999 H4\nFRAME\n".to_vec(), "its header says `W9999"),
        (b"YUV4MPEG2 W8000 H4000\nFRAME\n12".to_vec(), "48000000 bytes were expected, but found 2"),
        (b"YUV4MPEG2 W4 H4 C420p10\nFRAME\n".to_vec(), "the colours `C420p10`"),
        (b"YUV4MPEG2 W4 H4 ".repeat(200), "no line ends within"),
        ([b"YUV4MPEG2 W4 H4\n".as_slice(), &frame, b"FRAMF\n", &[9; 24]].concat(), "is damaged behind its frame 1"),
        ([b"YUV4MPEG2 W4 H4\n".as_slice(), &frame, &frame[..29]].concat(), "is truncated inside its frame 1"),
    ] {
        fs::write(&path, bytes).unwrap();
        says(&error(&path), &["clip.y4m", part]);
    }
    fs::write(&path, [b"YUV4MPEG2 W4 H4 F25:1\nFRAME Ip\n".as_slice(), &[9; 24], &frame].concat()).unwrap();
    assert_eq!(Clip::open(&path).unwrap().frames(), 2);
}

#[test]
fn numpy_axes_are_what_is_possible() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("clip.npy");
    let write = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        let text = format!("{shape:?}").replace('[', "(").replace(']', ")");
        fs::write(&path, npy("|u1", &text, &(0..count).map(|i| (i % 251) as u8).collect::<Vec<_>>())).unwrap();
    };
    for (shape, frames, width, height, told) in [
        // Pictures.
        (&[32, 32, 3][..], 1, 32, 32, true),
        (&[20, 30, 1], 1, 30, 20, true),
        // Clips.
        (&[32, 32, 32], 32, 32, 32, false),
        (&[5, 8, 6, 1], 5, 6, 8, false),
        (&[5, 1, 8, 6], 5, 6, 8, false),
        (&[5, 3, 6, 6], 5, 6, 6, false),
        (&[5, 6, 6, 3], 5, 6, 6, false),
        (&[1, 3, 9, 9], 1, 9, 9, false),
    ] {
        write(shape);
        let clip = Clip::open(&path).unwrap();
        assert_eq!((clip.frames(), clip.width(), clip.height()), (frames, width, height), "{shape:?}");
        assert!(clip.notes().join("; ").contains("are taken as ["), "{shape:?}: {:?}", clip.notes());
        assert_eq!(clip.notes().len() > 1, told, "{shape:?}: {:?}", clip.notes());
        let image = &clip.read(&[frames - 1]).unwrap()[0];
        assert_eq!((image.channels, image.pixels.len()), (3, width * height * 3));
    }
    write(&[32, 32, 3]);
    let pixels = &Clip::open(&path).unwrap().read(&[0]).unwrap()[0].pixels;
    assert!(pixels.iter().enumerate().all(|(i, x)| usize::from(*x) == i % 251), "the picture itself");
    for (shape, parts) in [
        (&[3, 32, 32][..], ["x[None]", "x[..., None]"]),
        (&[32, 32, 4], ["x[None, ..., :3]", "x[..., None]"]),
        (&[3, 1, 32, 32], ["x.transpose(1, 0, 2, 3)", "x[:, 0, ..., None]"]),
        (&[3, 16, 32, 32], ["x.transpose(1, 0, 2, 3)", "[T, C, H, W]"]),
        (&[32, 32, 3, 16], ["x.transpose(3, 0, 1, 2)", "[T, H, W, C]"]),
        (&[8, 32, 32, 4], ["x[..., :3]", "fourth channel"]),
        (&[8, 4, 84, 84], ["x[:, -1]", "x[:, :3]"]),
        (&[8, 3, 40, 3], ["on the last axis or on the second", "x.transpose(0, 2, 3, 1)"]),
        (&[2, 4, 8, 8, 3], ["several clips", "x[0]"]),
    ] {
        write(shape);
        says(&error(&path), &parts);
        says(&error(&path), &[&format!("{shape:?}")]);
    }
}

#[test]
fn numpy_floats_have_the_range_that_most_of_them_have() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("clip.npy");
    let write = |change: &dyn Fn(usize, f32) -> f32| {
        let values = (0..4 * 16 * 16 * 3).flat_map(|i| change(i, (i % 100) as f32 / 99.0).to_le_bytes());
        fs::write(&path, npy("<f4", "(4, 16, 16, 3)", &values.collect::<Vec<u8>>())).unwrap();
    };
    let read = || {
        let clip = Clip::open(&path).unwrap();
        (all(&clip).into_iter().flat_map(|frame| frame.pixels).collect::<Vec<u8>>(), clip.notes().join("; "))
    };
    write(&|_, x| x);
    let (plain, none) = read();
    assert!(none.ends_with("are taken as [T, H, W, C], and 1 as white") && plain[50] == 129, "{none}");
    // One value of many a little beyond, and what resampling does at edges.
    for (at, value, as_byte) in [(777, 1.003, 255), (777, 1.4, 255), (777, 7.0, 255), (777, -0.02, 0)] {
        write(&|i, x| if i == at { value } else { x });
        let (pixels, told) = read();
        assert!(
            pixels.iter().zip(&plain).enumerate().all(|(i, (a, b))| if i == at { *a == as_byte } else { a == b }),
            "{value}"
        );
        assert!(told.contains("1 of 3072 numbers lie outside of 0 to 1") && told.contains("clipped"), "{told}");
    }
    write(&|_, x| x * 1.1 - 0.02);
    let (pixels, told) = read();
    assert!(pixels[50].abs_diff(136) < 2 && told.contains("outside of 0 to 1"), "{} {told}", pixels[50]);
    // Bytes as floats: all of them, a dark clip with few bright pixels, and hardly any light at all.
    for (name, change) in [
        ("bytes", &(|_, x: f32| x * 255.0) as &dyn Fn(usize, f32) -> f32),
        ("dark", &|i, _| if i % 500 == 0 { 200.0 } else { 0.0 }),
        ("nearly black", &|i, _| (i % 3) as f32),
        ("overshoot", &|i, x| if i == 3 { 261.0 } else { x * 255.0 }),
    ] {
        write(change);
        let expected = |i: usize| (change(i, (i % 100) as f32 / 99.0) + 0.5) as u8;
        let (pixels, told) = read();
        assert!(pixels.iter().enumerate().all(|(i, x)| *x == expected(i)), "{name}");
        assert!(told.contains("and 255 as white"), "{name}: {told}");
        assert_eq!(told.contains("clipped"), name == "overshoot", "{name}: {told}");
    }
    for (change, parts) in [
        (&(|_, x: f32| x * 2.0 - 1.0) as &dyn Fn(usize, f32) -> f32, ["it holds -1 in frame 0", "(x + 1) / 2"]),
        (&|_, x| x - 0.2, ["it holds -0.2 in frame 0", "expected numbers from 0 to 1"]),
        (&|i, x| if i % 30 == 0 { 60.0 } else { x }, ["lie between 0 and 1", "up to 60"]),
        (&|_, x| x * 4000.0, ["in frame 0", "expected numbers from 0 to 1, or to 255"]),
        (&|_, x| x / 0.0, ["in frame 0", "expected numbers from 0 to 1, or to 255"]),
    ] {
        write(change);
        says(&error(&path), &parts);
    }
    // Half precision, and Fortran order.
    let halves = [0_u16, 0x3800, 0x3C00].into_iter().cycle().take(24).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    fs::write(&path, npy("<f2", "(2, 2, 2, 3)", &halves)).unwrap();
    assert_eq!(read().0[..3], [0, 128, 255]);
    let values: Vec<u8> = (0..2 * 5 * 4 * 3).collect();
    fs::write(&path, made::npz::fortran("|u1", &[2, 5, 4, 3], 1, &values)).unwrap();
    assert_eq!(read().0, values);
}

#[test]
fn gifs_and_files_that_are_no_clips() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("clip");
    let whole = fs::read(golden("disposals.gif")).unwrap();
    let mut huge = whole.clone();
    huge[6..10].fill(0xFF);
    for (bytes, part) in [
        (whole[..200].to_vec(), "damaged or truncated in frame"),
        (whole[..9].to_vec(), "no whole GIF"),
        (huge, "65535×65535, and the limit is 32 megapixels"),
        (Vec::new(), "the file is empty"),
        (b"hello world".to_vec(), "begins with the bytes [68, 65"),
        (png(4, 4, 3, 1), "expected a folder of frames, a GIF, an animated WebP or PNG, a y4m or .npy file"),
    ] {
        fs::write(&path, bytes).unwrap();
        says(&error(&path), &["clip` cannot be used", part]);
    }
    says(&error(Path::new("no/such/clip.mp4")), &["there is nothing at"]);
}

/// Peak of this test's process with all its tests.
const MOST_BYTES: u64 = 1 << 30;

fn read_clip(path: &Path) {
    if let Ok(clip) = Clip::open(path) {
        let _ = clip.read(&sample_frames(clip.frames(), 4));
    }
}

#[test]
fn damaged_clips_cost_nothing_but_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("damaged");
    let arrays = vec![
        npy("|u1", "(2, 3, 2, 5)", &[7; 60]),
        npy("<f4", "(1, 2, 2, 3)", &[1; 48]),
        npy("<f8", "(1, 2, 2)", &[1; 32]),
        made::npz::fortran("<f2", &[2, 3, 4, 3], 2, &[7; 144]),
    ];
    let y4m = ["420-odd.y4m", "422.y4m", "mono.y4m"].map(|name| fs::read(golden(name)).unwrap()).to_vec();
    let gif = vec![fs::read(golden("disposals.gif")).unwrap()];
    for (seed, files, cases) in [(4, arrays, 3_000), (5, y4m, 3_000), (6, gif, 3_000)] {
        survives(seed, &files, cases, MOST_BYTES, |bytes| {
            fs::write(&path, bytes).unwrap();
            read_clip(&path);
        });
    }
}

#[test]
fn damaged_data_sets_cost_nothing_but_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("train-images-idx3-ubyte");
    let scratch = root.path().join("made.tar");
    let members = [("a/1.png", png(9, 9, 3, 1)), ("b/2.png", png(5, 4, 1, 1)), ("b/2.cls", vec![b'1'])];
    let long = [("a/".repeat(80) + "1.png", png(3, 3, 1, 2))];
    let tars = vec![
        fs::read(tar(&scratch, members)).unwrap(),
        fs::read(tar(&scratch, long.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())))).unwrap(),
    ];
    let arrays = vec![idx(&[3, 4, 4], &[5; 48]), gzip(&idx(&[3, 4, 4], &[5; 48])), idx(&[2, 2, 2, 3], &[1; 24])];
    let webp = encoded(&picture(16, 12, 3, 3), image::ImageFormat::WebP);
    let pictures = vec![png(9, 9, 3, 1), made::jpeg(16, 16, 2), webp];
    for (seed, files, cases) in [(7, tars, 3_000), (8, arrays, 3_000), (9, pictures, 3_000)] {
        survives(seed, &files, cases, MOST_BYTES, |bytes| {
            fs::write(&path, bytes).unwrap();
            let opened = if seed == 9 { open_inputs(std::slice::from_ref(&path)) } else { Dataset::open(&path) };
            if let Ok(dataset) = opened {
                for index in 0..dataset.len(Part::Train).min(4) {
                    let _ = dataset.load(Part::Train, index);
                }
            }
        });
    }
}
