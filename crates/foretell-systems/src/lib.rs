//! One file for each member of the family, the registry that lists them, and how runs are judged.
//!
//! A [`System`] is its settings, its row in the table of systems, and what it builds of them; [`FAMILY`] holds all of them
//! without their types, and [`Session`] is a run of any of them as a command sees it. A system imports the compositions, the
//! networks and its own kind of data, and never another system.

mod ablation;
mod actions;
pub mod clip_model;
mod encoder;
pub mod family;
pub mod frame_model;
mod frozen;
pub mod heads;
pub mod image_model;
mod imaginer;
mod imitator;
pub mod judges;
mod judging;
mod member;
mod planned;
pub mod recipe;
mod row;
pub mod series_model;
mod sizes;
pub mod sound_model;
mod system;

pub mod a_jepa;
pub mod act_jepa;
pub mod audio_jepa;
pub mod c_jepa;
pub mod dmt_jepa;
pub mod eb_jepa;
pub mod eb_jepa_video;
pub mod graph_jepa;
pub mod h_jepa;
pub mod i_jepa;
pub mod iwm;
pub mod lat_pfn;
pub mod le_jepa;
pub mod le_nepa;
pub mod le_v_jepa;
pub mod le_wm;
pub mod mc_jepa;
pub mod nepa;
pub mod s_jea;
pub mod sar_jepa;
pub mod signal_jepa;
pub mod st_jema;
pub mod supervised;
pub mod ts_jepa;
pub mod v_jepa;
pub mod v_jepa_2;
pub mod v_jepa_2_1;
pub mod v_jepa_2_ac;

pub use ablation::Ablation;
pub use actions::ActionScale;
pub use family::{Entry, FAMILY};
pub use imaginer::{Imaginer, Manner};
pub use imitator::{Imitator, Learnt};
pub use judging::{Judged, Judging};
pub use member::{Member, Of, Probing, Session, Whole};
pub use recipe::{JudgeConfig, ProbeKind, Recipe, RecipeError};
pub use row::{Row, State};
pub use system::{JudgeError, On, System, SystemError};
