//! The text of a fresh definition.

use super::quote;
use crate::definition::{Addresses, Share};
use crate::id::{Hostname, NetworkName, PlanName, TemplateRef, TenantName, VeId, VeName};

/// What a fresh definition says. All else is set on top with [`super::edit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVe {
    /// Its number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// Whose it is.
    pub tenant: TenantName,
    /// What it is made from.
    pub template: TemplateRef,
    /// Its plan.
    pub plan: PlanName,
    /// Start it with the host?
    pub onboot: bool,
    /// Its host name; `None`: its name.
    pub hostname: Option<Hostname>,
    /// Who shares the template's tree with it; `None`: as its tenant or the host has it.
    pub share: Option<Share>,
    /// For people.
    pub description: Option<String>,
    /// Its interfaces.
    pub networks: Vec<(NetworkName, Addresses)>,
}

/// The text of `ve/<name>.toml` for a VE that is being made: in good order, with short comments.
pub fn render_new(ve: &NewVe) -> String {
    let mut text = format!(
        "# VE {}. \"hostel show {}\" tells every setting and where it comes from.\n",
        ve.id, ve.name
    );
    let mut line = |key: &str, value: String, comment: &str| {
        text.push_str(&format!("{key} = {value}"));
        if !comment.is_empty() {
            text.push_str(&format!("  # {comment}"));
        }
        text.push('\n');
    };
    line("id", ve.id.to_string(), "for life");
    line("name", quote(ve.name.as_str()), "as the file is named");
    line("tenant", quote(ve.tenant.as_str()), "");
    line("template", quote(&ve.template.to_string()), "");
    line(
        "plan",
        quote(ve.plan.as_str()),
        "limits; override them below, such as [memory] limit = \"2GiB\"",
    );
    line("onboot", ve.onboot.to_string(), "start it with the host");
    if let Some(hostname) = &ve.hostname {
        line("hostname", quote(hostname.as_str()), "");
    }
    if let Some(share) = ve.share {
        line(
            "share",
            quote(&share.to_string()),
            "who shares the template's page cache with it",
        );
    }
    if let Some(description) = &ve.description {
        line("description", quote(description), "");
    }
    for (network, addresses) in &ve.networks {
        let addresses = match addresses {
            Addresses::Auto => quote("auto"),
            Addresses::Fixed(list) => {
                let all: Vec<String> = list.iter().map(|a| quote(&a.to_string())).collect();
                format!("[{}]", all.join(", "))
            }
        };
        text.push_str(&format!(
            "\n[[network]]\nnetwork = {}\naddresses = {addresses}\n",
            quote(network.as_str())
        ));
    }
    text
}
