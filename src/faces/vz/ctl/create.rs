//! `create`, and `reinstall`, which makes a container anew.

use std::io::Write;

use hostel_engine::facade::VeStatus;
use hostel_engine::{Class, Error};
use hostel_model::id::{VeId, VeName};
use hostel_model::openvz::code;
use hostel_model::openvz::{Remembered, Surroundings, Translation, translate};
use hostel_model::request::{Action, Create};
use hostel_model::state::State;

use super::life::is;
use super::set::{address_conflict, passwords, tell_without_effect};
use super::{Call, Done, Failure, by_id, said};
use crate::vz::lookup::{Meant, lookup};
use crate::vz::usual_name;

/// `create`
pub fn create(call: &Call<'_>) -> Done {
    let id = match lookup(call.house, call.ve)? {
        Meant::Free(id) => id,
        Meant::Ve(ve) => return said(code::EXISTS, format!("There is a container {} already", ve.id)),
        Meant::Number(n) => {
            let (least, most) = (VeId::MIN, VeId::MAX);
            return said(
                code::VALUE,
                format!("CTID {n} can't be had: give one from {least} to {most}"),
            );
        }
        Meant::Unknown => {
            let text = "write a number for the new container, and its name with --name".to_owned();
            return said(code::VALUE, format!("\"{}\" is no CTID: {text}", call.ve));
        }
    };
    let (networks, remembered) = (call.house.networks(), Remembered::default());
    let around = Surroundings {
        cpus: super::set::processors(),
        creating: true,
        remembered: &remembered,
        memory_limit: None,
        interfaces: Vec::new(),
        networks: &networks,
        default_network: call.house.default_network(),
        no_io_weight: call.house.no_io_weight(),
    };
    let made = translate(&call.given(), &around).map_err(|e| Failure::Said(e.code, e.message))?;
    let request = request(call, id, &made)?;
    call.house.create(&request, call.voice).map_err(|e| {
        let code = why_not(call, &e, &made);
        Failure::Engine(e, code)
    })?;
    tell_without_effect(call, &made);
    call.line(&format!("Container {id}: created"));
    if !made.passwords.is_empty() {
        passwords(call, &made)?;
    }
    Ok(code::OK.number)
}

fn request(call: &Call<'_>, id: VeId, made: &Translation) -> Result<Create, Failure> {
    let mut settings = vec![("id".to_owned(), id.to_string())];
    if let Some(template) = &made.template {
        let known = call.house.templates()?;
        if !known.iter().any(|name| *name == template.name.to_string()) {
            let there = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            let text = format!("There is no template {}; there are: {there}", template.name);
            return said(code::NO_TEMPLATE, text);
        }
        settings.push(("template".to_owned(), template.to_string()));
    }
    let name = match &made.name {
        // A name that can't be a VE's is one that the dialect alone knows.
        Some(name) if !name.is_empty() => {
            free_name(call, name)?;
            match name.parse::<VeName>() {
                Ok(fit) => fit.to_string(),
                Err(_) => {
                    settings.push(("openvz.NAME".to_owned(), name.clone()));
                    usual_name(id)
                }
            }
        }
        _ => usual_name(id),
    };
    settings.extend(made.settings.iter().cloned());
    Ok(Create {
        name: Some(name),
        file: None,
        settings,
        start: None,
        tree: None,
    })
}

/// Nobody else may be called so.
pub fn free_name(call: &Call<'_>, name: &str) -> Result<(), Failure> {
    let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if name.contains(unfit) || name.bytes().all(|b| b.is_ascii_digit()) || name.starts_with(['-', '.']) {
        return said(
            code::NAME,
            format!("\"{name}\" can't be a name: it would be taken for something else"),
        );
    }
    let own = lookup(call.house, call.ve)?;
    match lookup(call.house, name)? {
        Meant::Ve(other) if !matches!(&own, Meant::Ve(own) if own.id == other.id) => {
            said(code::NAME, format!("Container {} is called {name} already", other.id))
        }
        _ => Ok(()),
    }
}

/// The code of a creation that was refused.
fn why_not(call: &Call<'_>, e: &Error, made: &Translation) -> Option<code::Code> {
    match e.class {
        Class::Refused | Class::Busy => {
            address_conflict(call, made).or((e.class == Class::Refused).then_some(code::EXISTS))
        }
        Class::NotFound if made.plan.is_some() => Some(code::COPY_CONFIG),
        Class::NotFound => Some(code::NO_TEMPLATE),
        Class::Usage if made.template.is_none() => Some(code::NO_TEMPLATE_NAMED),
        _ => None,
    }
}

/// `reinstall`: the same container from a template, with its definition as it was.
pub fn reinstall(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if is(&ve, State::Running) || is(&ve, State::Paused) {
        return said(code::RUNNING, format!("Container {} is running; stop it first", ve.id));
    }
    if !call.has("skipbackup") {
        let text =
            "its old files would be lost, and Hostel keeps no copy: say --skipbackup, after hostel pull or a backup";
        return said(code::REINSTALL, format!("Container {}: {text}", ve.id));
    }
    if let Some(template) = call.value("ostemplate") {
        let name = template.split('/').next().unwrap_or_default();
        if !call.house.templates()?.iter().any(|known| known == name) {
            return said(code::NO_TEMPLATE, format!("There is no template {name}"));
        }
    }
    let again = call.house.definition(&by_id(&ve))?;
    let mut kept = tempfile::Builder::new()
        .prefix(&format!("reinstall-{}-", ve.id))
        .suffix(".toml")
        .tempfile()
        .and_then(|mut file| file.write_all(again.as_bytes()).map(|()| file))
        .map_err(|e| Error::new(Class::Failed, "cannot keep the definition meanwhile").because(e))?;
    call.act(&ve, &Action::Destroy { force: false })?;
    let template = call.value("ostemplate").map(|t| ("template".to_owned(), t.to_owned()));
    let request = Create {
        name: Some(ve.name.clone()),
        file: Some(kept.path().to_owned()),
        settings: template.into_iter().collect(),
        start: None,
        tree: None,
    };
    if let Err(e) = call.house.create(&request, call.voice) {
        kept.disable_cleanup(true);
        return Err(Failure::Engine(lost(e, &ve, kept.path()), Some(code::REINSTALL)));
    }
    call.line(&format!("Container {}: reinstalled", ve.id));
    Ok(code::OK.number)
}

fn lost(e: Error, ve: &VeStatus, kept: &std::path::Path) -> Error {
    e.hint(format!(
        "its definition is kept in {}: make it again with: hostel create {} --file {0}",
        kept.display(),
        ve.name
    ))
}
