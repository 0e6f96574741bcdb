//! Keep alive: clients whose kernel answers, and who say nothing.

use std::io::{Read as _, Write as _};

use tenmil::shard::clock::Clock;
use tenmil::time::Instant;

use super::ARGS;
use crate::client::connect;
use crate::network::Network;
use crate::server::Server;

/// A CONNECT of this protocol level with a keep alive of two seconds, for one client.
fn hello(level: u8, name: u8) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let body = [b"\x00\x04MQTT", &[level, 2, 0, 2][..], properties, &[0, 1, name]].concat();
    [&[0x10, u8::try_from(body.len()).expect("it is short")], &body[..]].concat()
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives_to_the_second() {
    let test = "a_silent_client_is_closed_after_one_and_a_half_keep_alives_to_the_second";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    network.in_client(|| {
        let mut clients: Vec<_> = (0..4_u8)
            .map(|n| {
                let mut client = connect("10.77.0.1:1883");
                client.write_all(&hello(4 + n % 2, b'a' + n)).expect("it is open");
                let mut connack = [0; 4];
                client.read_exact(&mut connack).expect("it is accepted");
                assert_eq!((connack[0], connack[3]), (0x20, 0));
                client
            })
            .collect();
        let mut beating = clients.pop().expect("the fourth");
        let clock = Clock::start();
        std::thread::scope(|scope| {
            for (n, mut client) in clients.into_iter().enumerate() {
                scope.spawn(move || {
                    let mut rest = Vec::new();
                    client.read_to_end(&mut rest).expect("an orderly end");
                    let after = clock.now().millis();
                    assert!(
                        (2_900..=3_900).contains(&after),
                        "1.5 x 2 s to the second: {after} ms"
                    );
                    let goodbye: &[u8] = if n % 2 == 1 { b"\xe0\x01\x8d" } else { b"" };
                    assert!(rest.ends_with(goodbye), "{rest:x?}");
                });
            }
            scope.spawn(move || {
                // The rest of its CONNACK, and then one answer for each second.
                while clock.now() < Instant::from_millis(6_000) {
                    beating.write_all(b"\xc0\x00").expect("it is open");
                    let mut answer = [0; 2];
                    while answer != *b"\xd0\x00" {
                        answer[0] = answer[1];
                        beating.read_exact(&mut answer[1..]).expect("it is answered");
                    }
                    let timeout = std::time::Duration::from_secs(1);
                    beating.set_read_timeout(Some(timeout)).expect("an open socket");
                    beating.read_exact(&mut answer).expect_err("nothing more comes");
                    beating.set_read_timeout(None).expect("an open socket");
                }
                beating.write_all(b"\xe0\x00").expect("it is open");
            });
        });
    });
    let status = server.wait_until("they have gone", |status| status.established == 0);
    assert_eq!(status.closed["heartbeat_missed"], 3, "{status:?}");
    server.stop();
}
