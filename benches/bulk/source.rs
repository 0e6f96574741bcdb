//! A service that sends a fixed number of bytes when it is asked, and then closes.

use tenmil::service::builtin::Builtins;
use tenmil::service::{Context, Service};

pub(crate) const PORT: u16 = 19;
pub(crate) const SOURCE: u8 = 200;

/// The built-in services, and [`SOURCE`].
pub(crate) struct WithSource {
    pub(crate) builtins: Builtins,
    pub(crate) bytes: usize,
}

impl Service for WithSource {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        if conn.tag() != SOURCE {
            return self.builtins.on_data(conn, bytes);
        }
        self.on_room(conn);
        bytes.len()
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        static PIECE: [u8; 1 << 16] = [7; 1 << 16];
        let mut sent = usize::from_le_bytes(*conn.state());
        let left = (self.bytes - sent).min(PIECE.len());
        sent += conn.send(&PIECE[..left]);
        *conn.state() = sent.to_le_bytes();
        if sent < self.bytes {
            conn.want_room();
        } else {
            conn.close();
        }
    }
}
