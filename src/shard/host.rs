//! An interface, with a shard for each of its queues: what an embedder needs besides its service.

use super::clock::Clock;
use super::secrets;
use super::{Answering, Driver, Shard, Shared};
use crate::conn::table::OutOfMemory;
use crate::engine::Engine;
use crate::engine::claims::Claiming;
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::link::LinkError;
use crate::link::af_xdp::AfXdpLink;
use crate::link::af_xdp::attachment::{Attachment, Request, SetupError, attach};
use crate::link::af_xdp::program::XdpMode;
use crate::service::Service;
use crate::wire::addr::{Address, Endpoint};
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::io::Errno;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;

/// An interface that was taken into use, and what is to run on it. When this is dropped, and when the
/// process ends, the interface is the kernel's alone again.
pub struct Host {
    /// What each queue's engine is made with. Addresses, gateways and limits may be changed until
    /// [`Host::run`].
    pub config: Config,
    attachment: Attachment,
    links: Vec<AfXdpLink>,
    shared: Vec<Arc<Shared>>,
}

/// Why a [`Host`] could not be made, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The interface could not be taken into use.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// There is no random source for the secrets.
    #[error("no random numbers for the secrets: {0}")]
    Random(#[from] Errno),
    /// There is no memory for as many connections.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// The interface went away.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Host {
    /// Takes `interface` into use and answers alone for `address` (ARP, NDP, ping and TCP), which the
    /// kernel must not have. Needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF.
    ///
    /// # Errors
    ///
    /// `Setup` and `Random`; nothing stays behind.
    pub fn attach(interface: &str, address: IpAddr) -> Result<Host, HostError> {
        let all_bits = if address.is_ipv4() { 32 } else { 128 };
        let (attachment, links) = attach(&Request {
            interface: interface.to_owned(),
            queues: None,
            mode: XdpMode::Auto,
            owned: vec![(address, all_bits)],
            listeners: Vec::new(),
        })?;
        let facts = attachment.interface();
        let mut config = Config::new(facts.mac, secrets::draw()?, secrets::draw()?);
        config.mtu = u16::try_from(facts.mtu).map_or(config.mtu, |mtu| mtu.min(config.mtu));
        let addr = Address::from(address);
        config.owned = vec![Owned { addr, range_len: all_bits, link_len: all_bits }];
        let stop = Arc::new(AtomicBool::new(false));
        let shared = links.iter().map(|_| Arc::new(Shared::new(stop.clone()))).collect();
        Ok(Host { config, attachment, links, shared })
    }

    /// Says how many bits of the address are those of its link: peers on it are reached without a
    /// gateway. Needed where this host opens connections.
    pub fn on_link(&mut self, prefix_len: u8) {
        for owned in &mut self.config.owned {
            owned.link_len = prefix_len.min(owned.range_len);
        }
    }

    /// Accepts connections on `port`, for which the service sees `tag`.
    pub fn listen(&mut self, port: u16, tag: u8) {
        for Owned { addr, .. } in self.config.owned.clone() {
            let endpoint = Endpoint { addr, port };
            self.config.listeners.push(Listener { endpoint, tag, profile: None });
        }
    }

    /// What was attached, and how.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// What each queue's shard shares with other threads: snapshots, and the flag that stops all of
    /// them.
    pub fn shared(&self) -> &[Arc<Shared>] {
        &self.shared
    }

    /// Runs a service of its own on each queue, on a thread each, until [`Shared::stop`] is set.
    ///
    /// # Errors
    ///
    /// `Memory` and `Link`.
    ///
    /// # Panics
    ///
    /// When a service panics.
    pub fn run<S: Service + Send>(self, mut service: impl FnMut() -> S) -> Result<(), HostError> {
        self.run_driven(|_| (service(), Answering))
    }

    /// Runs a service and a driver on each queue, as `make` makes them of the queue's number; a driver
    /// that is done stops all of them.
    ///
    /// # Errors
    ///
    /// `Memory` and `Link`.
    ///
    /// # Panics
    ///
    /// When a service or a driver panics.
    pub fn run_driven<S: Service + Send, D: Driver<S> + Send>(
        self,
        mut make: impl FnMut(usize) -> (S, D),
    ) -> Result<(), HostError> {
        let Host { config, attachment: _attachment, links, shared } = self;
        let clock = Clock::start();
        let mut shards = Vec::new();
        for (queue, link) in links.into_iter().enumerate() {
            // Neighbours need to hear it from one.
            let claiming = if queue == 0 { Claiming::Announce } else { Claiming::Silent };
            let (service, driver) = make(queue);
            let config = Config { claiming, ..config.clone() };
            let engine = Engine::try_new(config, service, clock.now())?;
            shards.push(Shard { link, engine, driver });
        }
        thread::scope(|scope| {
            let mut running = Vec::new();
            for (mut shard, mine) in shards.into_iter().zip(&shared) {
                running.push(scope.spawn(move || {
                    let _stop = StopAtEnd(&mine.stop);
                    shard.run(&clock, mine)
                }));
            }
            let ended = running.into_iter().map(|thread| match thread.join() {
                Ok(ended) => ended.map_err(HostError::from),
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.fold(Ok(()), Result::and)
        })
    }
}

/// Stops all shards when one ends: a queue without its shard would lose its clients.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
