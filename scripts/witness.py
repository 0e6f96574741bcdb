#!/usr/bin/env python3
"""Beats over some hundred sockets of the kernel's, and says how soon they were answered.

    scripts/witness.py ADDRESS PORT [--connections N] [--period SECONDS]

A witness of its own beside a load: what it measures is the server's lateness and not the load's. It runs
before everybody else (SCHED_FIFO, where it may), sends PING over each connection once in each period, evenly
spread, and takes the time from when each was due, whether it waited for an earlier one or not. Commands on
stdin, a line each:
  open   opens those connections that are not; whatever fails or ends is tried again until `drop`
  mark   answers with a line of JSON, and begins to count anew
  drop   resets all, and forgets what was not answered
It ends with stdin. In the JSON `open` are the connections that are, `lost` those that ended unasked, `failed`
attempts that came to nothing, `beats` the answers, `waiting` beats without one yet, and `p50_us`, `p99_us` and
`max_us` the latency of both: that of the waiting ones until now. `late_p99_us` and `late_max_us` say how late
this program sent them.
"""

import argparse
import collections
import json
import os
import select
import socket
import struct
import sys
import time

PING, PONG = b"PING\n", b"PONG\n"
# How long a connection that failed or ended waits before the next attempt.
AGAIN_S = 0.2


class Beats:
    """What was measured since the last mark."""

    def __init__(self):
        self.took, self.late = [], []
        self.lost = self.failed = 0

    def summary(self, waiting):
        took, late = sorted(self.took + waiting), sorted(self.late)
        return {
            "beats": len(self.took),
            "waiting": len(waiting),
            "lost": self.lost,
            "failed": self.failed,
            "p50_us": micros(quantile(took, 0.5)),
            "p99_us": micros(quantile(took, 0.99)),
            "max_us": micros(quantile(took, 1)),
            "late_p99_us": micros(quantile(late, 0.99)),
            "late_max_us": micros(quantile(late, 1)),
        }


def quantile(values, part):
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0


def micros(seconds):
    return round(seconds * 1e6)


class Connection:
    """One socket, or the wait for the next."""

    def __init__(self):
        self.socket = None
        self.is_open = False
        self.again_at = 0
        # When each beat that has no answer yet was due.
        self.due = collections.deque()
        self.rest = b""


class Witness:
    def __init__(self, options):
        self.options = options
        self.epoll = select.epoll()
        self.connections = [Connection() for _ in range(options.connections)]
        self.by_fd = {}
        self.is_on = False
        self.beats = Beats()
        self.epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        os.set_blocking(sys.stdin.fileno(), False)
        self.commands = b""
        # The number of the next beat; that of connection i is due at i/n of each period.
        self.began, self.next = time.monotonic(), 0

    def run(self):
        while True:
            now = time.monotonic()
            self.send_due(now)
            # epoll's own timeout is in milliseconds; that of select is finer.
            wait = max(0, self.due(self.next) - time.monotonic())
            select.select([self.epoll.fileno()], [], [], wait)
            for fd, events in self.epoll.poll(0):
                if fd == sys.stdin.fileno():
                    if not self.obey():
                        return
                elif fd in self.by_fd:
                    self.look(self.by_fd[fd], events)

    def due(self, number):
        return self.began + self.options.period * number / len(self.connections)

    def send_due(self, now):
        """Sends what is due; a connection that is not open then owes nothing."""
        while self.due(self.next) <= now:
            due, connection = self.due(self.next), self.connections[self.next % len(self.connections)]
            self.next += 1
            if connection.is_open:
                self.send(connection, due)
            elif self.is_on and connection.socket is None and connection.again_at <= now:
                self.open(connection)

    def send(self, connection, due):
        try:
            connection.socket.send(PING)
        except BlockingIOError:
            # So many wait that the queue is full: it counts as sent, and is never answered.
            pass
        except OSError:
            return self.lose(connection)
        connection.due.append(due)
        self.beats.late.append(time.monotonic() - due)

    def open(self, connection):
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Closed by a reset: no TIME-WAIT, and nothing that is sent again.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.socket = made
        self.by_fd[made.fileno()] = connection
        made.connect_ex((self.options.address, self.options.port))
        self.epoll.register(made.fileno(), select.EPOLLOUT)

    def look(self, connection, events):
        if not connection.is_open:
            if connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.beats.failed += 1
                return self.close(connection)
            connection.is_open = True
            self.epoll.modify(connection.socket.fileno(), select.EPOLLIN)
            return
        try:
            connection.rest += connection.socket.recv(4096) or b"closed"
        except OSError:
            return self.lose(connection)
        now = time.monotonic()
        while connection.due and connection.rest.startswith(PONG):
            connection.rest = connection.rest[len(PONG):]
            self.beats.took.append(now - connection.due.popleft())
        if not PONG.startswith(connection.rest):
            self.lose(connection)

    def lose(self, connection):
        self.beats.lost += 1
        self.close(connection)

    def close(self, connection):
        self.epoll.unregister(connection.socket.fileno())
        del self.by_fd[connection.socket.fileno()]
        connection.socket.close()
        connection.__init__()
        connection.again_at = time.monotonic() + AGAIN_S

    def obey(self):
        """Carries out what stdin says; false at its end."""
        said = sys.stdin.buffer.raw.read(4096)
        *words, self.commands = (self.commands + (said or b"")).split(b"\n")
        for word in words:
            if word == b"open":
                self.is_on = True
                for connection in self.connections:
                    if connection.socket is None:
                        self.open(connection)
            elif word == b"mark":
                now = time.monotonic()
                waiting = [now - due for each in self.connections for due in each.due]
                summary = self.beats.summary(waiting)
                summary["open"] = sum(each.is_open for each in self.connections)
                print(json.dumps(summary), flush=True)
                self.beats = Beats()
            elif word == b"drop":
                self.is_on = False
                for connection in self.connections:
                    if connection.socket:
                        self.close(connection)
        return said != b""


def main():
    parser = argparse.ArgumentParser(description="Says how soon a server answers.")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--period", type=float, default=1)
    options = parser.parse_args()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except OSError:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    Witness(options).run()


main()
