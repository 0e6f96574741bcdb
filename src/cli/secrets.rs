//! Random keys from the kernel.

use crate::wire::addr::Secret;
use rustix::rand::{GetRandomFlags, getrandom};

/// A key that nobody can guess.
pub(super) fn draw() -> anyhow::Result<Secret> {
    let mut key = [0; 16];
    let mut filled = 0;
    while filled < key.len() {
        filled += getrandom(&mut key[filled..], GetRandomFlags::empty())?;
    }
    Ok(Secret(key))
}
