//! The service against a plain model, with frames right and wrong, in any pieces and with any room.

use super::*;
use crate::service::ws::frame::Mask;
use proptest::prelude::*;

/// One thing that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Message(Kind, Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// What the service said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) events: Vec<Event>,
    /// The message that did not end.
    begun: Option<(Kind, Vec<u8>)>,
    is_closed: bool,
}

impl Said {
    /// Reads a server's frames as a client does that takes nothing for granted.
    pub(super) fn read(mut bytes: &[u8], is_closed: bool) -> Said {
        let mut said = Said { is_closed, ..Said::default() };
        while !bytes.is_empty() {
            let (header, at) = Header::parse(bytes).unwrap().expect("a whole header");
            assert_eq!(header.mask, None, "section 5.1: a server must not mask");
            let end = at + usize::try_from(header.len).unwrap();
            let payload = bytes[at..end].to_vec();
            bytes = &bytes[end..];
            let mut message = match (header.opcode, said.begun.take()) {
                (Opcode::Text, None) => (Kind::Text, vec![]),
                (Opcode::Binary, None) => (Kind::Binary, vec![]),
                (Opcode::Continuation, Some(begun)) => begun,
                (Opcode::Close, begun) => {
                    assert!(bytes.is_empty() && is_closed, "nothing follows a close frame");
                    let code = payload.try_into().ok().map(u16::from_be_bytes);
                    said.events.push(Event::Close(code));
                    said.begun = begun;
                    break;
                }
                (Opcode::Pong, begun) => {
                    said.events.push(Event::Pong(payload));
                    said.begun = begun;
                    continue;
                }
                (opcode, begun) => panic!("{opcode:?} after {begun:?}"),
            };
            message.1.extend(payload);
            match header.fin {
                true => said.events.push(Event::Message(message.0, message.1)),
                false => said.begun = Some(message),
            }
        }
        said
    }
}

/// A frame as a client might send it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    fin: bool,
    number: u8,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
    /// Bits that are set besides.
    reserved: u8,
}

impl Sent {
    pub(super) fn new(fin: bool, opcode: Opcode, payload: &[u8]) -> Sent {
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        Sent { fin, number: opcode as u8, mask, payload: payload.to_vec(), reserved: 0 }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let len = u64::try_from(self.payload.len()).unwrap();
        let mask = self.mask.map(Mask);
        let mut header = [0; HEADER_LEN_MAX];
        let header_len =
            Header { fin: self.fin, opcode: Opcode::Continuation, mask, len }.emit(&mut header);
        header[0] |= self.number | self.reserved;
        let mut masked = vec![0; self.payload.len()];
        let _ = mask.unwrap_or_default().apply(&self.payload, &mut masked);
        [&header[..header_len], &masked].concat()
    }

    /// Whether no rule of section 5 is broken by the frame alone.
    fn is_right(&self) -> bool {
        let is_control = self.number >= 8;
        self.reserved == 0
            && self.mask.is_some()
            && matches!(self.number, 0..=2 | 8..=10)
            && (!is_control || self.fin && self.payload.len() <= 125)
    }
}

/// What the documentation says, for whole frames.
pub(super) fn model(frames: &[Sent], len_max: usize) -> Said {
    let mut said = Said::default();
    let close = |said: &mut Said, code| {
        said.events.push(Event::Close(code));
        said.is_closed = true;
    };
    for frame in frames {
        let failure = match (frame.number, &mut said.begun) {
            _ if !frame.is_right() => Some(1002),
            (8, _) => {
                let code = match frame.payload[..] {
                    [] => None,
                    [_] => Some(1002),
                    [a, b, ref reason @ ..] => {
                        let code = u16::from_be_bytes([a, b]);
                        let is_right = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                        let is_text = core::str::from_utf8(reason).is_ok();
                        Some(if !is_right {
                            1002
                        } else if !is_text {
                            1007
                        } else {
                            code
                        })
                    }
                };
                close(&mut said, code);
                return said;
            }
            (9, _) => {
                said.events.push(Event::Pong(frame.payload.clone()));
                None
            }
            (10, _) => None,
            (0, None) | (1 | 2, Some(_)) => Some(1002),
            (number, begun) => {
                let kind = if number == 1 { Kind::Text } else { Kind::Binary };
                let (kind, message) = begun.get_or_insert((kind, vec![]));
                message.extend_from_slice(&frame.payload);
                let utf8 = core::str::from_utf8(message);
                let is_wrong = utf8.is_err_and(|error| frame.fin || error.error_len().is_some());
                match kind {
                    _ if message.len() > len_max => Some(1009),
                    Kind::Text if is_wrong => Some(1007),
                    _ => None,
                }
            }
        };
        if failure.is_some() {
            close(&mut said, failure);
            return said;
        }
        if frame.fin
            && frame.number < 8
            && let Some((kind, message)) = said.begun.take()
        {
            said.events.push(Event::Message(kind, message));
        }
    }
    said
}

/// Whether `said` is what `model` says: of a message that did not end it may have said less.
pub(super) fn agrees(said: &Said, model: &Said) -> bool {
    let is_part = match (&said.begun, &model.begun) {
        (None, _) => true,
        (Some((kind, begun)), Some((other, whole))) => kind == other && whole.starts_with(begun),
        (Some(_), None) => false,
    };
    said.events == model.events && said.is_closed == model.is_closed && is_part
}

/// A payload that is a text more often than not, and often cut in a character.
fn payloads(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let text = proptest::collection::vec(any::<char>(), 0..len_max / 3).prop_map(move |text| {
        let mut text = String::from_iter(text).into_bytes();
        text.truncate(len_max);
        text
    });
    prop_oneof![
        3 => "[ -~]{0,20}".prop_map(String::into_bytes),
        2 => text,
        1 => proptest::collection::vec(any::<u8>(), 0..len_max),
    ]
}

fn close_payloads() -> impl Strategy<Value = Vec<u8>> {
    let codes = prop_oneof![990u16..1020, 2990u16..3010, 4990u16..5010];
    let whole = (codes, payloads(100)).prop_map(|(code, mut reason)| {
        reason.splice(..0, code.to_be_bytes());
        reason
    });
    prop_oneof![Just(vec![]), Just(vec![3]), whole]
}

/// Frames that are mostly right, and messages that mostly continue as they should.
fn frames() -> impl Strategy<Value = Vec<Sent>> {
    let part = |fin, number| {
        (Just(fin), Just(number), payloads(150))
            .prop_map(|(fin, number, payload)| (fin, number, payload))
    };
    let ping =
        proptest::collection::vec(any::<u8>(), 0..126).prop_map(|payload| (true, 9, payload));
    let one = prop_oneof![
        4 => part(true, 1), 2 => part(false, 1), 2 => part(true, 2), 2 => part(false, 2),
        6 => part(true, 0), 4 => part(false, 0), 3 => ping, 1 => part(true, 10).prop_map(|(fin, number, mut payload)| {
            payload.truncate(125);
            (fin, number, payload)
        }),
        1 => close_payloads().prop_map(|payload| (true, 8, payload)),
        1 => (any::<bool>(), 0u8..16, payloads(300)),
    ];
    let masked =
        (one, any::<[u8; 4]>(), 0u8..60).prop_map(|((fin, number, payload), mask, luck)| {
            let mask = (luck != 0).then_some(mask);
            let reserved = if luck == 1 { 0x40 } else { 0 };
            Sent { fin, number, mask, payload, reserved }
        });
    proptest::collection::vec(masked, 1..10)
}

proptest! {
    #[test]
    fn any_cuts_and_any_room_give_what_the_model_says(
        frames in frames(),
        cuts in proptest::collection::vec(1usize..60, 1..20),
        rooms in proptest::collection::vec(0usize..300, 0..20),
    ) {
        let input: Vec<_> = frames.iter().flat_map(Sent::bytes).collect();
        let mut fed = Fed::open(setup());
        let mut rooms = rooms.into_iter().chain([127]).cycle();
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            fed.feed(piece, rooms.next().unwrap());
            rest = later;
        }
        fed.feed(b"", 127);
        let model = model(&frames, LEN_MAX);
        prop_assert!(fed.conn.asked.closing || fed.rest.is_empty() || fed.rest.len() <= 131);
        let said = fed.end();
        prop_assert!(agrees(&said, &model), "{:?}\n{:?}", said, model);
    }

    #[test]
    fn whole_frames_with_room_are_sent_back_as_they_came(frames in frames()) {
        let mut fed = Fed::open(setup());
        for frame in &frames {
            fed.feed(&frame.bytes(), ROOM);
        }
        let sent = fed.conn.sent.clone();
        let said = fed.end();
        let model = model(&frames, LEN_MAX);
        prop_assert!(agrees(&said, &model), "{:?}\n{:?}", said, model);
        // Frame for frame, but for empty ones that end nothing.
        let count = |bytes: &[u8]| {
            let (mut at, mut count) = (0, 0);
            while at < bytes.len() {
                let (header, len) = Header::parse(&bytes[at..]).unwrap().unwrap();
                at += len + usize::try_from(header.len).unwrap();
                count += 1;
            }
            count
        };
        prop_assert!(count(&sent) <= frames.len());
    }
}
