"""Rows of work inside a VE, and of what its disk is made of."""

import statistics
import sys

from run import output
from table import Row, spread

# What `load` can do, by the name of its row.
WORK = {"CPU": "cpu", "memory copy": "copy"}
READS = {"file reads from the page cache": "read", "file reads from the disk": "cold"}


def work(bench):
    """The same work inside and on the host: speed inside over speed outside."""
    return _compare(bench, bench.house, bench.work, WORK)


def disk(bench):
    """File reads by disk driver, each beside the host on the same file system; create and start by driver."""
    houses = [(bench.house, bench.work)]
    if native := bench.btrfs():
        houses.append((native, native.dir))
    else:
        print("no btrfs on this host, so its driver is not measured", file=sys.stderr)
    rows = [row for house, beside in houses for row in _compare(bench, house, beside, READS, f" (`{house.driver}`)")]
    return rows + (_drivers(bench, bench.house, native) if native else [])


def _compare(bench, house, beside, tasks, more=""):
    """A row for each task, run in a VE of this house and in a directory of the host on the same file system."""
    house.create("work", "busybox", "--plan", "work")
    house.ok("start", "work")
    house.ok("push", "work", str(bench.work / "load"), "/root/load")
    # One and the same file: a program reads 6 % slower or faster by which file system it itself lies on, here without any VE.
    inside, outside = house.argv("exec", "work", "/root/load"), [f"/proc/{house.pid('work')}/root/root/load"]
    rows = []
    for name, task in tasks.items():
        ours, theirs = [], []
        for n in range(bench.rounds if tasks is READS else min(bench.rounds, 11)):
            for samples, argv, data in [(ours, inside, "/root"), (theirs, outside, beside)][::1 if n % 2 else -1]:
                # Another file each time, beside those of before: where its pages happen to lie in memory makes one up to
                # a half slower to read, and one that is written anew gets the same again.
                file = f"{data}/load.{task}.{n}"
                if tasks is READS:
                    output([*argv, "write", file])
                samples.append(int(output([*argv, task, file])) / 1e6)
        for file in beside.glob("load.*.*"):
            file.unlink()
        house.ok("exec", "work", "--", "sh", "-c", "rm -f /root/load.*.*")
        speed = statistics.median(theirs) / statistics.median(ours)
        rows.append(Row(f"{name} inside the VE{more}: time", spread(ours), "the same on the host", spread(theirs),
                        bar="speed ≥ 0.97×", ratio=speed, met=speed >= 0.97))
    house.ok("kill", "work")
    house.ok("destroy", "work")
    return rows


def _drivers(bench, image, native):
    """What making and starting a VE takes with the one and with the other."""
    clock, create, start = bench.clock, {image: [], native: []}, {image: [], native: []}
    for n in range(bench.rounds + 1):
        for house in (image, native)[::1 if n % 2 else -1]:
            create[house].append(clock.time(house.argv("create", "new", "--template", "busybox")))
            start[house].append(clock.time(house.argv("start", "new")))
            house.ok("kill", "new")
            house.settled()
            house.ok("destroy", "new")
        if n == 0:
            for list_ in (*create.values(), *start.values()):
                list_.clear()  # the tenant's copy of the template was made
    rows = []
    for what, samples in (("`create` of a busybox VE", create), ("`start` of it", start)):
        ratio = statistics.median(samples[native]) / statistics.median(samples[image])
        rows.append(Row(f"{what}, disk driver `{native.driver}`", spread(samples[native]), f"driver `{image.driver}`",
                        spread(samples[image]), ratio=ratio))
    return rows
