//! A tar as an index: its headers are read once, its members by position whenever they are needed, and nothing is
//! unpacked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::DataError;
use crate::images::listing::{Found, Place, is_hidden};
use crate::positional::Positional;

/// Bytes of a tar's block; members are padded to it.
const BLOCK: u64 = 512;

/// Every regular member in the archive's own order; of members with the same path the last stands, as in `tar -x`.
pub(crate) fn index(path: &Path) -> Result<Vec<Found>, DataError> {
    let file = Arc::new(Positional::open(path)?);
    let mut archive = tar::Archive::new(file.file());
    let mut found: Vec<Found> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut last = None::<String>;

    let broken = |last: Option<&str>, source: std::io::Error| {
        let place = last.map_or_else(|| "at its beginning".to_owned(), |member| format!("after the member `{member}`"));
        // The reader reports a header cut short, or a long name cut short, as an early end of file.
        if source.kind() == std::io::ErrorKind::UnexpectedEof || source.to_string().contains("failed to read entire") {
            DataError::TruncatedArchive {
                path: path.to_owned(),
                member: last.map_or_else(|| "its first header".to_owned(), |m| format!("the header after `{m}`")),
                length: file.length(),
            }
        } else {
            DataError::BrokenArchive { path: path.to_owned(), place, reason: source.to_string() }
        }
    };
    let entries = archive.entries_with_seek().map_err(|source| broken(None, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| broken(last.as_deref(), source))?;
        let member = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let clean =
            clean(&member).ok_or_else(|| DataError::UnsafeMember { path: path.to_owned(), member: member.clone() })?;
        let (offset, size) = (entry.raw_file_position(), entry.size());
        let end = size.checked_next_multiple_of(BLOCK).and_then(|size| size.checked_add(offset));
        if end.is_none_or(|end| end > file.length()) {
            return Err(DataError::TruncatedArchive {
                path: path.to_owned(),
                member: format!("the member `{member}` of {size} bytes"),
                length: file.length(),
            });
        }
        last = Some(member);
        if !entry.header().entry_type().is_file() || clean.split('/').any(is_hidden) {
            continue;
        }
        let place = Place::Member { archive: Arc::clone(&file), offset, size };
        if let Some(&earlier) = at.get(&clean) {
            found[earlier].place = place;
        } else {
            at.insert(clean.clone(), found.len());
            found.push(Found { path: clean, place });
        }
    }
    Ok(found)
}

/// The member's path without `.` parts; `None` if it would leave the archive's folder.
fn clean(member: &str) -> Option<String> {
    let drive = matches!(member.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    let absolute = drive || member.starts_with(['/', '\\']);
    let parts: Vec<&str> = member.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!absolute && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// Whether `head`, the first 512 bytes, is a tar header: its checksum decides, which old tars without a magic have too.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    let Some(head) = head.get(..BLOCK as usize) else {
        return false;
    };
    let digits: String =
        head[148..156].iter().map(|&b| b as char).filter(|c| !c.is_whitespace() && *c != '\0').collect();
    let Ok(expected) = u32::from_str_radix(&digits, 8) else {
        return false;
    };
    let sum: u32 = head[..148].iter().chain(&head[156..]).map(|&b| b as u32).sum();
    sum + 8 * b' ' as u32 == expected
}
