//! `tenmil push`: has a running server send a text on one connection.

use super::address::TargetUrl;
use super::{Failure, failed, refused, say};
use crate::control::ask::{AskError, ask};
use crate::control::{Answer, Request};
use anyhow::{Context as _, anyhow};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Send a text to one client of a running server, in the words of its service: a line as it is, or a
/// WebSocket text message. Clients of http, dubbo and mqtt take nothing that they did not ask for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's control socket: its --control.
    #[arg(long, value_name = "PATH")]
    control: PathBuf,

    /// The listener that accepted the connection, for example line://10.77.0.1:7000.
    #[arg(long, value_name = "SERVICE://ADDR:PORT")]
    listener: TargetUrl,

    /// The peer of the connection.
    #[arg(long, value_name = "ADDR:PORT")]
    peer: SocketAddr,

    /// What to send: no newline is added. Read from the standard input unless given.
    #[arg(value_name = "TEXT")]
    text: Option<String>,
}

/// Has the text sent, and says what became of it.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let text = text_or_input(args.text.as_deref()).map_err(refused)?;
    let request = Request::Push { local: args.listener.0.endpoint, remote: args.peer, text };
    match ask(&args.control, &request, |_| {}).map_err(unanswered)? {
        Answer::Outcome(outcome) if matches!(outcome.as_str(), "sent" | "queued") => {
            say(outcome);
            Ok(())
        }
        Answer::Outcome(outcome) => Err(failed(anyhow!("nothing was sent: {outcome}"))),
        other => Err(failed(anyhow!("the server answered {other:?}"))),
    }
}

/// What to send: the argument, or all of the standard input.
pub(super) fn text_or_input(text: Option<&str>) -> anyhow::Result<String> {
    if let Some(text) = text {
        return Ok(text.to_owned());
    }
    let mut input = String::new();
    io::stdin().read_to_string(&mut input).context("cannot read the standard input as text")?;
    Ok(input)
}

/// Without a server, the request cannot be carried out; otherwise it has failed.
pub(super) fn unanswered(error: AskError) -> Failure {
    match error {
        AskError::NoServer { .. } => refused(error),
        _ => failed(error),
    }
}
