//! Exact search among the features of a folder's pictures: an [`Index`](index::Index), the model that makes a query's features
//! ([`maker`]), and the pictures behind the names ([`gallery`]).

pub(crate) mod gallery;
pub(crate) mod index;
pub(crate) mod maker;
