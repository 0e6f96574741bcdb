//! Random keys from the kernel.

use crate::wire::addr::Secret;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// A key that nobody can guess, for [`crate::engine::config::Config::new`].
///
/// # Errors
///
/// The system's, when it has no random source: before Linux 3.17.
pub fn draw() -> Result<Secret, Errno> {
    let mut key = [0; 16];
    let mut filled = 0;
    while filled < key.len() {
        filled += getrandom(&mut key[filled..], GetRandomFlags::empty())?;
    }
    Ok(Secret(key))
}
