"""What the measuring scripts share: the network, the witness, and the end of a load."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# More pairs of an address and a port than ten million clients with 16 ports each have.
SOURCE = "10.77.16.0/20"


class Network:
    """Two namespaces joined by a veth pair."""

    def __init__(self, name):
        self.suffix = f"{name}-{os.getpid()}"

    def __enter__(self):
        self.script("veth-up.sh")
        return self

    def __exit__(self, *_):
        self.script("veth-down.sh")

    def script(self, name):
        command = ["sh", os.path.join(ROOT, "scripts", name), "--suffix", self.suffix]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def command(self, side, words):
        return ["ip", "netns", "exec", f"tenmil-{side}-{self.suffix}"] + words


class Server:
    """`tenmil serve`, and what its status lines say."""

    def __init__(self, network, connections, options, words):
        words = ["--max-connections", str(connections + 1024)] + words
        words = ["--interface", "tm-server0", "--address", "10.77.0.1/16"] + words
        words = [options.tenmil, "serve"] + words
        # A process of its own, which a signal reaches and not `ip`, which executes it.
        self.process = subprocess.Popen(
            network.command("server", words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.began = time.monotonic()
        self.rest = b""
        self.established = 0
        # The last line.
        self.status = b""
        # Of each second: SYNs accepted, and SYNs dropped.
        self.accepted, self.limited = [0], [0]
        os.set_blocking(self.process.stdout.fileno(), False)

    def read(self, timeout):
        """Takes the status lines that come in this time."""
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return
        self.rest += self.process.stdout.read() or b""
        *lines, self.rest = self.rest.split(b"\n")
        for line in lines:
            found = re.search(rb"\((\d+) established", line)
            if found:
                self.status = line
                self.established = int(found.group(1))
                self.accepted.append(count(line, b"accepted"))
                self.limited.append(count(line, b"accept_limited"))

    def wait(self, connections, patience, child):
        """Waits until so many are established; returns how long after the start that was, or None."""
        while time.monotonic() - self.began < patience:
            self.read(0.2)
            if self.established >= connections:
                return time.monotonic() - self.began
            if self.process.poll() is not None or child is not None and child.poll() is not None:
                sys.exit("the server or its clients ended by themselves")
        return None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def syns(self):
        """SYNs that came, by the second."""
        totals = [accepted + limited for accepted, limited in zip(self.accepted, self.limited)]
        return [after - before for before, after in zip(totals, totals[1:])]


def count(line, name):
    found = re.search(rb"\b" + name + rb" (\d+)", line)
    return int(found.group(1)) if found else 0


class Witness:
    """`scripts/witness.py` in the clients' namespace."""

    def __init__(self, network, options):
        words = [sys.executable, os.path.join(ROOT, "scripts", "witness.py"), "10.77.0.1", "7000"]
        words += ["--connections", str(options.witnesses)]
        self.process = subprocess.Popen(
            network.command("client", words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def mark(self):
        self.say("mark")
        return json.loads(self.process.stdout.readline())


def hold_on(server, time_s, child):
    """Lets time pass while the server is listened to."""
    end = time.monotonic() + time_s
    while time.monotonic() < end:
        server.read(0.2)
        if child.poll() is not None:
            sys.exit("the clients ended by themselves")


def finish(child, file, patience):
    """Has the clients close, and returns their summary."""
    child.send_signal(signal.SIGINT)
    try:
        said, _ = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        child.kill()
        sys.exit("the clients do not end")
    with open(file) as json_file:
        text = json_file.read()
    if not text:
        sys.exit("the clients came to nothing:\n" + said)
    return json.loads(text)


def markdown(row):
    return "| " + " | ".join(f"{value:>9}" for value in row) + " |"


def begin(options):
    """Finds the program, or builds it, and has a signal leave nothing behind."""
    if not options.tenmil:
        options.tenmil = os.path.join(ROOT, "target", "release", "tenmil")
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    options.tenmil = os.path.abspath(options.tenmil)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


def measure(parser, columns, run, remark=lambda known: None):
    """Does what every such script does: reads its arguments, has `run` measure as often as they say, and prints a
    row for each run, with what `remark` has to say of it."""
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--witnesses", type=int, default=200)
    parser.add_argument("--tenmil")
    parser.add_argument("--json")
    parser.add_argument("connections", type=int, nargs="*", default=[1_000_000])
    options = parser.parse_args()
    begin(options)
    print(markdown(columns))
    print(markdown(["---:"] * len(columns)), flush=True)
    all_whole, runs = True, []
    for connections in options.connections:
        for _ in range(options.runs):
            whole, row, known = run(connections, options)
            all_whole &= whole
            runs.append(known)
            print(markdown(row), flush=True)
            if text := remark(known):
                print(f"<!-- {text} -->", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(runs, file)
    sys.exit(0 if all_whole else 1)
