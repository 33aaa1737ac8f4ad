//! Scripts of the host's owner that are run as VEs come and go. OpenVZ's action scripts and Hostel's hooks are one table:
//! only where they lie and what they are called differs.

use std::fmt;

use crate::id::{VeId, VeName};

/// What happens to a VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Its disk is about to be attached.
    Premount,
    /// Its disk is attached; what is mounted now below VE_ROOT it will have.
    Mount,
    /// It is put together, with its network, and its init is about to run.
    Start,
    /// It is about to be asked to shut down.
    Stop,
    /// It has ended, and its disk is about to be let go.
    Umount,
    /// Its disk has been let go.
    Postumount,
}

/// Where a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the host, as root, in none of the VE's namespaces.
    Host,
    /// In the VE, as its root and with no more rights than that has.
    Inside,
}

/// Hostel's own directory of scripts, below that of its definitions.
pub const OWN_DIRECTORY: &str = "hooks";
/// OpenVZ's, below the same.
pub const OPENVZ_DIRECTORY: &str = "vz/conf";

/// Whose scripts of all VEs are called so, in each of the directories.
const ALL: &str = "all";
const OPENVZ_ALL: &str = "vps";

impl Event {
    /// All, in the order of a VE's life.
    pub const EACH: [Self; 6] = [
        Self::Premount,
        Self::Mount,
        Self::Start,
        Self::Stop,
        Self::Umount,
        Self::Postumount,
    ];

    /// As it ends a script's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Premount => "premount",
            Self::Mount => "mount",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Umount => "umount",
            Self::Postumount => "postumount",
        }
    }

    /// Where its scripts run.
    pub const fn place(self) -> Place {
        match self {
            Self::Start | Self::Stop => Place::Inside,
            Self::Premount | Self::Mount | Self::Umount | Self::Postumount => Place::Host,
        }
    }

    /// What ends what this one has begun.
    pub const fn opposite(self) -> Option<Self> {
        match self {
            Self::Premount => Some(Self::Postumount),
            Self::Mount => Some(Self::Umount),
            Self::Start | Self::Stop | Self::Umount | Self::Postumount => None,
        }
    }

    /// Do a VE's own scripts run before those of all VEs?
    const fn own_first(self) -> bool {
        matches!(self, Self::Umount | Self::Postumount)
    }

    /// The names of its scripts for this VE, in the order in which they run: the directory, and the names there.
    pub fn names(self, id: VeId, name: &VeName) -> [(&'static str, Vec<String>); 2] {
        let arrange = |all: &str, mut own: Vec<String>| {
            match self.own_first() {
                true => own.push(all.to_owned()),
                false => own.insert(0, all.to_owned()),
            }
            own.into_iter().map(|who| format!("{who}.{}", self.word())).collect()
        };
        let [(own_directory, own), (openvz_directory, openvz)] = Self::whose(id, name);
        let both = [
            (own_directory, arrange(ALL, own)),
            (openvz_directory, arrange(OPENVZ_ALL, openvz)),
        ];
        match self.own_first() {
            true => {
                let [own, openvz] = both;
                [openvz, own]
            }
            false => both,
        }
    }

    /// The names of those of its scripts that are no other VE's, in no order.
    pub fn own_names(self, id: VeId, name: &VeName) -> [(&'static str, Vec<String>); 2] {
        let named = |who: String| format!("{who}.{}", self.word());
        Self::whose(id, name).map(|(directory, own)| (directory, own.into_iter().map(named).collect()))
    }

    /// By what a VE's own scripts are called, in each of the directories.
    fn whose(id: VeId, name: &VeName) -> [(&'static str, Vec<String>); 2] {
        let own = match name.as_str() {
            // A VE that is called as all are has no scripts by its name.
            ALL => vec![id.to_string()],
            name => vec![id.to_string(), name.to_owned()],
        };
        [(OWN_DIRECTORY, own), (OPENVZ_DIRECTORY, vec![id.to_string()])]
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(event: Event, name: &str) -> Vec<String> {
        let names = event.names(VeId::try_from(101).unwrap(), &name.parse().unwrap());
        names
            .into_iter()
            .flat_map(|(directory, names)| names.into_iter().map(move |n| format!("{directory}/{n}")))
            .collect()
    }

    #[test]
    fn those_of_all_ves_come_first_and_go_last() {
        assert_eq!(
            order(Event::Mount, "web1"),
            [
                "hooks/all.mount",
                "hooks/101.mount",
                "hooks/web1.mount",
                "vz/conf/vps.mount",
                "vz/conf/101.mount"
            ]
        );
        assert_eq!(
            order(Event::Umount, "web1"),
            [
                "vz/conf/101.umount",
                "vz/conf/vps.umount",
                "hooks/101.umount",
                "hooks/web1.umount",
                "hooks/all.umount"
            ]
        );
    }

    #[test]
    fn a_ve_called_all_has_no_script_twice() {
        assert_eq!(order(Event::Start, "all")[..2], ["hooks/all.start", "hooks/101.start"]);
    }

    #[test]
    fn what_is_its_own_is_nobody_elses() {
        let own = |name: &str| Event::Stop.own_names(VeId::try_from(101).unwrap(), &name.parse().unwrap());
        let in_hooks = |names: &[&str]| ("hooks", names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(own("vps")[0], in_hooks(&["101.stop", "vps.stop"]));
        assert_eq!(own("all")[0], in_hooks(&["101.stop"]));
        assert_eq!(own("web1")[1], ("vz/conf", vec!["101.stop".to_owned()]));
    }

    #[test]
    fn what_is_begun_has_an_end_and_words_are_unique() {
        let begun: Vec<_> = Event::EACH.iter().filter_map(|e| Some((*e, e.opposite()?))).collect();
        assert_eq!(
            begun,
            [(Event::Premount, Event::Postumount), (Event::Mount, Event::Umount)]
        );
        for (at, event) in Event::EACH.iter().enumerate() {
            assert!(Event::EACH[..at].iter().all(|other| other.word() != event.word()));
        }
    }
}
