//! The family, in the order of its table. A system adds one line here, and its file.

use std::path::Path;

use foretell_data::DataError;

use crate::member::{Member, Of};
use crate::planned;
use crate::recipe::unknown;
use crate::row::Row;
use crate::system::System;
use crate::{
    a_jepa, act_jepa, audio_jepa, c_jepa, dmt_jepa, eb_jepa, eb_jepa_video, graph_jepa, h_jepa, i_jepa, iwm, lat_pfn,
    le_jepa, le_nepa, le_v_jepa, le_wm, mc_jepa, nepa, s_jea, sar_jepa, signal_jepa, st_jema, supervised, ts_jepa,
    v_jepa, v_jepa_2, v_jepa_2_1, v_jepa_2_ac,
};

/// A member: its row, and how it is trained where it is.
pub enum Entry {
    /// It trains.
    Trains(&'static dyn Member),
    /// It does not yet.
    Planned(&'static Row),
}

const fn planned(row: &'static Row) -> Entry {
    Entry::Planned(row)
}

const fn member<S: System>() -> Entry {
    Entry::Trains(&const { Of::<S>::new() })
}

/// The family: the 31 that it began with, and what came later.
pub static FAMILY: [Entry; 36] = [
    member::<h_jepa::HJepaConfig>(),
    member::<i_jepa::IJepaConfig>(),
    member::<mc_jepa::McJepaConfig>(),
    member::<iwm::IwmConfig>(),
    member::<v_jepa::VJepaConfig>(),
    member::<audio_jepa::AudioJepaConfig>(),
    member::<a_jepa::AJepaConfig>(),
    planned(&planned::POINT_JEPA),
    planned(&planned::THREE_D_JEPA),
    member::<act_jepa::ActJepaConfig>(),
    member::<v_jepa_2::VJepa2Config>(),
    member::<v_jepa_2_ac::VJepa2AcConfig>(),
    planned(&planned::LLM_JEPA),
    member::<le_jepa::LeJepaConfig>(),
    planned(&planned::VL_JEPA),
    member::<eb_jepa::EbJepaConfig>(),
    member::<eb_jepa_video::EbJepaVideoConfig>(),
    member::<c_jepa::CJepaConfig>(),
    member::<v_jepa_2_1::VJepa21Config>(),
    member::<le_wm::LeWmConfig>(),
    planned(&planned::THINK_JEPA),
    member::<nepa::NepaConfig>(),
    member::<s_jea::SJeaConfig>(),
    member::<dmt_jepa::DmtJepaConfig>(),
    planned(&planned::JEP_KD),
    member::<signal_jepa::SignalJepaConfig>(),
    member::<graph_jepa::GraphJepaConfig>(),
    member::<st_jema::StJemaConfig>(),
    member::<lat_pfn::LatPfnSettings>(),
    member::<ts_jepa::TsJepaConfig>(),
    member::<sar_jepa::SarJepaConfig>(),
    planned(&planned::JUDGEMENT),
    planned(&planned::AGENT),
    planned(&planned::MISSING_WORD),
    member::<le_v_jepa::LeVJepaConfig>(),
    member::<le_nepa::LeNepaConfig>(),
];

/// What is no member and trains beside them as a control, by its name.
static CONTROLS: [Entry; 1] = [member::<supervised::SupervisedConfig>()];

impl Entry {
    /// Its row.
    pub fn row(&self) -> &'static Row {
        match self {
            Self::Trains(member) => member.row(),
            Self::Planned(row) => row,
        }
    }
}

/// Members that can be trained.
pub fn members() -> impl Iterator<Item = &'static dyn Member> {
    FAMILY.iter().filter_map(|entry| if let Entry::Trains(member) = entry { Some(*member) } else { None })
}

/// The member of this name, or the control; an error in a sentence if there is none, or it does not train yet.
pub fn find(name: &str) -> Result<&'static dyn Member, String> {
    let trained = |entry: &'static Entry| if let Entry::Trains(member) = entry { Some(*member) } else { None };
    if let Some(member) = members().chain(CONTROLS.iter().filter_map(trained)).find(|member| member.row().name == name)
    {
        return Ok(member);
    }
    let names = || members().map(|member| member.row().name);
    if FAMILY.iter().any(|entry| entry.row().name == name) {
        let able = names().collect::<Vec<_>>().join(", ");
        return Err(format!(
            "`{name}` belongs to the family but does not train yet: train one of {able}, and see `foretell systems`"
        ));
    }
    Err(unknown("system", name, names(), "`foretell systems` lists the family"))
}

/// The member that is trained where none is named: of those that learn from what lies at the path, or in a world, or from
/// the data that come with the program, the one that learns most of them in minutes on a CPU.
pub fn usual(data: Option<&Path>, world: bool) -> &'static str {
    // Colours and places of the generated scenes are hidden by views of other colours and crops, so I-JEPA learns more there.
    match data {
        _ if world => "eb-jepa",
        None => "i-jepa",
        // Tables of regions are tables of series too.
        Some(path) => ["le-jepa", "eb-jepa", "st-jema", "ts-jepa"]
            .into_iter()
            .chain(members().map(|member| member.row().name))
            .find(|name| find(name).is_ok_and(|member| member.recognises(path)))
            .unwrap_or("le-jepa"),
    }
}

/// The member whose kind of data a path is taken for.
pub fn looking(path: &Path) -> Result<&'static dyn Member, DataError> {
    find(usual(Some(path), false)).map_err(|_| DataError::NoInputs)
}
