"""Rows of the manager: what it costs to measure many VEs again and again."""

import os
import subprocess
import time
from pathlib import Path

from run import ENVIRONMENT, pss, until
from table import Row, number, spread

# How many run; the bars are for a thousand.
COUNT = 100
# Looks that are measured.
LOOKS = 20


def metering(bench):
    """A look at all VEs, and the manager's memory."""
    house = bench.house
    for n in range(COUNT):
        house.create(f"meter{n}", "busybox")
    house.ok("start", "--all")
    before = house.config.read_text()
    house.config.write_text(f'{before}[metering]\ninterval = "1s"\n')
    manager = subprocess.Popen(house.argv("manager"), env=ENVIRONMENT, stdin=subprocess.DEVNULL)
    ledger = Path(house.dir / "data/ledger.db-wal")
    try:
        until("the first look at all", 60, lambda: ledger.exists() and ledger.stat().st_size > 0)
        time.sleep(3)
        looks = []
        for _ in range(LOOKS):
            spent = cpu(manager.pid)
            time.sleep(1)
            looks.append((cpu(manager.pid) - spent) * 1000 * 1000 / COUNT)
        memory = pss(manager.pid)
    finally:
        manager.terminate()
        manager.wait()
    house.config.write_text(before)
    house.ok("kill", "--all")
    house.ok("destroy", "--all")
    mean = sum(looks) / len(looks)
    return [
        Row(f"processor time of one look at 1000 VEs, from {COUNT} that run", f"{number(mean)} in the mean, {spread(looks)}",
            bar="≤ 100 ms", met=mean <= 100),
        Row(f"memory of the manager of {COUNT} VEs (PSS)", number(memory / 1024), unit="MiB", bar="≤ 30 MiB",
            met=memory <= 30 * 1024),
    ]


def cpu(pid):
    """Seconds of processor time of a process, those of its threads that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
