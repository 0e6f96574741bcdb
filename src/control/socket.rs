//! The server's side of a control socket.

use super::REQUEST_LEN_MAX;
use super::message::{Answer, Reached, Request};
use crate::conn::broadcast::{Audience, Progress};
use crate::conn::delivery::{Full, Outcome};
use crate::shard::clock::Clock;
use crate::shard::mailbox::{Handle, Receipt};
use crate::time::Duration;
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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Who may be connected at once.
const CLIENTS_MAX: usize = 16;

/// How soon it is noticed that the server stops, and how often a broadcast's progress is told.
const PAUSE: Duration = Duration::from_millis(100);

/// How long an outcome is waited for: longer than a delivery waits for its connection.
const OUTCOME_WAIT: Duration = Duration::from_secs(15);

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

    /// Answers requests about the shards of `handles` until `stop` is set.
    pub fn serve(&self, handles: &[Handle], clock: Clock, stop: &AtomicBool) {
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
                let clients = &clients;
                scope.spawn(move || {
                    // Who hangs up, or says nothing that can be read, has ended it.
                    let _ = converse(&stream, handles, clock, stop);
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
fn converse(
    stream: &UnixStream,
    handles: &[Handle],
    clock: Clock,
    stop: &AtomicBool,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE_MAX))?;
    stream.set_read_timeout(Some(PAUSE))?;
    if !may_ask(stream)? {
        return say(stream, &Answer::Error("only the server's own user may ask".to_owned()));
    }
    let mut lines = BufReader::new(stream.take(0));
    let mut line = Vec::new();
    while !stop.load(Ordering::Relaxed) {
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
            Ok(request) => carry_out(stream, &request, handles, clock, stop)?,
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

fn carry_out(
    stream: &UnixStream,
    request: &Request,
    handles: &[Handle],
    clock: Clock,
    stop: &AtomicBool,
) -> io::Result<()> {
    match request {
        Request::Push { local, remote, text } => {
            let [local, remote] = [*local, *remote].map(Endpoint::from);
            say(stream, &push(FlowKey { local, remote }, text, handles))
        }
        Request::Broadcast { local, text } => {
            let broadcast = broadcast(*local, text, handles);
            follow(stream, &broadcast, handles.len(), clock, stop)
        }
    }
}

/// Pushes to a connection, whichever shard has it.
fn push(flow: FlowKey, text: &str, handles: &[Handle]) -> Answer {
    for handle in handles {
        let Ok(receipt) = handle.push_to_flow(flow, text.as_bytes()) else {
            return Outcome::Full.into();
        };
        match receipt.wait(OUTCOME_WAIT) {
            Some(Outcome::Gone) => {}
            Some(outcome) => return outcome.into(),
            None => return Answer::Error("the server does not get to it".to_owned()),
        }
    }
    Outcome::Gone.into()
}

/// Has every shard broadcast `text`, as far as they have room.
fn broadcast(local: Option<SocketAddr>, text: &str, handles: &[Handle]) -> Vec<Receipt<Progress>> {
    let audience = local.map_or(Audience::All, |local| Audience::Local(local.into()));
    let accepted = handles.iter().map(|handle| handle.broadcast(audience, text.as_bytes()));
    accepted.take_while(Result::is_ok).flat_map(Result::<_, Full>::ok).collect()
}

/// Tells how far the shards are, until they are done.
fn follow(
    stream: &UnixStream,
    receipts: &[Receipt<Progress>],
    shards: usize,
    clock: Clock,
    stop: &AtomicBool,
) -> io::Result<()> {
    let began = clock.now();
    loop {
        let ended = receipts.iter().all(|receipt| receipt.wait(PAUSE).is_some());
        let mut sum = Progress { is_done: true, ..Progress::default() };
        receipts.iter().for_each(|receipt| sum.add(&receipt.newest()));
        if sum.is_refused || receipts.len() < shards {
            let refused = "too many broadcasts are under way, or the text is too long";
            return say(stream, &Answer::Error(refused.to_owned()));
        }
        if ended && !sum.is_done || stop.load(Ordering::Relaxed) {
            return say(stream, &Answer::Error("the server stops".to_owned()));
        }
        let micros = clock.now().since(began).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        say(stream, &Answer::Progress(Reached::of(&sum, micros)))?;
        if sum.is_done {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
