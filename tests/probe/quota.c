/* Attempts to get out of a disk's quota, each with what came of it on a line of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void say(const char *what, int result)
{
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "done");
}

static int change_project(const char *path, int inherit)
{
    struct fsxattr x;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
        return -1;
    if (inherit)
        x.fsx_xflags &= ~FS_XFLAG_PROJINHERIT;
    else
        x.fsx_projid = x.fsx_projid ? 0 : 7;
    int result = ioctl(fd, FS_IOC_FSSETXATTR, &x);
    close(fd);
    return result;
}

static int change_flags(const char *path)
{
    int flags, fd = open(path, O_RDONLY);
    if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return -1;
    flags ^= FS_PROJINHERIT_FL;
    int result = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    close(fd);
    return result;
}

static int subvolume(void)
{
    static char args[4096];
    strcpy(args + 8, "escape");
    int fd = open("/", O_RDONLY);
    int result = ioctl(fd, 0x5000940e, args); /* BTRFS_IOC_SUBVOL_CREATE */
    close(fd);
    return result;
}

static sigjmp_buf full;

static void on_bus(int signal)
{
    (void)signal;
    siglongjmp(full, 1);
}

/* Bytes that could be written through a mapping of a file with one large hole. A page that there is no room for ends in
 * SIGBUS. */
static long map(const char *path, long size)
{
    static volatile long n;
    signal(SIGBUS, on_bus);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, size) < 0)
        return -1;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (sigsetjmp(full, 1))
        return n;
    for (n = 0; n < size; n += 4096) {
        at[n] = 'y';
        if (n % (1 << 20) == 0 && msync(at, n, MS_SYNC) < 0)
            return n;
    }
    return size;
}

int main(void)
{
    int fd = open("/quota-file", O_RDWR | O_CREAT, 0600);
    close(fd);
    say("project-of-root", change_project("/", 0));
    say("project-of-file", change_project("/quota-file", 0));
    say("inherit-of-root", change_project("/", 1));
    say("flags-of-root", change_flags("/"));
    say("flags-of-file", change_flags("/quota-file"));
    say("subvolume", subvolume());
    printf("mapped %ld\n", map("/quota-map", 200 << 20) >> 20);
    return 0;
}
