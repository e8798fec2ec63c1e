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
    /// Some places of its layout, if that was explored.
    pub places: Places,
    /// Of its actions, and of the observations behind them, how many at the end lie beyond the episode's: they are filled with zeros and
    /// count for nothing. 0 in windows that are cut to lie within their episode.
    pub padded: usize,
    /// `[C, H, W]`: what is asked for in its episode, as the world shows it; empty where nobody asks.
    pub goal: Vec<f32>,
}

/// Places of one layout and how many steps lie between them, as the episodes there showed it. None where nobody has explored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// K.
    pub count: usize,
    /// `[K, C, H, W]` row-major, as the world shows them: not yet normalised.
    pub observations: Vec<f32>,
    /// `[K, K]`: from the row's place to the column's; infinite where no way was seen.
    pub steps: Vec<f32>,
}
