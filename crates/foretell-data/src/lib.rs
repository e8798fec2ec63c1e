//! Formats, generated data, transforms and the loader. Host only: nothing here knows the tensor engine.
//!
//! A [`Dataset`] is recognised by its content, decodes one sample at a time and never unpacks anything to disk. The
//! [`Loader`] turns it into batches in step order; what a batch is made of is the [`Collate`]'s business.

mod archive;
mod auto;
mod axes;
mod cache;
mod clips;
pub mod connectomes;
mod decimal;
pub mod eeg;
mod epochs;
mod error;
pub mod graphs;
mod images;
pub mod kind;
mod loader;
mod modality;
mod normalise;
pub mod npy;
pub mod npz;
mod ordered;
mod pixels;
mod positional;
pub mod protobuf;
pub mod random;
mod rows;
pub mod series;
pub mod sound;
mod source;
mod together;
mod visit;
mod windows;
pub mod zip;

pub use auto::{Auto, Decision};
pub use axes::Layout;
pub use clips::{
    Clip, ClipSample, Clips, ClipsConfig, Cursor, FlowMap, FoundClips, FramesBy, Ground, MovingConfig, ShortClips,
    planes, sample_frames,
};
pub use epochs::{Epochs, check_batch};
pub use error::DataError;
pub use images::antialias::{Filter, resize};
pub use images::augment::{Augment, Colours, View};
pub use images::dataset::{Dataset, Sample};
pub use images::depth::FULL as FULL_RANGE;
pub use images::labels::Factor;
pub use images::recognise::{open_inputs, open_inputs_over};
pub use images::scenes::ScenesConfig;
pub use images::speckle::speckle;
pub use images::split::Folders;
pub use images::transform::{Crop, centre_crop, crop_resize, fit, resize_short, shrink};
pub use images::{Images, ImagesConfig};
pub use loader::{Collate, Loader};
pub use modality::{Description, Film, Meta, Modality, OnBadSample, Opening, Part, Unit, judged_part};
pub use normalise::Normalise;
pub use pixels::Image;
pub use positional::read_exact_at;
pub use rows::NamedRows;
pub use source::{Feed, Source, feed};
pub use visit::{Listed, Unreadable, evenly, for_each, for_places, roll, spread, unreadable};
pub use windows::episodes::{Episodes, EpisodesConfig};
pub use windows::survey::Survey;
pub use windows::window::{Places, Window};
