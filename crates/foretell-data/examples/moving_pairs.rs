//! Writes the pairs of neighbouring frames by which flow is judged on held-out moving scenes, with their exact flow, for programs that
//! compute flow themselves: `frames.npy` `[N, 2, S, S, 3]` (bytes) and `flow.npy` `[N, S, S, 2]` (f32, to the right and down, in pixels).
//!
//! `cargo run --release -p foretell-data --example moving_pairs -- FOLDER [PAIRS [SIZE [FRAMES [plain|textured]]]]`

use std::fs;
use std::path::Path;

use foretell_data::npy::write_header;
use foretell_data::{Auto, Clips, ClipsConfig, Ground, Modality, MovingConfig, Opening, Part};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("give the folder to write to")?;
    let folder = Path::new(&folder);
    let mut number = |usual: usize| arguments.next().map_or(Ok(usual), |argument| argument.parse::<usize>());
    let (pairs, size, frames) = (number(128)?, number(64)?, number(16)?);
    let ground = match arguments.next().as_deref() {
        Some("plain") => Ground::Plain,
        None | Some("textured") => Ground::Textured,
        Some(other) => return Err(format!("expected plain or textured ground, found {other}").into()),
    };
    let scenes = MovingConfig { ground, held_out: pairs, ..MovingConfig::default() };
    let mut config = ClipsConfig { frames, image_size: Auto::Value(size), scenes, ..ClipsConfig::default() };
    let mut decisions = Vec::new();
    let clips = Clips::open(&mut config, &mut Opening { seed: 0, batch: 1, threads: 1, decisions: &mut decisions })?;
    let mut images = write_header("|u1", &[pairs, 2, size, size, 3]);
    let mut flows = write_header("<f4", &[pairs, size, size, 2]);
    for index in 0..pairs {
        let sample = clips.prepare(clips.load(Part::HeldOut, index)?);
        let between = clips.judged_frames(index);
        for frame in between {
            images.extend_from_slice(&sample.frames[frame].pixels);
        }
        let flow = clips.flow(Part::HeldOut, index, between)?.ok_or("the moving scenes know their flow")?;
        flow.vectors.iter().flatten().for_each(|x| flows.extend_from_slice(&x.to_le_bytes()));
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("frames.npy"), images)?;
    fs::write(folder.join("flow.npy"), flows)?;
    println!("{pairs} pairs of {size}×{size} pixels, {frames} frames a scene: {}", folder.display());
    Ok(())
}
