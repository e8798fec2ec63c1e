//! Pictures inside the page: PNG in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

/// An 8-bit picture, row by row, three bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `height × width × 3` bytes: red, green, blue.
    pub pixels: Vec<u8>,
}

/// Below this many pixels a side, a picture is enlarged without smoothing.
const SMALL: u32 = 128;

impl Rgb {
    /// The picture as the value of a `src`, or `None` if its bytes do not fit its size.
    pub(super) fn data_uri(&self) -> Option<String> {
        let mut png = Vec::new();
        let expected = 3 * u64::from(self.width) * u64::from(self.height);
        // The encoder takes both for granted.
        if expected == 0 || expected != self.pixels.len() as u64 {
            return None;
        }
        PngEncoder::new(&mut png).write_image(&self.pixels, self.width, self.height, ExtendedColorType::Rgb8).ok()?;
        Some(format!("data:image/png;base64,{}", STANDARD.encode(png)))
    }

    /// The class that keeps small pictures sharp.
    pub(super) fn class(&self) -> &'static str {
        if self.width.max(self.height) < SMALL { "sharp" } else { "smooth" }
    }

    /// An `<img>`, or a box that says that there is no picture. `alt` is HTML.
    pub(super) fn img(&self, alt: &str) -> String {
        match self.data_uri() {
            Some(uri) => format!(
                "<img class=\"{}\" width=\"{}\" height=\"{}\" src=\"{uri}\" alt=\"{alt}\">",
                self.class(),
                self.width,
                self.height,
            ),
            None => "<span class=\"missing\">no picture</span>".to_owned(),
        }
    }
}
