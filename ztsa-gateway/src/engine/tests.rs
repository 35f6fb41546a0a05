//! The engine as those who call it notice it: a real store, audit log, policies and registry; only the time is made.

mod causes;
mod doubt;
mod evaluation;
mod meanwhile;
mod noticing;
mod opening;
mod orders;
mod replay;
mod saving;
mod turning;
mod unusual;
pub(crate) mod world;

pub(crate) use world::World;
