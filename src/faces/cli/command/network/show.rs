//! `hostel network show`

use clap::{ArgAction, Args};
use hostel_engine::facade::{AddressState, NetworkStatus};
use hostel_model::definition::Naming;
use hostel_model::id::NetworkName;
use serde_json::{Value, json};

use super::{Done, Json, count, kind};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::human;
use crate::cli::table::{Cell, Column, Table};

/// Show a network: its pools, who has which address, and what of that lies on the host
///
/// Of each address in use: the interface of the host that leads to it, and whether it is LAID now, that is routed there
/// by the host and admitted by the firewall; a stopped VE's isn't. Of each that is aside: whose it was, and for how long
/// it is kept from others. With --json, an object with name, kind, description, problem, pools (each with pool, used,
/// aside and left), dns, search, masquerade, mtu, big_tcp, proxy, probe, host_services, connections (that an interface of a
/// VE may have begun), names (off, hosts or dns), names_shared, quarantine in seconds, ves, and addresses: an array of
/// objects with address, state (used or aside), ve, id, interface, routed, admitted, and left in seconds.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel network show private\n  hostel network show private --rules")]
pub struct Show {
    /// Name of the network
    #[arg(value_name = "NETWORK")]
    name: NetworkName,

    /// Print the nftables table instead; it is one for all networks
    #[arg(long, conflicts_with_all = ["no_header", "json"])]
    rules: bool,

    /// Leave the headings out, and all but the addresses
    #[arg(short = 'H', long, action = ArgAction::SetTrue)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

impl Show {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let (network, all) = engine.network(&self.name)?;
        if self.rules {
            context.print(&engine.network_rules()?)?;
            return Ok(Exit::Ok);
        }
        if self.json.json {
            context.print_json(&object(&network, &all))?;
            return Ok(Exit::Ok);
        }
        if !self.no_header {
            context.print_table(&block(&network))?;
            context.print("\n")?;
            context.print_table(&pools(&network))?;
            if !all.is_empty() {
                context.print("\n")?;
            }
        }
        if !all.is_empty() {
            context.print_table(&addresses(&all).headless(self.no_header))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a program.
pub fn object(network: &NetworkStatus, all: &[AddressState]) -> Value {
    let mut object = json!(network);
    object["addresses"] = json!(all);
    object
}

/// What it is.
pub fn block(network: &NetworkStatus) -> Table {
    let list = |all: Vec<String>| all.join(" ");
    let mut table = Table::new(vec![Column::text("FIELD"), Column::text("VALUE").wrap(20)]).headless(true);
    let dns = list(network.dns.iter().map(ToString::to_string).collect());
    let lines = [
        ("name", network.name.clone()),
        ("description", network.description.clone().unwrap_or_default()),
        ("kind", kind(network).to_owned()),
        ("masquerade", if network.masquerade { "yes" } else { "no" }.to_owned()),
        ("mtu", network.mtu.map(|m| m.to_string()).unwrap_or_default()),
        ("big_tcp", if network.big_tcp { "yes" } else { "" }.to_owned()),
        ("proxy", network.proxy.clone().unwrap_or_default()),
        ("probe", if network.probe { "yes" } else { "" }.to_owned()),
        ("host services", list(network.host_services.clone())),
        ("connections", network.connections.to_string()),
        (
            "dns",
            if dns.is_empty() {
                "the host's own".to_owned()
            } else {
                dns
            },
        ),
        ("search", list(network.search.clone())),
        ("names", names(network).to_owned()),
        ("quarantine", human::seconds(network.quarantine)),
        ("ves", network.ves.to_string()),
    ];
    for (what, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.row(vec![
            Cell::new(what).styled(anstyle::Style::new().dimmed()),
            value.into(),
        ]);
    }
    table
}

/// How its VEs find each other by name.
fn names(network: &NetworkStatus) -> &'static str {
    match (network.names, network.names_shared) {
        (None | Some(Naming::Off), _) => "",
        (Some(Naming::Hosts), false) => "in /etc/hosts, of VEs of one tenant",
        (Some(Naming::Hosts), true) => "in /etc/hosts, of all VEs",
        (Some(Naming::Dns), _) => "by DNS, of all VEs",
    }
}

/// How its pools stand.
pub fn pools(network: &NetworkStatus) -> Table {
    let mut table = Table::new(vec![
        Column::text("POOL"),
        Column::number("USED"),
        Column::number("ASIDE"),
        Column::number("LEFT"),
    ]);
    for pool in &network.pools {
        let counts = [pool.used, pool.aside, pool.left].map(|n| count(n).into());
        let mut row: Vec<Cell> = vec![pool.pool.to_string().into()];
        row.extend(counts);
        table.row(row);
    }
    table
}

/// Who has which.
pub fn addresses(all: &[AddressState]) -> Table {
    let mut table = Table::new(vec![
        Column::text("ADDRESS"),
        Column::text("STATE"),
        Column::text("VE").cut(12),
        Column {
            drop: 1,
            ..Column::text("INTERFACE")
        },
        Column::text("LAID"),
    ]);
    for one in all {
        let state = match one.left {
            Some(left) => format!("{} {}", one.state, human::seconds(left)),
            None => one.state.to_owned(),
        };
        let laid = match (one.routed, one.admitted) {
            _ if one.id.is_none() => "",
            (true, true) => "yes",
            (true, false) => "not admitted",
            (false, true) => "not routed",
            (false, false) => "no",
        };
        table.row(vec![
            one.address.to_string().into(),
            state.into(),
            one.ve.as_str().into(),
            one.interface.clone().unwrap_or_default().into(),
            laid.into(),
        ]);
    }
    table
}
