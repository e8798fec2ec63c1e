//! Images of 16 bits that hold fewer: medical and industrial cameras write 10, 12 or 14 of them.

use crate::images::decode;
use crate::images::listing::Place;
use crate::visit::spread;

/// What 16 bits go to unless a config says otherwise.
pub const FULL: [u16; 2] = [0, u16::MAX];

/// Headers that are looked at, and images that are read.
const HEADERS: usize = 64;
const READ: usize = 8;

/// Larger images are not read for this.
const MOST_BYTES: u64 = 1 << 26;

/// Fewer levels than these of 256 are worth a note.
const FEW: u32 = 64;

/// Images of 16 bits that keep few of their grey levels in 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    /// The least and the largest number that was found.
    found: [u16; 2],
    /// Images that were looked at.
    read: usize,
    kept: u32,
    /// What spreads them.
    range: [u16; 2],
}

impl Levels {
    /// What a person should know; `setting` says how such a range is given.
    pub(crate) fn told(&self, setting: impl Fn([u16; 2]) -> String) -> String {
        let Self { found: [low, high], read, kept, range } = self;
        format!(
            "the numbers of the 16-bit images go from {low} to {high} ({read} were looked at), which leaves {kept} of 256 grey \
             levels: {} spreads them",
            setting(*range)
        )
    }
}

/// As a config has it.
pub(crate) fn as_setting([low, high]: [u16; 2]) -> String {
    format!("`data.range = [{low}, {high}]`")
}

/// For a run, which takes numbers as its own data were taken.
pub(crate) fn of_a_run([low, high]: [u16; 2]) -> String {
    format!(
        "this run takes numbers as its own `data.range` says, and giving it files of 8 bits made of {low} to {high}"
    )
}

/// As an option of a command.
pub(crate) fn as_option([low, high]: [u16; 2]) -> String {
    format!("`--range {low},{high}`")
}

/// What of so many images, of which this gives some where they are files, there is to know.
pub(crate) fn few_levels<'a>(count: usize, at: impl Fn(usize) -> Option<(&'a Place, &'a str)>) -> Option<Levels> {
    let (mut low, mut high, mut read) = (u16::MAX, 0, 0);
    for (place, name) in spread(Some(count), HEADERS).filter_map(at) {
        if place.size() > MOST_BYTES || !decode::header(place, name).is_ok_and(|header| header.deep) {
            continue;
        }
        let found = place.read(name).ok().and_then(|bytes| decode::extent(&bytes, name));
        if let Some((least, most)) = found {
            (low, high, read) = (low.min(least), high.max(most), read + 1);
        }
        if read == READ {
            break;
        }
    }
    if read == 0 || low >= high {
        return None;
    }
    let levels = (u32::from(high) + 128) / 257 - (u32::from(low) + 128) / 257 + 1;
    // A camera's whole range rather than what these images happen to reach.
    let bits = 16 - high.leading_zeros();
    let range = if low < high / 4 { [0, u16::MAX >> (16 - bits)] } else { [low, high] };
    (levels < FEW).then_some(Levels { found: [low, high], read, kept: levels, range })
}
