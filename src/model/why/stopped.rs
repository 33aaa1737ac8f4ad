//! A VE that doesn't run: what ended it, or keeps it from starting.

use super::{Cause, End, Evidence, Operation, ago, console, lately, unfinished};

/// An end within so many seconds of a command that ends VEs is that command's doing.
const TOGETHER: i64 = 10;

/// What is said of an end that no monitor has told of.
const UNSEEN: &str = "It ended, and nobody saw how";

/// Commands that bring a VE to run.
const STARTS: [&str; 3] = ["start", "restart", "resume"];

pub fn causes(e: &Evidence) -> Vec<Cause> {
    let all = [
        failed(e),
        obstacle(e),
        unfinished(e, 97),
        ended(e),
        unseen(e),
        told(e),
        damaged(e),
    ];
    let mut causes: Vec<Cause> = all.into_iter().flatten().collect();
    if causes.is_empty() {
        causes.push(never(e));
    }
    causes.extend(lately(e));
    causes
}

fn failed(e: &Evidence) -> Option<Cause> {
    let operation = e.operation.as_ref()?;
    let error = operation.error.as_ref()?;
    let starts = STARTS.contains(&operation.verb.as_str());
    // A start that failed before the VE ended isn't why it doesn't run.
    let stale = e.end.as_ref().is_some_and(|end| end.time > operation.time + TOGETHER);
    Some(Cause {
        what: format!("Its last {} failed: {error}", operation.verb),
        seen: [format!("{} by a command", ago(e, operation.time))]
            .into_iter()
            .chain(console(e))
            .collect(),
        advice: operation.hints.clone(),
        likelihood: match (starts, stale) {
            (true, false) => 100,
            (false, false) => 55,
            (_, true) => 30,
        },
    })
}

fn obstacle(e: &Evidence) -> Option<Cause> {
    let (what, advice) = e.obstacle.clone()?;
    // The start that failed of it says the same.
    if failed(e).is_some_and(|cause| cause.likelihood == 100) {
        return None;
    }
    Some(Cause {
        what: format!("It can't start: {what}"),
        seen: vec!["this is so now".into()],
        advice,
        likelihood: 72,
    })
}

/// A command that ends VEs came at about the time of its end.
fn by_command<'a>(e: &'a Evidence, end: &End) -> Option<&'a Operation> {
    let ends = ["stop", "kill", "suspend", "restart"];
    e.operation
        .as_ref()
        .filter(|o| o.error.is_none() && ends.contains(&o.verb.as_str()) && (o.time - end.time).abs() <= TOGETHER)
}

fn ended(e: &Evidence) -> Option<Cause> {
    let end = e.end.as_ref()?;
    if by_command(e, end).is_some() {
        return None;
    }
    let (kind, number) = end.how.split_once('-').unwrap_or((&end.how, ""));
    let kills = end.oom_kills.unwrap_or(0);
    let (what, likelihood) = match kind {
        "signal" if number == "9" && kills > 0 => {
            ("It ran out of memory, and its init was killed for that".to_owned(), 90)
        }
        "signal" => (format!("Its init was killed from outside, by signal {number}"), 89),
        "exit" if number == "0" => ("Its init ended by itself".to_owned(), 75),
        "exit" => (format!("Its init failed: it ended with code {number}"), 86),
        "halt" => ("Its guest shut down by itself".to_owned(), 76),
        "reboot" => ("Its guest asked for a reboot, and was not started again".to_owned(), 84),
        _ => (UNSEEN.to_owned(), 60),
    };
    let mut seen = vec![ago(e, end.time)];
    if kills > 0 {
        seen.push(format!("processes killed for want of memory in that run: {kills}"));
    }
    seen.extend(e.problem.clone());
    seen.extend(console(e));
    let mut advice = vec![format!("start it again: hostel start {}", e.name)];
    match kind {
        "signal" if kills > 0 => advice.insert(0, format!("give it more: hostel set {} memory.limit=SIZE", e.name)),
        "signal" => advice.push("look in the host's own logs for who sent it".into()),
        "exit" => advice.push(format!("see all that it said: hostel log {}", e.name)),
        _ => {}
    }
    Some(Cause {
        what,
        seen,
        advice,
        likelihood,
    })
}

/// It was brought to run, nothing has ended it, and it doesn't run: there was no monitor to see that.
fn unseen(e: &Evidence) -> Option<Cause> {
    let started = |o: &&Operation| o.error.is_none() && STARTS.contains(&o.verb.as_str());
    let operation = e.operation.as_ref().filter(started)?;
    (e.end.is_none() && e.state == "stopped").then(|| Cause {
        what: UNSEEN.into(),
        seen: [format!("it was started {}", ago(e, operation.time))]
            .into_iter()
            .chain(console(e))
            .collect(),
        advice: vec![format!("start it again: hostel start {}", e.name)],
        likelihood: 60,
    })
}

fn told(e: &Evidence) -> Option<Cause> {
    let operation = e.operation.as_ref().filter(|o| o.error.is_none())?;
    let what = match operation.verb.as_str() {
        "stop" => "It was stopped by \"hostel stop\"",
        "kill" => "It was killed by \"hostel kill\"",
        "suspend" => "It was suspended by \"hostel suspend\"",
        _ => return None,
    };
    let (verb, past) = match e.state.as_str() {
        "suspended" => ("resume", "let it go on"),
        _ => ("start", "start it again"),
    };
    Some(Cause {
        what: what.into(),
        seen: vec![ago(e, operation.time)],
        advice: vec![format!("{past}: hostel {verb} {}", e.name)],
        likelihood: 70,
    })
}

fn damaged(e: &Evidence) -> Option<Cause> {
    let problem = e.problem.as_ref()?;
    Some(Cause {
        what: format!("Something is wrong with it: {problem}"),
        seen: vec![format!("its state is {}", e.state)],
        advice: vec![format!("see: hostel status {}", e.name)],
        likelihood: if e.state == "broken" { 98 } else { 64 },
    })
}

fn never(e: &Evidence) -> Cause {
    let (verb, what) = match e.state.as_str() {
        "suspended" => ("resume", "It is suspended"),
        "mounted" => ("umount", "Its disk is mounted on the host, and then it can't run"),
        _ => ("start", "Nobody has started it since the host's boot"),
    };
    Cause {
        what: what.into(),
        seen: vec!["nothing else is known of it".into()],
        advice: vec![format!("hostel {verb} {}", e.name)],
        likelihood: 1,
    }
}
