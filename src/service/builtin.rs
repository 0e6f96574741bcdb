//! The services of `tenmil serve`: chosen by name, set by the query of a `--listen` URL, and run side
//! by side, each on the connections with its own tag.
//!
//! A new one is a module of this layer with a type that implements [`Service`], a variant of
//! [`Builtin`], of [`Setup`] and of `Instance`, and a line in [`Setup::parse`].

use super::discard::Discard;
use super::dubbo::{self, Dubbo};
use super::echo::Echo;
use super::http::{self, Files, Http, NoFiles};
use super::line::{self, Line};
use super::mqtt::{self, Mqtt};
use super::periods::Heartbeat;
use super::settings::{BadSetting, Settings};
use super::silence;
use super::unasked::{Published, Unpublished};
use super::ws::{self, WebSocket};
use super::{Context, Pushed, RECEIVE_WINDOW, Service, ServiceState, Turn};
use crate::conn::broadcast::Progress;
use crate::conn::slab::ConnId;
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::Secret;
use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;

/// A built-in service, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Builtin {
    /// See [`mod@super::echo`].
    Echo,
    /// See [`super::discard`].
    Discard,
    /// See [`mod@line`].
    Line,
    /// See [`mod@http`].
    Http,
    /// See [`ws`].
    Ws,
    /// See [`dubbo`].
    Dubbo,
    /// See [`mod@mqtt`].
    Mqtt,
}

impl Builtin {
    /// All built-in services.
    pub const ALL: [Builtin; 7] = [
        Builtin::Echo,
        Builtin::Discard,
        Builtin::Line,
        Builtin::Http,
        Builtin::Ws,
        Builtin::Dubbo,
        Builtin::Mqtt,
    ];

    /// The service's name in a `--listen` URL.
    pub const fn name(self) -> &'static str {
        match self {
            Builtin::Echo => "echo",
            Builtin::Discard => "discard",
            Builtin::Line => "line",
            Builtin::Http => "http",
            Builtin::Ws => "ws",
            Builtin::Dubbo => "dubbo",
            Builtin::Mqtt => "mqtt",
        }
    }

    /// The names of all services, as words.
    fn names() -> String {
        let names = Builtin::ALL.map(Builtin::name);
        let [rest @ .., last] = &names;
        format!("{} and {last}", rest.join(", "))
    }

    /// The keys of a `--listen` URL that set the service.
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Builtin::Echo | Builtin::Discard => &[],
            Builtin::Line => line::KEYS,
            Builtin::Http => http::KEYS,
            Builtin::Ws => ws::KEYS,
            Builtin::Dubbo => dubbo::KEYS,
            Builtin::Mqtt => mqtt::KEYS,
        }
    }

    /// Whether it holds connections through balancers of HTTP.
    pub const fn is_over_http(self) -> bool {
        matches!(self, Builtin::Ws)
    }

    /// The service's place in [`Builtin::ALL`]: its tag with [`Builtins::default`].
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// The service with this tag, where they are tagged by [`Builtin::tag`]. Others are none of ours:
    /// what comes on them is forgotten.
    pub(crate) fn of_tag(tag: u8) -> Builtin {
        Builtin::ALL.get(usize::from(tag)).copied().unwrap_or(Builtin::Discard)
    }
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no service of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown service '{0}': there are {known}", known = Builtin::names())]
pub struct UnknownService(pub String);

impl FromStr for Builtin {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Builtin, UnknownService> {
        let found = Builtin::ALL.into_iter().find(|service| service.name() == name);
        found.ok_or_else(|| UnknownService(name.to_owned()))
    }
}

/// A service with what is set for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as Builtin's")]
pub enum Setup {
    Echo,
    Discard,
    Line(line::Setup),
    Http(http::Setup),
    Ws(ws::Setup),
    Dubbo(dubbo::Setup),
    Mqtt(mqtt::Setup),
}

impl Setup {
    /// Takes what `settings` say about `service`; what they do not is as it is by default.
    ///
    /// # Errors
    ///
    /// When a value cannot be read. Keys that are none of the service's are left.
    pub fn parse(service: Builtin, settings: &mut Settings) -> Result<Setup, BadSetting> {
        Ok(match service {
            Builtin::Echo => Setup::Echo,
            Builtin::Discard => Setup::Discard,
            Builtin::Line => Setup::Line(line::Setup::parse(settings)?),
            Builtin::Http => Setup::Http(http::Setup::parse(settings)?),
            Builtin::Ws => Setup::Ws(ws::Setup::parse(settings)?),
            Builtin::Dubbo => Setup::Dubbo(dubbo::Setup::parse(settings)?),
            Builtin::Mqtt => Setup::Mqtt(mqtt::Setup::parse(settings)?),
        })
    }

    /// The service with nothing set.
    pub fn of(service: Builtin) -> Setup {
        match service {
            Builtin::Echo => Setup::Echo,
            Builtin::Discard => Setup::Discard,
            Builtin::Line => Setup::Line(line::Setup::default()),
            Builtin::Http => Setup::Http(http::Setup::default()),
            Builtin::Ws => Setup::Ws(ws::Setup::default()),
            Builtin::Dubbo => Setup::Dubbo(dubbo::Setup::default()),
            Builtin::Mqtt => Setup::Mqtt(mqtt::Setup::default()),
        }
    }

    /// What the service does about silent peers.
    pub fn heartbeat(&self) -> Heartbeat {
        let heard = |period: Duration, silence_max| Heartbeat::Heard { period, silence_max };
        let asked = |period: Duration| Heartbeat::Asked {
            period,
            silence_max: period.saturating_mul(silence::PERIODS),
        };
        match self {
            Setup::Echo | Setup::Discard => Heartbeat::Off,
            Setup::Line(setup) => setup.heartbeat.map_or(Heartbeat::Off, |period| {
                heard(period, period.saturating_mul(line::MISSED_MAX))
            }),
            Setup::Http(setup) => setup
                .idle_timeout
                .map_or(Heartbeat::Off, |silence_max| Heartbeat::Ended { silence_max }),
            Setup::Ws(setup) => setup.heartbeat.map_or(Heartbeat::Off, asked),
            Setup::Dubbo(setup) => setup.heartbeat.map_or(Heartbeat::Off, asked),
            // MQTT-3.1.2-22: one and a half times the keep alive.
            Setup::Mqtt(setup) => setup
                .keep_alive_max()
                .map_or(Heartbeat::Chosen, |period| heard(period, period * 3 / 2)),
        }
    }

    /// Which service it is.
    pub const fn service(&self) -> Builtin {
        match self {
            Setup::Echo => Builtin::Echo,
            Setup::Discard => Builtin::Discard,
            Setup::Line(_) => Builtin::Line,
            Setup::Http(_) => Builtin::Http,
            Setup::Ws(_) => Builtin::Ws,
            Setup::Dubbo(_) => Builtin::Dubbo,
            Setup::Mqtt(_) => Builtin::Mqtt,
        }
    }
}

/// A service at work, with the memory that it needs besides the records.
enum Instance {
    Echo(Echo),
    Discard(Discard),
    Line(Line),
    Http(Box<Http>),
    Ws(WebSocket),
    Dubbo(Dubbo),
    Mqtt(Box<Mqtt>),
}

impl Instance {
    fn new<E>(
        setup: &Setup,
        secret: Secret,
        files: impl FnOnce(&http::Setup) -> Result<Box<dyn Files + Send>, E>,
    ) -> Result<Instance, E> {
        Ok(match setup {
            Setup::Echo => Instance::Echo(Echo),
            Setup::Discard => Instance::Discard(Discard),
            Setup::Line(setup) => Instance::Line(Line::new(setup)),
            Setup::Http(setup) => Instance::Http(Box::new(Http::new(setup, files(setup)?))),
            Setup::Ws(setup) => Instance::Ws(WebSocket::new(setup)),
            Setup::Dubbo(setup) => Instance::Dubbo(Dubbo::new(setup)),
            Setup::Mqtt(setup) => Instance::Mqtt(Box::new(Mqtt::new(setup.policy(), secret))),
        })
    }

    fn service(&mut self) -> &mut dyn Service {
        match self {
            Instance::Echo(echo) => echo,
            Instance::Discard(discard) => discard,
            Instance::Line(line) => line,
            Instance::Http(http) => &mut **http,
            Instance::Ws(ws) => ws,
            Instance::Dubbo(dubbo) => dubbo,
            Instance::Mqtt(mqtt) => &mut **mqtt,
        }
    }

    fn shared(&self) -> &dyn Service {
        match self {
            Instance::Echo(echo) => echo,
            Instance::Discard(discard) => discard,
            Instance::Line(line) => line,
            Instance::Http(http) => &**http,
            Instance::Ws(ws) => ws,
            Instance::Dubbo(dubbo) => dubbo,
            Instance::Mqtt(mqtt) => &**mqtt,
        }
    }
}

/// Built-in services side by side, each on the connections with its own tag. Listeners of MQTT with the
/// same settings are one server: their clients hear each other.
pub struct Builtins {
    instances: Vec<Instance>,
    /// Which of them each tag is for.
    places: Vec<usize>,
}

impl Builtins {
    /// Services for the tags 0, 1 and so on, without files; at most 256 are ever asked. `secret` keys the
    /// hashes of what peers choose.
    pub fn new<'a>(setups: impl IntoIterator<Item = &'a Setup>, secret: Secret) -> Builtins {
        let none =
            |_: &http::Setup| Ok::<_, Infallible>(Box::new(NoFiles) as Box<dyn Files + Send>);
        match Builtins::with_files(setups, secret, none) {
            Ok(builtins) => builtins,
            Err(never) => match never {},
        }
    }

    /// The same, with what `files` opens for those that serve some.
    ///
    /// # Errors
    ///
    /// Those of `files`.
    pub fn with_files<'a, E>(
        setups: impl IntoIterator<Item = &'a Setup>,
        secret: Secret,
        mut files: impl FnMut(&http::Setup) -> Result<Box<dyn Files + Send>, E>,
    ) -> Result<Builtins, E> {
        let mut builtins = Builtins { instances: Vec::new(), places: Vec::new() };
        let mut servers: Vec<(&Setup, usize)> = Vec::new();
        for setup in setups {
            let server = servers.iter().find(|(other, _)| *other == setup);
            let place = server.map_or(builtins.instances.len(), |(_, place)| *place);
            if place == builtins.instances.len() {
                builtins.instances.push(Instance::new(setup, secret, &mut files)?);
                if setup.service() == Builtin::Mqtt {
                    servers.push((setup, place));
                }
            }
            builtins.places.push(place);
        }
        Ok(builtins)
    }

    fn service(&mut self, tag: u8) -> Option<&mut dyn Service> {
        let place = *self.places.get(usize::from(tag))?;
        self.instances.get_mut(place).map(Instance::service)
    }

    fn shared(&self, tag: u8) -> Option<&dyn Service> {
        let place = *self.places.get(usize::from(tag))?;
        self.instances.get(place).map(Instance::shared)
    }
}

impl Default for Builtins {
    /// One of each, with nothing set, for the tags of [`Builtin::tag`]. The hashes of what peers choose
    /// are keyed with zeros: for where nobody chooses in order to collide.
    fn default() -> Builtins {
        Builtins::new(&Builtin::ALL.map(Setup::of), Secret([0; 16]))
    }
}

impl Service for Builtins {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        if let Some(service) = self.service(conn.tag()) {
            service.on_open(conn);
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.service(conn.tag()).map_or(bytes.len(), |service| service.on_data(conn, bytes))
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        if let Some(service) = self.service(conn.tag()) {
            service.on_wake(conn);
        }
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        if let Some(service) = self.service(conn.tag()) {
            service.on_room(conn);
        }
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        match self.service(conn.tag()) {
            Some(service) => service.on_peer_close(conn),
            None => conn.close(),
        }
    }

    fn on_close(&mut self, id: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        if let Some(service) = self.service(tag) {
            service.on_close(id, tag, state, reason);
        }
    }

    fn usage(&mut self, tell: &mut dyn FnMut(&'static str, u64)) {
        self.instances.iter_mut().for_each(|instance| instance.service().usage(tell));
    }

    fn next_turn(&self) -> Option<Instant> {
        self.instances.iter().filter_map(|instance| instance.shared().next_turn()).min()
    }

    fn on_turn(&mut self, turn: &mut Turn<'_>) {
        for instance in &mut self.instances {
            if instance.shared().next_turn().is_some_and(|at| at <= turn.now()) {
                instance.service().on_turn(turn);
            }
        }
    }

    fn is_subscribed(&self, topic: u64, id: ConnId, tag: u8, state: &ServiceState) -> bool {
        self.shared(tag).is_some_and(|service| service.is_subscribed(topic, id, tag, state))
    }

    fn takes_pushes(&self, tag: u8, state: &ServiceState) -> bool {
        self.shared(tag).is_none_or(|service| service.takes_pushes(tag, state))
    }

    fn on_pushed(&mut self, pushed: Pushed) {
        if let Some(service) = self.service(pushed.tag) {
            service.on_pushed(pushed);
        }
    }

    fn on_broadcast(&mut self, tag: u8, note: u64, progress: &Progress) {
        if let Some(service) = self.service(tag) {
            service.on_broadcast(tag, note, progress);
        }
    }

    fn on_publish(
        &mut self,
        turn: &mut Turn<'_>,
        tag: Option<u8>,
        topic: &str,
        message: &[u8],
    ) -> Result<Published, Unpublished> {
        if let Some(tag) = tag {
            let service = self.service(tag).ok_or(Unpublished::NoTopics)?;
            return service.on_publish(turn, Some(tag), topic, message);
        }
        let mut sum: Result<Published, _> = Err(Unpublished::NoTopics);
        for instance in &mut self.instances {
            match (instance.service().on_publish(turn, None, topic, message), &mut sum) {
                (Ok(published), Ok(sum)) => sum.add(published),
                (Ok(published), Err(_)) => sum = Ok(published),
                (Err(Unpublished::NoTopics), _) | (Err(_), Ok(_)) => {}
                (Err(reason), Err(_)) => sum = Err(reason),
            }
        }
        sum
    }

    fn receive_window(&self, tag: u8) -> u16 {
        self.shared(tag).map_or(RECEIVE_WINDOW, |service| service.receive_window(tag))
    }

    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        self.instances.iter().for_each(|instance| instance.shared().events(tell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_says_what_it_does_about_silent_peers() {
        let secs = Duration::from_secs;
        let heard = |period, silence_max| Heartbeat::Heard { period, silence_max };
        let asked = |period, silence_max| Heartbeat::Asked { period, silence_max };
        for (service, query, expected) in [
            (Builtin::Echo, "", Heartbeat::Off),
            (Builtin::Line, "", Heartbeat::Off),
            (Builtin::Line, "heartbeat=20s", heard(secs(20), secs(60))),
            (Builtin::Ws, "heartbeat=20s", asked(secs(20), secs(60))),
            (Builtin::Dubbo, "", asked(secs(60), secs(180))),
            (Builtin::Mqtt, "", Heartbeat::Chosen),
            (Builtin::Mqtt, "keep-alive-max=60s", heard(secs(60), secs(90))),
            (Builtin::Http, "", Heartbeat::Ended { silence_max: secs(75) }),
        ] {
            let mut settings = Settings::parse(query).unwrap();
            let setup = Setup::parse(service, &mut settings).unwrap();
            assert_eq!(setup.heartbeat(), expected, "{service} {query}");
        }
    }
}
