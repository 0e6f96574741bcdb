//! `tenmil broadcast`: has a running server send a text on all connections.

use super::address::TargetUrl;
use super::push::{text_or_input, unanswered};
use super::{Failure, failed, refused, say};
use crate::control::ask::ask;
use crate::control::message::Reached;
use crate::control::{Answer, Request};
use anyhow::anyhow;
use std::path::PathBuf;

/// Send a text to all clients of a running server, in the words of their service: a line as it is, a
/// WebSocket text message, or with --topic an MQTT message.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's control socket: its --control.
    #[arg(long, value_name = "PATH")]
    control: PathBuf,

    /// Only on the connections of this listener, for example line://10.77.0.1:7000.
    #[arg(long, value_name = "SERVICE://ADDR:PORT")]
    listener: Option<TargetUrl>,

    /// Publish it to this topic, for the MQTT clients that have subscribed to it.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,

    /// What to send: no newline is added. Read from the standard input unless given.
    #[arg(value_name = "TEXT")]
    text: Option<String>,
}

/// Has the text sent, and says what became of it.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let text = text_or_input(args.text.as_deref()).map_err(refused)?;
    let local = args.listener.as_ref().map(|listener| listener.0.endpoint);
    let request = Request::Broadcast { local, topic: args.topic.clone(), text };
    match ask(&args.control, &request, |_| {}).map_err(unanswered)? {
        Answer::Progress(reached) => {
            say(in_words(&reached));
            Ok(())
        }
        other => Err(failed(anyhow!("the server answered {other:?}"))),
    }
}

fn in_words(reached: &Reached) -> String {
    let Reached { sent, queued, full, gone, micros, .. } = *reached;
    let seconds = micros as f64 / 1e6;
    format!("sent {sent}, queued {queued}, full {full}, gone {gone}, in {seconds:.2} s")
}
