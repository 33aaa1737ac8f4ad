//! The texts, from the templates under `templates/guest/` that are built in.

use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Tera};

use super::facts::{GuestFacts, Interface};
use crate::{Class, Error, Result};

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        /// Name and text of every template.
        pub(super) const TEMPLATES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../templates/guest/", $name)))),+];
    };
}

templates!(
    "common/hosts",
    "common/resolv.conf",
    "common/networkmanager.conf",
    "common/cloud.cfg",
    "common/interfaces.txt",
    "systemd/networkd.network",
    "systemd/wait-online.conf",
    "systemd/resolved.conf",
    "systemd/service.conf",
    "systemd/ssh-keys.service",
    "debian/interfaces",
    "debian/networking",
    "ubuntu/netplan.yaml",
    "rhel/ifcfg",
    "alpine/interfaces",
    "alpine/inittab",
    "alpine/rc.conf",
    "sysvinit/inittab",
    "sysvinit/ssh",
    "generic/conf.d-hostname",
);

static TERA: LazyLock<std::result::Result<Tera, tera::Error>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.add_raw_templates(TEMPLATES.iter().copied())?;
    Ok(tera)
});

/// What templates see. A name that isn't here is an error in the template, and every template is rendered in tests.
#[derive(Debug, Serialize)]
struct View<'f> {
    hostname: &'f str,
    /// All names of the host for one line of hosts(5), the canonical one first.
    names: String,
    addresses: Vec<String>,
    dns: Vec<String>,
    dns_line: String,
    search: String,
    /// Those that are configured from outside.
    interfaces: Vec<InterfaceView<'f>>,
    interface_names: String,
}

#[derive(Debug, Serialize)]
struct InterfaceView<'f> {
    name: &'f str,
    mac: &'f str,
    addresses: Vec<String>,
    gateways: Vec<String>,
}

/// Renders templates with the facts of one VE.
pub(super) struct Renderer {
    context: Context,
}

impl Renderer {
    pub(super) fn new(facts: &GuestFacts) -> Result<Self> {
        let view = View::new(facts);
        let context = Context::from_serialize(&view).map_err(|e| broken("the facts", e))?;
        let mut renderer = Self { context };
        let listing = renderer.text("common/interfaces.txt")?;
        renderer.context.insert("listing", &listing);
        Ok(renderer)
    }

    /// One template's text.
    pub(super) fn text(&self, name: &'static str) -> Result<String> {
        render(name, &self.context)
    }

    /// One template's text, about one interface.
    pub(super) fn about(&self, name: &'static str, interface: &Interface) -> Result<String> {
        let mut context = self.context.clone();
        context.insert("interface", &InterfaceView::new(interface));
        render(name, &context)
    }
}

fn render(name: &str, context: &Context) -> Result<String> {
    let tera = TERA.as_ref().map_err(|e| broken(name, e.to_string()))?;
    tera.render(name, context).map_err(|e| broken(name, e))
}

fn broken(name: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Class::Failed, format!("cannot render the guest template {name}")).because(source)
}

impl<'f> View<'f> {
    fn new(facts: &'f GuestFacts) -> Self {
        let interfaces: Vec<_> = facts.configured_outside().map(InterfaceView::new).collect();
        let dns: Vec<String> = facts.dns.iter().map(ToString::to_string).collect();
        Self {
            hostname: &facts.hostname,
            names: all_names(facts),
            addresses: interfaces.iter().flat_map(|i| i.addresses.iter().cloned()).collect(),
            dns_line: dns.join(" "),
            dns,
            search: facts.search.join(" "),
            interface_names: interfaces.iter().map(|i| i.name).collect::<Vec<_>>().join(" "),
            interfaces,
        }
    }
}

impl<'f> InterfaceView<'f> {
    fn new(interface: &'f Interface) -> Self {
        let gateways = [
            interface.gateway4.map(|g| g.to_string()),
            interface.gateway6.map(|g| g.to_string()),
        ];
        Self {
            name: &interface.name,
            mac: &interface.mac,
            addresses: interface.addresses.iter().map(ToString::to_string).collect(),
            gateways: gateways.into_iter().flatten().collect(),
        }
    }
}

impl GuestFacts {
    /// The interfaces that the guest is to leave alone.
    pub(super) fn configured_outside(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|i| !i.addresses.is_empty())
    }
}

fn all_names(facts: &GuestFacts) -> String {
    let short = facts.hostname.split('.').next().unwrap_or_default();
    let mut names: Vec<&str> = Vec::new();
    for name in facts
        .fqdn
        .as_deref()
        .into_iter()
        .chain([facts.hostname.as_str(), short])
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(" ")
}
