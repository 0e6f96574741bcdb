#!/usr/bin/env python3
"""Measures `tenmil serve` with http against nginx, with wrk, over a veth pair, in turns.

    scripts/wrk.py [--runs N] [--seconds S] [--connections N] [--bytes N] [--busy-poll] [--like-tenmil]
                   [--nginx PATH] [--tenmil PATH]

As root, with wrk, ethtool and, to compare with, nginx (apt-get install wrk ethtool nginx-light). Both
serve the same file of so many bytes on kept connections, never at the same time: each run starts the
server, has wrk ask for so long, and stops it, and the two take turns. The server has one processor and
wrk another, where there are two. Prints requests a second for each run, then the medians and their
ratio.

nginx has one worker, no log, sendfile, and the offloads that a veth pair has by itself: checksums that
nobody computes, and segments of up to 64 KiB. tenmil has neither, since no hardware does it for a veth
pair; with --like-tenmil nginx goes without them too. --busy-poll is that of `tenmil serve`. Unless a
program is named with --tenmil, the release is built.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TENMIL = os.path.join(ROOT, "target", "release", "tenmil")
SUFFIX = "wrk-%d" % os.getpid()
SERVER, CLIENT = "tenmil-server-" + SUFFIX, "tenmil-client-" + SUFFIX
INTERFACES = ((SERVER, "tm-server0"), (CLIENT, "tm-client0"))
OFFLOADS = ("tx", "tso", "gso", "gro")
# The one that tenmil owns, and the kernel's that nginx listens on.
OWNED, KERNELS, PORT = "10.77.0.1", "10.77.0.3", 8080

NGINX_CONF = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {address}:{port} backlog=4096;
        root {directory}/www;
        location /healthz {{ return 200; }}
    }}
}}
"""


def within(namespace, *command, **options):
    return subprocess.run(["ip", "netns", "exec", namespace, *command], check=True, **options)


def on(processor):
    """What has a command run on this processor, where there are two."""
    return ["taskset", "-c", str(processor)] if os.cpu_count() > 1 else []


def set_offloads(state):
    for namespace, interface in INTERFACES:
        words = [word for offload in OFFLOADS for word in (offload, state)]
        within(namespace, "ethtool", "-K", interface, *words, stdout=subprocess.DEVNULL)


class Server:
    """A server in its namespace, until the end of the block."""

    def __init__(self, command, address, log, length):
        self.command, self.address, self.log, self.length = command, address, log, length

    def __enter__(self):
        command = ["ip", "netns", "exec", SERVER, *on(0), *self.command]
        output = open(self.log, "wb")
        self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        url = "http://%s:%d/index.html" % (self.address, PORT)
        for _ in range(100):
            answer = subprocess.run(
                ["ip", "netns", "exec", CLIENT, "curl", "-sf", "-m", "2", url],
                stdout=subprocess.PIPE,
            )
            if answer.returncode == 0 and len(answer.stdout) == self.length:
                return url
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.__exit__()
        sys.exit("%s does not answer: %s" % (self.command[0], open(self.log).read().strip()))

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)


def ask(url, options):
    """Requests a second."""
    command = [*on(1), "wrk", "-t1", "-c%d" % options.connections, "-d%ds" % options.seconds, url]
    said = within(CLIENT, *command, stdout=subprocess.PIPE, text=True).stdout
    wrong = re.search(r"(Socket errors|Non-2xx).*", said)
    if wrong:
        sys.exit("wrk: " + wrong.group())
    return float(re.search(r"Requests/sec:\s*([\d.]+)", said).group(1))


def measure(options, directory):
    os.mkdir(os.path.join(directory, "www"))
    with open(os.path.join(directory, "www", "index.html"), "wb") as file:
        file.write(b"x" * options.bytes)
    # Whoever nginx's worker runs as reads it too.
    os.chmod(directory, 0o755)
    settings = "root=%s/www&requests=0" % directory
    listen = "http://%s:%d?%s" % (OWNED, PORT, settings)
    tenmil = [options.tenmil or TENMIL, "serve", "--interface", "tm-server0", "--address", OWNED + "/16"]
    tenmil += ["--listen", listen] + ["--busy-poll"] * options.busy_poll
    conf = os.path.join(directory, "nginx.conf")
    with open(conf, "w") as file:
        connections = options.connections + 64
        file.write(
            NGINX_CONF.format(
                directory=directory, connections=connections, address=KERNELS, port=PORT
            )
        )
    within(SERVER, "ip", "address", "add", KERNELS + "/16", "dev", "tm-server0")
    servers = {"tenmil": (tenmil, OWNED, "off")}
    if options.nginx:
        state = "off" if options.like_tenmil else "on"
        nginx = [options.nginx, "-c", conf, "-e", os.path.join(directory, "error.log")]
        servers["nginx"] = (nginx, KERNELS, state)
    print("requests/s " + " ".join("%10s" % name for name in servers), flush=True)
    rows = []
    for number in range(options.runs):
        row = []
        for name, (command, address, offloads) in servers.items():
            set_offloads(offloads)
            log = os.path.join(directory, name + ".log")
            with Server(command, address, log, options.bytes) as url:
                row.append(ask(url, options))
        rows.append(row)
        print("%10d " % (number + 1) + " ".join("%10.0f" % rate for rate in row), flush=True)
    medians = [statistics.median(column) for column in zip(*rows)]
    print("   medians " + " ".join("%10.0f" % rate for rate in medians))
    if len(medians) == 2:
        print("tenmil answers %.2f times as many as nginx" % (medians[0] / medians[1]))


def main():
    parser = argparse.ArgumentParser(description="tenmil's http against nginx, with wrk.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--busy-poll", action="store_true")
    parser.add_argument("--like-tenmil", action="store_true")
    parser.add_argument("--nginx", default=shutil.which("nginx"))
    parser.add_argument("--tenmil")
    options = parser.parse_args()
    for tool, package in (("wrk", "wrk"), ("ethtool", "ethtool"), ("curl", "curl")):
        if not shutil.which(tool):
            sys.exit("%s is missing: apt-get install %s" % (tool, package))
    if not options.nginx:
        print("nginx is missing, so there is nothing to compare with: apt-get install nginx-light")
    if not options.tenmil:
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    scripts = os.path.join(ROOT, "scripts")
    up = [os.path.join(scripts, "veth-up.sh"), "--suffix", SUFFIX]
    subprocess.run(up + ["--busy-poll"] * options.busy_poll, check=True)
    try:
        with tempfile.TemporaryDirectory() as directory:
            measure(options, directory)
    finally:
        subprocess.run([os.path.join(scripts, "veth-down.sh"), "--suffix", SUFFIX], check=True)


main()
