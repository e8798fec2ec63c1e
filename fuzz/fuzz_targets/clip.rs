//! Clips: GIF, y4m and `.npy`, by their content. Containers would go to ffmpeg, which is not what is tried here.
#![no_main]

use foretell_data::{Clip, sample_frames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if input.starts_with(b"GIF8") || input.starts_with(b"YUV4MPEG2") || input.starts_with(b"\x93NUMPY") {
        if let Ok(clip) = Clip::open(&foretell_fuzz::file(input)) {
            let _ = clip.read(&sample_frames(clip.frames(), 4));
        }
    }
});
