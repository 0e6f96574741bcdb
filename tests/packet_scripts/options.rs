//! TCP options, as scripts write them.

use std::fmt;

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TcpOption {
    /// `eol`
    EndOfList,
    /// `nop`
    NoOperation,
    /// `mss 1460`
    Mss(u16),
    /// `mss own`: what the stack under test announces on Ethernet.
    MssOwn,
    /// `wscale 7`
    WindowScale(u8),
    /// `sackok`
    SackPermitted,
    /// `sack 11:21 31:41`: relative sequence numbers in a script, absolute ones on the wire.
    Sack(Vec<(u32, u32)>),
    /// `ts 1 0`
    Timestamp(u32, u32),
    /// `hex fd04aabb`: these bytes as they are, well-formed or not.
    Hex(Vec<u8>),
}

impl TcpOption {
    /// The option that `text` is; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<TcpOption> {
        let mut words = text.split_whitespace();
        let name = words.next()?;
        let values: Vec<&str> = words.collect();
        Some(match (name, &values[..]) {
            ("eol", []) => TcpOption::EndOfList,
            ("nop", []) => TcpOption::NoOperation,
            ("mss", ["own"]) => TcpOption::MssOwn,
            ("mss", [mss]) => TcpOption::Mss(mss.parse().ok()?),
            ("wscale", [shift]) => TcpOption::WindowScale(shift.parse().ok()?),
            ("sackok", []) => TcpOption::SackPermitted,
            ("ts", [value, echo]) => TcpOption::Timestamp(value.parse().ok()?, echo.parse().ok()?),
            ("hex", [digits]) => TcpOption::Hex(hex(digits)?),
            ("sack", blocks) if !blocks.is_empty() => {
                let block = |text: &&str| {
                    let (from, to) = text.split_once(':')?;
                    Some((from.parse().ok()?, to.parse().ok()?))
                };
                TcpOption::Sack(blocks.iter().map(block).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// The option's bytes, when `mss own` is `mss_own`.
    fn to_bytes(&self, mss_own: u16) -> Vec<u8> {
        let mss_bytes = |mss: u16| [&[2, 4], &mss.to_be_bytes()[..]].concat();
        match self {
            TcpOption::EndOfList => vec![0],
            TcpOption::NoOperation => vec![1],
            TcpOption::Mss(mss) => mss_bytes(*mss),
            TcpOption::MssOwn => mss_bytes(mss_own),
            TcpOption::WindowScale(shift) => vec![3, 3, *shift],
            TcpOption::SackPermitted => vec![4, 2],
            TcpOption::Sack(blocks) => {
                let mut bytes = vec![5, u8::try_from(2 + 8 * blocks.len()).expect("a few blocks")];
                for (from, to) in blocks {
                    bytes.extend(from.to_be_bytes());
                    bytes.extend(to.to_be_bytes());
                }
                bytes
            }
            TcpOption::Timestamp(value, echo) => {
                [&[8, 10], &value.to_be_bytes()[..], &echo.to_be_bytes()].concat()
            }
            TcpOption::Hex(bytes) => bytes.clone(),
        }
    }
}

impl fmt::Display for TcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcpOption::EndOfList => f.write_str("eol"),
            TcpOption::NoOperation => f.write_str("nop"),
            TcpOption::Mss(mss) => write!(f, "mss {mss}"),
            TcpOption::MssOwn => f.write_str("mss own"),
            TcpOption::WindowScale(shift) => write!(f, "wscale {shift}"),
            TcpOption::SackPermitted => f.write_str("sackok"),
            TcpOption::Sack(blocks) => {
                f.write_str("sack")?;
                blocks.iter().try_for_each(|(from, to)| write!(f, " {from}:{to}"))
            }
            TcpOption::Timestamp(value, echo) => write!(f, "ts {value} {echo}"),
            TcpOption::Hex(bytes) => {
                f.write_str("hex ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// The bytes of a list of options, padded with zeros to whole words (RFC 9293 MUST-69).
pub(crate) fn to_bytes(options: &[TcpOption], mss_own: u16) -> Vec<u8> {
    let mut bytes: Vec<u8> = options.iter().flat_map(|option| option.to_bytes(mss_own)).collect();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The options in `bytes`, those that only pad left out.
///
/// # Errors
///
/// What is wrong with them: this is what the stack under test sent.
pub(crate) fn parse(mut bytes: &[u8]) -> Result<Vec<TcpOption>, String> {
    let mut options = Vec::new();
    loop {
        let (kind, len) = match bytes {
            [] => return Ok(options),
            // RFC 9293 section 3.1 (MUST-69): the padding is composed of zeros.
            [0, rest @ ..] if rest.iter().all(|&byte| byte == 0) => return Ok(options),
            [0, ..] => return Err("the options are not padded with zeros".to_owned()),
            [1, rest @ ..] => {
                bytes = rest;
                continue;
            }
            [kind, len, ..] => (*kind, usize::from(*len)),
            [_] => return Err("an option without its length".to_owned()),
        };
        if len < 2 || len > bytes.len() {
            return Err(format!("option {kind} claims {len} bytes"));
        }
        let (option, rest) = bytes.split_at(len);
        let whole = |at: usize| u32::from_be_bytes(core::array::from_fn(|i| option[at + i]));
        options.push(match (kind, len) {
            (2, 4) => TcpOption::Mss(u16::from_be_bytes([option[2], option[3]])),
            (3, 3) => TcpOption::WindowScale(option[2]),
            (4, 2) => TcpOption::SackPermitted,
            (5, _) if len > 2 && (len - 2) % 8 == 0 => {
                let blocks = (2..len).step_by(8).map(|at| (whole(at), whole(at + 4)));
                TcpOption::Sack(blocks.collect())
            }
            (8, 10) => TcpOption::Timestamp(whole(2), whole(6)),
            _ => TcpOption::Hex(option.to_vec()),
        });
        bytes = rest;
    }
}

/// The bytes of hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}
