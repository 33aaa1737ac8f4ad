//! `create`, and `reinstall`, which makes a container anew.

use hostel_engine::{Class, Detail, Error};
use hostel_model::id::{TemplateRef, VeId, VeName};
use hostel_model::openvz::code;
use hostel_model::openvz::{Remembered, Surroundings, Translation, one_line, translate};
use hostel_model::request::Create;
use hostel_model::state::State;

use super::life::is;
use super::set::{address_conflict, judge_hashes, kept_password, passwords, tell_without_effect};
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
    judge_hashes(&made)?;
    let mut request = request(call, id, &made)?;
    let password = kept_password(&made)?;
    let kept = password.is_some();
    request.settings.extend(password);
    call.house.create(&request, call.voice).map_err(|e| {
        let code = why_not(call, &e, &made);
        Failure::Engine(e, code)
    })?;
    tell_without_effect(call, &made);
    call.line(&format!("Container {id}: created"));
    passwords(call, &made, kept)?;
    Ok(code::OK.number)
}

fn request(call: &Call<'_>, id: VeId, made: &Translation) -> Result<Create, Failure> {
    let mut settings = vec![("id".to_owned(), id.to_string())];
    if let Some(template) = &made.template {
        known_template(call, template)?;
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
    if let Some(uuid) = call.value("uuid") {
        settings.push(("openvz.UUID".to_owned(), one_line(uuid)));
    }
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
    let is_there = |name: &str| matches!(lookup(call.house, name), Ok(Meant::Ve(_)));
    match e.class {
        Class::Refused | Class::Busy => address_conflict(call, made).or(match e.class {
            Class::Busy => None,
            _ if is_there(call.ve) => Some(code::EXISTS),
            _ if is_there(&usual_name(call.ve)) || made.name.as_deref().is_some_and(is_there) => Some(code::NAME),
            _ => Some(code::EXISTS),
        }),
        Class::NotFound => match &made.plan {
            Some(plan) if !call.house.has_plan(plan) => Some(code::COPY_CONFIG),
            _ => Some(code::NO_TEMPLATE),
        },
        Class::Usage if made.template.is_none() && !call.house.has_default_template() => Some(code::NO_TEMPLATE_NAMED),
        Class::Limit if e.detail == Some(Detail::NoRoom) => Some(code::DISK_FULL),
        _ => None,
    }
}

/// `reinstall`: the same container from a template, with all that was given to it.
pub fn reinstall(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if is(&ve, State::Running) || is(&ve, State::Paused) {
        return said(code::RUNNING, format!("Container {} is running; stop it first", ve.id));
    }
    if is(&ve, State::Suspended) {
        let text = "what ran in it would be lost: resume it and stop it, or give it up with hostel start --discard";
        return said(code::REINSTALL, format!("Container {} is suspended; {text}", ve.id));
    }
    if !call.has("skipbackup") {
        let text =
            "its old files would be lost, and Hostel keeps no copy: say --skipbackup, after hostel pull or a backup";
        return said(code::REINSTALL, format!("Container {}: {text}", ve.id));
    }
    let template = match call.value("ostemplate").map(str::parse::<TemplateRef>) {
        None => None,
        Some(Ok(template)) => Some(template),
        Some(Err(e)) => return said(code::NO_TEMPLATE, format!("--ostemplate: {e}")),
    };
    if let Some(template) = &template {
        known_template(call, template)?;
    }
    call.house
        .reinstall(&by_id(&ve), template.as_ref(), call.voice)
        .map_err(|e| {
            let code = (e.class == Class::NotFound && template.is_some()).then_some(code::NO_TEMPLATE);
            Failure::Engine(e, code)
        })?;
    call.line(&format!("Container {}: reinstalled", ve.id));
    Ok(code::OK.number)
}

/// Is there a template of that name?
fn known_template(call: &Call<'_>, template: &TemplateRef) -> Result<(), Failure> {
    let known = call.house.templates()?;
    if known.iter().any(|name| *name == template.name.to_string()) {
        return Ok(());
    }
    let there = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    let text = format!("There is no template {}; there are: {there}", template.name);
    said(code::NO_TEMPLATE, text)
}
