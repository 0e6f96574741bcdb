//! The listeners of a server, for those who ask it to send something: what its clients hear, and where.

use crate::conn::broadcast::Audience;
use crate::service::builtin::Builtin;
use crate::service::unasked::unasked;
use crate::wire::addr::Endpoint;
use core::fmt;
use std::net::SocketAddr;

/// A listener of built-in services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where it listens.
    pub local: SocketAddr,
    /// What serves its connections.
    pub service: Builtin,
    /// The tag of those connections.
    pub tag: u8,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service, self.local)
    }
}

/// What is to be sent to whom.
pub(super) type Saying = (Audience, Vec<u8>);

/// What a connection to the listener at `local` is to be sent so that its peer hears `text`.
///
/// # Errors
///
/// Why that cannot be, in a line.
pub(super) fn for_one(
    listeners: &[Listening],
    local: SocketAddr,
    text: &str,
) -> Result<Vec<u8>, String> {
    let listener = at(listeners, local)?;
    let said = unasked(listener.service, text).map_err(|why| format!("{listener}: {why}"))?;
    Ok(said.into_owned())
}

/// What the connections of the listener at `local`, or of all of them, are to be sent so that their peers
/// hear `text`.
///
/// # Errors
///
/// Why that cannot be, in a line.
pub(super) fn for_all(
    listeners: &[Listening],
    local: Option<SocketAddr>,
    text: &str,
) -> Result<Vec<Saying>, String> {
    if let Some(local) = local {
        return Ok(vec![(
            Audience::Local(Endpoint::from(local)),
            for_one(listeners, local, text)?,
        )]);
    }
    let mut sayings: Vec<Saying> = Vec::new();
    for listener in listeners {
        let said = unasked(listener.service, text)
            .map_err(|why| format!("{listener}: {why}; name another --listener"))?;
        sayings.push((Audience::Tag(listener.tag), said.into_owned()));
    }
    // Where all hear the same, it is kept once.
    if let [(_, first), others @ ..] = &sayings[..]
        && others.iter().all(|(_, said)| said == first)
    {
        sayings = vec![(Audience::All, first.clone())];
    }
    Ok(sayings)
}

/// The tag of the service that publishes for the listener at `local`, none for all that do.
///
/// # Errors
///
/// Why there is none, in a line.
pub(super) fn publisher(
    listeners: &[Listening],
    local: Option<SocketAddr>,
) -> Result<Option<u8>, String> {
    let Some(local) = local else { return Ok(None) };
    let listener = at(listeners, local)?;
    match listener.service {
        Builtin::Mqtt => Ok(Some(listener.tag)),
        _ => Err(format!("{listener} has no topics, only mqtt has")),
    }
}

fn at(listeners: &[Listening], local: SocketAddr) -> Result<&Listening, String> {
    let found = listeners.iter().find(|listener| listener.local == local);
    found.ok_or_else(|| {
        let known: Vec<_> = listeners.iter().map(Listening::to_string).collect();
        format!("nothing listens on {local}: there is {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(services: &[Builtin]) -> Vec<Listening> {
        let numbered = services.iter().zip(0..);
        let listener = |(&service, tag)| Listening {
            local: SocketAddr::from(([10, 77, 0, 1], 7000 + u16::from(tag))),
            service,
            tag,
        };
        numbered.map(listener).collect()
    }

    #[test]
    fn all_hear_a_text_in_the_words_of_their_service_or_nobody_does() {
        let raw = listeners(&[Builtin::Line, Builtin::Echo]);
        let all = vec![(Audience::All, b"hi".to_vec())];
        assert_eq!(for_all(&raw, None, "hi"), Ok(all));
        let mixed = listeners(&[Builtin::Line, Builtin::Ws, Builtin::Ws]);
        let (line, frame) = (b"hi".to_vec(), b"\x81\x02hi".to_vec());
        let both = [(0, line), (1, frame.clone()), (2, frame.clone())];
        let both = both.map(|(tag, said)| (Audience::Tag(tag), said)).to_vec();
        assert_eq!(for_all(&mixed, None, "hi"), Ok(both));
        let local = mixed[1].local;
        let one = vec![(Audience::Local(local.into()), frame.clone())];
        assert_eq!(for_all(&mixed, Some(local), "hi"), Ok(one));
        assert_eq!(for_one(&mixed, local, "hi"), Ok(frame));
        for service in [Builtin::Http, Builtin::Dubbo, Builtin::Mqtt] {
            let deaf = listeners(&[Builtin::Line, service]);
            let error = for_all(&deaf, None, "hi").unwrap_err();
            let name = format!("{service}://10.77.0.1:7001: ");
            assert!(error.starts_with(&name) && error.lines().count() == 1, "{error}");
            assert!(for_one(&deaf, deaf[1].local, "hi").unwrap_err().starts_with(&name));
            assert!(for_one(&deaf, deaf[0].local, "hi").is_ok());
        }
        let nowhere = SocketAddr::new(local.ip(), 9);
        let error = for_one(&raw, nowhere, "hi").unwrap_err();
        let known = "nothing listens on 10.77.0.1:9: there is line://10.77.0.1:7000, \
                     echo://10.77.0.1:7001";
        assert_eq!(error, known);
    }

    #[test]
    fn only_mqtt_publishes() {
        let some = listeners(&[Builtin::Line, Builtin::Mqtt]);
        assert_eq!(publisher(&some, None), Ok(None));
        assert_eq!(publisher(&some, Some(some[1].local)), Ok(Some(1)));
        let error = publisher(&some, Some(some[0].local)).unwrap_err();
        assert_eq!(error, "line://10.77.0.1:7000 has no topics, only mqtt has");
    }
}
