//! The registry of the family: one row for each system, and how far it has come.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One member of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
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

    fn note(self) -> Option<&'static str> {
        match self {
            Self::Partial(note) => Some(note),
            Self::Trains | Self::Planned => None,
        }
    }
}

/// The family, in the order of its table.
pub const SYSTEMS: [System; 31] = [
    System {
        number: 1,
        name: "h-jepa",
        title: "JEPA / H-JEPA",
        one_line: "the frame itself: energies, latent z, several levels of abstraction and time",
        papers: &["OpenReview:BZ5a1r-kVsf", "arXiv:2604.03208"],
        state: State::Planned,
    },
    System {
        number: 2,
        name: "i-jepa",
        title: "I-JEPA",
        one_line: "image blocks predicted from one context block",
        papers: &["arXiv:2301.08243"],
        state: State::Trains,
    },
    System {
        number: 3,
        name: "mc-jepa",
        title: "MC-JEPA",
        one_line: "optical flow and content learned together in one encoder",
        papers: &["arXiv:2307.12698"],
        state: State::Planned,
    },
    System {
        number: 4,
        name: "iwm",
        title: "IWM",
        one_line: "the predictor is told which photometric transformation to apply",
        papers: &["arXiv:2403.00504"],
        state: State::Planned,
    },
    System {
        number: 5,
        name: "v-jepa",
        title: "V-JEPA",
        one_line: "masked tubes of video, L1, attentive probe",
        papers: &["arXiv:2404.08471"],
        state: State::Planned,
    },
    System {
        number: 6,
        name: "audio-jepa",
        title: "A-JEPA, Audio-JEPA, general-audio design study",
        one_line: "log-mel patches; random, block and curriculum time–frequency masks",
        papers: &["arXiv:2311.15830", "arXiv:2507.02915", "arXiv:2405.08679"],
        state: State::Planned,
    },
    System {
        number: 7,
        name: "point-jepa",
        title: "Point-JEPA",
        one_line: "point patches put in sequence, contiguous targets",
        papers: &["arXiv:2404.16432"],
        state: State::Planned,
    },
    System {
        number: 8,
        name: "3d-jepa",
        title: "3D-JEPA",
        one_line: "3-D blocks, context-aware decoder",
        papers: &["arXiv:2409.15803"],
        state: State::Planned,
    },
    System {
        number: 9,
        name: "act-jepa",
        title: "ACT-JEPA",
        one_line: "action chunks and latent observations predicted together",
        papers: &["arXiv:2501.14622"],
        state: State::Planned,
    },
    System {
        number: 10,
        name: "v-jepa-2",
        title: "V-JEPA 2 and 2-AC",
        one_line: "RoPE, schedule with cool-down; action-conditioned predictor that plans",
        papers: &["arXiv:2506.09985"],
        state: State::Planned,
    },
    System {
        number: 11,
        name: "llm-jepa",
        title: "LLM-JEPA",
        one_line: "next-token loss plus prediction of the code's embedding from the text's",
        papers: &["arXiv:2509.14252"],
        state: State::Planned,
    },
    System {
        number: 12,
        name: "le-jepa",
        title: "LeJEPA",
        one_line: "SIGReg instead of every heuristic",
        papers: &["arXiv:2511.08544"],
        state: State::Trains,
    },
    System {
        number: 13,
        name: "vl-jepa",
        title: "VL-JEPA",
        one_line: "text embeddings predicted from images and a query; selective decoding",
        papers: &["arXiv:2512.10942"],
        state: State::Planned,
    },
    System {
        number: 14,
        name: "eb-jepa",
        title: "EB-JEPA",
        one_line: "image, video and action-conditioned energy-based examples",
        papers: &["arXiv:2602.03604"],
        state: State::Partial("action-conditioned; trains and plans"),
    },
    System {
        number: 15,
        name: "c-jepa",
        title: "C-JEPA",
        one_line: "masking of whole objects (slots) for causal dynamics",
        papers: &["arXiv:2602.11389"],
        state: State::Planned,
    },
    System {
        number: 16,
        name: "v-jepa-2.1",
        title: "V-JEPA 2.1",
        one_line: "every token supervised, at several depths",
        papers: &["arXiv:2603.14482"],
        state: State::Planned,
    },
    System {
        number: 17,
        name: "le-wm",
        title: "LeWorldModel",
        one_line: "one vector a frame, two loss terms, plans fast",
        papers: &["arXiv:2603.19312"],
        state: State::Partial("trains and predicts; its plans fail in Two Rooms so far"),
    },
    System {
        number: 18,
        name: "think-jepa",
        title: "ThinkJEPA",
        one_line: "a slow reasoning stream modulates the fast latent forecaster",
        papers: &["arXiv:2603.22281"],
        state: State::Planned,
    },
    System {
        number: 19,
        name: "nepa",
        title: "NEPA",
        one_line: "causal next-embedding prediction",
        papers: &["arXiv:2512.16922"],
        state: State::Planned,
    },
    System {
        number: 20,
        name: "s-jea",
        title: "S-JEA",
        one_line: "stacked joint embeddings",
        papers: &["arXiv:2305.11701"],
        state: State::Planned,
    },
    System {
        number: 21,
        name: "dmt-jepa",
        title: "DMT-JEPA",
        one_line: "targets aggregated from similar neighbours",
        papers: &["arXiv:2405.17995"],
        state: State::Planned,
    },
    System {
        number: 22,
        name: "jep-kd",
        title: "JEP-KD",
        one_line: "video → audio embeddings of a frozen teacher",
        papers: &["arXiv:2403.18843"],
        state: State::Planned,
    },
    System {
        number: 23,
        name: "signal-jepa",
        title: "Signal-JEPA",
        one_line: "EEG channels hidden by region",
        papers: &["arXiv:2403.11772"],
        state: State::Planned,
    },
    System {
        number: 24,
        name: "graph-jepa",
        title: "Graph-JEPA",
        one_line: "subgraphs, hyperbolic target coordinates",
        papers: &["arXiv:2309.16014"],
        state: State::Planned,
    },
    System {
        number: 25,
        name: "st-jema",
        title: "ST-JEMA",
        one_line: "dynamic brain graphs, space and time",
        papers: &["arXiv:2403.06432"],
        state: State::Planned,
    },
    System {
        number: 26,
        name: "lat-pfn",
        title: "LaT-PFN",
        one_line: "forecasting in latent space from context series",
        papers: &["arXiv:2405.10093"],
        state: State::Planned,
    },
    System {
        number: 27,
        name: "ts-jepa",
        title: "TS-JEPA",
        one_line: "sensor streams for remote control; masked series",
        papers: &["arXiv:2406.04853", "arXiv:2509.25449"],
        state: State::Planned,
    },
    System {
        number: 28,
        name: "sar-jepa",
        title: "SAR-JEPA",
        one_line: "gradient features as fixed targets for radar images",
        papers: &["arXiv:2311.15153"],
        state: State::Planned,
    },
    System {
        number: 29,
        name: "judgement",
        title: "LiDAR, RankMe",
        one_line: "label-free judgement of a representation",
        papers: &["arXiv:2312.04000", "arXiv:2210.02885"],
        state: State::Partial("RankMe and effective rank on every run; LiDAR in the library"),
    },
    System {
        number: 30,
        name: "agent",
        title: "The objective-driven agent",
        one_line: "configurator, perception, world model, cost, actor, memory",
        papers: &["OpenReview:BZ5a1r-kVsf"],
        state: State::Planned,
    },
    System {
        number: 31,
        name: "missing-word",
        title: "Missing-word JEPA",
        one_line: "the teaching example: predict a hidden word's meaning",
        papers: &[],
        state: State::Planned,
    },
];

/// What `foretell systems` prints: aligned text, or a JSON array with one object for each row.
pub fn table(json: bool) -> String {
    if json { as_json() } else { as_text() }
}

/// Rows as the README's table, with a header.
pub fn markdown(rows: &[System]) -> String {
    let mut text = "| # | system | state | what it does |\n|---|---|---|---|\n".to_owned();
    for System { number, title, state, one_line, .. } in rows {
        let note = state.note().map_or(String::new(), |note| format!(": {note}"));
        line(&mut text, format_args!("| {number} | {title} | {}{note} | {one_line} |", state.word()));
    }
    text
}

fn as_json() -> String {
    let rows: Vec<Value> = SYSTEMS
        .iter()
        .map(|system| {
            json!({
                "number": system.number,
                "name": system.name,
                "title": system.title,
                "one_line": system.one_line,
                "papers": system.papers,
                "state": system.state.word(),
                "note": system.state.note(),
            })
        })
        .collect();
    format!("{:#}\n", Value::Array(rows))
}

fn as_text() -> String {
    let name_width = SYSTEMS.iter().map(|system| system.name.len()).max().unwrap_or(0);
    let indent = 2 + 2 + name_width + 2 + 7 + 2;
    let mut text = format!(" #  {:name_width$}  {:7}  what it does\n", "system", "state");
    for System { number, name, state, one_line, .. } in &SYSTEMS {
        line(&mut text, format_args!("{number:2}  {name:name_width$}  {:7}  {one_line}", state.word()));
        if let Some(note) = state.note() {
            line(&mut text, format_args!("{:indent$}({note})", ""));
        }
    }
    let count = |word| SYSTEMS.iter().filter(|system| system.state.word() == word).count();
    let (trains, partial, planned) = (count("trains"), count("partial"), count("planned"));
    line(&mut text, format_args!("\n{trains} train, {partial} partial, {planned} planned."));
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_numbered_in_order_and_named_once() {
        assert!(SYSTEMS.iter().map(|system| usize::from(system.number)).eq(1..=SYSTEMS.len()));
        let names: BTreeSet<_> = SYSTEMS.iter().map(|system| system.name).collect();
        assert_eq!(names.len(), SYSTEMS.len());
        let typable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        assert!(names.iter().all(|name| name.chars().all(typable)));
    }

    #[test]
    fn papers_say_where_they_are() {
        for paper in SYSTEMS.iter().flat_map(|system| system.papers) {
            let (place, id) = paper.split_once(':').unwrap();
            match place {
                "arXiv" => assert!(id.len() == 10 && id.as_bytes()[4] == b'.', "{paper}"),
                other => assert_eq!(other, "OpenReview"),
            }
        }
    }

    #[test]
    fn the_text_is_aligned_and_fits_a_terminal() {
        let text = table(false);
        let lines: Vec<_> = text.lines().collect();
        let column = lines[0].find("what it does").unwrap();
        assert!(lines.iter().all(|line| line.chars().count() <= 120));
        for system in &SYSTEMS {
            let start = format!("{:2}  {} ", system.number, system.name);
            let line = lines.iter().find(|line| line.starts_with(&start)).unwrap();
            assert_eq!(&line[column..], system.one_line);
        }
        let counts = lines.last().unwrap().split(' ').filter_map(|word| word.parse::<usize>().ok());
        assert_eq!(counts.sum::<usize>(), SYSTEMS.len());
    }

    #[test]
    fn the_readme_holds_the_table() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        let start = readme.find("| # | system |").expect("a table of the family");
        let (table, _) = readme[start..].split_once("\n\n").unwrap();
        for (found, expected) in table.lines().zip(markdown(&SYSTEMS).lines()) {
            assert_eq!(found, expected, "replace README's table by what `foretell systems --markdown` prints");
        }
        assert_eq!(table.lines().count(), SYSTEMS.len() + 2);
    }

    #[test]
    fn the_json_holds_every_row() {
        let rows: Vec<Value> = serde_json::from_str(&table(true)).unwrap();
        assert_eq!(rows.len(), SYSTEMS.len());
        assert_eq!(rows[1]["name"], "i-jepa");
        assert_eq!(rows[1]["papers"][0], "arXiv:2301.08243");
        assert_eq!(rows[1]["state"], "trains");
        assert_eq!(rows[1]["note"], Value::Null);
        assert_eq!(rows[28]["state"], "partial");
        assert!(rows[28]["note"].as_str().unwrap().contains("LiDAR"));
    }
}
