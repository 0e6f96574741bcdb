#!/usr/bin/env python3
"""Has one MQTT message go to very many subscribers over a veth pair, and prints what it took.

    scripts/fanout.py [--bytes BYTES] [--qos 0|1] [--heartbeat TIME] [--runs N] [--witnesses N]
        [--tenmil PROGRAM] [--json FILE] [CONNECTIONS...]

As root, with mosquitto_pub. Each run serves mqtt and line at one end; from the other `tenmil load --subscribe`
holds the subscribers, which send a PINGREQ every 60 s, and `mosquitto_pub` publishes 200 bytes once, with QoS 1,
to 1,000,000 subscribers, unless told otherwise. What it says of time is right to some hundredths of a second,
which programs take to start. Columns of the table, which is Markdown:
  received   messages that subscribers got, and of these
  other      that differ from the first one by a byte or more
  pub s      from the start of mosquitto_pub until it had its PUBACK
  last s     from its start until the last subscriber had the message
  /second    subscribers a second, from the first that had it to the last
  peak MB    growth of the server's resident memory while it went out, at most
  kept MB    the same two seconds after
  dropped    frames that the server dropped
  p50, p99   latency of the subscribers' heartbeats answered meanwhile, in microseconds, from when they were due
  w p50, w p99, w max  the same of the witness's, sockets of the kernel's that send a line once a second
  w late     how late the witness sent them itself, p99
  calm p99   the witness's p99 before
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time

from stage import SOURCE, Network, Server, Witness, count, finish, hold_on, measure

TOPIC = "all/of/them"
COLUMNS = (
    "clients", "received", "other", "pub s", "last s", "/second", "peak MB", "kept MB", "dropped", "p50 us",
    "p99 us", "w p50", "w p99", "w max", "w late", "calm p99",
)


def resident_kb(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


def load(network, connections, options, file):
    words = [options.tenmil, "load", "--interface", "tm-client0", "--source", SOURCE]
    words += ["--target", "mqtt://10.77.0.1:1883", "--subscribe", TOPIC, "--hold", "1h"]
    words += ["--connections", str(connections), "--heartbeat", options.heartbeat, "--json", file]
    return subprocess.Popen(
        network.command("client", words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def publish(network, server, connections, options):
    """Publishes, and waits until all have it; when that began, how long the PUBACK took, and memory."""
    words = ["mosquitto_pub", "-h", "10.77.0.1", "-t", TOPIC, "-q", str(options.qos)]
    words += ["-m", "".join(chr(97 + at % 26) for at in range(options.bytes))]
    before = peak = resident_kb(server.process)
    began, acknowledged = time.monotonic(), None
    publisher = subprocess.Popen(network.command("client", words))
    while time.monotonic() - began < 120:
        server.read(0.01)
        peak = max(peak, resident_kb(server.process))
        if acknowledged is None and publisher.poll() is not None:
            acknowledged = time.monotonic() - began
        if count(server.status, b"mqtt_delivered") >= connections:
            break
    if publisher.poll() != 0:
        publisher.kill()
        sys.exit("mosquitto_pub came to nothing")
    return began, acknowledged, before, peak


def run(connections, options):
    """One message: its row, and all that is known of it."""
    words = ["--listen", "mqtt://10.77.0.1:1883", "line://10.77.0.1:7000"]
    server = child = witness = None
    with Network("fanout") as network, tempfile.NamedTemporaryFile() as file:
        try:
            server = Server(network, connections, options, words)
            server.read(5)
            witness = Witness(network, options)
            started = time.monotonic()
            child = load(network, connections, options, file.name)
            if server.wait(connections, 600, child) is None:
                sys.exit(f"{server.established} of {connections} connected in time")
            witness.say("open")
            hold_on(server, 2, child)
            witness.mark()
            hold_on(server, 5, child)
            calm = witness.mark()
            began, acknowledged, before, peak = publish(network, server, connections, options)
            meanwhile = witness.mark()
            hold_on(server, 2, child)
            after = resident_kb(server.process)
            dropped = re.search(rb"(\d+) dropped", server.status)
            summary = finish(child, file.name, 120)
        finally:
            for process in (child, server and server.process, witness and witness.process):
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
    pushes = summary.get("pushes") or sys.exit("nobody had the message")
    rate = pushes["received"] / pushes["seconds"] if pushes["seconds"] else 0
    row = (
        connections,
        pushes["received"],
        pushes["different"],
        f"{acknowledged:.2f}",
        f"{started + pushes['until_seconds'] - began:.2f}",
        round(rate),
        f"{(peak - before) / 1024:.1f}",
        f"{(after - before) / 1024:.1f}",
        int(dropped.group(1)),
        pushes["latency_us"]["p50"],
        pushes["latency_us"]["p99"],
        meanwhile["p50_us"],
        meanwhile["p99_us"],
        meanwhile["max_us"],
        meanwhile["late_p99_us"],
        calm["p99_us"],
    )
    whole = pushes["received"] == connections and pushes["different"] == 0 and meanwhile["lost"] == 0
    whole &= summary["connections"]["established"] == connections and summary["heartbeats"]["wrong"] == 0
    known = {"load": summary, "witness": meanwhile, "witness_before": calm}
    return whole, row, known | {"status": server.status.decode()}


def main():
    parser = argparse.ArgumentParser(description="Has one MQTT message go to very many subscribers.")
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--qos", type=int, default=1, choices=(0, 1))
    parser.add_argument("--heartbeat", default="60s")
    measure(parser, COLUMNS, run)


main()
