//! The habits of the binary's allocator: for a program that allocates with mimalloc, and built for it alone.

/// `mi_option_purge_delay` of mimalloc's header. The bindings do not name it; a test asks mimalloc whether it is the one.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Tells mimalloc to keep freed memory instead of giving it back to the system after some milliseconds: each step of
/// training takes the same buffers again, and clearing fresh pages for them costs a twentieth of the step. The most that
/// was ever held stays held.
pub fn keep_freed_memory() {
    set(PURGE_DELAY, -1);
}

fn set(option: libmimalloc_sys::mi_option_t, value: std::ffi::c_long) {
    // SAFETY: the call stores a number in a table of the linked allocator, and passes over an option that the table lacks.
    unsafe { libmimalloc_sys::mi_option_set(option, value) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge_delay() -> std::ffi::c_long {
        // SAFETY: the call reads a number from a table of the linked allocator.
        unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
    }

    /// mimalloc reads its options by name from the environment of a new process: the number must give back what the name was set to.
    #[test]
    fn the_number_is_the_option_of_that_name() {
        const NAME: &str = "MIMALLOC_PURGE_DELAY";
        if let Ok(delay) = std::env::var(NAME) {
            assert_eq!(purge_delay().to_string(), delay);
            keep_freed_memory();
            assert_eq!(purge_delay(), -1);
            return;
        }
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::tests::the_number_is_the_option_of_that_name"])
            .env(NAME, "7913")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success() && said.contains("1 passed"), "{said}");
    }
}
