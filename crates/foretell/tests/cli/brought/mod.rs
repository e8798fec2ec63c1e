//! What people bring, each as its kind: small inputs made in the test.

mod arrays;
mod disk;
mod images;
mod lost;
mod models;
mod sets;
mod video;
mod words;
