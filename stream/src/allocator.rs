//! The C library's allocator under a fetching client.

/// Memory a heap keeps for the next fetch instead of giving it back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 128 << 20;

/// Allocations below this come from a heap, not from a mapping of their own: the largest value glibc takes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM_BYTES: libc::c_int = 32 << 20;

/// Lets the process keep memory it has freed, up to a bound a heap. A client that drains a backlog
/// frees and allocates buffers of megabytes many times a second; by default each comes from the
/// system anew, and clearing its pages was a tenth of all CPU time of ingest. For `main`, before
/// threads exist; nothing happens where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers and is meant to be called before the process has threads.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}
