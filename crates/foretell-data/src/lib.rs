//! Formats, generated data, transforms and the loader. Host only: nothing here knows the tensor engine.
//!
//! A [`Dataset`] is recognised by its content, decodes one sample at a time and never unpacks anything to disk. The
//! [`Loader`] turns it into batches in step order; what a batch is made of is the [`Collate`]'s business.

mod antialias;
mod archive;
mod augment;
mod auto;
mod cifar;
mod clip;
mod colour;
mod dataset;
mod decimal;
mod decode;
mod episodes;
mod epochs;
mod error;
pub mod graphs;
mod idx;
mod images;
mod labels;
mod listing;
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
mod recognise;
mod recording;
mod records;
mod resample;
mod rows;
mod scenes;
mod shapes;
mod source;
mod split;
mod transform;
mod visit;
mod window;
pub mod zip;

pub use antialias::{Filter, resize};
pub use augment::Augment;
pub use auto::{Auto, Decision};
pub use clip::{Clip, planes, sample_frames};
pub use dataset::{Dataset, Sample};
pub use episodes::{Episodes, EpisodesConfig};
pub use epochs::{Epochs, check_batch};
pub use error::DataError;
pub use images::{Images, ImagesConfig};
pub use labels::Factor;
pub use loader::{Collate, Loader};
pub use modality::{Description, Meta, Modality, OnBadSample, Opening, Part, Unit, judged_part};
pub use normalise::Normalise;
pub use pixels::Image;
pub use positional::read_exact_at;
pub use recognise::open_inputs;
pub use rows::NamedRows;
pub use scenes::ScenesConfig;
pub use source::{Feed, Source, feed};
pub use transform::{Crop, centre_crop, crop_resize, fit, resize_short, shrink};
pub use visit::{for_each, spread};
pub use window::{Places, Window};
