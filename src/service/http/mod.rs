//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): a directory, read only, and a health check.
//!
//! What is supported is in docs/http.md. A connection between two requests is eight bytes: how many
//! requests there were, and since when it waits. A request is read from the bytes in place; while its
//! head is not complete, all of it is left unread, up to 8 KiB. What takes longer, a content that is being
//! received or a file that is being sent, has a place in a table of fixed size.
//!
//! - [`setup`]: what can be set
//! - `connection`: what is known of a connection, in its record
//! - `head`, `target`, `body`: requests: heads, what they name, and contents
//! - `resource`, `condition`, `media`: what there is, and which part of it is asked for
//! - [`files`]: where files come from
//! - `reply`, [`status`]: what is answered
//! - `transfers`: what is underway
//! - `patience`: how long what is waited for
//! - [`counters`]: what happened

mod body;
mod condition;
mod connection;
pub mod counters;
pub mod files;
mod head;
mod media;
#[cfg(test)]
pub(crate) mod memory_files;
mod patience;
mod reply;
mod resource;
pub mod setup;
pub mod status;
mod target;
mod transfers;

pub use counters::Counters;
pub use files::{Files, NoFiles};
pub(crate) use resource::HEALTHY;
pub(super) use setup::KEYS;
pub use setup::Setup;
pub use status::Status;

use super::{Context, Service, ServiceState};
use crate::conn::slab::ConnId;
use crate::tcp::CloseReason;
use crate::time::{Duration, Tick};
use body::Body;
use connection::Place;
use head::{Head, Parsed};
use reply::{After, Content, Exchange, REPLY_MAX, Reply};
use resource::Resources;
use transfers::{Stage, Transfer, Transfers};

/// What a client is told that waits for it before it sends the content.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a chunk takes besides its content: a size of up to four digits, and two line ends.
const CHUNK_EXTRA: usize = 8;
/// What ends a content in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How long a file that is not in memory is waited for, before it is looked at again.
const DISK_PAUSE: Duration = Duration::from_millis(20);

/// The service.
pub struct Http {
    setup: Setup,
    resources: Resources,
    transfers: Transfers,
    counters: Counters,
    /// The answer that is being written.
    text: String,
}

impl Http {
    /// The service as `setup` has it, with the files below its root.
    pub fn new(setup: &Setup, files: Box<dyn Files + Send>) -> Http {
        Http {
            resources: Resources::new(setup, files),
            transfers: Transfers::new(setup.transfers_max),
            counters: Counters::default(),
            text: String::with_capacity(REPLY_MAX + reply::LOCATION_MAX),
            setup: setup.clone(),
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many contents and files are underway.
    pub fn transfers(&self) -> usize {
        self.transfers.len()
    }

    /// Reads a request at the front of `bytes`; returns how many were consumed.
    fn read(&mut self, conn: &mut Context<'_>, place: Place, bytes: &[u8]) -> usize {
        // RFC 9112 section 2.2: "a server that is expecting to receive and parse a request-line SHOULD
        // ignore at least one empty line (CRLF) received prior to the request-line".
        let empty = empty_lines(bytes);
        if empty > 0 {
            return empty;
        }
        let requests = place.requests();
        let waiting = match place {
            Place::Reading { .. } => place,
            _ => Place::Reading { requests, since: Tick::of(conn.now()) },
        };
        waiting.store(conn);
        if conn.room() < REPLY_MAX {
            return 0;
        }
        match head::parse(bytes) {
            Parsed::Partial => 0,
            Parsed::Refused(status) => {
                self.refuse(conn, status, requests, bytes.starts_with(b"HEAD "));
                bytes.len()
            }
            Parsed::Head(head, len) => match self.begin(conn, requests, &head, &bytes[len..]) {
                true => len,
                false => 0,
            },
        }
    }

    /// Answers a request, or begins to receive its content, of which `content` may be the beginning.
    /// Returns whether there was room for that.
    fn begin(
        &mut self,
        conn: &mut Context<'_>,
        before: u16,
        head: &Head<'_>,
        content: &[u8],
    ) -> bool {
        let requests = before.saturating_add(1);
        let mut exchange = Exchange {
            requests,
            is_head: head.method == head::Method::Head,
            after: self.after(head, requests),
        };
        let body = match Body::new(head.content, self.setup.body_max) {
            Ok(body) => body,
            Err(status) => {
                self.refuse(conn, status, before, exchange.is_head);
                return true;
            }
        };
        let reply = self.resources.answer(head);
        if body.is_empty() && !matches!(reply.content, Content::Echo(_)) {
            return self.answer(conn, reply, exchange, None);
        }
        let is_final = reply.status.is_error() && head.expects_continue;
        if is_final || reply.status == Status::MovedPermanently || self.transfers.is_full() {
            // The content is not waited for, and whether it comes cannot be known: "indicate whether it
            // intends to close the connection" (RFC 9110 section 10.1.1).
            let is_full = !is_final && self.transfers.is_full();
            let reply = if is_full { self.unavailable(&reply) } else { reply };
            exchange.after = After::Close;
            return self.answer(conn, reply, exchange, None);
        }
        // "A server MAY omit sending a 100 (Continue) response if it has already received some or all of
        // the content".
        if head.expects_continue && content.is_empty() {
            conn.send(CONTINUE);
            self.counters.count(Status::Continue);
        }
        let stage = match reply.content {
            Content::Echo(len) => {
                self.send_text(conn, &reply, &exchange);
                if body.is_empty() {
                    self.finish(conn, exchange);
                    return true;
                }
                Stage::Echoing { body, in_chunks: len.is_none() }
            }
            _ => Stage::Receiving { body, reply },
        };
        let transfer = Transfer { exchange, stage, until: conn.now() + self.setup.request_timeout };
        if let Some(index) = self.transfers.insert(transfer) {
            Place::Busy(index).store(conn);
        }
        true
    }

    /// What becomes of the connection after request number `requests`.
    fn after(&self, head: &Head<'_>, requests: u16) -> After {
        let max = self.setup.requests_max;
        if !head.persists || max != 0 && requests >= max {
            return After::Close;
        }
        match head.says_keep_alive {
            true => After::SayKeepAlive {
                idle_timeout: self.setup.idle_timeout,
                requests_left: (max != 0).then(|| max - requests),
            },
            false => After::Persist,
        }
    }

    /// Refuses what came, and closes: nothing that follows can be trusted. To a HEAD "the server MUST NOT
    /// send content" (RFC 9110 section 9.3.2), whatever is wrong with it.
    fn refuse(&mut self, conn: &mut Context<'_>, status: Status, requests: u16, is_head: bool) {
        let exchange = Exchange { requests, is_head, after: After::Close };
        self.answer(conn, Reply::of(status), exchange, None);
    }

    /// What is answered in place of `reply` when there is no place left.
    fn unavailable(&mut self, reply: &Reply) -> Reply {
        if let Some(file) = reply.file() {
            self.resources.files.close(file);
        }
        Reply::of(Status::Unavailable)
    }

    /// Answers a request whose content has come, and had place `held` among the transfers if there was
    /// one. Returns whether there was room for that.
    fn answer(
        &mut self,
        conn: &mut Context<'_>,
        mut reply: Reply,
        exchange: Exchange,
        held: Option<u32>,
    ) -> bool {
        if let Some(index) = held {
            self.transfers.remove(index);
        }
        if reply.file().is_some() && self.transfers.is_full() {
            reply = self.unavailable(&reply);
        }
        if !self.send_text(conn, &reply, &exchange) {
            return false;
        }
        let Content::File { file: Some(file), offset, end, .. } = reply.content else {
            self.finish(conn, exchange);
            return true;
        };
        let stage = Stage::Sending { file, offset, end, on_disk: false };
        let until = conn.now() + self.setup.request_timeout;
        if let Some(index) = self.transfers.insert(Transfer { exchange, stage, until }) {
            Place::Busy(index).store(conn);
            self.pump(conn, index);
        }
        true
    }

    /// Sends the head of a reply, and a content that comes with it, if there is room for all of it.
    fn send_text(&mut self, conn: &mut Context<'_>, reply: &Reply, exchange: &Exchange) -> bool {
        let (now, location) = (self.resources.files.unix_time(), &self.resources.location);
        reply.write(exchange, now, location, &mut self.text);
        if self.text.len() > conn.room() {
            return false;
        }
        conn.send(self.text.as_bytes());
        self.counters.count(reply.status);
        true
    }

    /// Sends more of a file.
    fn pump(&mut self, conn: &mut Context<'_>, index: u32) {
        let Some(transfer) = self.transfers.get_mut(index) else { return };
        let exchange = transfer.exchange;
        let Stage::Sending { file, offset, end, on_disk } = &mut transfer.stage else { return };
        *on_disk = false;
        while *offset < *end {
            if conn.room() == 0 {
                return conn.want_room();
            }
            let most = usize::try_from(*end - *offset).unwrap_or(usize::MAX);
            let files = &mut self.resources.files;
            match conn.send_with(most, |room| files.read(*file, *offset, room)) {
                // It has become shorter than what was announced.
                Ok(0) | Err(files::ReadError::Failed) => {
                    self.counters.aborted += 1;
                    self.release(index);
                    Place::Closed.store(conn);
                    return conn.abort();
                }
                Ok(read) => {
                    *offset += read as u64;
                    transfer.until = self.setup.longer(transfer.until, read, conn.now());
                }
                Err(files::ReadError::Later) => {
                    *on_disk = true;
                    conn.wake_after(DISK_PAUSE);
                    // So that the requests behind this one are waited for, if the peer has closed.
                    return conn.want_room();
                }
            }
        }
        self.release(index);
        self.finish(conn, exchange);
    }

    /// Receives more of a content; returns how many bytes were consumed.
    fn receive(&mut self, conn: &mut Context<'_>, index: u32, bytes: &[u8]) -> usize {
        if conn.room() < REPLY_MAX {
            return 0;
        }
        let Some(transfer) = self.transfers.get_mut(index) else { return bytes.len() };
        let (now, exchange) = (conn.now(), transfer.exchange);
        match &mut transfer.stage {
            Stage::Sending { .. } => 0,
            Stage::Receiving { body, reply } => {
                let taken = body.take(bytes, usize::MAX);
                let reply = *reply;
                match taken {
                    Ok(taken) => {
                        transfer.until = self.setup.longer(transfer.until, taken.consumed, now);
                        if taken.is_last {
                            self.answer(conn, reply, exchange, Some(index));
                        }
                        taken.consumed
                    }
                    Err(status) => {
                        self.release(index);
                        self.refuse(conn, status, exchange.requests, exchange.is_head);
                        bytes.len()
                    }
                }
            }
            Stage::Echoing { body, in_chunks } => {
                let in_chunks = *in_chunks;
                // The last chunk has its room in any case.
                let most = conn.room().min(0xffff) - CHUNK_EXTRA - LAST_CHUNK.len();
                let Ok(taken) = body.take(bytes, most) else {
                    self.counters.aborted += 1;
                    self.release(index);
                    Place::Closed.store(conn);
                    conn.abort();
                    return bytes.len();
                };
                transfer.until = self.setup.longer(transfer.until, taken.consumed, now);
                let content = &bytes[taken.content.clone()];
                if in_chunks && !content.is_empty() {
                    send_chunk(conn, content);
                } else {
                    conn.send(content);
                }
                if taken.is_last {
                    if in_chunks {
                        conn.send(LAST_CHUNK);
                    }
                    self.release(index);
                    self.finish(conn, exchange);
                }
                taken.consumed
            }
        }
    }

    /// A request has been answered.
    fn finish(&mut self, conn: &mut Context<'_>, exchange: Exchange) {
        match exchange.after {
            After::Close => {
                Place::Closed.store(conn);
                conn.close_and_linger();
            }
            After::Persist | After::SayKeepAlive { .. } => {
                let since = Tick::of(conn.now());
                Place::Idle { requests: exchange.requests, since }.store(conn);
            }
        }
    }

    /// Ends a transfer, and closes its file.
    fn release(&mut self, index: u32) {
        if let Some(file) = self.transfers.remove(index).and_then(|transfer| transfer.stage.file())
        {
            self.resources.files.close(file);
        }
    }
}

impl Service for Http {
    fn usage(&mut self, tell: &mut dyn FnMut(&'static str, u64)) {
        tell("http_transfers", self.transfers() as u64);
    }

    /// Never: a client takes what comes for the answer to its next request (RFC 9112 section 9.2).
    fn takes_pushes(&self, _: u8, _: &ServiceState) -> bool {
        false
    }

    fn on_open(&mut self, conn: &mut Context<'_>) {
        let place = Place::Idle { requests: 0, since: Tick::of(conn.now()) };
        place.store(conn);
        if self.setup.idle_timeout.is_some() {
            self.wake(conn, place);
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let before = Place::load(conn);
        let mut consumed = 0;
        while consumed < bytes.len() {
            let rest = &bytes[consumed..];
            let step = match Place::load(conn) {
                Place::Busy(index) => self.receive(conn, index, rest),
                // RFC 9112 section 9.6: "The server MUST NOT process any further requests received on
                // that connection."
                Place::Closed => rest.len(),
                place => self.read(conn, place, rest),
            };
            if step == 0 {
                break;
            }
            consumed += step;
        }
        self.arm(conn, before);
        consumed
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        let place = Place::load(conn);
        let is_over = self.deadline(place).is_some_and(|end| Tick::of(conn.now()).reached(end));
        match place {
            _ if is_over => self.expire(conn, place),
            Place::Busy(index) if self.is_on_disk(place) => self.pump(conn, index),
            _ => {}
        }
        let place = Place::load(conn);
        if !self.is_on_disk(place) {
            self.wake(conn, place);
        }
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        let before = Place::load(conn);
        match before {
            // The wake will tell.
            Place::Busy(_) if self.is_on_disk(before) => conn.want_room(),
            Place::Busy(index) => self.pump(conn, index),
            _ => {}
        }
        self.arm(conn, before);
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        let place = Place::load(conn);
        if let Place::Busy(index) = place
            && let Some(transfer) = self.transfers.get_mut(index)
            && matches!(transfer.stage, Stage::Sending { .. })
        {
            // It may still read; more requests cannot come.
            transfer.exchange.after = After::Close;
            return;
        }
        if let Place::Busy(index) = place {
            self.release(index);
        }
        self.counters.cut_short += u64::from(!place.is_idle() && place != Place::Closed);
        Place::Closed.store(conn);
        conn.close();
    }

    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        self.counters.named().for_each(|(name, count)| tell(name, count));
    }

    fn on_close(&mut self, _: ConnId, _: u8, state: ServiceState, _: CloseReason) {
        if let Place::Busy(index) = Place::of(state) {
            self.release(index);
        }
    }
}

/// Bytes of whole empty lines at the front.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut len = 0;
    loop {
        len += match &bytes[len..] {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return len,
        };
    }
}

/// Sends `content`, for which there is room, as one chunk.
fn send_chunk(conn: &mut Context<'_>, content: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = *b"0000\r\n";
    for (at, digit) in line[..4].iter_mut().enumerate() {
        *digit = DIGITS[content.len() >> (12 - 4 * at) & 0xf];
    }
    conn.send(&line);
    conn.send(content);
    conn.send(b"\r\n");
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

#[cfg(test)]
mod fields_tests;
#[cfg(test)]
mod patience_tests;
#[cfg(test)]
mod pieces_tests;
