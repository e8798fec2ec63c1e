//! Trains a member of the family on the built-in scenes, then takes features of images:
//! `cargo run --release --example train_images -- RUN IMAGES…`

use std::path::PathBuf;

use foretell::eval::Pool;
use foretell::{Error, Steps};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().unwrap_or_else(|| "runs/first".into());
    // Any member, any key: "data.path=IMAGES" learns from images of one's own.
    let opened = foretell::open("i-jepa", &["model.size=tiny", "train.batch=64", "judge.train_samples=1000"])?;
    let run = opened.train(folder, Steps::Count(60))?;
    run.findings().iter().for_each(|finding| print!("{finding}"));
    let encoder = run.encoder()?;
    let samples = encoder.open(&arguments.collect::<Vec<_>>())?;
    for (index, features) in samples.features(0..samples.len(), Pool::Sample).into_iter().enumerate() {
        println!("{}: {:.3?} …", samples.meta(index)?.name, &features?[..4]);
    }
    Ok(())
}
