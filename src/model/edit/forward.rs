//! Adding and removing a `[[forward]]`.

use super::splice::Text;
use super::{EditError, quote};
use crate::definition::{ForwardKeys, Protocol, VeDefinition};

/// The text of the definition `file` with one more forward, behind the others. What is usual isn't written.
pub fn add_forward(file: &str, text: &str, forward: &ForwardKeys) -> Result<String, EditError> {
    let ports = forward.listen.ports;
    let mut keys = Vec::new();
    if forward.protocol != Protocol::Tcp {
        keys.push(("protocol", quote(forward.protocol.as_str())));
    }
    keys.push(("listen", quote(&forward.listen.to_string())));
    if forward.to != ports.first() {
        keys.push(("to", forward.to.to_string()));
    }
    if let Some(network) = &forward.network {
        keys.push(("network", quote(network.as_str())));
    }
    let new = Text::parse(file, text)?.add_table("forward", &keys);
    VeDefinition::parse(file, &new)?;
    Ok(new)
}

/// The text of the definition `file` without its forward of this index, counted from 0.
pub fn remove_forward(file: &str, text: &str, index: usize) -> Result<String, EditError> {
    let none = || EditError::Impossible {
        key: format!("forward.{index}"),
        why: "there is no such forward".to_owned(),
    };
    let new = Text::parse(file, text)?
        .remove_table("forward", index)
        .ok_or_else(none)?;
    VeDefinition::parse(file, &new)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "ve/web1.toml";
    const BARE: &str = "id = 101\nname = \"web1\"\ntenant = \"a\"\ntemplate = \"d\"\nplan = \"p\" # mine\n\n[[network]]\n\
                        network = \"private\"\n";

    fn forward(protocol: Protocol, listen: &str, to: u16, network: Option<&str>) -> ForwardKeys {
        ForwardKeys {
            protocol,
            listen: listen.parse().unwrap(),
            to,
            network: network.map(|n| n.parse().unwrap()),
        }
    }

    fn read(text: &str) -> Vec<ForwardKeys> {
        VeDefinition::parse(FILE, text).unwrap().forwards
    }

    #[test]
    fn they_come_and_go_and_all_else_stays() {
        let one = forward(Protocol::Tcp, "203.0.113.1:8080", 80, None);
        let two = forward(Protocol::Udp, ":5000-5010", 5000, Some("private"));
        let text = add_forward(FILE, BARE, &one).unwrap();
        assert_eq!(
            text,
            format!("{BARE}\n[[forward]]\nlisten = \"203.0.113.1:8080\"\nto = 80\n")
        );
        let both = add_forward(FILE, &text, &two).unwrap();
        assert!(
            both.ends_with("[[forward]]\nprotocol = \"udp\"\nlisten = \":5000-5010\"\nnetwork = \"private\"\n"),
            "{both}"
        );
        assert_eq!(read(&both), [one.clone(), two.clone()]);
        assert_eq!(remove_forward(FILE, &both, 1).unwrap(), text);
        assert_eq!(read(&remove_forward(FILE, &both, 0).unwrap()), [two]);
        assert_eq!(remove_forward(FILE, &text, 0).unwrap(), BARE);
        assert!(matches!(
            remove_forward(FILE, BARE, 0),
            Err(EditError::Impossible { .. })
        ));
        assert!(
            matches!(add_forward(FILE, &text, &one), Err(EditError::Wrong(_))),
            "twice"
        );
    }

    #[test]
    fn tables_in_braces() {
        let one = forward(Protocol::Tcp, ":81", 81, None);
        let text = BARE.replace("\n\n[[network]]", "\nforward = [{ listen = 80 }]\n\n[[network]]");
        let both = add_forward(FILE, &text, &one).unwrap();
        assert!(
            both.contains("forward = [{ listen = 80 }, { listen = \":81\" }]"),
            "{both}"
        );
        assert_eq!(remove_forward(FILE, &both, 1).unwrap(), text);
        let none = remove_forward(FILE, &text, 0).unwrap();
        assert!(read(&none).is_empty() && none.contains("# mine"), "{none}");
    }
}
