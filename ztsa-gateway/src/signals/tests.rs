//! Signals as those notice it who send and receive them, and the people concerned.

mod figures;
mod foreign;
mod polling;
mod receiving;
mod refusing;
mod silence;
mod telling;
mod wire;
