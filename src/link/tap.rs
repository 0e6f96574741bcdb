//! A tap: writes every frame of a link to a capture file, for tshark and tcpdump to read.
//!
//! Frames that XDP redirects, and frames that an AF_XDP socket sends, pass below the kernel's own
//! taps: tcpdump does not see them. This does. A link that is captured allocates and copies.

use super::{Census, Link, LinkError, LinkStats, Waker};
use crate::frame::{Frame, FramePool};
use crate::time::Duration;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A capture file in the classic pcap format with nanoseconds (draft-ietf-opsawg-pcap), shared by
/// the links that write to it.
#[derive(Clone)]
pub struct Capture {
    file: Arc<Mutex<dyn Write + Send>>,
    /// The time since 1970.
    now: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// Frames are written whole.
const SNAP_LEN: u32 = u16::MAX as u32;

impl Capture {
    /// Starts a capture in `file`, which should be buffered; `now` gives the time since 1970.
    ///
    /// # Errors
    ///
    /// What the file says to its header.
    pub fn new(
        mut file: impl Write + Send + 'static,
        now: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> io::Result<Capture> {
        let (major, minor): (u16, u16) = (2, 4);
        file.write_all(&0xa1b2_3c4d_u32.to_le_bytes())?;
        file.write_all(&major.to_le_bytes())?;
        file.write_all(&minor.to_le_bytes())?;
        file.write_all(&[0; 8])?;
        file.write_all(&SNAP_LEN.to_le_bytes())?;
        file.write_all(&ETHERNET.to_le_bytes())?;
        Ok(Capture { file: Arc::new(Mutex::new(file)), now: Arc::new(now) })
    }

    fn write<'a>(&self, frames: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let now = (self.now)();
        // Seconds are 32 bits in the format, and go on until 2106.
        let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for frame in frames {
            let len = u32::try_from(frame.len()).unwrap_or(SNAP_LEN);
            for field in [seconds, now.subsec_nanos(), len, len] {
                file.write_all(&field.to_le_bytes())?;
            }
            file.write_all(frame)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// A link whose frames are captured, if there is a capture.
pub struct Tapped<L> {
    link: L,
    capture: Option<Capture>,
}

impl<L> Tapped<L> {
    /// Captures what `link` receives and sends.
    pub fn new(link: L, capture: Option<Capture>) -> Tapped<L> {
        Tapped { link, capture }
    }
}

impl<L: FramePool> FramePool for Tapped<L> {
    fn take(&mut self) -> Option<Frame> {
        self.link.take()
    }

    fn give(&mut self, frame: Frame) {
        self.link.give(frame);
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.link.bytes(frame)
    }

    fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.link.room(frame)
    }
}

impl<L: Link> Link for Tapped<L> {
    fn receive(&mut self, batch: &mut Vec<Frame>, max: usize) -> Result<usize, LinkError> {
        let received = self.link.receive(batch, max)?;
        if let Some(capture) = &self.capture {
            let newest = &batch[batch.len() - received..];
            capture.write(newest.iter().map(|frame| self.link.bytes(frame)))?;
        }
        Ok(received)
    }

    fn transmit(&mut self, batch: &mut Vec<Frame>) -> Result<(), LinkError> {
        let Some(capture) = &self.capture else { return self.link.transmit(batch) };
        // Only what the ring takes is sent, and that is known only afterwards.
        let copies: Vec<Box<[u8]>> =
            batch.iter().map(|frame| self.link.bytes(frame).into()).collect();
        self.link.transmit(batch)?;
        let sent = copies.len() - batch.len();
        capture.write(copies[..sent].iter().map(|copy| &copy[..]))?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.link.flush()
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), LinkError> {
        self.link.wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.link.waker()
    }

    fn stats(&self) -> LinkStats {
        self.link.stats()
    }

    fn census(&self) -> Census {
        self.link.census()
    }
}

impl<L> Drop for Tapped<L> {
    fn drop(&mut self) {
        if let Some(capture) = &self.capture {
            // The last frames of a file that cannot be written are lost, as others were before.
            let _ = capture.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::memory;

    #[test]
    fn what_is_sent_and_received_is_in_the_file_and_what_waits_is_not() {
        let file = Arc::new(Mutex::new(Vec::new()));
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let now = || Duration::new(1_700_000_000, 42);
        let capture = Capture::new(Shared(file.clone()), now).unwrap();
        let (a, mut b) = memory::pair(16, 2048, 2);
        let mut a = Tapped::new(a, Some(capture));
        let mut batch = Vec::new();
        for byte in 1..=3 {
            let mut frame = a.take().unwrap();
            a.room(&mut frame)[..60].fill(byte);
            frame.set_len(60);
            batch.push(frame);
        }
        a.transmit(&mut batch).unwrap();
        a.flush().unwrap();
        assert_eq!(batch.len(), 1, "the ring has two places");
        a.give(batch.pop().unwrap());
        let mut received = Vec::new();
        b.receive(&mut received, 8).unwrap();
        b.transmit(&mut received).unwrap();
        b.flush().unwrap();
        a.receive(&mut batch, 8).unwrap();
        batch.drain(..).for_each(|frame| a.give(frame));
        assert_eq!(a.census().engine, 0);

        let file = file.lock().unwrap();
        assert_eq!(file[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
        let records: Vec<_> = file[24..].chunks(16 + 60).collect();
        let bytes: Vec<_> = records.iter().map(|record| record[16]).collect();
        assert_eq!(bytes, [1, 2, 1, 2]);
        assert_eq!(records[0][..4], 1_700_000_000_u32.to_le_bytes());
        assert_eq!(records[0][4..16], [42, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]);
    }
}
