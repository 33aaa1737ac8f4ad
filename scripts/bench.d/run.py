"""Running commands, timing them, and waiting for conditions."""

import os
import subprocess
import time
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class Failed(Exception):
    """A command that had to succeed did not."""


class Clock:
    """Times commands from their spawning to their end. The spawning is the same, and cheap, for all of them."""

    def __init__(self, log):
        self.log = str(log)

    def time(self, argv):
        """Milliseconds that the command took; it must succeed."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        start = time.perf_counter()
        pid = os.posix_spawnp(argv[0], argv, ENVIRONMENT, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        took = (time.perf_counter() - start) * 1000
        if status != 0:
            with open(self.log, errors="replace") as log:
                raise Failed(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(status)}\n{log.read()}")
        return took


def output(argv):
    """What the command writes; it must succeed."""
    ran = subprocess.run(argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode != 0:
        raise Failed(f"{' '.join(argv)}: status {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def attempt(argv):
    """Runs a command that may fail; what it wrote, or None."""
    try:
        return output(argv)
    except Failed:
        return None


def until(what, seconds, condition):
    """Waits for a condition, looking often; what it gave."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.001)


def hierarchies():
    """Where the control groups of this host are mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        kind, point = line.split()[2], line.split()[1]
        if kind in ("cgroup", "cgroup2"):
            yield point


def parent(pid):
    """The parent of a process."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def pss(pid):
    """A process's memory in KiB, what it shares with others counted in proportion."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


def booted(pid):
    """Waits until the systemd that is process `pid` has booted; what it says of itself."""
    # Asked too early, systemctl finds nobody to ask; the socket that it uses is there from early on.
    until("the guest's systemd listens", 60, lambda: os.path.exists(f"/proc/{pid}/root/run/systemd/private"))
    ask = ["nsenter", "--all", "--target", str(pid), "systemctl", "is-system-running", "--wait"]

    def state():
        ran = subprocess.run(ask, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        answer = ran.stdout.strip()
        return answer if answer in ("running", "degraded", "maintenance", "stopping") else None

    return until("the guest has booted", 120, state)
