//! Kinds of connections: which service runs on them, how they find out that their peer has gone,
//! and why they were closed.
//!
//! A record has one byte for all of it, so they are shared: a number for each kind that was ever asked
//! for.

use crate::tcp::CloseReason;
use crate::tcp::keepalive::Profile;

/// How many kinds there can be.
const CLASSES_MAX: usize = 1 << 8;

/// A kind of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// The service's tag.
    pub(super) tag: u8,
    pub(super) profile: Profile,
    /// Why this host has closed, where the service has said so.
    pub(super) reason: Option<CloseReason>,
}

impl Class {
    /// Of connections that nobody has closed yet.
    pub(super) const fn new(tag: u8, profile: Profile) -> Class {
        Class { tag, profile, reason: None }
    }
}

/// The kinds asked for so far. They are never forgotten.
pub(super) struct Classes(Vec<Class>);

impl Classes {
    pub(super) fn new() -> Classes {
        Classes(Vec::with_capacity(CLASSES_MAX))
    }

    /// The number of `class`, or `None` when there are too many others.
    pub(super) fn number(&mut self, class: Class) -> Option<u8> {
        let at = self.0.iter().position(|known| *known == class).unwrap_or_else(|| {
            if self.0.len() < CLASSES_MAX {
                self.0.push(class);
                self.0.len() - 1
            } else {
                CLASSES_MAX
            }
        });
        u8::try_from(at).ok()
    }
}

impl core::ops::Index<u8> for Classes {
    type Output = Class;

    fn index(&self, number: u8) -> &Class {
        &self.0[usize::from(number)]
    }
}
