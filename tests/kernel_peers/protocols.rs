//! `tenmil load` in the words of each protocol: a handshake first, heartbeats, and answers to those of
//! the server.

use std::io::Read as _;
use std::process::{Command, Stdio};

use crate::load::Load;
use crate::network::Network;
use crate::python::PYTHON;
use crate::server::Server;

#[test]
fn websocket_and_dubbo_are_loaded_while_the_server_asks_too() {
    let test = "websocket_and_dubbo_are_loaded_while_the_server_asks_too";
    let Some(network) = Network::make(test, &[]) else { return };
    let listen = [
        "--address",
        "10.77.0.1/16",
        "fd77::1/64",
        "--listen",
        "ws://10.77.0.1:80?heartbeat=300ms",
        "ws://[fd77::1]:80?heartbeat=300ms",
        "dubbo://10.77.0.1:20880?heartbeat=300ms",
        "dubbo://[fd77::1]:20880?heartbeat=300ms",
    ];
    let mut server = Server::start_with(&network, &listen);
    let args = ["--source", "10.77.16.0/24", "fd77::1:0/112", "--target", "ws://10.77.0.1:80"];
    let more = ["ws://[fd77::1]:80", "dubbo://10.77.0.1:20880", "dubbo://[fd77::1]:20880"];
    let times = ["--connections", "200", "--heartbeat", "1s", "--hold", "3s"];
    let ended = Load::start(&network, "protocols", &[&args[..], &more, &times].concat()).wait();
    ended.assert_clean(200, 600);
    let status = server.settled();
    // A heartbeat that crosses a client's close is answered with a reset.
    // Of WebSocket's connections the server closes TCP first.
    let ended =
        ["closed_by_peer", "reset_by_peer", "closed_by_us"].map(|name| status.closed.get(name));
    let ended: u64 = ended.into_iter().flatten().sum();
    assert_eq!((ended, status.closed.values().sum()), (200, 200), "nobody was silent: {status:?}");
    server.stop();
}

/// A server of Python's that pings its clients, too.
const WEBSOCKETS: &str = r#"
import asyncio, websockets
async def serve(ws, path=None):
    async for message in ws:
        await ws.send(message)
async def main():
    async with websockets.serve(serve, "10.77.0.1", 80, ping_interval=0.4, ping_timeout=20):
        print("listening", flush=True)
        await asyncio.Future()
asyncio.run(main())
"#;

#[test]
fn a_websocket_server_of_pythons_is_loaded_too() {
    let test = "a_websocket_server_of_pythons_is_loaded_too";
    let Some(network) = Network::make(test, &[PYTHON]) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    let mut python = network.in_server(|| {
        let mut command = Command::new(PYTHON);
        command.args(["-c", WEBSOCKETS]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::null()).spawn().expect("python3 runs")
    });
    let mut said = [0; 9];
    python.stdout.as_mut().expect("it is piped").read_exact(&mut said).expect("it listens");
    let args = ["--source", "10.77.16.0/24", "--target", "ws://10.77.0.1:80"];
    let times = ["--connections", "50", "--heartbeat", "1s", "--hold", "3s"];
    let ended = Load::start(&network, "websockets", &[&args[..], &times].concat()).wait();
    let _ = python.kill();
    let _ = python.wait();
    ended.assert_clean(50, 150);
}
