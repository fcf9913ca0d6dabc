//! The SQL-callable functions of the library, declared in `sql/functions/native.sql`.

mod bodies;
mod discovery;
mod documents;
mod events;
mod filters;
mod install;
mod planner;
mod sightings;
mod tags;
mod workers;
