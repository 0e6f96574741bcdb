//! The machine's memory: large tables in mappings of their own, and hints to its caches.
//!
//! - [`mod@array`]: a table of fixed size, in huge pages where the machine gives them
//! - [`mod@bytes`]: comparing many bytes at once
//! - [`heap`]: how the heap gets its memory
//! - [`mod@prefetch`]: asks for a cache line before it is needed

pub mod array;
pub mod bytes;
pub mod heap;
pub mod prefetch;
