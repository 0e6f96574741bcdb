//! Clients that come back.

use super::*;
use tenmil::client::dialer::Dialer;
use tenmil::client::routes::Ports;
use tenmil::client::speaking::{Beats, Speaking};
use tenmil::client::{Client, Plan};
use tenmil::conn::slab::ConnId;
use tenmil::shard::Driver;

type Heard = fn(ConnId, &[u8]);

/// Clients, a server that restarts, and the link between them.
struct World {
    server: Host<Builtins>,
    clients: Host<Client<Speaking<Heard>>>,
    dialer: Dialer<Ports>,
    now: Instant,
}

impl World {
    fn new(service: Builtin) -> World {
        let (a, b) = pair(2048, 2048, 1024);
        let server =
            Host::new(SERVER_MAC, SERVER, |config| listen(config, service), a, Builtins::default());
        let seats = u32::from(CONNECTIONS);
        let ports = Ports {
            local: CLIENT.to_ip(),
            remote: "10.77.0.1:7".parse().expect("an endpoint"),
            tag: service.tag(),
            seats,
        };
        let mut config = Config::new(CLIENT_MAC, Secret([1; 16]), Secret([2; 16]));
        config.connections_max = 1000;
        let plan = Plan { seats, seed: Some(1), ..Plan::default() };
        let heard: Heard = |_, _| ();
        let beats = Beats { period: Some(Duration::from_secs(5)), ..Beats::default() };
        let made = Client::new(&plan, &config, ports, Speaking::new(beats, heard));
        let (client, dialer) = made.expect("memory");
        let clients = Host::new(CLIENT_MAC, CLIENT, |_| (), b, client);
        World { server, clients, dialer, now: Instant::ZERO }
    }

    /// Lets `seconds` pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..100 * seconds {
            self.now = self.now + Duration::from_millis(10);
            let Host { engine, link, tx, .. } = &mut self.clients;
            self.dialer.poll(self.now, engine, link, tx);
            loop {
                let moved = self.server.round(self.now);
                if !(self.clients.round(self.now) || moved) {
                    break;
                }
            }
        }
    }

    /// The server's process ends, and another one is there.
    fn restart(&mut self, service: Builtin) {
        let idle = pair(2, 2048, 2).0;
        let link = std::mem::replace(&mut self.server.link, idle);
        self.server = Host::new(
            SERVER_MAC,
            SERVER,
            |config| listen(config, service),
            link,
            Builtins::default(),
        );
    }

    #[track_caller]
    fn assert_open(&self, retries: u64) {
        let client = self.clients.engine.service();
        assert_eq!((client.seats().open(), client.record().retries), (CONNECTIONS.into(), retries));
    }
}

fn listen(config: &mut Config, service: Builtin) {
    let endpoint = Endpoint { addr: SERVER, port: 7 };
    config.listeners = vec![Listener { endpoint, tag: service.tag(), profile: None }];
}

#[test]
fn clients_that_come_back_allocate_nothing() {
    for service in [Builtin::Echo, Builtin::Mqtt, Builtin::Ws, Builtin::Dubbo, Builtin::Line] {
        let mut world = World::new(service);
        world.pass(10);
        world.assert_open(0);
        world.restart(service);
        // Warm: the first retries.
        let all = u64::from(CONNECTIONS);
        world.pass(40);
        world.assert_open(all);
        world.restart(service);
        let mut counted = 0;
        // Of the clients alone: the new server warms up.
        for _ in 0..4_000 {
            world.now = world.now + Duration::from_millis(10);
            loop {
                let moved = world.server.round(world.now);
                let World { clients, dialer, now, .. } = &mut world;
                let mut answered = false;
                counted += allocations(|| {
                    let Host { engine, link, tx, .. } = &mut *clients;
                    dialer.poll(*now, engine, link, tx);
                    answered = clients.round(*now);
                });
                if !(answered || moved) {
                    break;
                }
            }
        }
        world.assert_open(2 * all);
        assert_eq!(counted, 0, "{service}");
    }
}
