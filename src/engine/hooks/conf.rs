//! What scripts find at VE_CONFFILE: a VE in OpenVZ's words, to be read by sh.

use hostel_model::openvz::{Conf, Facts, render};

use crate::error::Result;
use crate::host::Host;
use crate::ve::outline::Outline;
use crate::ve::registry::Catalogue;

impl Host {
    /// The text. Of a VE whose definition can't be read it has what is known without.
    pub(super) fn conf_text(&self, ve: &Outline) -> String {
        self.whole_conf(ve).unwrap_or_else(|_| {
            let mut conf = Conf::default();
            conf.set("VE_ROOT", &self.dirs.script_root(ve.id).display().to_string());
            conf.set("VE_PRIVATE", &self.dirs.ve(ve.id).display().to_string());
            conf.set("NAME", ve.name.as_str());
            let addresses: Vec<String> = ve.addresses.iter().map(ToString::to_string).collect();
            conf.set("IP_ADDRESS", &addresses.join(" "));
            conf.to_string()
        })
    }

    fn whole_conf(&self, ve: &Outline) -> Result<String> {
        let (state, effective) = (self.state(ve.id)?, self.effective(&ve.name, &mut Catalogue::default())?);
        // Where they may mount.
        let root = self.dirs.script_root(ve.id).display().to_string();
        Ok(render(
            &effective,
            &Facts {
                root,
                ..self.openvz_facts(&state)
            },
        ))
    }
}
