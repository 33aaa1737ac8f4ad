//! Which devices the processes of a v2 group may open: the v2 tree has no files for that, but takes a small program
//! that the kernel asks at every opening (cgroup-v2.rst, "Device controller"; bpf(2); uapi/linux/bpf.h).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::devices::ALLOWED;
use crate::{Error, Result};

/// One instruction: operation, registers (source above destination), jump, number.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    operation: u8,
    registers: u8,
    jump: i16,
    number: i32,
}

/// What bpf(2) reads to load a program: the beginning of `union bpf_attr`.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 2],
    version: u32,
    flags: u32,
}

/// What bpf(2) reads to attach a program to a group.
#[repr(C)]
struct Attach {
    group: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
/// BPF_PROG_TYPE_CGROUP_DEVICE
const DEVICE_PROGRAM: u32 = 15;
/// BPF_CGROUP_DEVICE
const AT_DEVICES: u32 = 6;

const fn instruction(operation: u8, destination: u8, source: u8, jump: i16, number: i32) -> Instruction {
    Instruction {
        operation,
        registers: source << 4 | destination,
        jump,
        number,
    }
}

/// Loads field `at` of `struct bpf_cgroup_dev_ctx` (register 1) into a register.
const fn field(register: u8, at: i16) -> Instruction {
    instruction(0x61, register, 1, at, 0)
}

const fn skip_if_not(register: u8, number: i32, count: i16) -> Instruction {
    instruction(0x55, register, 0, count, number)
}

/// Ends with this answer: 1 allows.
const fn answer(allow: i32) -> [Instruction; 2] {
    [instruction(0xb7, 0, 0, 0, allow), instruction(0x95, 0, 0, 0, 0)]
}

/// The context's first field has the kind of device below, and what is to be done with it above: 1 make, 2 read,
/// 4 write. Those allowed are character devices, to be read and written.
fn program() -> Vec<Instruction> {
    const CHARACTER: i32 = 2;
    let (what, major, minor, part) = (2, 3, 4, 5);
    let copy = instruction(0xbf, part, what, 0, 0);
    let mut list = vec![field(what, 0), field(major, 4), field(minor, 8)];
    list.extend([copy, instruction(0x57, part, 0, 0, 0xffff)]);
    list.push(instruction(0x15, part, 0, 2, CHARACTER)); // equal: goes on after the answer
    list.extend(answer(0));
    list.extend([
        copy,
        instruction(0x77, part, 0, 0, 16),
        instruction(0x57, part, 0, 0, 1),
        instruction(0x15, part, 0, 2, 0),
    ]);
    list.extend(answer(0));
    for device in ALLOWED {
        match device.minor {
            Some(number) => list.extend([skip_if_not(major, device.major, 3), skip_if_not(minor, number, 2)]),
            None => list.push(skip_if_not(major, device.major, 2)),
        }
        list.extend(answer(1));
    }
    list.extend(answer(0));
    list
}

fn bpf<T>(command: libc::c_long, argument: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes of the argument as it is told it has, and the memory that the argument
    // points to, which our callers keep alive over the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(argument), size_of::<T>()) };
    match i32::try_from(done) {
        Ok(done) if done >= 0 => Ok(done),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A program that the kernel has taken.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// Gives the kernel the program. Why not, if it takes none.
pub fn load() -> std::result::Result<Program, String> {
    let instructions = program();
    let loaded = bpf(
        PROG_LOAD,
        &Load {
            kind: DEVICE_PROGRAM,
            count: u32::try_from(instructions.len()).unwrap_or(0),
            instructions: instructions.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log: [0; 2],
            version: 0,
            flags: 0,
        },
    );
    match loaded {
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        Ok(program) => Ok(Program(unsafe { OwnedFd::from_raw_fd(program) })),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            Err("this process may not load programs into the kernel".to_owned())
        }
        Err(e) => Err(format!(
            "the kernel takes no program for devices; it was built without CONFIG_CGROUP_BPF ({e})"
        )),
    }
}

impl Program {
    /// Shuts all devices but those of the table to the processes of a v2 group and of those in it, instead of a program
    /// that it had before.
    pub fn attach(&self, group: &Path) -> Result<()> {
        let fail = |e: io::Error| Error::os("limit the devices of cgroup", group.display(), e);
        let directory = File::open(group).map_err(fail)?;
        let attach = Attach {
            group: directory.as_raw_fd().cast_unsigned(),
            program: self.0.as_raw_fd().cast_unsigned(),
            kind: AT_DEVICES,
            flags: 0,
        };
        match bpf(PROG_ATTACH, &attach) {
            // A directory that only plays a group, in tests.
            Err(e) if e.raw_os_error() == Some(libc::EBADF) => Ok(()),
            done => done.map(drop).map_err(fail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A group of the v2 tree that is removed in the end.
    struct Group(std::path::PathBuf);

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir(&self.0);
        }
    }

    fn group() -> Option<Group> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let tree = mounts.lines().find(|l| l.split(' ').nth(2) == Some("cgroup2"))?;
        let dir = Path::new(tree.split(' ').nth(1)?).join(format!("hostel-test-devices-{}", std::process::id()));
        std::fs::create_dir(&dir).ok()?;
        Some(Group(dir))
    }

    /// A process of the group does this.
    fn inside(group: &Group, line: &str) -> bool {
        let script = format!("echo $$ > {}/cgroup.procs && {line}", group.0.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stderr(std::process::Stdio::null());
        command.status().unwrap().success()
    }

    #[test]
    fn a_group_opens_what_the_table_allows_and_nothing_else() {
        let Some(group) = group() else {
            return println!("skipped because this host has no v2 tree that can be written");
        };
        let program = match load() {
            Ok(program) => program,
            Err(why) => return println!("skipped because {why}"),
        };
        let dir = tempfile::tempdir().unwrap();
        let node = |name: &str, kind: &str, major: u32, minor: u32| {
            let path = dir.path().join(name);
            let args = [kind.to_owned(), major.to_string(), minor.to_string()];
            assert!(Command::new("mknod").arg(&path).args(args).status().unwrap().success());
            path
        };
        let (zero, kmsg, disk) = (node("z", "c", 1, 5), node("k", "c", 1, 11), node("d", "b", 7, 0));
        let read = |path: &Path| format!("head -c 0 {}", path.display());
        assert!(inside(&group, &read(&kmsg)), "before, all is open");
        program.attach(&group.0).unwrap();
        load().unwrap().attach(&group.0).unwrap();
        assert!(inside(&group, &read(&zero)));
        assert!(inside(&group, "echo x > /dev/null"));
        assert!(
            !inside(&group, &read(&kmsg)),
            "a character device that isn't in the table"
        );
        assert!(!inside(&group, &read(&disk)), "a block device");
        let made = dir.path().join("made");
        assert!(
            !inside(&group, &format!("mknod {} c 1 5", made.display())),
            "a new node"
        );
        assert!(
            Command::new("head")
                .args(["-c", "0"])
                .arg(&kmsg)
                .status()
                .unwrap()
                .success()
        );
    }
}
