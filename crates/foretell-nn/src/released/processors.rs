//! The image processors of transformers by their names: what each does where its file does not say, and what one number means as its
//! `size`. Source: `models/*/image_processing_pil_*.py` of transformers 5.24.

use super::preprocessing::{Filter, IMAGENET, Preprocessing, Resize};

/// Mean and standard deviation of CLIP's training.
const CLIP: ([f32; 3], [f32; 3]) =
    ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]);
const HALF: ([f32; 3], [f32; 3]) = ([0.5; 3], [0.5; 3]);

/// A processor whose steps are the usual ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Processor {
    name: &'static str,
    /// Whether one number as `size` is a square, rather than the shorter side (`default_to_square`).
    pub(super) square: bool,
    resize: Resize,
    filter: Filter,
    crop: Option<usize>,
    /// Whether it cuts the middle out where its file does not say.
    cuts: bool,
    statistics: ([f32; 3], [f32; 3]),
}

const fn plain(
    name: &'static str,
    square: bool,
    resize: Resize,
    filter: Filter,
    statistics: ([f32; 3], [f32; 3]),
) -> Processor {
    Processor { name, square, resize, filter, crop: None, cuts: false, statistics }
}

/// Which cuts 224 pixels out of the middle.
const fn cutting(plain: Processor) -> Processor {
    Processor { crop: Some(224), cuts: true, ..plain }
}

const fn exact(side: usize) -> Resize {
    Resize::Exact(side, side)
}

const PROCESSORS: [Processor; 15] = [
    Processor { crop: Some(224), ..plain("Beit", true, exact(224), Filter::Bicubic, HALF) },
    cutting(plain("Bit", false, Resize::Shorter(224), Filter::Bicubic, CLIP)),
    plain("Blip", true, exact(384), Filter::Bicubic, CLIP),
    cutting(plain("ChineseCLIP", false, Resize::Shorter(224), Filter::Bicubic, CLIP)),
    cutting(plain("CLIP", false, Resize::Shorter(224), Filter::Bicubic, CLIP)),
    plain(CONVNEXT, false, Resize::Shorter(384), Filter::Bicubic, HALF),
    cutting(plain("DeiT", true, exact(256), Filter::Bicubic, HALF)),
    cutting(plain("MobileNetV1", false, Resize::Shorter(256), Filter::Bilinear, HALF)),
    cutting(plain("MobileNetV2", false, Resize::Shorter(256), Filter::Bilinear, HALF)),
    Processor { crop: Some(768), ..plain("OwlViT", true, exact(768), Filter::Bicubic, CLIP) },
    plain("Pvt", true, exact(224), Filter::Bicubic, IMAGENET),
    plain("Segformer", true, exact(512), Filter::Bilinear, IMAGENET),
    plain("Siglip", false, exact(224), Filter::Bicubic, HALF),
    cutting(plain("VideoMAE", false, Resize::Shorter(224), Filter::Bilinear, HALF)),
    plain("ViT", true, exact(224), Filter::Bilinear, HALF),
];

const CONVNEXT: &str = "ConvNext";

impl Processor {
    /// Of a type such as `CLIPImageProcessor`, `ViTImageProcessorFast` or, before 2023, `ViTFeatureExtractor`.
    pub(super) fn named(type_name: &str) -> Option<Self> {
        let name = ["ImageProcessor", "VideoProcessor", "FeatureExtractor"].iter().find_map(|kind| {
            let (name, rest) = type_name.split_once(kind)?;
            matches!(rest, "" | "Fast" | "Pil").then_some(name)
        })?;
        PROCESSORS.into_iter().find(|processor| processor.name == name)
    }

    /// What it does where its file says nothing, for a model whose own preprocessing is `otherwise`.
    pub(super) fn defaults(self, otherwise: &Preprocessing) -> (Preprocessing, bool) {
        let (mean, std) = self.statistics;
        // The processor of I-JEPA's files: pictures of the model's size rather than of 224 pixels.
        let own = otherwise.resize.filter(|resize| self.name == "ViT" && matches!(resize, Resize::Exact(..)));
        let defaults = Preprocessing {
            resize: Some(own.unwrap_or(self.resize)),
            filter: self.filter,
            crop: self.crop.map(|side| (side, side)),
            scale: 1.0 / 255.0,
            mean: mean.to_vec(),
            std: std.to_vec(),
        };
        (defaults, self.cuts)
    }

    /// What a shorter side means to ConvNeXt's processor: below 384 pixels the middle of a picture resized to more, `part` of which it is;
    /// else a square.
    pub(super) fn cut(self, resize: Resize, part: Option<f64>) -> Option<(Resize, Option<(usize, usize)>)> {
        match resize {
            Resize::Shorter(side) if self.name == CONVNEXT => Some(if side < 384 {
                let before = side as f64 / part.unwrap_or(224.0 / 256.0);
                (Resize::Shorter(before as usize), Some((side, side)))
            } else {
                (exact(side), None)
            }),
            _ => None,
        }
    }
}
