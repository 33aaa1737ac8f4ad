/* Frames that an honest kernel wouldn't send, and hearing them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "probe.h"

static const char MARK[] = "hostel-probe ";
enum { MARKED = 64 };

/* Without a protocol until it is bound: to change that takes a moment in which nothing is heard. */
static int open_on(const char *interface, unsigned char *mac)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct ifreq ask = {0};
    strncpy(ask.ifr_name, interface, IFNAMSIZ - 1);
    ioctl(fd, SIOCGIFHWADDR, &ask);
    memcpy(mac, ask.ifr_hwaddr.sa_data, 6);
    struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = if_nametoindex(interface)};
    return bind(fd, (void *)&on, sizeof on) ? -1 : fd;
}

static unsigned char frame[256];
static unsigned size;

static void put(const void *bytes, unsigned length)
{
    memcpy(frame + size, bytes, length);
    size += length;
}

static void begin(const unsigned char *to, const unsigned char *from, uint16_t type)
{
    size = 0;
    put(to, 6), put(from, 6);
    type = htons(type);
    put(&type, 2);
}

/* The checksum of ICMPv6 (RFC 4443, 2.3): what has a wrong one is nothing to a kernel that knows connections. */
static void seal6(void)
{
    unsigned char *inner = frame + 14 + 40;
    unsigned length = size - 14 - 40, sum = length + IPPROTO_ICMPV6;
    for (unsigned i = 0; i < 32 + length; i += 2)
        sum += frame[14 + 8 + i] << 8 | frame[14 + 8 + i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    uint16_t check = htons(~(sum + (sum >> 16)));
    memcpy(inner + 2, &check, 2);
}

/* The mark, the name and zeros are MARKED bytes: a kernel drops or trims what isn't as long as it says. */
static void end(int fd, const char *name)
{
    char marked[MARKED] = {0};
    snprintf(marked, sizeof marked, "%s%s\n", MARK, name);
    put(marked, sizeof marked);
    if (frame[12] == 0x86 && frame[13] == 0xdd && frame[14 + 6] == IPPROTO_ICMPV6)
        seal6();
    say(name, send(fd, frame, size, 0));
}

static void ip4(in_addr_t from, in_addr_t to, unsigned char protocol, const void *inner, unsigned length)
{
    unsigned char head[20] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol};
    uint16_t total = htons(20 + length + MARKED);
    memcpy(head + 2, &total, 2), memcpy(head + 12, &from, 4), memcpy(head + 16, &to, 4);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += head[i] << 8 | head[i + 1];
    uint16_t check = htons(~((sum & 0xffff) + (sum >> 16)));
    memcpy(head + 10, &check, 2);
    put(head, 20), put(inner, length);
}

static void arp(in_addr_t sender, const unsigned char *mac, unsigned char operation, in_addr_t target)
{
    const unsigned char head[8] = {0, 1, 8, 0, 6, 4, 0, operation}, none[6] = {0};
    put(head, 8), put(mac, 6), put(&sender, 4), put(none, 6), put(&target, 4);
}

/* All of them to everybody on the wire; only the last is as it should be. */
int deceive(const char *interface, const char *neighbour, const char *gateway)
{
    unsigned char mac[6], other[6] = {2, 0, 0, 9, 9, 9}, all[6] = {255, 255, 255, 255, 255, 255};
    const unsigned char bridges[6] = {1, 0x80, 0xc2, 0, 0, 0};
    int fd = open_on(interface, mac);
    in_addr_t them = inet_addr(neighbour), router = inet_addr(gateway);
    struct ifreq ask = {0};
    strncpy(ask.ifr_name, interface, IFNAMSIZ - 1);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(udp, SIOCGIFADDR, &ask);
    in_addr_t own = ((struct sockaddr_in *)&ask.ifr_addr)->sin_addr.s_addr;
    const unsigned char offer[8] = {0, 67, 0, 68, 0, 72}, offer_by_any[8] = {4, 0, 0, 68, 0, 72};
    const unsigned char plain[8] = {4, 0, 4, 1, 0, 72}, tag[4] = {0, 5, 8, 0};

    begin(all, mac, 0x0806), arp(router, mac, 2, them), end(fd, "arp-gateway");
    begin(all, mac, 0x0806), arp(them, mac, 2, them), end(fd, "arp-neighbour");
    begin(all, mac, 0x0806), arp(own, other, 2, them), end(fd, "arp-other-mac");
    begin(all, other, 0x0800), ip4(own, them, 17, plain, 8), end(fd, "other-mac");
    begin(all, mac, 0x0800), ip4(router, them, 17, plain, 8), end(fd, "gateways-address");
    begin(all, mac, 0x0800), ip4(own, them, 17, offer, 8), end(fd, "dhcp-offer");
    begin(all, mac, 0x0800), ip4(own, them, 17, offer_by_any, 8), end(fd, "dhcp-by-any-port");
    begin(all, mac, 0x8100), put(tag, 4), ip4(own, them, 17, plain, 8), end(fd, "vlan");
    begin(bridges, mac, 0x0027), end(fd, "bpdu");
    unsigned char announce[56] = {0x60, 0, 0, 0, 0, 80, 58, 255, 0xfe, 0x80}; /* ICMPv6 134 from fe80::…:bad to all */
    announce[22] = 0x0b, announce[23] = 0xad, announce[24] = 0xff, announce[25] = 2, announce[39] = 1, announce[40] = 134;
    begin(all, mac, 0x86dd), put(announce, sizeof announce), end(fd, "router-advertisement");
    begin(all, mac, 0x0800), ip4(own, them, 17, plain, 8), end(fd, "end");
    return 0;
}

/* Says what it hears of that, up to one. */
int hear(const char *interface, const char *until)
{
    unsigned char mac[6];
    int fd = open_on(interface, mac);
    for (;;) {
        char heard[2048];
        struct sockaddr_ll from;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(fd, heard, sizeof heard, 0, (void *)&from, &length);
        if (n < 0)
            return 3;
        char *mark = memmem(heard, n, MARK, sizeof MARK - 1);
        if (!mark || from.sll_pkttype == PACKET_OUTGOING)
            continue;
        char *name = mark + sizeof MARK - 1, *stop = memchr(name, '\n', heard + n - name);
        if (!stop)
            continue;
        *stop = 0;
        say(name, 0);
        fflush(stdout);
        if (!strcmp(name, until))
            return 0;
    }
}
