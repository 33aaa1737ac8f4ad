//! The one table of parameters: what `vzctl set` and CTID.conf know, and what each becomes.

mod host;
mod identity;
mod limits;
mod network;

use super::key::Key;

/// Every parameter of both generations, by what it is about.
pub fn table() -> impl Iterator<Item = &'static Key> {
    [identity::KEYS, network::KEYS, limits::KEYS, host::KEYS]
        .into_iter()
        .flatten()
}

/// The parameter of an option: `numproc`, `p`.
pub fn option(name: &str) -> Option<&'static Key> {
    table().find(|key| key.options.contains(&name))
}

/// The parameter of a key of CTID.conf.
pub fn parameter(name: &str) -> Option<&'static Key> {
    table().find(|key| key.config.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::definition::keys;
    use crate::openvz::key::{Becomes, Group};

    #[test]
    fn every_name_is_there_once_and_every_setting_exists() {
        let (mut options, mut parameters) = (BTreeSet::new(), BTreeSet::new());
        for key in table() {
            assert!(!key.options.is_empty() || !key.config.is_empty());
            assert!(Group::ALL.contains(&key.group));
            for name in key.options {
                assert!(options.insert(*name), "--{name} twice");
            }
            for name in key.config {
                assert!(parameters.insert(*name), "{name} twice");
            }
            let told = match key.becomes {
                Becomes::Settings { keys: settings, .. } => {
                    for setting in settings {
                        assert!(keys().iter().any(|k| k.key == *setting), "{setting}");
                    }
                    continue;
                }
                Becomes::Act { .. } => continue,
                Becomes::NoEffect(why) | Becomes::Refused(why) => why,
            };
            assert!(told.len() > 10, "{}: {told}", key.title());
        }
    }

    /// Names as the fact book has them, so that none gets lost.
    #[test]
    fn no_option_is_missing() {
        let legacy = "onboot bootorder disabled stop-timeout name description ostemplate root private mount_opts userpasswd \
            hostname nameserver searchdomain ipadd ipdel skip_arpdetect netif_add netif_del ifname mac host_ifname host_mac \
            bridge mac_filter netdev_add netdev_del devnodes devices pci_add pci_del ram swap vm_overcommit kmemsize \
            tcpsndbuf tcprcvbuf othersockbuf dgramrcvbuf dcachesize privvmpages lockedpages shmpages vmguarpages \
            oomguarpages physpages swappages numproc numtcpsock numothersock numfile numflock numpty numsiginfo numiptent \
            avnumproc cpuunits cpulimit cpus cpumask nodemask meminfo diskspace diskinodes quotatime quotaugidlimit \
            diskquota offline-resize ioprio iolimit iopslimit capability features netfilter iptables applyconfig \
            applyconfig_map config layout local_uid local_gid p k b l n f t i x e";
        let newer = "device-add device-set device-del gw gw6 dhcp dhcp6 network configure nettype vporttype ext_ipadd \
            ext_ipdel netif_mac_renew default_gateway bindmount_add bindmount_del noatime rate ratebound memguarantee \
            memory pagecache-isolation num-memory-subgroups numnetif burst_cpulimit burst_cpu_avg_usage autostop \
            apply_iponly ha_enable ha_prio distribution crypted";
        for name in legacy.split_whitespace().chain(newer.split_whitespace()) {
            assert!(option(name).is_some(), "--{name}");
        }
    }

    #[test]
    fn no_parameter_is_missing() {
        let names = "ONBOOT BOOTORDER NAME DESCRIPTION HOSTNAME OSTEMPLATE DISTRIBUTION TEMPLATES ORIGIN_SAMPLE CONFIGFILE \
            CONFIG_CUSTOMIZED VE_ROOT VE_PRIVATE VE_LAYOUT MOUNT_OPTS DISABLED STOP_TIMEOUT LOCAL_UID LOCAL_GID IP_ADDRESS \
            NETIF NETDEV NAMESERVER SEARCHDOMAIN NETFILTER IPTABLES PHYSPAGES SWAPPAGES VM_OVERCOMMIT KMEMSIZE TCPSNDBUF \
            TCPRCVBUF OTHERSOCKBUF DGRAMRCVBUF DCACHESIZE PRIVVMPAGES LOCKEDPAGES SHMPAGES VMGUARPAGES OOMGUARPAGES NUMPROC \
            NUMTCPSOCK NUMOTHERSOCK NUMFILE NUMFLOCK NUMPTY NUMSIGINFO NUMIPTENT AVNUMPROC MEMINFO MEMGUARANTEE \
            MEMGUARANTEE_BYTES PAGECACHE_ISOLATION NUMMEMORYSUBGROUPS ANONSHPAGES CPUUNITS CPUWEIGHT CPULIMIT CPULIMIT_MHZ \
            CPUS CPUMASK NODEMASK BURST_CPULIMIT BURST_CPU_AVG_USAGE IOPRIO IOLIMIT IOPSLIMIT DISK_QUOTA DISKSPACE DISKINODES \
            QUOTATIME QUOTAUGIDLIMIT JOURNALED_QUOTA DISK BINDMOUNT CAPABILITY FEATURES DEVICES DEVNODES PCI RATE TOTALRATE \
            RATEBOUND TRAFFIC_SHAPING APPLY_IPONLY AUTOSTOP AUTOCOMPACT HA_ENABLE HA_PRIO NUMNETIF NOATIME OSRELEASE \
            TECHNOLOGIES VE_ENVIRONMENT VE_TYPE ALLOWREBOOT UUID ROOT_DISK SLMMODE USE_NET_RPS";
        for name in names.split_whitespace() {
            assert!(parameter(name).is_some(), "{name}");
        }
    }
}
