//! Whom a person knows: the address book, what its names and addresses are, and what
//! follows from it for keys.

pub mod address;
mod address_book;
mod entry;
mod error;
mod lock;
mod petname;
mod verdict;

pub use address::Address;
pub use address_book::{Added, AddressBook, BOOK_FILE};
pub use entry::{Entry, KnownKey, Origin};
pub use error::{BookError, Damage, Refusal};
pub use petname::Petname;
pub use verdict::{Expected, KeyVerdict, Offer, ServerTrust, Target, TargetError};
