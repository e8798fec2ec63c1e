//! A decoded image: rows of interleaved bytes, grey or RGB.

/// A decoded image on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `[height, width, channels]`, row by row, interleaved.
    pub pixels: Vec<u8>,
}

impl Image {
    /// A black image.
    pub fn black(width: usize, height: usize, channels: usize) -> Self {
        Self { width, height, channels, pixels: vec![0; width * height * channels] }
    }

    /// A picture `[C, H, W]`, row-major, of numbers from 0 to 1; one of two channels gets a third that is black.
    ///
    /// # Panics
    /// If there are fewer numbers than that.
    pub fn of_values(values: &[f32], [channels, height, width]: [usize; 3]) -> Self {
        let (area, shown) = (height * width, if channels == 1 { 1 } else { 3 });
        let byte = |i: usize| {
            let (channel, place) = (i % shown, i / shown);
            let value = if channel < channels { values[channel * area + place] } else { 0.0 };
            (value * 255.0).round().clamp(0.0, 255.0) as u8
        };
        Self { width, height, channels: shown, pixels: (0..area * shown).map(byte).collect() }
    }

    /// The shorter of width and height.
    pub fn short_side(&self) -> usize {
        self.width.min(self.height)
    }

    /// The same image with 1 or 3 channels; colour becomes luma by Rec. 601 (as in PIL and torchvision).
    pub fn with_channels(self, channels: usize) -> Self {
        let pixels = match (self.channels, channels) {
            (3, 1) => self.pixels.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect(),
            (1, 3) => self.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
            _ => return self,
        };
        Self { channels, pixels, ..self }
    }
}

/// Rec. 601 luma in PIL's fixed point: `(19595 R + 38470 G + 7471 B + 2^15) >> 16`.
pub(crate) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((19595 * r as u32 + 38470 * g as u32 + 7471 * b as u32 + (1 << 15)) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_keeps_grey_as_it_is_and_weighs_green_most() {
        for grey in 0..=255 {
            assert_eq!(luma(grey, grey, grey), grey);
        }
        assert_eq!([luma(255, 0, 0), luma(0, 255, 0), luma(0, 0, 255)], [76, 150, 29]);
    }

    #[test]
    fn numbers_become_bytes_and_a_channel_that_is_missing_is_black() {
        let of = |values: &[f32], shape| Image::of_values(values, shape).pixels;
        assert_eq!(of(&[0.0, 1.0, 0.5, 2.0], [2, 1, 2]), [0, 128, 0, 255, 255, 0]);
        assert_eq!(of(&[0.2, -1.0], [1, 2, 1]), [51, 0]);
        assert_eq!(of(&[0.0, 0.2, 1.0], [3, 1, 1]), [0, 51, 255]);
    }

    #[test]
    fn channels_convert_both_ways() {
        let grey = Image { width: 2, height: 1, channels: 1, pixels: vec![7, 200] };
        let colour = grey.clone().with_channels(3);
        assert_eq!(colour.pixels, [7, 7, 7, 200, 200, 200]);
        assert_eq!(colour.with_channels(1), grey);
    }
}
