#!/usr/bin/env python3
"""Runs `tenmil demo` several times; prints a row for each run, then the medians.

    scripts/measure.py [CONNECTIONS [RUNS]]     (default 100000 and 5; as root, for veth)

Columns:
  connects/s  connections established a second, from the first SYN on
  ns/frame    CPU time of the server's process (user and system), over the whole run, for each frame
              that it received or sent
  frames      frames that the server received and sent
  bytes/conn  growth of the server's resident memory for each connection
  p50, p99    heartbeat latency in microseconds, from when it was due to its answer

On veth the receiver's softirq work is done inside the sender's system call: the server's CPU time
includes what the clients' side of the kernel does with the frames that it sends, and the reverse.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TENMIL = os.path.join(ROOT, "target", "release", "tenmil")
NAMES = ("connects/s", "ns/frame", "frames", "bytes/conn", "p50 us", "p99 us")


def run(connections):
    with tempfile.NamedTemporaryFile() as file:
        command = [TENMIL, "demo", "--link", "veth", "--connections", str(connections)]
        demo = subprocess.run(command + ["--json", file.name], stdout=subprocess.DEVNULL)
        if demo.returncode != 0:
            sys.exit("the demo failed")
        summary = json.load(open(file.name))
    frames = summary["frames"]["rx"] + summary["frames"]["tx"]
    latency = summary["latency_us"]
    return (
        summary["connect"]["per_second"],
        summary["cpu"]["server_ns_per_frame"],
        frames,
        summary["memory"]["server_bytes_per_connection"],
        latency["p50"],
        latency["p99"],
    )


def show(row):
    print("%12.0f %10.0f %10.0f %11.1f %8.0f %8.0f" % tuple(row), flush=True)


def main():
    connections = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    print("%12s %10s %10s %11s %8s %8s" % NAMES)
    rows = []
    for _ in range(runs):
        rows.append(run(connections))
        show(rows[-1])
    print(f"medians of {runs} runs with {connections} connections:")
    show(map(statistics.median, zip(*rows)))


main()
