//! What readers hand over: labelled series, or long recordings of which windows are taken.

/// One series as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawSeries {
    /// `[T, C]`, NaN in holes.
    pub(crate) values: Vec<f32>,
    /// Its class, as it is written.
    pub(crate) label: Option<String>,
}

/// Series of a set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawSet {
    /// What was recognised.
    pub(crate) form: &'static str,
    /// What the set is called.
    pub(crate) name: String,
    /// Values of a step.
    pub(crate) channels: usize,
    /// In the order of the file; of the training part where there are two files.
    pub(crate) train: Vec<RawSeries>,
    /// Those of the companion file.
    pub(crate) held_out: Option<Vec<RawSeries>>,
    /// What else to know.
    pub(crate) notes: Vec<String>,
}

/// One long recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawTable {
    /// What was recognised.
    pub(crate) form: &'static str,
    /// Of the columns.
    pub(crate) columns: Vec<String>,
    /// Of each column, `[R]`, NaN in holes.
    pub(crate) values: Vec<Vec<f32>>,
    /// From one step to the next, in words; nothing where there is no time.
    pub(crate) step: Option<String>,
    /// What else to know.
    pub(crate) notes: Vec<String>,
}

/// Either.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    Set(RawSet),
    Table(RawTable),
}

impl RawSeries {
    /// Of channels that may differ in length, the shorter ones with a hole at the end; what no channel knows at the end is cut off.
    pub(crate) fn of_channels(channels: &[Vec<f32>], label: Option<String>) -> Self {
        let known = |channel: &Vec<f32>| channel.iter().rposition(|value| !value.is_nan()).map_or(0, |last| last + 1);
        let steps = channels.iter().map(known).max().unwrap_or(0);
        let value = |step: usize, channel: &Vec<f32>| channel.get(step).copied().unwrap_or(f32::NAN);
        let values = (0..steps).flat_map(|step| channels.iter().map(move |channel| value(step, channel))).collect();
        Self { values, label }
    }
}
