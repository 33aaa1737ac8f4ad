"""The other systems that Hostel is measured beside, on copies of the same trees."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from run import ENVIRONMENT, Failed, attempt, output, until

# Ids for their user namespaces, outside the range of our own Hostel.
ID_BASE, ID_COUNT = 1900019712, 65536


# Where a systemd guest keeps its processes apart: on hosts with version 1, with both, with version 2.
CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified") if Path("/sys/fs/cgroup/systemd").is_dir() else (
    "/sys/fs/cgroup",)


class Lxc:
    """Containers of liblxc: no network but the loopback, no limits."""

    def __init__(self, work, tree):
        self.dir = Path(work) / "lxc"
        self.prefix = Path(work).name
        self.tree = self.dir / "tree"
        self.dir.mkdir()
        self.pivots = set(Path("/sys/fs/cgroup").glob("*/lxc.pivot"))
        output(["cp", "-a", str(tree), str(self.tree)])
        # Mount points that lxc-start wants to find.
        for name in ("dev", "proc", "sys", "run"):
            (self.tree / name).mkdir(exist_ok=True)
        self.names = []
        # Where the package uidmap is installed, lxc-start has its programs write the maps, and they know only what is in
        # /etc/subuid. Those that it finds first here have no privilege, so that it writes the maps itself.
        self.path = ENVIRONMENT["PATH"]
        (self.dir / "bin").mkdir()
        for name in ("newuidmap", "newgidmap"):
            (self.dir / "bin" / name).touch(0o755)
        ENVIRONMENT["PATH"] = f"{self.dir}/bin:{self.path}"

    def make(self, suffix, alike=False):
        """Defines a container; `alike`: with what Hostel gives every VE and LXC can do simply: a user namespace of its
        own on an idmapped tree, and a veth."""
        name = f"{self.prefix}-{suffix}"
        lines = [
            f"lxc.uts.name = {suffix}",
            "lxc.include = /usr/share/lxc/config/common.conf",
            f"lxc.rootfs.path = dir:{self.tree}",
            f"lxc.net.0.type = {'veth' if alike else 'empty'}",
            "lxc.apparmor.profile = unconfined",
        ]
        if alike:
            lines += ["lxc.include = /usr/share/lxc/config/userns.conf", "lxc.rootfs.options = idmap=container"]
            lines += [f"lxc.idmap = {kind} 0 {ID_BASE} {ID_COUNT}" for kind in "ug"]
        (self.dir / name).mkdir()
        (self.dir / name / "config").write_text("\n".join(lines) + "\n")
        self.names.append(name)
        return name

    def start(self, name):
        """The command that starts a container."""
        return ["lxc-start", "-P", str(self.dir), "-n", name, "-d"]

    def attach(self, name, *command):
        """The command that runs another inside."""
        return ["lxc-attach", "-P", str(self.dir), "-n", name, "--", *command]

    def kill(self, name):
        """The command that ends a container at once."""
        return ["lxc-stop", "-P", str(self.dir), "-n", name, "-k"]

    def list(self):
        """The command that lists all of them."""
        return ["lxc-ls", "-P", str(self.dir), "-f"]

    def pid(self, name):
        """The process that is a container's init."""
        return int(output(["lxc-info", "-P", str(self.dir), "-n", name, "-p", "-H"]))

    def running(self):
        """How many run."""
        return len(output(["lxc-ls", "-P", str(self.dir), "-1", "--running"]).split())

    def close(self):
        """Ends and removes all of them."""
        for name in self.names:
            attempt(self.kill(name))
        self.names = []
        ENVIRONMENT["PATH"] = self.path
        for group in Path("/sys/fs/cgroup").glob(f"*/lxc.*.{self.prefix}-*"):
            remove_group(group)  # of one that failed to start
        for pivot in set(Path("/sys/fs/cgroup").glob("*/lxc.pivot")) - self.pivots:
            # Left by liblxc; another container's may be in use.
            try:
                os.rmdir(pivot)
            except OSError:
                pass
        shutil.rmtree(self.dir, ignore_errors=True)


class Nspawn:
    """A container of systemd-nspawn, in a user namespace on an idmapped tree, with a network namespace."""

    def __init__(self, work, tree):
        self.dir = Path(work) / "nspawn"
        self.machine = Path(work).name
        self.dir.mkdir()
        self.tree = self.dir / "tree"
        self.log = self.dir / "log"
        output(["cp", "-a", str(tree), str(self.tree)])
        self.process = None
        # nspawn makes groups below the one it runs in, and hands them to the guest.
        self.groups = [p / f"{self.machine}-nspawn" for p in map(Path, CGROUPS) if p.is_dir()]

    def start(self):
        """Boots it."""
        for group in self.groups:
            group.mkdir(exist_ok=True)
        with open(self.log, "wb") as log:
            self.process = self._spawn(log)

    def _spawn(self, log):
        return subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--keep-unit", "--register=no", "--private-network",
             f"--private-users={ID_BASE}:{ID_COUNT}", "--private-users-ownership=map", "--console=pipe",
             f"--machine={self.machine}", "-D", str(self.tree)],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._join)

    def _join(self):
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def pid(self):
        """The process that is its init: below nspawn there is an outer child first, which then makes it."""
        def leader():
            if self.process.poll() is not None:
                raise Failed(f"systemd-nspawn has ended: {self.log.read_text(errors='replace')}")
            for line in children(self.process.pid):
                if os.path.exists(f"/proc/{line}/root/run/systemd/private"):
                    return line
            return None
        return until("systemd-nspawn's init runs", 30, leader)

    def stop(self):
        """Shuts it down."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)  # for nspawn: ask init to power off
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        for group in self.groups:
            remove_group(group)

    def close(self):
        """Ends and removes it."""
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        # Left by nspawn.
        shutil.rmtree(f"/run/systemd/nspawn/propagate/{self.machine}", ignore_errors=True)


def remove_group(top):
    """Removes a control group and those below it, which are empty."""
    for directory, _, _ in os.walk(top, topdown=False):
        os.rmdir(directory)


def children(pid):
    """The children of a process."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(p) for p in children.read().split()]
