//! refresher
