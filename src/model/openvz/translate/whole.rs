//! What takes all parameters together: a plan, limits of memory, rates.

use super::{Refused, Translation, Work, network, one_line};
use crate::openvz::key::Group;
use crate::openvz::value::{Unit, pair, truth};

/// What plans say and a definition may say otherwise; what is fixed when a VE is made, and what it is allowed, stays.
pub(super) const OF_PLANS: [&str; 17] = [
    "cpu.cap",
    "cpu.weight",
    "cpu.pin",
    "cpu.count",
    "memory.limit",
    "memory.swap",
    "memory.guarantee",
    "processes",
    "disk.size",
    "io.read",
    "io.write",
    "io.read_ops",
    "io.write_ops",
    "io.weight",
    "net.in",
    "net.out",
    "net.burst",
];

impl Work<'_> {
    /// What needs all parameters.
    pub(super) fn finish(mut self) -> Result<Translation, Refused> {
        self.finish_plan();
        for (key, list) in std::mem::take(&mut self.lists) {
            self.set(key, &list.join(","));
        }
        self.finish_memory();
        self.finish_rate()?;
        let settings = self.network.settings(self.around, &mut self.out.notes)?;
        self.out.settings.extend(settings);
        Ok(self.out)
    }

    /// A plan that is applied is in force as a whole, but for what is said beside it.
    fn finish_plan(&mut self) {
        let Some(plan) = &self.out.plan else { return };
        let mut settings = vec![("plan".to_owned(), plan.to_string())];
        if !self.around.creating {
            settings.extend(OF_PLANS.iter().map(|key| ((*key).to_owned(), String::new())));
        }
        settings.append(&mut self.out.settings);
        self.out.settings = settings;
    }

    fn finish_memory(&mut self) {
        let limited = |text: &str| pair(text, Unit::Pages).is_ok_and(|p| p.limit.limit().is_some());
        let vswap = self.memory.is_some() || self.around.remembered.get("PHYSPAGES").is_some_and(limited);
        if let Some(text) = self.private_memory.take() {
            self.about(Group::Memory);
            self.set("openvz.PRIVVMPAGES", &one_line(&text));
            let limit = pair(&text, Unit::Pages).map(|p| p.limit);
            match limit {
                Ok(limit) if !vswap => {
                    self.memory = limit.limit();
                    self.set("memory.limit", &limit.setting());
                }
                _ => self.out.without_effect.push((
                    "PRIVVMPAGES".into(),
                    "its memory is limited by --ram or --physpages already".into(),
                )),
            }
        }
        let Some(percent) = self.guarantee else { return };
        self.about(Group::Memory);
        match self.memory.or(self.around.memory_limit) {
            Some(limit) => self.set("memory.guarantee", &(limit / 100 * percent).to_string()),
            None => self.out.without_effect.push((
                "MEMGUARANTEE".into(),
                "its memory has no limit of which this could be a part".into(),
            )),
        }
    }

    fn finish_rate(&mut self) -> Result<(), Refused> {
        if self.rate.is_none() && self.bound.is_none() {
            return Ok(());
        }
        self.about(Group::Network);
        let remembered = |key: &str| self.around.remembered.get(key).map(str::to_owned);
        let rate = self.rate.clone().or_else(|| remembered("RATE"));
        let bound = self.bound.or_else(|| truth(&remembered("RATEBOUND")?).ok()) == Some(true);
        if let Some(rate) = &self.rate {
            let rate = rate.clone();
            network::kbit(&rate)?;
            self.set("openvz.RATE", &one_line(&rate));
        }
        match (rate, bound) {
            (Some(rate), true) => {
                let kbit = network::kbit(&rate)?;
                self.set("net.out", &format!("{kbit}kbit"));
            }
            (_, false) if self.bound == Some(false) => self.set("net.out", ""),
            _ => self.out.without_effect.push((
                "RATE".into(),
                "it is the most that leaves the VE only with --rate and --ratebound yes".into(),
            )),
        }
        Ok(())
    }
}
