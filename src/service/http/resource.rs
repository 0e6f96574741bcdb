//! What is there: a health check, an echo, and files.

use super::condition::{Selected, Validators};
use super::files::{Files, OpenError};
use super::head::{Framing, Head, Method};
use super::media;
use super::reply::{Content, LOCATION_MAX, Reply};
use super::setup::Setup;
use super::status::Status;
use super::target::{Place, Target, decode};
use core::ffi::CStr;

/// Where a server says that it is well.
pub(super) const HEALTH: &[u8] = b"healthz";
/// What it says there.
pub(crate) const HEALTHY: &str = "ok\n";
/// Where it says what it is told.
const ECHO: &[u8] = b"echo";
/// The file that stands for its directory.
const INDEX: &[u8] = b"index.html";

/// The resources of a server, and room to find them in.
pub(super) struct Resources {
    pub(super) files: Box<dyn Files + Send>,
    has_echo: bool,
    path: Vec<u8>,
    /// Where a redirect leads.
    pub(super) location: String,
}

impl Resources {
    pub(super) fn new(setup: &Setup, files: Box<dyn Files + Send>) -> Resources {
        let room = super::head::HEAD_MAX + INDEX.len() + 1;
        let location = String::with_capacity(LOCATION_MAX);
        Resources { files, has_echo: setup.echo, path: Vec::with_capacity(room), location }
    }

    /// What is answered to a request. If that is a file, it is open.
    pub(super) fn answer(&mut self, head: &Head<'_>) -> Reply {
        if head.method == Method::Unknown {
            return Reply::of(Status::NotImplemented);
        }
        let (path, query) = match head.target {
            Target::Resource { path, query, .. } => (path, query),
            Target::Server => {
                return self.allowed("GET, HEAD, OPTIONS, POST", "GET, HEAD, OPTIONS");
            }
            Target::Tunnel => return refused("GET, HEAD, OPTIONS"),
        };
        let place = match decode(path, &mut self.path) {
            Ok(place) => place,
            Err(status) => return Reply::of(status),
        };
        match (&self.path[..], head.method) {
            (ECHO, Method::Post) if self.has_echo => {
                let len = match head.content {
                    Framing::Length(len) => Some(len),
                    Framing::Chunked => None,
                };
                Reply { status: Status::Ok, content: Content::Echo(len), allow: None }
            }
            (ECHO, Method::Options) if self.has_echo => allowed("OPTIONS, POST"),
            (ECHO, _) if self.has_echo => refused("OPTIONS, POST"),
            (_, Method::Options) => allowed("GET, HEAD, OPTIONS"),
            (HEALTH, Method::Get | Method::Head) => {
                Reply { status: Status::Ok, content: Content::Text(HEALTHY), allow: None }
            }
            (_, Method::Get | Method::Head) => self.file(head, path, query, place),
            _ => refused("GET, HEAD, OPTIONS"),
        }
    }

    fn allowed(&self, with_echo: &'static str, without: &'static str) -> Reply {
        allowed(if self.has_echo { with_echo } else { without })
    }

    fn file(&mut self, head: &Head<'_>, path: &str, query: Option<&str>, place: Place) -> Reply {
        if place == Place::Directory {
            self.path.extend_from_slice(INDEX);
        }
        self.path.push(0);
        let Ok(name) = CStr::from_bytes_with_nul(&self.path) else {
            return Reply::of(Status::BadRequest);
        };
        let opened = match self.files.open(name) {
            Ok(opened) => opened,
            Err(OpenError::IsDirectory) if place == Place::File => {
                return self.redirect(path, query);
            }
            Err(OpenError::IsDirectory | OpenError::NotFound) => {
                return Reply::of(Status::NotFound);
            }
            Err(OpenError::Forbidden) => return Reply::of(Status::Forbidden),
            Err(OpenError::Busy) => return Reply::of(Status::Unavailable),
            Err(OpenError::Failed) => return Reply::of(Status::Internal),
        };
        let validators = Validators::of(&opened);
        let is_get = head.method == Method::Get;
        let (status, range) = match validators.select(&head.conditions, is_get) {
            Selected::Whole => (Status::Ok, 0..opened.len),
            Selected::Part(range) => (Status::PartialContent, range),
            not_sent => {
                self.files.close(opened.file);
                return match not_sent {
                    Selected::NotModified => {
                        let content = Content::NotModified(validators);
                        Reply { status: Status::NotModified, content, allow: None }
                    }
                    Selected::OutOfRange => {
                        let content = Content::OutOfRange(validators);
                        Reply { status: Status::RangeNotSatisfiable, content, allow: None }
                    }
                    _ => Reply::of(Status::PreconditionFailed),
                };
            }
        };
        let is_sent = is_get && !range.is_empty();
        if !is_sent {
            self.files.close(opened.file);
        }
        let content = Content::File {
            file: is_sent.then_some(opened.file),
            offset: range.start,
            end: range.end,
            validators,
            media: media::of(&self.path[..self.path.len() - 1]),
        };
        Reply { status, content, allow: None }
    }

    /// To the same path with the slash that a directory's has, or what is in it would be looked for
    /// beside it. Only one slash stands at the front: with two, a host would follow.
    fn redirect(&mut self, path: &str, query: Option<&str>) -> Reply {
        let path = path.trim_start_matches('/');
        if path.len() + query.map_or(0, str::len) + 3 > LOCATION_MAX {
            return Reply::of(Status::UriTooLong);
        }
        self.location.clear();
        self.location.extend(["/", path, "/"]);
        if let Some(query) = query {
            self.location.extend(["?", query]);
        }
        Reply::of(Status::MovedPermanently)
    }
}

fn allowed(methods: &'static str) -> Reply {
    Reply { status: Status::Ok, content: Content::Empty, allow: Some(methods) }
}

fn refused(methods: &'static str) -> Reply {
    Reply { allow: Some(methods), ..Reply::of(Status::MethodNotAllowed) }
}
