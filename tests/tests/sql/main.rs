//! The public interface in SQL, called as users call it: functions, settings, roles, comments, dump and restore, plans.

mod comments;
mod documents;
mod dump;
mod functions;
mod garbage;
mod health;
mod naming;
mod plans;
mod preload;
mod roles;
mod settings;
mod statistics;
mod status;
mod support;
mod vectors;
mod views;
