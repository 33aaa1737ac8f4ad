//! Changing the text of a plan, as that of a VE's definition: comments, order and layout stay.

use super::splice::Text;
use super::{EditError, all_or_nothing, asked, change_value, impossible, unknown};
use crate::definition::{FileKind, Plan, Shape, keys_of};

/// Changes the text of the definition `file` (`…/plans/<name>.toml`), one setting after the other, as [`super::edit`]
/// does. If anything in the result is wrong, nothing is changed and every mistake is told.
pub fn edit_plan<K: AsRef<str>, V: AsRef<str>>(
    file: &str,
    text: &str,
    settings: &[(K, V)],
) -> Result<String, EditError> {
    let one = |text: &str, key: &str, value: &str| apply(file, text, key, value);
    all_or_nothing(text, settings, one, &|text| Plan::parse(file, text).err())
}

fn apply(file: &str, text: &str, typed: &str, value: &str) -> Result<String, EditError> {
    let (path, act) = asked(typed, value)?;
    let keys = keys_of(FileKind::Plan);
    match keys.iter().find(|k| k.key == path) {
        None => Err(unknown(path, keys)),
        Some(doc) if doc.shape == Shape::Tables => Err(impossible(
            path,
            &format!("write its [[{path}]] tables into {file} by hand"),
        )),
        Some(doc) => change_value(&Text::parse(file, text)?, doc, path, act, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_made_of_settings() {
        let settings = [
            ("memory.limit", "256MiB"),
            ("processes", "unlimited"),
            ("disk.size", "2GiB"),
            ("cpu.cap", "0.5"),
        ];
        let old = "# as agreed\nprocesses = 5 # few\n";
        let text = edit_plan("plans/basic.toml", old, &settings).unwrap();
        assert!(
            text.starts_with("# as agreed\nprocesses = \"unlimited\" # few\n"),
            "{text}"
        );
        let plan = Plan::parse("plans/basic.toml", &text).unwrap();
        assert_eq!(plan.name.as_str(), "basic");
        let error = edit_plan("plans/basic.toml", "", &[("onboot", "yes")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("onboot"), "{error}");
        edit_plan("plans/basic.toml", "", &settings[..1]).unwrap_err();
    }
}
