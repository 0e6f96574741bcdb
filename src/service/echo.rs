//! Sends back what it receives (RFC 862), and closes when its client does.

use super::{Context, Service};

/// The service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        conn.send(bytes)
    }
}
