//! An echo server on an interface: `cargo run --example echo -- IF ADDRESS`, as root.
//!
//! It answers for ADDRESS alone: ARP, NDP, ping, and TCP on port 7.

use tenmil::service::{Context, Service};
use tenmil::shard::host::Host;

/// Sends back what comes.
struct Echo;

impl Service for Echo {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        conn.send(bytes)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().collect();
    let [_, interface, address] = args.as_slice() else {
        return Err("usage: echo IF ADDRESS".into());
    };
    let mut host = Host::attach(interface, address.parse()?)?;
    host.listen(7, 0);
    host.run(|| Echo)?;
    Ok(())
}
