//! What people bring, each as its kind: small inputs made in the test.

mod arrays;
mod disk;
mod images;
mod words;
