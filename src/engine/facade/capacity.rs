//! How much of this host is promised and used, and how many more VEs of a plan fit: `hostel capacity`.

use hostel_model::capacity::{Each, Fit, History, NEEDED_HOURS, Promise, Resource, first, fits, oversold, sum};
use hostel_model::definition::{Beyond, Oversell, VeDefinition};
use hostel_model::id::{NetworkName, PlanName};
use hostel_model::ipam::{Family, census, families};
use hostel_model::limits::Max;
use hostel_model::quantity::{Quantity, Unit};
use serde::Serialize;

use super::{Engine, Progress, Window};
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;
use crate::ledger::{Ledger, Said};
use crate::ve::budget::processors;
use crate::ve::registry::Catalogue;
use crate::ve::taken::Taken;

/// How this host stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    /// What there is of each resource, and whose it is.
    pub resources: Vec<Stock>,
    /// What the ledger knows of real use.
    pub history: Known,
    /// Each plan.
    pub plans: Vec<PlanCapacity>,
}

/// Something of which there is only so much.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stock {
    /// What it is: cpu, memory, guarantee, swap, disk, processes; "ids", ranges of user ids; "ipv4 NETWORK" and
    /// "ipv6 NETWORK", addresses.
    pub resource: String,
    /// What its amounts are counted in.
    pub unit: Unit,
    /// How much there is; `None`: that can't be told, or there is none.
    pub have: Option<Quantity>,
    /// How much all VEs are promised, whether they run or not.
    pub promised: Option<Quantity>,
    /// How many VEs have no limit: each is promised all there is.
    pub unlimited: u64,
    /// Promised, in parts of what there is.
    pub oversell: Option<f64>,
    /// How far that may go, by hostel.toml; 1 where it says nothing.
    pub most: Option<f64>,
    /// What becomes of a VE that would pass that; `None`: of this no more can be given than there is.
    pub beyond: Option<Beyond>,
    /// How much all VEs together really use, in 95 of 100 hours at most; of disk now. `None`: not known, or not for long
    /// enough.
    pub used: Option<Quantity>,
}

/// What the ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Of so many whole hours.
    pub hours: usize,
    /// So many are needed.
    pub needed: usize,
}

/// How many more VEs of a plan there is room for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanCapacity {
    /// Which plan.
    pub plan: PlanName,
    /// Why nothing more can be said of it.
    pub problem: Option<String>,
    /// By promise: if all VEs took all that they may.
    pub promise: Room,
    /// By real use: if new ones were like those there are.
    pub real: Room,
    /// In so many hours VEs of this plan have run.
    pub hours: usize,
    /// The same of each resource.
    pub resources: Vec<Share>,
}

/// How many more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// So many; `None`: that can't be told.
    pub fits: Option<u64>,
    /// What runs out first.
    pub first: Option<String>,
}

/// What a VE of a plan takes of something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// What it is.
    pub resource: String,
    /// What a VE is promised; `None`: it has no limit.
    pub promised: Option<Quantity>,
    /// How many more fit by that.
    pub fits: Fit,
    /// What one has really used, in 95 of 100 hours at most; `None`: not known, or not for long enough.
    pub used: Option<Quantity>,
    /// How many more fit by that.
    pub fits_by_use: Fit,
}

/// So many addresses, or more: what is more nobody counts, nor could every reader of JSON.
const COUNTLESS: u64 = 1 << 53;

/// A stock as it is reckoned with.
struct Line {
    name: String,
    unit: Unit,
    resource: Option<Resource>,
    have: Option<u64>,
    promised: Option<u64>,
    unlimited: u64,
    most: Oversell,
    beyond: Option<Beyond>,
    used: Option<u64>,
}

const fn unit(resource: Resource) -> Unit {
    match resource {
        Resource::Cpu => Unit::Millis,
        Resource::Processes => Unit::Processes,
        _ => Unit::Bytes,
    }
}

#[allow(clippy::cast_precision_loss)] // thousandths, for people and alarms
fn factor(milli: u64) -> f64 {
    milli as f64 / 1000.0
}

impl Engine {
    /// How this host stands, and how many more VEs of this plan fit, or of each plan. `networks`: those that new VEs would
    /// be on. `window`: the time of which the ledger is asked.
    pub fn capacity(
        &self,
        plan: Option<&PlanName>,
        networks: Option<&[NetworkName]>,
        window: Window,
        progress: &dyn Progress,
    ) -> Result<Capacity> {
        let mut catalogue = Catalogue::default();
        let plans = match plan {
            // One that isn't there is a mistake; a broken one says what is wrong with it.
            Some(plan) => {
                catalogue.plan(&self.host, plan)?;
                vec![plan.clone()]
            }
            None => {
                let names = self.host.names_of("plans").into_iter();
                names.filter_map(|name| name.parse().ok()).collect()
            }
        };
        let usual: Vec<NetworkName> = self.host.config.defaults.network.iter().cloned().collect();
        let networks = networks.unwrap_or(&usual);
        let history = self.history(window, progress)?;
        let lines = self.host.lines(networks, &history, &mut catalogue)?;
        let plans = plans
            .iter()
            .map(|plan| self.host.room(plan, &lines, &history, &mut catalogue))
            .collect();
        Ok(Capacity {
            resources: lines.iter().map(Line::stock).collect(),
            history: Known {
                hours: history.hours(),
                needed: NEEDED_HOURS,
            },
            plans,
        })
    }

    /// What the ledger tells of that time; where there is none, nothing.
    fn history(&self, window: Window, progress: &dyn Progress) -> Result<History> {
        self.bring_up(progress);
        let mut history = History::default();
        let Some(mut ledger) = Ledger::open_existing(&self.host.dirs.ledger())? else {
            return Ok(history);
        };
        ledger.each((window.from_ns, window.to_ns), false, &mut |line| {
            if let Said::Usage(interval, terms) = &line.said
                && let Some(interval) = interval.within(window.from_ns, window.to_ns)
            {
                history.add(&line.life, &terms.plan, &interval);
            }
            Ok(())
        })?;
        Ok(history)
    }
}

impl Host {
    fn lines(&self, networks: &[NetworkName], history: &History, catalogue: &mut Catalogue) -> Result<Vec<Line>> {
        let (has, sums) = (self.has(), sum(&self.promises(None, catalogue, |_| true)?));
        let known = history.hours() >= NEEDED_HOURS;
        let used = if known { history.of_all() } else { Each::default() };
        let free = hostel_system::file::free_space(&self.dirs.ves()).ok();
        let mut lines: Vec<Line> = Resource::ALL
            .into_iter()
            .map(|resource| {
                let (have, sum, rule) = (has[resource], sums[resource], self.config.capacity[resource]);
                Line {
                    name: resource.name().to_owned(),
                    unit: unit(resource),
                    resource: Some(resource),
                    have,
                    promised: match have {
                        Some(have) => Some(sum.of(have)),
                        None => Some(sum.limited).filter(|_| sum.unlimited == 0),
                    },
                    unlimited: sum.unlimited,
                    most: rule.oversell,
                    beyond: Some(rule.beyond),
                    used: match resource {
                        // What others have on that file system is as little there as what VEs have.
                        Resource::Disk => have.zip(free).and_then(|(have, free)| have.checked_sub(free)),
                        _ => used[resource],
                    },
                }
            })
            .collect();
        let taken = self.taken(None)?;
        lines.push(fixed(
            "ids".to_owned(),
            Unit::Ranges,
            taken.slots.len() as u64,
            self.config.idmap.count.into(),
        ));
        for name in networks {
            lines.extend(self.addresses(name, &taken, catalogue)?);
        }
        Ok(lines)
    }

    fn addresses(&self, name: &NetworkName, taken: &Taken, catalogue: &mut Catalogue) -> Result<Vec<Line>> {
        let network = catalogue.network(self, name)?;
        let pools = census(network, &taken.addresses, &taken.aside, taken.now);
        let of = |family: Family| {
            let pools = || pools.iter().filter(|p| Family::of(p.pool.ip()) == family);
            let sum = |amount: fn(&hostel_model::ipam::Census) -> u64| pools().map(amount).fold(0, u64::saturating_add);
            let used = sum(|p| p.used);
            let name = format!("{} {name}", family.to_string().to_ascii_lowercase());
            // What is aside is given where nothing else is left.
            let have = used.saturating_add(sum(|p| p.left)).saturating_add(sum(|p| p.aside));
            fixed(name, Unit::Addresses, used, have.min(COUNTLESS))
        };
        Ok(families(network).map(of).collect())
    }

    fn room(&self, plan: &PlanName, lines: &[Line], history: &History, catalogue: &mut Catalogue) -> PlanCapacity {
        let (used, hours) = history.of_plan(plan.as_str());
        let used = if hours >= NEEDED_HOURS { used } else { Each::default() };
        let (promise, problem) = match self.promise_of(plan, catalogue) {
            Ok(promise) => (Some(promise), None),
            Err(e) => (None, Some(chain(&e))),
        };
        let shares: Vec<Share> = lines.iter().map(|line| line.share(promise.as_ref(), &used)).collect();
        let room = |fit: fn(&Share) -> Fit, known: bool| {
            let least = first(shares.iter().map(|share| (&share.resource, fit(share)))).filter(|_| known);
            Room {
                fits: least.map(|(_, n)| n),
                first: least.map(|(name, _)| name.clone()),
            }
        };
        PlanCapacity {
            plan: plan.clone(),
            promise: room(|share| share.fits, promise.is_some()),
            // By the plan alone nothing can be said: of what matters most, processors and memory, nothing is known.
            real: room(
                |share| share.fits_by_use,
                problem.is_none() && hours >= NEEDED_HOURS && history.hours() >= NEEDED_HOURS,
            ),
            problem,
            hours,
            resources: shares,
        }
    }

    /// What a VE is promised of which nothing but its plan is said.
    fn promise_of(&self, plan: &PlanName, catalogue: &mut Catalogue) -> Result<Promise> {
        let text = format!(
            "id = 101\nname = \"a\"\ntenant = \"a\"\ntemplate = \"a\"\nplan = {:?}\n",
            plan.as_str()
        );
        let wrong = |e: &dyn std::fmt::Display| {
            Error::new(Class::Failed, "cannot tell what a plan grants").because(e.to_string())
        };
        let definition = VeDefinition::parse("ve/a.toml", &text).map_err(|e| wrong(&e))?;
        let tenant = hostel_model::definition::Tenant::parse("tenants/a.toml", "").map_err(|e| wrong(&e))?;
        let plan = catalogue.plan(self, plan)?;
        let ve =
            hostel_model::resolve::resolve(&definition, plan, &[], &self.config, &tenant).map_err(|e| wrong(&e))?;
        Ok(Promise::of(&ve, processors()))
    }
}

/// Of this there is as much as there is, and a VE takes one.
fn fixed(name: String, unit: Unit, used: u64, have: u64) -> Line {
    Line {
        name,
        unit,
        resource: None,
        have: Some(have),
        promised: Some(used),
        unlimited: 0,
        most: Oversell::ONCE,
        beyond: None,
        used: Some(used),
    }
}

impl Line {
    fn stock(&self) -> Stock {
        let of = |n: Option<u64>| n.map(|n| self.unit.of(n));
        Stock {
            resource: self.name.clone(),
            unit: self.unit,
            have: of(self.have),
            promised: of(self.promised),
            unlimited: self.unlimited,
            oversell: self
                .promised
                .zip(self.have)
                .and_then(|(promised, have)| oversold(promised, have))
                .map(factor),
            most: self.beyond.map(|_| factor(self.most.milli().into())),
            beyond: self.beyond,
            used: of(self.used),
        }
    }

    /// What one VE more takes of it, and how many such fit.
    fn share(&self, promise: Option<&Promise>, used: &Each<Option<u64>>) -> Share {
        let (promised, one) = match (self.resource, promise.map(|p| self.resource.map(|r| p[r]))) {
            (None, _) => (Some(1), Some(1)),
            (_, Some(Some(Max::At(n)))) => (Some(n), Some(n)),
            // All there is.
            (_, Some(Some(Max::Unlimited))) => (None, self.have),
            (_, _) => (None, None),
        };
        let used = self.resource.map_or(Some(1), |r| used[r]);
        let by_use = match self.resource {
            Some(Resource::Guarantee) => Fit::Any,
            _ => fits(self.have, self.used, used),
        };
        Share {
            resource: self.name.clone(),
            promised: promised.map(|n| self.unit.of(n)),
            fits: fits(self.have.map(|have| self.most.of(have)), self.promised, one),
            used: used.map(|n| self.unit.of(n)),
            fits_by_use: by_use,
        }
    }
}
