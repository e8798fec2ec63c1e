//! Windows of episodes: what a model of a world learns from. Recorded episodes lie here; generated play needs a world and lies in
//! `foretell-world`, with the kind of data that is either of the two.

pub(crate) mod ends;
pub(crate) mod episodes;
pub(crate) mod recording;
pub(crate) mod survey;
pub(crate) mod window;
