"""The bench's own part: see scripts/bench."""

import argparse
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import rows
from disks import Btrfs
from house import House
from peers import Lxc, Nspawn
from plain import Plain
from run import Clock, Failed, output
from table import markdown

# What asks us to end. Ctrl-C too: the shell has us ignore it, as it runs us in the background.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Bench:
    """One run: our Hostel, the peers that rows ask for, and how often to measure."""

    def __init__(self, args):
        self.work = Path(args.work)
        self.rounds = args.rounds or (5 if args.quick else 25)
        self.wanted = args.row or [name for name in rows.ALL if name not in rows.ON_REQUEST]
        self.clock = Clock(self.work / "log")
        self.things = []
        self.house = None
        self.store, self.program, self.criu = args.store, args.program, args.criu

    def open(self):
        """Prepares our Hostel."""
        output(["ip", "link", "set", "lo", "up"])
        self.house = self._house(self.work, "image")

    def btrfs(self):
        """A second Hostel, all of it on a btrfs of its own; None where there is none."""
        place = self.also(Btrfs(self.work))
        return self._house(place.dir, "btrfs") if place.prepare() else None

    def _house(self, place, driver):
        number = sum(isinstance(thing, House) for thing in self.things)
        house = self.also(House(place, self.work.name, number, driver, self.program, self.store))
        house.prepare()
        return house

    def plain(self, template):
        """A guest for CRIU by itself, on a copy of this template's tree."""
        plain = self.also(Plain(self.work, template, self.criu))
        plain.prepare(self.house.tree(template))
        return plain

    def lxc(self):
        """LXC, on a copy of the busybox tree."""
        return self.also(Lxc(self.work, self.house.tree("busybox")))

    def nspawn(self):
        """systemd-nspawn, on a copy of the Debian tree."""
        return self.also(Nspawn(self.work, self.house.tree("debian-12")))

    def also(self, thing):
        """Something that is to be closed at the end."""
        self.things.append(thing)
        return thing

    def close(self):
        """Removes everything, whatever has failed."""
        for thing in reversed(self.things):
            try:
                thing.close()
            except (OSError, subprocess.SubprocessError, Failed) as error:
                print(f"cleaning up: {error}", file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("work")
    parser.add_argument("program")
    parser.add_argument("store")
    parser.add_argument("criu", help="its path; empty if there is none")
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 25")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("row", nargs="*", metavar="ROW", help=f"one of {', '.join(rows.ALL)}")
    return parser.parse_intermixed_args()


def stop(number, _):
    raise KeyboardInterrupt(signal.Signals(number).name)


def machine():
    """What was measured on."""
    with open("/proc/cpuinfo") as info:
        model = next((l.split(":")[1].strip() for l in info if l.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}"


def main():
    args = arguments()
    if unknown := [name for name in args.row if name not in rows.ALL]:
        print(f"error: no row {', '.join(unknown)}; there are {', '.join(rows.ALL)}", file=sys.stderr)
        return 2
    for number in ENDINGS:
        signal.signal(number, stop)
    bench, before = Bench(args), os.getloadavg()[0]
    done, table = [], []
    try:
        bench.open()
        if bench.house.lacks:
            print(f"not enforced on this host, so not measured: {', '.join(bench.house.lacks)}", file=sys.stderr)
        for name in bench.wanted:
            measure = rows.ALL[name]
            if measure not in done:
                done.append(measure)
                print(f"== {measure.__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
                table += measure(bench)
    except (Failed, AssertionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        bench.close()
        if table:
            print(markdown(table))
            print(f"\nMedians of {bench.rounds} rounds (quartiles), peers taking turns; {machine()}; "
                  f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after.")
    return 0 if all(row.met is not False for row in table) else 3


sys.exit(main())
