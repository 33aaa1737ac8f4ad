"""A file system of a native driver's, where this host itself stands on another."""

import shutil
from pathlib import Path

from run import Failed, attempt, output


class Btrfs:
    """A btrfs in a file. The loop device is below the file system, for the host as for VEs; it reads past the page cache,
    so that what is dropped from that is read from the disk again."""

    def __init__(self, work):
        self.dir, self.file = Path(work) / "btrfs", Path(work) / "btrfs.img"
        self.device = None

    def prepare(self):
        """Makes and mounts it. False where the kernel has no btrfs."""
        self.dir.mkdir()
        with open(self.file, "wb") as file:
            file.truncate(16 << 30)
        output(["mkfs.btrfs", "--quiet", str(self.file)])
        self.device = output(["losetup", "--find", "--show", "--direct-io=on", str(self.file)]).strip()
        try:
            output(["mount", "-t", "btrfs", self.device, str(self.dir)])
        except Failed:
            if "btrfs" not in Path("/proc/filesystems").read_text().split():
                return False
            raise
        self.dir.chmod(0o711)
        return True

    def close(self):
        """Removes it."""
        attempt(["umount", str(self.dir)])
        if self.device:
            output(["losetup", "--detach", self.device])
        self.file.unlink(missing_ok=True)
        shutil.rmtree(self.dir, ignore_errors=True)
