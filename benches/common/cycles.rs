//! Time in cycles of the processor's time-stamp counter.
//!
//! The counter runs at one rate whatever the clock of the core does, so cycles here are a unit of
//! time: what the counter of this machine counts in 357 ps is a cycle everywhere in these figures.

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use tenmil::shard::clock::Clock;
use tenmil::time::{Duration, Instant};

/// What the counter reads: on x86-64 the TSC, elsewhere nanoseconds.
#[cfg(target_arch = "x86_64")]
pub(crate) fn read(_: &Clock) -> u64 {
    #[expect(unsafe_code, reason = "the counter has no other door")]
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

/// What the counter reads: on x86-64 the TSC, elsewhere nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn read(clock: &Clock) -> u64 {
    clock.now().nanos()
}

/// The counter, compared with the clock.
#[derive(Clone, Copy)]
pub(crate) struct Cycles {
    clock: Clock,
    per_second: f64,
}

impl Cycles {
    /// Counts the cycles of a tenth of a second.
    pub(crate) fn calibrated() -> Cycles {
        const SPAN: Duration = Duration::from_millis(100);
        let clock = Clock::start();
        let (began, first) = (clock.now(), read(&clock));
        loop {
            let (now, last) = (clock.now(), read(&clock));
            let span = now.since(began);
            if span >= SPAN {
                return Cycles { clock, per_second: (last - first) as f64 / span.as_secs_f64() };
            }
        }
    }

    /// What the counter reads now.
    pub(crate) fn now(&self) -> u64 {
        read(&self.clock)
    }

    /// Nanoseconds that `cycles` take.
    pub(crate) fn nanos(&self, cycles: f64) -> f64 {
        cycles * 1e9 / self.per_second
    }

    /// The time on the clock that was started with the calibration.
    pub(crate) fn instant(&self) -> Instant {
        self.clock.now()
    }

    /// `cycles` with the time that they take.
    pub(crate) fn describe(&self, cycles: f64) -> String {
        let nanos = self.nanos(cycles);
        let (time, unit) = match nanos {
            ..1e4 => (nanos, "ns"),
            ..1e7 => (nanos / 1e3, "us"),
            _ => (nanos / 1e6, "ms"),
        };
        format!("{cycles:.1} cycles = {time:.1} {unit}")
    }
}

impl Measurement for Cycles {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        self.now()
    }

    fn end(&self, start: u64) -> u64 {
        self.now() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, cycles: &u64) -> f64 {
        *cycles as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Cycles {
    fn format_value(&self, cycles: f64) -> String {
        self.describe(cycles)
    }

    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "cycles"
    }

    fn scale_throughputs(
        &self,
        _: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        let (count, unit) = match *throughput {
            Throughput::Bytes(n) | Throughput::BytesDecimal(n) => (n, "MB/s"),
            _ => (1, "M/s"),
        };
        for value in values {
            *value = count as f64 * self.per_second / *value / 1e6;
        }
        unit
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "cycles"
    }
}
