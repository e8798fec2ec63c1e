//! PNG, JPEG and WebP to bytes: upright (EXIF), on white (alpha), 8 bits, grey or RGB, within limits.

use std::io::{BufReader, Cursor};
use std::panic::catch_unwind;
use std::sync::{Condvar, Mutex, PoisonError};

use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::images::depth::FULL;
use crate::images::listing::Place;
use crate::images::records::Header;
use crate::kind::foreign;
use crate::{DataError, Image};

/// More pixels than this are refused: twice the largest photographs.
pub(crate) const MOST_PIXELS: u64 = 1 << 28;

/// The same in words.
pub(crate) const LIMIT: &str = "268 megapixels (2^28)";

/// What a decoder may allocate: so many pixels of 16-bit RGBA, once over.
const MOST_BYTES: u64 = 8 * MOST_PIXELS;

/// Images of fewer pixels are decoded by as many threads as there are.
const LARGE: u64 = 1 << 24;

/// What the decoding of large images may take at a time, all threads together, in bytes; one alone may take more.
const ROOM: u64 = 1 << 30;

/// Enough of a file for the header of almost every image; otherwise the whole file is read.
const HEAD: usize = 1 << 16;

/// The decoded image: upright, on white, 8 bits, grey or RGB as it is stored.
///
/// A decoder that panics on a damaged file (they are other people's, and large) costs that one image, not the run.
pub(crate) fn decode(bytes: &[u8], name: &str) -> Result<Image, DataError> {
    decode_over(bytes, name, FULL)
}

/// The same; numbers of 16 bits become 8 by this range, whose ends are black and white.
pub(crate) fn decode_over(bytes: &[u8], name: &str, range: [u16; 2]) -> Result<Image, DataError> {
    gently(name, || Ok(to_bytes(spread(dynamic(bytes, name)?, range))))
}

fn gently<T>(name: &str, read: impl FnOnce() -> Result<T, DataError> + std::panic::UnwindSafe) -> Result<T, DataError> {
    catch_unwind(read).unwrap_or_else(|_| Err(bad(name, "the decoder gave up on it")))
}

/// The least and the largest number of an image of 16 bits, alpha aside; `None` for others and for those that cannot be read.
pub(crate) fn extent(bytes: &[u8], name: &str) -> Option<(u16, u16)> {
    let image = gently(name, || dynamic(bytes, name)).ok()?;
    let (numbers, channels, colours): (&[u16], usize, usize) = match &image {
        DynamicImage::ImageLuma16(image) => (image.as_raw(), 1, 1),
        DynamicImage::ImageLumaA16(image) => (image.as_raw(), 2, 1),
        DynamicImage::ImageRgb16(image) => (image.as_raw(), 3, 3),
        DynamicImage::ImageRgba16(image) => (image.as_raw(), 4, 3),
        _ => return None,
    };
    let values = || numbers.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]).copied();
    values().min().zip(values().max())
}

/// The same image with the numbers of 16 bits spread over this range; others are as they were.
fn spread(mut image: DynamicImage, [low, high]: [u16; 2]) -> DynamicImage {
    if [low, high] == FULL {
        return image;
    }
    let width = u32::from(high.saturating_sub(low)).max(1);
    let to = |number: &mut u16| {
        let above = u32::from(number.saturating_sub(low)).min(width);
        *number = ((above * 65535 + width / 2) / width) as u16;
    };
    let colours = |numbers: &mut [u16], channels: usize| {
        numbers.chunks_exact_mut(channels).for_each(|pixel| {
            let alpha = usize::from(channels.is_multiple_of(2));
            pixel[..channels - alpha].iter_mut().for_each(to);
        });
    };
    match &mut image {
        DynamicImage::ImageLuma16(image) => colours(image, 1),
        DynamicImage::ImageLumaA16(image) => colours(image, 2),
        DynamicImage::ImageRgb16(image) => colours(image, 3),
        DynamicImage::ImageRgba16(image) => colours(image, 4),
        _ => {}
    }
    image
}

/// Bytes of a large image that is decoded at this moment; given back when it is dropped.
struct Room(u64);

static TAKEN: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Room {
    /// Waits until there is room beside the other large images.
    fn take(bytes: u64) -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = FREED
            .wait_while(taken, |taken| *taken > 0 && *taken + bytes > ROOM)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        Self(bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        FREED.notify_all();
    }
}

/// Upright, in its own type.
fn dynamic(bytes: &[u8], name: &str) -> Result<DynamicImage, DataError> {
    let format = format_of(bytes, name)?;
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(bad(name, "the JPEG ends before its end marker, so it is truncated"));
    }
    let mut decoder = decoder(bytes, format, name)?;
    // A damaged EXIF block says nothing about the pixels.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    // A decoder's own buffers, or the copy that is turned upright.
    let _room = (pixels > LARGE).then(|| Room::take(2 * decoder.total_bytes()));
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| bad(name, error))?;
    image.apply_orientation(orientation);
    Ok(image)
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
    let deep = matches!(decoder.color_type(), ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16);
    Ok(Header { width: width as usize, height: height as usize, grey, deep })
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
            limit: LIMIT,
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
            // In place: a large photograph is large enough once.
            let mut pixels = image.into_rgba8().into_raw();
            for pixel in 0..width * height {
                let alpha = pixels[4 * pixel + 3];
                for channel in 0..3 {
                    pixels[3 * pixel + channel] = on_white(pixels[4 * pixel + channel], alpha);
                }
            }
            pixels.truncate(3 * width * height);
            pixels.shrink_to_fit();
            (3, pixels)
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
    let said = reason.to_string();
    // Of PNG: a decoder's word for bytes that are not what was written.
    let changed = "its checksum does not fit its content, so bytes of it have changed since it was written";
    let reason = if said.contains("CRC") { changed.to_owned() } else { said };
    DataError::BadImage { name: name.to_owned(), reason }
}
