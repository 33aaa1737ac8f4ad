//! The words of the OpenVZ tools: values, parameters and files, and what they mean in Hostel.
//!
//! One table ([`table()`]) says of every parameter what it becomes: a setting of a definition, nothing (it is accepted,
//! remembered in the definition's `[openvz]` and reported), or a refusal where ignoring it would be unsafe. What vzctl
//! takes, what is imported, and the documentation all come from it.

pub mod code;
mod conf;
mod key;
mod remembered;
mod render;
mod table;
mod translate;
mod value;

pub use conf::{Conf, Entry, Problem, with_id};
pub use key::{Act, Becomes, By, Group, Key, Since};
pub use remembered::Remembered;
pub use render::{Facts, InterfaceFacts, cpu_units, lesser, name_of, parameters, render};
pub use table::{option, parameter, table};
pub use translate::{Given, Held, Password, Refused, Surroundings, Translation, one_line, translate};
pub use value::{
    Amount, BadValue, PAGE, Pair, UNLIMITED, Unit, amount, list, pair, processors, switches, truth, whole,
};
