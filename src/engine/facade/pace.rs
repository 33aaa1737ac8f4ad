//! What passes just now, of what is limited: from two looks at a VE's counters, for `hostel why` and `hostel limits`.

use std::time::Instant;

use hostel_model::bandwidth::Bandwidth;
use hostel_model::resolve::Effective;
use hostel_model::traffic::{Direction, Reading};
use hostel_model::units::Bytes;
use hostel_model::why::Rate;
use hostel_system::cgroup::{DeviceIo, Usage};

use crate::host::Host;
use crate::ve::record::VeState;

/// Counters at a moment.
pub(super) struct Pace {
    at: Instant,
    /// All of its control group.
    pub usage: Usage,
    io: Option<DeviceIo>,
    /// Those of its interfaces.
    passed: Option<Vec<Reading>>,
}

impl Pace {
    /// What came to a counter in a second since then; `None` if it can't be told.
    pub fn per_second(&self, since: &Self, of: impl Fn(&Self) -> Option<u64>) -> Option<u64> {
        let ns = self.at.duration_since(since.at).as_nanos().max(1);
        let growth = of(self)?.checked_sub(of(since)?)?;
        u64::try_from(u128::from(growth) * 1_000_000_000 / ns).ok()
    }

    /// Bytes that have passed an interface, or all of them.
    fn bytes(&self, direction: Direction, interface: Option<&str>) -> Option<u64> {
        let passed = self.passed.as_ref()?.iter();
        let passed = passed.filter(|reading| reading.flow.direction == direction);
        let passed = passed.filter(|reading| interface.is_none_or(|name| reading.interface == name));
        Some(passed.map(|reading| reading.amount.bytes).sum())
    }
}

impl Host {
    /// Now.
    pub(super) fn pace(&self, state: &VeState) -> Pace {
        let usage = self.cgroups.usage(state.id).unwrap_or_default();
        Pace {
            at: Instant::now(),
            io: self.io_of(state, &usage),
            usage,
            passed: self.counters_of(state).map(|(flows, _)| flows),
        }
    }

    /// What passed in a second between two looks, of what is limited; nothing of what can't be read.
    pub(super) fn rates(&self, state: &VeState, effective: &Effective, before: &Pace, now: &Pace) -> Vec<Rate> {
        let mut rates = Vec::new();
        let mut add = |key: String, bytes: bool, limit: Option<u64>, of: &dyn Fn(&Pace) -> Option<u64>| {
            if let Some((used, limit)) = now.per_second(before, of).zip(limit) {
                rates.push(Rate {
                    key,
                    used,
                    limit,
                    bytes,
                });
            }
        };
        let (io, traffic) = (&effective.limits.io, &effective.traffic);
        let bytes = |limit: Option<Bytes>| limit.map(Bytes::get);
        add("io.read".into(), true, bytes(io.read_bytes), &|p| {
            Some(p.io?.read_bytes)
        });
        add("io.write".into(), true, bytes(io.write_bytes), &|p| {
            Some(p.io?.write_bytes)
        });
        add("io.read_ops".into(), false, io.read_ops, &|p| Some(p.io?.read_ops));
        add("io.write_ops".into(), false, io.write_ops, &|p| Some(p.io?.write_ops));
        let bits = |limit: Option<Bandwidth>| limit.map(|limit| limit.bits() / 8);
        let mut pass = |key: String, limit, direction, interface: Option<&str>| {
            add(key, true, bits(limit), &|p| p.bytes(direction, interface));
        };
        pass("net.in".into(), traffic.inward, Direction::In, None);
        pass("net.out".into(), traffic.outward, Direction::Out, None);
        for (n, defined) in effective.interfaces.iter().enumerate() {
            // Which network a link is on says which of the definition's interfaces it is.
            let Some(link) = state
                .interfaces
                .iter()
                .find(|link| link.network == defined.network.name)
            else {
                continue;
            };
            let name = self.interface_name(state.id, link);
            pass(
                format!("network.{n}.rate_in"),
                defined.rate_in,
                Direction::In,
                Some(&name),
            );
            pass(
                format!("network.{n}.rate_out"),
                defined.rate_out,
                Direction::Out,
                Some(&name),
            );
        }
        rates
    }
}
