//! A system's ablation table: what it declares that should be taken away from it, or put in its place, and compared.

/// One row: a run of some system with settings that differ from those of the table's first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ablation {
    /// Its name, also that of its folder: lower-case words and hyphens, once in the table.
    pub name: &'static str,
    /// The system that is trained: the one that declares the row, or a baseline over the same kind of data.
    pub system: &'static str,
    /// What is set on top of what was asked, `key=value`.
    pub settings: Vec<String>,
    /// What it shows, in a few words.
    pub about: &'static str,
}

impl Ablation {
    /// A row.
    pub fn new(name: &'static str, system: &'static str, settings: &[&str], about: &'static str) -> Self {
        Self { name, system, settings: settings.iter().map(|setting| (*setting).to_owned()).collect(), about }
    }

    /// The same with these settings too.
    #[must_use]
    pub fn with(mut self, settings: &[String]) -> Self {
        self.settings.extend_from_slice(settings);
        self
    }
}
