//! The asker's side of a control socket.

use super::message::{Answer, Request};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no server listens on {}: {source}; is it running, with --control?", .path.display())]
    NoServer {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server has gone.
    #[error("the server hung up: {0}")]
    HungUp(#[from] io::Error),
    /// It speaks otherwise.
    #[error("the server's answer was not understood: {0}; is it another version?")]
    Unknown(#[from] serde_json::Error),
    /// It says so.
    #[error("the server refused: {0}")]
    Refused(String),
}

/// Has the server that listens on `path` carry `request` out, and returns the last answer; `heard` is
/// called with those before it.
///
/// # Errors
///
/// [`AskError`], which names the path where that matters; an answer that is an error is one.
pub fn ask(
    path: &Path,
    request: &Request,
    mut heard: impl FnMut(&Answer),
) -> Result<Answer, AskError> {
    let stream = UnixStream::connect(path)
        .map_err(|source| AskError::NoServer { path: path.to_owned(), source })?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    for line in BufReader::new(&stream).lines() {
        match serde_json::from_str::<Answer>(&line?)? {
            Answer::Error(reason) => return Err(AskError::Refused(reason)),
            answer if answer.is_last() => return Ok(answer),
            answer => heard(&answer),
        }
    }
    Err(AskError::HungUp(io::ErrorKind::UnexpectedEof.into()))
}
