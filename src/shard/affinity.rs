//! Which processor a thread runs on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// Keeps the calling thread on processor `cpu`, counted from 0.
///
/// # Errors
///
/// `InvalidInput` if there is no such processor, or if this process may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}

/// The processors that the calling thread may run on, in ascending order.
///
/// # Errors
///
/// The kernel's, if there are more processors than [`CpuSet::MAX_CPU`].
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::sched_getcpu;

    #[test]
    fn a_pinned_thread_runs_there() {
        for cpu in allowed().expect("its own") {
            let pinned = std::thread::spawn(move || {
                pin(cpu).expect("it is allowed");
                (sched_getcpu(), allowed().expect("its own"))
            });
            assert_eq!(pinned.join().expect("no panic"), (cpu, vec![cpu]));
        }
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused() {
        for cpu in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU, usize::MAX] {
            assert_eq!(pin(cpu).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
    }
}
