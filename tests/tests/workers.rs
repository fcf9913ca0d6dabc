//! The process model against a real server: what starts, when it leaves, what it survives and whom it leaves in peace.
//!
//! Where DESIGN promises two seconds the tests print what it took and allow five, for the sake of busy machines.

#[path = "workers/appearing.rs"]
mod appearing;
#[path = "workers/cost.rs"]
mod cost;
#[path = "workers/crowd.rs"]
mod crowd;
#[path = "workers/ddl.rs"]
mod ddl;
#[path = "workers/faults.rs"]
mod faults;
#[path = "workers/locks.rs"]
mod locks;
#[path = "workers/shutdown.rs"]
mod shutdown;
#[path = "workers/steering.rs"]
mod steering;
#[path = "workers/streaming.rs"]
mod streaming;
#[path = "workers/world.rs"]
mod world;
