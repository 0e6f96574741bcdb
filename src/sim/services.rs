//! What runs on the engines: the built-in services, with notes of all that they were told; and the
//! clients' side of conversations.

use super::echoing::Echoing;
use super::requests;
use super::talk::{Conversation, Ending, Roles, Wish, below};
use crate::conn::slab::ConnId;
use crate::engine::{CommandError, Engine};
use crate::frame::Frame;
use crate::link::faults::Random;
use crate::link::memory::MemoryLink;
use crate::service::builtin::{Builtin, Builtins};
use crate::service::http::Http;
use crate::service::http::memory_files::MemoryFiles;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::{Address, Endpoint};
use std::collections::HashMap;

/// The server's service: the built-in ones.
pub(super) struct Recorder {
    builtins: Builtins,
    echoing: Echoing,
    /// Files over HTTP, if there are any.
    serving: Option<Serving>,
    /// What open connections have sent.
    open: HashMap<ConnId, Vec<u8>>,
    /// What each that has ended had sent, and why it ended.
    pub(super) ended: Vec<(Vec<u8>, CloseReason)>,
}

/// Files over HTTP.
struct Serving {
    http: Http,
    files: MemoryFiles,
    random: Random,
}

impl Serving {
    /// The service, after it is decided how its files are now.
    fn http(&mut self) -> &mut Http {
        if self.random.below(4) == 0 {
            self.files.be_late(below(&mut self.random, 4));
            self.files.read_at_most(1 + below(&mut self.random, 5_000));
        }
        &mut self.http
    }
}

impl Service for Recorder {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        let before = self.open.insert(conn.id(), Vec::new());
        assert_eq!(before, None, "a connection opens once");
        if let Some(http) = self.http(conn.tag()) {
            http.on_open(conn);
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let tag = conn.tag();
        let consumed = match self.echoes_later(tag) {
            true => self.echoing.on_data(conn, bytes),
            false => match self.http(tag) {
                Some(http) => http.on_data(conn, bytes),
                None => self.builtins.on_data(conn, bytes),
            },
        };
        let heard = self.open.get_mut(&conn.id()).expect("data comes on open connections");
        heard.extend_from_slice(&bytes[..consumed]);
        consumed
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        match self.http(conn.tag()) {
            Some(http) => http.on_wake(conn),
            None => self.echoing.on_wake(conn),
        }
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        match self.http(conn.tag()) {
            Some(http) => http.on_room(conn),
            None => self.echoing.on_room(conn),
        }
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        let tag = conn.tag();
        match self.echoes_later(tag) {
            true => self.echoing.on_peer_close(conn),
            false => match self.http(tag) {
                Some(http) => http.on_peer_close(conn),
                None => self.builtins.on_peer_close(conn),
            },
        }
    }

    fn on_close(&mut self, id: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        match self.http(tag) {
            Some(http) => http.on_close(id, tag, state, reason),
            None => self.echoing.on_close(id),
        }
        let heard = self.open.remove(&id).expect("what is closed was open");
        self.ended.push((heard, reason));
    }

    fn receive_window(&self, tag: u8) -> u16 {
        self.builtins.receive_window(tag)
    }
}

impl Recorder {
    /// With files that are late as `is_late` has it, or without any.
    pub(super) fn new(echoing: Echoing, is_late: Option<Random>) -> Recorder {
        let serving = is_late.map(|random| {
            let files = requests::files();
            Serving { http: requests::service(files.clone()), files, random }
        });
        let (builtins, open) = (Builtins::default(), HashMap::new());
        Recorder { builtins, echoing, serving, open, ended: Vec::new() }
    }

    /// What serves HTTP, if connections with `tag` speak it.
    fn http(&mut self, tag: u8) -> Option<&mut Http> {
        if tag == Builtin::Http.tag() { self.serving.as_mut().map(Serving::http) } else { None }
    }

    /// How many transfers are underway, and how many files are open.
    pub(super) fn underway(&self) -> (usize, usize) {
        let of = |serving: &Serving| (serving.http.transfers(), serving.files.open_len());
        self.serving.as_ref().map_or((0, 0), of)
    }

    fn echoes_later(&self, tag: u8) -> bool {
        tag == Builtin::Echo.tag() && self.echoing.takes_its_time()
    }

    /// How many connections are open.
    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }
}

/// The clients' service: a conversation on each connection, whose number is the tag.
pub(super) struct Talker {
    pub(super) talks: Vec<Conversation>,
    /// The connection of each, once it is being opened, and whether it is open.
    conns: Vec<Option<(ConnId, bool)>>,
    random: Random,
    now: Instant,
}

/// How long a command that was refused waits, if nothing happens before.
const RETRY: Duration = Duration::from_millis(500);

impl Service for Talker {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        let (_, is_open) = self.conns[usize::from(conn.tag())].as_mut().expect("it was asked for");
        assert!(!core::mem::replace(is_open, true), "a connection opens once");
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.talks[usize::from(conn.tag())].hear(bytes, conn.now());
        bytes.len()
    }

    fn on_close(&mut self, _: ConnId, tag: u8, _: ServiceState, reason: CloseReason) {
        let (_, was_open) = self.conns[usize::from(tag)].take().expect("it was asked for");
        let talk = &mut self.talks[usize::from(tag)];
        if was_open {
            let (closing, other) = match talk.talk.ending {
                Ending::ServerCloses => (CloseReason::ClosedByPeer, CloseReason::ClosedByUs),
                _ => (CloseReason::ClosedByUs, CloseReason::ClosedByPeer),
            };
            assert!(reason != other || talk.end.is_some(), "it closed first that was not to");
            talk.finish(reason == closing, reason.name());
        } else {
            talk.try_again(self.now);
        }
    }
}

impl Talker {
    pub(super) fn new(talks: Vec<Conversation>, random: Random) -> Talker {
        let conns = vec![None; talks.len()];
        Talker { talks, conns, random, now: Instant::ZERO }
    }

    /// Has `engine` do what its conversations want. Returns the ports that vanish, and when to come
    /// back at the latest.
    pub(super) fn drive(
        engine: &mut Engine<Talker>,
        now: Instant,
        link: &mut MemoryLink,
        tx: &mut Vec<Frame>,
    ) -> (Vec<u16>, Option<Instant>) {
        engine.service_mut().now = now;
        let (mut gone, mut next) = (Vec::new(), None::<Instant>);
        for index in 0..engine.service().talks.len() {
            let again = Talker::drive_one(engine, index, now, link, tx, &mut gone);
            next = [next, again].into_iter().flatten().min();
        }
        (gone, next)
    }

    /// The same for one of them.
    fn drive_one(
        engine: &mut Engine<Talker>,
        index: usize,
        now: Instant,
        link: &mut MemoryLink,
        tx: &mut Vec<Frame>,
        gone: &mut Vec<u16>,
    ) -> Option<Instant> {
        let talker = engine.service();
        let talk = &talker.talks[index];
        if talk.end.is_some() {
            return None;
        }
        let Some((id, is_open)) = talker.conns[index] else {
            let begins = talk.begins_at();
            if begins > now {
                return Some(begins);
            }
            let [local, remote] = endpoints(talk);
            let tag = u8::try_from(index).expect("a few conversations");
            if let Ok(id) = engine.connect(local, remote, tag, now, link, tx) {
                engine.service_mut().conns[index] = Some((id, false));
            }
            return Some(now + RETRY);
        };
        if !is_open {
            return None;
        }
        loop {
            match engine.service().talks[index].wish(now) {
                Wish::Say => {}
                Wish::WaitUntil(at) => return Some(at),
                Wish::Close => {
                    return match engine.close(id, now, link, tx) {
                        Err(CommandError::Busy) => Some(now + RETRY),
                        Ok(()) | Err(CommandError::Gone) => None,
                    };
                }
                Wish::Vanish => {
                    let talk = &mut engine.service_mut().talks[index];
                    gone.push(talk.port());
                    return None;
                }
                Wish::Hear => return None,
                Wish::Abort => unreachable!("the engine has no command for it"),
            }
            let Talker { talks, random, .. } = engine.service_mut();
            let piece = talks[index].next_piece(usize::MAX, random);
            let mut bytes = talks[index].talk.request[piece].to_vec();
            // It is all or nothing, so what does not fit is made smaller.
            while engine.send(id, &bytes, now, link, tx).is_err() {
                bytes.truncate(bytes.len() / 2);
                if bytes.is_empty() {
                    return Some(now + RETRY);
                }
            }
            engine.service_mut().talks[index].say(bytes.len(), now);
        }
    }
}

/// The engines' hosts.
pub(super) const SERVER: [&str; 2] = ["10.77.0.1", "fd77::1"];
pub(super) const CLIENT: [&str; 2] = ["10.77.0.2", "fd77::2"];
/// The stock stack, and the scripted client.
pub(super) const REFERENCE: [&str; 2] = ["10.77.0.3", "fd77::3"];
pub(super) const SCRIPTED: [&str; 2] = ["10.77.0.4", "fd77::4"];

/// The address of a host in the family that a conversation uses.
pub(super) fn address(host: [&str; 2], is_v4: bool) -> Address {
    let text = host[usize::from(!is_v4)];
    Address::from(text.parse::<core::net::IpAddr>().expect("an address"))
}

/// The client's and the server's endpoint of a conversation.
pub(super) fn endpoints(talk: &Conversation) -> [Endpoint; 2] {
    let (client, server) = match talk.talk.roles {
        Roles::EngineToEngine => (CLIENT, SERVER),
        Roles::EngineToReference => (CLIENT, REFERENCE),
        Roles::ReferenceToEngine => (REFERENCE, SERVER),
        Roles::ScriptedToEngine => (SCRIPTED, SERVER),
    };
    let is_v4 = talk.talk.is_v4;
    let local = Endpoint { addr: address(client, is_v4), port: talk.port() };
    [local, Endpoint { addr: address(server, is_v4), port: talk.service_port() }]
}
