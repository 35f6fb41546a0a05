//! What the C library's allocator does with the buffers of bulk transfers.

/// Size of the block whose release raises the thresholds, in bytes.
const BLOCK: usize = 16 * 1024 * 1024;

/// Makes glibc's allocator keep up to 32 MiB of freed memory instead of giving it back at once.
///
/// A bulk transfer allocates and frees buffers of 64 KiB to 1 MiB by the thousand, and sixteen at once hold more than
/// 8 MiB. glibc returns free memory at the top of its heap to the kernel beyond 128 KiB, so that the same pages are faulted
/// in again for each frame: about ten faults for 64 KiB, a quarter of the receiver's CPU time. Its thresholds follow the
/// largest block that was mapped and freed, which this does once (mallopt(3), `M_TRIM_THRESHOLD`). Other allocators do not
/// mind. Programs call it first thing in `main`.
pub fn keep_buffers() {
    drop(std::hint::black_box(vec![0_u8; BLOCK]));
}
