//! Pictures of a finding: tiles with captions on cards, still or moving, some under a grid of tints.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Cards beside and below each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pictures {
    /// Names of the classes of [`Grid`]s: "unused", "context", "target 1". Empty without grids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legend: Vec<String>,
    /// In their order.
    pub cards: Vec<Card>,
}

/// What belongs together: a sample and what was made of it, a query and its neighbours, an episode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Side by side.
    pub tiles: Vec<Tile>,
    /// Rows of smaller tiles to the right of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strips: Vec<Strip>,
}

/// A row of small tiles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Strip {
    /// "trained", or nothing.
    pub name: String,
    /// "3 of 6", or nothing.
    pub note: String,
    /// In their order.
    pub tiles: Vec<Tile>,
}

/// A picture with its caption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// None where there is none to be shown, which the page then says.
    pub picture: Option<Picture>,
    /// What it shows; nothing where that is plain.
    pub caption: String,
    /// Underlined: the same class as the query's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
    /// Where there is one, the picture is shown twice: as it is, and under these tints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
}

impl Tile {
    /// A tile without mark and grid.
    pub fn new(picture: Option<Picture>, caption: &str) -> Self {
        Self { picture, caption: caption.to_owned(), marked: false, grid: None }
    }
}

/// Classes of a picture's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Tokens from top to bottom.
    pub rows: usize,
    /// Tokens from left to right.
    pub columns: usize,
    /// For each token, row by row: 0 is covered, 1 is left clear, each class above has a tint of its own.
    pub classes: Vec<u8>,
}

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A still picture.
    Png,
    /// A moving picture.
    Gif,
}

/// A picture's file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Of the bytes.
    pub format: Format,
    /// The file; base64 in JSON.
    #[serde(serialize_with = "encoded", deserialize_with = "decoded")]
    bytes: Vec<u8>,
}

fn encoded<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn decoded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} × {}, {} bytes", self.format, self.width, self.height, self.bytes.len())
    }
}

impl Picture {
    /// A still picture of `height × width × 3` bytes, row by row: red, green, blue. None if their number does not fit the
    /// size, or nothing is there.
    pub fn rgb(width: usize, height: usize, pixels: &[u8]) -> Option<Self> {
        let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        let expected = 3 * u64::from(width) * u64::from(height);
        // The encoder takes both for granted.
        if expected == 0 || expected != pixels.len() as u64 {
            return None;
        }
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes).write_image(pixels, width, height, ExtendedColorType::Rgb8).ok()?;
        Some(Self { width, height, format: Format::Png, bytes })
    }

    /// A moving picture from the bytes of its file; none if there are none.
    pub fn gif(width: usize, height: usize, bytes: Vec<u8>) -> Option<Self> {
        let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        (!bytes.is_empty()).then_some(Self { width, height, format: Format::Gif, bytes })
    }

    /// The bytes of its file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The picture as the value of a `src`, which holds no character that HTML would read.
    pub fn data_uri(&self) -> String {
        let kind = match self.format {
            Format::Png => "png",
            Format::Gif => "gif",
        };
        format!("data:image/{kind};base64,{}", STANDARD.encode(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_survive_their_encoding() {
        let pixels: Vec<u8> = (0..3 * 13 * 7).map(|i| (i * 7 % 256) as u8).collect();
        let picture = Picture::rgb(13, 7, &pixels).unwrap();
        let decoded = image::load_from_memory(picture.bytes()).unwrap().into_rgb8();
        assert_eq!(decoded.dimensions(), (13, 7));
        assert_eq!(decoded.into_raw(), pixels);
        let uri = picture.data_uri();
        let bytes = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        assert_eq!(bytes, picture.bytes());
        let stored = serde_json::to_string(&picture).unwrap();
        assert_eq!(serde_json::from_str::<Picture>(&stored).unwrap(), picture);
        assert!(serde_json::from_str::<Picture>(&stored.replace("iVBOR", "i/\\\"BOR")).is_err());
    }

    #[test]
    fn bytes_that_are_no_picture_make_none() {
        assert_eq!(Picture::rgb(4, 4, &[0; 5]), None);
        assert_eq!(Picture::rgb(0, 9, &[]), None);
        assert_eq!(Picture::rgb(usize::MAX, 2, &[0; 6]), None);
        assert_eq!(Picture::gif(260, 260, Vec::new()), None);
        let film = Picture::gif(4, 4, b"GIF89a".to_vec()).unwrap();
        assert_eq!(film.data_uri(), "data:image/gif;base64,R0lGODlh");
    }
}
