//! What the fields of vzlist say of a VE.

use hostel_engine::facade::{Port, Pressure, VeLook};
use hostel_model::definition::DriverName;
use hostel_model::openvz::{name_of, switches};
use hostel_model::resolve::{Effective, Source};
use hostel_model::stat::Figure;
use hostel_model::state::State;

use super::field::parameter;
use super::value::Value;
use crate::vz::usual_name;

/// Of its definition, if that can be read.
pub fn paper<T>(ve: &VeLook, of: impl FnOnce(&Effective) -> Option<T>) -> Option<T> {
    ve.definition.as_ref().and_then(of)
}

pub fn about(ve: &VeLook, of: impl FnOnce(&Effective) -> Value) -> Value {
    ve.definition.as_ref().map_or(Value::Unknown, of)
}

/// A number that is told only if somebody has said it.
pub fn given(ve: &VeLook, key: &str, of: fn(&Effective) -> u16) -> Value {
    about(ve, |e| match e.sources.get(key) {
        None | Some(Source::Default) => Value::Unknown,
        Some(_) => Value::Number(of(e).into()),
    })
}

/// The name that it was given; `vzctl create` without one calls it by its number.
pub fn name(ve: &VeLook) -> Option<String> {
    let own = || ve.record.as_ref().map(|r| r.name.clone());
    match &ve.definition {
        Some(definition) => name_of(definition),
        None => own().filter(|name| *name != usual_name(ve.id)),
    }
}

pub fn smart_name(ve: &VeLook) -> Value {
    Value::Text(name(ve).unwrap_or_else(|| ve.id.to_string()))
}

pub fn template(ve: &VeLook) -> Option<&str> {
    ve.record.as_ref()?.template.split('/').next()
}

pub fn layout(ve: &VeLook) -> Value {
    Value::text(ve.record.as_ref().map(|r| match r.driver {
        DriverName::Image => "ploop",
        DriverName::Project | DriverName::Btrfs => "simfs",
    }))
}

/// One that is broken does not run: whatever a client knows of states, it must find one that it knows.
pub fn status(ve: &VeLook) -> Value {
    match ve.state {
        None => Value::Unknown,
        Some(State::Broken) => Value::Text(State::Stopped.to_string()),
        Some(state) => Value::Text(state.to_string()),
    }
}

pub fn onboot(ve: &VeLook) -> Value {
    about(ve, |e| match e.sources.get("onboot") {
        None | Some(Source::Default) => Value::Unknown,
        Some(_) => Value::Switch(e.onboot),
    })
}

pub fn addresses(ve: &VeLook) -> Vec<String> {
    let ports = ve.record.iter().flat_map(|r| &r.interfaces);
    ports.flat_map(|p| &p.addresses).map(ToString::to_string).collect()
}

pub fn ports(ve: &VeLook, of: fn(&Port) -> String) -> Value {
    Value::List(ve.record.iter().flat_map(|r| &r.interfaces).map(of).collect())
}

pub fn gateways(ve: &VeLook) -> Value {
    let interfaces = ve.definition.iter().flat_map(|e| &e.interfaces);
    let bridges = interfaces.filter_map(|i| i.network.bridge.as_ref());
    Value::List(bridges.flat_map(|b| &b.gateway).map(ToString::to_string).collect())
}

pub fn nameserver(ve: &VeLook) -> Value {
    about(ve, |e| match e.has_hosts_name_servers() {
        true => Value::List(vec!["inherit".to_owned()]),
        false => Value::List(e.dns.iter().map(ToString::to_string).collect()),
    })
}

/// CAPABILITY="NAME:on NAME:off", as it is remembered.
pub fn capability(ve: &VeLook) -> Value {
    about(ve, |e| {
        let text = e.openvz.get("CAPABILITY").unwrap_or_default();
        match switches(text) {
            Ok(list) if !list.is_empty() => Value::Switches(list),
            _ => Value::Unknown,
        }
    })
}

pub fn features(ve: &VeLook) -> Value {
    about(ve, |e| {
        let bare = |key: &'static str| key.strip_prefix("features.").unwrap_or(key).to_owned();
        Value::Switches(e.features.iter().map(|(key, on)| (bare(key), on)).collect())
    })
}

/// 4 is what everybody has; what was given where no weight has an effect is told again.
pub fn ioprio(ve: &VeLook) -> Value {
    about(ve, |e| match (e.limits.io.weight, e.openvz.get("IOPRIO")) {
        (None, None) => Value::Number(4),
        _ => parameter(ve, "IOPRIO"),
    })
}

/// What its `df` calls used and available; of one that is stopped, its size.
pub fn disk_limit(ve: &VeLook) -> Option<u64> {
    let filled = ve.disk.used.zip(ve.disk.free);
    let filled = filled.map(|(used, free)| used.saturating_add(free));
    filled.or(ve.record.as_ref().map(|r| r.disk_size))
}

pub fn space(ve: &VeLook) -> [Value; 3] {
    let limit = Value::number(disk_limit(ve).map(|n| n / 1024));
    [
        Value::number(ve.disk.used.map(|n| n.div_ceil(1024))),
        limit.clone(),
        limit,
    ]
}

pub fn inodes(ve: &VeLook) -> [Value; 3] {
    let limit = Value::number(ve.disk.inodes);
    [Value::number(ve.disk.inodes_used), limit.clone(), limit]
}

/// Millionths of a processor, in percent of one.
#[allow(clippy::cast_precision_loss)] // there are no 2^53 millionths of a processor
pub fn cpu_percent(ve: &VeLook) -> Value {
    let used = ve.rates.and_then(|rates| rates[Figure::Cpu]);
    used.map_or(Value::Unknown, |micros| Value::Real(micros as f64 / 10_000.0))
}

pub fn pressure(pressure: Option<&Pressure>) -> Value {
    pressure.map_or(Value::Unknown, |p| Value::Real(p.some_avg10.into()))
}
