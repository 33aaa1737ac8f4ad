//! Hints of Hostel's in the words of vzctl: an option that it doesn't have is no help.

use hostel_engine::Error;

/// What is written otherwise here. The first that fits counts, and longer ones come first.
const WORDS: [(&str, &str); 10] = [
    (", or use --force", ""),
    (
        "; --force destroys it as it is",
        "; hostel destroy --force destroys it as it is",
    ),
    ("destroy the VE with --force", "destroy it with: hostel destroy --force"),
    ("wait longer with --wait-lock SECONDS", "try again in a moment"),
    ("name one with --template", "name one with --ostemplate"),
    (
        "give up what ran with start --discard",
        "give up what ran with: hostel start --discard",
    ),
    (
        "boot it cold with start --discard",
        "boot it cold with: hostel start --discard",
    ),
    (
        "unpause it first, or kill it",
        "resume it first, or stop it with --fast",
    ),
    ("unpause", "resume"),
    ("wait longer with --timeout", "wait longer with: hostel start --timeout"),
];

/// The error, with its hints so.
pub fn in_vzctls_words(mut error: Error) -> Error {
    for hint in &mut error.hints {
        *hint = said(hint);
    }
    error
}

fn said(hint: &str) -> String {
    // A command of Hostel's is told whole, and there it is right.
    if let Some((before, command)) = hint.split_once(": hostel ") {
        return match command.split_once(' ') {
            Some(("unpause", ve)) => format!("{}: vzctl resume {ve}", before.replace("unpause", "resume")),
            Some(("set", rest)) if rest.ends_with(" disabled=no") => {
                format!(
                    "{before}: vzctl set {} --disabled no",
                    rest.trim_end_matches(" disabled=no")
                )
            }
            _ => hint.to_owned(),
        };
    }
    let fits = WORDS.iter().find(|(theirs, _)| hint.contains(theirs));
    fits.map_or_else(|| hint.to_owned(), |(theirs, ours)| hint.replace(theirs, ours))
}

#[cfg(test)]
mod tests {
    use hostel_model::request::{Action, StartOptions};
    use hostel_model::state::{State, judge};

    use super::*;

    #[test]
    fn no_hint_names_what_vzctl_has_not() {
        let start = StartOptions::default;
        let actions = [
            Action::Start(start()),
            Action::Stop { timeout: None },
            Action::Restart {
                timeout: None,
                start: start(),
            },
            Action::Destroy { force: false },
            Action::Mount,
            Action::Suspend { timeout: None },
            Action::Resume,
            Action::Compact,
        ];
        let mut hints = vec![
            "wait longer with --wait-lock SECONDS".to_owned(),
            "name one with --template, or set defaults.template in hostel.toml".to_owned(),
            "it does when the VE goes on: hostel unpause ct104".to_owned(),
            "let it start again: hostel set ct101 disabled=no".to_owned(),
        ];
        for state in State::ALL {
            let refused = actions.iter().filter_map(|action| judge(state, action).err());
            hints.extend(refused.map(|refusal| refusal.instead.to_owned()));
        }
        for hint in hints {
            let ours = said(&hint);
            let own = ours.split("hostel ").next().unwrap();
            for not in [
                "--force",
                "--wait-lock",
                "--template",
                "--discard",
                "unpause",
                "disabled=no",
            ] {
                assert!(!own.contains(not), "{ours}");
            }
        }
        assert_eq!(
            said("let it start again: hostel set ct101 disabled=no"),
            "let it start again: vzctl set ct101 --disabled no"
        );
        assert_eq!(
            said("unpause it first: hostel unpause ct104"),
            "resume it first: vzctl resume ct104"
        );
        let whole = "stop it first: hostel stop ct101";
        assert_eq!(said(whole), whole);
    }
}
