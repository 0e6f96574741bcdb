//! A program of somebody else's: a service of its own on an interface.

use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering;
use std::thread;

use tenmil::service::{Context, Service};
use tenmil::shard::Snapshot;
use tenmil::shard::host::Host;
use tenmil::time::Duration;

use crate::client::{connect, noise};
use crate::network::{Network, SERVER_INTERFACE};

const ADDRESS: &str = "10.77.0.1";

/// What every client gets, longer than any buffer.
const LEN: usize = 3_000_000;

/// Waits a second after it was spoken to, and then sends a long message and closes.
struct Slow {
    message: Vec<u8>,
}

impl Slow {
    fn go_on(&self, conn: &mut Context<'_>) {
        let sent = u64::from_le_bytes(*conn.state());
        let at = usize::try_from(sent).expect("within the message");
        let more = conn.send(&self.message[at..]) as u64;
        *conn.state() = (sent + more).to_le_bytes();
        if sent + more == LEN as u64 {
            conn.close();
        } else {
            conn.want_room();
        }
    }
}

impl Service for Slow {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        conn.wake_after(Duration::from_secs(1));
        bytes.len()
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        self.go_on(conn);
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        self.go_on(conn);
    }
}

/// Serves with what `set` changes while `clients` run, and returns what was counted.
fn serve(
    network: &Network,
    set: impl FnOnce(&mut Host) + Send,
    clients: impl FnOnce(),
) -> Snapshot {
    let message = noise(7, LEN);
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let serving = scope.spawn(move || {
            network.in_server(|| {
                let address = ADDRESS.parse().expect("an address");
                let mut host = Host::attach(SERVER_INTERFACE, address).expect("it can be attached");
                host.listen(7, 0);
                host.config.connections_max = 1_000;
                set(&mut host);
                ready.send(host.shared().to_vec()).expect("somebody waits");
                host.run(|| Slow { message: message.clone() })
            })
        });
        let shared = is_ready.recv().expect("it starts");
        clients();
        shared[0].stop.store(true, Ordering::Relaxed);
        serving.join().expect("no panic").expect("it was stopped");
        let mut sum = Snapshot::default();
        shared.iter().for_each(|shared| sum.add(&shared.snapshot()));
        sum
    })
}

#[test]
fn a_service_of_an_embedder_is_woken_and_sends_more_than_there_is_room_for() {
    let test = "a_service_of_an_embedder_is_woken_and_sends_more_than_there_is_room_for";
    let Some(network) = Network::with_queues(test, &[], 2) else { return };
    let message = noise(7, LEN);
    // With places for all of them, for one, and for none.
    for promoted_max in [1_024, 1, 0] {
        let counted = serve(
            &network,
            |host| host.config.promoted_max = promoted_max,
            || {
                network.in_client(|| {
                    let to = format!("{ADDRESS}:7");
                    let mut streams: Vec<_> = (0..4).map(|_| connect(&to)).collect();
                    for stream in &mut streams {
                        stream.write_all(b"go").expect("an open socket");
                    }
                    thread::scope(|scope| {
                        for mut stream in streams {
                            let message = &message;
                            scope.spawn(move || {
                                let mut heard = Vec::new();
                                stream.read_to_end(&mut heard).expect("an orderly end");
                                assert!(heard == *message, "{} of {LEN} bytes", heard.len());
                            });
                        }
                    });
                });
            },
        );
        assert_eq!((counted.engine.accepted, counted.engine.promotions > 0), (4, promoted_max > 0));
        network.assert_detached();
    }
}
