//! An echo server on one queue of an interface: `cargo run --example echo -- IF ADDRESS`, as root.
//!
//! It answers for ADDRESS alone: ARP, NDP, ping, and TCP on port 7.

use std::net::IpAddr;
use tenmil::engine::Engine;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::link::af_xdp::attachment::{Request, attach};
use tenmil::link::af_xdp::program::XdpMode;
use tenmil::service::{Context, Service};
use tenmil::shard::clock::Clock;
use tenmil::shard::{Answering, Shard, Shared};
use tenmil::wire::addr::{Address, Endpoint, Secret};

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
    let ip: IpAddr = address.parse()?;
    let all_bits = if ip.is_ipv4() { 32 } else { 128 };
    // Detached when this is dropped, and by the kernel when the process ends.
    let (attachment, links) = attach(&Request {
        interface: interface.clone(),
        queues: Some(1),
        mode: XdpMode::Auto,
        owned: vec![(ip, all_bits)],
        listeners: Vec::new(),
    })?;
    let addr = Address::from(ip);
    let mut config = Config::new(attachment.interface().mac, secret()?, secret()?);
    config.owned = vec![Owned { addr, range_len: all_bits, link_len: all_bits }];
    config.listeners =
        vec![Listener { endpoint: Endpoint { addr, port: 7 }, tag: 0, profile: None }];
    let clock = Clock::start();
    for link in links {
        let engine = Engine::new(config.clone(), Echo, clock.now());
        Shard { link, engine, driver: Answering }.run(&clock, &Shared::default())?;
    }
    Ok(())
}

fn secret() -> std::io::Result<Secret> {
    let mut key = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut key)?;
    Ok(Secret(key))
}
