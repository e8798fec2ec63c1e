//! PNG, JPEG and WebP to bytes: upright (EXIF), on white (alpha), 8 bits, grey or RGB, within limits.

use std::io::{BufReader, Cursor};
use std::panic::catch_unwind;

use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::images::listing::Place;
use crate::images::records::Header;
use crate::kind::foreign;
use crate::{DataError, Image};

/// More pixels than this are refused.
const MOST_PIXELS: u64 = 100_000_000;

/// What a decoder may allocate: 100 megapixels of 16-bit RGBA, once over.
const MOST_BYTES: u64 = 1 << 30;

/// Enough of a file for the header of almost every image; otherwise the whole file is read.
const HEAD: usize = 1 << 16;

/// The decoded image: upright, on white, 8 bits, grey or RGB as it is stored.
///
/// A decoder that panics on a damaged file (they are other people's, and large) costs that one image, not the run.
pub(crate) fn decode(bytes: &[u8], name: &str) -> Result<Image, DataError> {
    catch_unwind(|| decode_or_panic(bytes, name)).unwrap_or_else(|_| Err(bad(name, "the decoder gave up on it")))
}

fn decode_or_panic(bytes: &[u8], name: &str) -> Result<Image, DataError> {
    let format = format_of(bytes, name)?;
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(bad(name, "the JPEG ends before its end marker, so it is truncated"));
    }
    let mut decoder = decoder(bytes, format, name)?;
    // A damaged EXIF block says nothing about the pixels.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| bad(name, error))?;
    image.apply_orientation(orientation);
    Ok(to_bytes(image))
}

/// Size and colour from the header alone, of a file.
pub(crate) fn header(place: &Place, name: &str) -> Result<Header, DataError> {
    let head = place.head(HEAD)?;
    match read_header(&head, name) {
        Err(DataError::BadImage { .. }) if place.size() > head.len() as u64 => read_header(&place.read(name)?, name),
        other => other,
    }
}

/// The same of bytes.
pub(crate) fn read_header(bytes: &[u8], name: &str) -> Result<Header, DataError> {
    catch_unwind(|| read_header_or_panic(bytes, name)).unwrap_or_else(|_| Err(bad(name, "the decoder gave up on it")))
}

fn read_header_or_panic(bytes: &[u8], name: &str) -> Result<Header, DataError> {
    let decoder = decoder(bytes, format_of(bytes, name)?, name)?;
    let (width, height) = decoder.dimensions();
    let grey = matches!(decoder.color_type(), ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16)
        || matches!(
            decoder.original_color_type(),
            ExtendedColorType::L1 | ExtendedColorType::L2 | ExtendedColorType::L4
        );
    Ok(Header { width: width as usize, height: height as usize, grey })
}

/// Whether the bytes begin like an image that we decode.
pub(crate) fn is_image(head: &[u8]) -> bool {
    format_of(head, "").is_ok()
}

/// What the content is, whatever its name says.
fn format_of(bytes: &[u8], name: &str) -> Result<ImageFormat, DataError> {
    if bytes.is_empty() {
        return Err(bad(name, "the file is empty"));
    }
    match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => Ok(format),
        _ => Err(foreign(name, bytes).unwrap_or_else(|| bad(name, "its content is neither PNG nor JPEG nor WebP"))),
    }
}

fn decoder<'a>(bytes: &'a [u8], format: ImageFormat, name: &str) -> Result<Box<dyn ImageDecoder + 'a>, DataError> {
    let mut reader = ImageReader::with_format(BufReader::new(Cursor::new(bytes)), format);
    // The size is checked by ourselves below, before anything is allocated for it.
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(|error| bad(name, error))?;
    let (width, height) = decoder.dimensions();
    if width as u64 * height as u64 > MOST_PIXELS {
        return Err(DataError::TooLarge {
            name: name.to_owned(),
            found: format!("it is {width}×{height}"),
            limit: "100 megapixels",
        });
    }
    if width == 0 || height == 0 {
        return Err(bad(name, format!("it is {width}×{height}, without a pixel")));
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_BYTES);
    decoder.set_limits(limits).map_err(|error| bad(name, error))?;
    Ok(Box::new(decoder))
}

/// A truncated JPEG decodes to an image with a grey rest, so its end marker is looked for, after the header's segments
/// (an EXIF thumbnail has an end marker of its own).
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == 0xFF {
            at += 1;
            continue;
        }
        let length = u16::from_be_bytes([high, low]) as usize;
        at += 2 + length;
        if marker == 0xDA {
            break;
        }
    }
    bytes.get(at..).is_some_and(|scan| scan.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]))
}

fn to_bytes(image: DynamicImage) -> Image {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (channels, pixels) = match image {
        DynamicImage::ImageLuma8(grey) => (1, grey.into_raw()),
        DynamicImage::ImageRgb8(rgb) => (3, rgb.into_raw()),
        image if !image.color().has_alpha() && !image.color().has_color() => (1, image.into_luma8().into_raw()),
        image if !image.color().has_alpha() => (3, image.into_rgb8().into_raw()),
        image if !image.color().has_color() => {
            (1, image.into_luma_alpha8().into_raw().chunks_exact(2).map(|p| on_white(p[0], p[1])).collect())
        }
        image => {
            let rgba = image.into_rgba8().into_raw();
            (3, rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]].map(|value| on_white(value, p[3]))).collect())
        }
    };
    Image { width, height, channels, pixels }
}

/// `(value α + 255 (255 - α)) / 255`, rounded.
fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (value as u32, alpha as u32);
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

fn bad(name: &str, reason: impl ToString) -> DataError {
    DataError::BadImage { name: name.to_owned(), reason: reason.to_string() }
}
