//! Clients that come back: `cargo run --example client -- IF OWN_ADDRESS/PREFIX SERVICE SERVER:PORT
//! [CLIENTS]`, as root.
//!
//! Each opens a connection from an address of its own and speaks SERVICE on it: line, echo, ws, mqtt,
//! dubbo or http. When it has sent nothing for five seconds it sends a heartbeat; after three without an
//! answer it gives the connection up. However a connection ends, another is opened in its place, after a
//! wait that grows until a server has proved itself. `tenmil serve` answers it, and for `line` so does the
//! example `heartbeat`. What comes on another queue than the first is not these connections', so the
//! interface has one, as a veth pair does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tenmil::client::routes::Ports;
use tenmil::client::speaking::{Beats, Speaking};
use tenmil::client::{Client, Plan};
use tenmil::conn::slab::ConnId;
use tenmil::service::builtin::Builtin;
use tenmil::shard::host::Host;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (interface, own, service, server, seats) = match args.as_slice() {
        [interface, own, service, server] => (interface, own, service, server, 1),
        [interface, own, service, server, seats] => {
            (interface, own, service, server, seats.parse()?)
        }
        _ => return Err("usage: client IF OWN_ADDRESS/PREFIX SERVICE SERVER:PORT [CLIENTS]".into()),
    };
    let (local, prefix_len) = own.split_once('/').ok_or("no prefix length")?;
    let (local, remote): (IpAddr, SocketAddr) = (local.parse()?, server.parse()?);
    let mut host = Host::attach(interface, local)?;
    host.on_link(prefix_len.parse()?);
    let beats = Beats {
        period: Some(Duration::from_secs(5)),
        answer_wait: Duration::from_secs(2),
        misses: 3,
    };
    let speaking = Speaking::new(beats, |id: ConnId, message: &[u8]| {
        println!("{id:?} heard {}", message.escape_ascii());
    });
    let tag = service.parse::<Builtin>()?.tag();
    let ports = Ports { local, remote, tag, seats };
    let plan = Plan { seats, ..Plan::default() };
    let mut client = Some(Client::new(&plan, &host.config, ports, speaking)?);
    // What happened is in the snapshots.
    let shared = host.shared()[0].clone();
    std::thread::spawn(move || {
        loop {
            std::thread::park_timeout(Duration::from_secs(5));
            let snapshot = shared.snapshot();
            println!("{} open, {:?}", snapshot.engine.established, snapshot.service);
        }
    });
    host.run_driven(|_| client.take().expect("one queue"))?;
    Ok(())
}
