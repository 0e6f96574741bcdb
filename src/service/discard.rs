//! Receives and forgets (RFC 863).

use super::{Context, Service};

/// The service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Service for Discard {
    fn on_data(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn receive_window(&self, _: u8) -> u16 {
        u16::MAX
    }
}
