#!/usr/bin/env python3
"""Has very many clients come back at once, and prints what it took.

    scripts/storm.py [--accept-rate R] [--spread TIME] [--backoff-base TIME] [--backoff-cap TIME]
        [--misses N] [--heartbeat TIME] [--down SECONDS] [--patience SECONDS] [--runs N]
        [--witnesses N] [--tenmil PROGRAM] [--json FILE] [CONNECTIONS...]

TIME is written as 500ms, 10s or 2m. PROGRAM is a tenmil that is built; target/release/tenmil unless
given, which is built first.

As root. Each run makes a veth pair, serves lines at one end and holds the connections from the other
(`tenmil load --reconnect`), kills the server when each had a heartbeat, starts it again after some
seconds, and waits until all clients are back. With 1,000,000 connections unless told otherwise, a
heartbeat on each every 10 s, two misses before a client gives up, 50,000 accepted a second, first
retries spread over 20 s, and the server away for 5 s.

The clients' process may be late itself, so there is a witness (`scripts/witness.py`): 200 sockets of the
kernel's that beat once a second, each from when it is open, at a higher priority than all others. They are
opened again first thing when the server is back, by the same admission. Columns of the table, which is Markdown:
  back s      from the server's return until all clients were open again
  lost s      from the first loss until then
  tries/s     retries begun, in the second that had most, and in the mean of those that had any
  SYN/s       SYNs that came to the server, retransmissions included, in the second that had most
  limited     SYNs of these that were dropped, to come again
  retries     attempts until all were back, for each client
  beats       heartbeats answered on connections that were back while others were not
  p50, p99    their latency, in microseconds, from when they were due
  all p99     the same of all heartbeats of the run
  witness     beats of the witness that were answered from the server's return until all were back
  w p50, w p99, w max  their latency, in microseconds, from when they were due
  w late      how late the witness sent them itself, p99
  calm p99    the witness's p99 before the server was killed, with all clients connected
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time

from stage import SOURCE, Network, Server, Witness, finish, hold_on, measure

TARGET = "line://10.77.0.1:7000"
COLUMNS = (
    "clients", "back s", "lost s", "tries/s", "mean", "SYN/s", "limited", "retries", "beats", "p50 us",
    "p99 us", "all p99", "witness", "w p50", "w p99", "w max", "w late", "calm p99",
)


def seconds(text):
    """What `10s` or `500ms` says."""
    number, unit = re.fullmatch(r"([0-9.]+)(ms|s|m)", text).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def load(network, connections, options, file, more):
    words = [options.tenmil, "load", "--interface", "tm-client0", "--source", SOURCE]
    words += ["--target", TARGET, "--connections", str(connections), "--heartbeat", options.heartbeat]
    words += ["--json", file] + more
    return subprocess.Popen(
        network.command("client", words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def run(connections, options):
    """One storm: its row, and all that is known of it."""
    period = seconds(options.heartbeat)
    words = ["--listen", TARGET, "--accept-rate", str(options.accept_rate)]
    server = child = witness = None
    with Network("storm") as network, tempfile.NamedTemporaryFile() as file:
        try:
            server = Server(network, connections, options, words)
            server.read(5)
            witness = Witness(network, options)
            # They arrive at the pace that the server lets them in at.
            more = ["--reconnect", "--spread", options.spread, "--misses", str(options.misses)]
            more += ["--backoff-base", options.backoff_base, "--backoff-cap", options.backoff_cap]
            more += ["--hold", "1h", "--rate", str(max(1, options.accept_rate * 9 // 10))]
            child = load(network, connections, options, file.name, more)
            if server.wait(connections, options.patience, child) is None:
                sys.exit(f"storm: {server.established} of {connections} connected in time")
            witness.say("open")
            hold_on(server, 2, child)
            witness.mark()
            hold_on(server, 2 * period, child)
            calm = witness.mark()
            server.kill()
            witness.say("drop")
            time.sleep(options.down)
            server = Server(network, connections, options, words)
            server.read(5)
            witness.mark()
            witness.say("open")
            back = server.wait(connections + options.witnesses, options.patience, child)
            storm = witness.mark()
            # Those that are open have a heartbeat, and the clients see that all are.
            hold_on(server, period + 2, child)
            syns, limited = server.syns(), server.limited[-1]
            summary = finish(child, file.name, 120)
        finally:
            for process in (child, server and server.process, witness and witness.process):
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
    returns = summary["reconnects"]
    tries = [tries for tries in returns["retries_by_second"] if tries]
    latency = returns["latency_us"]
    row = (
        connections,
        "never" if back is None else f"{back:.1f}",
        f"{returns['outage_seconds_max']:.1f}",
        max(tries, default=0),
        round(sum(tries) / max(1, len(tries))),
        max(syns, default=0),
        limited,
        f"{returns['retries'] / connections:.2f}",
        returns["answered"],
        latency["p50"],
        latency["p99"],
        summary["latency_us"]["p99"],
        storm["beats"],
        storm["p50_us"],
        storm["p99_us"],
        storm["max_us"],
        storm["late_p99_us"],
        calm["p99_us"],
    )
    whole = summary["connections"]["established"] == connections and summary["heartbeats"]["wrong"] == 0
    whole &= storm["open"] == options.witnesses and storm["lost"] == 0
    known = {"back_seconds": back, "syns_by_second": syns, "accept_limited": limited, "load": summary}
    known |= {"witness": storm, "witness_before": calm}
    return whole and back is not None, row, known


def losses(known):
    """Why clients lost their connections, and did not get others."""
    lost, failed = (known["load"]["reconnects"][name] for name in ("lost_by", "failed_by"))
    return f"lost {lost}; not opened {failed}"


def main():
    parser = argparse.ArgumentParser(description="Has very many clients come back at once.")
    parser.add_argument("--accept-rate", type=int, default=50_000)
    parser.add_argument("--spread", default="20s")
    parser.add_argument("--backoff-base", default="1s")
    parser.add_argument("--backoff-cap", default="30s")
    parser.add_argument("--misses", type=int, default=2)
    parser.add_argument("--heartbeat", default="10s")
    parser.add_argument("--down", type=float, default=5)
    parser.add_argument("--patience", type=float, default=600)
    measure(parser, COLUMNS, run, losses)


main()
