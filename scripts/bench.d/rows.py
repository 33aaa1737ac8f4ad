"""What is measured: a function for each row or group of rows. Peers take turns in every round, so that whatever else
the machine does meets all of them alike."""

import shutil
import statistics
import subprocess
import time
from pathlib import Path

from inside import disk, work
from metering import metering
from network import crowd, network
from rates import rates
from run import booted, output, parent, pss, until
from saving import saving
from table import Row, number, spread


def create(bench):
    """Making a VE doesn't depend on the size of its template."""
    house, clock = bench.house, bench.clock
    tree = bench.work / "tree10"
    output(["cp", "-a", "--reflink=auto", str(house.tree("debian-12")), str(tree)])
    for n in range(9):
        output(["cp", "-a", "--reflink=auto", str(house.tree("debian-12") / "usr"), str(tree / f"opt/copy{n}")])
    house.ok("template", "import", "ten-times", str(tree))
    shutil.rmtree(tree)
    samples = {"debian-12": [], "ten-times": []}
    for template in samples:  # the tenant's copy of each template is made at the tenant's first VE
        house.create("first", template)
        house.ok("destroy", "first")
    output(["sync", "-f", str(house.dir)])  # what the copying has left to be written isn't create's
    for _ in range(bench.rounds):
        for template, list_ in samples.items():
            list_.append(clock.time(house.argv("create", "new", "--template", template)))
            house.ok("destroy", "new")
    once, ten = samples.values()
    ratio = statistics.median(ten) / statistics.median(once)
    met = 0.8 <= ratio <= 1.25 and statistics.median(ten) <= 50
    house.ok("template", "remove", "ten-times")
    shutil.rmtree(house.dir / "data/tenants")
    return [Row("`create` of a Debian 12 VE, template of 10 times the size", spread(ten),
                "itself with debian-12", spread(once), bar="same time, ≤ 50 ms", ratio=ratio, met=met)]


def life(bench):
    """start, exec, kill of a busybox guest, and the monitor that stands beside it."""
    house, clock, lxc = bench.house, bench.clock, bench.lxc()
    house.create("life", "busybox")
    theirs, alike = lxc.make("life"), lxc.make("alike", alike=True)
    names = ["start", "exec", "kill", "lxc-start", "lxc-attach", "lxc-stop", "alike-start", "alike-attach", "alike-stop",
             "monitor", "lxc-monitor"]
    t = {name: [] for name in names}

    def ours():
        t["start"].append(clock.time(house.argv("start", "life")))
        t["exec"].append(clock.time(house.argv("exec", "life", "true")))
        t["monitor"].append(pss(parent(house.pid("life"))))
        t["kill"].append(clock.time(house.argv("kill", "life")))
        house.settled()

    def other(name, label):
        t[f"{label}-start"].append(clock.time(lxc.start(name)))
        t[f"{label}-attach"].append(clock.time(lxc.attach(name, "true")))
        if label == "lxc":
            t["lxc-monitor"].append(pss(parent(lxc.pid(name))))
        t[f"{label}-stop"].append(clock.time(lxc.kill(name)))

    turns = [ours, lambda: other(theirs, "lxc"), lambda: other(alike, "alike")]
    for n in range(bench.rounds + 1):
        for turn in turns[n % 3:] + turns[:n % 3]:
            turn()
        if n == 0:
            t = {name: [] for name in t}  # everything is in the page cache now, the disk has settled in
    house.ok("destroy", "life")
    lxc.close()
    beside = ", no user namespace"
    more = " with a user namespace and a veth"
    rows = {
        "start": [
            Row.compare("`start` to init's exec, busybox, with network, disk, all limits", t["start"],
                        "lxc-start, no network, no limits" + beside, t["lxc-start"], 0.7),
            Row.compare("the same", t["start"], "lxc-start" + more, t["alike-start"], 0.7),
        ],
        "exec": [
            Row.compare("`exec true`", t["exec"], "lxc-attach" + beside, t["lxc-attach"], 1),
            Row.compare("the same", t["exec"], "lxc-attach" + more, t["alike-attach"], 1),
        ],
        "kill": [
            Row.compare("`kill`", t["kill"], "lxc-stop -k, no network, no user namespace", t["lxc-stop"], 0.1),
            Row.compare("the same", t["kill"], "lxc-stop -k" + more, t["alike-stop"], 0.1),
        ],
        "monitor": [
            Row.compare("memory of one monitor (PSS)", t["monitor"], "LXC's monitor", t["lxc-monitor"], 1, "KiB",
                        ("aim 300 KiB", statistics.median(t["monitor"]) <= 300)),
        ],
    }
    return [row for name in bench.wanted if name in rows for row in rows[name]]


def boot(bench):
    """Debian 12 until `systemctl is-system-running` says so."""
    house, nspawn = bench.house, bench.nspawn()
    house.create("boot", "debian-12")
    ours, theirs = [], []

    def hostel():
        start = time.perf_counter()
        house.ok("start", "boot")
        state = booted(house.pid("boot"))
        ours.append((time.perf_counter() - start) * 1000)
        assert state == "running", state
        house.ok("stop", "boot")

    def other():
        start = time.perf_counter()
        nspawn.start()
        state = booted(nspawn.pid())
        theirs.append((time.perf_counter() - start) * 1000)
        assert state == "running", state
        nspawn.stop()

    turns = [hostel, other]
    for n in range(bench.rounds + 1):
        for turn in turns if n % 2 else reversed(turns):
            turn()
        if n == 0:
            ours, theirs = [], []  # the first boot of a tree makes keys and the like
    house.ok("destroy", "boot")
    nspawn.close()
    return [Row.compare("Debian 12 from `start` to `running`", ours, "systemd-nspawn --boot", theirs, 1.05)]


def list_(bench):
    """The table of many that run."""
    house, clock, lxc = bench.house, bench.clock, bench.lxc()
    count = 200
    for n in range(count):
        house.create(f"list{n}", "busybox")
    house.ok("start", "--all")
    for n in range(count):
        clock.time(lxc.start(lxc.make(f"list{n}")))
    assert len(house.ok("list", "-H", "-o", "name", "--state", "running").split()) == count
    assert lxc.running() == count
    mine = house.argv("list", "-o", "name,state,addresses,memory,cpu")
    ours, theirs = [], []
    for n in range(bench.rounds + 1):
        ours.append(clock.time(mine))
        theirs.append(clock.time(lxc.list()))
    monitors = [pss(parent(pid)) for pid in map(int, house.ok("list", "-H", "-o", "pid").split())]
    lxc_monitors = [pss(parent(lxc.pid(name))) for name in lxc.names]
    house.ok("kill", "--all")
    house.ok("destroy", "--all")
    lxc.close()
    return [Row.compare(f"`list` of {count} running VEs with state, addresses, memory, CPU", ours[1:],
                        f"lxc-ls -f of {count} containers", theirs[1:], 0.1),
            Row.compare(f"memory of one of {count} monitors (PSS)", monitors, f"one of {count} of LXC's", lxc_monitors,
                        1, "KiB", ("aim 300 KiB", statistics.median(monitors) <= 300))]


def many(bench):
    """500 busybox VEs at once, then 60 Debian VEs."""
    return [_crowd(bench, 500, "busybox"), _crowd(bench, 60, "debian-12")]


def _crowd(bench, count, template):
    house, clock = bench.house, bench.clock
    made = time.monotonic()
    for n in range(count):
        house.create(f"many{n}", template)
    began = time.monotonic()
    wait = [] if template == "busybox" else ["--wait", "--timeout", "10m"]
    house.ok("start", "--all", *wait)
    started = time.monotonic()
    names = house.ok("list", "-H", "-o", "name", "--state", "running").split()
    assert len(names) == count, f"{len(names)} of {count} run"
    if template != "busybox":
        for name in names:
            until(f"{name} runs", 60, lambda: output(house.argv(
                "exec", name, "systemctl", "is-system-running")).strip() == "running")
    listing = clock.time(house.argv("list"))
    answer = statistics.median(clock.time(house.argv("exec", name, "true")) for name in names[:20])
    forked = statistics.median(clock.time(["true"]) for _ in range(20))
    ending = time.monotonic()
    house.ok("stop", "--all")
    ended = time.monotonic()
    left = house.ok("list", "-H", "-o", "name", "--state", "running").split()
    orphans = house.orphans()
    house.ok("destroy", "--all")
    assert not left, f"still running: {left}"
    text = (f"all up in {number(started - began)} s (made in {number(began - made)} s); then the host runs `true` in "
            f"{number(forked)} ms, `exec true` takes {number(answer)} ms, `list` {number(listing)} ms; all stopped in "
            f"{number(ended - ending)} s; audit {'clean' if not orphans else f'finds {orphans}'}")
    return Row(f"{count} {template} VEs at once", text, unit="", bar="all up, host answers, all stopped, audit clean",
               met=not orphans)


# Rows by name; several names share a function where they are measured together.
ALL = {
    "create": create, "start": life, "exec": life, "kill": life, "monitor": life, "boot": boot, "list": list_,
    "work": work, "disk": disk, "suspend": saving, "network": network, "rates": rates, "metering": metering,
    "many": many, "crowd": crowd,
}
# Too long for every day.
ON_REQUEST = ["metering", "many", "crowd"]
