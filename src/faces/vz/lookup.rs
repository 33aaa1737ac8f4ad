//! Which VE is meant: CTID N is VE N. What is no number is a VE's name, or one that the dialect has given it.

use hostel_engine::Error;
use hostel_engine::facade::VeStatus;
use hostel_model::id::VeId;
use hostel_model::request::VeRef;

use super::house::House;

/// What an argument means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meant {
    /// A VE that is there.
    Ve(Box<VeStatus>),
    /// A number that no VE has.
    Free(VeId),
    /// A number that no VE can have: the host's own is 0.
    Number(u64),
    /// A name that no VE has.
    Unknown,
}

/// Finds the VE that `text` names.
pub fn lookup(house: &dyn House, text: &str) -> Result<Meant, Error> {
    let found = |status: Option<VeStatus>, or: Meant| status.map_or(or, |status| Meant::Ve(Box::new(status)));
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.trim_start_matches('0').parse::<VeId>() {
            Ok(id) => Ok(found(house.status(&VeRef::Id(id))?, Meant::Free(id))),
            Err(_) => Ok(Meant::Number(text.parse().unwrap_or(u64::MAX))),
        };
    }
    if let Ok(name) = text.parse()
        && let Some(status) = house.status(&VeRef::Name(name))?
    {
        return Ok(Meant::Ve(Box::new(status)));
    }
    match house.named(text)? {
        Some(id) => Ok(found(house.status(&VeRef::Id(id))?, Meant::Unknown)),
        None => Ok(Meant::Unknown),
    }
}
