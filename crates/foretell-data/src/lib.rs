//! Formats, generated data, transforms and the loader. Host only: nothing here knows the tensor engine.
//!
//! A [`Dataset`] is recognised by its content, decodes one sample at a time and never unpacks anything to disk. The
//! [`Loader`] turns it into batches in step order; what a batch is made of is the [`Collate`]'s business.

mod antialias;
mod archive;
mod augment;
mod cifar;
mod clip;
mod colour;
mod dataset;
mod decimal;
mod decode;
mod episodes;
mod error;
mod idx;
mod images;
mod labels;
mod listing;
mod loader;
mod normalise;
pub mod npz;
mod ordered;
mod pixels;
mod positional;
pub mod random;
mod recognise;
mod recording;
mod records;
mod resample;
mod rows;
mod scenes;
mod shapes;
mod source;
mod speckle;
mod split;
mod transform;
mod visit;
mod window;
pub mod zip;

pub use antialias::{Filter, resize};
pub use augment::Augment;
pub use clip::{Clip, planes, sample_frames};
pub use dataset::{Dataset, Description, Part, Sample};
pub use episodes::{Episodes, EpisodesConfig};
pub use error::DataError;
pub use images::{Images, LoaderConfig, OnBadSample, check_batch};
pub use labels::Factor;
pub use loader::{Collate, Loader};
pub use normalise::Normalise;
pub use pixels::Image;
pub use positional::read_exact_at;
pub use recognise::open_inputs;
pub use rows::NamedRows;
pub use scenes::ScenesConfig;
pub use source::{Demand, HeldOut, HeldOutDemand, Material, Source};
pub use speckle::speckle;
pub use transform::{Crop, centre_crop, crop_resize, fit, resize_short, shrink};
pub use visit::for_each_fitted;
pub use window::{Places, Window};
