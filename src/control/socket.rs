//! The server's side of a control socket.

use super::REQUEST_LEN_MAX;
use super::listeners::{self, Listening, Saying};
use super::message::{Answer, Reached, Request};
use crate::conn::broadcast::Progress;
use crate::conn::delivery::Outcome;
use crate::service::unasked::{Published, Unpublished};
use crate::shard::clock::Clock;
use crate::shard::mailbox::{Handle, Receipt};
use crate::time::{Duration, Instant};
use crate::wire::addr::{Endpoint, FlowKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Who may be connected at once.
const CLIENTS_MAX: usize = 16;

/// How soon it is noticed that the server stops, and how often a broadcast's progress is told.
const PAUSE: Duration = Duration::from_millis(100);

/// How long an outcome is waited for: longer than a delivery waits for its connection.
const OUTCOME_WAIT: Duration = Duration::from_secs(15);

/// What is said when it is not told in time.
const SLOW: &str = "the server does not get to it";

/// How long a client may take to read an answer.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// A control socket that listens. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another server listens there.
    #[error("{} is another server's control socket; name another one", .0.display())]
    Taken(PathBuf),
    /// There is something else.
    #[error("{} exists and is not a socket; name another one, or remove it", .0.display())]
    NoSocket(PathBuf),
    /// The system refused it.
    #[error("cannot make the control socket {}: {source}", .path.display())]
    Refused {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Makes a control socket at `path`. One that a server left behind is replaced.
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the path.
    pub fn bind(path: &Path) -> Result<ControlSocket, BindError> {
        let refused = |source| BindError::Refused { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(BindError::NoSocket(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(BindError::Taken(path.to_owned()));
            }
            Ok(_) => fs::remove_file(path).map_err(refused)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
        }
        let listener = UnixListener::bind(path).map_err(refused)?;
        let socket = ControlSocket { listener, path: path.to_owned() };
        // Whoever got in before this is turned away for whom he is.
        let mode = (Mode::RUSR | Mode::WUSR).bits();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(refused)?;
        socket.listener.set_nonblocking(true).map_err(refused)?;
        Ok(socket)
    }

    /// Answers requests about the shards of `handles`, all of which serve `listeners`, until `stop` is set.
    pub fn serve(
        &self,
        handles: &[Handle],
        listeners: &[Listening],
        clock: Clock,
        stop: &AtomicBool,
    ) {
        let served = Served { handles, listeners, clock, stop };
        let clients = AtomicUsize::new(0);
        thread::scope(|scope| {
            while !stop.load(Ordering::Relaxed) {
                if !is_readable(&self.listener) {
                    continue;
                }
                // It may have gone again.
                let Ok((stream, _)) = self.listener.accept() else { continue };
                if clients.load(Ordering::Relaxed) >= CLIENTS_MAX {
                    let _ =
                        say(&stream, &Answer::Error("too many others are connected".to_owned()));
                    continue;
                }
                clients.fetch_add(1, Ordering::Relaxed);
                let (clients, served) = (&clients, &served);
                scope.spawn(move || {
                    // Who hangs up, or says nothing that can be read, has ended it.
                    let _ = converse(&stream, served);
                    clients.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Nobody can do anything about one that stays.
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits a little for something to read.
fn is_readable(socket: &impl AsFd) -> bool {
    let mut sockets = [PollFd::new(socket, PollFlags::IN)];
    let pause = Timespec::try_from(PAUSE).ok();
    matches!(poll(&mut sockets, pause.as_ref()), Ok(1..))
}

/// Answers the requests of one client.
fn converse(stream: &UnixStream, served: &Served<'_>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE_MAX))?;
    stream.set_read_timeout(Some(PAUSE))?;
    if !may_ask(stream)? {
        return say(stream, &Answer::Error("only the server's own user may ask".to_owned()));
    }
    let mut lines = BufReader::new(stream.take(0));
    let mut line = Vec::new();
    while !served.stop.load(Ordering::Relaxed) {
        lines.get_mut().set_limit(REQUEST_LEN_MAX - line.len() as u64);
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(_) if line.len() as u64 >= REQUEST_LEN_MAX => {
                return say(stream, &Answer::Error("the request is too long".to_owned()));
            }
            // What there is of it stays in `line`.
            Ok(_) => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        }
        match serde_json::from_slice(&line) {
            Ok(request) => carry_out(stream, &request, served)?,
            Err(error) => say(stream, &Answer::Error(error.to_string()))?,
        }
        line.clear();
    }
    Ok(())
}

/// Whether the other side is this process's own user, or root.
fn may_ask(stream: &UnixStream) -> Result<bool, Errno> {
    let uid = socket_peercred(stream)?.uid;
    Ok(uid.is_root() || uid == rustix::process::geteuid())
}

fn say(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn carry_out(stream: &UnixStream, request: &Request, served: &Served<'_>) -> io::Result<()> {
    let said = match request {
        Request::Push { local, remote, text } => {
            let said = listeners::for_one(served.listeners, *local, text);
            let [local, remote] = [*local, *remote].map(Endpoint::from);
            said.and_then(|said| served.push(FlowKey { local, remote }, said.into()))
        }
        Request::Broadcast { local, topic: None, text } => {
            match listeners::for_all(served.listeners, *local, text) {
                Ok(sayings) => return served.broadcast(stream, sayings),
                Err(why) => Err(why),
            }
        }
        Request::Broadcast { local, topic: Some(topic), text } => {
            served.publish(*local, topic, text)
        }
    };
    say(stream, &said.unwrap_or_else(Answer::Error))
}

/// What is served, and asked about.
struct Served<'a> {
    handles: &'a [Handle],
    listeners: &'a [Listening],
    clock: Clock,
    stop: &'a AtomicBool,
}

impl Served<'_> {
    /// Pushes to a connection, whichever shard has it.
    fn push(&self, flow: FlowKey, bytes: Arc<[u8]>) -> Result<Answer, String> {
        for handle in self.handles {
            let Ok(receipt) = handle.push_to_flow(flow, bytes.clone()) else {
                return Ok(Outcome::Full.into());
            };
            match receipt.wait(OUTCOME_WAIT) {
                Some(Outcome::Gone) => {}
                Some(outcome) => return Ok(outcome.into()),
                None => return Err(SLOW.to_owned()),
            }
        }
        Ok(Outcome::Gone.into())
    }

    /// Has a text published, and says for how many clients it waits.
    fn publish(
        &self,
        local: Option<SocketAddr>,
        topic: &str,
        text: &str,
    ) -> Result<Answer, String> {
        let began = self.clock.now();
        let tag = listeners::publisher(self.listeners, local)?;
        let mut all = Published::default();
        for handle in self.handles {
            let receipt = handle.publish(tag, topic, text.as_bytes());
            let receipt = receipt.map_err(|_| Unpublished::Full.to_string())?;
            let published = receipt.wait(OUTCOME_WAIT).ok_or(SLOW)?;
            all.add(published.map_err(|why| why.to_string())?);
        }
        let Published { queued, full } = all;
        let progress = Progress { queued, full, is_done: true, ..Progress::default() };
        Ok(Answer::Progress(Reached::of(&progress, self.micros_since(began))))
    }

    /// Has every shard broadcast each of `sayings`, and tells how far they are until they are done.
    fn broadcast(&self, stream: &UnixStream, sayings: Vec<Saying>) -> io::Result<()> {
        let began = self.clock.now();
        let wanted = sayings.len() * self.handles.len();
        let mut receipts: Vec<Receipt<Progress>> = Vec::with_capacity(wanted);
        for (audience, bytes) in sayings {
            let bytes: Arc<[u8]> = bytes.into();
            let all = self.handles.iter().map(|handle| handle.broadcast(audience, bytes.clone()));
            receipts.extend(all.map_while(Result::ok));
        }
        loop {
            let ended = receipts.iter().all(|receipt| receipt.wait(PAUSE).is_some());
            let mut sum = Progress { is_done: true, ..Progress::default() };
            receipts.iter().for_each(|receipt| sum.add(&receipt.newest()));
            if sum.is_refused || receipts.len() < wanted {
                let refused = "too many broadcasts are under way, or the text is too long";
                return say(stream, &Answer::Error(refused.to_owned()));
            }
            if ended && !sum.is_done || self.stop.load(Ordering::Relaxed) {
                return say(stream, &Answer::Error("the server stops".to_owned()));
            }
            say(stream, &Answer::Progress(Reached::of(&sum, self.micros_since(began))))?;
            if sum.is_done {
                return Ok(());
            }
        }
    }

    fn micros_since(&self, began: Instant) -> u64 {
        u64::try_from(self.clock.now().since(began).as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
