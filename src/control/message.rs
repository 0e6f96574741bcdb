//! What is said on a control socket.

use crate::conn::broadcast::Progress;
use crate::conn::delivery::Outcome;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What the server is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// To push a text to one connection. The answer is an [`Answer::Outcome`].
    Push {
        /// The server's endpoint of it.
        local: SocketAddr,
        /// The peer's endpoint.
        remote: SocketAddr,
        /// What the peer is to hear, in the words of its service: see
        /// [`unasked`](crate::service::unasked::unasked).
        text: String,
    },
    /// To send a text to all connections, or those of one listener. The answers are
    /// [`Answer::Progress`], some while it goes on, and one when it is done.
    Broadcast {
        /// The listener's endpoint; every connection without one.
        local: Option<SocketAddr>,
        /// The topic that it is published to, for mqtt; the other services have none.
        topic: Option<String>,
        /// What they are to hear, as in a push.
        text: String,
    },
}

/// What the server says to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What became of a push: `sent`, `queued`, `full` or `gone`; see [`Outcome`].
    Outcome(String),
    /// How far a broadcast is.
    Progress(Reached),
    /// The request was not understood, or not accepted.
    Error(String),
}

/// How far a broadcast is; see [`Progress`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of Progress")]
pub struct Reached {
    pub places: u32,
    pub looked_at: u32,
    pub sent: u32,
    pub queued: u32,
    pub full: u32,
    pub gone: u32,
    pub done: bool,
    /// Since the request was read, in microseconds.
    pub micros: u64,
}

impl Answer {
    /// Whether no more is said to the same request.
    pub fn is_last(&self) -> bool {
        match self {
            Answer::Outcome(_) | Answer::Error(_) => true,
            Answer::Progress(reached) => reached.done,
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        Answer::Outcome(outcome.name().to_owned())
    }
}

impl Reached {
    /// That of `progress`, so many microseconds after the request.
    pub fn of(progress: &Progress, micros: u64) -> Reached {
        let Progress { places, looked_at, sent, queued, full, gone, is_done, .. } = *progress;
        Reached { places, looked_at, sent, queued, full, gone, done: is_done, micros }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_the_documentation_has_them() {
        let local = "10.77.0.1:7".parse().unwrap();
        let push =
            Request::Push { local, remote: "10.77.0.2:9".parse().unwrap(), text: "a\n".into() };
        let written = r#"{"push":{"local":"10.77.0.1:7","remote":"10.77.0.2:9","text":"a\n"}}"#;
        assert_eq!(serde_json::to_string(&push).unwrap(), written);
        let short: Request = serde_json::from_str(r#"{"broadcast":{"text":"b"}}"#).unwrap();
        assert_eq!(short, Request::Broadcast { local: None, topic: None, text: "b".into() });
        assert!(serde_json::from_str::<Request>(r#"{"push":{"text":"b"}}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"broadcast":{"text":"b","x":1}}"#).is_err());
        let answer = Answer::from(Outcome::Queued);
        assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"outcome":"queued"}"#);
        assert!(answer.is_last() && !Answer::Progress(Reached::default()).is_last());
    }
}
