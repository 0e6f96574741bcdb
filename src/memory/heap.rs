//! How the heap gets its memory.
#![allow(unsafe_code, reason = "mallopt is a C function")]

/// Blocks of this many bytes and more are mapped.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: i32 = 32 << 10;

/// Has the heap map each large block by itself, for the whole process: what is allocated zeroed is then not
/// written before it is used.
///
/// glibc carves blocks of up to 128 KiB, later of more, out of what others left, and clears them: the buffers
/// of 1,024 promoted connections were 96 MB of memory before any connection was there. With another C
/// library this does nothing.
pub fn map_large_blocks() {
    // SAFETY: mallopt(3) sets a number of the allocator's. Where other threads allocate meanwhile, they
    // see the old one or the new.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
    }
}
