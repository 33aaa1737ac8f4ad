//! "Leave it alone", in the words of every network manager a guest may have.
//!
//! Addresses and routes are set from outside before init runs: `/32` and `/128` addresses and a link-local gateway,
//! which many of these tools can't say, or flush at their start. So each is told not to touch the interface, also
//! those that are not installed yet if that takes only a file of our own.

use hostel_monitor::guest::{Op, When};

use super::facts::GuestFacts;
use super::identity::{block, remove, write};
use super::render::Renderer;
use crate::Result;
use hostel_model::distribution::{Family, InitKind};

/// Before netplan's `10-netplan-*.network`: networkd takes the first file that matches.
const NETWORKD: &str = "/etc/systemd/network/05-hostel.network";
const WAIT_ONLINE: &str = "/etc/systemd/system/systemd-networkd-wait-online.service.d/10-hostel.conf";
const NETWORK_MANAGER: &str = "/etc/NetworkManager/conf.d/90-hostel.conf";
const NETPLAN: &str = "/etc/netplan/90-hostel.yaml";

pub(super) fn leave_alone(
    ops: &mut Vec<Op>,
    family: Family,
    init: InitKind,
    facts: &GuestFacts,
    text: &Renderer,
) -> Result<()> {
    if facts.configured_outside().next().is_none() {
        // An empty [Match] would match every interface.
        ops.extend([NETWORKD, WAIT_ONLINE, NETWORK_MANAGER, NETPLAN].map(remove));
        ops.push(block("/etc/default/networking", String::new(), When::IfExists));
        return Ok(());
    }
    let if_dir = |dir: &str| When::IfDir(dir.to_owned());
    let manager = match init {
        InitKind::Systemd => When::Always,
        InitKind::Openrc | InitKind::Sysvinit | InitKind::Busybox => if_dir("/etc/NetworkManager"),
    };
    ops.push(write(
        NETWORK_MANAGER,
        text.text("common/networkmanager.conf")?,
        manager,
    ));
    if init == InitKind::Systemd {
        // Unmanaged= rather than KeepConfiguration=, which keeps only routes of protocol "static".
        ops.push(write(NETWORKD, text.text("systemd/networkd.network")?, When::Always));
        ops.push(write(WAIT_ONLINE, text.text("systemd/wait-online.conf")?, When::Always));
        ops.push(Op::Write {
            path: NETPLAN.to_owned(),
            content: text.text("ubuntu/netplan.yaml")?,
            // netplan complains of files that others may read.
            mode: 0o600,
            when: if_dir("/etc/netplan"),
        });
    }
    ifupdown(ops, family, facts, text)?;
    if family == Family::Rhel && (facts.fresh || facts.reset) {
        for interface in facts.configured_outside() {
            let path = format!("/etc/sysconfig/network-scripts/ifcfg-{}", interface.name);
            ops.push(write(&path, text.about("rhel/ifcfg", interface)?, When::IfExists));
        }
    }
    Ok(())
}

/// The interfaces file is the owner's, so it is written only at first (and on request). Debian's boot leaves out
/// EXCLUDE_INTERFACES, whatever other files of ifupdown say; that block is written at every start.
fn ifupdown(ops: &mut Vec<Op>, family: Family, facts: &GuestFacts, text: &Renderer) -> Result<()> {
    let path = "/etc/network/interfaces";
    let debian = text.text("debian/networking")?;
    let (interfaces, when) = match family {
        Family::Debian => ("debian/interfaces", When::IfDir("/etc/network".to_owned())),
        // Ubuntu has the directory without ifupdown.
        Family::Ubuntu | Family::Generic => ("debian/interfaces", When::IfExists),
        Family::Alpine | Family::Busybox => ("alpine/interfaces", When::IfDir("/etc/network".to_owned())),
        Family::Rhel | Family::Fedora => return Ok(()),
    };
    if facts.fresh || facts.reset {
        ops.push(write(path, text.text(interfaces)?, when));
    }
    match family {
        Family::Debian | Family::Ubuntu | Family::Generic => {
            ops.push(block("/etc/default/networking", debian, When::IfExists));
        }
        Family::Rhel | Family::Fedora | Family::Alpine | Family::Busybox => {}
    }
    Ok(())
}
