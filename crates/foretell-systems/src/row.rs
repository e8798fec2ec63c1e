//! A member of the family as the table of systems shows it.

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row's number in the family table, from 1.
    pub number: u8,
    /// What is typed after `foretell train`, or the name that it will have there.
    pub name: &'static str,
    /// The name as its authors write it.
    pub title: &'static str,
    /// What it does, in one line.
    pub one_line: &'static str,
    /// Where it was published: `arXiv:…` or `OpenReview:…`, the founding paper first; empty for teaching examples.
    pub papers: &'static [&'static str],
    /// How far it has come here.
    pub state: State,
}

/// How far a system has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Trains from one command and is judged beside its controls; what was measured stands in `docs/results`.
    Trains,
    /// Some of it works: what, in words.
    Partial(&'static str),
    /// Not begun.
    Planned,
}

impl State {
    /// The state in one word, as the table and its JSON print it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trains => "trains",
            Self::Partial(_) => "partial",
            Self::Planned => "planned",
        }
    }

    /// What works, where some of it does.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::Partial(note) => Some(note),
            Self::Trains | Self::Planned => None,
        }
    }
}
