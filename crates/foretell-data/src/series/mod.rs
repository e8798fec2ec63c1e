//! Series: a sample is some channels over time, with holes where nothing is known. Read from tables with a time column, from the
//! archives of labelled series (UCR, aeon), from arrays, or generated.

mod arrays;
mod config;
mod drawing;
mod files;
mod generated;
mod linear;
mod opened;
mod prior;
mod raw;
mod sample;
mod set;
mod statistics;
mod stretches;
mod table;
mod text;
mod time;
mod ts;
mod ucr;
mod windowed;

pub use config::{SeriesConfig, Standardise};
pub use drawing::{Band, Chart, Line};
pub use generated::WavesConfig;
pub use linear::stretched;
pub use prior::{Family, Periods, PriorConfig, SHAPE_NUMBERS};
pub use sample::SeriesSample;
pub use set::Series;
pub use stretches::Stretch;
pub(crate) use ts::is_ts;
