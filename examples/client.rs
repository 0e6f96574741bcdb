//! A client: `cargo run --example client -- IF OWN_ADDRESS/PREFIX SERVER:PORT`, as root.
//!
//! It opens a connection from an address of its own, on which it sends `PING` and a newline every five
//! seconds; after three without an answer it gives the connection up, and opens another. `tenmil serve
//! --listen line://ADDRESS:PORT` answers it, and so does the example `heartbeat`. What comes on another
//! queue than the first is not this connection's, so the interface has one, as a veth pair does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tenmil::conn::slab::ConnId;
use tenmil::engine::Engine;
use tenmil::frame::Frame;
use tenmil::link::Link;
use tenmil::service::{Context, Service, ServiceState};
use tenmil::shard::host::Host;
use tenmil::shard::{Driver, Next};
use tenmil::tcp::CloseReason;
use tenmil::time::Instant;
use tenmil::wire::addr::{Address, Endpoint};

const PERIOD: Duration = Duration::from_secs(5);
const MISSED_MAX: u8 = 3;

/// The service; the first byte of its state is how many answers are missing.
#[derive(Default)]
struct Pinging {
    is_open: bool,
}

impl Service for Pinging {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        println!("connected to {:?}", conn.remote());
        self.on_wake(conn);
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        print!("heard {}", String::from_utf8_lossy(bytes));
        conn.state()[0] = 0;
        bytes.len()
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        if conn.state()[0] == MISSED_MAX {
            return conn.abort_for(CloseReason::HeartbeatMissed);
        }
        conn.state()[0] += 1;
        conn.send(b"PING\n");
        conn.wake_after(PERIOD);
    }

    fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        println!("ended: {}", reason.name());
        self.is_open = false;
    }
}

/// Opens a connection whenever there is none.
struct Opening {
    local: IpAddr,
    remote: Endpoint,
    port: u16,
    at: Instant,
}

impl Driver<Pinging> for Opening {
    fn poll<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Pinging>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        if now >= self.at && !engine.service().is_open {
            let local = Endpoint { addr: Address::from(self.local), port: self.port };
            match engine.connect(local, self.remote, 0, now, link, tx) {
                Ok(_) => {
                    engine.service_mut().is_open = true;
                    self.port = self.port.checked_add(1).unwrap_or(32_768);
                }
                Err(error) => println!("not yet: {error}"),
            }
            self.at = now + Duration::from_secs(1);
        }
        Next::At(self.at.max(now + Duration::from_millis(100)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().collect();
    let [_, interface, own, server] = args.as_slice() else {
        return Err("usage: client IF OWN_ADDRESS/PREFIX SERVER:PORT".into());
    };
    let (local, prefix_len) = own.split_once('/').ok_or("no prefix length")?;
    let (local, server): (IpAddr, SocketAddr) = (local.parse()?, server.parse()?);
    let mut host = Host::attach(interface, local)?;
    host.on_link(prefix_len.parse()?);
    let remote = Endpoint::from(server);
    let opening = |_| Opening { local, remote, port: 32_768, at: Instant::ZERO };
    host.run_driven(|queue| (Pinging::default(), opening(queue)))?;
    Ok(())
}
