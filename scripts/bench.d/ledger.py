"""A ledger of a month of many VEs, written as Hostel would have: hours, and samples of the last two days, each record
bound to the one before it by its hash."""

import hashlib
import sqlite3
import struct
import time

HOUR = 3600 * 10**9
DAY = 24 * HOUR
MINUTE = 60 * 10**9
# Of which samples are kept.
RECENT = 2 * DAY
LIFE, TERMS, SAMPLE, HOURLY = 1, 2, 3, 4


class Month:
    """The 30 days before today."""

    def __init__(self, path, ves, tenants):
        self.path, self.ves, self.tenants = path, ves, tenants
        self.ends = int(time.time() * 10**9) // DAY * DAY
        self.begins = self.ends - 30 * DAY
        self.samples = ves * 30 * 24 * 60

    def dates(self):
        """For `hostel report`."""
        day = lambda ns: time.strftime("%Y-%m-%d", time.gmtime(ns // 10**9))
        return ["--from", day(self.begins), "--to", day(self.ends)]

    def write(self):
        """Fills a ledger that has just been made and is empty. Bytes of the file that hours take."""
        db = sqlite3.connect(self.path)
        db.executescript("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")
        db.execute("BEGIN")
        add = "INSERT INTO record (seq, kind, life, terms, begins, ends, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        chain = Chain()
        db.executemany(add, chain.add(self._parties()))
        recent = self.ends - RECENT
        hours = [_body(HOUR, n) for n in range(64)]
        db.executemany(add, chain.add(self._usage(HOURLY, self.begins, recent, HOUR, hours)))
        taken = _size(db)
        minutes = [_body(MINUTE, n) for n in range(64)]
        db.executemany(add, chain.add(self._usage(SAMPLE, recent, self.ends, MINUTE, minutes)))
        db.execute("UPDATE head SET seq = ?, hash = ?", (chain.seq, chain.hash))
        # As if it were of a version that had no sums of days: they are made by who opens it.
        db.execute("DELETE FROM daily")
        db.execute("UPDATE summed SET seq = 0, since = ?", (chain.seq,))
        db.executemany("INSERT INTO life (seq, name, boot, terms, mark) VALUES (?, ?, 1, ?, '')",
                       ((2 * n + 1, f"life{n}", 2 * n + 2) for n in range(self.ves)))
        db.commit()
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        return taken

    def _parties(self):
        for n in range(self.ves):
            life = f'{{"life":"life{n}","id":{101 + n}}}'
            limits = '"cpu.cap":"2","cpu.weight":"100","memory.limit":"1GiB","disk.size":"2GiB","processes":"500"'
            terms = f'{{"name":"ve{n}","tenant":"tenant{n % self.tenants}","plan":"bench","limits":{{{limits}}}}}'
            yield LIFE, 0, 0, self.begins, self.begins, life.encode()
            yield TERMS, 2 * n + 1, 0, self.begins, self.begins, terms.encode()

    def _usage(self, kind, begins, ends, period, bodies):
        for at in range(begins, ends, period):
            for n in range(self.ves):
                body = bodies[(n + at // period) % len(bodies)]
                yield kind, 2 * n + 1, 2 * n + 2, at, at + period, body


class Chain:
    """Numbers and hashes."""

    def __init__(self):
        self.seq, self.hash = 0, bytes(32)

    def add(self, records):
        """Rows of the table."""
        numbers = struct.Struct(">6q").pack
        for kind, life, terms, begins, ends, body in records:
            self.seq += 1
            head = numbers(self.seq, kind, life, terms, begins, ends)
            self.hash = hashlib.sha256(self.hash + head + body).digest()
            yield self.seq, kind, life, terms, begins, ends, body, self.hash


def _size(db):
    return db.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()").fetchone()[0]


def _number(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _body(length, seed):
    """What a VE that does something of everything uses in so many nanoseconds: docs/METERING.md, "The ledger"."""
    share = length * (seed + 1) // 97
    times = [length, 0, 0, 0, 0]
    counters = [*(share // (n + 1) + seed for n in range(19)), 0]
    numbers = [1, *times, len(counters), *(n + 1 for n in counters), 6]
    for level in ((seed + 1) << 24, 0, 9 + seed, (seed + 9) << 23, 4000 + seed, 0):
        numbers += [level * length, length, level + 1]
    text = b"".join(map(_number, numbers))
    flows = [(way, share // 131 * (1 + way), share // 99991) for way in range(4)]
    text += _number(len(flows))
    for way, size, packets in flows:
        text += _number(8) + b"external" + _number(way) + _number(size) + _number(packets)
    return text
