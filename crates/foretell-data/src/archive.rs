//! A tar as an index: its headers are read once, its members by position whenever they are needed, and nothing is
//! unpacked.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::DataError;
use crate::images::listing::{Found, Junk, Place, is_hidden};
use crate::positional::Positional;

/// Bytes of a tar's block; members are padded to it.
const BLOCK: u64 = 512;

/// Links that lead to links are followed so far.
const LONGEST_CHAIN: usize = 16;

/// Every file in the archive's own order, links to its members among them; of members with the same path the last stands, as
/// in `tar -x`. Joined tars are read to the end of the last one, as `tar --ignore-zeros` does. What cannot be read goes into the
/// notes.
pub(crate) fn index(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Found>, DataError> {
    let file = Arc::new(Positional::open(path)?);
    let mut archive = tar::Archive::new(file.file());
    archive.set_ignore_zeros(true);
    let mut found: Vec<Found> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    let (mut last, mut junk) = (None::<String>, Junk::default());
    let (mut links, mut after, mut again, mut odd, mut joined) = (Vec::new(), 0, 0_usize, 0_usize, 0_usize);

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
        let entry = match entry {
            Ok(entry) => entry,
            // Behind the zeros at a tar's end may be anything.
            Err(_) if is_end(&file, after) => {
                let rest = file.length() - after;
                notes.push(format!(
                    "of `{}`, the last {rest} bytes are behind its end and are no tar: they are not read",
                    path.display()
                ));
                break;
            }
            Err(source) => return Err(broken(last.as_deref(), source)),
        };
        joined += usize::from(entry.raw_header_position() > after && is_end(&file, after));
        let member = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let clean =
            clean(&member).ok_or_else(|| DataError::UnsafeMember { path: path.to_owned(), member: member.clone() })?;
        let (offset, size) = (entry.raw_file_position(), entry.size());
        let end = size.checked_next_multiple_of(BLOCK).and_then(|size| size.checked_add(offset));
        let Some(end) = end.filter(|end| *end <= file.length()) else {
            return Err(DataError::TruncatedArchive {
                path: path.to_owned(),
                member: format!("the member `{member}` of {size} bytes"),
                length: file.length(),
            });
        };
        (last, after) = (Some(member), end);
        if clean.split('/').any(is_hidden) {
            if entry.header().entry_type().is_file() {
                junk.see(&clean);
            }
            continue;
        }
        let kind = entry.header().entry_type();
        if kind.is_hard_link() || kind.is_symlink() {
            let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
            let from = if kind.is_symlink() { clean.rsplit_once('/').map_or("", |(folder, _)| folder) } else { "" };
            // Links hold their place in the order.
            links.push((found.len(), clean.clone(), target.and_then(|target| leads_to(from, &target))));
            continue;
        }
        if !kind.is_file() {
            odd += usize::from(!kind.is_dir() && !kind.is_pax_global_extensions());
            continue;
        }
        let place = Place::Member { archive: Arc::clone(&file), offset, size };
        if let Some(&earlier) = at.get(&clean) {
            found[earlier].place = place;
            again += 1;
        } else {
            at.insert(clean.clone(), found.len());
            found.push(Found { path: clean, place });
        }
    }
    notes.extend(junk.note().map(|note| format!("in `{}`, {note}", path.display())));
    let mut tell = |count: usize, what: &str| {
        if count > 0 {
            notes.push(format!("in `{}`, {count} {what}", path.display()));
        }
    };
    tell(joined, "more tars are joined to the first: all of them are read");
    tell(again, "members have the path of an earlier one: the last of each path is read");
    tell(odd, "members are neither files nor folders nor links: they are not read");
    let dead = follow(&mut found, &at, links);
    tell(dead, "links lead to none of its members: they are not read");
    Ok(found)
}

/// A link's place among the members, its path, and the path that it leads to.
type Link = (usize, String, Option<String>);

/// Puts the members that links lead to in the links' places; returns how many lead nowhere. A link to a folder is none of ours.
fn follow(found: &mut Vec<Found>, at: &HashMap<String, usize>, links: Vec<Link>) -> usize {
    let targets: HashMap<String, Option<String>> =
        links.iter().map(|(_, path, target)| (path.clone(), target.clone())).collect();
    let folder = |path: &str| found.iter().any(|member| member.path.starts_with(&format!("{path}/")));
    let (mut members, mut dead, mut seen) = (Vec::new(), 0, HashSet::new());
    for (place, path, target) in links {
        if at.contains_key(&path) || !seen.insert(path.clone()) {
            continue;
        }
        let mut target = target.as_ref();
        for _ in 0..LONGEST_CHAIN {
            let next = target.filter(|path| !at.contains_key(*path)).and_then(|path| targets.get(path)?.as_ref());
            let Some(next) = next else { break };
            target = Some(next);
        }
        match target.and_then(|target| at.get(target)) {
            Some(&member) => members.push((place, Found { path, place: found[member].place.clone() })),
            None => dead += usize::from(!target.is_some_and(|target| folder(target))),
        }
    }
    let mut members = members.into_iter().peekable();
    let mut all = Vec::with_capacity(found.len() + members.len());
    for (index, member) in found.drain(..).enumerate() {
        while let Some((_, link)) = members.next_if(|(place, _)| *place <= index) {
            all.push(link);
        }
        all.push(member);
    }
    all.extend(members.map(|(_, link)| link));
    *found = all;
    dead
}

/// The path that a link in this folder leads to; `None` where that is outside of the archive.
fn leads_to(folder: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a block of zeros lies there.
fn is_end(file: &Positional, at: u64) -> bool {
    let mut block = [0; BLOCK as usize];
    at > 0 && file.read_exact_at(&mut block, at).is_ok() && block.iter().all(|&byte| byte == 0)
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
