/* Lying in wait for those who enter. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static ssize_t get(int pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    return n;
}

static int opens(int pid, const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, flags);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static struct { long seen, ran, ptraced, opened, foreign; } caught;
static char own_mounts[8192], own_routes[8192];

/* Tries everything on one process that may be on its way in. */
static void try_process(int pid)
{
    static char text[8192];
    if (get(pid, "comm", text, sizeof text) < 1)
        return;
    if (!strncmp(text, "bait\n", 5)) { /* the monitor's program, run by the guest: it may not be changed by that */
        caught.ran++;
        caught.opened += opens(pid, "exe", O_WRONLY) + opens(pid, "exe", O_RDWR);
        return;
    }
    if (strncmp(text, "hostel-monitor", 14))
        return;
    caught.seen++;
    if (get(pid, "mountinfo", text, sizeof text) > 0 && !strstr(text, own_mounts))
        caught.foreign++;
    if (get(pid, "net/route", text, sizeof text) > 0 && strcmp(text, own_routes))
        caught.foreign++;
    int opened = opens(pid, "exe", O_RDWR) + opens(pid, "mem", O_RDWR) + opens(pid, "exe", O_RDONLY) +
                 opens(pid, "fd", O_RDONLY | O_DIRECTORY) + opens(pid, "cwd/etc", O_RDONLY) +
                 opens(pid, "root/etc", O_RDONLY);
    int stopped = !ptrace(PTRACE_SEIZE, pid, 0, 0);
    /* If it has become the guest's own program by now, it is fair game. */
    if (get(pid, "comm", text, sizeof text) > 0 && !strncmp(text, "hostel-monitor", 14)) {
        caught.opened += opened;
        caught.ptraced += stopped;
    }
    if (stopped) {
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, 0, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
}

/* Watches for processes that come into the VE from outside and tries to get at them while they are on their way. */
int hunt(const char *until)
{
    char text[256];
    struct stat st;
    get(getpid(), "net/route", own_routes, sizeof own_routes);
    get(getpid(), "mountinfo", own_mounts, sizeof own_mounts);
    *strchr(own_mounts, '\n') = 0;
    while (stat(until, &st) < 0) {
        int fd = open("/proc/loadavg", O_RDONLY); /* its last number is the newest process of this namespace */
        text[read(fd, text, sizeof text - 1)] = 0;
        close(fd);
        int newest = atoi(strrchr(text, ' '));
        for (int pid = newest; pid <= newest + 1; pid++)
            if (pid != getpid())
                try_process(pid);
    }
    printf("seen %ld\nran %ld\nptraced %ld\nopened %ld\nforeign %ld\n", caught.seen, caught.ran, caught.ptraced,
           caught.opened, caught.foreign);
    return 0;
}
