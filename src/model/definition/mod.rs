//! The TOML files that say what a Hostel has: their types, and reading them with every mistake reported.
//!
//! One table of keys per kind of file ([`keys_of`]) drives reading, the help of `hostel set`, and editing. Reading
//! judges one file by itself; what several files say together is [`crate::resolve`]'s and [`crate::policy`]'s.

mod access;
mod addresses;
mod bridge;
mod capacity;
mod count;
mod diagnostic;
mod field;
mod forward;
mod guest;
mod host;
mod interface;
mod kernel_names;
mod ledger;
mod listen;
mod metering;
mod names;
mod network;
mod passfile;
mod path;
mod plan;
mod prices;
mod resources;
mod schedule;
mod services;
mod tenant;
mod traffic;
pub(crate) mod value;
mod ve;

use std::sync::LazyLock;

pub(crate) use diagnostic::{nearest, one_of};
pub(crate) use value::is_unfit;

pub use access::{Access, AccessProtocol, AccessRule, Direction, Peer, PortRange, Verdict};
pub use addresses::Addresses;
pub use bridge::{Allowances, Bridge, InterfaceName};
pub use capacity::{Beyond, Oversell, Rule, Rules, key as capacity_key};
pub use count::Count;
pub use diagnostic::{Diagnostic, Diagnostics, Fault};
pub use field::{FileKind, KeyDoc, Shape, When};
pub use forward::{ForwardKeys, MAX_FORWARDED, Protocol};
pub use guest::{CryptHash, Guest, SshKey, Timezone};
pub use host::{Console, Defaults, HostConfig, IdRange, Paths, Proc, Shutdown, Unenforceable, View};
pub use kernel_names::InterfacePrefix;
pub use ledger::{LedgerServer, ServerPlace};
pub use listen::Listen;
pub use metering::Metering;
pub use names::{Names, Naming};
pub use network::{AddressRange, Network, NetworkKind, overlap};
pub use plan::Plan;
pub use prices::{Decimal, Price, Prices, Rated};
pub use resources::{CpuKeys, DiskKeys, DriverName, FeatureKeys, Features, IoKeys, MemoryKeys, NetKeys, Resources};
pub use schedule::Schedule;
pub use services::HostService;
pub use tenant::Tenant;
pub use traffic::{ClassName, Prefix, REST, TrafficClass};

pub use interface::InterfaceKeys;
pub use ve::{MAX_INTERFACES, Share, StopMode, VeDefinition};

/// The keys of a VE's definition, which `hostel set` and `hostel create` take, in the order of the documentation.
pub fn keys() -> &'static [KeyDoc] {
    keys_of(FileKind::Ve)
}

/// The keys of a kind of file.
pub fn keys_of(kind: FileKind) -> &'static [KeyDoc] {
    static ALL: LazyLock<[Vec<KeyDoc>; 6]> = LazyLock::new(|| {
        [
            KeyDoc::of_record::<host::Draft>(""),
            KeyDoc::of_record::<plan::Draft>(""),
            KeyDoc::of_record::<network::Draft>(""),
            KeyDoc::of_record::<tenant::Draft>(""),
            KeyDoc::of_record::<schedule::Draft>(""),
            ve::keys(),
        ]
    });
    let [host, plan, network, tenant, schedule, ve] = &*ALL;
    match kind {
        FileKind::Host => host,
        FileKind::Plan => plan,
        FileKind::Network => network,
        FileKind::Tenant => tenant,
        FileKind::Schedule => schedule,
        FileKind::Ve => ve,
    }
}

/// The key that `key` names, where `network.3.addresses` is a `network.N.addresses`, and `openvz.NUMFILE` an `openvz.KEY`.
pub fn key(key: &str) -> Option<&'static KeyDoc> {
    if let Some(name) = key.strip_prefix("openvz.") {
        crate::openvz::parameter(name)?;
        return keys().iter().find(|k| k.key == "openvz.KEY");
    }
    let general: Vec<&str> = key
        .split('.')
        .map(|part| {
            if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
                "N"
            } else {
                part
            }
        })
        .collect();
    let general = general.join(".");
    keys().iter().find(|k| k.key == general && !key.contains('N'))
}

/// The name a thing has by its file: `small` for `plans/small.toml`.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".toml").unwrap_or(name)
}

/// That name, parsed; reported if it can't be one.
fn name_of_file<N: std::str::FromStr + value::Read>(reading: &mut field::Reading<'_>) -> Option<N> {
    let stem = stem(reading.reports.file());
    let name = stem.parse().ok();
    if name.is_none() {
        reading.reports.file_name(stem, format!("{} and .toml", N::EXPECTED));
    }
    name
}

#[cfg(test)]
mod tests;
