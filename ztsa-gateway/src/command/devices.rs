//! `ztsa-gateway devices`.

use clap::Subcommand;
use serde_json::Value;
use ztsa_gateway::admin::request::Request;

use super::failure::Failure;
use super::output::{changed, count, line, list, person, table, text, time, tunnel_count};
use super::socket;

#[derive(Debug, clap::Args)]
#[group(id = "devices-args")]
pub(crate) struct Args {
    #[command(flatten)]
    socket: socket::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the devices that have signed in.
    List,
    /// Say that a device belongs to the organisation (`context.device.managed` in policies).
    Approve(Device),
    /// Let a device do nothing any more.
    Block(Device),
    /// Forget a device and end its sessions; when it signs in again it is a new one, and unmanaged.
    Remove(Device),
}

#[derive(Debug, clap::Args)]
struct Device {
    /// The device's id, or the beginning of it.
    #[arg(allow_hyphen_values = true)]
    device: String,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let request = match args.command {
        Command::List => return args.socket.show(&Request::DevicesList {}, show),
        Command::Approve(Device { device }) => Request::DevicesApprove { device },
        Command::Block(Device { device }) => Request::DevicesBlock { device },
        Command::Remove(Device { device }) => {
            return args.socket.show(&Request::DevicesRemove { device }, |answer| {
                let ended = tunnel_count(count(answer, "tunnels"));
                line(&format!("device {} is forgotten: {ended} ended", text(answer, "device")))
            });
        }
    };
    args.socket.show(&request, |answer| {
        line(&format!("device {} is {}: {}", text(answer, "device"), text(answer, "state"), changed(answer)))
    })
}

fn show(answer: &Value) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = list(answer, "devices")
        .iter()
        .map(|device| {
            let times = ["first_seen", "last_seen"].map(|member| time(device, member));
            let [first, last] = times;
            let [name, os] = ["device_name", "os"].map(|member| text(device, member));
            let (id, state, tunnels) = (text(device, "device"), text(device, "state"), text(device, "tunnels"));
            vec![id, name, os, state, person(device), first, last, tunnels]
        })
        .collect();
    let head = ["DEVICE", "NAME", "SYSTEM", "STATE", "LAST USER", "FIRST SEEN", "LAST SEEN", "TUNNELS"];
    table(&head, &rows, "no device has signed in")
}
