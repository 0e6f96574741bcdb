//! Messages that have begun and not ended: what of them must be remembered from one call to the next.

use super::frame::{Kind, Mask};
use super::utf8::Utf8;
use core::num::NonZeroU16;

/// A message that comes in several frames, or a frame that comes in several pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// Whether a frame that carries some of it was sent.
    pub(super) is_begun: bool,
    /// How many bytes the frames so far announced.
    pub(super) len: u64,
    /// The text up to here.
    pub(super) utf8: Utf8,
    /// The frame that has not ended, if one has not.
    pub(super) frame: Option<Frame>,
}

/// What is missing of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Whether the message ends with it.
    pub(super) fin: bool,
    /// What masks the next byte.
    pub(super) mask: Mask,
    /// How many bytes of it are to come.
    pub(super) rest: u64,
}

impl Message {
    /// A message whose first frame has come up to its payload.
    pub(super) fn new(kind: Kind) -> Message {
        Message { kind, is_begun: false, len: 0, utf8: Utf8::default(), frame: None }
    }
}

/// Where in [`Messages`] one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(NonZeroU16);

impl Place {
    pub(super) fn from_number(number: u16) -> Option<Place> {
        NonZeroU16::new(number).map(Place)
    }

    pub(super) fn number(self) -> u16 {
        self.0.get()
    }

    fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

/// The messages of all connections, a limited number. Their memory is touched as they become more.
#[derive(Debug)]
pub(super) struct Messages {
    entries: Vec<Message>,
    free: Vec<Place>,
    max: usize,
}

impl Messages {
    /// Room for `max` messages.
    pub(super) fn new(max: u16) -> Messages {
        let max = usize::from(max);
        Messages { entries: Vec::with_capacity(max), free: Vec::with_capacity(max), max }
    }

    /// The message in a place that [`Messages::keep`] returned.
    pub(super) fn get(&self, place: Place) -> Option<Message> {
        self.entries.get(place.index()).copied()
    }

    /// Keeps `message` in `place`, or in a new one; none if there is no more room.
    pub(super) fn keep(&mut self, message: Message, place: Option<Place>) -> Option<Place> {
        if let Some(place) = place.or_else(|| self.free.pop()) {
            if let Some(entry) = self.entries.get_mut(place.index()) {
                *entry = message;
            }
            return Some(place);
        }
        if self.entries.len() == self.max {
            return None;
        }
        self.entries.push(message);
        Place::from_number(u16::try_from(self.entries.len()).unwrap_or(0))
    }

    /// Gives a place back.
    pub(super) fn forget(&mut self, place: Place) {
        debug_assert!(!self.free.contains(&place), "a place is given back once");
        self.free.push(place);
    }

    /// How many messages there are.
    pub(super) fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_limited() {
        let mut messages = Messages::new(2);
        let [text, binary] = [Kind::Text, Kind::Binary].map(Message::new);
        let a = messages.keep(text, None).unwrap();
        let b = messages.keep(binary, None).unwrap();
        assert_eq!(messages.keep(text, None), None);
        assert_eq!((messages.get(a), messages.get(b)), (Some(text), Some(binary)));
        assert_eq!(messages.keep(binary, Some(a)), Some(a));
        assert_eq!((messages.get(a), messages.count()), (Some(binary), 2));
        messages.forget(b);
        assert_eq!((messages.keep(text, None), messages.count()), (Some(b), 2));
        messages.forget(a);
        messages.forget(b);
        assert_eq!(messages.count(), 0);
    }

    #[test]
    fn a_message_takes_few_bytes() {
        assert!(size_of::<Message>() <= 40, "{}", size_of::<Message>());
    }
}
