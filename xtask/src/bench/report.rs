//! The figures, as JSON for programs and as a table for people.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::cost::Cost;
use super::evaluation::{Change, Evaluation};
use super::idle::Memory;
use super::posture::Posture;
use super::revocation::Revocation;
use super::sample::{Throughput, Times, WAYS, float, median};
use super::throughput::{LOADS, Load};

/// Small things over one way, all rounds together.
#[derive(Debug, Default)]
pub(super) struct Small {
    /// New connections, to the first echoed byte.
    pub(super) openings: Times,
    /// Round trips of 64 bytes.
    pub(super) pings: Times,
    /// Connections per second, one for each round.
    pub(super) rates: Vec<f64>,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) machine: Value,
    pub(super) rounds: usize,
    pub(super) throughput: [Throughput; 4],
    pub(super) tcp: Small,
    pub(super) tls: Small,
    pub(super) tunnel: Small,
    /// New connections through the local port of `ztsa connect`.
    pub(super) forward: Times,
    pub(super) memory: Vec<Memory>,
    pub(super) revocation: Revocation,
    pub(super) evaluation: Option<Evaluation>,
    pub(super) posture: Posture,
}

impl Figures {
    /// Memory of client and gateway for each idle tunnel, in KiB: from none to the most.
    fn per_tunnel(&self) -> [f64; 2] {
        match (self.memory.first(), self.memory.last()) {
            (Some(none), Some(most)) if most.tunnels > none.tunnels => {
                let count = float((most.tunnels - none.tunnels) as u64);
                [(most.client - none.client) / count, (most.gateway - none.gateway) / count]
            }
            _ => [0.0; 2],
        }
    }

    /// One JSON object; the keys of the first level but `machine`, `rounds` and `bounds` are fixed.
    pub(super) fn json(&self) -> Value {
        let mut throughput = Map::new();
        let mut loads = Map::new();
        for (load, Load { key, .. }) in self.throughput.iter().zip(LOADS) {
            let [tcp, tls, relays, tunnel] = load.rates();
            let ([ratio_tcp, ratio_tls, ratio_relays], costs) = (load.ratios(), load.costs());
            throughput.insert(
                key.to_owned(),
                json!({
                    "mbps": round(tunnel), "ratio_tls": round(ratio_tls), "ratio_tcp": round(ratio_tcp),
                    "tls_mbps": round(tls), "tcp_mbps": round(tcp),
                    "ratio_relays": round(ratio_relays), "relays_mbps": round(relays),
                }),
            );
            loads.insert(key.to_owned(), spent(&costs));
        }
        let [.., first] = self.throughput.first().map(Throughput::costs).unwrap_or_default();
        let [client_kib, gateway_kib] = self.per_tunnel();
        let resident = |memory: &Memory| json!({ "tunnels": memory.tunnels, "client_kib": memory.client, "gateway_kib": memory.gateway });
        let revocation = &self.revocation;
        json!({
            "machine": self.machine,
            "rounds": self.rounds,
            "throughput": throughput,
            "cpu": { "client": round(first.client), "gateway": round(first.gateway), "loads": loads },
            "tunnel": {
                "p50_us": round(self.tunnel.openings.percentile(50)), "p99_us": round(self.tunnel.openings.percentile(99)),
                "per_s": round(median(&self.tunnel.rates)),
                "forward_p50_us": round(self.forward.percentile(50)), "forward_p99_us": round(self.forward.percentile(99)),
            },
            "ping": pair(&self.tunnel.pings),
            "memory": {
                "client_kib": round(client_kib), "gateway_kib": round(gateway_kib),
                "resident": self.memory.iter().map(resident).collect::<Vec<_>>(),
            },
            "revocation": {
                "p50_ms": round(revocation.end.percentile(50) / 1e3), "p99_ms": round(revocation.end.percentile(99) / 1e3),
                "max_ms": round(revocation.end.percentile(100) / 1e3),
                "last_byte_max_ms": round(revocation.last_byte.percentile(100) / 1e3),
                "answer_p50_ms": round(revocation.answer.percentile(50) / 1e3),
                "tunnels": revocation.ended, "resets": revocation.resets,
            },
            "evaluation": self.evaluation.as_ref().map(evaluation),
            "posture": {
                "checks": self.posture.checks,
                "command_p50_ms": round(self.posture.report.percentile(50) / 1e3),
                "command_p99_ms": round(self.posture.report.percentile(99) / 1e3),
                "version_p50_ms": round(self.posture.nothing.percentile(50) / 1e3),
            },
            "bounds": { "tcp": small(&self.tcp), "tls": small(&self.tls) },
        })
    }

    /// A table that a person reads.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            // writing to a String does not fail
            let _ = text.write_fmt(words);
            text.push('\n');
        };
        line(format_args!(
            "\nthroughput, 10^6 bytes/s     TCP      TLS   relays   tunnel   of TLS   of TCP   of relays   CPU s/GiB client + gateway"
        ));
        for (load, Load { name, .. }) in self.throughput.iter().zip(LOADS) {
            let ([tcp, tls, relays, tunnel], [.., cost]) = (load.rates(), load.costs());
            let [of_tcp, of_tls, of_relays] = load.ratios();
            line(format_args!(
                "  {name:<22}{tcp:>8.0} {tls:>8.0} {relays:>8.0} {tunnel:>8.0} {of_tls:>8.2} {of_tcp:>8.2} {of_relays:>11.2}   {:.2} + {:.2}",
                cost.client, cost.gateway
            ));
        }
        line(format_args!(
            "\nprocessors' seconds per GiB    client  gateway      app     load     idle   others   (the tunnel; then the bounds)"
        ));
        for (load, Load { name, .. }) in self.throughput.iter().zip(LOADS) {
            let [_, tls, relays, tunnel] = load.costs();
            for (name, cost) in [(name, tunnel), ("  bare TLS", tls), ("  two relays", relays)] {
                line(format_args!(
                    "  {name:<26}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}",
                    cost.client,
                    cost.gateway,
                    cost.app,
                    cost.generator,
                    cost.idle,
                    cost.others()
                ));
            }
        }
        let both = |times: &Times| format!("{:.0} / {:.0}", times.percentile(50), times.percentile(99));
        line(format_args!(
            "\nsmall things                  TCP            TLS            tunnel         tunnel / TCP at p50"
        ));
        for (name, of) in [
            ("new, µs p50 / p99", (|small| &small.openings) as fn(&Small) -> &Times),
            ("64 B ping, µs p50 / p99", |small| &small.pings),
        ] {
            let [tcp, tls, tunnel] = [&self.tcp, &self.tls, &self.tunnel].map(of);
            let ratio = tunnel.percentile(50) / tcp.percentile(50);
            line(format_args!("  {name:<26}  {:<14} {:<14} {:<14} {ratio:.1}", both(tcp), both(tls), both(tunnel)));
        }
        let rates = [&self.tcp, &self.tls, &self.tunnel].map(|small| median(&small.rates));
        line(format_args!(
            "  {:<26}  {:<14.0} {:<14.0} {:<14.0}",
            "opened and closed per s", rates[0], rates[1], rates[2]
        ));
        line(format_args!("  new by `ztsa connect`, µs p50 / p99                       {}", both(&self.forward)));
        line(format_args!("\nresident memory            client KiB   gateway KiB"));
        for memory in &self.memory {
            line(format_args!(
                "  {:>6} idle tunnels      {:>10.0}    {:>10.0}",
                memory.tunnels, memory.client, memory.gateway
            ));
        }
        let [client, gateway] = self.per_tunnel();
        line(format_args!(
            "  each                     {client:>10.1}    {gateway:>10.1}   together {:.1}",
            client + gateway
        ));
        let seen = &self.revocation;
        line(format_args!(
            "\nrevocation: {} tunnels ended {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (the last) after the call; {} saw a reset",
            seen.ended,
            seen.end.percentile(50) / 1e3,
            seen.end.percentile(99) / 1e3,
            seen.end.percentile(100) / 1e3,
            seen.resets,
        ));
        let looked = &self.posture;
        line(format_args!(
            "\nposture: {} checks by `ztsa posture`, {:.1} ms (p50), {:.1} ms (p99); `ztsa --version` {:.1} ms",
            looked.checks,
            looked.report.percentile(50) / 1e3,
            looked.report.percentile(99) / 1e3,
            looked.nothing.percentile(50) / 1e3,
        ));
        if let Some(seen) = &self.evaluation {
            line(format_args!(
                "\n{} live tunnels, ms              gateway p50 / p99   outside p50 / p99 / last   answer p50 / last",
                seen.live
            ));
            for (name, change) in changes(seen) {
                let (inside, outside, answer) = (&change.inside, &change.outside, &change.answer);
                line(format_args!(
                    "  {name:<32} {:>8.1} / {:<8.1} {:>8.1} / {:.1} / {:<8.1} {:>6.1} / {:.1}",
                    inside.percentile(50),
                    inside.percentile(99),
                    outside.percentile(50) / 1e3,
                    outside.percentile(99) / 1e3,
                    outside.percentile(100) / 1e3,
                    answer.percentile(50) / 1e3,
                    answer.percentile(100) / 1e3,
                ));
            }
        }
        text
    }
}

fn changes(seen: &Evaluation) -> [(&'static str, &Change); 6] {
    [
        ("one person's tunnels suspended", &seen.one_suspended),
        ("one person's tunnels restored", &seen.one_restored),
        ("one person's tunnels ended", &seen.one_ended),
        ("all suspended", &seen.all_suspended),
        ("all restored", &seen.all_restored),
        ("all ended", &seen.all_ended),
    ]
}

fn evaluation(seen: &Evaluation) -> Value {
    let mut members = Map::from_iter([("live".to_owned(), json!(seen.live))]);
    for ((_, change), key) in changes(seen).into_iter().zip([
        "one_suspended",
        "one_restored",
        "one_ended",
        "all_suspended",
        "all_restored",
        "all_ended",
    ]) {
        let (inside, outside, answer) = (&change.inside, &change.outside, &change.answer);
        members.insert(
            key.to_owned(),
            json!({
                "tunnels": change.tunnels,
                "gateway_p50_ms": round(inside.percentile(50)), "gateway_p99_ms": round(inside.percentile(99)),
                "p50_ms": round(outside.percentile(50) / 1e3), "p99_ms": round(outside.percentile(99) / 1e3),
                "max_ms": round(outside.percentile(100) / 1e3),
                "answer_p50_ms": round(answer.percentile(50) / 1e3), "answer_max_ms": round(answer.percentile(100) / 1e3),
            }),
        );
    }
    Value::Object(members)
}

fn small(small: &Small) -> Value {
    json!({
        "open_p50_us": round(small.openings.percentile(50)), "open_p99_us": round(small.openings.percentile(99)),
        "per_s": round(median(&small.rates)), "ping": pair(&small.pings),
    })
}

/// Seconds per GiB: of the tunnel, by who spent them, and of the bounds beside it.
fn spent([tcp, tls, relays, tunnel]: &[Cost; WAYS]) -> Value {
    let bench = |cost: &Cost| {
        json!({
            "app": round(cost.app), "generator": round(cost.generator),
            "idle": round(cost.idle), "others": round(cost.others()),
        })
    };
    let mut spent = bench(tunnel);
    if let Some(fields) = spent.as_object_mut() {
        fields.insert("client".into(), json!(round(tunnel.client)));
        fields.insert("gateway".into(), json!(round(tunnel.gateway)));
        fields.insert("bounds".into(), json!({ "tcp": bench(tcp), "tls": bench(tls), "relays": bench(relays) }));
    }
    spent
}

fn pair(times: &Times) -> Value {
    json!({ "p50_us": round(times.percentile(50)), "p99_us": round(times.percentile(99)) })
}

/// Three places are more than the noise leaves.
fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn times(micros: u64) -> Times {
        let mut times = Times::default();
        (1..=100).for_each(|number| times.add(Duration::from_micros(number * micros)));
        times
    }

    fn figures() -> Figures {
        let mut cost = Cost::default();
        (cost.client, cost.gateway) = (0.5, 0.75);
        let load = |part: f64| {
            let mut load = Throughput::default();
            load.add([8e9 / part, 4e9 / part, 2e9 / part, 1e9 / part], [cost; WAYS]);
            load
        };
        let small = |micros| Small { openings: times(micros), pings: times(2 * micros), rates: vec![300.0] };
        let memory = |tunnels, client, gateway| Memory { tunnels, client, gateway };
        Figures {
            throughput: [load(1.0), load(2.0), load(4.0), load(8.0)],
            tunnel: small(10),
            memory: vec![memory(0, 1000.0, 2000.0), memory(1000, 11_000.0, 22_000.0)],
            revocation: Revocation { end: times(1000), ..Revocation::default() },
            ..Figures::default()
        }
    }

    #[test]
    fn the_json_has_every_promised_figure_on_one_line() {
        let line = figures().json().to_string();
        assert!(!line.contains('\n'));
        let json: Value = serde_json::from_str(&line).unwrap();
        let mut promised = vec![
            ("/cpu/client".to_owned(), 0.5),
            ("/cpu/gateway".to_owned(), 0.75),
            ("/tunnel/p50_us".to_owned(), 500.0),
            ("/tunnel/p99_us".to_owned(), 990.0),
            ("/tunnel/per_s".to_owned(), 300.0),
            ("/ping/p50_us".to_owned(), 1000.0),
            ("/ping/p99_us".to_owned(), 1980.0),
            ("/memory/client_kib".to_owned(), 10.0),
            ("/memory/gateway_kib".to_owned(), 20.0),
            ("/revocation/p50_ms".to_owned(), 50.0),
            ("/revocation/p99_ms".to_owned(), 99.0),
        ];
        for (load, part) in [("down_1", 1.0), ("up_1", 2.0), ("down_16", 4.0), ("up_16", 8.0)] {
            let at = |figure: &str| format!("/throughput/{load}/{figure}");
            promised.extend([(at("mbps"), 1e9 / part), (at("ratio_tls"), 0.25), (at("ratio_tcp"), 0.125)]);
        }
        for (path, figure) in promised {
            let told = json.pointer(&path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {line}"));
            assert!(told.is_finite() && (told - figure).abs() < 1e-3, "{path} is {told}, not {figure}");
        }
    }
}
