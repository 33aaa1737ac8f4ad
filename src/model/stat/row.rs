//! A line of the table: who, and how much of what.

use std::collections::BTreeMap;

use super::{Figure, Figures};
use crate::id::VeId;

/// Whose line it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The whole host.
    Total,
    /// The host without its VEs: the kernel, and what runs in no VE.
    System,
    /// A VE.
    Ve(VeId),
    /// All VEs of a tenant.
    Tenant,
}

impl Kind {
    /// In one word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::System => "system",
            Self::Ve(_) => "ve",
            Self::Tenant => "tenant",
        }
    }
}

/// A figure of a line. `None`: unknown, or no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// In use.
    pub used: Option<u64>,
    /// How much there is on the host; where that has no bounds that are known, what is in use of it in all.
    pub host: Option<u64>,
    /// The limit.
    pub cap: Option<u64>,
}

impl Cell {
    /// The share of the host, in percent.
    pub fn of_host(self) -> Option<f64> {
        percent(self.used?, self.host?)
    }

    /// The share of the limit, in percent.
    pub fn of_cap(self) -> Option<f64> {
        percent(self.used?, self.cap?)
    }
}

/// `None` of nothing.
#[allow(clippy::cast_precision_loss)] // percents for people; 53 bits are enough
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub kind: Kind,
    /// The name: of the VE, of the tenant, or `[total]` and `[system]`.
    pub name: String,
    /// The tenant; empty for none.
    pub tenant: String,
    /// The plan; empty for none.
    pub plan: String,
    /// The state of a VE; empty for others.
    pub state: String,
    /// Does it run, or has it run in this interval?
    pub ran: bool,
    /// How many VEs it stands for.
    pub ves: usize,
    /// The figures.
    pub cells: Figures<Cell>,
    /// The weight for processor time: of a tenant the sum of its VEs' that run.
    pub cpu_weight: Option<u32>,
    /// The weight for the disk.
    pub io_weight: Option<u32>,
    /// What it would get if all that run wanted all they can get, by its weight: of the host's processors; of what goes
    /// to and from disks, as nobody knows how much could.
    pub entitled: Figures<Option<u64>>,
}

impl Row {
    /// One of the whole host.
    pub(super) fn host(kind: Kind, cells: Figures<Cell>) -> Self {
        Self {
            name: format!("[{}]", kind.word()),
            kind,
            tenant: String::new(),
            plan: String::new(),
            state: String::new(),
            ran: true,
            ves: 0,
            cells,
            cpu_weight: None,
            io_weight: None,
            entitled: Figures::default(),
        }
    }

    /// What is in use as a share of what it is entitled to, in percent. More than 100 where others leave theirs.
    pub fn of_entitlement(&self, figure: Figure) -> Option<f64> {
        percent(self.cells[figure].used?, self.entitled[figure]?)
    }
}

/// The lines of VEs put together by tenant, in the order of names; the others as they are. One figure that is unknown
/// makes the sum unknown, and one VE without a limit leaves the tenant without one.
pub fn by_tenant(rows: Vec<Row>) -> Vec<Row> {
    let (ves, mut out): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| matches!(row.kind, Kind::Ve(_)));
    let mut tenants: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in ves {
        tenants.entry(row.tenant.clone()).or_default().push(row);
    }
    out.extend(tenants.into_iter().map(|(tenant, rows)| together(tenant, &rows)));
    out
}

fn together(tenant: String, rows: &[Row]) -> Row {
    let running = || rows.iter().filter(|row| row.ran);
    let cells = Figures::each(|figure| {
        let cells = || rows.iter().map(|row| row.cells[figure]);
        Cell {
            used: sum(cells().map(|c| c.used)),
            host: cells().find_map(|c| c.host),
            cap: sum(cells().map(|c| c.cap)),
        }
    });
    Row {
        kind: Kind::Tenant,
        name: tenant.clone(),
        tenant,
        plan: String::new(),
        state: String::new(),
        ran: rows.iter().any(|row| row.ran),
        ves: rows.len(),
        cells,
        cpu_weight: sum(running().map(|r| r.cpu_weight.map(u64::from))).and_then(|n| n.try_into().ok()),
        io_weight: sum(running().map(|r| r.io_weight.map(u64::from))).and_then(|n| n.try_into().ok()),
        entitled: Figures::each(|figure| sum(running().map(|r| r.entitled[figure]))),
    }
}

/// `None` if one is unknown.
pub(super) fn sum(mut numbers: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    numbers.try_fold(0_u64, |sum, n| sum.checked_add(n?))
}
