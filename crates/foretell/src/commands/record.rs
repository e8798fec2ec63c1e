//! `foretell record`: pictures of play in a world, for an encoder of images to learn from.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use foretell_data::Image;
use foretell_data::npy::write_header;
use foretell_data::zip::StoredZip;
use foretell_train::write_whole;
use foretell_world::{Play, PlayConfig, Split, WorldConfig};
use rayon::prelude::*;

use crate::Error;
use crate::output::{print, word};

/// What `record` was asked.
#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    #[arg(long, default_value = "two-rooms", help = format!("Play in this world: {}", WorldConfig::known()))]
    world: String,
    /// Record this many pictures, each of an episode of its own, of layouts that are for training.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pictures: u64,
    /// Random seed of layouts and play.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The .npz to write: `images`, uint8 [N, H, W, 3].
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The name of the array in the file.
const ARRAY: &str = "images.npy";

/// Runs the command.
pub fn record(args: &RecordArgs) -> Result<(), Error> {
    if args.out.extension().is_none_or(|extension| extension != "npz") {
        return Err(Error::Misuse(format!("`--out {}`: expected a file name that ends with .npz", args.out.display())));
    }
    let world = WorldConfig::named(&args.world)?.init()?;
    let shape = world.spec().observation;
    let [channels, height, width] = shape;
    if channels > 3 || height < 2 || width < 2 {
        return Err(Error::Misuse(format!(
            "the world {} shows {shape:?} [C, H, W], which are no pictures",
            args.world
        )));
    }
    let config = PlayConfig { window: 2, ..PlayConfig::default() };
    let play = Play::new(world, config, args.seed)?;
    let pixels = height * width * channels;
    let picture = |number: u64| {
        let window = play.window(Split::Training, 0, number);
        Image::of_values(&window.observations[..pixels], shape).with_channels(3).pixels
    };
    let values: Vec<u8> = (0..args.pictures).into_par_iter().flat_map_iter(picture).collect();
    let header = write_header("|u1", &[args.pictures as usize, height, width, 3]);
    let written = || -> std::io::Result<Vec<u8>> {
        let mut zip = StoredZip::new(Cursor::new(Vec::new()));
        let mut member = zip.member(ARRAY, (header.len() + values.len()) as u64)?;
        member.write_all(&header)?;
        member.write_all(&values)?;
        member.end()?;
        Ok(zip.finish()?.into_inner())
    };
    let bytes = written().map_err(|error| Error::Failure(error.to_string()))?;
    write_whole(&args.out, &bytes)?;
    print(format_args!(
        "pictures  {} of play in {}, {height} × {width}\nfile      {}\nnext      foretell train --data {}   an encoder of such pictures\n",
        args.pictures,
        args.world,
        args.out.display(),
        word(&args.out)
    ))
}
