"""A Hostel of this run's own. The network namespace that we run in plays its host."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from run import ENVIRONMENT, Failed, attempt, output, until

# Every kind of limit, none so low that it slows down what is measured.
ALL_LIMITS = """
processes = 500
[cpu]
cap = 2
weight = 100
pin = "0-{last_cpu}"
[memory]
limit = "1GiB"
swap = "512MiB"
[disk]
size = "2GiB"
inodes = 100000
[io]
read = "4GiB"
write = "4GiB"
read_ops = 100000
write_ops = 100000
weight = 100
"""

# What a guest needs that does work: no limit on I/O.
WORK_LIMITS = "processes = 500\n[memory]\nlimit = \"2GiB\"\n[disk]\nsize = \"4GiB\"\n"

NETWORK = """
kind = "routed"
pools = ["10.78.0.0/16", "fd77:7c3e:9a51:78::/64"]
masquerade = true
"""


class House:
    """Runs hostel commands on a configuration below `work`."""

    def __init__(self, work, program, store):
        self.dir = Path(work) / "house"
        self.name = Path(work).name
        self.run_dir = Path("/run") / self.name
        self.program = program
        self.config = self.dir / "hostel.toml"
        self.store = Path(store)
        self.lacks = []
        self.dir.mkdir()

    def prepare(self):
        """Makes it ready for use."""
        # Templates of our own: some that are measured are not for the tests' store.
        for name in ("busybox", "debian-12"):
            output(["cp", "-a", str(self.store / name), str(self.templates(name).parent)])
        self.config.write_text(self._settings())
        self.ok("init")
        self._define("plans/bench", ALL_LIMITS.format(last_cpu=(os.cpu_count() or 1) - 1))
        self._define("plans/work", WORK_LIMITS)
        self._define("networks/bench", NETWORK)
        facts = json.loads(output(self.argv("info", "--json")))
        self.lacks = [f["what"] for f in facts if f["what"].startswith("limit ") and f["value"] == "not here"]

    def templates(self, name):
        """Where a template's versions lie."""
        directory = self.dir / "templates"
        directory.mkdir(exist_ok=True)
        return directory / name

    def tree(self, name):
        """The root tree of a template."""
        return next(self.templates(name).glob("*/root"))

    def _settings(self):
        return (
            f'cgroup_root = "{self.name}"\nunenforceable = "warn"\n[paths]\n'
            f'config = "{self.dir}/etc"\ndata = "{self.dir}/data"\nrun = "{self.run_dir}"\n'
            f'templates = "{self.dir}/templates"\n'
            # A range that the tests don't use, so that what the kernel counts per user is this run's alone.
            "[idmap]\nbase = 1800011776\ncount = 1024\n"
            '[defaults]\nplan = "bench"\nnetwork = "bench"\n'
        )

    def _define(self, name, text):
        (self.dir / f"etc/{name}.toml").write_text(text)

    def argv(self, *args):
        """A hostel command."""
        return [self.program, "--config", str(self.config), *args]

    def ok(self, *args):
        """Runs one; it must succeed. What it wrote."""
        return output(self.argv(*args))

    def create(self, name, template, *options):
        """Makes a VE."""
        self.ok("create", name, "--template", template, *options)

    def pid(self, name):
        """The process that is a VE's init."""
        return int(self.ok("list", "--name", name, "-H", "-o", "pid"))

    def settled(self):
        """Waits until nothing is left of VEs that were killed, so that it is no load on what is measured next."""
        groups = [Path(group) / self.name for group in self._hierarchies()]
        until("killed VEs are cleared up after", 60, lambda: not [
            g for group in groups if group.is_dir() for g in group.iterdir() if g.name.isdigit()] and not any(
                p.name == "run.json" for p in self.run_dir.glob("*/run.json")))

    @staticmethod
    def _hierarchies():
        for line in Path("/proc/self/mounts").read_text().splitlines():
            kind, point = line.split()[2], line.split()[1]
            if kind in ("cgroup", "cgroup2"):
                yield point

    def orphans(self):
        """What `hostel audit` finds."""
        ran = subprocess.run(self.argv("audit", "--json"), env=ENVIRONMENT, capture_output=True, text=True)
        try:
            return json.loads(ran.stdout)
        except ValueError as error:
            raise Failed(f"hostel audit: {error}\n{ran.stderr}") from error

    @staticmethod
    def _removed(group):
        try:
            os.rmdir(group)
        except FileNotFoundError:
            pass
        except OSError:
            return False  # a monitor is at its end
        return True

    def close(self):
        """Removes all of it."""
        attempt(self.argv("destroy", "--all", "--force"))
        attempt(self.argv("audit", "--fix"))
        for point in self._hierarchies():
            for group in (f"{point}/{self.name}/monitor", f"{point}/{self.name}"):
                until(f"{group} is empty", 30, lambda group=group: self._removed(group))
        shutil.rmtree(self.run_dir, ignore_errors=True)
        shutil.rmtree(self.dir)
