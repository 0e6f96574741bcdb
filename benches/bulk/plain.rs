//! A server of smoltcp's alone, on the link that tenmil uses: what its documentation shows.

use super::source;
use super::veth::SERVER;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{EthernetAddress, IpCidr};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenmil::frame::{Frame, FramePool as _};
use tenmil::link::Link as _;
use tenmil::link::af_xdp::AfXdpLink;
use tenmil::shard::clock::Clock;
use tenmil::time::Duration;
use tenmil::wire::ethernet::Mac;

const BUFFER: usize = 65_535;
const BATCH: usize = 64;
const TX_QUEUE: usize = 1024;
const FRAME: usize = 1514;

/// Serves echo, discard and the source, one connection at a time.
pub(crate) fn serve(link: AfXdpLink, mac: Mac, bytes: usize, stop: &Arc<AtomicBool>) {
    let clock = Clock::start();
    let now = || SmolInstant::from_micros(clock.now().micros() as i64);
    let mut device = OnLink { link, rx: VecDeque::new(), tx: Vec::with_capacity(TX_QUEUE) };
    let config = Config::new(EthernetAddress(mac).into());
    let mut interface = Interface::new(config, &mut device, now());
    interface.update_ip_addrs(|addrs| addrs.push(IpCidr::new(SERVER.into(), 16)).expect("room"));
    let mut sockets = SocketSet::new(Vec::new());
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut listen = |port: u16| {
        let mut socket = Socket::new(buffer(), buffer());
        socket.listen(port).expect("a port");
        sockets.add(socket)
    };
    let [echo, discard, out] = [7, 9, source::PORT].map(&mut listen);
    let mut left = bytes;
    let mut batch = Vec::with_capacity(BATCH);
    while !stop.load(Ordering::Relaxed) {
        if TX_QUEUE - device.tx.len() >= 2 * BATCH {
            device.link.receive(&mut batch, BATCH).expect("the link stays");
        }
        let received = batch.len();
        device.rx.extend(batch.drain(..));
        interface.poll(now(), &mut device, &mut sockets);
        serve_echo(sockets.get_mut(echo));
        serve_discard(sockets.get_mut(discard));
        serve_out(&mut sockets, out, &mut left);
        interface.poll(now(), &mut device, &mut sockets);
        device.link.transmit(&mut device.tx).expect("the link stays");
        device.link.flush().expect("the link stays");
        if received == 0 && device.tx.is_empty() {
            let delay = interface.poll_delay(now(), &sockets);
            let delay = delay.map_or(50_000, |delay| delay.total_micros()).min(50_000);
            device.link.wait(Duration::from_micros(delay)).expect("the link stays");
        }
    }
}

fn serve_echo(socket: &mut Socket<'_>) {
    while socket.can_recv() && socket.can_send() {
        let mut piece = [0; 1 << 14];
        let room = (socket.send_capacity() - socket.send_queue()).min(piece.len());
        let len = socket.recv_slice(&mut piece[..room]).expect("it can receive");
        socket.send_slice(&piece[..len]).expect("it can send");
    }
    if socket.state() == State::CloseWait && !socket.can_recv() {
        socket.close();
    }
}

fn serve_discard(socket: &mut Socket<'_>) {
    while socket.can_recv() {
        socket.recv(|bytes| (bytes.len(), ())).expect("it can receive");
    }
    if socket.state() == State::CloseWait {
        socket.close();
    }
}

fn serve_out(sockets: &mut SocketSet<'_>, handle: SocketHandle, left: &mut usize) {
    let socket: &mut Socket<'_> = sockets.get_mut(handle);
    if !socket.can_recv() {
        return;
    }
    while *left > 0 && socket.can_send() {
        let sent = socket.send(|room| {
            let len = room.len().min(*left);
            room[..len].fill(7);
            (len, len)
        });
        *left -= sent.expect("it can send");
    }
    if *left == 0 {
        socket.close();
    }
}

/// The link as a device of smoltcp's.
struct OnLink {
    link: AfXdpLink,
    rx: VecDeque<Frame>,
    tx: Vec<Frame>,
}

impl Drop for OnLink {
    fn drop(&mut self) {
        for frame in self.rx.drain(..).chain(self.tx.drain(..)) {
            self.link.give(frame);
        }
    }
}

impl Device for OnLink {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Rx, Tx<'_>)> {
        if self.tx.len() == TX_QUEUE {
            return None;
        }
        let frame = self.rx.pop_front()?;
        // The token for the answer borrows the link too, so the bytes are copied out.
        let bytes = self.link.bytes(&frame);
        let mut copy = Rx { bytes: [0; FRAME], len: bytes.len().min(FRAME) };
        copy.bytes[..copy.len].copy_from_slice(&bytes[..copy.len]);
        self.link.give(frame);
        Some((copy, Tx { device: self }))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Tx<'_>> {
        (self.tx.len() < TX_QUEUE).then_some(Tx { device: self })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

pub(crate) struct Rx {
    bytes: [u8; FRAME],
    len: usize,
}

impl phy::RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.bytes[..self.len])
    }
}

pub(crate) struct Tx<'a> {
    device: &'a mut OnLink,
}

impl phy::TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let OnLink { link, tx, .. } = self.device;
        let Some(mut frame) = link.take() else { return write(&mut [0; FRAME][..len]) };
        let result = write(&mut link.room(&mut frame)[..len]);
        frame.set_len(len);
        tx.push(frame);
        result
    }
}
