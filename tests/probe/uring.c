/* Sockets that are asked for by io_uring_setup(2): no filter of system calls sees them being made. */
#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"

struct ring {
    int fd;
    struct io_uring_params p;
    char *submissions, *completions;
    struct io_uring_sqe *entries;
};

static int make(struct ring *r)
{
    r->fd = syscall(SYS_io_uring_setup, 4, &r->p);
    if (r->fd < 0)
        return -1;
    size_t size = r->p.sq_off.array + r->p.sq_entries * sizeof(uint32_t);
    r->submissions = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    size = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
    r->completions = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
    size = r->p.sq_entries * sizeof *r->entries;
    r->entries = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
    return r->submissions == MAP_FAILED || r->completions == MAP_FAILED || (void *)r->entries == MAP_FAILED ? -1 : 0;
}

#define AT(base, offset) ((volatile uint32_t *)((base) + (offset)))

/* A socket of the ring's making, or -1. One request is under way at a time. */
static long ask(struct ring *r, int family, int type, int protocol)
{
    uint32_t mask = *AT(r->submissions, r->p.sq_off.ring_mask), tail = *AT(r->submissions, r->p.sq_off.tail);
    r->entries[tail & mask] =
        (struct io_uring_sqe){.opcode = IORING_OP_SOCKET, .fd = family, .off = type, .len = protocol};
    AT(r->submissions, r->p.sq_off.array)[tail & mask] = tail & mask;
    __atomic_store_n(AT(r->submissions, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0)
        return -1;
    uint32_t head = *AT(r->completions, r->p.cq_off.head);
    struct io_uring_cqe *all = (void *)(r->completions + r->p.cq_off.cqes);
    int result = all[head & *AT(r->completions, r->p.cq_off.ring_mask)].res;
    __atomic_store_n(AT(r->completions, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}

int uring(void)
{
    struct ring r = {0};
    say("setup", make(&r));
    if (r.fd < 0)
        return 0;
    say("unix", ask(&r, AF_UNIX, SOCK_DGRAM, 0));
    say("alg", ask(&r, AF_ALG, SOCK_SEQPACKET, 0));
    say("key", ask(&r, AF_KEY, SOCK_RAW, 2));
    say("vsock", ask(&r, AF_VSOCK, SOCK_STREAM, 0));
    say("netlink:6", ask(&r, AF_NETLINK, SOCK_RAW, 6)); /* XFRM */
    say("netlink:9", ask(&r, AF_NETLINK, SOCK_RAW, 9)); /* AUDIT */
    return 0;
}
