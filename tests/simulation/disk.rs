//! [`FakeDisk`]: a directory that forgets what was not flushed. A crash of the machine keeps any
//! of it, torn at any byte; a program that is killed leaves all of it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use turnchat::internals::{Disk, DiskFile, FileError};

use crate::dice::Dice;

/// What a disk writes whole, if it writes it.
const BLOCK: usize = 512;

/// How a disk breaks its own word, on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lies {
    #[default]
    None,
    /// What a file was flushed for is lost all the same.
    Files,
    /// Which files there are is.
    Names,
    /// A write that is torn takes the other half of the file with it.
    Neighbours,
}

/// A directory, shared by a store and the world that pulls its plug.
#[derive(Clone, Debug)]
pub(crate) struct FakeDisk(Arc<Mutex<Contents>>);

#[derive(Debug)]
struct Contents {
    lies: Lies,
    inodes: Vec<Inode>,
    names: Vec<(String, usize)>,
    flushed_names: Vec<(String, usize)>,
    /// What happened to names since these were flushed.
    renames: Vec<Naming>,
    /// After so many more operations the machine has stopped.
    fuse: Option<usize>,
    /// After so many more, one fails.
    fails: Option<usize>,
    /// All that were done, for whoever wants to cut them off one by one.
    operations: usize,
}

/// A file, whatever its names are.
#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    flushed: Vec<u8>,
    unflushed: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Naming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

/// A file that is open.
#[derive(Debug)]
pub(crate) struct FakeFile {
    disk: FakeDisk,
    inode: usize,
}

impl FakeDisk {
    pub(crate) fn new(lies: Lies) -> Self {
        Self(Arc::new(Mutex::new(Contents {
            lies,
            inodes: Vec::new(),
            names: Vec::new(),
            flushed_names: Vec::new(),
            renames: Vec::new(),
            fuse: None,
            fails: None,
            operations: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    /// The machine stops after so many more operations, in the midst of the last.
    pub(crate) fn stop_after(&self, operations: usize) {
        self.lock().fuse = Some(operations);
    }

    /// After so many more operations, one fails; `None`: none does.
    pub(crate) fn fail_after(&self, operations: Option<usize>) {
        self.lock().fails = operations;
    }

    /// How many operations have changed something.
    pub(crate) fn operations(&self) -> usize {
        self.lock().operations
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().fuse == Some(0)
    }

    /// The program was killed: all that it did is there.
    pub(crate) fn restart(&self) {
        let mut disk = self.lock();
        (disk.fuse, disk.fails) = (None, None);
    }

    /// The power was pulled. Of what was not flushed, some is there. Whether a write was torn.
    pub(crate) fn pull(&self, dice: &mut Dice) -> bool {
        let mut disk = self.lock();
        (disk.fuse, disk.fails) = (None, None);
        let kept = dice.below(disk.renames.len() + 1);
        let namings: Vec<_> = disk.renames.drain(..).take(kept).collect();
        let mut names = std::mem::take(&mut disk.flushed_names);
        namings
            .into_iter()
            .for_each(|naming| naming.apply(&mut names));
        disk.names.clone_from(&names);
        disk.flushed_names = names;
        let lies = disk.lies;
        let torn = disk.inodes.iter_mut().map(|inode| inode.pull(lies, dice));
        torn.fold(false, |any, torn| any | torn)
    }
}

impl Disk for FakeDisk {
    type File = FakeFile;

    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let disk = self.lock();
        Ok(disk.names.iter().map(|(name, _)| name.clone()).collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        let disk = self.lock();
        let inode = disk.find(name);
        Ok(inode.map(|inode| disk.inodes[inode].content.clone()))
    }

    fn open(&self, name: &str) -> Result<Option<FakeFile>, FileError> {
        let disk = self.lock();
        let file = |inode| FakeFile {
            disk: self.clone(),
            inode,
        };
        Ok(disk.find(name).map(file))
    }

    fn is_in_place(&self, file: &FakeFile, name: &str) -> bool {
        self.lock().find(name) == Some(file.inode)
    }

    fn create(&self, name: &str) -> Result<FakeFile, FileError> {
        let mut disk = self.lock();
        if disk.find(name).is_some() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        disk.operate()?;
        let inode = disk.inodes.len();
        disk.inodes.push(Inode::default());
        disk.name(Naming::Create(name.to_owned(), inode));
        Ok(FakeFile {
            disk: self.clone(),
            inode,
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let mut disk = self.lock();
        disk.find(from)
            .ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        disk.operate()?;
        disk.name(Naming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.find(name).is_some() {
            disk.operate()?;
            disk.name(Naming::Remove(name.to_owned()));
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.operate()?;
        if disk.lies != Lies::Names {
            disk.renames.clear();
            disk.flushed_names = disk.names.clone();
        }
        Ok(())
    }
}

impl Contents {
    fn find(&self, name: &str) -> Option<usize> {
        let named = self.names.iter().find(|(of, _)| of == name);
        named.map(|(_, inode)| *inode)
    }

    fn name(&mut self, naming: Naming) {
        naming.clone().apply(&mut self.names);
        self.renames.push(naming);
    }

    /// Something is about to change, if the machine still runs.
    fn operate(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.fuse {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(io::Error::other("the machine has stopped"));
            }
        }
        if let Some(left) = &mut self.fails {
            if *left == 0 {
                self.fails = None;
                return Err(io::ErrorKind::StorageFull.into());
            }
            *left -= 1;
        }
        self.operations += 1;
        Ok(())
    }
}

impl Naming {
    fn apply(self, names: &mut Vec<(String, usize)>) {
        match self {
            Self::Create(name, inode) => names.push((name, inode)),
            Self::Rename(from, to) => {
                if names.iter().any(|(name, _)| *name == from) {
                    names.retain(|(name, _)| *name != to);
                }
                let renamed = names.iter_mut().find(|(name, _)| *name == from);
                renamed
                    .into_iter()
                    .for_each(|(name, _)| name.clone_from(&to));
            }
            Self::Remove(name) => names.retain(|(of, _)| *of != name),
        }
    }
}

impl Inode {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        write(&mut self.content, at, bytes);
        self.unflushed.push((at, bytes.to_vec()));
    }

    fn flush(&mut self) {
        self.flushed.clone_from(&self.content);
        self.unflushed.clear();
    }

    /// Whether what is left of a write is not all or nothing.
    fn pull(&mut self, lies: Lies, dice: &mut Dice) -> bool {
        let writes = std::mem::take(&mut self.unflushed);
        let mut is_torn = false;
        for (at, bytes) in writes {
            let before = self.flushed.clone();
            match dice.below(4) {
                0 => {}
                1 => write(&mut self.flushed, at, &bytes),
                2 => write(&mut self.flushed, at, &bytes[..dice.below(bytes.len() + 1)]),
                _ => {
                    for (number, block) in bytes.chunks(BLOCK).enumerate() {
                        if dice.once_in(2) {
                            write(&mut self.flushed, at + number * BLOCK, block);
                        }
                    }
                }
            }
            let mut whole = before.clone();
            write(&mut whole, at, &bytes);
            if self.flushed != before && self.flushed != whole {
                is_torn = true;
                if lies == Lies::Neighbours {
                    let half = if at == 0 { 4_096 } else { 0 };
                    write(&mut self.flushed, half, &[0; BLOCK]);
                }
            }
        }
        self.content.clone_from(&self.flushed);
        is_torn
    }
}

fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = at + bytes.len();
    content.resize(content.len().max(end), 0);
    content[at..end].copy_from_slice(bytes);
}

impl DiskFile for FakeFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let disk = self.disk.lock();
        let content = &disk.inodes[self.inode].content;
        let from = content.get(at as usize..).unwrap_or_default();
        let length = from.len().min(buffer.len());
        buffer[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.fuse == Some(0) {
            return Err(io::Error::other("the machine has stopped"));
        }
        let operated = disk.operate();
        // One that is not done has begun.
        let written = match operated {
            Ok(()) => bytes,
            Err(_) => &bytes[..bytes.len() / 2],
        };
        disk.inodes[self.inode].write(at as usize, written);
        operated
    }

    fn flush(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.operate()?;
        if disk.lies != Lies::Files {
            disk.inodes[self.inode].flush();
        }
        Ok(())
    }
}
