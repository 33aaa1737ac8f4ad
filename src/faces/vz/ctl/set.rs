//! `set`: all options together are one change of the definition.

use std::collections::BTreeMap;

use hostel_engine::facade::{SetReport, VeStatus};
use hostel_engine::{Class, Error};
use hostel_model::definition::CryptHash;
use hostel_model::openvz::code::{self, Code};
use hostel_model::openvz::{Password, Surroundings, Translation, translate};
use hostel_model::request::{Action, Exec, StartOptions, VeRef};
use hostel_model::state::State;

use super::create::free_name;
use super::inside::{refuse_suspended, while_running};
use super::life::{is, runs};
use super::{Call, Done, Failure, by_id, exit, said};
use crate::cli::secret;
use crate::vz::lookup::{Meant, lookup};

/// Changes a password inside, which stands in no command line and no file of the host's. Where a guest has no chpasswd,
/// its line in the file of hashes is written anew, beside it and then in its place.
const CHPASSWD: &str = r#"
if command -v chpasswd >/dev/null; then printf '%s:%s\n' "$VZ_USER" "$VZ_HASH" | chpasswd -e; exit; fi
old=/etc/shadow; new=/etc/.shadow.vzctl
grep -q "^$VZ_USER:" $old && cp -p $old $new || exit
while IFS= read -r line; do
    case $line in "$VZ_USER":*) rest=${line#*:}; line="$VZ_USER:$VZ_HASH:${rest#*:}";; esac
    printf '%s\n' "$line"
done <$old >$new && mv $new $old
"#;

const ROOT: &str = "root";
/// Where a password waits for a start.
const KEPT_PASSWORD: &str = "guest.password_hash";

/// The host's processors.
pub fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// `set`
pub fn set(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    let mode = call.value("setmode");
    if let Some(other) = mode.filter(|m| !["restart", "ignore"].contains(m)) {
        return said(code::VALUE, format!("--setmode: \"{other}\" is not restart or ignore"));
    }
    if call.parameters.is_empty() && !call.has("reset_ub") {
        return said(code::VALUE, "vzctl set: say what to set");
    }
    let changed = change(call, &ve)?;
    tell(call, &ve, &changed.report, changed.saved);
    passwords(call, &changed.made, changed.kept)?;
    // Also for what an earlier command has left waiting.
    if mode == Some("restart") && is(&ve, State::Running) && !call.house.waiting(&by_id(&ve))?.is_empty() {
        let restart = Action::Restart {
            timeout: None,
            start: StartOptions::default(),
        };
        let done = call.act(&ve, &restart)?;
        call.line(&format!("Container {}: {}", ve.id, done.done));
    }
    Ok(code::OK.number)
}

/// A change that was made.
struct Changed {
    made: Translation,
    /// Was there anything to be saved?
    saved: bool,
    /// Does the definition keep root's password for the next start?
    kept: bool,
    report: SetReport,
}

/// Translates the options and changes the definition, as one step: what they come to depends on how the container is.
fn change(call: &Call<'_>, ve: &VeStatus) -> Result<Changed, Failure> {
    let by_ref = by_id(ve);
    let (mut made, mut saved, mut kept, mut refused) = (Translation::default(), false, false, None);
    let mut make = || {
        let settings = translation(call, &by_ref).and_then(|translated| {
            if translated.passwords.iter().any(|p| p.user != "root") {
                // Known before anything is changed, so that nothing is.
                refuse_suspended(ve)?;
            }
            let mut settings = translated.settings.clone();
            settings.extend(renamed(call, ve, &translated)?);
            judge_hashes(&translated)?;
            let password = match runs(ve) {
                true => None,
                false => kept_password(&translated)?,
            };
            kept = password.is_some();
            settings.extend(password);
            made = translated;
            Ok(settings)
        });
        match settings {
            Ok(settings) => {
                saved = !settings.is_empty();
                Ok(settings)
            }
            Err(failure) => {
                refused = Some(failure);
                Err(Error::new(Class::Usage, "the options can't be translated"))
            }
        }
    };
    let report = call.house.set_made(&by_ref, &mut make, call.voice);
    if let Some(failure) = refused {
        return Err(failure);
    }
    tell_without_effect(call, &made);
    match report {
        Ok(report) => Ok(Changed {
            made,
            saved,
            kept,
            report,
        }),
        Err(e) => {
            let code = match e.class {
                Class::NotFound if matches!(lookup(call.house, call.ve), Ok(Meant::Free(_) | Meant::Unknown)) => {
                    code::NOT_FOUND
                }
                Class::Refused => address_conflict(call, &made).unwrap_or_else(|| exit::of_change(&e, &made)),
                _ => exit::of_change(&e, &made),
            };
            Err(Failure::Engine(e, Some(code)))
        }
    }
}

/// What its options come to, on this container as it is.
fn translation(call: &Call<'_>, ve: &VeRef) -> Result<Translation, Failure> {
    let now = call.house.effective(ve)?;
    let networks = call.house.networks();
    let around = Surroundings {
        cpus: processors(),
        creating: false,
        remembered: &now.openvz,
        memory_limit: now.limits.memory.limit.map(|limit| limit.get()),
        interfaces: call.house.interfaces(ve)?,
        networks: &networks,
        default_network: call.house.default_network(),
        no_io_weight: call.house.no_io_weight(),
    };
    translate(&call.given(), &around).map_err(|e| Failure::Said(e.code, e.message))
}

/// The setting of another name: one that the dialect knows. Its own name needs none.
fn renamed(call: &Call<'_>, ve: &VeStatus, made: &Translation) -> Result<Option<(String, String)>, Failure> {
    let Some(name) = &made.name else { return Ok(None) };
    if !name.is_empty() {
        free_name(call, name)?;
    }
    let text = if *name == ve.name { "" } else { name.as_str() };
    Ok(Some(("openvz.NAME".to_owned(), text.to_owned())))
}

/// What was accepted and has no effect.
pub fn tell_without_effect(call: &Call<'_>, made: &Translation) {
    for (named, why) in &made.without_effect {
        call.line(&format!("{named} has no effect here: {why}"));
    }
    for note in &made.notes {
        call.line(note);
    }
}

/// What was changed, and what waits; what is only remembered is not worth a line.
fn tell(call: &Call<'_>, ve: &VeStatus, report: &SetReport, saved: bool) {
    // The password has a line of its own.
    let worth = |change: &&(String, String, String)| !change.0.starts_with("openvz.") && change.0 != KEPT_PASSWORD;
    for (key, old, new) in report.applied.iter().filter(worth) {
        call.line(&format!("{key}: {old} -> {new}"));
    }
    let waiting: Vec<&str> = report
        .waiting
        .iter()
        .filter(worth)
        .map(|(key, ..)| key.as_str())
        .collect();
    let does_it = call.value("setmode") == Some("restart") && !is(ve, State::Suspended);
    if !waiting.is_empty() && !does_it {
        let list = waiting.join(", ");
        let when = match is(ve, State::Suspended) {
            true => "when it has been stopped and started; a resume is not enough",
            false => "at its next start (--setmode restart does it now)",
        };
        call.line(&format!("Container {}: {when}: {list}", ve.id));
    }
    if saved && !call.has("save") {
        call.line("Saved too, without --save: Hostel has no settings that aren't saved");
    }
    if saved {
        call.line(&format!("Container {}: settings are saved", ve.id));
    }
}

/// Another container has an address that was asked for.
pub fn address_conflict(call: &Call<'_>, made: &Translation) -> Option<Code> {
    let asked: Vec<&str> = made
        .settings
        .iter()
        .filter(|(key, _)| key.ends_with(".addresses"))
        .flat_map(|(_, list)| list.split(','))
        .collect();
    let own = match lookup(call.house, call.ve) {
        Ok(Meant::Ve(own)) => Some(own.id),
        _ => None,
    };
    let others = call.house.list().ok()?.into_iter().filter(|ve| Some(ve.id) != own);
    let taken = others
        .into_iter()
        .flat_map(|ve| ve.addresses)
        .any(|a| asked.contains(&a.to_string().as_str()));
    taken.then_some(code::ADDRESS_USED)
}

/// A hash that isn't one is refused before anything is changed.
pub fn judge_hashes(made: &Translation) -> Result<(), Failure> {
    for password in made.passwords.iter().filter(|_| made.crypted) {
        if let Err(e) = password.text.parse::<CryptHash>() {
            return said(code::PASSWORD, format!("--userpasswd {}: {e}", password.user));
        }
    }
    Ok(())
}

/// The setting that keeps root's password, hashed, until the next start of a container that doesn't run.
pub fn kept_password(made: &Translation) -> Result<Option<(String, String)>, Failure> {
    let last = made.passwords.iter().rev().find(|p| p.user == ROOT);
    let hashed = last.map(|password| hash(made, password)).transpose()?;
    Ok(hashed.map(|hash| (KEPT_PASSWORD.to_owned(), hash)))
}

fn hash(made: &Translation, password: &Password) -> Result<String, Failure> {
    match made.crypted {
        true => Ok(password.text.clone()),
        false => secret::hash(&password.text).map_err(|e| Failure::Engine(e, Some(code::PASSWORD))),
    }
}

/// Sets passwords inside, at once. `kept`: but for root's, which was kept with the other settings.
pub fn passwords(call: &Call<'_>, made: &Translation, kept: bool) -> Result<(), Failure> {
    if made.passwords.is_empty() {
        return Ok(());
    }
    let ve = call.ve()?;
    if kept {
        let from = match is(&ve, State::Suspended) {
            true => "when it has been stopped and started; a resume is not enough",
            false => "from its next start on",
        };
        call.line(&format!("Container {}: root has the password {from}", ve.id));
    }
    let inside: Vec<&Password> = made.passwords.iter().filter(|p| !kept || p.user != ROOT).collect();
    if inside.is_empty() {
        return Ok(());
    }
    while_running(call, |ve| {
        for password in &inside {
            change_inside(call, ve, &password.user, hash(made, password)?)?;
        }
        Ok(code::OK.number)
    })?;
    Ok(())
}

fn change_inside(call: &Call<'_>, ve: &VeStatus, user: &str, hash: String) -> Result<(), Failure> {
    let exec = Exec {
        argv: ["/bin/sh", "-c", CHPASSWD].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("VZ_USER".to_owned(), user.to_owned()), ("VZ_HASH".to_owned(), hash)]),
        cwd: Some("/".to_owned()),
        ..Exec::default()
    };
    let end = call.house.exec(&by_id(ve), &exec).map_err(|e| {
        // Who is told that somebody else is at work tries again.
        let code = !matches!(e.class, Class::Busy | Class::Interrupted);
        Failure::Engine(e, code.then_some(code::PASSWORD))
    })?;
    match end.code {
        0 => {
            call.line(&format!("Container {}: {user} has the password", ve.id));
            Ok(())
        }
        n => said(
            code::PASSWORD,
            format!("chpasswd inside ended with code {n}: the password of {user} is as it was"),
        ),
    }
}
