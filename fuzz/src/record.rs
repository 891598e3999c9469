//! What stands in a record of the journal, if somebody or something has damaged it: its slots, and
//! the contents.
//!
//! Input: whose record it is, what the bytes are, numbers for a slot, and the bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arbitrary::Unstructured;
use aws_lc_rs::digest::{SHA256, digest};
use turnchat::internals::session::{Greeting, Session};
use turnchat::internals::{
    Contents, Conversation, Disk, DiskFile, FileError, FileStore, PutError, RecordName, Role,
    Version,
};
use turnchat::{ConversationId, Journal, JournalError, KeyId, Limits, Text};

use super::files;

pub fn run(data: &[u8]) {
    let mut from = Unstructured::new(data);
    let _ = inner(&mut from);
}

fn inner(from: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (alice, bob) = (KeyId::of_spki(b"alice"), KeyId::of_spki(b"bob"));
    let name = match from.arbitrary()? {
        false => RecordName::Client(bob),
        true => RecordName::Server(bob, ConversationId::from_bits([7; 16])),
    };
    let disk = MemoryDisk::default();
    let store = FileStore::new(disk.clone());
    let file = format!("{name}.record");
    match from.int_in_range(0..=3)? {
        0 => disk.put(&file, from.bytes(from.len())?),
        1 => _ = store.write(&name, from.bytes(from.len())?, Version::NONE),
        _ => {
            let first = slot(from)?;
            let mut content = first.1;
            if let Ok((_, second)) = slot(from) {
                content.resize(first.0, 0);
                content.extend(second);
            }
            disk.put(&file, &content);
        }
    }
    let Some(content) = disk.content(&file) else {
        return Ok(());
    };
    let read = store.get(&name);
    listed(&alice, &bob, &name, &content, read.is_ok());
    match read {
        Ok(Some((version, bytes))) => {
            assert!(version > Version::NONE);
            go_on(name.role(), &bytes);
            written(&store, &name, version);
        }
        Ok(None) => panic!("there is a file"),
        Err(JournalError::Damaged { .. } | JournalError::OtherVersion { .. }) => {
            let put = store.write(&name, b"new", Version::NONE);
            assert!(put.is_err(), "damage is not written over");
            assert_eq!(disk.content(&file), Some(content), "and stays as it is");
        }
        Err(error) => panic!("{error}"),
    }
    Ok(())
}

/// A slot whose checksum is right, whatever its numbers are; and where the next may begin.
fn slot(from: &mut Unstructured<'_>) -> arbitrary::Result<(usize, Vec<u8>)> {
    let sequence: u64 = match from.arbitrary()? {
        true => from.arbitrary()?,
        false => from.int_in_range(0..=4)?,
    };
    // Where the count ends nobody writes on; nobody has ever come so far either.
    if sequence.abs_diff(1 << 60) < 8 {
        return Err(arbitrary::Error::IncorrectFormat);
    }
    let room: u32 = match from.arbitrary()? {
        true => from.int_in_range(0..=99_999_999)?,
        false => 4_096 << from.int_in_range(0..=3)?,
    };
    let length = from.int_in_range(0..=200)?.min(from.len());
    let bytes = from.bytes(length)?;
    let claimed: u32 = match from.arbitrary()? {
        true => from.int_in_range(0..=99_999_999)?,
        false => bytes.len() as u32,
    };
    let numbers = format!("{sequence:020} {room:08} {claimed:08}");
    let sum = digest(&SHA256, &[numbers.as_bytes(), b"\n", bytes].concat());
    let sum: String = sum
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let line = format!("turnchat-record {numbers} {sum}\n");
    Ok((
        (room as usize).min(1 << 16),
        [line.as_bytes(), bytes].concat(),
    ))
}

/// The file as a program lists it.
fn listed(own: &KeyId, peer: &KeyId, name: &RecordName, content: &[u8], is_whole: bool) {
    let home = files::directory();
    let directory = home.path().join(own.file_name());
    std::fs::create_dir(&directory).expect("a directory");
    let mut mode = std::fs::metadata(&directory)
        .expect("it is there")
        .permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o700);
    std::fs::set_permissions(&directory, mode).expect("a mode");
    files::write(&directory.join(format!("{name}.record")), content);
    for open in Journal::new(home.path(), own).open_conversations() {
        match open {
            Ok(open) => {
                assert!(is_whole && open.key == *peer && open.role == name.role());
                assert!(!open.is_held);
            }
            Err(JournalError::Damaged { .. } | JournalError::OtherVersion { .. }) => {}
            // More than any record has.
            Err(JournalError::Unusable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A session goes on from it, as from any record of ours.
fn go_on(role: Role, bytes: &[u8]) {
    let Ok(contents) = serde_json::from_slice::<Contents>(bytes) else {
        return;
    };
    assert_eq!(
        serde_json::from_slice::<Contents>(&contents.encode()).ok(),
        Some(contents.clone())
    );
    let snapshot = contents.conversation;
    let Some(conversation) = Conversation::restore(role, snapshot.clone()) else {
        return;
    };
    assert_eq!(conversation.snapshot(), snapshot);
    let greetings = [
        0,
        snapshot.said,
        snapshot.said.saturating_sub(2),
        u64::MAX >> 11,
    ];
    for heard in greetings {
        let mut session = Session::new(role, conversation.clone(), true, true, &Limits::default());
        match role {
            Role::Client => session.connected(),
            Role::Server => {
                session.hold(contents.clienthello);
                let greeting = Greeting {
                    heard,
                    has_quit: false,
                    clienthello: 1,
                };
                let _ = session.accept(greeting);
            }
        }
        drain(&mut session);
        session.taken();
        let _ = session.say(Text::new("on").expect("short"));
        drain(&mut session);
        session.quit();
        drain(&mut session);
    }
}

fn drain(session: &mut Session) {
    for _ in 0..1_000 {
        if session.poll_output().is_none() {
            match session.is_storing() {
                true => session.stored(Ok(())),
                false => return,
            }
        }
    }
    panic!("it has no end");
}

/// It is written on, and removed, by whoever knows its version.
fn written(store: &FileStore<MemoryDisk>, name: &RecordName, version: Version) {
    let Ok(newer) = store.write(name, b"next", version) else {
        panic!("what was read can be written on");
    };
    assert!(newer > version);
    let next = Some((newer, b"next".to_vec()));
    assert_eq!(store.get(name).expect("it was written"), next);
    let conflict = store.write(name, b"other", version);
    assert!(matches!(conflict, Err(PutError::Conflict)), "{conflict:?}");
    assert_eq!(store.get(name).expect("it was written"), next);
    assert!(store.delete(name, newer).is_ok());
    assert_eq!(store.get(name).expect("nothing is damaged"), None);
}

/// A directory in memory.
#[derive(Clone, Debug, Default)]
struct MemoryDisk(Arc<Mutex<BTreeMap<String, MemoryFile>>>);

#[derive(Clone, Debug, Default)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl MemoryDisk {
    fn put(&self, name: &str, content: &[u8]) {
        let file = MemoryFile(Arc::new(Mutex::new(content.to_vec())));
        self.0.lock().unwrap().insert(name.to_owned(), file);
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.0.lock().unwrap().get(name).cloned()?;
        let content = file.0.lock().unwrap().clone();
        Some(content)
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        Ok(self.content(name))
    }

    fn open(&self, name: &str) -> Result<Option<MemoryFile>, FileError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn is_in_place(&self, file: &MemoryFile, name: &str) -> bool {
        let files = self.0.lock().unwrap();
        files
            .get(name)
            .is_some_and(|found| Arc::ptr_eq(&found.0, &file.0))
    }

    fn create(&self, name: &str) -> Result<MemoryFile, FileError> {
        let file = MemoryFile::default();
        self.0.lock().unwrap().insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let mut files = self.0.lock().unwrap();
        if let Some(file) = files.remove(from) {
            files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.0.lock().unwrap();
        let rest = usize::try_from(at)
            .ok()
            .and_then(|at| content.get(at..))
            .unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let at = usize::try_from(at).expect("a place");
        let end = at + bytes.len();
        assert!(end <= 2 * 2_097_152, "no file of a record is longer");
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
