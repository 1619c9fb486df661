//! NDR 2.0, the transfer syntax of \[C706\] chapter 14 as \[MS-RPCE 2.2.4\] extends it.
//!
//! [`NdrReader`] takes stubs of both byte orders, [`NdrWriter`] writes little-endian only. Both
//! count alignment from the first byte of the stub. They know the shapes that interfaces without
//! context handles need: integers, GUIDs, pointers, and conformant varying strings of UTF-16.
//!
//! Pointers are read and written in two steps, as they stand on the wire: the referent identifier
//! in its place, the pointee after the outermost structure that holds the pointer. A pointer at the
//! top level of the argument list (`[in, string] LPWSTR`) is a reference pointer and has no
//! referent identifier at all.

mod reader;
mod writer;

pub use reader::NdrReader;
pub use writer::NdrWriter;

/// A stub that breaks the rules of NDR or a limit of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NdrError {
    /// The stub ends inside the field.
    #[error("{field}: {needed} bytes needed, {found} found")]
    Truncated {
        /// The argument or member.
        field: &'static str,
        /// Bytes that the field needs after its alignment.
        needed: u64,
        /// Bytes that the stub still has there.
        found: usize,
    },
    /// The maximum count of a string is above the limit of its field.
    #[error("{field}: at most {limit} characters needed, {found} found")]
    TooLong {
        /// The argument or member.
        field: &'static str,
        /// UTF-16 units that the field may have, its terminator included.
        limit: u32,
        /// The maximum count on the wire.
        found: u32,
    },
    /// Offset and actual count do not describe a string inside its maximum count.
    #[error("{field}: offset 0 and 1 to {maximum} characters needed, {offset} and {actual} found")]
    Variance {
        /// The argument or member.
        field: &'static str,
        /// The maximum count on the wire.
        maximum: u32,
        /// The offset on the wire; must be zero.
        offset: u32,
        /// The actual count on the wire.
        actual: u32,
    },
    /// A string has no terminator at its end, or one before it.
    #[error("{field}: one NUL at index {needed} needed, {found:?} found")]
    Terminator {
        /// The argument or member.
        field: &'static str,
        /// Where the only NUL has to stand.
        needed: usize,
        /// Where the first NUL stands, if there is one.
        found: Option<usize>,
    },
    /// A string holds a surrogate without its partner.
    #[error("{field}: UTF-16 needed, unpaired surrogate {found:#06x} found")]
    Surrogate {
        /// The argument or member.
        field: &'static str,
        /// The unit that has no partner.
        found: u16,
    },
    /// A pointer that must point somewhere is NULL.
    #[error("{field}: a referent needed, NULL found")]
    Null {
        /// The argument or member.
        field: &'static str,
    },
}
