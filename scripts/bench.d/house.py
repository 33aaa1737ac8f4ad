"""A Hostel of this run's own. The network namespace that we run in plays its host."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from run import ENVIRONMENT, Failed, attempt, hierarchies, output, until

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
WORK_LIMITS = "processes = 500\n[memory]\nlimit = \"6GiB\"\n[disk]\nsize = \"4GiB\"\n"

NETWORK = """
kind = "routed"
host_services = ["all"]
pools = ["10.{net}.0.0/16", "fd77:7c3e:9a51:{net}::/64"]
masquerade = true
"""


class House:
    """Runs hostel commands on a configuration of its own in `place`, with disks of one driver. Houses of a run share a
    name and the network namespace, and are told apart by `number`."""

    def __init__(self, place, name, number, driver, program, store):
        self.dir = Path(place) / "house"
        self.name, self.number, self.driver = f"{name}-{number}", number, driver
        self.run_dir = Path("/run") / self.name
        self.program = program
        self.config = self.dir / "hostel.toml"
        self.store = Path(store)
        self.lacks = []

    def prepare(self):
        """Makes it ready for use."""
        self.dir.mkdir()
        # Templates of our own: some that are measured are not for the tests' store.
        for name in ("busybox", "debian-12"):
            output(["cp", "-a", str(self.store / name), str(self.templates(name).parent)])
        self.config.write_text(self._settings())
        self.ok("init")
        self.define("plans/bench", ALL_LIMITS.format(last_cpu=(os.cpu_count() or 1) - 1))
        self.define("plans/work", WORK_LIMITS)
        self.define("networks/bench", NETWORK.format(net=78 + self.number))
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
            f'cgroup_root = "{self.name}"\nnft_table = "hostel{self.number}"\n'
            f'interface_prefix = "h{"vw"[self.number]}"\n'
            f'unenforceable = "warn"\n[paths]\nconfig = "{self.dir}/etc"\ndata = "{self.dir}/data"\n'
            f'run = "{self.run_dir}"\ntemplates = "{self.dir}/templates"\n'
            # A range that the tests don't use, so that what the kernel counts per user is this run's alone.
            f"[idmap]\nbase = {1800011776 + self.number * 1024 * 65536}\ncount = 1024\n"
            f'[disk]\ndriver = "{self.driver}"\n[defaults]\nplan = "bench"\nnetwork = "bench"\n'
        )

    def use_criu(self, program):
        """From now on VEs can be suspended, also where root lacks CAP_SYS_RESOURCE."""
        self.config.write_text(
            f'{self._settings()}[criu]\nprogram = "{program}"\nroot_owns_namespaces = true\n')

    def define(self, name, text):
        """Writes a definition of a plan or network."""
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

    def dump_size(self):
        """Bytes of the dump of the only VE that is suspended."""
        return sum(file.stat().st_size for file in self.dir.glob("data/ve/*/dump/*"))

    def pid(self, name):
        """The process that is a VE's init."""
        return int(self.ok("list", "--name", name, "-H", "-o", "pid"))

    def settled(self):
        """Waits until nothing is left of VEs that were killed, so that it is no load on what is measured next."""
        groups = [Path(group) / self.name for group in hierarchies()]
        until("killed VEs are cleared up after", 300, lambda: not [
            g for group in groups if group.is_dir() for g in group.iterdir() if g.name.isdigit()] and not any(
                p.name == "run.json" for p in self.run_dir.glob("*/run.json")))

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
        for point in hierarchies():
            for group in (f"{point}/{self.name}/monitor", f"{point}/{self.name}"):
                until(f"{group} is empty", 30, lambda group=group: self._removed(group))
        shutil.rmtree(self.run_dir, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)
