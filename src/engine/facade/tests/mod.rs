//! The facade on hosts of fakes: what each request does, refuses, and leaves.

mod access;
mod address;
mod attach;
mod bridge;
mod broken;
mod by_hand;
mod capacity;
mod create;
mod forward;
mod halt;
mod host_life;
mod identity;
mod import;
mod judge;
mod mac;
mod monthly;
mod names;
mod openvz;
mod proxy;
mod rates;
mod reinstall;
mod reload;
mod set;
mod settle;
mod stat;
mod states;
mod tenants;
mod traffic;

use std::sync::Arc;

use hostel_model::request::{Action, StartOptions, VeRef};

use super::{Engine, Outcome, Silent};
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::testing::{engine, id, inventory};

/// Keeps what is worth a line.
#[derive(Debug, Default)]
pub(crate) struct Heard(std::sync::Mutex<Vec<String>>);

impl Heard {
    pub(crate) fn notes(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl super::Progress for Heard {
    fn step(&self, _: &str) {}
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }
}

/// Does something when this step begins.
struct At<'a>(&'static str, &'a (dyn Fn() + Sync));

impl super::Progress for At<'_> {
    fn step(&self, what: &str) {
        if what == self.0 {
            self.1();
        }
    }
    fn note(&self, _: &str) {}
}

/// An action on VE 101.
fn act(host: &Arc<Host>, action: &Action) -> Result<Outcome> {
    engine(host).act(id(101), action, &Silent)
}

fn start() -> Action {
    Action::Start(StartOptions::default())
}

fn web1() -> VeRef {
    VeRef::Name("web1".parse().unwrap())
}

/// The text of web1's definition.
fn definition(host: &Arc<Host>) -> String {
    engine(host).definition_text(&web1()).unwrap()
}

/// Edits web1's definition as a person with an editor, past Hostel.
fn edit_by_hand(host: &Arc<Host>, text: &str) {
    std::fs::write(host.dirs.definition(&"web1".parse().unwrap()), text).unwrap();
}

/// Nothing may come of this but an error of this class, and the host be as it was.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    host: &Arc<Host>,
    class: Class,
    what: &str,
    act: impl FnOnce(&Engine) -> Result<T>,
) -> Error {
    let before = inventory(host);
    let error = act(&engine(host)).map(|done| panic!("{what}: {done:?}")).unwrap_err();
    assert_eq!(error.class, class, "{what}: {error:?}");
    assert_eq!(inventory(host), before, "{what}");
    error
}
