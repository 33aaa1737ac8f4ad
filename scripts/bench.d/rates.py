"""How near limits of the network come to what was asked for: streams and datagrams, to a VE and from it. Packets are
counted where they arrive, by the kernel, and each was a whole frame of 1514 bytes without its checksum."""

import socket
import subprocess
import threading
import time

from run import ENVIRONMENT, output, until
from table import Row, number

FRAME = 1514 * 8
SINK, SOURCE, NOBODY = 7000, 7001, 7002
SERVERS = (f"nc -ll -p {SINK} -e sh -c 'cat >/dev/null' & nc -ll -p {SOURCE} -e cat /dev/zero &")
# So that what passes is told apart by interface (htb).
SECOND = "kind = \"routed\"\npools = [\"10.88.0.0/16\"]\n"
LIMITS = {"1 Mbit/s": 10**6, "10 Mbit/s": 10**7, "100 Mbit/s": 10**8, "1 Gbit/s": 10**9}


def rates(bench):
    """Limits of 1 Mbit/s to 1 Gbit/s, in and out, TCP and UDP: of a VE, and of one of its two interfaces."""
    bench.house.define("networks/second", SECOND)
    return [*_limited(bench, LIMITS, "a limit", "net.in", "net.out"),
            *_limited(bench, {name: LIMITS[name] for name in ("10 Mbit/s", "1 Gbit/s")}, "an interface's limit",
                      "network.0.rate_in", "network.0.rate_out", "--set", "network.0.network=bench", "--set",
                      "network.1.network=second")]


def _limited(bench, limits, what, key_in, key_out, *options):
    house = bench.house
    house.create("rates", "busybox", *options, "--set", f"{key_in}=1Gbit", "--set", f"{key_out}=1Gbit", "--start")
    house.ok("push", "rates", str(bench.work / "load"), "/root/load")
    house.ok("exec", "rates", "--", "sh", "-c", f"({SERVERS}) </dev/null >/dev/null 2>&1")
    address = house.ok("list", "--name", "rates", "-H", "-o", "addresses").replace(",", " ").split()[0]
    until("the guest's servers listen", 10, lambda: all(
        f":{port:04X} " in output(_within(house, "cat", "/proc/net/tcp", "/proc/net/tcp6")) for port in (SINK, SOURCE)))
    rows = []
    for name, limit in limits.items():
        setting = f"{limit // 1000}kbit"
        house.ok("set", "rates", f"{key_in}={setting}", f"{key_out}={setting}")
        shares = {}
        for kind, sender in (("TCP", _stream), ("UDP", _datagrams)):
            for way in ("in", "out"):
                with sender(bench, address, way, limit):
                    shares[f"{kind} {way}"] = _rate(house, way) / limit
        text = ", ".join(f"{key} {number(share * 100)} %" for key, share in shares.items())
        rows.append(Row(f"{what} of {name}, of frames that came", text, unit="", bar="95 to 105 %",
                        met=all(0.95 <= share <= 1.05 for share in shares.values())))
    house.ok("kill", "rates")
    house.settled()
    house.ok("destroy", "rates")
    return rows


def _within(house, *argv):
    """A command in the guest's network."""
    return ["nsenter", "--all", "--target", str(house.pid("rates")), *argv]


def _rate(house, way):
    """Bits per second that arrive, in three seconds after the first."""
    def look():
        place = f"/proc/{house.pid('rates') if way == 'in' else 'self'}/net/netstat"
        with open(place) as netstat:
            names, numbers = (line.split() for line in netstat if line.startswith("IpExt:"))
        return time.monotonic(), int(numbers[names.index("InNoECTPkts")])

    time.sleep(1)
    (begun, before), _, (ended, after) = look(), time.sleep(3), look()
    return (after - before) * FRAME / (ended - begun)


class _stream:
    """A stream as fast as it goes."""

    def __init__(self, _, address, way, __):
        self.way, self.done = way, False
        self.socket = socket.create_connection((address, SINK if way == "in" else SOURCE))
        self.socket.settimeout(0.1)
        self.worker = threading.Thread(target=self._work)

    def _work(self):
        block = bytes(1 << 16)
        while not self.done:
            try:
                self.socket.send(block) if self.way == "in" else self.socket.recv(1 << 16)
            except TimeoutError:
                pass

    def __enter__(self):
        self.worker.start()

    def __exit__(self, *_):
        self.done = True
        self.worker.join()
        # At once: nothing that waits is sent any more.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class _datagrams:
    """A third more of them than may pass."""

    def __init__(self, bench, address, way, limit):
        program = [str(bench.work / "load")] if way == "in" else _within(bench.house, "/root/load")
        to = f"{address if way == 'in' else '169.254.1.1'}:{NOBODY}"
        self.argv = [*program, "datagrams", to, str(limit * 4 // 3), "6"]

    def __enter__(self):
        self.child = subprocess.Popen(self.argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL)

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()
