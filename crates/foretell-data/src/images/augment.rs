//! Random crops, flips, colour changes and blur, as torchvision defines them and in the order of SimCLR, BYOL and DINO:
//! crop, flip, jitter, grey, blur, solarise. Speckle, which belongs to the picture, comes before the jitter.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::images::colour::turn_hue;
use crate::images::resample::{Planes, recut, resample};
use crate::images::speckle::Speckle;
use crate::images::transform::Crop;
use crate::{DataError, Image, decimal};

/// How a view is made of an image. The default changes nothing: it only brings the image to its size, as
/// [`fit`](crate::fit) does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Augment {
    /// Smallest and largest area of the crop, as a share of the image's.
    #[serde(serialize_with = "decimal::pair")]
    pub crop_scale: (f32, f32),
    /// Smallest and largest width of the crop, as a multiple of its height.
    #[serde(serialize_with = "decimal::pair")]
    pub crop_aspect: (f32, f32),
    /// Probability of a horizontal flip.
    #[serde(serialize_with = "decimal::one")]
    pub flip: f32,
    /// Looks of multiplicative [speckle](fn@crate::images::speckle): the fewer, the stronger, from 0.1 to 10000; 0 for none.
    #[serde(serialize_with = "decimal::one")]
    pub speckle: f32,
    /// Probability that brightness, contrast, saturation and hue change at all.
    #[serde(serialize_with = "decimal::one")]
    pub jitter: f32,
    /// Largest relative change of brightness.
    #[serde(serialize_with = "decimal::one")]
    pub brightness: f32,
    /// Largest relative change of contrast.
    #[serde(serialize_with = "decimal::one")]
    pub contrast: f32,
    /// Largest relative change of saturation; grey images have none.
    #[serde(serialize_with = "decimal::one")]
    pub saturation: f32,
    /// Largest change of hue in turns, at most 0.5; grey images have none.
    #[serde(serialize_with = "decimal::one")]
    pub hue: f32,
    /// Probability of going grey.
    #[serde(serialize_with = "decimal::one")]
    pub grey: f32,
    /// Probability of a Gaussian blur.
    #[serde(serialize_with = "decimal::one")]
    pub blur: f32,
    /// Smallest and largest standard deviation of the blur, in pixels of the view.
    #[serde(serialize_with = "decimal::pair")]
    pub blur_sigma: (f32, f32),
    /// Probability that the values from 128 up are inverted.
    #[serde(serialize_with = "decimal::one")]
    pub solarise: f32,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            crop_scale: (1.0, 1.0),
            crop_aspect: (1.0, 1.0),
            flip: 0.0,
            speckle: 0.0,
            jitter: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            grey: 0.0,
            blur: 0.0,
            blur_sigma: (0.1, 2.0),
            solarise: 0.0,
        }
    }
}

impl Augment {
    /// Whole images of a natural aspect in other colours, as LeJEPA (arXiv 2511.08544) has them and others after it: jitter of 0.4, 0.4, 0.2
    /// and 0.1 in four of five, grey in one of five.
    pub fn coloured() -> Self {
        Self {
            crop_aspect: (0.75, 4.0 / 3.0),
            jitter: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.2,
            hue: 0.1,
            grey: 0.2,
            ..Self::default()
        }
    }

    /// Whether every setting is within its range. [`apply`](Self::apply) brings settings outside of it to the nearest
    /// one inside, so that a run that did not ask still does something sensible.
    pub fn check(&self) -> Result<(), DataError> {
        let share = "a probability, 0 to 1";
        for (name, value) in [
            ("flip", self.flip),
            ("jitter", self.jitter),
            ("grey", self.grey),
            ("blur", self.blur),
            ("solarise", self.solarise),
        ] {
            setting(name, share, value, (0.0..=1.0).contains(&value))?;
        }
        for (name, value) in
            [("brightness", self.brightness), ("contrast", self.contrast), ("saturation", self.saturation)]
        {
            setting(name, "0 or more", value, value >= 0.0 && value.is_finite())?;
        }
        Speckle::check("speckle", self.speckle)?;
        setting("hue", "0 to 0.5 turns", self.hue, (0.0..=0.5).contains(&self.hue))?;
        let ordered = |(low, high): (f32, f32), most: f32| 0.0 < low && low <= high && high <= most;
        let expected = "two shares of the area, 0 < low ≤ high ≤ 1";
        setting("crop_scale", expected, self.crop_scale, ordered(self.crop_scale, 1.0))?;
        let expected = "two ratios of width to height, 0 < low ≤ high";
        setting("crop_aspect", expected, self.crop_aspect, ordered(self.crop_aspect, f32::MAX))?;
        let expected = "two numbers of pixels, 0 < low ≤ high ≤ 100";
        setting("blur_sigma", expected, self.blur_sigma, ordered(self.blur_sigma, 100.0))
    }

    /// One view: `[size, size, channels]`, with as many channels as the image.
    pub fn apply(&self, image: &Image, size: usize, rng: &mut impl Rng) -> Image {
        self.view(image, size, rng).0
    }

    /// The same, and what it was made by. Speckle, which is noise and no number, is not told.
    pub fn view(&self, image: &Image, size: usize, rng: &mut impl Rng) -> (Image, View) {
        let (crop, flip) = self.place(image, rng);
        let speckle = Speckle::of_looks(self.speckle);
        if speckle.is_none() && [self.jitter, self.grey, self.blur, self.solarise] == [0.0; 4] {
            return (recut(image, crop, size, flip), View { crop, flip, colours: Colours::default() });
        }
        let mut planes = resample(image, crop, size, flip);
        if let Some(speckle) = speckle {
            speckle.planes(&mut planes, rng);
        }
        let colours = self.colours(rng);
        colours.change(&mut planes);
        (planes.into_image(), View { crop, flip, colours })
    }

    /// Where a view lies: the crop, and whether it is mirrored.
    pub fn place(&self, image: &Image, rng: &mut impl Rng) -> (Crop, bool) {
        (self.crop(image, rng), happens(self.flip, rng))
    }

    /// What becomes of a view's colours and edges: the draws of a view that come after its place.
    pub fn colours(&self, rng: &mut impl Rng) -> Colours {
        let mut colours = Colours::default();
        if happens(self.jitter, rng) {
            self.jittered(&mut colours, rng);
        }
        colours.grey = happens(self.grey, rng);
        if happens(self.blur, rng) {
            colours.blur = between(self.blur_sigma, rng).clamp(0.01, 100.0);
        }
        colours.solarise = happens(self.solarise, rng);
        colours
    }

    /// torchvision's RandomResizedCrop: ten tries, then the largest centred crop within the aspects.
    fn crop(&self, image: &Image, rng: &mut impl Rng) -> Crop {
        let (width, height) = (image.width as f32, image.height as f32);
        let aspects = (self.crop_aspect.0.max(1e-3), self.crop_aspect.1.max(1e-3));
        for _ in 0..10 {
            let area = width * height * between(self.crop_scale, rng);
            let aspect = between((aspects.0.ln(), aspects.1.ln()), rng).exp();
            let wide = (area * aspect).sqrt().round() as usize;
            let high = (area / aspect).sqrt().round() as usize;
            if (1..=image.width).contains(&wide) && (1..=image.height).contains(&high) {
                let top = rng.random_range(0..=image.height - high);
                let left = rng.random_range(0..=image.width - wide);
                return Crop { left, top, width: wide, height: high };
            }
        }
        let aspect = (width / height).clamp(aspects.0.min(aspects.1), aspects.1);
        let wide = ((height * aspect).round() as usize).clamp(1, image.width.max(1));
        let high = ((width / aspect).round() as usize).clamp(1, image.height.max(1));
        let (left, top) = ((image.width - wide) / 2, (image.height - high) / 2);
        Crop { left, top, width: wide, height: high }
    }

    /// torchvision's ColorJitter: how far each of the four changes goes, and their random order.
    fn jittered(&self, colours: &mut Colours, rng: &mut impl Rng) {
        for last in (1..4).rev() {
            colours.order.swap(last, rng.random_range(0..=last));
        }
        for change in colours.order {
            match change {
                0 if self.brightness > 0.0 => colours.brightness = around_one(self.brightness, rng),
                1 if self.contrast > 0.0 => colours.contrast = around_one(self.contrast, rng),
                2 if self.saturation > 0.0 => colours.saturation = around_one(self.saturation, rng),
                3 if self.hue > 0.0 => {
                    let most = self.hue.min(0.5);
                    colours.sixths = 6.0 * between((-most, most), rng);
                }
                _ => {}
            }
        }
    }
}

/// What a view was made by.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The part of the image that it shows.
    pub crop: Crop,
    /// Whether it is mirrored.
    pub flip: bool,
    /// What became of its colours and edges.
    pub colours: Colours,
}

impl View {
    /// The view of an image, `[size, size, channels]`: that of [`Augment::view`] where that has no speckle.
    pub fn of(&self, image: &Image, size: usize) -> Image {
        if self.colours == Colours::default() {
            return recut(image, self.crop, size, self.flip);
        }
        let mut planes = resample(image, self.crop, size, self.flip);
        self.colours.change(&mut planes);
        planes.into_image()
    }
}

/// What became of a view's colours and edges. The default changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Colours {
    /// The order of brightness (0), contrast, saturation and hue (3).
    order: [u8; 4],
    /// By which the values are multiplied.
    pub brightness: f32,
    /// By which their distance from the mean grey is.
    pub contrast: f32,
    /// By which their distance from the pixel's grey is.
    pub saturation: f32,
    /// In sixths of a turn.
    sixths: f32,
    /// Whether it is grey.
    pub grey: bool,
    /// Standard deviation of its blur in pixels; 0 for none.
    pub blur: f32,
    /// Whether values from 128 up are inverted.
    pub solarise: bool,
}

impl Default for Colours {
    fn default() -> Self {
        let (brightness, contrast, saturation) = (1.0, 1.0, 1.0);
        let (order, sixths, grey, blur, solarise) = ([0, 1, 2, 3], 0.0, false, 0.0, false);
        Self { order, brightness, contrast, saturation, sixths, grey, blur, solarise }
    }
}

impl Colours {
    /// By how many turns the hue is turned.
    pub fn hue(&self) -> f32 {
        self.sixths / 6.0
    }

    /// The same without what cannot be undone: grey, blur and inversion.
    #[must_use]
    pub fn jitter_alone(self) -> Self {
        Self { grey: false, blur: 0.0, solarise: false, ..self }
    }

    /// In the order of the draws; values stay within 0..=255.
    fn change(&self, planes: &mut Planes) {
        for change in self.order {
            match change {
                0 if self.brightness != 1.0 => {
                    let factor = self.brightness;
                    planes.values.iter_mut().for_each(|value| *value = (*value * factor).clamp(0.0, 255.0));
                }
                1 if self.contrast != 1.0 => {
                    let factor = self.contrast;
                    let grey = mean_grey(planes);
                    let offset = grey - grey * factor;
                    planes.values.iter_mut().for_each(|value| *value = (*value * factor + offset).clamp(0.0, 255.0));
                }
                2 if self.saturation != 1.0 => {
                    let factor = self.saturation;
                    if let Some((red, green, blue)) = planes.rgb() {
                        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
                            let grey = (1.0 - factor) * (0.299 * *r + 0.587 * *g + 0.114 * *b);
                            *r = (*r * factor + grey).clamp(0.0, 255.0);
                            *g = (*g * factor + grey).clamp(0.0, 255.0);
                            *b = (*b * factor + grey).clamp(0.0, 255.0);
                        }
                    }
                }
                3 if self.sixths != 0.0 => {
                    if let Some((red, green, blue)) = planes.rgb() {
                        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
                            [*r, *g, *b] = turn_hue([*r, *g, *b], self.sixths);
                        }
                    }
                }
                _ => {}
            }
        }
        if self.grey && planes.channels == 3 {
            let grey = grey_of(planes);
            planes.values.chunks_exact_mut(grey.len().max(1)).for_each(|plane| plane.copy_from_slice(&grey));
        }
        if self.blur > 0.0 {
            planes.blur(self.blur);
        }
        if self.solarise {
            for value in &mut planes.values {
                *value = if *value >= 128.0 { 255.0 - *value } else { *value };
            }
        }
    }
}

pub(crate) fn setting<T: std::fmt::Debug>(
    name: &'static str,
    expected: &'static str,
    found: T,
    good: bool,
) -> Result<(), DataError> {
    if good { Ok(()) } else { Err(DataError::BadSetting { name: name.into(), expected, found: format!("{found:?}") }) }
}

/// A draw is spent only where the outcome is open, so that a view does not depend on steps that are switched off.
fn happens(probability: f32, rng: &mut impl Rng) -> bool {
    probability > 0.0 && (probability >= 1.0 || rng.random::<f32>() < probability)
}

fn between((low, high): (f32, f32), rng: &mut impl Rng) -> f32 {
    if low < high { low + (high - low) * rng.random::<f32>() } else { low }
}

/// Uniform in `[max(0, 1 - spread), 1 + spread]`.
fn around_one(spread: f32, rng: &mut impl Rng) -> f32 {
    between(((1.0 - spread).max(0.0), 1.0 + spread), rng)
}

fn grey_of(planes: &Planes) -> Vec<f32> {
    let area = planes.values.len() / planes.channels;
    if planes.channels == 1 {
        return planes.values.clone();
    }
    let (red, rest) = planes.values.split_at(area);
    let (green, blue) = rest.split_at(area);
    red.iter().zip(green).zip(blue).map(|((r, g), b)| 0.299 * r + 0.587 * g + 0.114 * b).collect()
}

fn mean_grey(planes: &Planes) -> f32 {
    let area = planes.values.len() / planes.channels;
    let weights: &[f32] = if planes.channels == 1 { &[1.0] } else { &[0.299, 0.587, 0.114] };
    let sums = planes.values.chunks_exact(area.max(1)).zip(weights).map(|(plane, weight)| weight * sum(plane));
    sums.sum::<f32>() / area.max(1) as f32
}

/// In eight lanes, which the compiler turns into vector adds; one running sum it may not reorder.
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest
}
