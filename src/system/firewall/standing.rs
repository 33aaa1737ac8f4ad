//! What a table in the kernel tells of itself: whether it is of the text that is wanted, and whether somebody has touched it.

use super::keys::Family;
use super::nftables::{commit, exists};
use super::{Ruleset, Standing, ruleset, wire};
use crate::error::Result;
use crate::net::netlink::Netlink;

/// A digest of the rules that the kernel has in this table.
fn digest_of_rules(netlink: &mut Netlink, family: Family, table: &str) -> Result<String> {
    match netlink.dump(&wire::list_rules(family, table)) {
        Ok(answers) => {
            let rules: Vec<u8> = answers
                .iter()
                .filter_map(|body| wire::read_rule(table, body))
                .flatten()
                .collect();
            Ok(ruleset::digest(&rules))
        }
        Err(refusal) if refusal.errno() == libc::ENOENT => Ok(ruleset::digest(&[])),
        Err(refusal) => Err(refusal.into_error("read the rules of firewall table", table)),
    }
}

/// Marks a table with what the kernel made of its text: see [`standing`].
pub(super) fn mark_rules(netlink: &mut Netlink, family: Family, table: &str) -> Result<()> {
    let chain = format!("rules_{}", digest_of_rules(netlink, family, table)?);
    commit(netlink, vec![wire::new_chain(family, table, &chain)])
        .map_err(|refusal| refusal.into_error("mark firewall table", table))
}

/// Empty chains whose names tell what the table is: one comes with the text, one is added after loading, with a
/// digest of the rules as the kernel shows them. Together they say: this text, and nobody has touched the rules.
pub(super) fn standing(netlink: &mut Netlink, family: Family, table: &str, version: &str) -> Result<Standing> {
    let Some(found) = exists(netlink, table, &wire::get_table(family, table))? else {
        return Ok(Standing::Broken);
    };
    let rules = digest_of_rules(netlink, family, table)?;
    let mut has = |chain: String| -> Result<bool> {
        Ok(exists(netlink, table, &wire::get_chain(family, table, &chain))?.is_some())
    };
    if !wire::is_awake(&found) || !has(format!("rules_{rules}"))? {
        return Ok(Standing::Broken);
    }
    Ok(match has(format!("version_{version}"))? {
        true => Standing::Current,
        false => Standing::Outdated,
    })
}

/// How each of a ruleset's tables stands.
pub(super) fn standings(netlink: &mut Netlink, ruleset: &Ruleset) -> Result<Vec<(Family, Standing)>> {
    let one = |family| {
        let version = ruleset::version(ruleset, family)?;
        Ok((family, standing(netlink, family, &ruleset.table, &version)?))
    };
    ruleset::families(ruleset).into_iter().map(one).collect()
}
