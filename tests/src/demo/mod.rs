//! What `make demo` and `make run` are made of. The end-to-end tests use the comparisons too.

pub mod compare;
pub mod network;
pub mod place;
pub mod progress;
pub mod statistics;

pub use compare::{Claim, compare};
pub use network::Network;
pub use place::Place;
pub use progress::Screen;
pub use statistics::{Difference, compare_statistics};
