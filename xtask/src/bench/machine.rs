//! The machine that is measured on, in words.

use std::fs;

use serde_json::{Value, json};

/// Describes the machine: processor, cores, memory, kernel, and how busy it is with other things.
pub(super) fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let kibibytes = field(&read("/proc/meminfo"), "MemTotal");
    let memory: u64 = kibibytes.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default();
    let load = read("/proc/loadavg").split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory_mib": memory / 1024,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": load,
    })
}
