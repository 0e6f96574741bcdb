//! An interface taken into use: the XDP program, and a link for each of its queues.

use super::interface::{Interface, InterfaceError};
use super::program::{AttachError, AttachedMode, SteerError, SteerProgram, XdpMode};
use super::{AfXdpLink, OpenError, Options, ZeroCopy};
use std::net::{IpAddr, SocketAddr};

/// What to take from an interface.
#[derive(Clone, Debug)]
pub struct Request {
    /// The name of the interface.
    pub interface: String,
    /// How many of its queues, from 0 on; all of them unless given.
    pub queues: Option<u32>,
    /// How to attach the program.
    pub mode: XdpMode,
    /// Prefixes whose ARP, NDP, ICMP and TCP are taken: address and length in bits.
    pub owned: Vec<(IpAddr, u8)>,
    /// Endpoints whose TCP is taken; those in an owned prefix need not be listed.
    pub listeners: Vec<SocketAddr>,
}

/// The program, attached until this is dropped.
#[derive(Debug)]
pub struct Attachment {
    program: SteerProgram,
    interface: Interface,
    zero_copy: bool,
    queues: u32,
}

/// Why an interface could not be taken into use. Nothing stays attached or bound.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The interface has no such facts.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The interface is set down, so nothing would ever arrive.
    #[error("interface {0} is down; set it up: ip link set dev {0} up")]
    Down(String),
    /// More queues are asked for than the interface has.
    #[error("--queues {asked}: {interface} has {present} receive queue(s)")]
    Queues {
        /// The interface.
        interface: String,
        /// How many were asked for.
        asked: u32,
        /// How many there are.
        present: u32,
    },
    /// A socket could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The program could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The program's maps could not be filled.
    #[error(transparent)]
    Steer(#[from] SteerError),
}

/// Takes an interface into use: loads the program, opens a socket on each queue, fills the maps, and
/// attaches the program last, so that no frame is taken before it can be received.
///
/// # Errors
///
/// [`SetupError`]; nothing stays behind.
pub fn attach(request: &Request) -> Result<(Attachment, Vec<AfXdpLink>), SetupError> {
    let interface = Interface::by_name(&request.interface)?;
    if !interface.up {
        return Err(SetupError::Down(interface.name));
    }
    let present = interface.rx_queues;
    let queues = request.queues.unwrap_or(present);
    if queues == 0 || queues > present {
        return Err(SetupError::Queues { interface: interface.name, asked: queues, present });
    }
    let mut program = SteerProgram::load(&request.interface)?;
    for &(address, prefix_len) in &request.owned {
        program.own(address, prefix_len)?;
    }
    for listener in &request.listeners {
        program.listen(listener.ip(), listener.port())?;
    }
    let mut links = Vec::new();
    for queue in 0..queues {
        let mut options = Options::new(&request.interface, queue);
        if request.mode == XdpMode::Skb {
            options.zero_copy = ZeroCopy::Off;
        }
        let link = AfXdpLink::open(&options)?;
        program.set_socket(queue, &link)?;
        links.push(link);
    }
    program.attach(request.mode)?;
    let zero_copy = links.iter().all(AfXdpLink::zero_copy);
    Ok((Attachment { program, interface, zero_copy, queues }, links))
}

impl Attachment {
    /// The interface.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The program.
    pub fn program(&self) -> &SteerProgram {
        &self.program
    }

    /// How the program is attached.
    pub fn mode(&self) -> AttachedMode {
        self.program.mode().unwrap_or(AttachedMode::Skb)
    }

    /// Whether frames reach this process without being copied.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// How many queues are taken, from 0 on.
    pub fn queues(&self) -> u32 {
        self.queues
    }
}
