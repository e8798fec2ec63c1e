//! Images of 16 bits that hold fewer: medical and industrial cameras write 10, 12 or 14 of them.

use crate::images::decode;
use crate::images::records::{Content, Entry};
use crate::visit::spread;

/// What 16 bits go to unless a config says otherwise.
pub(crate) const FULL: [u16; 2] = [0, u16::MAX];

/// Headers that are looked at, and images that are read.
const HEADERS: usize = 64;
const READ: usize = 8;

/// Larger images are not read for this.
const MOST_BYTES: u64 = 1 << 26;

/// Fewer levels than these of 256 are worth a note.
const FEW: u32 = 64;

/// What a person should know of images of 16 bits that keep few of their grey levels in 8.
pub(crate) fn few_levels(entries: &[Entry]) -> Option<String> {
    let (mut low, mut high, mut read) = (u16::MAX, 0, 0);
    for index in spread(Some(entries.len()), HEADERS) {
        let entry = &entries[index];
        let Content::Encoded(place) = &entry.content else { continue };
        if entry.size > MOST_BYTES || !entry.header().is_ok_and(|header| header.deep) {
            continue;
        }
        let found = place.read(&entry.name).ok().and_then(|bytes| decode::extent(&bytes, &entry.name));
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
    (levels < FEW).then(|| {
        format!(
            "the numbers of the 16-bit images go from {low} to {high} ({read} were looked at), which leaves {levels} of 256 grey \
             levels: `data.range = [{}, {}]` spreads them",
            range[0], range[1]
        )
    })
}
