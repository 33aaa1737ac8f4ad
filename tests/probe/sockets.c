/* Sockets that are meant to hurt, and those of others. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "probe.h"

/* Sends the notify socket a TCP connection whose last user would wait a long time when closing it. */
int linger(const char *path)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    if (bind(listener, (void *)&in, size) || listen(listener, 1) || getsockname(listener, (void *)&in, &size) ||
        connect(client, (void *)&in, size))
        return 3;
    int server = accept(listener, 0, 0);
    static char junk[65536];
    fcntl(client, F_SETFL, O_NONBLOCK);
    while (write(client, junk, sizeof junk) > 0)
        ;
    fcntl(client, F_SETFL, 0);
    struct linger wait = {.l_onoff = 1, .l_linger = 3600};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &wait, sizeof wait);
    int to = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strncpy(un.sun_path, path, sizeof un.sun_path - 1);
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec text = {"STATUS=x", 8};
    struct msghdr message = {.msg_name = &un, .msg_namelen = sizeof un, .msg_iov = &text, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &client, sizeof client);
    say("sent", sendmsg(to, &message, 0));
    fflush(stdout);
    /* With another user left this doesn't wait; the last one would. */
    say("closed", close(client));
    fflush(stdout);
    (void)server;
    while (pause() < 0) /* keeps the other side of the connection open, and reads nothing */
        ;
    return 0;
}

int notify(const char *path, const char *text, long times)
{
    int to = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strncpy(un.sun_path, path, sizeof un.sun_path - 1);
    long result = 0;
    for (long i = 0; i < times && result >= 0; i++)
        result = sendto(to, text, strlen(text), 0, (void *)&un, sizeof un);
    say("sent", result);
    return 0;
}

int abstract(const char *name, int serve)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strncpy(un.sun_path + 1, name, sizeof un.sun_path - 2);
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!serve) {
        say("connect", connect(fd, (void *)&un, size));
        return 0;
    }
    say("bind", bind(fd, (void *)&un, size) ? -1 : listen(fd, 8));
    fflush(stdout);
    char end;
    read(0, &end, 1);
    return 0;
}
