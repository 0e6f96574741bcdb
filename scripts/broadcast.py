#!/usr/bin/env python3
"""Broadcasts to very many connections over a veth pair, and prints what it took.

    scripts/broadcast.py [--bytes BYTES] [--hold TIME] [--heartbeat TIME] [--runs N] [CONNECTIONS...]

As root. Each run is one `tenmil demo --link veth --broadcast BYTES` (200 bytes, 1,000,000 connections,
a heartbeat on each every 60 s, held for 30 s, three runs, unless told otherwise). Columns:
  seconds   from the first client that had the broadcast until the last one had it
  /second   clients a second
  server s  from the command until TCP had it for every connection
  grown KB  growth of the server's resident memory by it
  not sent  connections that it was not sent to
  p50, p99  latency of the heartbeats answered meanwhile, in microseconds, from when they were due
  all p99   the same of all heartbeats of the run
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TENMIL = os.path.join(ROOT, "target", "release", "tenmil")
NAMES = ("clients", "seconds", "/second", "server s", "grown KB", "not sent", "p50 us", "p99 us", "all p99")


def run(connections, options):
    with tempfile.NamedTemporaryFile() as file:
        command = [TENMIL, "demo", "--link", "veth", "--connections", str(connections)]
        command += ["--hold", options.hold, "--heartbeat", options.heartbeat]
        command += ["--broadcast", str(options.bytes), "--json", file.name]
        demo = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        text = open(file.name).read()
    if not text:
        sys.exit("the demo came to nothing")
    if demo.returncode != 0:
        print(demo.stdout)
    summary = json.loads(text)
    pushes = summary["pushes"]
    rate = pushes["received"] / pushes["seconds"] if pushes["seconds"] else 0
    return demo.returncode, (
        pushes["received"],
        round(pushes["seconds"], 2),
        round(rate),
        round(pushes["server_seconds"], 2),
        round((pushes["server_memory_bytes"] or 0) / 1024),
        pushes["not_sent"],
        pushes["latency_us"]["p50"],
        pushes["latency_us"]["p99"],
        summary["latency_us"]["p99"],
    )


def main():
    parser = argparse.ArgumentParser(description="Broadcasts to very many connections.")
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--hold", default="30s")
    parser.add_argument("--heartbeat", default="60s")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("connections", type=int, nargs="*", default=[1_000_000])
    options = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    print(" ".join("%9s" % name for name in NAMES))
    failed = 0
    for connections in options.connections:
        for _ in range(options.runs):
            code, row = run(connections, options)
            failed |= code
            print(" ".join("%9s" % value for value in row), flush=True)
    sys.exit(1 if failed else 0)


main()
