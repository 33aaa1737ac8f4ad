"""Rows of suspend and resume, beside CRIU by itself (see plain.py)."""

import statistics
import sys

from run import attempt, booted, output, until
from table import Row, spread

# What a guest holds besides its own processes, in MiB.
HELD = 64
READY = "/root/held"


def saving(bench):
    """suspend, resume, and the size of a dump."""
    if not bench.criu:
        print("no CRIU for this kernel, so suspend and resume are not measured", file=sys.stderr)
        return []
    bench.house.use_criu(bench.criu)
    return [row for template in ("busybox", "debian-12") for row in _beside(bench, template)]


def _beside(bench, template):
    house, clock, plain = bench.house, bench.clock, bench.plain(template)
    house.create("save", template)
    house.ok("start", "save")
    plain.start()
    load = str(bench.work / "load")
    house.ok("push", "save", load, "/root/load")
    output(["install", "-m", "755", load, str(plain.tree / "root/load")])
    if template == "busybox":
        hold = ["setsid", "sh", "-c", f"/root/load hold {HELD} {READY} </dev/null >/dev/null 2>&1 &"]
    else:
        for init in (house.pid("save"), plain.init):
            assert (state := booted(init)) == "running", state
        hold = ["systemd-run", "--quiet", "/root/load", "hold", str(HELD), READY]
    house.ok("exec", "save", "--", *hold)
    plain.run(*hold, stays=template == "busybox")
    until("the VE's memory is filled", 60, lambda: attempt(house.argv("exec", "save", "--", "ls", READY)))
    until("the other's memory is filled", 60, (plain.tree / READY[1:]).exists)
    samples = {name: [] for name in ("suspend", "resume", "size", "dump", "restore", "plain size")}

    def ours():
        samples["suspend"].append(clock.time(house.argv("suspend", "save")))
        samples["size"].append(house.dump_size() / 1024)
        samples["resume"].append(clock.time(house.argv("resume", "save")))

    def other():
        samples["dump"].append(clock.time(plain.dump()))
        plain.ended()
        samples["plain size"].append(plain.size() / 1024)
        samples["restore"].append(clock.time(plain.restore()))
        plain.restored()

    for n in range(bench.rounds + 1):
        for turn in (ours, other)[::1 if n % 2 else -1]:
            output(["sync", "-f", str(bench.work)])  # what one has left to be written is no load on the other
            turn()
        if n == 0:
            for list_ in samples.values():
                list_.clear()
    house.ok("kill", "save")
    house.ok("destroy", "save")
    plain.close()
    return [
        _row(f"`suspend` of {template} that holds {HELD} MiB", samples["suspend"],
             "criu dump, no checksums, nothing synced", samples["dump"]),
        _row("its dump", samples["size"], "that of criu dump", samples["plain size"], "KiB"),
        _row("its `resume`", samples["resume"],
             "criu restore, no checksums, no network, no limits", samples["restore"]),
    ]


def _row(what, ours, against, theirs, unit="ms"):
    ratio = statistics.median(ours) / statistics.median(theirs)
    return Row(what, spread(ours), against, spread(theirs), unit, ratio=ratio)
