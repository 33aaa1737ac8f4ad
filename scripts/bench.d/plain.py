"""CRIU by itself: what `hostel suspend` and `hostel resume` are measured beside.

The guest runs the same programs on a copy of the same tree as a VE, in the same kinds of namespaces, made by
unshare(1). It has no network, no limits, no overlay and no console, and nobody is to find its dump after a power cut or
to see that it was changed: `criu dump` and `criu restore` get the fewest options with which such a tree can be saved."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from peers import ID_BASE, ID_COUNT, children, remove_group
from run import ENVIRONMENT, Failed, attempt, hierarchies, output, until

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

# The guest's mounts, made by root of its user namespace. $1: its tree, the rest: its init.
MOUNTS = """
set -e
cd "$1"; shift
mount --bind "$PWD" "$PWD"; cd "$PWD"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for device in {devices}; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
[ ! -d sys/fs/cgroup ] || mount -t cgroup2 cgroup2 sys/fs/cgroup
pivot_root . mnt
umount -l /mnt
exec </dev/null >/dev/null 2>&1
[ ! -x /usr/bin/ssh-keygen ] || ssh-keygen -q -A
exec env -i PATH="$PATH" container=other "$@"
"""


class Plain:
    """A guest that is saved and brought back by criu(8)."""

    def __init__(self, work, name, criu):
        self.dir = Path(work) / f"plain-{name}"
        self.tree, self.images = self.dir / "tree", self.dir / "images"
        self.criu = criu
        # Of its own in all hierarchies: CRIU saves what groups there are below a guest's, and makes them again.
        self.groups = [Path(point) / f"{Path(work).name}-{name}" for point in hierarchies()]
        self.init = self.process = None

    def prepare(self, tree):
        """Copies the tree and makes the groups."""
        self.dir.mkdir()
        output(["cp", "-a", str(tree), str(self.tree)])
        _shift(self.tree)
        # CRIU restores below a mount point.
        output(["mount", "--bind", str(self.tree), str(self.tree)])
        output(["mount", "--make-private", str(self.tree)])
        for group in self.groups:
            group.mkdir()
            for setting in ("cpuset.cpus", "cpuset.mems"):  # of version 1, where a group begins with none
                if (group / "tasks").exists() and (group / setting).exists():
                    (group / setting).write_text((group.parent / setting).read_text())
            if (group / "cgroup.events").exists():  # version 2: the guest's own
                for file in (group, *(group / f"cgroup.{file}" for file in ("procs", "threads", "subtree_control"))):
                    os.chown(file, ID_BASE, ID_BASE)

    def start(self):
        """Runs its init."""
        script = MOUNTS.replace("{devices}", " ".join(DEVICES))
        drop = ["setpriv", "--reuid=0", "--regid=0", "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"]
        self.process = subprocess.Popen(
            ["unshare", "--user", "--keep-caps", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork",
             "bash", "-c", 'read -r _; exec "$@"', "bash", *drop, "bash", "-c", script, "bash", str(self.tree),
             "/sbin/init"],
            env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=self._join)
        pid = self.process.pid
        own = os.readlink("/proc/self/ns/user")
        until("unshare has made the guest's namespaces", 30, lambda: os.readlink(f"/proc/{pid}/ns/user") != own)
        for kind in "ug":
            Path(f"/proc/{pid}/{kind}id_map").write_text(f"0 {ID_BASE} {ID_COUNT}\n")
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        self.init = until("unshare has a child", 30, lambda: next(iter(children(pid)), None))
        until("the guest's init runs", 30, self._runs_init)

    def _runs_init(self):
        if self.process.poll() is not None:
            raise Failed("the guest that CRIU is to save has ended")
        # As it is named at its exec; systemd then names itself.
        return Path(f"/proc/{self.init}/comm").read_text().strip() in ("init", "systemd")

    def _join(self):
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def run(self, *command, stays):
        """Runs a command inside; `stays`: it leaves a process that is to be in the guest's control group."""
        ran = subprocess.run(["nsenter", "--all", "--target", str(self.init), *command], env=ENVIRONMENT,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             preexec_fn=self._join if stays else None)
        if ran.returncode != 0:
            raise Failed(f"{' '.join(command)}: status {ran.returncode}\n{ran.stdout}{ran.stderr}")

    def dump(self):
        """The command that saves all processes and ends them."""
        shutil.rmtree(self.images, ignore_errors=True)
        self.images.mkdir()
        devices = [f"--external=mnt[/dev/{device}]:{device}" for device in DEVICES]
        return [*self._argv("dump"), f"--tree={self.init}", *devices]

    def size(self):
        """Bytes of what was saved."""
        return sum(image.stat().st_size for image in self.images.iterdir())

    def restore(self):
        """The command that brings them back and lets them go on."""
        devices = [f"--external=mnt[{device}]:/dev/{device}" for device in DEVICES]
        (self.dir / "pid").unlink(missing_ok=True)
        return [*self._argv("restore"), f"--root={self.tree}", "--restore-detached", f"--pidfile={self.dir}/pid",
                *devices]

    def _argv(self, verb):
        return [self.criu, verb, f"--images-dir={self.images}", f"--log-file={verb}.log", "--tcp-established",
                "--file-locks", "--link-remap", "--manage-cgroups=full", "--enable-fs=hugetlbfs", "--enable-fs=tracefs"]

    def ended(self):
        """After a dump."""
        if self.process:
            self.process.wait(30)
            self.process = None
        init, self.init = self.init, None
        until("the guest has ended", 30, lambda: not os.path.exists(f"/proc/{init}"))

    def restored(self):
        """After a restore."""
        self.init = int((self.dir / "pid").read_text())

    def close(self):
        """Ends and removes it."""
        for pid in filter(None, (self.init, self.process and self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait(30)
        for group in self.groups:
            until(f"{group} is empty", 30, lambda group=group: _removed(group))
        attempt(["umount", str(self.tree)])
        shutil.rmtree(self.dir, ignore_errors=True)


def _removed(group):
    try:
        remove_group(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False  # a process is at its end
    return True


def _shift(top):
    """Gives a tree to the users of the guest's user namespace."""
    for directory, names, files in os.walk(top, topdown=False):
        for path in [os.path.join(directory, name) for name in [*names, *files]] + [directory]:
            was = os.lstat(path)
            if was.st_uid < ID_COUNT:
                os.lchown(path, ID_BASE + was.st_uid, ID_BASE + was.st_gid)
                if not os.path.islink(path):
                    os.chmod(path, was.st_mode & 0o7777)  # which chown has taken the set-user-id bit from
