//! Asking for a cache line before it is needed.
#![allow(unsafe_code, reason = "a prefetch is an instruction")]

/// Asks for the cache line that `value` starts in.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    prefetch_address(core::ptr::from_ref(value).addr());
}

/// Asks for the cache line with this address, whether there is memory or not.
///
/// On processors other than x86-64 and AArch64 this does nothing.
#[inline(always)]
pub fn prefetch_address(address: usize) {
    // SAFETY: SSE is part of x86-64. A prefetch is a hint, which reads nothing that the program sees, and
    // does not fault, whatever the address (Intel SDM volume 2, PREFETCHh).
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::without_provenance(address));
    }
    // SAFETY: as above (Arm ARM, PRFM); no memory, flag or stack changes.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
