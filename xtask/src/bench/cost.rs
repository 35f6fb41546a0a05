//! Who spends the processors' time while bytes move.

use std::fs;

use super::process::TICKS;
use super::sample::{float, median};
use super::stack::Stack;
use crate::command::Failure;

/// Processor time by who had it, in seconds; over a load in seconds per GiB.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cost {
    /// `ztsa proxy`.
    pub(super) client: f64,
    /// `ztsa-gateway`.
    pub(super) gateway: f64,
    /// The private app, a part of the bench.
    pub(super) app: f64,
    /// The load generator, this process.
    pub(super) generator: f64,
    /// Nobody: all processors together.
    pub(super) idle: f64,
    /// All of these, and other programs of the machine.
    total: f64,
}

impl Cost {
    /// Reads what has been spent so far.
    pub(super) fn now(stack: &Stack) -> Result<Self, Failure> {
        let (idle, total) = processors()?;
        let generator = super::process::spent(std::process::id())?;
        let (client, gateway, app) = (stack.client.cpu()?, stack.gateway.cpu()?, stack.app.cpu()?);
        Ok(Self { client, gateway, app, generator, idle, total })
    }

    /// What was spent since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        self.with(before, |now, before| now - before)
    }

    /// The share of each unit.
    pub(super) fn over(&self, units: f64) -> Self {
        self.with(self, |spent, _| spent / units)
    }

    /// The middle of many, each figure by itself.
    pub(super) fn median(costs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(&costs.iter().map(figure).collect::<Vec<_>>());
        Self {
            client: of(|cost| cost.client),
            gateway: of(|cost| cost.gateway),
            app: of(|cost| cost.app),
            generator: of(|cost| cost.generator),
            idle: of(|cost| cost.idle),
            total: of(|cost| cost.total),
        }
    }

    /// What other programs of the machine had: a quiet one leaves nearly nothing. The kernel's own threads are in it.
    pub(super) fn others(&self) -> f64 {
        (self.total - self.client - self.gateway - self.app - self.generator - self.idle).max(0.0)
    }

    fn with(&self, other: &Self, calculate: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            client: calculate(self.client, other.client),
            gateway: calculate(self.gateway, other.gateway),
            app: calculate(self.app, other.app),
            generator: calculate(self.generator, other.generator),
            idle: calculate(self.idle, other.idle),
            total: calculate(self.total, other.total),
        }
    }
}

/// The seconds that all processors together were idle, and that they had, since the machine started.
fn processors() -> Result<(f64, f64), Failure> {
    const FILE: &str = "/proc/stat";
    let text = fs::read_to_string(FILE).map_err(|source| Failure::file(FILE.as_ref(), source))?;
    // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [_, _, _, idle, waiting, ..] if ticks.len() == 8 => {
            Ok((float(idle + waiting) / TICKS, float(ticks.iter().sum()) / TICKS))
        }
        _ => Err(Failure::Wrong(format!("{FILE} begins with {line:?}, not with the processors' times"))),
    }
}
