"""Rows of metering: what it costs to measure many VEs again and again, to look at all of them, and to read the ledger."""

import os
import socket
import sqlite3
import statistics
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from ledger import Month
from run import ENVIRONMENT, pss, until
from table import Row, number, spread

# How many run.
COUNT = 1000
# Looks that are measured.
LOOKS = 15
# Of the month's report.
TENANTS = 100


def metering(bench):
    """A thousand VEs: a look at all, the manager's memory, what shows all of them; and reports of a month."""
    house = bench.house
    for n in range(COUNT):
        house.create(f"meter{n}", "busybox")
    house.ok("start", "--all")
    try:
        rows = _passes(house) + _serving(bench) + _views(bench)
    finally:
        # Not killed: a thousand monitors would clear up at once.
        house.ok("stop", "--all")
        house.ok("destroy", "--all")
    return rows + _reports(bench)


@contextmanager
def _manager(house, interval, more=""):
    before = house.config.read_text()
    house.config.write_text(f'{before}[metering]\ninterval = "{interval}"\n{more}')
    manager = subprocess.Popen(house.argv("manager"), env=ENVIRONMENT, stdin=subprocess.DEVNULL)
    try:
        yield manager
    finally:
        manager.terminate()
        manager.wait()
        house.config.write_text(before)


def _passes(house):
    ledger = house.dir / "data/ledger.db"
    with _manager(house, "1s") as manager:
        until("the first look at all", 120, lambda: _records(ledger) > 3 * COUNT)
        looks = []
        for _ in range(LOOKS):
            spent, records = _cpu(manager.pid), _records(ledger)
            until("the next looks", 60, lambda: _records(ledger) >= records + 2 * COUNT)
            looks.append((_cpu(manager.pid) - spent) * 1000 / ((_records(ledger) - records) / COUNT))
        memory, most = pss(manager.pid), _most(manager.pid)
    mean = sum(looks) / len(looks)
    return [
        Row(f"processor time of a look at {COUNT} VEs that run", f"{number(mean)} in the mean, {spread(looks)}",
            bar="≤ 100 ms", met=mean <= 100),
        Row(f"memory of the manager of {COUNT} VEs: PSS, and the most it had", f"{number(memory / 1024)}, {number(most / 1024)}",
            unit="MiB", bar="≤ 30 MiB", met=max(memory, most) <= 30 * 1024),
    ]


def _serving(bench):
    """The manager while it serves metrics too, and is asked for them all the time."""
    path = bench.house.run_dir / "manager.sock"
    with _manager(bench.house, "1s", f'[metrics]\nlisten = "unix:{path}"\n') as manager:
        until("metrics are served", 60, path.exists)
        for _ in range(2 * LOOKS):
            _scrape(path)
        memory, most = pss(manager.pid), _most(manager.pid)
    return [Row(f"the same while it serves metrics of {COUNT} VEs", f"{number(memory / 1024)}, {number(most / 1024)}",
                unit="MiB", bar="≤ 30 MiB", met=max(memory, most) <= 30 * 1024)]


def _views(bench):
    """What shows all of them."""
    house, clock = bench.house, bench.clock
    mine = {name: [] for name in ("list", "stat")}
    for _ in range(bench.rounds):
        for name, times in mine.items():
            times.append(clock.time(house.argv(name)))
    path = house.run_dir / "metrics.sock"
    server = subprocess.Popen(house.argv("metrics", "--listen", f"unix:{path}"), env=ENVIRONMENT, stdin=subprocess.DEVNULL)
    try:
        until("metrics are served", 20, path.exists)
        scrapes = [_scrape(path) for _ in range(bench.rounds + 1)][1:]
    finally:
        server.terminate()
        server.wait()
    path.unlink(missing_ok=True)
    bars = [("`hostel list`", mine["list"], 50), ("`hostel stat`, its first screen", mine["stat"], 150),
            ("a scrape of `hostel metrics --listen`", scrapes, 100)]
    return [Row(f"{what} of {COUNT} VEs that run", spread(times), bar=f"≤ {most} ms",
                met=statistics.median(times) <= most) for what, times, most in bars]


def _scrape(path):
    began = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        size = 0
        while part := s.recv(1 << 16):
            size += len(part)
    assert size > 1000 * COUNT, f"{size} bytes of metrics"
    return (time.perf_counter() - began) * 1000


def _reports(bench):
    """Of a month of a thousand VEs, as it is after it was put together."""
    house, clock = bench.house, bench.clock
    path = Path(house.dir / "data/ledger.db")
    for part in path.parent.glob("ledger.db*"):
        part.unlink()
    with _manager(house, "1h"):
        until("there is a ledger", 20, lambda: _query(path, "PRAGMA user_version"))
    month = Month(path, COUNT, TENANTS)
    taken = month.write()
    with _manager(house, "1s") as manager:
        until("it is summed up", 300, lambda: _summed(path))
        whole, one = [], []
        for _ in range(bench.rounds):
            whole.append(clock.time(house.argv("report", *month.dates(), "--by", "ve")))
            one.append(clock.time(house.argv("report", *month.dates(), "--tenant", "tenant7")))
        most = _most(manager.pid)
    sums = _query(path, "SELECT sum(length(body) + length(passed) + 40) FROM daily")
    growth = (taken / 28 * 30 + sums) / COUNT
    for part in path.parent.glob("ledger.db*"):
        part.unlink()
    millions = number(month.samples / 10**6)
    return [
        Row(f"report of a month of {COUNT} VEs, of {millions} million samples", spread(whole), bar="≤ 1 s",
            met=statistics.median(whole) <= 1000),
        Row(f"the same of one tenant's {COUNT // TENANTS} VEs", spread(one), bar="≤ 50 ms",
            met=statistics.median(one) <= 50),
        Row("the ledger grows by, for a VE and a month", number(growth / 1024), unit="KiB", bar="≤ 1 MiB",
            met=growth <= 1 << 20),
        Row("the most memory the manager had while it took over that ledger", number(most / 1024), unit="MiB",
            bar="≤ 30 MiB", met=most <= 30 * 1024),
    ]


def _query(path, query):
    """What the ledger says; 0 while it is being made."""
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    except sqlite3.OperationalError:
        return 0
    try:
        return db.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        db.close()


def _records(path):
    return _query(path, "SELECT seq FROM head")


def _summed(path):
    return _query(path, "SELECT summed.seq >= since AND since > 0 FROM summed")


def _most(pid):
    """The most memory that a process had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def _cpu(pid):
    """Seconds of processor time of a process, those of its threads that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
