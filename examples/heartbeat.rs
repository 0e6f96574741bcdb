//! Connections that prove that they are alive, and that other threads send to:
//! `cargo run --example heartbeat -- IF ADDRESS`, as root.
//!
//! On port 7000 of ADDRESS `PING` and a newline is answered `PONG`. A client that says nothing for 45
//! seconds is gone. Another thread greets each connection by its name, and tells all of them how many
//! there are every ten seconds, and once more whatever is typed. Try `nc ADDRESS 7000`, or the example
//! `client`.

use std::io::BufRead as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use tenmil::conn::broadcast::Audience;
use tenmil::conn::slab::ConnId;
use tenmil::service::line::{PING, PONG};
use tenmil::service::{Context, Service, ServiceState};
use tenmil::shard::Answering;
use tenmil::shard::host::Host;
use tenmil::shard::mailbox::Handle;
use tenmil::tcp::CloseReason;
use tenmil::time::Tick;

const SILENCE_MAX: Duration = Duration::from_secs(45);

/// What the other thread hears of.
enum Event {
    /// A connection has opened on this queue.
    Opened(usize, ConnId),
    Ended,
    Typed(String),
}

/// The service of one queue. Its state is when the peer was last heard.
struct Heartbeat {
    queue: usize,
    events: Sender<Event>,
}

impl Service for Heartbeat {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        hear(conn);
        conn.wake_after(SILENCE_MAX);
        // Nobody listens any more when the process ends.
        let _ = self.events.send(Event::Opened(self.queue, conn.id()));
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut consumed = 0;
        // What is not a whole line yet comes again, with what follows it.
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !line.ends_with(b"\n") || conn.room() < PONG.len() {
                break;
            }
            if line == PING {
                conn.send(PONG);
            }
            hear(conn);
            consumed += line.len();
        }
        if consumed == 0 && bytes.len() > 1_000 {
            conn.close_for(CloseReason::ProtocolError);
        }
        consumed
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        let [a, b, c, d, ..] = *conn.state();
        let gone_at = Tick(u32::from_ne_bytes([a, b, c, d])).after(SILENCE_MAX);
        match Tick::of(conn.now()).reached(gone_at) {
            true => conn.abort_for(CloseReason::HeartbeatMissed),
            false => conn.wake_at(gone_at.start(conn.now())),
        }
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        println!("{id:?} has ended: {}", reason.name());
        let _ = self.events.send(Event::Ended);
    }
}

/// Notes that the peer was heard now.
fn hear(conn: &mut Context<'_>) {
    let tick = Tick::of(conn.now());
    conn.state()[..4].copy_from_slice(&tick.0.to_ne_bytes());
}

/// The other thread: each queue has a handle.
fn talk(handles: &[Handle], events: &Receiver<Event>) {
    let mut count = 0;
    loop {
        let to_all = match events.recv_timeout(Duration::from_secs(10)) {
            Ok(Event::Opened(queue, id)) => {
                count += 1;
                // The outcome says whether it was sent; this one does not wait for it.
                let _ = handles[queue].push(id, format!("welcome, {id:?}\n").into_bytes());
                continue;
            }
            Ok(Event::Ended) => {
                count -= 1;
                continue;
            }
            Ok(Event::Typed(line)) => format!("{line}\n"),
            Err(RecvTimeoutError::Timeout) => format!("{count} are here\n"),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for handle in handles {
            if let Err(full) = handle.broadcast(Audience::All, to_all.clone().into_bytes()) {
                println!("not sent: {full}");
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().collect();
    let [_, interface, address] = args.as_slice() else {
        return Err("usage: heartbeat IF ADDRESS".into());
    };
    let mut host = Host::attach(interface, address.parse()?)?;
    host.listen(7000, 0);
    let handles: Vec<_> = host.shared().iter().map(|shared| shared.handle()).collect();
    let (events, heard) = mpsc::channel();
    std::thread::spawn(move || talk(&handles, &heard));
    let typed = events.clone();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        lines.map(Event::Typed).try_for_each(|line| typed.send(line))
    });
    host.run_driven(|queue| (Heartbeat { queue, events: events.clone() }, Answering))?;
    Ok(())
}
