/* What an attacker inside a VE would run. Built static, so that it runs in any guest, and on the host as the control.
 * Each command prints one line per attempt: what was tried, and "ok" or the name of the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

void say(const char *what, long result)
{
    printf("%s %s\n", what, result >= 0 ? "ok" : strerrorname_np(errno));
}

/* The three ways into the kernel. All arguments are below 4 GiB, so that they mean the same in each. */
enum way { NATIVE, X32, INT80 };

static long call(enum way way, long nr, long a, long b, long c, long d)
{
    if (way != INT80)
        return syscall(nr | (way == X32 ? 0x40000000 : 0), a, b, c, d, 0L, 0L);
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory", "r8", "r9", "r10", "r11");
    result = (int)result;
    if (result < 0) {
        errno = -result;
        return -1;
    }
    return result;
#else
    (void)a, (void)b, (void)c, (void)d;
    errno = ENOSYS;
    return -1;
#endif
}

#define BAD (-1L)
#define NOWHERE ((long)(intptr_t)"/nowhere/at/all")

/* Arguments that do nothing even where the call is allowed. `foreign`: its number for 32-bit programs, 0 if none. */
static const struct entry { const char *name; long native, foreign; long a, b, c, d; } CALLS[] = {
    {"kexec_load", SYS_kexec_load, 283, 0, 99, 0, BAD},
#ifdef __x86_64__
    {"kexec_file_load", SYS_kexec_file_load, 0, BAD, BAD, 0, 0},
    {"iopl", SYS_iopl, 110, 99, 0, 0, 0},
    {"ioperm", SYS_ioperm, 101, BAD, 0, 0, 0},
    {"uselib", SYS_uselib, 86, 0, 0, 0, 0},
    {"ustat", SYS_ustat, 62, BAD, 0, 0, 0},
    {"sysfs", SYS_sysfs, 135, 99, 0, 0, 0},
    {"_sysctl", SYS__sysctl, 149, 0, 0, 0, 0},
    {"create_module", 174, 127, 0, 0, 0, 0},
    {"get_kernel_syms", 177, 130, 0, 0, 0, 0},
    {"query_module", 178, 167, 0, 0, 0, 0},
#endif
    {"init_module", SYS_init_module, 128, 0, 0, 0, 0},
    {"finit_module", SYS_finit_module, 350, BAD, 0, 0, 0},
    {"delete_module", SYS_delete_module, 129, 0, 0, 0, 0},
    {"open_by_handle_at", SYS_open_by_handle_at, 342, BAD, 0, 0, 0},
    {"swapon", SYS_swapon, 87, NOWHERE, 0, 0, 0},
    {"swapoff", SYS_swapoff, 115, NOWHERE, 0, 0, 0},
    {"acct", SYS_acct, 51, NOWHERE, 0, 0, 0},
    {"quotactl", SYS_quotactl, 131, BAD, NOWHERE, 0, 0},
    {"quotactl_fd", 443, 443, BAD, BAD, 0, 0},
    {"settimeofday", SYS_settimeofday, 79, 1, 1, 0, 0},
    {"clock_settime", SYS_clock_settime, 264, 99, 0, 0, 0},
    {"perf_event_open", SYS_perf_event_open, 336, 0, 0, 0, 0},
    {"bpf", SYS_bpf, 357, 9999, 0, 0, 0},
    {"nfsservctl", SYS_nfsservctl, 169, 0, 0, 0, 0},
    {"lookup_dcookie", SYS_lookup_dcookie, 253, 0, 0, 0, 0},
    {"userfaultfd", SYS_userfaultfd, 374, BAD, 0, 0, 0},
    {"keyctl", SYS_keyctl, 288, 9999, 0, 0, 0},
    {"add_key", SYS_add_key, 286, 0, 0, 0, 0},
    {"request_key", SYS_request_key, 287, 0, 0, 0, 0},
    {"io_uring_setup", SYS_io_uring_setup, 425, 0, 0, 0, 0},
    {"io_uring_enter", SYS_io_uring_enter, 426, BAD, 0, 0, 0},
    {"io_uring_register", SYS_io_uring_register, 427, BAD, 0, 0, 0},
    /* For 32-bit programs only. */
    {"stime", 0, 25, 1, 0, 0, 0},
    {"vm86old", 0, 113, 0, 0, 0, 0},
    {"vm86", 0, 166, 0, 0, 0, 0},
    {"clock_settime64", 0, 404, 99, 0, 0, 0},
    {"socketcall", 0, 102, 1, 0, 0, 0},
    /* Not refused at all: shows that a way into the kernel is open. */
    {"getpid", SYS_getpid, 20, 0, 0, 0, 0},
};

static void calls(enum way way)
{
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        const struct entry *e = &CALLS[i];
        long nr = way == INT80 ? e->foreign : e->native;
        if (nr)
            say(e->name, call(way, nr, e->a, e->b, e->c, e->d));
    }
}

static void sockets(enum way way)
{
    long one = way == INT80 ? 359 : SYS_socket, two = way == INT80 ? 360 : SYS_socketpair;
    char what[64];
    for (int family = 0; family < 46; family++) {
        snprintf(what, sizeof what, "socket:%d", family);
        long fd = call(way, one, family, family == AF_NETLINK || family == AF_PACKET ? SOCK_RAW : SOCK_DGRAM, 0, 0);
        say(what, fd);
        if (fd >= 0)
            close(fd);
    }
    for (int protocol = 0; protocol < 23; protocol++) {
        snprintf(what, sizeof what, "netlink:%d", protocol);
        say(what, call(way, one, AF_NETLINK, SOCK_RAW, protocol, 0));
    }
    say("socket:key", call(way, one, AF_KEY, SOCK_RAW, 2, 0));
    say("pair:unix", call(way, two, AF_UNIX, SOCK_DGRAM, 0, 16)); /* EFAULT: past the filter */
    say("pair:tipc", call(way, two, 30, SOCK_SEQPACKET, 0, 16));
}

static void ioctls(enum way way)
{
    long nr = way == INT80 ? 54 : SYS_ioctl;
    int pty = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(pty), unlockpt(pty);
    int tty = open(ptsname(pty), O_RDWR | O_NOCTTY);
    static char c = 'x';
    char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    *low = c;
    say("TIOCSTI", call(way, nr, tty, 0x5412, (long)low, 0));
    say("TIOCLINUX", call(way, nr, tty, 0x541c, (long)low, 0));
    say("BTRFS_SUBVOL_CREATE", call(way, nr, open("/", O_RDONLY), 0x5000940e, 0, 0));
    say("TCGETS", call(way, nr, tty, 0x5401, (long)low, 0));
}

/* Takes what the host's kernel prints (not for the control: root of the host may). */
static void steal_console(void)
{
    int pty = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(pty), unlockpt(pty);
    say("TIOCCONS", ioctl(open(ptsname(pty), O_RDWR | O_NOCTTY), TIOCCONS, 0));
}

static void namespaces(void)
{
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(0);
    say("clone3:user", pid);
    pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    say("clone:user", pid);
    say("unshare:user", unshare(CLONE_NEWUSER));
    say("unshare:mnt", unshare(CLONE_NEWNS));
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        perror(path);
    close(fd);
}

/* Runs a program as root of a user namespace of its own, with the mounts and the control groups that go with it. */
static int nested(char **argv)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP) < 0)
        return 3;
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "0 0 1");
    put("/proc/self/gid_map", "0 0 1");
    execvp(argv[0], argv);
    return 4;
}

static void nodes(const char *dir)
{
    static const struct { const char *name; mode_t type; int major, minor; } NODES[] = {
        {"mem", S_IFCHR, 1, 1}, {"null", S_IFCHR, 1, 3}, {"kmsg", S_IFCHR, 1, 11}, {"sda", S_IFBLK, 8, 0},
        {"loop0", S_IFBLK, 7, 0}, {"loop-control", S_IFCHR, 10, 237}, {"fuse", S_IFCHR, 10, 229},
    };
    char path[256];
    for (size_t i = 0; i < sizeof NODES / sizeof *NODES; i++) {
        snprintf(path, sizeof path, "%s/node-%s", dir, NODES[i].name);
        say(NODES[i].name, mknod(path, NODES[i].type | 0666, makedev(NODES[i].major, NODES[i].minor)));
        unlink(path);
    }
}

static void priority(void)
{
    struct sched_param one = {.sched_priority = 1};
    say("fifo", sched_setscheduler(0, SCHED_FIFO, &one));
    say("nice", setpriority(PRIO_PROCESS, 0, -5));
    say("ioprio", syscall(SYS_ioprio_set, 1, 0, 1 << 13));
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    say("rtprio", setrlimit(RLIMIT_RTPRIO, &all));
    say("memlock", setrlimit(RLIMIT_MEMLOCK, &all));
}

/* keyctl(2): 1 joins a new session keyring, 10 searches; -3 is the session keyring. */
static int with_key(const char *name, char **argv)
{
    if (syscall(SYS_keyctl, 1, 0) < 0 || syscall(SYS_add_key, "user", name, "secret", 6L, -3L) < 0)
        return 3;
    execvp(argv[0], argv);
    return 4;
}

/* Runs a program with many descriptors that it should know nothing of. */
static int with_strays(char **argv)
{
    for (int i = 0; i < 50; i++) {
        int fd = open(i % 2 ? "/etc" : "/etc/passwd", O_RDONLY);
        dup2(fd, 100 + i);
    }
    execvp(argv[0], argv);
    return 4;
}

static void ids(void)
{
    printf("uid %d\neuid %d\n", getuid(), geteuid());
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "CapEff:", 7) || !strncmp(line, "NoNewPrivs:", 11))
            *strchr(line, ':') = ' ', fputs(line, stdout);
}

static int inotify_hog(void)
{
    struct rlimit most = {524288, 524288};
    setrlimit(RLIMIT_NOFILE, &most);
    long count = 0;
    while (inotify_init1(0) >= 0)
        count++;
    printf("%ld %s\n", count, strerrorname_np(errno));
    fflush(stdout);
    while (pause() < 0)
        ;
    return 0;
}

/* Writes single bytes until so much processor time is used up. */
static int drip(const char *path, long milliseconds)
{
    int fd = open(path, O_WRONLY | O_NOCTTY);
    struct timespec used = {0};
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < milliseconds) {
        for (int i = 0; i < 64; i++)
            write(fd, "x", 1);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    }
    return 0;
}

/* A file system whose server answers nothing. */
static int stuck(const char *dir)
{
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", open("/dev/fuse", O_RDWR));
    say("mount", mount("stuck", dir, "fuse", MS_NOSUID | MS_NODEV, options));
    fflush(stdout);
    while (pause() < 0)
        ;
    return 0;
}

/* Who made a user namespace. */
static int owner(const char *path)
{
    uid_t uid;
    if (ioctl(open(path, O_RDONLY), _IO(0xb7, 4), &uid) < 0) /* NS_GET_OWNER_UID, ioctl_ns(2) */
        return 3;
    printf("owner %u\n", uid);
    return 0;
}

static int handle(const char *path)
{
    struct { struct file_handle head; char bytes[128]; } h = {.head.handle_bytes = 128};
    int mount_id;
    say("name", name_to_handle_at(AT_FDCWD, path, &h.head, &mount_id, 0));
    say("open", open_by_handle_at(open("/", O_RDONLY), &h.head, O_RDONLY));
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const WAYS[] = {"native", "x32", "int80"};
    const char *command = argc > 1 ? argv[1] : "";
    enum way way = NATIVE;
    for (int i = 0; i < 3 && argc > 2; i++)
        if (!strcmp(argv[2], WAYS[i]))
            way = i;
#define IS(name) (!strcmp(command, name))
    if (IS("calls"))
        calls(way);
    else if (IS("sockets"))
        sockets(way);
    else if (IS("ioctls"))
        ioctls(way);
    else if (IS("namespaces"))
        namespaces();
    else if (IS("priority"))
        priority();
    else if (IS("steal-console"))
        steal_console();
    else if (IS("ids"))
        ids();
    else if (IS("uring"))
        return uring();
    else if (IS("inotify"))
        return inotify_hog();
    else if (argc < 3)
        return 2;
    else if (IS("nodes"))
        nodes(argv[2]);
    else if (IS("with-strays"))
        return with_strays(argv + 2);
    else if (IS("nested"))
        return nested(argv + 2);
    else if (IS("find-key"))
        say("key", syscall(SYS_keyctl, 10, -3L, "user", argv[2], 0));
    else if (IS("hunt"))
        return hunt(argv[2]);
    else if (IS("linger"))
        return linger(argv[2]);
    else if (IS("stuck"))
        return stuck(argv[2]);
    else if (IS("owner"))
        return owner(argv[2]);
    else if (IS("handle"))
        return handle(argv[2]);
    else if (IS("serve"))
        return abstract(argv[2], 1);
    else if (IS("connect"))
        return abstract(argv[2], 0);
    else if (argc < 4)
        return 2;
    else if (IS("with-key"))
        return with_key(argv[2], argv + 3);
    else if (IS("drip"))
        return drip(argv[2], atol(argv[3]));
    else if (IS("notify"))
        return notify(argv[2], argv[3], argc > 4 ? atol(argv[4]) : 1);
    else if (IS("hear"))
        return hear(argv[2], argv[3]);
    else if (argc < 5)
        return 2;
    else if (IS("deceive"))
        return deceive(argv[2], argv[3], argv[4]);
    else
        return 2;
    return 0;
}
