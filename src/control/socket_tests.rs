//! A control socket, with a shard on a link in memory and without one.

use super::*;
use crate::control::ask::{AskError, ask};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::link::memory::pair;
use crate::service::builtin::{Builtin, Builtins};
use crate::shard::{Answering, Shard, Shared};
use crate::wire::addr::Secret;
use std::sync::atomic::AtomicU32;

/// A path that no other test uses; nothing is there when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tenmil-control-{}-{number}", std::process::id());
        Place(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _there_or_not = fs::remove_file(&self.0);
    }
}

/// Services that take a text.
const TALKATIVE: &[Builtin] = &[Builtin::Echo, Builtin::Line, Builtin::Ws];

/// Serves `services` on `place` while `work` is done; a shard without connections carries requests out if `is_run`.
fn serving(place: &Place, is_run: bool, services: &[Builtin], work: impl FnOnce()) {
    struct StopAtEnd<'a>(&'a AtomicBool);
    impl Drop for StopAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let shared = Shared::default();
    let socket = ControlSocket::bind(&place.0).expect("a new path");
    let clock = Clock::start();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&shared.stop);
        let handles = [shared.handle()];
        let (socket, shared) = (&socket, &shared);
        let listeners: Vec<_> = services.iter().copied().map(listening).collect();
        scope.spawn(move || socket.serve(&handles, &listeners, clock, &shared.stop));
        if is_run {
            scope.spawn(move || {
                let config = Config::new([2; 6], Secret([1; 16]), Secret([2; 16]));
                let config = Config { connections_max: 8, ..config };
                let engine = Engine::new(config, Builtins::default(), clock.now());
                let mut shard = Shard { link: pair(64, 2048, 64).0, engine, driver: Answering };
                shard.run(&clock, shared).expect("memory does not fail");
            });
        }
        work();
    });
}

/// The listener of each service: at port 7 and those after it.
fn listening(service: Builtin) -> Listening {
    let local = endpoint(7 + u16::from(service.tag()));
    Listening { local, service, tag: service.tag() }
}

fn endpoint(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, 1], port))
}

#[test]
fn requests_are_carried_out_and_answered() {
    let place = Place::new();
    serving(&place, true, TALKATIVE, || {
        let push =
            Request::Push { local: endpoint(7), remote: endpoint(9), text: "hello".to_owned() };
        let answer = ask(&place.0, &push, |_| panic!("there is one answer")).expect("an answer");
        assert_eq!(answer, Answer::Outcome("gone".to_owned()));
        let broadcast =
            Request::Broadcast { local: Some(endpoint(7)), topic: None, text: "hello".to_owned() };
        let answer = ask(&place.0, &broadcast, |_| {}).expect("an answer");
        let Answer::Progress(reached) = answer else { panic!("{answer:?}") };
        assert_eq!(Reached { micros: 0, ..reached }, Reached { done: true, ..Reached::default() });
        let long = Request::Broadcast { local: None, topic: None, text: "\u{1}".repeat(65_536) };
        let error = ask(&place.0, &long, |_| {}).expect_err("too long for any connection");
        assert!(matches!(&error, AskError::Refused(why) if why.contains("too long")), "{error}");
        let longer = Request::Broadcast { local: None, topic: None, text: "\u{1}".repeat(70_000) };
        assert!(ask(&place.0, &longer, |_| {}).is_err(), "too long to be read");
    });
    assert!(!place.0.exists(), "nothing is left");
}

#[test]
fn what_a_service_cannot_say_is_refused_and_a_topic_is_mqtts() {
    let place = Place::new();
    serving(&place, true, &Builtin::ALL, || {
        let ask = |local: Option<Builtin>, topic: Option<&str>| {
            let local = local.map(|service| listening(service).local);
            let topic = topic.map(str::to_owned);
            ask(&place.0, &Request::Broadcast { local, topic, text: "hello".to_owned() }, |_| {})
        };
        let refused = |answer: Result<Answer, AskError>, why: &str| {
            let error = answer.expect_err("refused").to_string();
            assert!(error.contains(why) && error.lines().count() == 1, "{error}");
        };
        let done = |answer: Result<Answer, AskError>| {
            let Ok(Answer::Progress(reached)) = answer else { panic!("{answer:?}") };
            assert_eq!(
                Reached { micros: 0, ..reached },
                Reached { done: true, ..Reached::default() }
            );
        };
        refused(ask(None, None), "http://10.77.0.1:10: http only answers requests");
        refused(ask(Some(Builtin::Mqtt), None), "broadcast it with a topic");
        refused(ask(Some(Builtin::Ws), Some("a")), "has no topics");
        for topic in ["", "a/+", "$SYS/a", "a\0"] {
            refused(ask(None, Some(topic)), "a topic to publish to");
        }
        done(ask(Some(Builtin::Ws), None));
        done(ask(Some(Builtin::Mqtt), Some("a")));
        done(ask(None, Some("a")));
    });
}

#[test]
fn a_client_may_say_anything_in_any_pieces() {
    let place = Place::new();
    serving(&place, true, TALKATIVE, || {
        let stream = UnixStream::connect(&place.0).expect("it listens");
        let mut answers = BufReader::new(&stream).lines();
        let mut next = || -> Answer {
            let line = answers.next().expect("an answer").expect("it can be read");
            serde_json::from_str(&line).expect("an answer")
        };
        (&stream).write_all(b"hello\n{\"shout\":{}}\n").expect("it reads");
        assert!(matches!(next(), Answer::Error(_)) && matches!(next(), Answer::Error(_)));
        for piece in [&b"{\"broadcast\":"[..], b"{\"text\":\"x\"}", b"}\n"] {
            (&stream).write_all(piece).expect("it reads");
            // Longer than the server waits for more.
            thread::park_timeout(PAUSE * 2);
        }
        assert!(matches!(next(), Answer::Progress(Reached { done: true, .. })));
    });
}

#[test]
fn a_server_that_stops_says_so() {
    let place = Place::new();
    let mut asking = None;
    serving(&place, false, TALKATIVE, || {
        let path = place.0.clone();
        let (heard, told) = std::sync::mpsc::channel();
        asking = Some(thread::spawn(move || {
            let broadcast =
                Request::Broadcast { local: None, topic: None, text: "hello".to_owned() };
            ask(&path, &broadcast, |_| heard.send(()).expect("the test listens"))
        }));
        told.recv().expect("it is under way");
    });
    let ended = asking.expect("it was begun").join().expect("no panic");
    assert!(ended.is_err(), "{ended:?}");
}

#[test]
fn what_is_there_is_not_overwritten_unless_it_is_a_socket_that_was_left_behind() {
    let place = Place::new();
    fs::write(&place.0, "a letter").expect("a new file");
    let error = ControlSocket::bind(&place.0).expect_err("it is a file");
    assert!(matches!(error, BindError::NoSocket(_)), "{error}");
    fs::remove_file(&place.0).expect("it is there");
    let error = ask(
        &place.0,
        &Request::Broadcast { local: None, topic: None, text: String::new() },
        |_| {},
    )
    .expect_err("nobody listens");
    assert!(matches!(error, AskError::NoServer { .. }), "{error}");
    let first = ControlSocket::bind(&place.0).expect("a new path");
    let mode = fs::metadata(&place.0).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = ControlSocket::bind(&place.0).expect_err("it is taken");
    assert!(matches!(error, BindError::Taken(_)), "{error}");
    drop(first);
    // As after a crash.
    drop(UnixListener::bind(&place.0).expect("the path is free"));
    drop(ControlSocket::bind(&place.0).expect("nobody listens there"));
    let nowhere = ControlSocket::bind(Path::new("/nonexistent/control")).expect_err("no directory");
    assert!(matches!(nowhere, BindError::Refused { .. }), "{nowhere}");
}
