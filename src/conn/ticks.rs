//! A tick for each of those slots of the slab that need one.

use crate::memory::array::Array;
use crate::time::Tick;
use rustix::io::Errno;

/// Stands for no tick. A tick of this number is kept as the next one.
const NONE: Tick = Tick(0);

/// At most one tick for each slot. What was never set takes no memory.
pub struct Ticks {
    ticks: Array<Tick>,
    len: u32,
}

impl Ticks {
    /// Room for `capacity` slots: 4 bytes of address space each.
    ///
    /// # Errors
    ///
    /// When there is not so much address space.
    pub fn new(capacity: u32) -> Result<Ticks, Errno> {
        Ok(Ticks { ticks: Array::zeroed(capacity as usize)?, len: 0 })
    }

    /// The memory of `capacity` slots, in bytes.
    pub const fn bytes(capacity: u32) -> u64 {
        capacity as u64 * size_of::<Tick>() as u64
    }

    /// The tick of `slot`, if it has one. While nobody has, nothing is looked at.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<Tick> {
        if self.len == 0 {
            return None;
        }
        let tick = self.ticks[slot as usize];
        (tick != NONE).then_some(tick)
    }

    /// Gives `slot` a tick.
    pub fn set(&mut self, slot: u32, tick: Tick) {
        let tick = if tick == NONE { Tick(1) } else { tick };
        let before = core::mem::replace(&mut self.ticks[slot as usize], tick);
        self.len += u32::from(before == NONE);
    }

    /// Takes the tick of `slot` away, and returns it.
    pub fn take(&mut self, slot: u32) -> Option<Tick> {
        let tick = self.get(slot)?;
        self.ticks[slot as usize] = NONE;
        self.len -= 1;
        Some(tick)
    }

    /// How many slots have a tick.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no slot has a tick.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_a_tick_until_it_is_taken() {
        let mut ticks = Ticks::new(4).unwrap();
        assert_eq!((ticks.get(1), ticks.take(1), ticks.len()), (None, None, 0));
        ticks.set(1, Tick(7));
        ticks.set(1, Tick(8));
        ticks.set(3, Tick(0));
        assert_eq!(
            (ticks.get(0), ticks.get(1), ticks.get(3)),
            (None, Some(Tick(8)), Some(Tick(1)))
        );
        assert_eq!((ticks.len(), ticks.take(1), ticks.get(1)), (2, Some(Tick(8)), None));
        assert_eq!((ticks.take(3), ticks.is_empty()), (Some(Tick(1)), true));
    }
}
