//! The checks of the monitor in a real server, each against servers that behave and servers that do not.

mod geo;
mod names;
mod nip11;
mod ssl;
mod support;
mod switches;
mod writes;
