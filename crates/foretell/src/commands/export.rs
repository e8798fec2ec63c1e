//! `foretell export`: a run's encoder for transformers, or as ONNX.

use std::path::{Path, PathBuf};

use foretell_data::Normalise;
use foretell_nn::vit::Vit;
use foretell_systems::recipe;
use serde::Serialize;

use crate::export::Numbers;
use crate::kept::KeptRun;
use crate::output::{print, print_json};
use crate::{DeviceChoice, Error, PrecisionChoice, export};

/// What `export` was asked.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// A finished run's folder.
    run: PathBuf,
    /// What to write.
    #[arg(long, value_enum)]
    format: Format,
    /// The folder (hf; new or empty) or file (onnx; replaced if it exists) to write.
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// In what to write the weights of the blocks (onnx): f32, or int8 for a file of about a quarter.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
    /// Print one JSON object instead of a line.
    #[arg(long)]
    json: bool,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A folder for Hugging Face's transformers: `IJepaModel.from_pretrained(DIR)`.
    Hf,
    /// One file, opset 17: `pixel_values` [batch, C, H, W] to `last_hidden_state` [batch, N, D].
    Onnx,
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Exported {
    out: PathBuf,
    format: Format,
    #[serde(skip_serializing_if = "PrecisionChoice::is_f32")]
    precision: PrecisionChoice,
    channels: usize,
    height: usize,
    width: usize,
    tokens: usize,
    dim: usize,
}

/// Runs the command.
pub fn export(args: &ExportArgs) -> Result<(), Error> {
    let maps = numbers(args.format, args.precision)?;
    check_place(args.format, &args.out)?;
    let kept = KeptRun::finished(&args.run, &DeviceChoice::default().open()?, false)?;
    let encoder = kept.encoder()?;
    let vit = encoder.network().downcast_ref::<Vit>().ok_or_else(|| {
        Error::Misuse(format!(
            "the encoder of {} is no vision transformer of images, which alone can be exported",
            args.run.display()
        ))
    })?;
    let normalise = &normalise(&kept)?;
    match args.format {
        Format::Hf => export::hugging_face(vit, normalise, &args.out)?,
        Format::Onnx => export::onnx(vit, normalise, maps, &args.out)?,
    }
    let config = vit.config();
    let (rows, columns) = config.grid();
    let (channels, (height, width)) = (config.channels, config.image);
    let (tokens, dim) = (rows * columns, config.width);
    if args.json {
        return print_json(&Exported {
            out: args.out.clone(),
            format: args.format,
            precision: args.precision,
            channels,
            height,
            width,
            tokens,
            dim,
        });
    }
    let shown = args.out.display();
    let opens = match args.format {
        Format::Hf => format!("IJepaModel.from_pretrained(\"{shown}\")"),
        Format::Onnx => "ONNX".to_owned(),
    };
    print(format_args!(
        "{shown}: {opens}, pixel_values [batch, {channels}, {height}, {width}] to last_hidden_state [batch, {tokens}, {dim}]\n"
    ))
}

/// In what the maps are written, or why they cannot be.
fn numbers(format: Format, precision: PrecisionChoice) -> Result<Numbers, Error> {
    match (format, precision) {
        (_, PrecisionChoice::F32) => Ok(Numbers::F32),
        (Format::Onnx, PrecisionChoice::Int8) => Ok(Numbers::Int8),
        (Format::Onnx, PrecisionChoice::Bf16) => Err(Error::Misuse(
            "`--precision bf16`: runtimes of ONNX multiply bf16 on few processors; take int8, or leave `--precision` out for f32".to_owned(),
        )),
        (Format::Hf, _) => Err(Error::Misuse(format!(
            "`--precision {}` is for `--format onnx`; transformers itself brings a folder in f32 to fewer bits (`dtype=`)",
            precision.get()
        ))),
    }
}

/// An error where nothing can be written, before the run is read.
fn check_place(format: Format, out: &Path) -> Result<(), Error> {
    match format {
        Format::Hf => export::check_folder(out),
        Format::Onnx if out.is_dir() => {
            Err(Error::Misuse(format!("`--out {}` is a folder: expected the name of a file", out.display())))
        }
        Format::Onnx => Ok(()),
    }
}

/// Mean and standard deviation of the training images.
fn normalise(kept: &KeptRun) -> Result<Normalise, Error> {
    let recipe = kept.session.recipe();
    let measured = recipe::get(&recipe, "data.normalise").cloned();
    measured.and_then(|measured| measured.try_into().ok()).ok_or_else(|| {
        Error::Misuse(format!(
            "{} has no `data.normalise`: runs of images alone can be exported",
            kept.folder.config().display()
        ))
    })
}
