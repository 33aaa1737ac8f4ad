"""What VEs' networks carry, beside a bare veth pair, and what they cost."""

import json
import statistics
import subprocess

from run import ENVIRONMENT, Failed, attempt, output, until
from table import Row, number, spread

SECONDS = "1"
LAN = """
kind = "bridge"
host_services = ["all"]
pools = ["10.89.0.0/16"]
gateway = ["10.89.0.1"]
host_addresses = ["10.89.0.1"]
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
        told = json.loads(inside(client, "iperf3", "--client", address, "--time", SECONDS, "--json", *more))["end"]
        if udp:
            return told["sum"]["bits_per_second"] * (1 - told["sum"]["lost_percent"] / 100) / 1e6
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
    house, rows, rounds = bench.house, [], min(bench.rounds, 9)
    house.define("networks/lan", LAN)
    pair = bench.also(Pair())
    for kind, name, host in (("routed", "bench", "169.254.1.1"), ("bridged", "lan", "10.89.0.1")):
        for ve in ("near", "far"):
            house.create(ve, "busybox", "--plan", "work", "--set", f"network.0.network={name}")
        house.ok("start", "near", "far")
        near, far, address = house.pid("near"), house.pid("far"), _address(house, "far")
        for protocol, udp in (("TCP", False), ("UDP", True)):
            ways = {
                "VE to host": lambda udp=udp: iperf(None, near, host, udp),
                "VE to VE": lambda udp=udp: iperf(far, near, address, udp),
                "": lambda udp=udp: pair.speed(udp),
            }
            samples = {way: [] for way in ways}
            for n in range(rounds):
                for way, measure in list(ways.items())[::1 if n % 2 else -1]:
                    samples[way].append(measure())
            bare = samples.pop("")
            rows += [_faster(f"{protocol}, {kind}, {way}", s, "a bare veth pair", bare, 0.97)
                     for way, s in samples.items()]
        house.ok("kill", "near", "far")
        house.settled()
        house.ok("destroy", "near", "far")
    return rows + [_share_of_start(bench)]


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
    """The same among 500 VEs, and rules that are loaded anew among 1,000."""
    house, rounds = bench.house, min(bench.rounds, 9)
    for n in range(MANY):
        house.create(f"crowd{n}", "busybox", "--plan", "work", "--set", "disk.size=64MiB")
    house.ok("start", "crowd0", "crowd1")
    near, far, address = house.pid("crowd0"), house.pid("crowd1"), _address(house, "crowd1")

    def speeds():
        return {udp: [iperf(far, near, address, udp) for _ in range(rounds)] for udp in (False, True)}

    # Before, among them, and after: what the machine does besides isn't taken for their doing.
    few = speeds()
    house.ok("start", *[f"crowd{n}" for n in range(2, CROWD)])
    among = speeds()
    house.ok("start", *[f"crowd{n}" for n in range(CROWD, MANY)])
    loading = _reload(house, bench.clock, near, bench.rounds)
    house.ok("kill", *[f"crowd{n}" for n in range(2, MANY)])
    house.settled()
    after = speeds()
    house.ok("kill", "--all")
    house.settled()
    house.ok("destroy", "--all")
    return [
        *[_faster(f"{protocol}, routed, VE to VE, among {CROWD}", among[udp], "of two", few[udp] + after[udp], 0.95)
          for protocol, udp in (("TCP", False), ("UDP", True))],
        loading,
    ]


def _reload(house, clock, pid, rounds):
    """Loads the rules of all that run, under a ping as fast as answers come."""
    rules = house.dir / "rules.nft"
    rules.write_text(house.ok("network", "show", "bench", "--rules"))
    ping = subprocess.Popen(["nsenter", "--net", "--target", str(pid), "ping", "-f", "-q", "169.254.1.1"],
                            env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    samples = [clock.time(["nft", "-f", str(rules)]) for _ in range(rounds)]
    ping.send_signal(2)
    said = ping.communicate()[0]
    lost = next(line for line in said.splitlines() if "packet loss" in line)
    sent, received = (int(part.split()[0]) for part in lost.split(", ")[:2])
    # The one that was under way when it was told to end.
    met = statistics.median(samples) <= 200 and sent - received <= 1
    return Row(f"the rules loaded anew, {MANY} VEs run", spread(samples), f"{sent} pings meanwhile, {sent - received} lost",
               bar="≤ 200 ms, none lost", met=met)
