//! A folder whose images are the frames of one clip.

use std::cmp::Ordering;
use std::path::Path;

use super::{Extent, check_size};
use crate::images::decode::{decode, decode_over, header};
use crate::images::depth::{FULL, Levels, as_option, few_levels};
use crate::images::listing::{Found, walk};
use crate::{DataError, Image};

/// See the module.
#[derive(Debug)]
pub(super) struct Frames {
    files: Vec<Found>,
    /// Which numbers of 16 bits are black and white.
    range: [u16; 2],
    few_levels: Option<Levels>,
}

impl Frames {
    pub(super) fn open(path: &Path, range: [u16; 2]) -> Result<(Self, Extent), DataError> {
        let all = walk(path)?;
        let count = all.len();
        let mut files: Vec<Found> =
            all.into_iter().filter(|file| file.is_image() && !file.path.contains('/')).collect();
        files.sort_by(|a, b| natural(&a.path, &b.path));
        let Some(first) = files.first() else {
            return Err(DataError::Empty { path: path.to_owned(), files: count });
        };
        let header = header(&first.place, &first.path)?;
        check_size(header.width, header.height)
            .map_err(|reason| DataError::BadClip { name: path.display().to_string(), reason })?;
        // Upright as it is decoded: a photograph's header is of the picture that lies.
        let upright = decode(&first.place.read(&first.path)?, &first.path)?;
        let extent = (files.len(), upright.width, upright.height);
        let file = |index: usize| Some((&files[index].place, files[index].path.as_str()));
        let few_levels = if range == FULL { few_levels(files.len(), file) } else { None };
        Ok((Self { files, range, few_levels }, extent))
    }

    /// What to know of them.
    pub(super) fn notes(&self) -> Vec<String> {
        self.few_levels.map(|levels| levels.told(as_option)).into_iter().collect()
    }

    pub(super) fn read(&self, wanted: &[usize], width: usize, height: usize) -> Result<Vec<Image>, DataError> {
        let frame = |index: &usize| {
            let file = &self.files[*index];
            let image = decode_over(&file.place.read(&file.path)?, &file.path, self.range)?.with_channels(3);
            if (image.width, image.height) != (width, height) {
                let reason = format!(
                    "it is {}×{}, but the first frame of its clip is {width}×{height}: frames must be of one size",
                    image.width, image.height
                );
                return Err(DataError::BadClip { name: file.path.clone(), reason });
            }
            Ok(image)
        };
        wanted.iter().map(frame).collect()
    }
}

/// Runs of digits count as numbers: `frame9` before `frame10`.
fn natural(a: &str, b: &str) -> Ordering {
    fn part(text: &str) -> Option<(&str, &str)> {
        let digit = text.chars().next()?.is_ascii_digit();
        let end = text.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(text.len());
        Some(text.split_at(end))
    }
    let (mut left, mut right) = (a, b);
    while let (Some((x, more_left)), Some((y, more_right))) = (part(left), part(right)) {
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(x) && digits(y) {
            // Longer without leading zeros is larger, whatever its length.
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            x.cmp(y)
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (more_left, more_right);
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names =
            ["f10.png", "f9.png", "f009b.png", "f1.png", "e2.png", "f", "f00010.png", "f99999999999999999999999.png"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["e2.png", "f", "f1.png", "f9.png", "f009b.png", "f00010.png", "f10.png", "f99999999999999999999999.png"]
        );
    }
}
