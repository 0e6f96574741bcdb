//! HTTP as people use it: curl, wrk, Python's client, and sockets that are slow or go on too long.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;

use tenmil::shard::clock::Clock;
use tenmil::time::{Duration, Instant};

use crate::capture::TempDir;
use crate::client::{connect, noise};
use crate::network::{Network, PATIENCE};
use crate::server::{Server, Status};

const ADDRESS: &str = "10.77.0.1:80";
const BOTH: [&str; 2] = ["http://10.77.0.1", "http://[fd77::1]"];

/// A directory to serve; gone when dropped.
struct Site(TempDir);

impl Site {
    fn make() -> Site {
        let site = Site(TempDir::make("http"));
        fs::create_dir(site.0.path().join("dir")).expect("a directory");
        site.write("index.html", b"<p>root\n");
        site.write("dir/index.html", b"<p>dir\n");
        site.write("a.txt", b"0123456789");
        site
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).expect("it is ours");
    }

    /// Serves it on both addresses, with this behind `root=DIR`.
    fn serve(&self, network: &Network, query: &str, args: &[&str]) -> Server {
        let root = self.0.path().to_str().expect("text");
        let urls = BOTH.map(|url| format!("{url}:80?root={root}{query}"));
        let fixed = ["--address", "10.77.0.1/16", "fd77::1/64", "--listen", &urls[0], &urls[1]];
        Server::start_with(network, &[&fixed, args].concat())
    }
}

/// Runs curl, which must succeed, and returns what it wrote.
#[track_caller]
fn curl(network: &Network, args: &[&str], input: &[u8]) -> Vec<u8> {
    let fixed = ["curl", "--silent", "--show-error", "--max-time", "120", "--noproxy", "*"];
    let Output { status, stdout, stderr } = network.run(&[&fixed, args].concat(), input);
    assert!(status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

#[track_caller]
fn curl_text(network: &Network, args: &[&str]) -> String {
    String::from_utf8(curl(network, args, b"")).expect("text")
}

#[test]
fn curl_gets_what_it_asks_for() {
    let Some(network) = Network::make("curl_gets_what_it_asks_for", &["curl"]) else { return };
    let site = Site::make();
    let mut server = site.serve(&network, "&echo=on", &[]);
    // curl asks for what is newer than this file, which it is.
    let local = site.0.path().join("a.txt");
    let local = local.to_str().expect("text");
    for url in BOTH {
        let [file, dir, root] = ["/a.txt", "/dir", "/"].map(|path| format!("{url}{path}"));
        for version in ["--http1.0", "--http1.1"] {
            assert_eq!(curl_text(&network, &[version, &file]), "0123456789");
        }
        assert_eq!(curl_text(&network, &["--location", &dir]), "<p>dir\n");
        // Three requests on one connection.
        let reused = ["--write-out", "%{num_connects} ", &file, &root, &format!("{url}/healthz")];
        assert_eq!(curl_text(&network, &reused), "01234567891 <p>root\n0 ok\n0 ");
        let head = curl_text(&network, &["--head", &file]);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{head}");
        assert!(head.contains("\r\nContent-Length: 10\r\n"), "{head}");
        assert_eq!(curl_text(&network, &["--range", "2-4", &file]), "234");
        assert_eq!(curl_text(&network, &["--range", "-3", &file]), "789");
        let code = |more: &[&str]| {
            let fixed = ["--output", "/dev/null", "--write-out", "%{http_code}"];
            curl_text(&network, &[&fixed, more].concat())
        };
        assert_eq!(code(&["--range", "10-", &file]), "416");
        assert_eq!(code(&["--time-cond", local, &file]), "304");
        assert_eq!(code(&["--path-as-is", &format!("{url}/../../etc/passwd")]), "400");
        assert_eq!(code(&[&format!("{url}/none")]), "404");
        assert_eq!(code(&["--data", "x", &file]), "405");
        assert_eq!(code(&["--request", "BREW", &file]), "501");
        assert_eq!(code(&["--header", "Host:", &file]), "400");
        assert_eq!(code(&["--header", "Content-Length: 1, 1", &file]), "400");
    }
    let status = server.settled();
    assert_eq!((status.events["http_304"], status.events["http_416"]), (2, 2));
    assert_eq!(status.events.get("http_aborted"), None);
    server.stop();
}

#[test]
fn uploads_come_back_from_the_echo() {
    let Some(network) = Network::make("uploads_come_back_from_the_echo", &["curl"]) else { return };
    let site = Site::make();
    let server = site.serve(&network, "&echo=on&body-max=10000000", &[]);
    let bytes = noise(3, 3_000_000);
    for url in BOTH {
        let echo = format!("{url}/echo");
        for (chunked, expect) in [(true, true), (true, false), (false, true), (false, false)] {
            let length = if chunked { "Transfer-Encoding: chunked" } else { "X-Length: known" };
            let expect = if expect { "Expect: 100-continue" } else { "Expect:" };
            let headers = ["--header", length, "--header", expect];
            // From a pipe, curl reads all of it to know how long it is.
            let post = ["--request", "POST", "--data-binary", "@-", &echo];
            let back = curl(&network, &[&headers[..], &post].concat(), &bytes);
            assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
        }
    }
    server.stop();
}

#[test]
fn a_large_file_arrives_whole() {
    let Some(network) = Network::make("a_large_file_arrives_whole", &["curl"]) else { return };
    let site = Site::make();
    let bytes = noise(5, 50_000_000);
    site.write("large", &bytes);
    let mut server = site.serve(&network, "", &[]);
    for url in BOTH {
        let got = curl(&network, &[&format!("{url}/large")], b"");
        assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
    }
    let part = curl(&network, &["--range", "40000000-", &format!("{}/large", BOTH[0])], b"");
    assert!(part == bytes[40_000_000..]);
    // Many at once, and some that leave in the middle.
    let parallel: Vec<String> = (0..20).map(|_| format!("{}/large", BOTH[0])).collect();
    let mut args = vec!["--parallel", "--range", "0-999999"];
    args.extend(parallel.iter().map(String::as_str));
    assert_eq!(curl(&network, &args, b"").len(), 20_000_000);
    network.in_client(|| {
        for _ in 0..5 {
            let mut stream = connect(ADDRESS);
            stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is taken");
            stream.read_exact(&mut [0; 100_000]).expect("the beginning");
        }
    });
    let parts = |status: &Status| status.events.get("http_206") == Some(&21);
    let left = |status: &Status| status.events.get("http_200") == Some(&7) && status.promoted == 0;
    server.wait_until("every part, and who has left", |status| parts(status) && left(status));
    server.stop();
}

#[test]
fn files_arrive_whole_over_a_lossy_network() {
    let test = "files_arrive_whole_over_a_lossy_network";
    let Some(network) = Network::make(test, &["curl"]) else { return };
    let site = Site::make();
    let bytes = noise(6, 500_000);
    site.write("file", &bytes);
    let faults = "loss=1%,duplicate=1%,reorder=2%,corrupt=0.1%,seed=7";
    for promoted in ["1024", "0"] {
        let args = ["--faults", faults, "--promoted-max", promoted];
        let server = site.serve(&network, "", &args);
        // Without a place for a socket, one flight goes out at a time.
        let len = if promoted == "0" { 50_000 } else { bytes.len() };
        let range = format!("0-{}", len - 1);
        let got = curl(&network, &["--range", &range, &format!("{}/file", BOTH[0])], b"");
        assert!(got == bytes[..len], "{} bytes of {len}", got.len());
        server.stop();
    }
}

#[test]
fn wrk_keeps_its_connections() {
    let Some(network) = Network::make("wrk_keeps_its_connections", &["wrk"]) else { return };
    let site = Site::make();
    let mut server = site.serve(&network, "&requests=0", &[]);
    for path in ["healthz", "a.txt"] {
        let url = format!("{}/{path}", BOTH[0]);
        let output = network.run(&["wrk", "-t1", "-c50", "-d3s", &url], b"");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    }
    let status = server.settled();
    // wrk connects once more before it begins.
    assert!((100..=102).contains(&status.events["accepted"]), "{status:?}");
    assert!(status.events["http_200"] > 1_000, "{status:?}");
    server.stop();
    // Each connection for ten requests.
    let mut server = site.serve(&network, "&requests=10", &[]);
    let url = format!("{}/healthz", BOTH[0]);
    let output = network.run(&["wrk", "-t1", "-c10", "-d2s", &url], b"");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let status = server.settled();
    let (requests, connections) = (status.events["http_200"], status.events["accepted"]);
    assert!((requests / 10..requests / 10 + 25).contains(&connections), "{status:?}");
    server.stop();
}

/// Reads to the end of a connection, which must be an orderly one.
#[track_caller]
fn rest_of(mut stream: &TcpStream) -> String {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an orderly end");
    String::from_utf8(rest).expect("text")
}

#[test]
fn silence_and_slowness_end_a_connection() {
    let Some(network) = Network::make("silence_and_slowness_end_a_connection", &[]) else { return };
    let site = Site::make();
    let mut server = site.serve(&network, "&idle-timeout=1s&request-timeout=2s", &[]);
    network.in_client(|| {
        let clock = Clock::start();
        let waited = |least: u64| {
            let elapsed = clock.now().since(Instant::ZERO);
            assert!(elapsed >= Duration::from_secs(least) && elapsed < PATIENCE, "{elapsed:?}");
        };
        // Silent from the beginning, and after a request.
        let silent = connect(ADDRESS);
        let mut kept = connect(ADDRESS);
        kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is taken");
        let answer = rest_of(&kept);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
        assert_eq!(rest_of(&silent), "");
        waited(1);
        // A head that comes a byte at a time, and a content that stands still.
        for begun in ["GET /", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"] {
            let mut slow = connect(ADDRESS);
            slow.set_read_timeout(Some(Duration::from_millis(300))).expect("an open socket");
            slow.write_all(begun.as_bytes()).expect("it is taken");
            let mut first = [0; 1];
            while slow.read(&mut first).is_err() {
                if begun.len() < 9 {
                    slow.write_all(b"x").expect("it is taken");
                }
                waited(0);
            }
            assert!(rest_of(&slow).starts_with("TTP/1.1 408 Request Timeout\r\n"));
        }
        waited(5);
    });
    let status = server.settled();
    assert_eq!((status.events["http_idle"], status.events["http_408"]), (2, 2));
    server.stop();
}

#[test]
fn transfers_that_crawl_end_and_others_go_on() {
    let test = "transfers_that_crawl_end_and_others_go_on";
    let Some(network) = Network::make(test, &["curl"]) else { return };
    let site = Site::make();
    let bytes = noise(7, 3_000_000);
    site.write("large", &bytes);
    let query = "&request-timeout=2s&min-rate=20000";
    let mut server = site.serve(&network, query, &[]);
    let large = format!("{}/large", BOTH[0]);
    network.in_client(|| {
        // A byte of a content every tenth of a second.
        let mut slow = connect(ADDRESS);
        slow.set_read_timeout(Some(Duration::from_millis(100))).expect("an open socket");
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
        slow.write_all(head).expect("it is taken");
        let (clock, mut first) = (Clock::start(), [0; 1]);
        while slow.read(&mut first).is_err() {
            slow.write_all(b"x").expect("it is taken");
            assert!(clock.now().since(Instant::ZERO) < PATIENCE);
        }
        assert!(clock.now().since(Instant::ZERO) >= Duration::from_secs(2));
        assert!(rest_of(&slow).starts_with("TTP/1.1 408 Request Timeout\r\n"));
    });
    // Slower than the rate, and faster.
    let args = ["curl", "--silent", "--limit-rate", "4000", "--max-time", "60", &large];
    let Output { status, stdout, .. } = network.run(&args, b"");
    assert!(!status.success() && stdout.len() < bytes.len() && bytes.starts_with(&stdout));
    let got = curl(&network, &["--limit-rate", "800000", &large], b"");
    assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
    let status = server.wait_until("all have gone", |status| status.established == 0);
    assert_eq!(status.closed["too_slow"], 2, "{status:?}");
    assert_eq!((status.events["http_408"], status.events["http_aborted"]), (1, 1), "{status:?}");
    server.stop();
}

#[test]
fn who_goes_on_too_long_still_reads_the_answer() {
    let test = "who_goes_on_too_long_still_reads_the_answer";
    let Some(network) = Network::make(test, &["curl"]) else { return };
    let site = Site::make();
    let mut server = site.serve(&network, "", &[]);
    network.in_client(|| {
        // A reset would make the kernel forget what has come.
        let mut stream = connect(ADDRESS);
        let get = "GET /a.txt HTTP/1.1\r\nHost: a\r\n";
        stream.write_all(format!("{get}Connection: close\r\n\r\n").as_bytes()).expect("taken");
        for _ in 0..50 {
            stream.write_all(&get.as_bytes().repeat(50)).expect("taken");
        }
        let answer = rest_of(&stream);
        assert!(answer.ends_with("\r\n\r\n0123456789"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    });
    let file = format!("{}/a.txt", BOTH[0]);
    let post = ["--data-binary", "@-", "--write-out", "%{http_code}", "--header", "Expect:", &file];
    let said = curl(&network, &post, &vec![b'x'; 5_000_000]);
    assert_eq!(String::from_utf8_lossy(&said), "413 Content Too Large\n413");
    let status = server.settled();
    assert_eq!(status.events.get("resets"), None, "{status:?}");
    server.stop();
}

#[test]
fn python_pipelines() {
    let Some(network) = Network::make("python_pipelines", &["python3"]) else { return };
    let site = Site::make();
    site.write("large", &noise(8, 300_000));
    let server = site.serve(&network, "&echo=on", &[]);
    for address in ["10.77.0.1", "fd77::1"] {
        let output = network.run(&["python3", "-c", PYTHON, address], b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"in order\n", "{address}: {said}");
    }
    server.stop();
}

/// `http.client`'s parser on one connection, to which many requests were sent before any answer was
/// read; and its own requests, with content in chunks.
const PYTHON: &str = r#"
import http.client, socket, sys, threading
address = sys.argv[1]

class Kept:
    "A file that an answer does not close, and the next one continues."
    def __init__(self, file): self.file = file
    def makefile(self, *_): return self
    def close(self): pass
    def flush(self): pass
    def __getattr__(self, name): return getattr(self.file, name)

paths = ["/a.txt", "/large", "/none", "/", "/healthz"] * 40
with socket.create_connection((address, 80), timeout=20) as s:
    requests = "".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths).encode()
    writing = threading.Thread(target=s.sendall, args=(requests,))
    writing.start()
    kept = Kept(s.makefile("rb"))
    for path in paths:
        answer = http.client.HTTPResponse(kept)
        answer.begin()
        body = answer.read()
        expected = {"/a.txt": 10, "/large": 300000, "/none": 14, "/": 8, "/healthz": 3}[path]
        assert len(body) == expected, (path, answer.status, len(body))
        assert answer.status == (404 if path == "/none" else 200), (path, answer.status)
    writing.join()

connection = http.client.HTTPConnection(address, 80, timeout=20)
connection.connect()
socket = connection.sock
for body in [b"", b"abc", b"x" * 100000]:
    pieces = iter([body[:10], body[10:70000], body[70000:]])
    connection.request("POST", "/echo", body=(p for p in pieces if p), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == body, answer.status
assert connection.sock is socket, "one connection"
print("in order")
"#;
