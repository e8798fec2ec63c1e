//! LeWorldModel on recorded episodes: trained on most of them, then asked to foretell the ones that it has never seen.
//!
//! `cargo run --release -p foretell-world --example recorded_episodes -- FRAMES [ACTIONS] [EVERY] [STEPS] [FRAMESKIP]`, where FRAMES is an
//! `.npz` or a folder of them, ACTIONS the file with the actions if they lie apart, EVERY the actions for one observation and FRAMESKIP those
//! between two that the model sees.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use foretell_data::{Episodes, EpisodesConfig, Part};
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::le_wm::{LeWm, LeWmConfig};
use foretell_train::{Fit, Observer, Report, RunFolder, TrainConfig, fit, settle};
use foretell_world::{Forecast, Imagination};

struct Progress(Instant);

impl Observer for Progress {
    fn step(&mut self, report: &Report) {
        if report.step.is_multiple_of(100) {
            let seconds = self.0.elapsed().as_secs_f64();
            println!("step {} of {}: loss {:.4}, {seconds:.0} s", report.step, report.steps, report.loss);
        }
    }
    fn note(&mut self, line: &str) {
        println!("{line}");
    }
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = |i: usize| arguments.get(i).filter(|text| !text.is_empty());
    let number = |i: usize, default: u64| at(i).map_or(Ok(default), |text| text.parse());
    let path = at(0).ok_or("give the path of an .npz of episodes, or of a folder of them")?;
    let every = number(2, 1)? as usize;
    let frameskip = number(4, every as u64)? as usize;
    let config = EpisodesConfig { actions: at(1).map(PathBuf::from), every, frameskip, ..EpisodesConfig::default() };
    let episodes = Episodes::open(Path::new(path), config)?;
    println!(
        "{} episodes to learn from, {} held out; observations {:?}, blocks of {} numbers",
        episodes.count(Part::Train),
        episodes.count(Part::HeldOut),
        episodes.observation(),
        episodes.action()
    );

    let (seed, device) = (0, Device::flex());
    let setting = WorldSetting {
        observation: episodes.observation(),
        action: episodes.action(),
        normalise: episodes.normalise().clone(),
        actions: episodes.actions().clone(),
        seed,
        device: device.clone(),
    };
    let init = || match LeWmConfig::default().init(&setting) {
        Ok(LeWm::Conv(objective)) => Ok(objective),
        Ok(LeWm::Vit(_)) => Err("convolutions are the default".into()),
        Err(error) => Err(Box::<dyn Error>::from(error)),
    };
    let steps = number(3, 1000)?;
    let mut train = TrainConfig { batch: 64, clip: 1.0, ..TrainConfig::default() };
    train.resolve(steps, 2, &mut Vec::new());
    let place = std::env::temp_dir().join(format!("recorded-{}", std::process::id()));
    let folder = RunFolder::create(&place, "")?;
    let (stop, initial_teacher_left) = (AtomicBool::new(false), None);
    let material = &episodes;
    let fitting = Fit { folder: &folder, config: &train, material, seed, device, initial_teacher_left, stop: &stop };
    let untrained = settle(init()?, &fitting)?;
    let run = fit(init()?, &untrained, &fitting, &mut Progress(Instant::now()))?;
    println!("health: {}", run.health.health.verdict.word());
    std::fs::remove_dir_all(place)?;

    let imagination = Imagination::of(&run.objective, episodes.frameskip());
    let windows = episodes.with_window(11)?.held_out_windows(256);
    let Forecast { model, copy_last, mean, windows } = Forecast::of(&imagination, &windows)?;
    println!("mean squared error of latents over {windows} held-out windows\nahead   model    copy    mean");
    for (k, ((model, copy), mean)) in model.iter().zip(&copy_last).zip(&mean).enumerate() {
        println!("{:5}  {model:6.4}  {copy:6.4}  {mean:6.4}", k + 1);
    }
    Ok(())
}
