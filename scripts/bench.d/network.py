"""What VEs' networks carry, beside a bare veth pair, and what they cost."""

import json
import statistics
import subprocess

from run import ENVIRONMENT, Failed, attempt, output, until
from table import Row, number, spread

SECONDS = "1"
ROUTED = 'kind = "routed"\nhost_services = ["all"]\npools = ["10.{net}.0.0/16"]\nmasquerade = true\n'
LAN = 'kind = "bridge"\nhost_services = ["all"]\npools = ["10.{net}.0.0/16"]\ngateway = ["10.{net}.0.1"]\nhost_addresses = ["10.{net}.0.1"]\n'
BIG = "big_tcp = true\n"
# What a VE's network is, and the host's address there.
KINDS = {
    "routed": (ROUTED.format(net=88), "169.254.1.1"),
    "routed, big_tcp": (ROUTED.format(net=89) + BIG, "169.254.1.1"),
    "bridged": (LAN.format(net=90), "10.90.0.1"),
    "bridged, big_tcp": (LAN.format(net=91) + BIG, "10.91.0.1"),
}
# Of other rules than before.
OTHER = """
kind = "nat"
pools = ["10.{net}.0.0/16"]
"""
GUARDED = """
[firewall]
in = "deny"
[[firewall.rule]]
direction = "in"
action = "allow"
peers = ["tenant:default"]
[[firewall.rule]]
direction = "in"
action = "allow"
protocol = "tcp"
ports = ["22", "80", "443"]
"""
CLASSES = """
[[traffic]]
name = "internal"
prefixes = ["10.0.0.0/8", "fd00::/8"]
"""
CROWD, MANY = 500, 1000


class Pair:
    """Two network namespaces and a veth pair between them, with nothing else."""

    def __init__(self):
        self.ends = [subprocess.Popen(["unshare", "--net", "sleep", "infinity"], env=ENVIRONMENT) for _ in range(2)]
        own = output(["readlink", "/proc/self/ns/net"])
        for end in self.ends:
            until("a namespace is made", 10, lambda end=end: attempt(["readlink", f"/proc/{end.pid}/ns/net"]) != own)
        one, two = (end.pid for end in self.ends)
        inside(one, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(two))
        for n, end in enumerate((one, two)):
            inside(end, "ip", "address", "add", f"192.0.2.{n + 1}/24", "dev", "eth0")
            inside(end, "ip", "link", "set", "eth0", "up")

    def speed(self, udp):
        return iperf(self.ends[1].pid, self.ends[0].pid, "192.0.2.2", udp)

    def close(self):
        for end in self.ends:
            end.kill()
            end.wait()


def inside(pid, *argv):
    """Runs a command in a process's network namespace; in ours, if there is none."""
    return output([*(["nsenter", "--net", "--target", str(pid)] if pid else []), *argv])


def iperf(server, client, address, udp):
    """Megabits a second that arrive at `address`, where the process `server` is, from where `client` is."""
    enter = ["nsenter", "--net", "--target", str(server)] if server else []
    serving = subprocess.Popen([*enter, "iperf3", "--server", "--one-off", "--forceflush"], env=ENVIRONMENT,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        if not any("listening" in line for line in serving.stdout):
            raise Failed("iperf3 doesn't listen")
        more = ["--udp", "--bitrate", "0", "--length", "1400"] if udp else []
        told = json.loads(inside(client, "iperf3", "--client", address, "--time", SECONDS, "--omit", "1", "--json", *more))["end"]
        if udp:
            # Older ones tell only what was sent, and how much of it came.
            came = told.get("sum_received") or told["sum"]
            lost = 0 if "sum_received" in told else told["sum"]["lost_percent"]
            return came["bits_per_second"] * (1 - lost / 100) / 1e6
        return told["sum_received"]["bits_per_second"] / 1e6
    finally:
        serving.kill()
        serving.wait()


def _faster(what, ours, against, theirs, least):
    ratio = statistics.median(ours) / statistics.median(theirs)
    return Row(what, spread(ours), against, spread(theirs), "Mbit/s", f"≥ {least}×", ratio, ratio >= least)


def _address(house, name):
    return json.loads(house.ok("status", name, "--json"))["addresses"][0]


def network(bench):
    """Throughput of VEs' networks beside a bare veth pair, and what a network adds to a start."""
    house, rows = bench.house, []
    pair = bench.also(Pair())
    for kind, (text, host) in KINDS.items():
        name = kind.replace(",", "").replace(" ", "-")
        house.define(f"networks/{name}", text)
        for ve in ("near", "far"):
            house.create(ve, "busybox", "--plan", "work", "--set", f"network.0.network={name}")
        house.ok("start", "near", "far")
        near, far, address = house.pid("near"), house.pid("far"), _address(house, "far")
        for protocol, udp in (("TCP", False), ("UDP", True)):
            if udp and BIG in text:
                continue
            ways = {
                "VE to host": lambda udp=udp: iperf(None, near, host, udp),
                "VE to VE": lambda udp=udp: iperf(far, near, address, udp),
                "unruled": lambda udp=udp: _unruled(house, lambda: iperf(far, near, address, udp)),
                "bare": lambda udp=udp: pair.speed(udp),
            }
            rows += _throughput(f"{protocol}, {kind}", ways, min(bench.rounds, 9))
        house.ok("kill", "near", "far")
        house.settled()
        house.ok("destroy", "near", "far")
    return rows + [_share_of_start(bench)]


def _throughput(what, ways, rounds):
    samples = {way: [] for way in ways}
    for n in range(rounds):
        for way, measure in list(ways.items())[::1 if n % 2 else -1]:
            samples[way].append(measure())
    bare, unruled = samples.pop("bare"), samples.pop("unruled")
    rows = [_faster(f"{what}, {way}", s, "a bare veth pair", bare, 0.97) for way, s in samples.items()]
    # What no rules could be faster than: two pairs and the host between them are not one pair.
    ratio = statistics.median(samples["VE to VE"]) / statistics.median(unruled)
    return [*rows, Row(f"{what}, VE to VE", spread(samples["VE to VE"]), "the same without any rule", spread(unruled),
                       "Mbit/s", ratio=ratio)]


def _unruled(house, measure):
    """Measures with no rule in this namespace; they are back afterwards."""
    rules = house.dir / "all.nft"
    rules.write_text(output(["nft", "list", "ruleset"]))
    output(["nft", "flush", "ruleset"])
    try:
        return measure()
    finally:
        output(["nft", "-f", str(rules)])


def _share_of_start(bench):
    """One VE with a network and one without take turns."""
    house, clock = bench.house, bench.clock
    house.create("with", "busybox")
    house.create("without", "busybox")
    house.ok("set", "without", "network-=bench")
    samples = {"with": [], "without": []}
    for n in range(bench.rounds + 1):
        for name in list(samples)[::1 if n % 2 else -1]:
            samples[name].append(clock.time(house.argv("start", name)))
            house.ok("kill", name)
            house.settled()
    for name in samples:
        samples[name] = samples[name][1:]
        house.ok("destroy", name)
    more = statistics.median(samples["with"]) - statistics.median(samples["without"])
    return Row("`start` of a busybox VE with a network", spread(samples["with"]), "without one", spread(samples["without"]),
               bar=f"≤ 3 ms more: {number(more)} ms", met=more <= 3)


def crowd(bench):
    """The same among 500 VEs, with access rules and classes of traffic; and rules that are loaded anew among 1,000."""
    house, rounds = bench.house, min(bench.rounds, 9)
    house.define("tenants/default", GUARDED)
    house.config.write_text(house.config.read_text() + CLASSES)
    for n in range(MANY + 1):
        # Who measures, and who is measured, has no limit.
        limits = ["--set", "network.0.rate_in=1Gbit", "--set", "network.0.rate_out=1Gbit"] if n > 1 else []
        house.create(f"crowd{n}", "busybox", "--plan", "work", "--set", "disk.size=64MiB", *limits)
    house.ok("start", "crowd0", "crowd1")
    near, far, address = house.pid("crowd0"), house.pid("crowd1"), _address(house, "crowd1")

    def speeds():
        return {udp: [iperf(far, near, address, udp) for _ in range(rounds)] for udp in (False, True)}

    # Before, among them, and after: what the machine does besides isn't taken for their doing.
    few = speeds()
    house.ok("start", *[f"crowd{n}" for n in range(2, CROWD)])
    among = speeds()
    house.ok("start", *[f"crowd{n}" for n in range(CROWD, MANY)])
    loading = _reload(bench, near, address)
    house.ok("kill", *[f"crowd{n}" for n in range(2, MANY)])
    house.settled()
    after = speeds()
    house.ok("kill", "--all")
    house.settled()
    house.ok("destroy", "--all")
    return [
        *[_faster(f"{protocol}, routed, VE to VE, among {CROWD} with access rules, classes and limits", among[udp],
                  "of two", few[udp] + after[udp], 0.95) for protocol, udp in (("TCP", False), ("UDP", True))],
        loading,
    ]


def _reload(bench, near, address):
    """A network's definition changes, and the next `start` loads the rules of all that run anew: beside one that finds them
    as they should be, and under pings from VE to VE as fast as answers come."""
    house, one = bench.house, f"crowd{MANY}"
    enough = house.dir / "enough"
    loop = f"until [ -e {enough} ]; do ping -f -q -c 1000 -W 1 {address}; done"
    ping = subprocess.Popen(["nsenter", "--net", "--target", str(near), "sh", "-c", loop], env=ENVIRONMENT,
                            stdout=subprocess.PIPE, text=True)
    samples = {True: [], False: []}
    for n in range(2 * bench.rounds):
        anew = n % 2 == 0
        if anew:
            house.define("networks/other", OTHER.format(net=90 + n % 4))
        samples[anew].append(bench.clock.time(house.argv("start", one)))
        house.ok("kill", one)
        until("it is cleared up after", 10, lambda: house.ok("list", "--name", one, "-H", "-o", "state").strip() == "stopped")
    enough.touch()
    lines = [line.split() for line in ping.communicate()[0].splitlines() if "packets transmitted" in line]
    sent, received = (sum(int(line[at]) for line in lines) for at in (0, 3))
    if not sent:
        raise Failed("no ping was sent")
    more = statistics.median(samples[True]) - statistics.median(samples[False])
    return Row(f"`start` that loads the rules anew, {MANY} VEs run", spread(samples[True]), "one that needn't",
               spread(samples[False]), met=more <= 200 and sent == received,
               bar=f"≤ 200 ms more: {number(more)} ms; no ping lost: {sent - received} of {sent}")
