//! Frames and who owns them.
//!
//! A frame is a fixed-size piece of a pool's memory. A [`Frame`] is the only handle to its piece: it
//! can be moved but not copied, so at every moment a frame has exactly one owner: the fill ring, the
//! kernel, the engine, the tx ring, the completion ring or the pool. Links count them
//! ([`crate::link::Census`]) and the sum is constant.

/// The sole handle to one frame of a [`FramePool`].
///
/// Eight bytes: which piece of the pool's memory, and where in it the frame's bytes are. A handle
/// that is dropped instead of given back is a leak that the census at shutdown finds.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is dropped leaks: give it to a ring or back to its pool"]
pub struct Frame {
    index: u32,
    offset: u16,
    len: u16,
}

impl Frame {
    /// A handle to piece `index`, whose bytes are `offset..offset + len` of the piece.
    ///
    /// Only pools make handles, one for each piece.
    pub(crate) const fn new(index: u32, offset: u16, len: u16) -> Frame {
        Frame { index, offset, len }
    }

    /// Which piece of the pool's memory this is.
    pub(crate) const fn index(&self) -> u32 {
        self.index
    }

    /// Where the frame's bytes start in the piece, in bytes.
    pub(crate) const fn offset(&self) -> u16 {
        self.offset
    }

    /// The length of the frame, in bytes, from the Ethernet header on and without the FCS.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the frame has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the length of the frame, in bytes; what is past `u16::MAX` is cut off.
    pub fn set_len(&mut self, len: usize) {
        self.len = u16::try_from(len).unwrap_or(u16::MAX);
    }
}

/// Memory that frames are pieces of.
///
/// Implementations check the bounds of every access, in release builds too: a handle from another
/// pool, or an address that the kernel made up, gives an empty slice and never another frame.
pub trait FramePool {
    /// Takes a free frame (its length is 0), or `None` when all are in use.
    fn take(&mut self) -> Option<Frame>;

    /// Gives a frame back.
    fn give(&mut self, frame: Frame);

    /// The frame's bytes.
    fn bytes(&self, frame: &Frame) -> &[u8];

    /// All the room that the frame has from its first byte on, at least its length.
    fn room(&mut self, frame: &mut Frame) -> &mut [u8];
}
