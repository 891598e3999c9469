//! A small file that is written in place, and can be torn at any byte: two slots, of which each
//! write takes the older one. Whichever is whole and younger holds.
//!
//! ```text
//! 0       turnchat-record SEQUENCE ROOM LENGTH CHECKSUM, LF, and LENGTH bytes
//! ROOM    the same; SEQUENCE is higher by one, or lower by one
//! ```
//!
//! The first slot has the odd numbers. ROOM is a power of two, at least 4,096; what does not fit
//! is written to a new file with more, which takes the old one's place. The checksum is SHA-256,
//! in hexadecimal, of the three numbers and the bytes.

use std::io;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};

use super::directory::Directory;
use super::disk::{Disk, DiskFile, LONGEST};
use super::{Loaded, Version};
use crate::trust::own_file::FileError;

/// What a slot has room for, with its first line.
const ROOMS: [u64; 10] = [
    4_096, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576, 2_097_152,
];
/// How every slot begins.
const MAGIC: &[u8] = b"turnchat-record ";
/// The length of a slot's first line: the words, the sequence in 20 digits, room and length in 8
/// each, and the checksum in 64.
const HEADER: usize = 16 + 20 + 1 + 8 + 1 + 8 + 1 + 64 + 1;
/// How far writes are counted: a [`Version`] has no more bits for it.
const MOST: u64 = u64::MAX >> 4;
/// How often a file is read of which no slot is whole: somebody may write to it just then.
const TRIES: usize = 3;
/// How the name of a file ends that is not in place yet. It begins with a dot.
const BESIDE: &str = ".new";

/// The younger slot, and so where the next write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slots {
    sequence: u64,
    /// Which of the [`ROOMS`].
    room: usize,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// No slot is whole. What stands at its beginning.
    Damaged(Vec<u8>),
    Whole(Loaded),
}

/// Why it was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The file is at another version.
    Conflict,
    /// What was written last does not stand there, and nothing younger.
    Damaged,
    File(FileError),
}

impl<E: Into<FileError>> From<E> for WriteError {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}

impl From<Slots> for Version {
    fn from(Slots { sequence, room }: Slots) -> Self {
        Self(sequence << 4 | room as u64)
    }
}

impl Slots {
    /// Where there is no file the sequence is 0, which no slot has.
    fn of(Version(version): Version) -> Self {
        Self {
            sequence: version >> 4,
            room: (version & 0xF) as usize,
        }
    }

    fn room(self) -> u64 {
        ROOMS.get(self.room).copied().unwrap_or(LONGEST)
    }

    /// Where the younger one stands.
    fn offset(self) -> u64 {
        match self.sequence % 2 {
            1 => 0,
            _ => self.room(),
        }
    }

    /// What the next write makes of them.
    fn next(self) -> Self {
        Self {
            sequence: self.sequence + 1,
            ..self
        }
    }

    /// Whether these are what stands in this file.
    fn are_in(self, file: &impl DiskFile) -> io::Result<bool> {
        Ok(self.length_in(file)?.is_some() && !self.next().are_whole_in(file)?)
    }

    /// Whether the younger one is whole in this file.
    fn are_whole_in(self, file: &impl DiskFile) -> io::Result<bool> {
        let Some(length) = self.length_in(file)? else {
            return Ok(false);
        };
        let mut content = vec![0; HEADER + length];
        file.read_at(&mut content, self.offset())?;
        Ok(whole(&content).is_some_and(|(found, _)| found == self))
    }

    /// How many bytes the younger one has in this file, if its first line is there.
    fn length_in(self, file: &impl DiskFile) -> io::Result<Option<usize>> {
        let mut header = [0; HEADER];
        let read = file.read_at(&mut header, self.offset())?;
        let found = parse(&header).filter(|found| read == HEADER && found.slots == self);
        Ok(found.map(|found| found.length))
    }

    fn encode(self, bytes: &[u8]) -> Vec<u8> {
        let (sequence, room) = (self.sequence, self.room());
        let numbers = format!("{sequence:020} {room:08} {:08}", bytes.len());
        let checksum = checksum(&numbers, bytes);
        let line = [MAGIC, numbers.as_bytes(), b" ", checksum.as_bytes(), b"\n"];
        [&line.concat(), bytes].concat()
    }
}

/// Reads a file, which others may be writing to.
pub(super) fn read(disk: &impl Disk, name: &str) -> Result<Found, FileError> {
    let mut content = Vec::new();
    for _ in 0..TRIES {
        content = match disk.read(name)? {
            None => return Ok(Found::Nothing),
            Some(content) => content,
        };
        if let Some((slots, bytes)) = younger(&content) {
            return Ok(Found::Whole((slots.into(), bytes.to_vec())));
        }
    }
    content.truncate(HEADER);
    Ok(Found::Damaged(content))
}

/// Writes this durably, in one flush, but for the first time; the version that it then has, and
/// the file. `open`: the file, if it is open already.
///
/// # Errors
/// What was there holds; only if the flush failed, it may be the new.
pub(super) fn write<D: Disk>(
    disk: &D,
    name: &str,
    open: Option<D::File>,
    bytes: &[u8],
    expected: Version,
) -> Result<(Version, D::File), WriteError> {
    let before = Slots::of(expected);
    // Where somebody has removed the file, it is made again.
    let file = match open.filter(|file| disk.is_in_place(file, name)) {
        None => disk.open(name)?,
        open => open,
    };
    let Some(file) = file.filter(|_| room(bytes).is_some_and(|room| room <= before.room)) else {
        return write_anew(disk, name, bytes, expected);
    };
    check(disk, name, before, &file)?;
    let next = before.next();
    let written = file.write_at(&next.encode(bytes), next.offset());
    let flushed = written.and_then(|()| file.flush());
    // Nobody may read what is not on the disk; the next write takes the same slot.
    flushed.inspect_err(|_| _ = file.write_at(&[0; HEADER], next.offset()))?;
    Ok((next.into(), file))
}

/// The same in a new file, so that nothing stays of what stood there.
pub(super) fn write_anew<D: Disk>(
    disk: &D,
    name: &str,
    bytes: &[u8],
    expected: Version,
) -> Result<(Version, D::File), WriteError> {
    let room = room(bytes).ok_or(io::Error::from(io::ErrorKind::FileTooLarge))?;
    let before = Slots::of(expected);
    if let Some(file) = disk.open(name)? {
        check(disk, name, before, &file)?;
    }
    let first = Slots {
        // The next odd one.
        sequence: (before.sequence + 1) | 1,
        room: before.room.max(room),
    };
    let beside = format!(".{name}{BESIDE}");
    let file = make(disk, &beside, &first.encode(bytes))?;
    let renamed = disk.rename(&beside, name);
    renamed.inspect_err(|_| remove(disk, &beside))?;
    disk.flush()?;
    Ok((first.into(), file))
}

/// Which of the [`ROOMS`] this fits in, if any.
fn room(bytes: &[u8]) -> Option<usize> {
    let needed = (bytes.len() + HEADER) as u64;
    ROOMS.iter().position(|room| needed <= *room)
}

/// Whether the slots of a file are what its writer knows.
fn check<D: Disk>(disk: &D, name: &str, known: Slots, file: &D::File) -> Result<(), WriteError> {
    if known.are_in(file)? {
        return Ok(());
    }
    Err(match read(disk, name)? {
        Found::Whole((found, _)) if Slots::of(found).sequence > known.sequence => {
            WriteError::Conflict
        }
        Found::Whole(_) | Found::Nothing | Found::Damaged(_) => WriteError::Damaged,
    })
}

/// Removes a file durably.
///
/// # Errors
/// It is still there; or it is gone, and may come back.
pub(super) fn remove_at(disk: &impl Disk, name: &str, expected: Version) -> Result<(), WriteError> {
    if let Some(file) = disk.open(name)? {
        check(disk, name, Slots::of(expected), &file)?;
        disk.remove(name)?;
        disk.flush()?;
    }
    Ok(())
}

/// Makes durable what stands in a file: a writer that was killed may not have done so.
pub(super) fn flush(disk: &impl Disk, name: &str) -> Result<(), FileError> {
    if let Some(file) = disk.open(name)? {
        file.flush()?;
    }
    Ok(())
}

/// Removes what writers that were killed have left beside the files whose names begin so. Only
/// for whoever keeps other writers out.
pub(super) fn sweep(disk: &impl Disk, begin: &str) {
    let is_left = |name: &String| {
        let name = name.strip_prefix('.');
        name.is_some_and(|name| name.starts_with(begin) && name.ends_with(BESIDE))
    };
    let names = disk.names().unwrap_or_default();
    names
        .iter()
        .filter(|name| is_left(name))
        .for_each(|name| remove(disk, name));
}

/// Makes a file that is not in place yet.
fn make<D: Disk>(disk: &D, beside: &str, content: &[u8]) -> Result<D::File, FileError> {
    // Of a write that has failed.
    disk.remove(beside)?;
    let file = disk.create(beside)?;
    let written = file.write_at(content, 0).and_then(|()| file.flush());
    written.inspect_err(|_| remove(disk, beside))?;
    Ok(file)
}

/// It does no harm if it stays.
fn remove(disk: &impl Disk, name: &str) {
    let _ = disk.remove(name);
}

/// The younger of the slots that are whole.
fn younger(content: &[u8]) -> Option<(Slots, &[u8])> {
    let places = [0].into_iter().chain(ROOMS);
    let slots = places.filter_map(|at| {
        let (slots, bytes) = whole(content.get(usize::try_from(at).ok()?..)?)?;
        (slots.offset() == at).then_some((slots, bytes))
    });
    slots.max_by_key(|(slots, _)| slots.sequence)
}

/// The slot at the beginning of this, if it is whole.
fn whole(content: &[u8]) -> Option<(Slots, &[u8])> {
    let (header, rest) = content.split_at_checked(HEADER)?;
    let header = parse(header)?;
    let bytes = rest.get(..header.length)?;
    (checksum(header.numbers, bytes) == header.sum).then_some((header.slots, bytes))
}

/// A slot's first line.
struct Header<'a> {
    /// The numbers as they stand there.
    numbers: &'a str,
    slots: Slots,
    length: usize,
    sum: &'a str,
}

fn parse(header: &[u8]) -> Option<Header<'_>> {
    let line = header.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    let (numbers, sum) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    let mut words = numbers.split(' ').map(str::parse);
    let mut next = || words.next()?.ok();
    let (sequence, room, length): (u64, u64, u64) = (next()?, next()?, next()?);
    let in_room = length.checked_add(HEADER as u64);
    let fits = (1..=MOST).contains(&sequence) && in_room.is_some_and(|length| length <= room);
    let room = ROOMS.iter().position(|of| *of == room).filter(|_| fits)?;
    Some(Header {
        numbers,
        slots: Slots { sequence, room },
        length: usize::try_from(length).ok()?,
        sum,
    })
}

fn checksum(numbers: &str, bytes: &[u8]) -> String {
    let sum = digest(&SHA256, &[numbers.as_bytes(), b"\n", bytes].concat());
    let digits = sum.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// What stands in a record's file, for tests.
pub fn read_record(path: &Path) -> Option<String> {
    let (disk, name) = place(path)?;
    match read(&disk, name) {
        Ok(Found::Whole((_, bytes))) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Puts this into a record's file, for tests. Whether it could.
pub fn write_record(path: &Path, json: &str) -> bool {
    let Some((disk, name)) = place(path) else {
        return false;
    };
    let version = match read(&disk, name) {
        Ok(Found::Whole((version, _))) => version,
        _ => Version::NONE,
    };
    write(&disk, name, None, json.as_bytes(), version).is_ok()
}

fn place(path: &Path) -> Option<(Directory, &str)> {
    let name = path.file_name()?.to_str()?;
    Some((Directory::unlocked(path.parent()?), name))
}

#[cfg(test)]
mod tests;
