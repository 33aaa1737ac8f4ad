//! Changing the text of a tenant's definition, as that of a VE's: comments, order and layout stay.

use super::splice::Text;
use super::{EditError, all_or_nothing, asked, change_value, impossible, quote, unknown};
use crate::definition::{FileKind, Shape, Tenant, keys_of};

/// The key that `hostel tenant suspend` writes.
const SUSPENDED: &str = "suspended";

/// Changes the text of the definition `file` (`…/tenants/<name>.toml`), one setting after the other, as
/// [`super::edit`] does. If anything in the result is wrong, nothing is changed and every mistake is told.
pub fn edit_tenant<K: AsRef<str>, V: AsRef<str>>(
    file: &str,
    text: &str,
    settings: &[(K, V)],
) -> Result<String, EditError> {
    let one = |text: &str, key: &str, value: &str| apply(file, text, key, value);
    all_or_nothing(text, settings, one, &|text| Tenant::parse(file, text).err())
}

/// The same text of a tenant that is suspended for this reason; `None`: that isn't suspended.
pub fn suspend_tenant(file: &str, text: &str, reason: Option<&str>) -> Result<String, EditError> {
    let document = Text::parse(file, text)?;
    let new = match reason {
        Some(reason) => document
            .set(SUSPENDED, &quote(reason))
            .map_err(|why| impossible(SUSPENDED, &why))?,
        None => document.unset(SUSPENDED),
    };
    Tenant::parse(file, &new)?;
    Ok(new)
}

fn apply(file: &str, text: &str, typed: &str, value: &str) -> Result<String, EditError> {
    let (path, act) = asked(typed, value)?;
    let keys = keys_of(FileKind::Tenant);
    match keys.iter().find(|k| k.key == path) {
        None => Err(unknown(path, keys)),
        Some(doc) if doc.key == SUSPENDED => Err(impossible(
            path,
            "write: hostel tenant suspend NAME, or hostel tenant unsuspend NAME, which stop and start its VEs too",
        )),
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

    const FILE: &str = "tenants/acme.toml";
    const TEXT: &str =
        "# Acme\ncontact = \"ann\" # since 2019\nplans = [\"small\"]\n\n[firewall]\nin = \"deny\" # as agreed\n";

    #[test]
    fn what_a_person_wrote_stays() {
        let settings = [
            ("contact", "bob"),
            ("memory", "2GiB"),
            ("addresses.ipv4", "3"),
            ("plans+", "large"),
            ("tags", "a,b"),
        ];
        let new = edit_tenant(FILE, TEXT, &settings).unwrap();
        for line in [
            "# Acme",
            "contact = \"bob\" # since 2019",
            "in = \"deny\" # as agreed",
            "ipv4 = 3",
        ] {
            assert!(new.lines().any(|l| l == line), "{line}\n{new}");
        }
        let tenant = Tenant::parse(FILE, &new).unwrap();
        assert_eq!(
            (tenant.plans.unwrap().len(), tenant.tags.len(), tenant.ipv4),
            (2, 2, Some(3))
        );
        let back = [
            ("memory", ""),
            ("addresses.ipv4", ""),
            ("plans-", "large"),
            ("tags", ""),
            ("contact", "ann"),
        ];
        let back = edit_tenant(FILE, &new, &back).unwrap();
        assert_eq!(Tenant::parse(FILE, &back).unwrap(), Tenant::parse(FILE, TEXT).unwrap());
        assert_eq!(edit_tenant::<&str, &str>(FILE, "", &[]).unwrap(), "");
        let fresh = edit_tenant(FILE, "", &[("max_ves", "3"), ("addresses.ipv6", "0")]).unwrap();
        assert_eq!(Tenant::parse(FILE, &fresh).unwrap().ipv6, Some(0));
    }

    #[test]
    fn all_or_nothing_with_every_mistake() {
        let settings = [
            ("memroy", "1GiB"),
            ("cpu", "many"),
            ("suspended", "x"),
            ("firewall.rule", "x"),
            ("cpu+", "1"),
        ];
        let error = edit_tenant(FILE, TEXT, &settings).unwrap_err().to_string();
        for part in [
            "did you mean \"memory\"?",
            "cpu",
            "hostel tenant suspend NAME",
            "by hand",
            "it is no list",
        ] {
            assert!(error.contains(part), "{part}\n{error}");
        }
    }

    #[test]
    fn suspended_and_back_is_the_same_text() {
        let text = suspend_tenant(FILE, TEXT, Some("unpaid \"since\" May")).unwrap();
        assert_eq!(
            Tenant::parse(FILE, &text).unwrap().suspended.as_deref(),
            Some("unpaid \"since\" May")
        );
        let other = suspend_tenant(FILE, &text, Some("abuse")).unwrap();
        assert_eq!(Tenant::parse(FILE, &other).unwrap().suspended.as_deref(), Some("abuse"));
        assert_eq!(suspend_tenant(FILE, &other, None).unwrap(), TEXT);
        assert_eq!(suspend_tenant(FILE, TEXT, None).unwrap(), TEXT);
    }
}
