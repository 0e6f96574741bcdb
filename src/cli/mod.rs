//! The command line: arguments, then validated plans, then the run. One verb per file.
//!
//! - `serve`: services on an interface
//! - `demo`: the main job in one command
//! - `load`: the load generator, against any server
//! - `push`, `broadcast`: what a running server is to send; `pushes`: what came of it
//! - `address`: CIDRs and `SERVICE://ADDR:PORT` as arguments
//! - `bar`: how far a run is; `clients`: the client role of `demo` and `load`
//! - `capture`: `--pcap`; `faults`: `--faults`
//! - `claim`: whether somebody else has an address; `gateways`: the way to peers off the link
//! - `heartbeat`: a period or off
//! - `limits`: how many connections, and how much in a second
//! - `liveness`: keepalive and the user timeout
//! - `memory`: whether there is enough
//! - `network`: the test network of `demo`
//! - `process`: memory and CPU of a process
//! - `promotion`: connections that a whole TCP socket carries
//! - `records`: what is written down of a run
//! - `server`: the server process of `demo`
//! - `status`: status lines; `summary`: the JSON summary
//! - `signals`: SIGINT and SIGTERM
//!
//! Exit codes: 0, done; 1, a run that failed; 2, a request that cannot be carried out, with one line
//! that says why.

mod address;
mod bar;
mod broadcast;
mod capture;
mod claim;
mod clients;
mod demo;
mod driving;
mod faults;
mod files;
mod gateways;
mod heartbeat;
mod limits;
mod liveness;
mod load;
mod memory;
mod network;
mod process;
mod promotion;
mod push;
mod pushes;
mod reconnect;
mod records;
mod returns;
mod serve;
mod server;
mod signals;
mod status;
mod summary;

use crate::memory::heap::map_large_blocks;
use anyhow::anyhow;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use summary::Summary;

/// Ten million long-lived TCP connections on one machine: AF_XDP, a user-space stack, 64 bytes each.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(Box<serve::Args>),
    Demo(demo::Args),
    Load(Box<load::Args>),
    Push(push::Args),
    Broadcast(broadcast::Args),
}

/// How a verb ended, if not well.
enum Failure {
    /// The request cannot be carried out: exit 2.
    Refused(anyhow::Error),
    /// The run failed: exit 1.
    Failed(anyhow::Error),
}

/// A request that cannot be carried out.
fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Refused(error.into())
}

/// A run that failed.
fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Failed(error.into())
}

/// Prints a line. A reader that has gone, or a full disk, is no reason to stop serving, or to lose a
/// run's other results; `println!` would panic.
fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Says what a run of clients came to, and writes it to `path` if there is one. A run in which anything
/// went wrong has failed.
fn report(summary: &Summary, path: Option<&Path>) -> Result<(), Failure> {
    say(summary);
    if let Some(path) = path {
        summary.write(path).map_err(failed)?;
    }
    match summary.is_clean() {
        true => Ok(()),
        false => Err(failed(anyhow!("not every connection was established and answered rightly"))),
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    map_large_blocks();
    let outcome = match Cli::try_parse() {
        Ok(Cli { verb: Verb::Serve(args) }) => serve::run(&args),
        Ok(Cli { verb: Verb::Demo(args) }) => demo::run(&args),
        Ok(Cli { verb: Verb::Load(args) }) => load::run(&args),
        Ok(Cli { verb: Verb::Push(args) }) => push::run(&args),
        Ok(Cli { verb: Verb::Broadcast(args) }) => broadcast::run(&args),
        // The help and the version are answers, not errors; so is the help for no arguments at all.
        Err(error) if !error.use_stderr() || is_help(&error) => error.exit(),
        Err(error) => Err(refused(anyhow!(one_line(&error.to_string())))),
    };
    let (error, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(error)) => (error, 2),
        Err(Failure::Failed(error)) => (error, 1),
    };
    eprintln!("tenmil: {}", causes(&error));
    ExitCode::from(code)
}

/// An error and what caused it, in one line; a cause that the error itself names is left out.
fn causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| match cause.to_string() {
        cause if said.is_empty() => cause,
        cause if said.contains(&cause) => said,
        cause => format!("{said}: {cause}"),
    })
}

fn is_help(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// What clap says about bad arguments, without the usage, in one line.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let paragraphs = message
        .split("\n\n")
        .take_while(|said| !said.starts_with("Usage:") && !said.starts_with("For more information"))
        .map(|said| said.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.chain(["see `tenmil --help`".to_owned()]).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_of_every_verb_fit_together() {
        Cli::command().debug_assert();
    }
}
