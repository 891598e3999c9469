//! [`Slots`]: a small file that is written in place, and can be torn at any byte: two slots, of
//! which each write takes the older one. Whichever is whole and younger holds.
//!
//! ```text
//! 0       turnchat-record SEQUENCE ROOM LENGTH CHECKSUM, LF, and LENGTH bytes
//! ROOM    the same; SEQUENCE is higher by one, or lower by one
//! ```
//!
//! The first slot has the odd numbers. ROOM is a power of two, at least 4,096; what does not fit
//! is written to a new file with more, which takes the old one's place. The checksum is SHA-256,
//! in hexadecimal, of the three numbers and the bytes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};

use crate::trust::durable::{PRIVATE, ReplaceError, replace};
use crate::trust::own_file::{FileError, Whose, open, open_to_write};

/// What a slot has room for, with its first line.
const ROOMS: [u64; 10] = [
    4_096, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576, 2_097_152,
];
/// How every slot begins.
const MAGIC: &[u8] = b"turnchat-record ";
/// The length of a slot's first line: the words, the sequence in 20 digits, room and length in 8
/// each, and the checksum in 64.
const HEADER: usize = 16 + 20 + 1 + 8 + 1 + 8 + 1 + 64 + 1;
/// How often a file is read of which no slot is whole: somebody may write to it just then.
const TRIES: usize = 3;

/// Where the next write goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// Of the younger slot; 0: there is no file yet.
    sequence: u64,
    room: u64,
}

/// What a slot holds.
#[derive(Debug, PartialEq, Eq)]
struct Slot {
    sequence: u64,
    room: u64,
    bytes: Vec<u8>,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// No slot is whole. What stands at its beginning.
    Damaged(Vec<u8>),
    Whole(Slots, Vec<u8>),
}

impl Slots {
    /// Reads a file, which others may be writing to.
    pub(super) fn read(path: &Path) -> Result<Found, FileError> {
        let (file, _) = match open(path, Whose::Own) {
            Err(error) if error.is_absent() => return Ok(Found::Nothing),
            opened => opened?,
        };
        for _ in 0..TRIES {
            if let Some(Slot {
                sequence,
                room,
                bytes,
            }) = Slot::younger(&file)?
            {
                return Ok(Found::Whole(Self { sequence, room }, bytes));
            }
        }
        let mut beginning = vec![0; HEADER];
        let length = read_at(&file, &mut beginning, 0)?;
        beginning.truncate(length);
        Ok(Found::Damaged(beginning))
    }

    /// Writes this durably, in one flush to the disk, but for the first time.
    ///
    /// # Errors
    /// What was there holds; only if the flush failed, it may be the new.
    pub(super) fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
        let needed = (bytes.len() + HEADER) as u64;
        let room = ROOMS.into_iter().find(|room| needed <= *room);
        let room = room.ok_or(io::ErrorKind::FileTooLarge)?;
        if self.sequence > 0 && room <= self.room {
            match open_to_write(path) {
                Ok(file) => return self.write_in_place(file, bytes),
                // Somebody has removed it.
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let first = Slot {
            // The next odd one.
            sequence: (self.sequence + 1) | 1,
            room: room.max(self.room),
            bytes: bytes.to_vec(),
        };
        replace(path, &first.encode(), PRIVATE)?;
        (self.sequence, self.room) = (first.sequence, first.room);
        Ok(())
    }

    fn write_in_place(&mut self, mut file: File, bytes: &[u8]) -> Result<(), WriteError> {
        let next = Slot {
            sequence: self.sequence + 1,
            room: self.room,
            bytes: bytes.to_vec(),
        };
        file.seek(SeekFrom::Start(next.offset()))?;
        file.write_all(&next.encode())?;
        file.sync_data()?;
        self.sequence = next.sequence;
        Ok(())
    }
}

/// Why it was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    Replace(ReplaceError),
    File(FileError),
}

impl From<ReplaceError> for WriteError {
    fn from(error: ReplaceError) -> Self {
        Self::Replace(error)
    }
}

impl From<FileError> for WriteError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::File(error.into())
    }
}

impl From<io::ErrorKind> for WriteError {
    fn from(kind: io::ErrorKind) -> Self {
        Self::File(io::Error::from(kind).into())
    }
}

impl Slot {
    /// Where it stands.
    fn offset(&self) -> u64 {
        match self.sequence % 2 {
            1 => 0,
            _ => self.room,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = format!(
            "{:020} {:08} {:08}",
            self.sequence,
            self.room,
            self.bytes.len()
        );
        let checksum = checksum(&numbers, &self.bytes);
        [
            MAGIC,
            numbers.as_bytes(),
            b" ",
            checksum.as_bytes(),
            b"\n",
            &self.bytes,
        ]
        .concat()
    }

    /// The younger of those that are whole.
    fn younger(file: &File) -> io::Result<Option<Self>> {
        let mut younger: Option<Self> = None;
        for at in [0].into_iter().chain(ROOMS) {
            let slot = Self::read(file, at)?.filter(|slot| slot.offset() == at);
            let is_younger = |slot: &Self| {
                let other = younger.as_ref();
                other.is_none_or(|other| other.sequence < slot.sequence)
            };
            if slot.as_ref().is_some_and(is_younger) {
                younger = slot;
            }
        }
        Ok(younger)
    }

    /// The slot at this place; `None` if it is not whole.
    fn read(file: &File, at: u64) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        if read_at(file, &mut header, at)? < HEADER {
            return Ok(None);
        }
        let Some((numbers, [sequence, room, length], sum)) = parse(&header) else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let is_whole = read_at(file, &mut bytes, at + HEADER as u64)? == bytes.len()
            && checksum(numbers, &bytes) == sum;
        Ok(is_whole.then_some(Self {
            sequence,
            room,
            bytes,
        }))
    }
}

/// The numbers in a first line, as text too, and the checksum.
fn parse(header: &[u8]) -> Option<(&str, [u64; 3], &str)> {
    let line = header.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    let (numbers, sum) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    let mut words = numbers.split(' ').map(str::parse);
    let mut next = || words.next()?.ok();
    let (sequence, room, length): (u64, u64, u64) = (next()?, next()?, next()?);
    let fits = sequence > 0 && ROOMS.contains(&room) && length + HEADER as u64 <= room;
    fits.then_some((numbers, [sequence, room, length], sum))
}

fn checksum(numbers: &str, bytes: &[u8]) -> String {
    let sum = digest(&SHA256, &[numbers.as_bytes(), b"\n", bytes].concat());
    let digits = sum.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Reads until `buffer` is full or the file ends; how much.
fn read_at(mut file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
