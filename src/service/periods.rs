//! Do a listener's keepalive and the heartbeats of its service complement each other?
//!
//! Both find silent peers, and both keep middleboxes from forgetting a connection; their periods can
//! be such that one of them does nothing, or too much. docs/liveness.md has the reasons.

use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::Duration;
use core::fmt;
use humantime::format_duration;

/// What a service does by itself about peers that are silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing.
    Off,
    /// The peer speaks in every period, and is given up after a longer silence.
    Heard {
        /// How often the peer speaks.
        period: Duration,
        /// The silence that ends the connection.
        silence_max: Duration,
    },
    /// The service asks after each period of silence, and gives the peer up after a longer one.
    Asked {
        /// The silence after which the service asks.
        period: Duration,
        /// The silence that ends the connection.
        silence_max: Duration,
    },
    /// The peer chooses a period when it connects, and may choose none.
    Chosen,
    /// Whoever asks for nothing is not kept: an idle timeout, for peers that are there too.
    Ended {
        /// The silence that ends the connection.
        silence_max: Duration,
    },
}

impl Heartbeat {
    /// How often data crosses an idle connection.
    const fn period(&self) -> Option<Duration> {
        match self {
            Heartbeat::Heard { period, .. } | Heartbeat::Asked { period, .. } => Some(*period),
            Heartbeat::Off | Heartbeat::Chosen | Heartbeat::Ended { .. } => None,
        }
    }

    /// How long an idle connection is silent at most, if that is limited.
    const fn silence(&self) -> Option<Duration> {
        match self {
            Heartbeat::Ended { silence_max } => Some(*silence_max),
            _ => self.period(),
        }
    }
}

/// After how long without traffic middleboxes of a kind forget a connection, by default.
#[derive(Debug, PartialEq, Eq)]
pub struct IdleLimit {
    /// Which ones.
    pub name: &'static str,
    /// How long they wait.
    pub after: Duration,
    /// Whether only data counts, and no keepalive probe: so it is where a connection ends at the
    /// balancer and another begins.
    pub only_data: bool,
}

/// Common limits, the shortest first; docs/liveness.md names the sources.
pub const IDLE_LIMITS: &[IdleLimit] = &[
    IdleLimit {
        name: "AWS Application Load Balancer",
        after: Duration::from_secs(60),
        only_data: true,
    },
    IdleLimit {
        name: "Azure Load Balancer and NAT Gateway",
        after: Duration::from_secs(240),
        only_data: false,
    },
    IdleLimit {
        name: "AWS Network Load Balancer and NAT gateway",
        after: Duration::from_secs(350),
        only_data: false,
    },
    IdleLimit { name: "Google Cloud NAT", after: Duration::from_secs(1_200), only_data: false },
    IdleLimit {
        name: "NATs as RFC 5382 asks for",
        after: Duration::from_secs(7_440),
        only_data: false,
    },
];

/// The periods of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Keepalive and the user timeout.
    pub profile: Profile,
    /// What the service does.
    pub heartbeat: Heartbeat,
    /// Whether the service holds connections through balancers of HTTP, as WebSocket's does.
    pub over_http: bool,
}

/// Why periods are likely not what was meant; said in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Neither finds out about a peer that is gone while nothing is outstanding.
    NeverFound {
        /// The user timeout, which does not either.
        user_timeout: Option<Duration>,
        /// Whether the peer may choose a heartbeat.
        may_choose: bool,
    },
    /// Keepalive never has its turn: the service asks sooner.
    AskedFirst {
        /// The silence after which it would probe.
        time: Duration,
        /// The silence after which the service asks.
        period: Duration,
    },
    /// Keepalive never has its turn: the service ends the connection sooner.
    EndedFirst {
        /// The silence after which it would probe.
        time: Duration,
        /// The silence that ends the connection.
        silence_max: Duration,
    },
    /// Keepalive sends more than the heartbeats do.
    ProbesMore {
        /// The silence after which it probes.
        time: Duration,
        /// The period of the heartbeats.
        period: Duration,
        /// How many probes there are between two heartbeats.
        probes: u64,
    },
    /// Middleboxes forget a connection before anything crosses it again.
    Outlives {
        /// How long an idle connection is silent.
        silence: Duration,
        /// Those who do not wait so long.
        limits: Vec<&'static IdleLimit>,
    },
    /// The same, where probes do not count.
    OutlivesData {
        /// How long no data crosses an idle connection; `None` for ever.
        silence: Option<Duration>,
        /// Those who do not wait so long.
        limits: Vec<&'static IdleLimit>,
    },
}

impl Periods {
    /// What is likely not meant.
    pub fn check(&self) -> Vec<Warning> {
        let Periods { profile, heartbeat, .. } = self;
        let Some(keepalive) = profile.keepalive else {
            let lost = match heartbeat {
                Heartbeat::Off | Heartbeat::Chosen => Some(Warning::NeverFound {
                    user_timeout: profile.user_timeout,
                    may_choose: *heartbeat == Heartbeat::Chosen,
                }),
                _ => None,
            };
            return lost
                .into_iter()
                .chain(self.outlived(None))
                .chain(self.outlived_data())
                .collect();
        };
        let paced = self.never_probes(&keepalive).or_else(|| self.probes_more(&keepalive));
        let outlived = self.outlived(Some(keepalive.time()));
        paced.into_iter().chain(outlived).chain(self.outlived_data()).collect()
    }

    fn never_probes(&self, keepalive: &Keepalive) -> Option<Warning> {
        let time = keepalive.time();
        match self.heartbeat {
            // As long as the peer's TCP acknowledges, each heartbeat begins the silence anew; when it
            // does not, something is outstanding, and there are no probes (RFC 9293, MUST-26).
            Heartbeat::Asked { period, .. } if time >= period => {
                Some(Warning::AskedFirst { time, period })
            }
            Heartbeat::Heard { silence_max, .. } if time >= silence_max => {
                Some(Warning::EndedFirst { time, silence_max })
            }
            _ => None,
        }
    }

    fn probes_more(&self, keepalive: &Keepalive) -> Option<Warning> {
        let (time, period) = (keepalive.time(), self.heartbeat.period()?);
        let probes =
            u64::try_from(period.as_nanos().div_ceil(time.as_nanos())).ok()?.checked_sub(1)?;
        // A probe and its answer, against a heartbeat, its answer, and an acknowledgment.
        (2 * probes >= 3).then_some(Warning::ProbesMore { time, period, probes })
    }

    fn outlived(&self, probed: Option<Duration>) -> Option<Warning> {
        let silence = probed.into_iter().chain(self.heartbeat.silence()).min()?;
        let limits = limits(false, |limit| limit.after < silence);
        (!limits.is_empty()).then_some(Warning::Outlives { silence, limits })
    }

    fn outlived_data(&self) -> Option<Warning> {
        let silence = self.heartbeat.period();
        // What is sent just as the limit ends may come too late.
        let outlives = |limit: &IdleLimit| silence.is_none_or(|silence| limit.after <= silence);
        let limits = limits(true, outlives);
        let has = self.over_http && !limits.is_empty();
        has.then_some(Warning::OutlivesData { silence, limits })
    }
}

fn limits(only_data: bool, is: impl Fn(&IdleLimit) -> bool) -> Vec<&'static IdleLimit> {
    IDLE_LIMITS.iter().filter(|limit| limit.only_data == only_data && is(limit)).collect()
}

/// The names of limits, as words.
fn names(limits: &[&IdleLimit]) -> String {
    let named = |limit: &&IdleLimit| format!("{} ({})", limit.name, format_duration(limit.after));
    limits.iter().map(named).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |duration: &Duration| format_duration(*duration).to_string();
        match self {
            Warning::NeverFound { user_timeout, may_choose } => {
                f.write_str(match may_choose {
                    true => "keepalive is off, and clients may choose to send no heartbeats",
                    false => "neither keepalive nor a heartbeat is on",
                })?;
                f.write_str(": a peer that vanishes keeps its connection for ever")?;
                user_timeout.iter().try_for_each(|timeout| {
                    let timeout = text(timeout);
                    write!(f, " (the user timeout of {timeout} counts while data is outstanding)")
                })
            }
            Warning::AskedFirst { time, period } => write!(
                f,
                "keepalive never probes: it would after {} of silence, but a heartbeat is sent after {}",
                text(time),
                text(period)
            ),
            Warning::EndedFirst { time, silence_max } => write!(
                f,
                "keepalive never probes: it would after {} of silence, but {} without a heartbeat end \
                 the connection",
                text(time),
                text(silence_max)
            ),
            Warning::ProbesMore { time, period, probes } => write!(
                f,
                "keepalive after {} of silence doubles the traffic: {probes} probes and their answers \
                 between two heartbeats, which are {} apart",
                text(time),
                text(period)
            ),
            Warning::Outlives { silence, limits } => write!(
                f,
                "an idle connection is silent for {}, and is forgotten sooner by {}",
                text(silence),
                names(limits)
            ),
            Warning::OutlivesData { silence, limits } => {
                match silence {
                    Some(silence) => {
                        write!(f, "no data crosses an idle connection for {}", text(silence))
                    }
                    None => f.write_str("no data crosses an idle connection"),
                }?;
                write!(f, ", and where probes do not count it is closed by {}", names(limits))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn probing(after: u64) -> Profile {
        let keepalive = Keepalive::new(secs(after), secs(10), 3).unwrap();
        Profile { keepalive: Some(keepalive), user_timeout: None }
    }

    fn heard(period: u64) -> Heartbeat {
        Heartbeat::Heard { period: secs(period), silence_max: secs(3 * period) }
    }

    fn asked(period: u64) -> Heartbeat {
        Heartbeat::Asked { period: secs(period), silence_max: secs(3 * period) }
    }

    fn said(profile: Profile, heartbeat: Heartbeat, over_http: bool) -> Vec<String> {
        let warnings = Periods { profile, heartbeat, over_http }.check();
        warnings.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn assert_says(profile: Profile, heartbeat: Heartbeat, expected: &[&str]) {
        assert_eq!(said(profile, heartbeat, false), expected);
    }

    #[test]
    fn each_of_the_three_practices_has_periods_that_nothing_is_said_about() {
        let off = Profile::default();
        for (profile, heartbeat) in [
            (probing(60), Heartbeat::Off),
            (probing(240), Heartbeat::Off),
            (probing(240), Heartbeat::Chosen),
            (off, heard(60)),
            (off, asked(240)),
            // A probe at most for each heartbeat; and after one that is missing.
            (probing(30), heard(60)),
            (probing(179), heard(60)),
            (probing(30), asked(60)),
            (probing(59), asked(60)),
            (off, Heartbeat::Ended { silence_max: secs(75) }),
            (probing(7_200), Heartbeat::Ended { silence_max: secs(75) }),
        ] {
            assert_says(profile, heartbeat, &[]);
        }
        assert_eq!(said(probing(30), asked(59), true), [""; 0]);
    }

    #[test]
    fn who_is_never_found_out() {
        let off = Profile::default();
        let forever = "a peer that vanishes keeps its connection for ever";
        let neither = format!("neither keepalive nor a heartbeat is on: {forever}");
        assert_says(off, Heartbeat::Off, &[&neither]);
        let timed = Profile { keepalive: None, user_timeout: Some(secs(30)) };
        let counts = "(the user timeout of 30s counts while data is outstanding)";
        assert_says(timed, Heartbeat::Off, &[&format!("{neither} {counts}")]);
        let may = "keepalive is off, and clients may choose to send no heartbeats";
        assert_says(off, Heartbeat::Chosen, &[&format!("{may}: {forever}")]);
    }

    #[test]
    fn a_keepalive_that_never_has_its_turn() {
        let first = "keepalive never probes: it would after 3m of silence, but";
        let heard_first = format!("{first} 3m without a heartbeat end the connection");
        assert_says(probing(180), heard(60), &[&heard_first]);
        let asked_first = format!("{first} a heartbeat is sent after 1m");
        assert_says(probing(180), asked(60), &[&asked_first]);
    }

    #[test]
    fn a_keepalive_that_sends_more_than_the_heartbeats() {
        for heartbeat in [heard(60), asked(60)] {
            let doubles = "keepalive after 29s of silence doubles the traffic: 2 probes and their \
                           answers between two heartbeats, which are 1m apart";
            assert_says(probing(29), heartbeat, &[doubles]);
        }
        let Warning::ProbesMore { probes, .. } =
            Periods { profile: probing(10), heartbeat: heard(60), over_http: false }
                .check()
                .remove(0)
        else {
            panic!("it sends more")
        };
        assert_eq!(probes, 5, "at 60 s there is the heartbeat");
    }

    #[test]
    fn what_middleboxes_forget() {
        let azure = "Azure Load Balancer and NAT Gateway (4m)";
        let aws = "AWS Network Load Balancer and NAT gateway (5m 50s)";
        let google = "Google Cloud NAT (20m)";
        let forgotten = |silence: &str, by: &[&str]| {
            let by = by.join(", ");
            format!("an idle connection is silent for {silence}, and is forgotten sooner by {by}")
        };
        assert_says(probing(241), Heartbeat::Off, &[&forgotten("4m 1s", &[azure])]);
        assert_says(Profile::default(), heard(400), &[&forgotten("6m 40s", &[azure, aws])]);
        let linux = Profile { keepalive: Some(Keepalive::LINUX), user_timeout: None };
        assert_says(linux, Heartbeat::Off, &[&forgotten("2h", &[azure, aws, google])]);
        let rfc = "NATs as RFC 5382 asks for (2h 4m)";
        let all = forgotten("2h 4m 1s", &[azure, aws, google, rfc]);
        assert_says(probing(7_441), Heartbeat::Off, &[&all]);
        let ended = Heartbeat::Ended { silence_max: secs(300) };
        assert_says(linux, ended, &[&forgotten("5m", &[azure])]);
        // The faster one keeps the connection known.
        assert_says(probing(200), heard(300), &[]);
    }

    #[test]
    fn balancers_that_count_data_only() {
        let closed =
            "and where probes do not count it is closed by AWS Application Load Balancer (1m)";
        let never = format!("no data crosses an idle connection, {closed}");
        assert_eq!(said(probing(30), Heartbeat::Off, true), [never]);
        let late = format!("no data crosses an idle connection for 1m, {closed}");
        assert_eq!(said(Profile::default(), asked(60), true), [late]);
    }

    #[test]
    fn a_warning_is_one_line() {
        let linux = Profile { keepalive: Some(Keepalive::LINUX), user_timeout: None };
        for profile in [Profile::default(), probing(1), linux] {
            for heartbeat in [Heartbeat::Off, heard(60), asked(60), Heartbeat::Chosen] {
                assert!(said(profile, heartbeat, true).iter().all(|line| !line.contains('\n')));
            }
        }
    }
}
