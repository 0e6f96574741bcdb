//! What cannot be done: exit 2, one line that says why, nothing attached.

use std::process::{Command, Output};

use tenmil::link::af_xdp::program::{SteerProgram, XdpMode};

use crate::client::{ECHO, assert_echo, connect};
use crate::network::{Network, SERVER_INTERFACE};
use crate::server::{Server, TENMIL, run_as_nobody};

/// Holds a run to exit code 2 and one line on stderr with all of `says`.
#[track_caller]
pub(crate) fn assert_refused(output: &Output, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("tenmil: ") && stderr.ends_with('\n'), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    for part in says {
        assert!(stderr.contains(part), "no '{part}' in: {stderr}");
    }
}

fn run(network: &Network, args: &[&str]) -> Output {
    network.in_server(|| Command::new(TENMIL).args(args).output().expect("it is built"))
}

#[test]
fn arguments_that_make_no_sense_are_named() {
    let test = "arguments_that_make_no_sense_are_named";
    let Some(network) = Network::make(test, &[]) else { return };
    let serve = ["serve", "--interface", SERVER_INTERFACE];
    let echo = "echo://10.77.0.1:7";
    for (args, says) in [
        (&["--listen", echo, "--address", "10.77.0.1"][..], &["10.77.0.1", "--address"][..]),
        (&["--listen", echo, "--address", "10.77.0.1/33"], &["10.77.0.1/33"]),
        (&["--listen", echo, "--address", "10.77.0.1/0"], &["10.77.0.1/0"]),
        (&["--listen", echo, "--address", "224.0.0.1/4"], &["224.0.0.1/4"]),
        (&["--listen", "10.77.0.1:7"], &["'10.77.0.1:7'", "SERVICE://"]),
        (&["--listen", "echo://10.77.0.1"], &["'echo://10.77.0.1'"]),
        (&["--listen", "echo://10.77.0.1:0"], &["port 0"]),
        (&["--listen", "echo://10.77.0.1:65536"], &["'echo://10.77.0.1:65536'"]),
        (&["--listen", "finger://10.77.0.1:79"], &["unknown service 'finger'", "echo"]),
        (&["--listen", echo, "line://10.77.0.1:7"], &[echo, "line://10.77.0.1:7", "port"]),
        (&["--listen", echo, "--listen", echo], &[echo, "port"]),
        (&["--listen", echo, "--queues", "2"], &["--queues 2", SERVER_INTERFACE, "1 receive"]),
        (&["--listen", echo, "--queues", "0"], &["--queues 0"]),
        (&["--listen", echo, "--cpu", "1023"], &["--cpu 1023", "processor 1023"]),
        (&["--listen", echo, "--max-connections", "0"], &["--max-connections"]),
        (&["--listen", echo, "--xdp-mode", "fast"], &["'fast'", "native", "skb"]),
        (&["--listen", echo, "--pcap", "/nonexistent/pcap"], &["/nonexistent/pcap"]),
        (&["--listen", echo, "--colour"], &["--colour"]),
        (&["--listen", echo, "--connections-per-prefix", "0"], &["--connections-per-prefix"]),
        (&["--listen", echo, "--gateway", "10.77.0.2"], &["--gateway 10.77.0.2", "--address"]),
        (
            &["--listen", echo, "--address", "10.77.0.1/16", "--gateway", "10.78.0.1"],
            &["--gateway 10.78.0.1"],
        ),
        (&["--listen", echo, "--prefix-v4", "24"], &["--connections-per-prefix"]),
        (
            &["--listen", echo, "--connections-per-prefix", "1", "--prefix-v6", "129"],
            &["--prefix-v6"],
        ),
        (&["--listen", echo, "--keepalive-time", "1ms"], &["keepalive periods", "1 s"]),
        (&["--listen", echo, "--keepalive-probes", "0"], &["keepalive probes"]),
        (&["--listen", "echo://10.77.0.1:7?keepalive-time=1ms"], &["echo://10.77.0.1:7", "1 s"]),
        (&["--listen", "echo://10.77.0.1:7?keepalve=off"], &["unknown 'keepalve'"]),
        (&[], &["--listen"]),
    ] {
        assert_refused(&run(&network, &[&serve[..], args].concat()), says);
        network.assert_detached();
    }
    assert_refused(&run(&network, &["serve", "--listen", echo]), &["--interface"]);
    assert_refused(&run(&network, &["swerve"]), &["'swerve'"]);
}

#[test]
fn an_interface_that_cannot_be_used_is_named() {
    let test = "an_interface_that_cannot_be_used_is_named";
    let Some(network) = Network::make(test, &[]) else { return };
    let listen = ["--listen", "echo://10.77.0.1:7"];
    for name in ["tm-none", "no such", "far-too-long-a-name"] {
        let output = run(&network, &[&["serve", "--interface", name], &listen[..]].concat());
        assert_refused(&output, &[name]);
    }
    network.ip_server("link set tm-server0 down");
    let serve = [&["serve", "--interface", SERVER_INTERFACE], &listen[..]].concat();
    assert_refused(&run(&network, &serve), &["tm-server0 is down", "ip link set"]);
    network.assert_detached();
}

#[test]
fn without_privilege_it_says_so() {
    let Some(network) = Network::make("without_privilege_it_says_so", &[]) else { return };
    let directory = crate::capture::TempDir::make("nobody");
    let args = ["serve", "--interface", SERVER_INTERFACE, "--listen", "echo://10.77.0.1:7"];
    let output = network.in_server(|| run_as_nobody(directory.path(), &args));
    assert_refused(&output, &[SERVER_INTERFACE, "root"]);
    network.assert_detached();
}

#[test]
fn a_queue_that_is_taken_stays_with_its_owner() {
    let Some(network) = Network::make("a_queue_that_is_taken_stays_with_its_owner", &[]) else {
        return;
    };
    let args = ["serve", "--interface", SERVER_INTERFACE, "--listen", "line://10.77.0.1:70"];
    let mut server = Server::start(&network);
    let stream = network.in_client(|| connect(ECHO[0]));
    assert_refused(&run(&network, &args), &["queue 0 of tm-server0", "taken"]);
    assert!(server.is_running() && network.server_link().contains("xdp"));
    assert_echo(&stream, b"still here");
    server.stop();
    network.assert_detached();

    // Another program without a socket leaves the queue free, but not the interface.
    network.in_server(|| {
        let mut other = SteerProgram::load(SERVER_INTERFACE).expect("we are root");
        other.attach(XdpMode::Auto).expect("nothing is attached");
        let output = Command::new(TENMIL).args(args).output().expect("it is built");
        assert_refused(&output, &[SERVER_INTERFACE, "another XDP program"]);
    });
    network.assert_detached();
}

#[test]
fn a_summary_that_cannot_be_written_is_found_out_first() {
    if !crate::common::may_run("a_summary_that_cannot_be_written_is_found_out_first", &["ip"]) {
        return;
    }
    for path in ["/nonexistent/out.json", "/"] {
        let args = ["demo", "--json", path, "--connections", "10"];
        let output = Command::new(TENMIL).args(args).output().expect("it is built");
        assert_refused(&output, &["cannot write", path]);
    }
    let args = ["demo", "--connections", "0"];
    assert_refused(&Command::new(TENMIL).args(args).output().expect("built"), &["--connections"]);
}
