//! Values that become settings by themselves.

use std::net::IpAddr;

use super::{Given, Work, one_line};
use crate::id::{Domain, Hostname};
use crate::openvz::key::By;
use crate::openvz::value::{self, Amount, BadValue, Unit, amount, pair, truth, whole};

/// The weight of everybody whom nobody gave another, here and there.
const UNITS_OF_WEIGHT: u64 = 10;
/// What IOPRIO steps are in weight: 4, the usual, is 100.
const WEIGHT_OF_STEP: u64 = 20;

impl Work<'_> {
    pub(super) fn value(&mut self, given: &Given<'_>, keys: &[&'static str], by: By) -> Result<(), BadValue> {
        let text = given.value;
        let set = match by {
            By::Inherited => return self.piece(keys, text),
            By::Text => hostname(keys, text)?,
            By::OneLine => one_line(text),
            By::Truth => truth(text)?.to_string(),
            By::OnBoot => (text.trim().eq_ignore_ascii_case("auto") || truth(text)?).to_string(),
            By::Whole(most) => whole(text, 0, most)?.to_string(),
            By::Seconds => match whole(text, 0, 365 * 86_400)? {
                0 => String::new(),
                seconds => format!("{seconds}s"),
            },
            By::Limit(unit) => {
                let limit = pair(text, unit)?.limit;
                self.limited(given, keys, limit);
                limit_of(unit, limit, text)?
            }
            By::Barrier(unit) => match pair(text, unit)?.barrier {
                Amount::At(0) | Amount::Unlimited => String::new(),
                barrier => barrier.setting(),
            },
            By::OrNone(unit) => match amount(text, unit)? {
                Amount::At(0) => Amount::Unlimited.setting(),
                most => most.setting(),
            },
            By::CpuUnits => weight_of_units(whole(text, 8, 500_000)?).to_string(),
            By::CpuLimit => value::processor_time(text, self.around.cpus)?
                .map_or_else(|| Amount::Unlimited.setting(), |milli| format!("{}%", tenths(milli))),
            By::Cpus => match whole(text, 0, 8192)? {
                0 => Amount::Unlimited.setting(),
                n => n.to_string(),
            },
            By::CpuList => value::processors(text)?.map_or_else(|| Amount::Unlimited.setting(), String::from),
            By::IoPriority => {
                let weight = weight_of_priority(whole(text, 0, 7)?);
                // Panels set it, usually to what everybody has, on hosts that never heeded it.
                if let Some(why) = &self.around.no_io_weight {
                    self.without_effect(given, why);
                    return Ok(());
                }
                weight.to_string()
            }
            By::StopMode => match text.trim().to_ascii_lowercase().as_str() {
                mode @ ("stop" | "suspend") => mode.to_owned(),
                _ => return Err(BadValue::new(text, "stop or suspend")),
            },
        };
        if is_rough(by) {
            self.remember(given, text);
        }
        for key in keys {
            self.set(key, &set);
        }
        Ok(())
    }

    /// A limit of memory in the words of VSwap.
    fn limited(&mut self, given: &Given<'_>, keys: &[&str], limit: Amount) {
        if keys == ["memory.limit"] {
            self.memory = limit.limit().or(self.memory);
            // From now on that is what limits it, and not privvmpages.
            let pages = limit.limit().map_or(value::UNLIMITED, |bytes| bytes / value::PAGE);
            self.set("openvz.PHYSPAGES", &format!("0:{pages}"));
        } else if given.key.name() == Some("DISKSPACE") {
            self.remember(given, given.value);
        }
    }

    /// One more of a list; `inherit` for nothing of its own.
    fn piece(&mut self, keys: &[&'static str], text: &str) -> Result<(), BadValue> {
        for key in keys {
            let so_far = self.lists.entry(key).or_default();
            for part in value::list(text).filter(|part| *part != "inherit") {
                let fits = match *key {
                    "dns" => part.parse::<IpAddr>().is_ok(),
                    _ => part.parse::<Domain>().is_ok(),
                };
                if !fits {
                    return Err(BadValue::new(part, "an address or a domain, or inherit"));
                }
                so_far.push(part.to_owned());
            }
        }
        Ok(())
    }
}

/// Is the original lost, if it isn't remembered?
fn is_rough(by: By) -> bool {
    matches!(by, By::CpuUnits | By::Barrier(_) | By::OneLine)
}

fn hostname(keys: &[&str], text: &str) -> Result<String, BadValue> {
    let plain = text.trim();
    // An empty one is none of its own: the VE's name.
    if keys == ["hostname"] && !plain.is_empty() && plain.parse::<Hostname>().is_err() {
        return Err(BadValue::new(
            text,
            "a host name: letters, digits and hyphens with dots between",
        ));
    }
    Ok(plain.to_owned())
}

/// What can't be without a limit, or not of nothing.
fn limit_of(unit: Unit, limit: Amount, text: &str) -> Result<String, BadValue> {
    match (unit, limit) {
        (Unit::Kib, Amount::Unlimited | Amount::At(0)) => Err(BadValue::new(text, "a size: a disk is always limited")),
        (Unit::Count, Amount::At(0)) => Err(BadValue::new(text, "a number from 1 on, or unlimited")),
        _ => Ok(limit.setting()),
    }
}

/// CPUUNITS as a weight.
pub(in crate::openvz) fn weight_of_units(units: u64) -> u64 {
    (units / UNITS_OF_WEIGHT).clamp(1, 10_000)
}

/// IOPRIO as a weight.
pub(in crate::openvz) fn weight_of_priority(priority: u64) -> u64 {
    (priority + 1) * WEIGHT_OF_STEP
}

/// Thousandths of a processor as percent of it.
fn tenths(milli: u64) -> String {
    match (milli / 10, milli % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}
