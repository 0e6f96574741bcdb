//! Queues driven otherwise than usual: by busy polling, on a given processor.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::client::{ECHO, assert_closes, assert_echo, connect, noise};
use crate::network::Network;
use crate::server::{DEFAULT_ARGS, Server};

#[test]
fn a_busily_polled_queue_serves() {
    let test = "a_busily_polled_queue_serves";
    let Some(network) = Network::with(test, &["tc"], &["--busy-poll"]) else { return };
    let server = Server::start_with(&network, &[DEFAULT_ARGS, &["--busy-poll"]].concat());
    network.in_client(|| {
        for to in ECHO {
            let stream = connect(to);
            assert_echo(&stream, &noise(1, 1 << 20));
            assert_closes(stream);
        }
    });
    server.stop();
}

#[test]
fn a_queue_stays_on_its_processor() {
    let test = "a_queue_stays_on_its_processor";
    let Some(network) = Network::make(test, &[]) else { return };
    let allowed = sched_getaffinity(None).expect("our own");
    let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).expect("we run somewhere");
    let server =
        Server::start_with(&network, &[DEFAULT_ARGS, &["--cpu", &cpu.to_string()]].concat());
    network.in_client(|| assert_echo(&connect(ECHO[0]), b"over there"));
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let lists = tasks.map(|task| {
        let status = fs::read_to_string(task.expect("a thread").path().join("status"));
        let status = status.expect("a thread that lives");
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        list.expect("every kernel says").trim().to_owned()
    });
    assert!(lists.into_iter().any(|list| list == cpu.to_string()), "no thread is on {cpu} alone");
    server.stop();
}
