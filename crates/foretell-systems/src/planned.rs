//! Rows of the members that do not train yet.

use crate::row::{Row, State};

pub(crate) static POINT_JEPA: Row = Row {
    number: 7,
    name: "point-jepa",
    title: "Point-JEPA",
    one_line: "point patches put in sequence, contiguous targets",
    papers: &["arXiv:2404.16432"],
    state: State::Planned,
};
pub(crate) static THREE_D_JEPA: Row = Row {
    number: 8,
    name: "3d-jepa",
    title: "3D-JEPA",
    one_line: "3-D blocks, context-aware decoder",
    papers: &["arXiv:2409.15803"],
    state: State::Planned,
};
pub(crate) static LLM_JEPA: Row = Row {
    number: 11,
    name: "llm-jepa",
    title: "LLM-JEPA",
    one_line: "next-token loss plus prediction of the code's embedding from the text's",
    papers: &["arXiv:2509.14252"],
    state: State::Planned,
};
pub(crate) static VL_JEPA: Row = Row {
    number: 13,
    name: "vl-jepa",
    title: "VL-JEPA",
    one_line: "text embeddings predicted from images and a query; selective decoding",
    papers: &["arXiv:2512.10942"],
    state: State::Planned,
};
pub(crate) static THINK_JEPA: Row = Row {
    number: 18,
    name: "think-jepa",
    title: "ThinkJEPA",
    one_line: "a slow reasoning stream modulates the fast latent forecaster",
    papers: &["arXiv:2603.22281"],
    state: State::Planned,
};
pub(crate) static JEP_KD: Row = Row {
    number: 22,
    name: "jep-kd",
    title: "JEP-KD",
    one_line: "video → audio embeddings of a frozen teacher",
    papers: &["arXiv:2403.18843"],
    state: State::Planned,
};
pub(crate) static JUDGEMENT: Row = Row {
    number: 29,
    name: "judgement",
    title: "LiDAR, RankMe",
    one_line: "label-free judgement of a representation",
    papers: &["arXiv:2312.04000", "arXiv:2210.02885"],
    state: State::Partial("on every run, and over kept networks by `foretell judge`"),
};
pub(crate) static AGENT: Row = Row {
    number: 30,
    name: "agent",
    title: "The objective-driven agent",
    one_line: "configurator, perception, world model, cost, actor, memory",
    papers: &["OpenReview:BZ5a1r-kVsf"],
    state: State::Partial("learns, plans and acts by `foretell agent`; not measured in full"),
};
pub(crate) static MISSING_WORD: Row = Row {
    number: 31,
    name: "missing-word",
    title: "Missing-word JEPA",
    one_line: "the teaching example: predict a hidden word's meaning",
    papers: &[],
    state: State::Planned,
};
