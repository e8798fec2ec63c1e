//! The allocator's habits.

/// mimalloc's `mi_option_purge_delay`, in both versions of its header; the bindings do not name it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Tells mimalloc, where it is the program's allocator, to keep what is freed instead of giving it back to the system
/// after some milliseconds: each step of training takes the same buffers again, and clearing fresh pages for them costs
/// a twentieth of the step. The most that was ever held stays held.
pub fn keep_freed_memory() {
    // SAFETY: the call stores a number in an option of the linked allocator; the option exists, and −1 is a documented
    // value of it.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
