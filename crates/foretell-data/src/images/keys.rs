//! Several images of one key, as WebDataset's shards have them (`0001.jpg`, `0001.seg.png`): one of them is the sample.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::DataError;
use crate::images::labels::{Key, up_to_first_dot, up_to_last_dot};
use crate::images::listing::Found;
use crate::images::split::is_about;

/// More endings than this are dots in names.
const MOST_ENDINGS: usize = 16;

/// `data.member`, which is a word or an ending.
pub(crate) const AUTO: &str = "auto";
/// Every image is a sample.
pub(crate) const ALL: &str = "all";

/// What follows the key, in lower case, without its dot.
fn ending(found: &Found, key: &Key<'_>) -> String {
    found.path[key.1.len()..].trim_start_matches('.').to_ascii_lowercase()
}

/// Which images of a key are rather not the sample: what is about another image, longer endings, then rarer ones.
fn rank(ending: &str, keys: &BTreeMap<String, usize>) -> (bool, usize, usize) {
    const ABOUT: [&str; 6] = ["seg", "sem", "semantic", "instance", "thumb", "thumbnail"];
    let about = ending.split(['.', '_']).any(|word| is_about(word) || ABOUT.contains(&word));
    (about, ending.matches('.').count(), usize::MAX - keys.get(ending).copied().unwrap_or(0))
}

/// Leaves one image of each key where most keys of the archives have several; `member` is the ending to take, or a word. An ending
/// that no image has is an error where it `must` be there.
pub(crate) fn one_each(
    images: Vec<Found>,
    member: &str,
    must: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>, DataError> {
    if member == ALL {
        return Ok(images);
    }
    if member != AUTO {
        return named(images, member, must, notes);
    }
    for key in [up_to_first_dot, up_to_last_dot] {
        let mut groups: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
        for (index, image) in images.iter().enumerate().filter(|(_, image)| image.place.archive().is_some()) {
            groups.entry(key(image)).or_default().push(index);
        }
        let several = groups.values().filter(|group| group.len() > 1).count();
        if several == 0 {
            continue;
        }
        let mut endings: BTreeMap<String, usize> = BTreeMap::new();
        for (key, group) in &groups {
            for ending in group.iter().map(|&index| ending(&images[index], key)).collect::<BTreeSet<_>>() {
                *endings.entry(ending).or_insert(0) += 1;
            }
        }
        // Numbers before the last dot count frames or are part of a name.
        let number = |ending: &String| ending.rsplit('.').skip(1).any(|word| word.parse::<u64>().is_ok());
        if endings.len() > MOST_ENDINGS.min(groups.len()) || endings.keys().any(number) {
            continue;
        }
        if several * 2 < groups.len() {
            notes.push(format!(
                "{several} of {} keys have several images, and each image is a sample (`data.member` names an ending)",
                groups.len()
            ));
            return Ok(images);
        }
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let mut out = vec![false; images.len()];
        for (key, group) in &groups {
            let of = |index: usize| ending(&images[index], key);
            let best = group.iter().copied().min_by_key(|&index| (rank(&of(index), &endings), of(index)));
            for &index in group {
                let counts = if Some(index) == best { &mut taken } else { &mut left };
                *counts.entry(of(index)).or_insert(0) += 1;
                out[index] = Some(index) != best;
            }
        }
        notes.push(format!(
            "one image of each key is a sample ({}); of the same keys, {} are left untouched (`data.member` takes another \
             ending, or `{ALL}`)",
            counted(&taken),
            counted(&left)
        ));
        drop(groups);
        return Ok(images.into_iter().zip(out).filter_map(|(image, out)| (!out).then_some(image)).collect());
    }
    Ok(images)
}

/// Words behind an image's name that say that another file is about it.
const BEHIND: [&str; 10] =
    ["mask", "masks", "seg", "segmentation", "label", "labels", "gt", "groundtruth", "annotation", "depth"];

/// The name of the image that a file of this name is about, by a word behind it: `x_mask.png`, `x-seg.png`, `x_mask_1.png`.
fn image_of(stem: &str) -> Option<&str> {
    let counted = stem.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['_', '-']);
    [stem, counted].into_iter().find_map(|stem| {
        let (image, word) = stem.rsplit_once(['_', '-'])?;
        BEHIND.contains(&word.to_ascii_lowercase().as_str()).then_some(image)
    })
}

/// Leaves out images that are named as masks of others in their folder, where nine in ten of those have one.
pub(crate) fn without_masks(images: Vec<Found>, member: &str, notes: &mut Vec<String>) -> Vec<Found> {
    if member != AUTO {
        return images;
    }
    let stem = |image: &Found| image.path.rsplit_once('.').map_or(image.path.as_str(), |(stem, _)| stem).to_owned();
    let stems: HashSet<String> = images.iter().map(stem).collect();
    let of: Vec<Option<String>> = images
        .iter()
        .map(|image| image_of(&stem(image)).filter(|image| stems.contains(*image)).map(str::to_owned))
        .collect();
    let masks = of.iter().flatten().count();
    let masked: HashSet<&String> = of.iter().flatten().collect();
    if masks == 0 || masked.len() * 10 < (images.len() - masks) * 9 {
        return images;
    }
    let first =
        images.iter().zip(&of).find_map(|(image, of)| of.is_some().then(|| image.path.clone())).unwrap_or_default();
    notes.push(format!(
        "{masks} images are named as masks of others beside them, such as `{first}`, and are left untouched (`data.member = \"{ALL}\"` takes each)"
    ));
    images.into_iter().zip(of).filter_map(|(image, of)| of.is_none().then_some(image)).collect()
}

/// The images with this ending.
fn named(images: Vec<Found>, member: &str, must: bool, notes: &mut Vec<String>) -> Result<Vec<Found>, DataError> {
    let wanted = format!(".{}", member.trim_start_matches('.').to_ascii_lowercase());
    // `jpg` is not the ending of `1.seg.jpg` where `1.jpg` is there too.
    let ends = |image: &Found| [up_to_first_dot, up_to_last_dot].map(|key| format!(".{}", ending(image, &key(image))));
    let by = |at: usize| images.iter().map(|image| ends(image)[at] == wanted).collect::<Vec<bool>>();
    let first = by(0);
    let kept = if first.contains(&true) { first } else { by(1) };
    let count = kept.iter().filter(|kept| **kept).count();
    if count == 0 && !must {
        return Ok(images);
    }
    if count == 0 {
        return Err(DataError::BadSetting {
            name: "data.member".into(),
            expected: "`auto`, `all` or an ending that images have, such as `jpg` or `rgb.png`",
            found: format!("`{member}`, which none of {} images has", images.len()),
        });
    }
    if count < images.len() {
        notes.push(format!(
            "{} of {} images do not end in `{wanted}` and are left untouched",
            images.len() - count,
            images.len()
        ));
    }
    Ok(images.into_iter().zip(kept).filter_map(|(image, kept)| kept.then_some(image)).collect())
}

fn counted(endings: &BTreeMap<String, usize>) -> String {
    endings.iter().map(|(ending, count)| format!("{count} .{ending}")).collect::<Vec<_>>().join(", ")
}
