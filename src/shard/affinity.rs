//! Which processor a thread runs on.

use rustix::thread::{CpuSet, sched_setaffinity};
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{sched_getaffinity, sched_getcpu};

    #[test]
    fn a_pinned_thread_runs_there() {
        let allowed = sched_getaffinity(None).expect("its own");
        let cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        for cpu in cpus {
            let at = std::thread::spawn(move || {
                pin(cpu).expect("it is allowed");
                sched_getcpu()
            });
            assert_eq!(at.join().expect("no panic"), cpu);
        }
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused() {
        for cpu in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU, usize::MAX] {
            assert_eq!(pin(cpu).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
    }
}
