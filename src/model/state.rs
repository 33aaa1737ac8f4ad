//! What state a VE can be in, and which action is possible in which.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::request::Action;

/// The state of a VE, as read from reality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing of it runs and its root isn't mounted.
    Stopped,
    /// Its init is alive.
    Running,
    /// Its init is alive and all its processes are frozen.
    Paused,
    /// Nothing of it runs, and what ran lies complete in its dump directory, to go on from there.
    Suspended,
    /// It doesn't run, and its root is mounted on the host for repair.
    Mounted,
    /// Something it needs is missing, or something is left over that no other state explains.
    Broken,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Stopped,
        Self::Running,
        Self::Paused,
        Self::Suspended,
        Self::Mounted,
        Self::Broken,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Mounted => "mounted",
            Self::Broken => "broken",
        })
    }
}

/// What an action comes to in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It is to be done, and the VE is in this state afterwards.
    To(State),
    /// It is to be done, and the state stays.
    Stay,
    /// It is to be done, and the VE is no more afterwards.
    Gone,
    /// Nothing is to be done; why, to be said behind the VE's name: "is running already".
    AlreadyDone(&'static str),
}

/// An action that isn't possible in the state the VE is in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is {was}, so it can't be {asked}")]
pub struct Refusal {
    /// The state it was in.
    pub was: State,
    /// What was asked, in past tense: "started".
    pub asked: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

const UNPAUSE: &str = "unpause it first";
const RESUME: &str = "resume it first";
/// Its disk must stay as its processes remember it.
const RESUME_OR_DISCARD: &str = "resume it and stop it first, or give up what ran with start --discard";
const UMOUNT: &str = "umount it first";
const START: &str = "start it first";
/// Nothing of it runs; that nobody takes it for stopped, it is called by its name.
const SUSPENDED: &str = "is suspended and doesn't run";
const STOP: &str = "stop it first";
const FORCE: &str = "stop it first, or use --force";
const REPAIR: &str = "status says what is wrong with it; kill clears what is left of it";

/// May this action be done in this state, and what comes of it?
pub fn judge(state: State, action: &Action) -> Result<Transition, Refusal> {
    use State::{Broken, Mounted, Paused, Running, Stopped, Suspended};
    use Transition::{AlreadyDone, Gone, Stay, To};
    let refuse = |asked, instead| {
        Err(Refusal {
            was: state,
            asked,
            instead,
        })
    };
    match action {
        Action::Start(_) => match state {
            // What was suspended goes on from there, unless that is to be discarded.
            Stopped | Suspended => Ok(To(Running)),
            Running => Ok(AlreadyDone("is running already")),
            Paused => refuse("started", UNPAUSE),
            Mounted => refuse("started", UMOUNT),
            Broken => refuse("started", REPAIR),
        },
        Action::Stop { .. } => match state {
            Running => Ok(To(Stopped)),
            Stopped => Ok(AlreadyDone("is stopped already")),
            Suspended => Ok(AlreadyDone(SUSPENDED)),
            // A frozen guest can't shut down; thawing it unasked would let it run again.
            Paused => refuse("stopped", "unpause it first, or kill it"),
            Mounted => refuse("stopped", "it doesn't run; umount it"),
            Broken => refuse("stopped", REPAIR),
        },
        Action::Kill => match state {
            // Broken too: this is how what is left over is cleared away.
            Running | Paused | Broken => Ok(To(Stopped)),
            Stopped => Ok(AlreadyDone("is stopped already")),
            Suspended => Ok(AlreadyDone(SUSPENDED)),
            Mounted => refuse("killed", "it doesn't run; umount it"),
        },
        Action::Restart { .. } => match state {
            Running | Stopped => Ok(To(Running)),
            Paused => refuse("restarted", UNPAUSE),
            Suspended => refuse("restarted", "resume it, or boot it cold with start --discard"),
            Mounted => refuse("restarted", UMOUNT),
            Broken => refuse("restarted", REPAIR),
        },
        Action::Pause => match state {
            Running => Ok(To(Paused)),
            Paused => Ok(AlreadyDone("is paused already")),
            Stopped => refuse("paused", START),
            Suspended => refuse("paused", RESUME),
            Mounted => refuse("paused", "umount it and start it first"),
            Broken => refuse("paused", REPAIR),
        },
        Action::Unpause => match state {
            Paused => Ok(To(Running)),
            Running => Ok(AlreadyDone("is running already")),
            Stopped => refuse("unpaused", START),
            Suspended => refuse("unpaused", "it isn't paused; resume it"),
            Mounted => refuse("unpaused", "umount it and start it first"),
            Broken => refuse("unpaused", REPAIR),
        },
        Action::Suspend { .. } => match state {
            Running => Ok(To(Suspended)),
            Suspended => Ok(AlreadyDone("is suspended already")),
            Stopped => refuse("suspended", START),
            Paused => refuse("suspended", UNPAUSE),
            Mounted => refuse("suspended", "umount it and start it first"),
            Broken => refuse("suspended", REPAIR),
        },
        Action::Resume => match state {
            Suspended => Ok(To(Running)),
            Running => Ok(AlreadyDone("is running already")),
            Stopped => refuse("resumed", "it was not suspended; start it"),
            Paused => refuse("resumed", "it is only paused; unpause it"),
            Mounted => refuse("resumed", "it was not suspended; umount it and start it"),
            Broken => refuse("resumed", REPAIR),
        },
        Action::Destroy { force } => match (state, force) {
            (Stopped | Suspended, _) | (Running | Paused | Mounted | Broken, true) => Ok(Gone),
            (Running, false) => refuse("destroyed", FORCE),
            (Paused, false) => refuse("destroyed", "kill it first, or use --force"),
            (Mounted, false) => refuse("destroyed", "umount it first, or use --force"),
            (Broken, false) => refuse("destroyed", "see its status first; --force destroys it as it is"),
        },
        Action::Mount => match state {
            Stopped => Ok(To(Mounted)),
            Mounted => Ok(AlreadyDone("is mounted already")),
            Running => refuse("mounted", STOP),
            Paused => refuse("mounted", "unpause and stop it first"),
            Suspended => refuse("mounted", RESUME_OR_DISCARD),
            Broken => refuse("mounted", REPAIR),
        },
        Action::Umount => match state {
            Mounted => Ok(To(Stopped)),
            Stopped | Suspended => Ok(AlreadyDone("is not mounted")),
            Running | Paused => refuse("umounted", "its root is in use as long as it runs; stop it"),
            Broken => refuse("umounted", REPAIR),
        },
        Action::Compact => match state {
            Stopped | Running | Mounted => Ok(Stay),
            Paused => refuse("compacted", UNPAUSE),
            Suspended => refuse("compacted", RESUME),
            Broken => refuse("compacted", REPAIR),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::StartOptions;

    /// A line for each action, a column for each state: `T` to a state (its first letter, `U` for suspended), `=` already done, `.` stays,
    /// `x` gone, `-` refused. Read it against the documentation, not against the code.
    const TABLE: &str = "
        action          Stopped Running Paused Suspended Mounted Broken
        start           R       =       -      R         -       -
        stop            =       S       -      =         -       -
        kill            =       S       S      =         -       S
        restart         R       R       -      -         -       -
        pause           -       P       =      -         -       -
        unpause         -       =       R      -         -       -
        suspend         -       U       -      =         -       -
        resume          -       =       -      R         -       -
        destroy         x       -       -      x         -       -
        destroy-force   x       x       x      x         x       x
        mount           M       -       -      -         =       -
        umount          =       -       -      =         S       -
        compact         .       .       -      -         .       -
    ";

    fn action(word: &str) -> Action {
        match word {
            "start" => Action::Start(StartOptions::default()),
            "stop" => Action::Stop { timeout: None },
            "kill" => Action::Kill,
            "restart" => Action::Restart {
                timeout: None,
                start: StartOptions::default(),
            },
            "pause" => Action::Pause,
            "unpause" => Action::Unpause,
            "suspend" => Action::Suspend { timeout: None },
            "resume" => Action::Resume,
            "destroy" => Action::Destroy { force: false },
            "destroy-force" => Action::Destroy { force: true },
            "mount" => Action::Mount,
            "umount" => Action::Umount,
            "compact" => Action::Compact,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_action_in_every_state() {
        let mut checked = 0;
        for line in TABLE.lines().map(str::trim).filter(|l| !l.is_empty()).skip(1) {
            let mut words = line.split_whitespace();
            let verb = words.next().unwrap();
            for (state, expected) in State::ALL.into_iter().zip(words) {
                let got = match judge(state, &action(verb)) {
                    Ok(Transition::To(State::Stopped)) => "S",
                    Ok(Transition::To(State::Running)) => "R",
                    Ok(Transition::To(State::Paused)) => "P",
                    Ok(Transition::To(State::Suspended)) => "U",
                    Ok(Transition::To(State::Mounted)) => "M",
                    Ok(Transition::To(State::Broken)) => "B",
                    Ok(Transition::Stay) => ".",
                    Ok(Transition::Gone) => "x",
                    Ok(Transition::AlreadyDone(_)) => "=",
                    Err(_) => "-",
                };
                assert_eq!(got, expected, "{verb} while {state}");
                checked += 1;
            }
        }
        assert_eq!(checked, 13 * 6);
    }

    #[test]
    fn a_refusal_says_all_three() {
        let refusal = judge(State::Stopped, &Action::Pause).unwrap_err();
        assert_eq!(refusal.to_string(), "it is stopped, so it can't be paused");
        assert_eq!(refusal.instead, "start it first");
        // What is advised isn't refused itself.
        assert!(judge(State::Running, &Action::Stop { timeout: None }).is_ok());
        assert!(judge(State::Broken, &Action::Kill).is_ok() && judge(State::Paused, &Action::Kill).is_ok());
    }
}
