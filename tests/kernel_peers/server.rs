//! `tenmil serve` as a child process, and what it says.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use tenmil::shard::clock::Clock;
use tenmil::time::Instant;

use crate::network::{Network, PATIENCE, SERVER_INTERFACE, wait_for};

/// The program under test.
pub(crate) const TENMIL: &str = env!("CARGO_BIN_EXE_tenmil");

/// Who owns nothing and may do nothing: nobody and nogroup.
pub(crate) const NOBODY: u32 = 65534;

/// The addresses and services of [`Server::start`].
pub(crate) const DEFAULT_ARGS: &[&str] = &[
    "--address",
    "10.77.0.1/16",
    "fd77::1/64",
    "--listen",
    "echo://10.77.0.1:7",
    "echo://[fd77::1]:7",
    "discard://10.77.0.1:9",
    "line://10.77.0.1:7000",
    "line://[fd77::1]:7000",
];

/// What a status line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) connections: u64,
    pub(crate) established: u64,
    pub(crate) half_open: u64,
    pub(crate) promoted: u64,
    pub(crate) rx: u64,
    pub(crate) tx: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) closed: BTreeMap<String, u64>,
    pub(crate) events: BTreeMap<String, u64>,
    pub(crate) keeps: BTreeMap<String, u64>,
    /// Who has an address of the server too.
    pub(crate) conflict: String,
}

/// A running server; killed when dropped, on a panic too.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    /// What it said before the first status line.
    pub(crate) announced: Vec<String>,
    newest: Status,
}

impl Server {
    /// Serves every service on 10.77.0.1 and fd77::1.
    pub(crate) fn start(network: &Network) -> Server {
        Server::start_with(network, DEFAULT_ARGS)
    }

    /// Serves with these arguments, and waits until the program is attached.
    pub(crate) fn start_with(network: &Network, args: &[&str]) -> Server {
        let mut child = network.in_server(|| serve(args).spawn().expect("it is built"));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // Until the end of the output, or of the test.
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let stderr = Some(thread::spawn(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).expect("text");
            said
        }));
        let mut server =
            Server { child, lines, stderr, announced: Vec::new(), newest: Status::default() };
        match server.lines.recv_timeout(PATIENCE) {
            Ok(line) => server.announced.push(line),
            Err(error) => panic!("it does not start: {error}"),
        }
        server
    }

    /// Reads up to the next status line.
    #[track_caller]
    pub(crate) fn next_status(&mut self) -> Status {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if self.note(&line) => return self.newest.clone(),
                Ok(line) => self.announced.push(line),
                Err(error) => panic!("no status: {error}"),
            }
        }
    }

    /// Takes a line, if it is a status.
    fn note(&mut self, line: &str) -> bool {
        let status = Status::parse(line);
        let is_status = status.is_some();
        self.newest = status.unwrap_or_else(|| std::mem::take(&mut self.newest));
        is_status
    }

    /// Waits until a status line is as expected.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let clock = Clock::start();
        loop {
            let status = self.next_status();
            if is(&status) {
                return status;
            }
            let waited = clock.now().since(Instant::ZERO);
            assert!(waited < PATIENCE, "waited for {what}: {status:?}");
        }
    }

    /// Waits for a status that counts everything that happened up to this call: of the lines after
    /// it the first may still be made from an older snapshot.
    pub(crate) fn settled(&mut self) -> Status {
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
        self.next_status();
        self.next_status()
    }

    /// The hardware address that it has announced.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let first = &self.announced[0];
        let mac = first.split(['(', ',']).nth(1).expect("attached to IF (MAC, ...");
        let octets: Vec<u8> =
            mac.split(':').map(|hex| u8::from_str_radix(hex, 16).expect("hex")).collect();
        octets.try_into().expect("six")
    }

    /// Its resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|value| value.trim().strip_suffix(" kB"));
        1024 * kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("a number")
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("it is our child");
    }

    /// Waits for the end, and returns the status and what stands on stderr, but for warnings about
    /// the periods of listeners.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let child = &mut self.child;
        let status = wait_for("the server's end", || child.try_wait().expect("it is our child"));
        let said = self.said();
        (status, said.split_inclusive('\n').filter(|line| !is_about_periods(line)).collect())
    }

    /// Stops it as [`Server::stop`] does, and returns its warnings about the periods of listeners.
    #[track_caller]
    pub(crate) fn stop_with_warnings(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        let child = &mut self.child;
        let status = wait_for("the server's end", || child.try_wait().expect("it is our child"));
        let said = self.said();
        assert!(status.success() && said.lines().all(is_about_periods), "{said}");
        said.lines().map(str::to_owned).collect()
    }

    /// Stops it with SIGTERM, which must be orderly: exit 0, and nothing on stderr.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        let (status, stderr) = self.wait();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    }

    fn said(&mut self) -> String {
        self.stderr.take().map_or_else(String::new, |thread| thread.join().unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.said();
        if thread::panicking() {
            eprintln!("the server said: {:?} {:?} {said}", self.announced, self.newest);
        }
    }
}

/// Whether a line warns about the periods of a listener, which it names.
fn is_about_periods(line: &str) -> bool {
    line.starts_with("tenmil: warning: ") && line.contains("://")
}

impl Status {
    /// Parses `1 connections (1 established, 0 half-open, 0 promoted)  frames: 7 in, 7 out, 2 dropped:
    /// flags 1 fragment 1  closed: refused 1  events: accepted 1`.
    fn parse(line: &str) -> Option<Status> {
        let (counts, reasons) = line.split_once(" dropped")?;
        let mut numbers = counts
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse::<u64>().expect("digits"));
        let mut number = || numbers.next();
        let status = Status {
            connections: number()?,
            established: number()?,
            half_open: number()?,
            promoted: number()?,
            rx: number()?,
            tx: number()?,
            dropped: BTreeMap::new(),
            closed: BTreeMap::new(),
            events: BTreeMap::new(),
            keeps: BTreeMap::new(),
            conflict: String::new(),
        };
        let total = number()?;
        let (reasons, conflict) = reasons.split_once("  conflict: ").unwrap_or((reasons, ""));
        let (reasons, keeps) = reasons.split_once("  keeps:").unwrap_or((reasons, ""));
        let (reasons, events) = reasons.split_once("  events:").unwrap_or((reasons, ""));
        let (dropped, closed) = reasons.split_once("  closed:").unwrap_or((reasons, ""));
        let [dropped, closed, events, keeps] = [dropped, closed, events, keeps].map(parse_reasons);
        assert_eq!(dropped.values().sum::<u64>(), total, "the reasons add up: {line}");
        let conflict = conflict.to_owned();
        Some(Status { dropped, closed, events, keeps, conflict, ..status })
    }
}

fn parse_reasons(text: &str) -> BTreeMap<String, u64> {
    let mut words = text.trim_start_matches(':').split_whitespace();
    let mut reasons = BTreeMap::new();
    while let (Some(reason), Some(count)) = (words.next(), words.next()) {
        reasons.insert(reason.to_owned(), count.parse().expect("a count after its reason"));
    }
    reasons
}

/// The command `tenmil serve` on the server's interface.
fn serve(args: &[&str]) -> Command {
    let mut command = Command::new(TENMIL);
    command.args(["serve", "--interface", SERVER_INTERFACE]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a copy of the program, that everyone may run, as nobody in the calling thread's namespace;
/// as who we are, if that is not root.
pub(crate) fn run_as_nobody(directory: &Path, args: &[&str]) -> Output {
    let copy = directory.join("tenmil");
    if !copy.exists() {
        fs::copy(TENMIL, &copy).expect("a copy");
    }
    let mut command = Command::new(copy);
    command.args(args).current_dir("/").stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().expect("it runs")
}
