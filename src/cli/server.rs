//! The server process of `demo`: `tenmil serve` in the server's namespace, and what it says.

use super::status::Status;
use crate::time::Duration;
use anyhow::{Context as _, anyhow, bail};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

/// How long the server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(15);

/// Status lines, one a second, that are waited for.
const KEEPS_WAIT: u32 = 3;

/// A running server; it is stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    statuses: Receiver<Status>,
    newest: Status,
}

impl Server {
    /// Starts this program as the server in `namespace`, with these arguments of `serve`, and waits
    /// until it serves.
    pub(super) fn start(namespace: &str, args: &[String]) -> anyhow::Result<Server> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(program)
            .args(["serve", "--status", "json", "--die-with-parent"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip (apt-get install iproute2)")?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("the server has no output"))?;
        let (sender, statuses) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(status) = serde_json::from_str(&line)
                    && sender.send(status).is_err()
                {
                    return;
                }
            }
        });
        let mut server = Server { child, statuses, newest: Status::default() };
        match server.statuses.recv_timeout(PATIENCE) {
            Ok(status) => {
                server.newest = status;
                Ok(server)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let mut said = String::new();
                if let Some(mut stderr) = server.child.stderr.take() {
                    stderr.read_to_string(&mut said)?;
                }
                let status = server.child.wait()?;
                let said = said.trim().trim_start_matches("tenmil: ");
                bail!(
                    "the server did not start ({status}){}{said}",
                    if said.is_empty() { "" } else { ": " }
                );
            }
            Err(RecvTimeoutError::Timeout) => bail!("the server said nothing for {PATIENCE:?}"),
        }
    }

    /// The id of the server's process.
    pub(super) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// What its services keep with so many connections: waits for it to say so, for a few seconds.
    pub(super) fn keeps_with(&mut self, connections: u64) -> BTreeMap<String, u64> {
        while let Ok(status) = self.statuses.try_recv() {
            self.newest = status;
        }
        for _ in 0..KEEPS_WAIT {
            if self.newest.established >= connections {
                break;
            }
            let Ok(status) = self.statuses.recv_timeout(PATIENCE) else { break };
            self.newest = status;
        }
        self.newest.keeps.clone()
    }

    /// Whether the process still runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the server, and returns its last status.
    pub(super) fn stop(mut self) -> anyhow::Result<Status> {
        self.terminate();
        // The last status comes before the end of the output.
        loop {
            match self.statuses.recv_timeout(PATIENCE) {
                Ok(status) => self.newest = status,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("the server did not stop"),
            }
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(std::mem::take(&mut self.newest))
    }

    fn terminate(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.terminate();
        loop {
            match self.statuses.recv_timeout(PATIENCE) {
                Ok(_) => {}
                // It may have ended at this moment.
                Err(RecvTimeoutError::Timeout) => drop(self.child.kill()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let _ = self.child.wait();
    }
}
