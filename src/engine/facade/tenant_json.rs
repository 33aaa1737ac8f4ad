//! Tenants' budgets as programs are given them: processors, bytes and numbers of things.

use hostel_model::quantity::Unit;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::BudgetStatus;

impl Serialize for BudgetStatus {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let amount = |n: Option<u64>| n.map(|n| self.unit.of(n));
        let mut one = s.serialize_struct("BudgetStatus", 5)?;
        one.serialize_field("budget", &self.budget)?;
        one.serialize_field("unit", &self.unit)?;
        one.serialize_field("used", &amount(self.used))?;
        one.serialize_field("running", &amount(self.running))?;
        one.serialize_field("limit", &amount(self.limit))?;
        one.end()
    }
}

/// Thousandths of a processor.
pub(super) fn processors<S: Serializer>(milli: &u64, s: S) -> Result<S::Ok, S::Error> {
    Unit::Millis.of(*milli).serialize(s)
}
