//! Request targets: their four forms (RFC 9112 section 3.2), and the path of a file that one names.

use super::status::Status;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// A resource, by its path, which begins with a slash, and what follows a `?`. The path is still
    /// encoded.
    Resource {
        path: &'a str,
        query: Option<&'a str>,
        /// Who is asked, where the target says so itself.
        authority: Option<&'a str>,
    },
    /// The server as a whole: `*`, for OPTIONS.
    Server,
    /// A host and a port, for CONNECT.
    Tunnel,
}

impl<'a> Target<'a> {
    /// Takes apart the target of a request with `method`.
    pub(super) fn parse(method: &str, target: &'a str) -> Result<Target<'a>, Status> {
        if target.contains('#') {
            // "The fragment identifier component is not transferred" (RFC 9110 section 7.1).
            return Err(Status::BadRequest);
        }
        // RFC 9112 section 3.2.3: authority-form is for CONNECT, and nothing else is.
        if method == "CONNECT" {
            let has_port = target.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty());
            return match has_port && is_authority(target) {
                true => Ok(Target::Tunnel),
                false => Err(Status::BadRequest),
            };
        }
        if target == "*" {
            // Section 3.2.4: "only used for a server-wide OPTIONS request".
            return match method {
                "OPTIONS" => Ok(Target::Server),
                _ => Err(Status::BadRequest),
            };
        }
        if target.starts_with('/') {
            return Ok(Target::resource(target, None));
        }
        // Section 3.2.2: "a server MUST accept the absolute-form in requests".
        let (scheme, rest) = target.split_once("://").ok_or(Status::BadRequest)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(Status::BadRequest);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at(end);
        // RFC 9110 section 4.2.1: a recipient "MUST reject" an http URI with an empty host.
        if authority.is_empty() || authority.starts_with(':') || !is_authority(authority) {
            return Err(Status::BadRequest);
        }
        if resource.is_empty() && method == "OPTIONS" {
            // Section 3.2.4: what a proxy gets for `*`.
            return Ok(Target::Server);
        }
        Ok(Target::resource(resource, Some(authority)))
    }

    fn resource(text: &'a str, authority: Option<&'a str>) -> Target<'a> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Target::Resource { path, query, authority }
    }
}

/// Whether `text` can be a host with or without a port, or nothing (RFC 9110 section 7.2, RFC 3986
/// section 3.2): no user, no path, and no character that is none of a host's.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((inside, port)) = rest.split_once(']') else { return false };
            let is_literal = |byte: u8| byte.is_ascii_alphanumeric() || b":.-_~".contains(&byte);
            if inside.is_empty() || !inside.bytes().all(is_literal) {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => ("", port),
                None if port.is_empty() => ("", ""),
                None => return false,
            }
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    host.bytes().all(is_host) && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To a file, whose path from the root was written.
    File,
    /// To a directory, as it ends in a slash; its path was written with that slash, unless it is the
    /// root.
    Directory,
}

/// Writes the path from the root that `path` says, decoded and without `.` and `..`, in place of what
/// is in `into`, which is grown to hold no more than `path`.
///
/// - `..` past the root is refused, and so is a NUL, however it is written.
/// - A `/` that is encoded is none of the path's own, and no file name has one: nothing is found.
pub(super) fn decode(path: &str, into: &mut Vec<u8>) -> Result<Place, Status> {
    into.clear();
    let mut segments = path.split('/').skip(1).peekable();
    let mut place = Place::File;
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let start = into.len();
        unescape(segment, into)?;
        place = match &into[start..] {
            b"" | b"." => {
                into.truncate(start);
                Place::Directory
            }
            b".." => {
                into.truncate(start);
                // RFC 3986 section 5.2.4 forgives it; a request that does this is none of a browser's.
                let parent = into.strip_suffix(b"/").ok_or(Status::BadRequest)?;
                let end = parent.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
                into.truncate(end);
                Place::Directory
            }
            _ if is_last => Place::File,
            _ => {
                into.push(b'/');
                Place::Directory
            }
        };
    }
    Ok(place)
}

/// Appends a segment with its `%XX` decoded (RFC 3986 section 2.1).
fn unescape(segment: &str, into: &mut Vec<u8>) -> Result<(), Status> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let high = digit().ok_or(Status::BadRequest)?;
                let low = digit().ok_or(Status::BadRequest)?;
                let decoded = u8::try_from(high << 4 | low).map_err(|_| Status::BadRequest)?;
                match decoded {
                    0 => return Err(Status::BadRequest),
                    b'/' => return Err(Status::NotFound),
                    decoded => decoded,
                }
            }
            byte => byte,
        };
        into.push(byte);
    }
    Ok(())
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
