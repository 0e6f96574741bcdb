//! `tenmil demo`: its summary, and that it leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::capture::TempDir;
use crate::common;
use crate::network::wait_for;
use crate::server::{TENMIL, run_as_nobody};

/// A demo in a process group of its own, as a shell starts it; killed when dropped.
struct Demo {
    child: Option<Child>,
    group: Pid,
}

impl Demo {
    fn start(args: &[&str]) -> Demo {
        let child = Command::new(TENMIL)
            .arg("demo")
            .args(args)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is built");
        let group = Pid::from_raw(child.id().cast_signed()).expect("a process");
        Demo { child: Some(child), group }
    }

    /// Ctrl-C in the terminal.
    fn interrupt(&self) {
        kill_process_group(self.group, Signal::INT).expect("it runs");
    }

    /// Waits for its end: exit code, stdout, and stderr without what it says of its progress.
    fn wait(mut self) -> (Option<i32>, String, String) {
        let mut child = self.child.take().expect("it is waited for once");
        wait_for("the demo's end", || child.try_wait().expect("it is our child"));
        let output = child.wait_with_output().expect("it is our child");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), errors(&text(output.stderr)))
    }

    /// The namespaces that it has made and not deleted.
    fn namespaces(&self) -> Vec<String> {
        let ours = format!("demo-{}", self.group);
        let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.ends_with(&ours)).collect()
    }

    /// Waits until it has come as far as to have a process in its server's namespace, and returns
    /// that namespace's number.
    fn wait_for_server(&self) -> u64 {
        let path = format!("/run/netns/tenmil-server-demo-{}", self.group);
        wait_for("the demo's server", || {
            let number = fs::metadata(&path).ok()?.ino();
            (!processes_in(number).is_empty()).then_some(number)
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A second signal ends it at once; the next demo removes the network.
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// The processes in the network namespace with this number.
fn processes_in(namespace: u64) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("it is mounted").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let inside = |name: &String| {
        let shown = fs::read_link(format!("/proc/{name}/ns/net"));
        shown.is_ok_and(|shown| shown.as_os_str() == format!("net:[{namespace}]").as_str())
    };
    names.filter(|name| name.parse::<u32>().is_ok()).filter(inside).collect()
}

/// Holds a summary to schema version 1, field by field; the numbers are those of a run without
/// failures.
#[track_caller]
fn assert_summary(json: &str, link: &str, connections: u64, heartbeats: u64) {
    assert!(json.ends_with("}\n") && json.lines().count() == 1, "{json}");
    let summary: Value = serde_json::from_str(json).expect("JSON");
    assert_schema(&summary);

    assert_eq!(summary["schema"], 1);
    assert_eq!(summary["link"], link);
    let counts = |part: &str, names: [&str; 3]| names.map(|name| whole(&summary[part][name]));
    let opened = counts("connections", ["requested", "established", "failed"]);
    assert_eq!(opened, [connections, connections, 0]);
    let answered = counts("heartbeats", ["sent", "answered", "wrong"]);
    assert_eq!(answered, [heartbeats, heartbeats, 0]);
    assert_eq!(summary["heartbeats"]["skipped"], 0);
    let none = serde_json::json!({});
    assert_eq!((&summary["failed_by"], &summary["closed"]), (&none, &none));

    let connect = |name: &str| summary["connect"][name].as_f64().expect("a number");
    assert!(connect("seconds") > 0.0 && connect("per_second") > 0.0, "{json}");
    let latency = ["p50", "p99", "p999", "max"].map(|name| whole(&summary["latency_us"][name]));
    assert!(latency.is_sorted() && latency[0] > 0, "{json}");

    // SYN, ACK, heartbeat, FIN, ACK of each come in; SYN-ACK, answer and FIN go out.
    let frames = ["rx", "tx"].map(|name| whole(&summary["frames"][name]));
    assert!(frames[0] >= 4 * connections && frames[1] >= 3 * connections, "{json}");
    let dropped = summary["frames"]["dropped"].as_object().expect("counts by reason");
    assert!(dropped.values().all(|count| whole(count) > 0), "{json}");

    let memory = &summary["memory"];
    assert!(whole(&memory["server_rss_bytes"]) > 1_000_000, "{json}");
    for side in ["server", "client"] {
        match &memory[format!("{side}_bytes_per_connection")] {
            Value::Null => assert_eq!(link, "memory"),
            bytes => {
                assert_eq!(link, "veth");
                let bytes = bytes.as_f64().expect("a number");
                // Each has a record of 64 bytes at least, and few of them share each page of tables; and
                // the code of a debug build is paged in while they connect.
                let once = 400_000.0 / f64::from(u32::try_from(connections).expect("a few"));
                assert!((64.0..200.0 + once).contains(&bytes), "{json}");
            }
        }
    }
    for known in ["server_seconds", "server_ns_per_frame", "client_seconds"] {
        assert_eq!(summary["cpu"][known].is_null(), link == "memory", "{json}");
    }
}

/// Holds a summary to the fields of schema version 1.
#[track_caller]
pub(crate) fn assert_schema(summary: &Value) {
    let all = "schema link connections failed_by closed connect connect_latency_us hold heartbeats \
               latency_us memory cpu frames";
    assert_keys(summary, "", all);
    assert_keys(summary, "connections", "requested established failed replaced renewed");
    assert_keys(summary, "connect", "seconds per_second");
    assert_keys(summary, "connect_latency_us", "p50 p99 p999 max");
    assert_keys(summary, "hold", "seconds server_cpu_seconds");
    assert_keys(summary, "heartbeats", "sent answered wrong late skipped");
    assert_keys(summary, "latency_us", "p50 p99 p999 max");
    let memory = "server_bytes_per_connection server_rss_bytes client_bytes_per_connection \
                  client_rss_bytes";
    assert_keys(summary, "memory", memory);
    assert_keys(summary, "cpu", "server_seconds server_ns_per_frame client_seconds");
    assert_keys(summary, "frames", "rx tx dropped");
}

/// What stands on a standard error besides the progress of a run, which is said once a second.
pub(crate) fn errors(stderr: &str) -> String {
    let is_progress = |line: &&str| {
        let first = line.split_whitespace().next();
        first.is_some_and(|word| ["connecting", "connected", "holding", "closing"].contains(&word))
    };
    stderr
        .lines()
        .filter(|line| !is_progress(line))
        .fold(String::new(), |all, line| all + line + "\n")
}

pub(crate) fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a whole number: {value}"))
}

#[track_caller]
pub(crate) fn assert_keys(summary: &Value, part: &str, keys: &str) {
    let value = if part.is_empty() { summary } else { &summary[part] };
    let found: BTreeSet<&str> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(found, keys.split(' ').collect(), "the fields of '{part}'");
}

#[test]
fn the_demo_on_veth_writes_its_summary_and_leaves_nothing() {
    let test = "the_demo_on_veth_writes_its_summary_and_leaves_nothing";
    if !common::may_run(test, &["ip"]) {
        return;
    }
    let directory = TempDir::make("demo");
    let path = directory.path().join("out.json");
    let json = path.to_str().expect("text");
    for link in ["veth", "auto"] {
        let demo = Demo::start(&["--connections", "2000", "--link", link, "--json", json]);
        let server = demo.wait_for_server();
        let pid = demo.group;
        let (code, stdout, stderr) = demo.wait();
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert!(stdout.contains("2000 of 2000 established, 0 failed"), "{stdout}");
        assert!(stdout.contains("2000 of 2000 answered, 0 wrong"), "{stdout}");
        assert_summary(&fs::read_to_string(&path).expect("written"), "veth", 2000, 2000);
        assert!(Demo { child: None, group: pid }.namespaces().is_empty());
        assert!(processes_in(server).is_empty());
    }
}

#[test]
fn a_held_demo_has_a_heartbeat_in_every_period_and_says_how_far_it_is() {
    let test = "a_held_demo_has_a_heartbeat_in_every_period_and_says_how_far_it_is";
    if !common::may_run(test, &["ip"]) {
        return;
    }
    let directory = TempDir::make("held");
    let path = directory.path().join("out.json");
    for link in ["veth", "memory"] {
        let output = Command::new(TENMIL)
            .args(["demo", "--connections", "500", "--hold", "3s", "--heartbeat", "1s", "--link"])
            .args([link, "--json"])
            .arg(&path)
            .output()
            .expect("it is built");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), errors(&stderr).as_str()), (Some(0), ""));
        let json = fs::read_to_string(&path).expect("written");
        assert_summary(&json, link, 500, 1500);
        let summary: Value = serde_json::from_str(&json).expect("JSON");
        let held = summary["hold"]["seconds"].as_f64().expect("a number");
        assert!((3.0..20.0).contains(&held), "{json}");
        // A line a second, with the heartbeats that are due in all, and the time that is left.
        let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("holding ")).collect();
        assert!((1..20).contains(&lines.len()), "{stderr}");
        assert!(lines[0].contains(" of 1500, ") && lines[0].contains(" s left"), "{stderr}");
    }
}

#[test]
fn a_broadcast_of_the_demo_reaches_every_client_and_its_heartbeats_go_on() {
    let test = "a_broadcast_of_the_demo_reaches_every_client_and_its_heartbeats_go_on";
    if !common::may_run(test, &["ip"]) {
        return;
    }
    let directory = TempDir::make("broadcast");
    let path = directory.path().join("out.json");
    for link in ["veth", "memory"] {
        let output = Command::new(TENMIL)
            .args(["demo", "--connections", "1000", "--hold", "3s", "--broadcast", "200", "--link"])
            .args([link, "--json"])
            .arg(&path)
            .output()
            .expect("it is built");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), errors(&stderr).as_str()), (Some(0), ""), "{stdout}");
        assert!(stdout.contains("1000 received, 200000 bytes"), "{stdout}");
        let json = fs::read_to_string(&path).expect("written");
        let mut summary: Value = serde_json::from_str(&json).expect("JSON");
        let pushes = "received received_bytes different seconds until_seconds bytes sent not_sent \
                      server_seconds server_memory_bytes latency_us";
        assert_keys(&summary, "pushes", pushes);
        let counts = ["received", "received_bytes", "bytes", "sent", "not_sent"];
        let counts = counts.map(|name| whole(&summary["pushes"][name]));
        assert_eq!(counts, [1_000, 200_000, 200, 1_000, 0]);
        assert_eq!(summary["pushes"]["server_memory_bytes"].is_null(), link == "memory", "{json}");
        // The rest is as without one.
        summary.as_object_mut().expect("an object").remove("pushes");
        assert_summary(&format!("{summary}\n"), link, 1_000, 1_000);
    }
}

#[test]
fn a_demo_whose_server_is_killed_says_so_and_leaves_nothing() {
    let test = "a_demo_whose_server_is_killed_says_so_and_leaves_nothing";
    if !common::may_run(test, &["ip"]) {
        return;
    }
    let demo = Demo::start(&["--connections", "3000000", "--link", "veth"]);
    let namespace = demo.wait_for_server();
    // The script that makes the network runs commands in the namespace, too, before the server.
    let server = wait_for("the demo's server", || {
        processes_in(namespace).into_iter().find(|process| {
            let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            command.split(|&byte| byte == 0).any(|word| word == b"serve")
        })
    });
    let server = server.parse().ok().and_then(Pid::from_raw).expect("a process");
    kill_process(server, Signal::KILL).expect("it runs");
    let pid = demo.group;
    let (code, stdout, stderr) = demo.wait();
    // 2 if that was before it served.
    assert!(matches!(code, Some(1 | 2)), "{code:?} {stdout} {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("server"), "{stderr}");
    assert!(Demo { child: None, group: pid }.namespaces().is_empty());
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let test = "an_interrupted_demo_leaves_nothing";
    if !common::may_run(test, &["ip"]) {
        return;
    }
    // In the middle of connecting, and while the network is being made.
    for in_the_middle in [true, false] {
        let demo = Demo::start(&["--connections", "3000000", "--link", "veth"]);
        wait_for("the demo's network", || (!demo.namespaces().is_empty()).then_some(()));
        let server = in_the_middle.then(|| demo.wait_for_server());
        demo.interrupt();
        let pid = demo.group;
        let (code, stdout, stderr) = demo.wait();
        assert!(code.is_some_and(|code| code != 0), "{code:?} {stdout} {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let left = Demo { child: None, group: pid }.namespaces();
        assert!(left.is_empty(), "{left:?} {stderr}");
        let running = server.map_or_else(Vec::new, processes_in);
        assert!(running.is_empty(), "{running:?}");
    }
}

#[test]
fn a_killed_demo_takes_its_server_along_and_the_next_one_its_network() {
    let test = "a_killed_demo_takes_its_server_along_and_the_next_one_its_network";
    if !common::may_run(test, &["ip"]) {
        return;
    }
    let demo = Demo::start(&["--connections", "3000000", "--link", "veth"]);
    let server = demo.wait_for_server();
    let pid = demo.group;
    rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
    let (code, ..) = demo.wait();
    assert_eq!(code, None, "killed");
    wait_for("the server's end", || processes_in(server).is_empty().then_some(()));

    let next = Demo::start(&["--connections", "10", "--link", "veth"]);
    let (code, stdout, stderr) = next.wait();
    assert_eq!(code, Some(0), "{stdout} {stderr}");
    assert!(Demo { child: None, group: pid }.namespaces().is_empty());
}

#[test]
fn the_demo_in_memory_needs_no_privilege_and_auto_says_so() {
    // Root becomes nobody; others are nobody enough.
    let directory = TempDir::make("memory");
    let json = directory.path().join("out.json");
    fs::write(&json, "").expect("a new file");
    let nobody = fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777))
        .and_then(|()| fs::set_permissions(&json, PermissionsExt::from_mode(0o666)));
    nobody.expect("they are ours");
    let path = json.to_str().expect("text");
    for link in ["memory", "auto"] {
        let args = ["demo", "--connections", "2000", "--link", link, "--json", path];
        let output = run_as_nobody(directory.path(), &args);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = stdout.contains("run as root; using the memory link instead of veth");
        assert_eq!(said, link == "auto", "{stdout}");
        assert!(stdout.contains("2000 of 2000 established, 0 failed"), "{stdout}");
        assert_summary(&fs::read_to_string(&json).expect("written"), "memory", 2000, 2000);
    }
    let args = ["demo", "--connections", "10", "--link", "veth"];
    let output = run_as_nobody(directory.path(), &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.contains("root") && stderr.contains("--link memory"), "{stderr}");
}

#[test]
fn a_full_standard_output_does_not_cost_the_summary() {
    let directory = TempDir::make("full");
    let json = directory.path().join("out.json");
    let full = fs::File::options().write(true).open("/dev/full").expect("it is there");
    let output = Command::new(TENMIL)
        .args(["demo", "--connections", "100", "--link", "memory", "--json"])
        .arg(&json)
        .stdout(full)
        .output()
        .expect("it is built");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), errors(&stderr).as_str()), (Some(0), ""));
    assert_summary(&fs::read_to_string(&json).expect("written"), "memory", 100, 100);
}

#[test]
fn the_demo_shows_each_service() {
    let test = "the_demo_shows_each_service";
    if !common::may_run(test, &["ip"]) {
        return;
    }
    let directory = TempDir::make("services");
    let path = directory.path().join("out.json");
    let json = path.to_str().expect("text");
    let base = ["--connections", "300", "--json", json, "--link"];
    for service in ["echo", "discard", "line", "http", "ws", "dubbo", "mqtt"] {
        for link in ["veth", "memory"] {
            let demo = Demo::start(&[&base[..], &[link, "--service", service]].concat());
            let (code, stdout, stderr) = demo.wait();
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{service}: {stdout}");
            let summary: Value =
                serde_json::from_str(&fs::read_to_string(&path).expect("written")).expect("JSON");
            let answered = if service == "discard" { 0 } else { 300 };
            assert_eq!(summary["heartbeats"]["answered"], answered, "{service}: {summary}");
            let keeps = &summary["server_keeps"];
            if service == "mqtt" {
                assert_eq!(keeps["mqtt_sessions"], 300, "{link}: {summary}");
                let each = whole(&keeps["mqtt_bytes_per_session"]);
                assert!((16..1_000).contains(&each), "{summary}");
                assert!(stdout.contains("keeps        mqtt_bytes_per_session"), "{stdout}");
            }
        }
    }
    for link in ["veth", "memory"] {
        let broadcast = ["--service", "ws", "--broadcast", "200", "--hold", "1s"];
        let demo = Demo::start(&[&base[..], &[link], &broadcast].concat());
        let (code, stdout, stderr) = demo.wait();
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert!(stdout.contains("300 received, 60000 bytes"), "{stdout}");
        // More than go at once.
        let many = ["--service", "mqtt", "--connections", "5000", "--hold", "3s"];
        let topic = ["--subscribe", "news", "--broadcast", "200", "--link", link];
        let (code, stdout, stderr) = Demo::start(&[&many[..], &topic].concat()).wait();
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert!(stdout.contains("5000 received, 1000000 bytes"), "{stdout}");
    }
    for (words, why) in [
        (
            &["--service", "http", "--broadcast", "200"][..],
            "--broadcast goes with line, ws and mqtt",
        ),
        (&["--service", "mqtt", "--broadcast", "200"], "give --subscribe TOPIC"),
        (&["--service", "mqtt", "--broadcast", "200", "--subscribe", "a/#"], "without + and #"),
        (&["--subscribe", "a"], "give --service mqtt"),
        (&["--service", "mqtt", "--subscribe", ""], "a filter has 1 to 1024 bytes"),
    ] {
        let (code, _, stderr) = Demo::start(words).wait();
        assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
    let demo = Demo::start(&["--service", "gopher"]);
    let (code, _, stderr) = demo.wait();
    assert_eq!((code, stderr.lines().count()), (Some(2), 1));
    assert!(stderr.contains("unknown service 'gopher': there are echo"), "{stderr}");
}
