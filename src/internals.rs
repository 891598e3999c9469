//! What this project's own tests and benches look into. Nothing is promised of it.

pub use crate::link::server::admission;
pub use crate::link::session;
pub use crate::link::store::{
    Claim, Claimant, Contents, Disk, DiskFile, FileStore, JournalError, Listed, Loaded,
    MemoryStore, PutError, Putting, RecordName, Step, StoreError, Version, next_ticket,
    read_record, write_record,
};
pub use crate::protocol::{
    By, Conversation, Decoder, End, Frame, HeardWhen, Liveness, OutOfOrder, Output, PairDecoder,
    PairFrame, PairOrder, PairStep, Role, SayError, Snapshot,
};
pub use crate::trust::own_file::FileError;
pub use crate::trust::tls::{client_config, server_config, server_name};
