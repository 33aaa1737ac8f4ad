//! The changes that make a tree one certain VE.

use hostel_monitor::guest::{Op, When};

use super::facts::GuestFacts;
use super::network;
use super::render::Renderer;
use crate::Result;
use hostel_model::distribution::{Family, InitKind};

pub(super) const BEGIN: &str = "# BEGIN Hostel: rewritten up to END; lines of your own go outside";
pub(super) const END: &str = "# END Hostel";
const UNITS: &str = "/etc/systemd/system";

/// The changes that tell a guest who it is, in order; the same at every start but for what [`GuestFacts::fresh`],
/// [`GuestFacts::overdue`] and [`GuestFacts::reset`] add. Fails on facts that can't stand in a guest's files.
pub fn identity(family: Family, init: InitKind, facts: &GuestFacts) -> Result<Vec<Op>> {
    facts.check()?;
    let usual = changes(family, init, facts)?;
    if facts.fresh || facts.overdue.is_empty() {
        return Ok(usual);
    }
    // Only these: what the first start has done must not be done again, or its new host keys would go.
    let first = GuestFacts {
        fresh: true,
        ..facts.clone()
    };
    let mut all = changes(family, init, &first)?;
    all.retain(|op| usual.contains(op) || facts.overdue.contains(op.path()));
    Ok(all)
}

fn changes(family: Family, init: InitKind, facts: &GuestFacts) -> Result<Vec<Op>> {
    let init = inside(family, init);
    let text = Renderer::new(facts)?;
    let mut ops = Vec::new();
    if facts.fresh {
        forget_template(&mut ops, family, init);
    }
    names(&mut ops, family, init, facts, &text)?;
    resolver(&mut ops, init, facts, &text)?;
    network::leave_alone(&mut ops, family, init, facts, &text)?;
    match init {
        InitKind::Systemd => systemd(&mut ops, family, &text)?,
        InitKind::Openrc | InitKind::Sysvinit | InitKind::Busybox => other_inits(&mut ops, family, init, facts, &text)?,
    }
    access(&mut ops, facts);
    clock(&mut ops, init, facts);
    Ok(ops)
}

/// What starts a guest's services. Alpine's process 1 is BusyBox's init, as it ships and as its templates say, and all
/// that it runs is OpenRC.
fn inside(family: Family, init: InitKind) -> InitKind {
    match (family, init) {
        (Family::Alpine, InitKind::Busybox) => InitKind::Openrc,
        (_, init) => init,
    }
}

pub(super) fn write(path: &str, content: String, when: When) -> Op {
    Op::Write {
        path: path.to_owned(),
        content,
        mode: 0o644,
        when,
    }
}

pub(super) fn block(path: &str, content: String, when: When) -> Op {
    Op::ManagedBlock {
        path: path.to_owned(),
        begin: BEGIN.to_owned(),
        end: END.to_owned(),
        content,
        mode: 0o644,
        comment_out: Vec::new(),
        when,
    }
}

pub(super) fn remove(path: &str) -> Op {
    Op::Remove { path: path.to_owned() }
}

fn remove_prefixed(dir: &str, prefix: &str) -> Op {
    Op::RemovePrefixed {
        dir: dir.to_owned(),
        prefix: prefix.to_owned(),
    }
}

/// What must not be the same in two VEs of one template.
fn forget_template(ops: &mut Vec<Op>, family: Family, init: InitKind) {
    ops.push(remove_prefixed("/etc/ssh", "ssh_host_"));
    if matches!(family, Family::Alpine | Family::Busybox) {
        // Elsewhere nothing would make new ones; there the init script starts dropbear with -R, which does.
        ops.push(remove_prefixed("/etc/dropbear", "dropbear_"));
    }
    // D-Bus makes it again: as a link to /etc/machine-id with systemd's tmpfiles.d, with dbus-uuidgen elsewhere.
    ops.push(remove("/var/lib/dbus/machine-id"));
    match init {
        // machine-id(5): empty means "first boot, take container_uuid"; without the file, /etc must be writable
        // early and units with ConditionFirstBoot= run.
        InitKind::Systemd => ops.push(Op::Truncate {
            path: "/etc/machine-id".to_owned(),
            mode: 0o444,
        }),
        InitKind::Openrc | InitKind::Sysvinit | InitKind::Busybox => ops.push(remove("/etc/machine-id")),
    }
    if init == InitKind::Systemd {
        ops.extend([
            remove("/var/lib/systemd/random-seed"),
            remove("/var/lib/systemd/credential.secret"),
        ]);
    }
}

fn names(ops: &mut Vec<Op>, family: Family, init: InitKind, facts: &GuestFacts, text: &Renderer) -> Result<()> {
    ops.push(write("/etc/hostname", format!("{}\n", facts.hostname), When::Always));
    if init == InitKind::Openrc && family == Family::Generic {
        ops.push(write(
            "/etc/conf.d/hostname",
            text.text("generic/conf.d-hostname")?,
            When::IfExists,
        ));
    }
    if facts.fresh && matches!(family, Family::Debian | Family::Ubuntu) {
        let name = facts.fqdn.as_ref().unwrap_or(&facts.hostname);
        ops.push(write("/etc/mailname", format!("{name}\n"), When::IfExists));
    }
    ops.push(block("/etc/hosts", text.text("common/hosts")?, When::Always));
    let cloud_init = When::IfDir("/etc/cloud".to_owned());
    ops.push(write(
        "/etc/cloud/cloud.cfg.d/99-hostel.cfg",
        text.text("common/cloud.cfg")?,
        cloud_init,
    ));
    Ok(())
}

/// /etc/resolv.conf becomes a regular file even where it is a link to systemd-resolved's stub: eth0 is unmanaged,
/// so resolved would know no server. It reads a resolv.conf that isn't its own (systemd-resolved(8)), so names
/// resolve with and without it; its drop-in serves guests that put the link back.
fn resolver(ops: &mut Vec<Op>, init: InitKind, facts: &GuestFacts, text: &Renderer) -> Result<()> {
    let resolved = "/etc/systemd/resolved.conf.d/10-hostel.conf";
    if !facts.dns.is_empty() {
        ops.push(write(
            "/etc/resolv.conf",
            text.text("common/resolv.conf")?,
            When::Always,
        ));
    }
    match (init, facts.dns.is_empty()) {
        (InitKind::Systemd, false) => {
            ops.push(write(resolved, text.text("systemd/resolved.conf")?, When::Always));
        }
        (InitKind::Systemd, true) => ops.push(remove(resolved)),
        (InitKind::Openrc | InitKind::Sysvinit | InitKind::Busybox, _) => {}
    }
    Ok(())
}

/// Nothing is needed for the console: systemd's getty generator starts console-getty.service in a container.
fn systemd(ops: &mut Vec<Op>, family: Family, text: &Renderer) -> Result<()> {
    let dropin = format!("{UNITS}/service.d/10-hostel.conf");
    ops.push(write(&dropin, text.text("systemd/service.conf")?, When::Always));
    // Mounts that a user namespace is refused.
    for unit in ["sys-kernel-debug.mount", "sys-kernel-tracing.mount"] {
        ops.push(Op::Symlink {
            path: format!("{UNITS}/{unit}"),
            target: "/dev/null".to_owned(),
        });
    }
    // Fedora and RHEL have sshd-keygen@.service.
    if matches!(family, Family::Debian | Family::Ubuntu | Family::Generic) {
        let unit = "hostel-ssh-keys.service";
        ops.push(write(
            &format!("{UNITS}/{unit}"),
            text.text("systemd/ssh-keys.service")?,
            When::Always,
        ));
        let wants = format!("{UNITS}/multi-user.target.wants/{unit}");
        ops.push(Op::Symlink {
            path: wants,
            target: format!("../{unit}"),
        });
    }
    Ok(())
}

fn other_inits(ops: &mut Vec<Op>, family: Family, init: InitKind, facts: &GuestFacts, text: &Renderer) -> Result<()> {
    if init == InitKind::Openrc {
        // OpenRC leaves out what a container can't do (clock, modules, …) once it knows that it is in one.
        ops.push(block("/etc/rc.conf", text.text("alpine/rc.conf")?, When::IfExists));
    }
    if init == InitKind::Sysvinit && family != Family::Rhel {
        // Debian's init script reads this file before it starts sshd and makes no keys; Red Hat's makes them.
        ops.push(block("/etc/default/ssh", text.text("sysvinit/ssh")?, When::IfExists));
    }
    // Elsewhere OpenRC may stand on System V init or on its own, with gettys whose path we don't know.
    let known = init != InitKind::Openrc || family == Family::Alpine;
    if known && (facts.fresh || facts.reset) {
        ops.push(console(init, text)?);
    }
    Ok(())
}

/// inittab(5) with a getty on the console and none on terminals that a VE doesn't have. With System V, also an
/// answer to SIGPWR, by which Hostel asks it to halt. BusyBox alone has a shell on the console by itself.
fn console(init: InitKind, text: &Renderer) -> Result<Op> {
    let (content, stale): (String, &[&str]) = match init {
        InitKind::Sysvinit => {
            let stale = &[
                "1:", "2:", "3:", "4:", "5:", "6:", "co:", "cons:", "console:", "pf:", "pn:", "po:",
            ];
            (text.text("sysvinit/inittab")?, stale)
        }
        InitKind::Openrc | InitKind::Systemd => (
            text.text("alpine/inittab")?,
            &["tty1:", "tty2:", "tty3:", "tty4:", "tty5:", "tty6:", "console:"],
        ),
        InitKind::Busybox => (String::new(), &["tty1:", "tty2:", "tty3:", "tty4:", "tty5:", "tty6:"]),
    };
    let mut op = block("/etc/inittab", content, When::IfExists);
    if let Op::ManagedBlock { comment_out, .. } = &mut op {
        comment_out.extend(stale.iter().map(|s| (*s).to_owned()));
    }
    Ok(op)
}

fn access(ops: &mut Vec<Op>, facts: &GuestFacts) {
    if let Some(hash) = &facts.password_hash {
        ops.push(Op::Password {
            user: "root".to_owned(),
            hash: hash.clone(),
            day: facts.today,
        });
    }
    if !facts.ssh_keys.is_empty() {
        ops.push(Op::MakeDir {
            path: "/root/.ssh".to_owned(),
            mode: 0o700,
        });
    }
    let keys = facts.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
    let mut op = block("/root/.ssh/authorized_keys", keys, When::Always);
    if let Op::ManagedBlock { mode, .. } = &mut op {
        *mode = 0o600;
    }
    ops.push(op);
}

fn clock(ops: &mut Vec<Op>, init: InitKind, facts: &GuestFacts) {
    let path = "/etc/localtime".to_owned();
    if let Some(zone) = &facts.timezone {
        ops.push(Op::Copy {
            from: format!("/usr/share/zoneinfo/{zone}"),
            path,
            mode: 0o644,
        });
        ops.push(write("/etc/timezone", format!("{zone}\n"), When::IfExists));
    } else if init == InitKind::Systemd {
        // systemd watches this file; CRIU can't save a watch on a link whose target is another inode.
        ops.push(Op::Copy {
            from: path.clone(),
            path,
            mode: 0o644,
        });
    }
}
