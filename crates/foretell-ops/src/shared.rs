//! Memory that several threads write.

/// The beginning of an output of which each task writes places of its own, and reads none of the others'.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);

// SAFETY: who makes one vouches for disjoint places, and for a borrow that outlives the tasks (see its users).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}
