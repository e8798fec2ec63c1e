//! A stretch of an episode: what was seen, and what was done between.

/// `T` observations and the `T − 1` actions between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// T.
    pub frames: usize,
    /// `[T, C, H, W]` row-major, as the world shows them: not yet normalised.
    pub observations: Vec<f32>,
    /// `[T − 1, A]`: the action after each observation but the last.
    pub actions: Vec<f32>,
    /// `[T, S]`: the true states, for probes alone; empty where nobody knows them.
    pub states: Vec<f32>,
}
