//! Two namespaces joined by a veth pair, made by scripts/veth-up.sh.

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use tenmil::link::af_xdp::interface::enter_netns;
use tenmil::shard::clock::Clock;
use tenmil::time::Duration;

use crate::common;

/// The interfaces at the ends.
pub(crate) const SERVER_INTERFACE: &str = "tm-server0";
pub(crate) const CLIENT_INTERFACE: &str = "tm-client0";

/// How long anything may take before the test gives up on it: generous, since machines are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A test network; gone when dropped, on a panic too.
pub(crate) struct Network {
    suffix: String,
}

impl Network {
    /// Makes a network with a queue at either end, or returns `None` where `test`, which needs
    /// these programs besides, has to be skipped.
    pub(crate) fn make(test: &str, tools: &[&str]) -> Option<Network> {
        Network::with_queues(test, tools, 1)
    }

    /// The same with more queues.
    pub(crate) fn with_queues(test: &str, tools: &[&str], queues: u32) -> Option<Network> {
        Network::with(test, tools, &["--queues", &queues.to_string()])
    }

    /// The same with these arguments of the script.
    pub(crate) fn with(test: &str, tools: &[&str], arguments: &[&str]) -> Option<Network> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let tools: Vec<&str> = tools.iter().chain(&["ip", "ethtool"]).copied().collect();
        if !common::may_run(test, &tools) {
            return None;
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let network = Network { suffix: format!("test-{}-{number}", std::process::id()) };
        succeed(network.script("veth-up.sh").args(arguments));
        Some(network)
    }

    fn script(&self, name: &str) -> Command {
        let path = format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("sh");
        command.args([&path, "--suffix", &self.suffix]);
        command
    }

    pub(crate) fn server_namespace(&self) -> String {
        format!("tenmil-server-{}", self.suffix)
    }

    pub(crate) fn client_namespace(&self) -> String {
        format!("tenmil-client-{}", self.suffix)
    }

    /// Runs `body` on a thread in the clients' namespace, where its sockets then belong.
    pub(crate) fn in_client<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.client_namespace(), body)
    }

    /// Runs `body` on a thread in the server's namespace.
    pub(crate) fn in_server<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.server_namespace(), body)
    }

    /// Runs a program in the clients' namespace, with this input, and returns what it said.
    pub(crate) fn run(&self, command: &[&str], input: &[u8]) -> Output {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.client_namespace()])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip runs");
        feed(child, input)
    }

    /// Sets up the network as `ip -n <client namespace> <arguments>` does.
    pub(crate) fn ip_client(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.client_namespace()));
    }

    /// The same at the server's end.
    pub(crate) fn ip_server(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.server_namespace()));
    }

    /// What `ip -d link show` says of the server's interface.
    pub(crate) fn server_link(&self) -> String {
        let namespace = self.server_namespace();
        succeed(Command::new("ip").args(["-n", &namespace, "-d", "link", "show", SERVER_INTERFACE]))
    }

    /// Fails if an XDP program is attached to the server's interface.
    #[track_caller]
    pub(crate) fn assert_detached(&self) {
        let link = self.server_link();
        assert!(!link.contains("xdp"), "nothing is to be attached: {link}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let output = self.script("veth-down.sh").output();
        if !output.is_ok_and(|output| output.status.success()) {
            eprintln!("the test network {} stays behind", self.suffix);
        }
    }
}

/// Runs `ip` with these arguments, which must succeed.
#[track_caller]
pub(crate) fn ip(arguments: &str) {
    succeed(Command::new("ip").args(arguments.split_whitespace()));
}

/// Runs a command that must succeed, and returns its output.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Gives `child` its input, while its output is read, and waits for its end.
pub(crate) fn feed(mut child: Child, input: &[u8]) -> Output {
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends early does not read everything, and what it said tells why.
            stdin.map(|mut stdin| stdin.write_all(input))
        });
        child.wait_with_output().expect("the program runs")
    })
}

/// Calls `poll` until it returns something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::start();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(clock.now().since(tenmil::time::Instant::ZERO) < PATIENCE, "waited for {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Runs `body` on a thread of its own in a namespace; its panic is passed on.
fn inside<T: Send>(namespace: &str, body: impl FnOnce() -> T + Send) -> T {
    let entered = || {
        enter_netns(namespace).expect("the test made it");
        body()
    };
    let result = thread::scope(|scope| scope.spawn(entered).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
