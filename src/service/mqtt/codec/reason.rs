//! Why something is refused, or how it went: the reason codes of MQTT 5.0 (section 2.4).

/// A reason code of MQTT 5.0. Only those that this server sends, or reads in a client's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// Success; in a DISCONNECT, that the will is not to be published.
    Success = 0x00,
    /// A client's DISCONNECT after which its will is published all the same.
    DisconnectWithWill = 0x04,
    /// Accepted, but nobody has subscribed to the topic.
    NoMatchingSubscribers = 0x10,
    /// There was no subscription to this filter.
    NoSubscriptionExisted = 0x11,
    /// The packet cannot be read according to the specification.
    MalformedPacket = 0x81,
    /// The packet can be read, but not here, or not with these values.
    ProtocolError = 0x82,
    /// A version of the protocol that the server does not speak.
    UnsupportedProtocolVersion = 0x84,
    /// The client identifier is not allowed.
    ClientIdentifierNotValid = 0x85,
    /// The user name or password is not accepted.
    BadUserNameOrPassword = 0x86,
    /// An exchange of AUTH packets was asked for with a method that the server does not know.
    BadAuthenticationMethod = 0x8c,
    /// Nothing came for one and a half times the keep alive.
    KeepAliveTimeout = 0x8d,
    /// A newer connection has the client identifier.
    SessionTakenOver = 0x8e,
    /// The filter is not allowed.
    TopicFilterInvalid = 0x8f,
    /// The topic name is not allowed.
    TopicNameInvalid = 0x90,
    /// No message with this packet identifier is under way.
    PacketIdentifierNotFound = 0x92,
    /// The alias is 0 or greater than the server's maximum, or stands for no topic.
    TopicAliasInvalid = 0x94,
    /// The packet is longer than the server accepts.
    PacketTooLarge = 0x95,
    /// A limit of the server is reached.
    QuotaExceeded = 0x97,
    /// The payload is not the text that its format indicator says.
    PayloadFormatInvalid = 0x99,
    /// The server does not do this quality of service.
    QosNotSupported = 0x9b,
    /// The server does not do shared subscriptions.
    SharedSubscriptionsNotSupported = 0x9e,
}

impl Reason {
    /// The code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The return code of a 3.1.1 CONNACK (table 3.1) that refuses with this reason. `None` where
    /// there is none, so that the connection is closed without a CONNACK (MQTT-3.2.2-6).
    pub const fn return_code(self) -> Option<u8> {
        match self {
            Reason::Success => Some(0x00),
            Reason::UnsupportedProtocolVersion => Some(0x01),
            Reason::ClientIdentifierNotValid => Some(0x02),
            Reason::QuotaExceeded => Some(0x03),
            Reason::BadUserNameOrPassword => Some(0x04),
            _ => None,
        }
    }

    /// Whether this is a refusal.
    pub const fn is_error(self) -> bool {
        self.code() >= 0x80
    }
}
