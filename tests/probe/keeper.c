/* Holds one of each thing that a process can hold, and tells over UDP how they are: "keeper PORT DIR". As "keeper DIR" it
 * tells who holds the lock there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t alarms, posix_ticks;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void on_posix(int signal)
{
    (void)signal;
    posix_ticks++;
}

static int need(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static int file(const char *name, int flags)
{
    return need(open(name, flags | O_CREAT | O_CLOEXEC, 0600), name);
}

/* The process that holds bytes 10 to 19 of "fcntl", and whether somebody has all of "flock". */
static int who(void)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10 };
    need(fcntl(file("fcntl", O_RDWR), F_GETLK, &l), "F_GETLK");
    int taken = flock(file("flock", O_RDWR), LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    printf("fcntl %d flock %s\n", l.l_type == F_UNLCK ? 0 : l.l_pid, taken ? "taken" : "free");
    return 0;
}

static void every(struct itimerspec *spec, long ms)
{
    spec->it_value.tv_sec = spec->it_interval.tv_sec = 0;
    spec->it_value.tv_nsec = spec->it_interval.tv_nsec = ms * 1000000;
}

int main(int count, char **args)
{
    if (count == 2)
        return chdir(args[1]) == 0 ? who() : 1;
    if (count != 3 || chdir(args[2]) != 0)
        return 2;
    struct itimerspec spec;
    int ticks = need(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), "timerfd");
    every(&spec, 100);
    need(timerfd_settime(ticks, 0, &spec, NULL), "timerfd_settime");
    struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
    need(sigaction(SIGALRM, &act, NULL), "sigaction");
    act.sa_handler = on_posix;
    need(sigaction(SIGUSR1, &act, NULL), "sigaction");
    struct itimerval itimer = { .it_value.tv_usec = 100000, .it_interval.tv_usec = 100000 };
    need(setitimer(ITIMER_REAL, &itimer, NULL), "setitimer");
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    timer_t timer;
    need(timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
    need(timer_settime(timer, 0, &spec, NULL), "timer_settime");

    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10 };
    need(fcntl(file("fcntl", O_RDWR), F_SETLK, &l), "F_SETLK");
    need(flock(file("flock", O_RDWR), LOCK_EX | LOCK_NB), "flock");
    int log = file("log", O_WRONLY | O_APPEND), ghost = file("ghost", O_RDWR);
    need(write(ghost, "ghost", 5), "write");
    need(unlink("ghost"), "unlink");
    int pipes[2], pair[2];
    need(pipe(pipes), "pipe");
    need(write(pipes[1], "unread", 6), "write");
    need(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
    need(send(pair[0], "datagram", 8, 0), "send");
    int value = need(eventfd(7, EFD_NONBLOCK), "eventfd");
    int watch = need(inotify_init1(IN_NONBLOCK), "inotify");
    need(inotify_add_watch(watch, ".", IN_CREATE), "inotify_add_watch");
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    int udp = need(socket(AF_INET, SOCK_DGRAM, 0), "socket");
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(args[1])) }, from;
    need(bind(udp, (struct sockaddr *)&at, sizeof at), "bind");

    unsigned long ticked = 0, created = 0;
    struct pollfd fds[3] = { { udp, POLLIN, 0 }, { ticks, POLLIN, 0 }, { watch, POLLIN, 0 } };
    for (;;) {
        if (poll(fds, 3, -1) < 0)
            continue; /* a signal */
        uint64_t expired;
        if (read(ticks, &expired, 8) == 8)
            ticked += expired;
        char events[4096];
        if (read(watch, events, sizeof events) > 0)
            created++;
        if (!(fds[0].revents & POLLIN))
            continue;
        char asked[64], held[16] = "", text[512];
        socklen_t length = sizeof from;
        if (recvfrom(udp, asked, sizeof asked, MSG_DONTWAIT, (struct sockaddr *)&from, &length) < 0)
            continue;
        need(write(log, "x", 1), "write");
        (*shared)++;
        need(pread(ghost, held, 5, 0), "pread");
        /* "end": what waits to be read is read. */
        char waits[16] = "-", message[16] = "-";
        if (strncmp(asked, "end", 3) == 0) {
            memset(waits, 0, sizeof waits);
            memset(message, 0, sizeof message);
            need(read(pipes[0], waits, sizeof waits - 1), "read");
            need(recv(pair[1], message, sizeof message - 1, 0), "recv");
            need(read(value, &expired, 8), "read");
        } else {
            expired = 0;
        }
        int n = snprintf(text, sizeof text,
            "{\"timerfd\": %lu, \"itimer\": %d, \"timer\": %d, \"created\": %lu, \"asked\": %d, \"ghost\": \"%s\","
            " \"pipe\": \"%s\", \"datagram\": \"%s\", \"eventfd\": %lu, \"pid\": %d}",
            ticked, (int)alarms, (int)posix_ticks, created, *shared, held, waits, message, (unsigned long)expired,
            (int)getpid());
        sendto(udp, text, n, 0, (struct sockaddr *)&from, length);
    }
}
