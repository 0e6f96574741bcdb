//! Text to scripts. `tests/pkt/README.md` describes the language.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tenmil::drops::DropReason;
use tenmil::engine::CommandError;
use tenmil::tcp::CloseReason;
use tenmil::tcp::keepalive::{Keepalive, Profile};

use crate::options::{self, TcpOption};
use crate::packet::{Family, Wrapping};
use crate::script::{
    Action, Content, IcmpError, IcmpKind, Isn, Line, Outcome, STATES, Said, Script, Settings,
    counter,
};
use crate::segment;
use crate::words::{Word, Words};

/// What is wrong with a script's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// Parses the script `name`.
pub(crate) fn parse(name: &str, text: &str) -> Result<Script, Malformed> {
    let mut script =
        Script { name: name.to_owned(), settings: Settings::default(), lines: Vec::new() };
    for (number, text) in (1..).zip(text.lines()) {
        let malformed = |what| Malformed { line: number, what };
        if number == 1 && !is_title(text) {
            let what = "the first line is a comment: '# RFC 9293 section 3.5: the rule'".to_owned();
            return Err(malformed(what));
        }
        let mut words = Words::of(text).map_err(malformed)?;
        let Some(after) = words.take_if(time) else {
            if !words.is_empty() {
                if !script.lines.is_empty() {
                    return Err(malformed("a line begins with '+' and a time".to_owned()));
                }
                setting(&mut script.settings, &mut words).map_err(malformed)?;
                words.end().map_err(malformed)?;
            }
            continue;
        };
        let conn = words.take_if(connection).unwrap_or(1);
        let action = action(&mut words).map_err(malformed)?;
        words.end().map_err(malformed)?;
        script.lines.push(Line { number, text: text.trim().to_owned(), after, conn, action });
    }
    Ok(script)
}

/// Whether a first line names an RFC and its section, and says the rule.
fn is_title(line: &str) -> bool {
    let Some((source, rule)) = line.split_once(": ") else { return false };
    source.starts_with("# RFC ") && source.contains(" section ") && !rule.trim().is_empty()
}

fn time(word: &str) -> Option<Duration> {
    seconds(word.strip_prefix('+')?)
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn connection(word: &str) -> Option<u16> {
    word.strip_prefix('[')?.strip_suffix(']')?.parse().ok().filter(|&conn| conn > 0)
}

fn setting(settings: &mut Settings, words: &mut Words) -> Result<(), String> {
    let name = words.plain("a setting")?;
    match &name[..] {
        "family" => {
            let word = words.plain("a family")?;
            let family = Family::BOTH.into_iter().find(|family| family.name() == word);
            settings.family = Some(family.ok_or("a family is ipv4 or ipv6")?);
        }
        "service" => {
            settings.service = words.value("service")?;
            while !words.is_empty() {
                match &words.plain("a habit")?[..] {
                    "stays" => settings.stays = true,
                    "closes" => settings.closes = true,
                    "greets" => match words.next() {
                        Some(Word::Text(text)) => settings.greeting = text,
                        _ => return Err("a greeting is a text".to_owned()),
                    },
                    other => return Err(format!("'{other}' is no habit of a service")),
                }
            }
        }
        "keepalive" => settings.profile.keepalive = Some(keepalive(words)?),
        "user_timeout" => settings.profile.user_timeout = Some(duration(words)?),
        "time_wait" => settings.time_wait = Some(duration(words)?),
        "mtu" => settings.mtu = Some(words.value("MTU")?),
        "connections_max" => settings.connections_max = Some(words.value("limit")?),
        "half_open_max" => settings.half_open_max = Some(words.value("limit")?),
        "flights_max" => settings.flights_max = Some(words.value("limit")?),
        "promoted_max" => settings.promoted_max = Some(words.value("limit")?),
        "promoted_buffer" => settings.promoted_buffer = Some(words.value("length")?),
        "promote_always" => settings.promote_always = true,
        "resets_per_second" => settings.resets_per_second = Some(words.value("limit")?),
        "challenges_per_second" => {
            settings.challenges_per_second = Some(words.value("limit")?);
        }
        "isn" => settings.isn = words.value("sequence number")?,
        other => return Err(format!("'{other}' is no setting")),
    }
    Ok(())
}

fn duration(words: &mut Words) -> Result<Duration, String> {
    seconds(&words.plain("seconds")?).ok_or_else(|| "no number of seconds".to_owned())
}

fn keepalive(words: &mut Words) -> Result<Keepalive, String> {
    let (time, interval) = (duration(words)?, duration(words)?);
    let probes = words.value("number of probes")?;
    Keepalive::new(time, interval, probes).map_err(|error| error.to_string())
}

fn action(words: &mut Words) -> Result<Action, String> {
    if words.is_empty() {
        return Ok(Action::Wait);
    }
    let verb = words.plain("what happens")?;
    Ok(match &verb[..] {
        "<" if words.take("icmp") => icmp(words)?,
        "<" => {
            let mut wrapping = Wrapping::default();
            Action::Inject(said(words, Some(&mut wrapping))?, wrapping)
        }
        ">" => Action::Expect(said(words, None)?),
        "connect" if words.take("to") => {
            let addr = words.value("address")?;
            let refused = words.take("refused");
            refused.then_some(Action::ConnectRefused(addr)).ok_or("only the peer can be reached")?
        }
        "connect" => Action::Connect,
        "send" => Action::Send(content(words)?, outcome(words)),
        "close" => Action::Close(outcome(words)),
        "abort" => Action::Abort(outcome(words)),
        "profile" => {
            let mut profile = Profile::default();
            while !words.is_empty() {
                match &words.plain("a profile")?[..] {
                    "off" => {}
                    "keepalive" => profile.keepalive = Some(keepalive(words)?),
                    "user_timeout" => profile.user_timeout = Some(duration(words)?),
                    other => return Err(format!("'{other}' is no part of a profile")),
                }
            }
            Action::SetProfile(profile)
        }
        "closed" => {
            let word = words.plain("a reason")?;
            let reason = CloseReason::ALL.into_iter().find(|reason| dashed(reason.name()) == word);
            Action::Closed(reason.ok_or(format!("'{word}' is no reason to close"))?)
        }
        "state" => {
            let word = words.plain("a state")?;
            let state = STATES.iter().find(|(name, _)| *name == word);
            Action::State(state.ok_or(format!("'{word}' is no state"))?.1)
        }
        "drops" => {
            let word = words.plain("a reason")?;
            let reason = DropReason::ALL.iter().find(|reason| reason.name() == word);
            Action::Drops(
                *reason.ok_or(format!("'{word}' is no reason to drop"))?,
                words.value("count")?,
            )
        }
        "count" => {
            let name = words.plain("a counter")?;
            counter(&name).ok_or(format!("'{name}' is no counter"))?;
            Action::Count(name, words.value("count")?)
        }
        "received" => Action::Received(content(words)?),
        other => return Err(format!("'{other}' is nothing that happens")),
    })
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}

fn content(words: &mut Words) -> Result<Content, String> {
    match words.next() {
        Some(Word::Text(text)) => Ok(Content::Text(text)),
        Some(Word::Plain(len)) => {
            Ok(Content::Pattern(len.parse().map_err(|_| format!("'{len}' is no length"))?))
        }
        _ => Err("expected a length or a text".to_owned()),
    }
}

fn outcome(words: &mut Words) -> Outcome {
    if words.take("busy") {
        Err(CommandError::Busy)
    } else if words.take("gone") {
        Err(CommandError::Gone)
    } else {
        Ok(())
    }
}

/// A segment; with `wrapping` one that is sent to the stack, else one that is expected from it.
fn said(words: &mut Words, mut wrapping: Option<&mut Wrapping>) -> Result<Said, String> {
    let letters = words.plain("flags")?;
    let flags = segment::flags(&letters).ok_or(format!("'{letters}' are no flags"))?;
    let (seq, len) = range(&words.plain("a range of sequence numbers")?)?;
    let mut said = Said { flags, seq, len, ..Said::default() };
    while let Some(word) = words.next() {
        match word {
            Word::Options(text) => said.options = option_list(&text)?,
            Word::Text(text) if u32::try_from(text.len()) == Ok(len) => said.text = Some(text),
            Word::Text(text) => return Err(format!("{} bytes are not {len}", text.len())),
            Word::Plain(name) => match (&name[..], &mut wrapping) {
                ("ack", _) => said.ack = Some(words.value("sequence number")?),
                ("win", _) => said.window = Some(words.value("window")?),
                ("sport", _) => said.source_port = Some(words.value("port")?),
                ("dport", _) => said.target_port = Some(words.value("port")?),
                ("urg", Some(_)) => said.urgent = words.value("pointer")?,
                ("reserved", Some(_)) => said.reserved = words.value("number")?,
                ("isn", None) => {
                    said.isn = match words.plain("higher or +N")?.strip_prefix('+') {
                        Some(plus) => Isn::Plus(plus.parse().map_err(|_| "no number")?),
                        None => Isn::Higher,
                    }
                }
                (other, Some(wrapping)) => attribute(other, wrapping, words)?,
                (other, None) => return Err(format!("'{other}' is nothing of a segment")),
            },
        }
    }
    Ok(said)
}

/// An attribute of what is sent to the stack.
fn attribute(name: &str, wrapping: &mut Wrapping, words: &mut Words) -> Result<(), String> {
    match name {
        "from" => wrapping.source = Some(words.value::<IpAddr>("address")?),
        "to" => wrapping.target = Some(words.value::<IpAddr>("address")?),
        "to-mac" => {
            let mac = options::hex(&words.plain("an address")?.replace(':', ""));
            let mac = mac.and_then(|mac| mac.try_into().ok());
            wrapping.target_mac = Some(mac.ok_or("no hardware address")?);
        }
        "ip-options" => {
            let bytes = options::hex(&words.plain("digits")?);
            let whole = bytes.filter(|bytes| bytes.len().is_multiple_of(4));
            wrapping.ip_options = whole.ok_or("IP options are whole words of digits")?;
        }
        "fragment" => wrapping.fragment = true,
        "bad-checksum" => wrapping.bad_checksum = true,
        "bad-ip-checksum" => wrapping.bad_ip_checksum = true,
        "data-offset" => wrapping.data_offset = Some(words.value("number")?),
        other => return Err(format!("'{other}' is nothing of a segment")),
    }
    Ok(())
}

/// `1:11(10)`: the first number, and how many bytes. SYN and FIN do not count.
fn range(word: &str) -> Result<(u32, u32), String> {
    let malformed = || format!("'{word}' is no range like 1:11(10)");
    let (from, rest) = word.split_once(':').ok_or_else(malformed)?;
    let (to, len) =
        rest.strip_suffix(')').and_then(|rest| rest.split_once('(')).ok_or_else(malformed)?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| malformed());
    let (from, to, len) = (number(from)?, number(to)?, number(len)?);
    if from.wrapping_add(len) != to {
        return Err(format!("{from} and {len} is not {to}"));
    }
    Ok((from, len))
}

fn option_list(text: &str) -> Result<Vec<TcpOption>, String> {
    let option = |text: &str| {
        TcpOption::parse(text).ok_or_else(|| format!("'{}' is no option", text.trim()))
    };
    text.split(',').map(option).collect()
}

fn icmp(words: &mut Words) -> Result<Action, String> {
    let kind = match &words.plain("a kind of error")?[..] {
        "too-big" => {
            if !words.take("mtu") {
                return Err("too-big says an mtu".to_owned());
            }
            IcmpKind::TooBig(words.value("MTU")?)
        }
        "refused" => IcmpKind::Refused,
        "prohibited" => IcmpKind::Prohibited,
        "no-route" => IcmpKind::NoRoute,
        "host-unreachable" => IcmpKind::HostUnreachable,
        "time-exceeded" => IcmpKind::TimeExceeded,
        "parameter-problem" => IcmpKind::ParameterProblem,
        "source-quench" => IcmpKind::SourceQuench,
        other => return Err(format!("'{other}' is no kind of error")),
    };
    let mut error = IcmpError { kind, seq: 0 };
    let mut wrapping = Wrapping::default();
    while !words.is_empty() {
        match &words.plain("an attribute")?[..] {
            "seq" => error.seq = words.value("sequence number")?,
            other => attribute(other, &mut wrapping, words)?,
        }
    }
    Ok(Action::InjectIcmp(error, wrapping))
}
