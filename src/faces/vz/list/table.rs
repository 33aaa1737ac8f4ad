//! The one table of vzlist's fields: what can be asked for, listed, sorted by, and what docs/OPENVZ.md says of it.

use hostel_engine::facade::Aspects;
use hostel_model::openvz::lesser;
use hostel_model::units::Bytes;

use super::field::Field;
use super::read::{
    about, addresses, capability, cpu_percent, disk_limit, features, gateways, given, inodes, ioprio, layout, name,
    nameserver, onboot, paper, ports, pressure, smart_name, space, status, template,
};
use super::value::Value;

const NONE: Aspects = Aspects::NONE;
const RECORD: Aspects = Aspects::RECORD;
const STATE: Aspects = Aspects::STATE;
const PAPER: Aspects = Aspects::DEFINITION;
const USAGE: Aspects = Aspects::USAGE;
const SWAP: Aspects = Aspects::SWAP;
const WAITS: Aspects = Aspects::WAITS;
const HITS: Aspects = Aspects::HITS;
const DISK: Aspects = Aspects::DISK;
const IO: Aspects = Aspects::IO;
const TRAFFIC: Aspects = Aspects::TRAFFIC;
const RATES: Aspects = Aspects::RATES;

/// All of them, in the order in which they are listed.
pub const FIELDS: &[Field] = &[
    Field::seen(&["ctid", "veid", "vpsid", "envid"], "CTID", 10, NONE, |v| {
        Value::Number(v.id.get().into())
    }),
    Field::seen(&["name"], "NAME", -32, PAPER, |v| Value::text(name(v))),
    Field::seen(&["smart_name"], "SMARTNAME", 10, PAPER, smart_name),
    Field::seen(&["description"], "DESCRIPTION", -32, PAPER, |v| {
        Value::text(paper(v, |e| e.description.clone()))
    }),
    Field::seen(&["hostname"], "HOSTNAME", -32, PAPER, |v| {
        Value::text(paper(v, |e| Some(e.hostname.to_string())))
    }),
    Field::seen(&["ostemplate"], "OSTEMPLATE", -32, RECORD, |v| Value::text(template(v)))
        .differs("the template's name; its version is in `template`"),
    Field::seen(&["origin_sample"], "ORIGIN_SAMPLE", -32, PAPER, |v| {
        Value::text(paper(v, |e| Some(e.plan.to_string())))
    })
    .differs("the plan, which a VE stays on"),
    Field::seen(&["private"], "PRIVATE", -32, NONE, |v| {
        Value::Text(v.places.0.display().to_string())
    })
    .differs("the VE's directory; the tenant's files are on a disk in it"),
    Field::seen(&["root"], "ROOT", -32, NONE, |v| {
        Value::Text(v.places.1.display().to_string())
    })
    .differs("where `vzctl mount` shows a stopped VE's files; nothing is there while it runs"),
    Field::parameter(&["mount_opts"], "MOUNT_OPTS", -16, "MOUNT_OPTS")
        .words()
        .differs(REMEMBERED),
    Field::seen(&["layout"], "LAYOUT", -6, RECORD, layout)
        .differs("ploop stands for the disk driver image, simfs for project and btrfs"),
    Field::seen(&["status"], "STATUS", -9, STATE, status),
    Field::seen(&["uptime"], "UPTIME", 15, STATE, |v| {
        v.uptime.map_or(Value::Unknown, |t| Value::Time(t.as_secs()))
    })
    .differs("seconds, as a whole number in JSON"),
    Field::never(
        &["laverage"],
        "LAVERAGE",
        14,
        "Linux keeps no load average by control group, and to sample one takes a program that always runs; see `psi_cpu`",
    ),
    Field::seen(&["onboot"], "ONBOOT", 6, PAPER, onboot),
    Field::seen(&["bootorder"], "BOOTORDER", 10, PAPER, |v| {
        given(v, "priority", |e| e.priority)
    }),
    Field::seen(&["ip"], "IP_ADDR", -15, RECORD, |v| Value::List(addresses(v))),
    Field::seen(&["configured_ip", "ip_configured"], "IP_ADDR", -15, RECORD, |v| {
        Value::List(addresses(v))
    }),
    Field::seen(&["nameserver"], "NAMESERVER", -15, PAPER, nameserver),
    Field::seen(&["searchdomain"], "SEARCHDOMAIN", -32, PAPER, |v| {
        Value::List(
            v.definition
                .iter()
                .flat_map(|e| &e.search)
                .map(ToString::to_string)
                .collect(),
        )
    }),
    Field::counter(&["kmemsize"], "KMEMSIZE").differs(FREE),
    Field::counter(&["lockedpages"], "LOCKEDP").differs("what is held isn't counted; the limit is that of physpages"),
    Field::counter(&["privvmpages"], "PRIVVMP").differs(FREE),
    Field::counter(&["shmpages"], "SHMP").differs(FREE),
    Field::counter(&["numproc"], "NPROC"),
    Field::counter(&["physpages"], "PHYSP").differs("page cache is counted, as it is part of the limit"),
    Field::counter(&["vmguarpages"], "VMGUARP").differs("the barrier is memory.guarantee"),
    Field::counter(&["oomguarpages"], "OOMGUARP")
        .differs("the barrier is memory.guarantee; failures are processes killed"),
    Field::counter(&["numtcpsock"], "NTCPSOCK").differs(FREE),
    Field::counter(&["numflock"], "NFLOCK").differs(FREE),
    Field::counter(&["numpty"], "NPTY").differs(FREE),
    Field::counter(&["numsiginfo"], "NSIGINFO").differs(FREE),
    Field::counter(&["tcpsndbuf"], "TCPSNDB").differs(FREE),
    Field::counter(&["tcprcvbuf"], "TCPRCVB").differs(FREE),
    Field::counter(&["othersockbuf"], "OTHSOCKB").differs(FREE),
    Field::counter(&["dgramrcvbuf"], "DGRAMRB").differs(FREE),
    Field::counter(&["numothersock"], "NOTHSOCK").differs(FREE),
    Field::counter(&["dcachesize"], "DCACHESZ").differs(FREE),
    Field::counter(&["numfile"], "NFILE").differs(FREE),
    Field::counter(&["numiptent"], "NIPTENT").differs(FREE),
    Field::counter(&["swappages"], "SWAPP"),
    Field::disk(&["diskspace"], "DSPACE", space).differs("the soft limit is the hard one; KB"),
    Field::disk(&["diskinodes"], "DINODES", inodes).differs("the soft limit is the hard one"),
    Field::seen(&["cpulimit", "cpulimit%"], "CPULIM", 7, PAPER, |v| {
        about(v, |e| {
            Value::limit_or_zero(e.limits.cpu.cap_milli.map(|milli| milli / 10))
        })
    })
    .differs("percent of one processor, cpu.cap; none is null in JSON"),
    Field::never(&["cpulimitM"], "CPUL_M", 7, "a cap is in processors, not in MHz"),
    Field::parameter(&["cpuunits"], "CPUUNI", 7, "CPUUNITS")
        .differs("as given, or ten times cpu.weight: 1000 is everybody's default"),
    Field::seen(&["cpus"], "CPUS", 4, PAPER, |v| {
        about(v, |e| Value::number(e.limits.cpu.count))
    }),
    Field::seen(&["cpumask"], "CPUMASK", -10, PAPER, |v| {
        about(v, |e| {
            Value::Text(
                e.limits
                    .cpu
                    .pin
                    .as_ref()
                    .map_or_else(|| "all".to_owned(), ToString::to_string),
            )
        })
    }),
    Field::parameter(&["nodemask"], "NODEMASK", -10, "NODEMASK")
        .words()
        .differs(REMEMBERED),
    Field::seen(&["iolimit"], "IOLIMIT", 10, PAPER, |v| {
        about(v, |e| {
            Value::limit_or_zero(lesser(
                e.limits.io.read_bytes.map(Bytes::get),
                e.limits.io.write_bytes.map(Bytes::get),
            ))
        })
    })
    .differs("bytes per second: the lesser of io.read and io.write, each of which is held by itself"),
    Field::seen(&["iopslimit"], "IOPS", 10, PAPER, |v| {
        about(v, |e| {
            Value::limit_or_zero(lesser(e.limits.io.read_ops, e.limits.io.write_ops))
        })
    })
    .differs("the lesser of io.read_ops and io.write_ops, each of which is held by itself"),
    Field::seen(&["vswap"], "VSWAP", 5, PAPER, |v| {
        about(v, |e| Value::Switch(e.limits.memory.limit.is_some()))
    }),
    Field::seen(&["features"], "FEATURES", -15, PAPER, features).differs("the switches of a definition's [features]"),
    Field::seen(&["distribution"], "DISTRIBUTION", -12, RECORD, |v| {
        Value::text(v.record.as_ref().map(|r| &*r.family))
    })
    .differs("the family: debian, alpine, …"),
    Field::seen(&["type"], "TYPE", -4, NONE, |_| Value::Text("ct".into())),
    Field::seen(&["ifname"], "IFNAME", -8, RECORD, |v| ports(v, |p| p.inside.clone())),
    Field::seen(&["host_ifname"], "HOST_IFNAME", -12, RECORD, |v| {
        ports(v, |p| p.outside.clone())
    }),
    Field::seen(&["mac"], "MAC", -17, RECORD, |v| ports(v, |p| p.mac.to_string())),
    Field::never(
        &["host_mac"],
        "HOST_MAC",
        -17,
        "the end of a link on the host has any; nobody sees it",
    ),
    Field::seen(&["network"], "NETWORK", -12, RECORD, |v| {
        ports(v, |p| p.network.to_string())
    }),
    Field::seen(&["netif"], "NETIF", -8, RECORD, |v| ports(v, |p| p.inside.clone())),
    Field::seen(&["gw"], "GW", -15, PAPER, gateways).differs("of a network of kind bridge; routed ones need none"),
    Field::seen(&["autostop"], "AUTOSTOP", -8, PAPER, |v| {
        about(v, |e| Value::Text(e.stop_mode.to_string()))
    }),
    Field::seen(&["disabled"], "DISABL", 6, PAPER, |v| {
        about(v, |e| Value::Switch(e.disabled))
    }),
    Field::seen(&["ioprio"], "IOP", 3, PAPER, ioprio).differs("of an io.weight that no priority stands for, unknown"),
    Field::parameter(&["netfilter"], "NETFILTER", -9, "NETFILTER")
        .words()
        .differs(REMEMBERED),
    Field::parameter(&["vm_overcommit"], "VM_OVC", 6, "VM_OVERCOMMIT").differs(REMEMBERED),
    Field::seen(&["capability"], "CAPABILITY", -15, PAPER, capability).differs(REMEMBERED),
    Field::parameter(&["devnodes"], "DEVNODES", -15, "DEVNODES")
        .words()
        .differs("net/tun and fuse, as features.tun and features.fuse are on; others as they were given"),
    Field::parameter(&["ha_enable"], "HA_ENABLE", -9, "HA_ENABLE")
        .words()
        .differs(REMEMBERED),
    Field::parameter(&["ha_prio"], "HA_PRIO", 7, "HA_PRIO").differs(REMEMBERED),
    Field::parameter(&["uuid"], "UUID", -36, "UUID")
        .words()
        .differs("as it was given; VEs have none of their own"),
    Field::never(
        &["tm"],
        "TM",
        -4,
        "there are no technologies that a VE would need of its host",
    ),
    Field::never(&["device"], "DEVICE", -8, "a VE has one disk"),
    Field::never(
        &["slmmode", "slmpattern", "slmmemorylimit"],
        "SLMMODE",
        -8,
        "the newer generation itself has no value for it",
    ),
    // What OpenVZ had no column for.
    Field::seen(&["tenant"], "TENANT", -12, PAPER, |v| {
        Value::text(paper(v, |e| Some(e.tenant.to_string())))
    })
    .extra("whose it is"),
    Field::seen(&["plan"], "PLAN", -12, PAPER, |v| {
        Value::text(paper(v, |e| Some(e.plan.to_string())))
    })
    .extra("its plan"),
    Field::seen(&["template"], "TEMPLATE", -32, RECORD, |v| {
        Value::text(v.record.as_ref().map(|r| &*r.template))
    })
    .extra("template and version"),
    Field::seen(&["problem"], "PROBLEM", -32, PAPER_AND_STATE, |v| {
        Value::text(v.problem.as_deref())
    })
    .extra("why it can't be started, or not all be told of it"),
    Field::seen(&["pid"], "PID", 8, STATE, |v| Value::number(v.pid)).extra("init's process id on the host"),
    Field::seen(&["memory"], "MEMORY", 14, USAGE, |v| {
        Value::number(v.usage.as_ref().and_then(|u| u.memory))
    })
    .extra("memory in use, with page cache: bytes"),
    Field::seen(&["memory_peak"], "MEM_PEAK", 14, HITS, |v| {
        Value::number(v.hits.and_then(|h| h.memory_peak))
    })
    .extra("the most memory since its start: bytes"),
    Field::seen(&["memory_limit"], "MEM_LIMIT", 19, PAPER, |v| {
        about(v, |e| Value::limit(e.limits.memory.limit.map(Bytes::get)))
    })
    .extra("the most memory it may have: bytes"),
    Field::seen(&["memory_guarantee"], "MEM_GUAR", 14, PAPER, |v| {
        about(v, |e| Value::Number(e.limits.memory.guarantee.map_or(0, Bytes::get)))
    })
    .extra("memory that is never taken from it: bytes"),
    Field::seen(&["swap"], "SWAP", 14, SWAP, |v| {
        Value::number(v.usage.as_ref().and_then(|u| u.swap))
    })
    .extra("swap in use: bytes"),
    Field::seen(&["swap_limit"], "SWAP_LIMIT", 19, PAPER, |v| {
        about(v, |e| Value::limit(e.limits.memory.swap.map(Bytes::get)))
    })
    .extra("the most swap it may have: bytes"),
    Field::seen(&["oom_kills"], "OOM_KILLS", 9, HITS, |v| {
        Value::number(v.hits.and_then(|h| h.oom_kills))
    })
    .extra("processes killed for want of memory since its start"),
    Field::seen(&["cpu_ns"], "CPU_NS", 18, USAGE, |v| {
        Value::number(v.usage.as_ref().and_then(|u| u.cpu.total_ns))
    })
    .extra("processor time since its start: nanoseconds"),
    Field::seen(&["cpu_percent"], "CPU%", 7, RATES, cpu_percent)
        .extra("processor time over 80 ms, in percent of one processor; in JSON only if asked for")
        .if_asked(),
    Field::seen(&["cpu_throttled"], "CPU_THR", 10, HITS, |v| {
        Value::number(v.hits.and_then(|h| h.throttled).map(|t| t.throttled))
    })
    .extra("periods of 100 ms in which the cap made it wait, since its start"),
    Field::seen(&["io_read"], "IO_READ", 14, IO, |v| {
        Value::number(v.io.map(|io| io.read_bytes))
    })
    .extra("read from its disk since its start: bytes"),
    Field::seen(&["io_write"], "IO_WRITE", 14, IO, |v| {
        Value::number(v.io.map(|io| io.write_bytes))
    })
    .extra("written to its disk since its start: bytes"),
    Field::seen(&["io_read_ops"], "IO_RDOPS", 10, IO, |v| {
        Value::number(v.io.map(|io| io.read_ops))
    })
    .extra("read operations since its start"),
    Field::seen(&["io_write_ops"], "IO_WROPS", 10, IO, |v| {
        Value::number(v.io.map(|io| io.write_ops))
    })
    .extra("write operations since its start"),
    Field::seen(&["net_in"], "NET_IN", 14, TRAFFIC, |v| {
        Value::number(v.traffic.map(|(to, _)| to.bytes))
    })
    .extra("what came to it since it was made: bytes"),
    Field::seen(&["net_out"], "NET_OUT", 14, TRAFFIC, |v| {
        Value::number(v.traffic.map(|(_, from)| from.bytes))
    })
    .extra("what left it since it was made: bytes"),
    Field::seen(&["net_in_packets"], "NET_INP", 12, TRAFFIC, |v| {
        Value::number(v.traffic.map(|(to, _)| to.packets))
    })
    .extra("the same in packets"),
    Field::seen(&["net_out_packets"], "NET_OUTP", 12, TRAFFIC, |v| {
        Value::number(v.traffic.map(|(_, from)| from.packets))
    })
    .extra("the same in packets"),
    Field::seen(&["disk"], "DISK", 14, DISK, |v| Value::number(v.disk.used)).extra("in use on its disk: bytes"),
    Field::seen(&["disk_limit"], "DISK_LIMIT", 14, DISK, |v| {
        Value::number(disk_limit(v))
    })
    .extra("what can be used of its disk: bytes"),
    Field::seen(&["psi_cpu"], "PSI_CPU", 7, WAITS, |v| {
        pressure(v.usage.as_ref().and_then(|u| u.cpu_pressure.as_ref()))
    })
    .extra("percent of the last 10 s in which something in it waited for a processor"),
    Field::seen(&["psi_memory"], "PSI_MEM", 7, WAITS, |v| {
        pressure(v.usage.as_ref().and_then(|u| u.memory_pressure.as_ref()))
    })
    .extra("the same for memory"),
    Field::seen(&["psi_io"], "PSI_IO", 7, WAITS, |v| {
        pressure(v.usage.as_ref().and_then(|u| u.io_pressure.as_ref()))
    })
    .extra("the same for disks"),
];

const PAPER_AND_STATE: Aspects = Aspects::DEFINITION.and(Aspects::STATE);

const REMEMBERED: &str = "as it was given; it has no effect here";

const FREE: &str = "not counted, and not limited by itself; it is part of physpages or numproc";
