//! Resizing as everybody does it: with antialiasing (PIL's, torchvision's `antialias=True`), centre crops. What published
//! processors do to an image is exact; views and probes take the faster way, which differs by a little rounding.

use std::cell::RefCell;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use crate::Image;
use crate::images::antialias::{Filter, resize};

/// The image with its shorter side brought to `short` and the longer one in proportion, rounded down as torchvision and
/// Hugging Face's processors do.
pub fn resize_short(image: &Image, short: usize, filter: Filter) -> Image {
    let own = image.short_side().max(1);
    resize(image, image.width * short / own, image.height * short / own, filter)
}

/// The middle of the image. An odd remainder falls to the right and below, and what the image lacks is black, as in Hugging
/// Face's processors.
pub fn centre_crop(image: &Image, width: usize, height: usize) -> Image {
    let mut cropped = Image::black(width, height, image.channels);
    let (across, down) = (width.min(image.width), height.min(image.height));
    let (from, into) = ((image.width - across) / 2, (width - across) / 2);
    let (above, below) = ((image.height - down) / 2, (height - down) / 2);
    let channels = image.channels;
    for row in 0..down {
        let source = ((above + row) * image.width + from) * channels;
        let target = ((below + row) * width + into) * channels;
        let length = across * channels;
        cropped.pixels[target..target + length].copy_from_slice(&image.pixels[source..source + length]);
    }
    cropped
}

/// A part of an image, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Columns left of it.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Its columns.
    pub width: usize,
    /// Its rows.
    pub height: usize,
}

impl Crop {
    /// The whole image.
    pub fn whole(image: &Image) -> Self {
        Self { left: 0, top: 0, width: image.width, height: image.height }
    }

    /// The same crop, moved and shrunk where it would leave the image.
    pub(crate) fn within(self, image: &Image) -> Self {
        let width = self.width.clamp(1, image.width.max(1));
        let height = self.height.clamp(1, image.height.max(1));
        let (left, top) = (self.left.min(image.width - width), self.top.min(image.height - height));
        Self { left, top, width, height }
    }
}

/// The centre of the image as a square of `size`: its short side is brought to `size`, the longer side is cropped
/// evenly. Smaller images are enlarged.
pub fn fit(image: &Image, size: usize) -> Image {
    let short = image.short_side();
    let (left, top) = ((image.width - short) as f64 / 2.0, (image.height - short) as f64 / 2.0);
    if short == size {
        let crop = Crop {
            left: left.round_ties_even() as usize,
            top: top.round_ties_even() as usize,
            width: size,
            height: size,
        };
        return cut(image, crop);
    }
    resize_area(image, (left, top, short as f64, short as f64), size, size)
}

/// The image with its short side at most `most`, in its own proportions.
pub fn shrink(image: Image, most: usize) -> Image {
    let short = image.short_side();
    if short <= most || most == 0 {
        return image;
    }
    let scaled = |side: usize| ((side * most) as f64 / short as f64).round().max(1.0) as usize;
    let (width, height) = (scaled(image.width), scaled(image.height));
    resize_area(&image, (0.0, 0.0, image.width as f64, image.height as f64), width, height)
}

/// The crop as a square of `size`; pixels outside of the crop play no part, as when torchvision crops first and resizes
/// then. A crop that would leave the image is moved and shrunk until it does not.
pub fn crop_resize(image: &Image, crop: Crop, size: usize) -> Image {
    let crop = crop.within(image);
    if crop.width == size && crop.height == size {
        return cut(image, crop);
    }
    resize_fast(image, crop, ResizeOptions::new(), size, size)
}

fn cut(image: &Image, crop: Crop) -> Image {
    let row = image.width * image.channels;
    let (start, length) = (crop.left * image.channels, crop.width * image.channels);
    let rows = image.pixels.chunks_exact(row.max(1)).skip(crop.top).take(crop.height);
    let pixels = rows.flat_map(|row| &row[start..start + length]).copied().collect();
    Image { width: crop.width, height: crop.height, channels: image.channels, pixels }
}

/// The area as an image of the given size; what lies around the area shines in at its border, as when an image is
/// resized first and cropped then.
fn resize_area(image: &Image, area: (f64, f64, f64, f64), width: usize, height: usize) -> Image {
    let options = ResizeOptions::new().crop(area.0, area.1, area.2, area.3);
    resize_fast(image, Crop::whole(image), options, width, height)
}

/// What lies within, in another size; black where there are no pixels.
fn resize_fast(image: &Image, within: Crop, options: ResizeOptions, width: usize, height: usize) -> Image {
    let mut resized = Image::black(width, height, image.channels);
    // By type: the resizer's own choice compiles all thirteen kinds of pixels.
    let done = match image.channels {
        1 => resize_as::<U8>(image, within, options, &mut resized),
        _ => resize_as::<U8x3>(image, within, options, &mut resized),
    };
    done.map_or_else(|| Image::black(width, height, image.channels), |()| resized)
}

fn resize_as<P: PixelTrait>(image: &Image, within: Crop, options: ResizeOptions, into: &mut Image) -> Option<()> {
    thread_local! {
        // Keeps its buffers from one image to the next.
        static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
    }
    let [left, top, width, height] = [within.left, within.top, within.width, within.height].map(|side| side as u32);
    let source = TypedImageRef::<P>::from_buffer(image.width as u32, image.height as u32, &image.pixels).ok()?;
    let source = TypedCroppedImage::new(source, left, top, width, height).ok()?;
    let mut target = TypedImage::<P>::from_buffer(into.width as u32, into.height as u32, &mut into.pixels).ok()?;
    let options = options.resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    RESIZER.with_borrow_mut(|resizer| resizer.resize_typed(&source, &mut target, &options)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize, channels: usize) -> Image {
        let pixels =
            (0..width * height * channels).map(|i| (i / channels % width * 255 / width.max(2)) as u8).collect();
        Image { width, height, channels, pixels }
    }

    #[test]
    fn fit_takes_the_middle_square() {
        for (width, height) in [(64, 32), (32, 64), (33, 32), (1, 500), (500, 1), (7, 7)] {
            for channels in [1, 3] {
                let fitted = fit(&ramp(width, height, channels), 32);
                assert_eq!((fitted.width, fitted.height, fitted.channels), (32, 32, channels));
                assert_eq!(fitted.pixels.len(), 32 * 32 * channels);
            }
        }
        // The ramp's quarter to three quarters.
        let fitted = fit(&ramp(64, 32, 1), 32);
        assert_eq!((fitted.pixels[0], fitted.pixels[31]), (63, 187));
    }

    #[test]
    fn shrink_keeps_proportions_and_never_enlarges() {
        let shrunk = shrink(ramp(300, 100, 3), 50);
        assert_eq!((shrunk.width, shrunk.height), (150, 50));
        let same = ramp(30, 20, 1);
        assert_eq!(shrink(same.clone(), 50), same);
    }

    #[test]
    fn halving_a_checkerboard_gives_even_grey_instead_of_aliasing() {
        let pixels = (0..64 * 64).map(|i| if (i % 64 + i / 64) % 2 == 0 { 0 } else { 255 }).collect();
        let halved = fit(&Image { width: 64, height: 64, channels: 1, pixels }, 32);
        let inner = halved.pixels.chunks_exact(32).skip(2).take(28).flat_map(|row| &row[2..30]);
        assert!(inner.clone().all(|&value| (126..=129).contains(&value)));
    }
}
