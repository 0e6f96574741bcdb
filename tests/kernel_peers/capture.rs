//! Captures, looked at by tshark: no bad checksum, nothing malformed, no reset that was not asked
//! for.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{DISCARD, ECHO, LINE, assert_closes, assert_echo, connect, noise};
use crate::common;
use crate::many;
use crate::network::{CLIENT_INTERFACE, Network, succeed};
use crate::server::{Server, TENMIL};

/// A directory under the system's for temporary files that everyone may read; gone when dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn make(name: &str) -> TempDir {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("tenmil-test-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new directory");
        TempDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nobody is there to be told.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// tcpdump on the clients' interface; ended when dropped, on a panic too.
pub(crate) struct Capture {
    child: Child,
    stderr: BufReader<ChildStderr>,
    directory: TempDir,
}

/// What no capture may show. The resets that a test asks for go to and from port 8.
const NEVER: &str = "tcp.checksum.status == 0 || ip.checksum.status == 0 \
    || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || _ws.malformed \
    || _ws.expert.severity == error || (tcp.flags.reset == 1 && tcp.port != 8)";

impl Capture {
    /// Starts it, and waits until it captures. The frames of kernel sockets and those that tenmil
    /// sends to them both pass here; at the other end, XDP takes them before tcpdump sees them.
    pub(crate) fn start(network: &Network) -> Capture {
        let directory = TempDir::make("capture");
        let mut child = Command::new("ip")
            .args(["netns", "exec", &network.client_namespace()])
            .args(["tcpdump", "-i", CLIENT_INTERFACE, "-Z", "root", "-B", "65536", "-U", "-w"])
            .arg(directory.path().join("frames.pcap"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut capture = Capture { child, stderr, directory };
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            let len = capture.stderr.read_line(&mut line).expect("text");
            assert!(len > 0, "tcpdump does not start");
        }
        capture
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        // It may have ended already.
        let _ = kill_process(pid, Signal::INT);
    }

    /// Ends it; every frame must have been captured.
    pub(crate) fn finish(&mut self) {
        self.interrupt();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        assert!(self.child.wait().expect("it is our child").success(), "{said}");
        assert!(said.contains("\n0 packets dropped by kernel"), "{said}");
    }

    /// What tshark shows of the frames that pass a filter.
    pub(crate) fn frames(&self, filter: &str) -> String {
        frames(&self.path(), filter)
    }

    /// All values of a field in the frames that pass a filter, in their order.
    pub(crate) fn values(&self, field: &str, filter: &str) -> Vec<String> {
        let mut command = Command::new("tshark");
        command.args(["-n", "-T", "fields", "-e", field, "-E", "occurrence=a", "-Y", filter]);
        let shown = succeed(command.arg("-r").arg(self.path()));
        let values = shown.split([',', '\n']).filter(|value| !value.is_empty());
        values.map(str::to_owned).collect()
    }

    /// Nothing is wrong with any frame, and nothing to be warned of in those from `port`.
    #[track_caller]
    pub(crate) fn assert_clean(&self, port: u16) {
        assert_eq!(self.frames(NEVER), "");
        let warned = format!("_ws.expert.severity == warning && tcp.srcport == {port}");
        assert_eq!(self.frames(&warned), "");
        assert!(!self.frames(&format!("tcp.srcport == {port}")).is_empty(), "it sent something");
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("frames.pcap")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.interrupt();
        let _ = self.child.wait();
    }
}

/// What tshark shows of the frames of a capture that pass a filter.
pub(crate) fn frames(path: &Path, filter: &str) -> String {
    let mut command = Command::new("tshark");
    command.args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]);
    succeed(command.args(["-n", "-Y", filter, "-r"]).arg(path))
}

#[test]
fn a_capture_of_kernel_clients_shows_nothing_wrong() {
    let test = "a_capture_of_kernel_clients_shows_nothing_wrong";
    let Some(network) = Network::make(test, &["ping", "tcpdump", "tshark"]) else { return };
    let mut server = Server::start(&network);
    let mut capture = Capture::start(&network);
    for address in ["10.77.0.1", "fd77::1"] {
        let command = ["ping", "-c", "3", "-i", "0.05", "-s", "1452", address];
        assert!(network.run(&command, b"").status.success());
    }
    network.in_client(|| {
        for to in ECHO {
            let stream = connect(to);
            assert_echo(&stream, &noise(1, 100_000));
            assert_closes(stream);
        }
        for to in LINE {
            let stream = connect(to);
            assert_echo(&stream, b"not a word\n");
            assert_closes(stream);
        }
        assert_closes(connect(DISCARD));
        std::net::TcpStream::connect("10.77.0.1:8").expect_err("nobody listens");
        let streams = many::open(200, &ECHO);
        many::assert_each_echoes(&streams, 1024);
        many::close(streams);
    });
    server.wait_until("no connection", |status| status.connections == 0);
    capture.finish();
    assert_eq!(capture.frames(NEVER), "");
    // The filter would have found something: it finds the reset that was asked for.
    assert_eq!(capture.frames("tcp.flags.reset == 1").lines().count(), 1);
    assert!(capture.frames("tcp").lines().count() > 1000);
    // What the stack sends is no less than right: no warning either, such as a segment that was
    // never captured or a window that was overrun. (A refused connection is one too.)
    let warned = "_ws.expert.severity == warning && tcp.srcport in {7, 9, 7000}";
    assert_eq!(capture.frames(warned), "");
    server.stop();
}

#[test]
fn a_capture_of_the_demo_shows_nothing_wrong() {
    let test = "a_capture_of_the_demo_shows_nothing_wrong";
    if !common::may_run(test, &["ip", "tshark"]) {
        return;
    }
    let directory = TempDir::make("demo-capture");
    let path = directory.path().join("frames.pcap");
    // No tcpdump sees these frames: XDP takes them at either end, before the kernel's taps.
    let output = Command::new(TENMIL)
        .args(["demo", "--connections", "2000", "--link", "veth", "--pcap"])
        .arg(&path)
        .output()
        .expect("it is built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Nothing is lost, so there is nothing that tshark may warn of either.
    assert_eq!(frames(&path, &format!("{NEVER} || _ws.expert.severity == warning")), "");
    // ARP; and SYN, SYN-ACK, ACK, heartbeat, answer, ACK of it, FIN, FIN, ACK of each connection.
    assert!(frames(&path, "arp").lines().count() >= 2);
    assert!(frames(&path, "tcp").lines().count() >= 9 * 2000);
    assert!(frames(&path, "tcp.len == 5").lines().count() >= 2 * 2000);
}
