#!/usr/bin/env python3
"""Makes a table and a plot out of the summaries of several `tenmil demo` runs.

    scripts/ladder.py SUMMARIES INTO HOLD HEARTBEAT

SUMMARIES is a directory of JSON summaries, one for each number of connections. The table goes into
INTO/benchmarks.md, between the two markers (at its end, where there are none yet), the plot to
INTO/img/ladder.svg. scripts/ten-million.sh calls this.
"""

import json
import math
import os
import platform
import subprocess
import sys

BEGIN, END = "<!-- ladder: written by scripts/ten-million.sh -->", "<!-- end of ladder -->"

# What an idle established socket of the kernel takes: docs/benchmarks.md, "Whole system over veth".
KERNEL_BYTES = 4_900

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def load(directory):
    """The summaries, by number of connections."""
    runs = []
    for name in os.listdir(directory):
        with open(os.path.join(directory, name)) as file:
            summary = file.read()
        # A run that did not come to its end leaves none.
        if summary:
            runs.append(json.loads(summary))
    if not any(run["connections"]["established"] for run in runs):
        sys.exit("ladder: no run has come to its end")
    return sorted(runs, key=lambda run: run["connections"]["requested"])


def memory(run):
    return run["memory"]["server_rss_bytes"]


def megabytes(count):
    return f"{count / 1e6:,.0f} MB"


def ms(us):
    return f"{us / 1000:.2f} ms" if us < 100_000 else f"{us / 1000:,.0f} ms"


def cores(run):
    """How much of a core the server took while connections were held."""
    hold = run["hold"]
    return f"{100 * hold['server_cpu_seconds'] / hold['seconds']:.0f} %"


ROWS = (
    ("established", lambda run: f"{run['connections']['established']:,}"),
    ("failed, closed early", lambda run: f"{run['connections']['failed']:,}, {sum(run['closed'].values()):,}"),
    ("set-up", lambda run: f"{run['connect']['seconds']:.1f} s"),
    ("connections a second", lambda run: f"{run['connect']['per_second']:,.0f}"),
    ("server's memory a connection", lambda run: f"{run['memory']['server_bytes_per_connection']:.1f} B"),
    ("clients' memory a connection", lambda run: f"{run['memory']['client_bytes_per_connection']:.1f} B"),
    ("server's resident memory, all in", lambda run: megabytes(memory(run))),
    ("kernel sockets would take", lambda run: megabytes(KERNEL_BYTES * run["connections"]["established"])),
    ("heartbeats answered", lambda run: f"{run['heartbeats']['answered']:,}"),
    ("of", lambda run: f"{run['heartbeats']['sent'] + run['heartbeats']['skipped']:,}"),
    ("wrong", lambda run: f"{run['heartbeats']['wrong']:,}"),
    ("sent over 100 ms late", lambda run: f"{run['heartbeats']['late']:,}"),
    ("heartbeat latency, median", lambda run: ms(run["latency_us"]["p50"])),
    ("heartbeat latency, p99", lambda run: ms(run["latency_us"]["p99"])),
    ("heartbeat latency, p99.9", lambda run: ms(run["latency_us"]["p999"])),
    ("held for", lambda run: f"{run['hold']['seconds']:.1f} s"),
    ("server's CPU meanwhile, of a core", cores),
    ("server's CPU a frame, whole run", lambda run: f"{run['cpu']['server_ns_per_frame']:,.0f} ns"),
    ("frames dropped at the server", lambda run: f"{sum(run['frames']['dropped'].values()):,}"),
)


def table(runs):
    heads = [f"{run['connections']['requested']:,}" for run in runs]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(runs)]
    for name, value in ROWS:
        lines.append(f"| {name} | " + " | ".join(value(run) for run in runs) + " |")
    return "\n".join(lines)


def section(runs, command):
    git = ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return f"""{BEGIN}
`{command}`, commit `{commit}`, Linux {platform.release().split("-")[0]}. Server and clients are two processes, both
`tenmil`, joined by a veth pair. Memory a connection is the growth of a process's resident memory from
before the first connection until all are established; a kernel socket takes {KERNEL_BYTES / 1000} KB.

![memory and bytes a connection against the number of connections](img/ladder.svg)

{table(runs)}
{END}"""


def write_section(path, text):
    """Puts the section between its markers, or at the end."""
    old = ""
    if os.path.exists(path):
        with open(path) as file:
            old = file.read()
    if BEGIN in old and END in old:
        before, after = old.split(BEGIN)[0], old.split(END)[1]
    else:
        before, after = old + "\n## Ten million connections\n\n", "\n"
    with open(path, "w") as file:
        file.write(before + text + after)


# The plot: two panels over one logarithmic axis of connections.
WIDTH, LEFT, RIGHT = 720, 78, 150
PANELS = ((36, 200), (304, 200))
INK, MUTED, GRID = "#1f2328", "#59636e", "#d8dee4"
OURS, KERNEL = "#0969da", "#bc4c00"


def decades(low, high):
    """The powers of ten around two numbers."""
    return math.floor(math.log10(low)), math.ceil(math.log10(high))


class Panel:
    """One panel: a logarithmic axis of values, over one of connections."""

    def __init__(self, top, height, title, xs, ys, unit):
        self.top, self.height, self.unit = top, height, unit
        self.x_range, self.y_range = decades(min(xs) * 0.99, max(xs)), decades(min(ys), max(ys))
        self.parts = [text(LEFT, top - 14, title, INK, 14, weight="600")]
        for power in range(self.y_range[0], self.y_range[1] + 1):
            y = self.y(10**power)
            self.parts.append(line(LEFT, y, WIDTH - RIGHT, y, GRID))
            self.parts.append(text(LEFT - 8, y + 4, unit(10**power), MUTED, 12, "end"))
        for power in range(self.x_range[0], self.x_range[1] + 1):
            x = self.x(10**power)
            self.parts.append(line(x, top, x, top + height, GRID))
            self.parts.append(text(x, top + height + 18, f"{10**power:,}", MUTED, 12, "middle"))

    def x(self, value):
        low, high = self.x_range
        return LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - RIGHT - LEFT)

    def y(self, value):
        low, high = self.y_range
        return self.top + (high - math.log10(value)) / (high - low) * self.height

    def curve(self, xs, ys, colour, name, dash="", dots=True):
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys))
        self.parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
        )
        for x, y in zip(xs, ys) if dots else ():
            self.parts.append(
                f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="4" fill="{colour}" '
                f'stroke="#ffffff" stroke-width="2"/>'
            )
        self.parts.append(text(self.x(xs[-1]) + 10, self.y(ys[-1]) + 4, name, colour, 12))


def text(x, y, words, colour, size, anchor="start", weight="400"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" '
        f'text-anchor="{anchor}" font-weight="{weight}">{words}</text>'
    )


def line(x1, y1, x2, y2, colour):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def size(count):
    """Bytes in few characters."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= limit:
            return f"{count / limit:g} {unit}"
    return f"{count:g} B"


def plot(runs):
    xs = [run["connections"]["established"] for run in runs]
    totals = [memory(run) for run in runs]
    each = [run["memory"]["server_bytes_per_connection"] for run in runs]
    ends = [10 ** power for power in decades(min(xs) * 0.99, max(xs))]
    kernel = [KERNEL_BYTES * x for x in ends]
    (top, height), (top_each, height_each) = PANELS
    whole = Panel(top, height, "Server's memory", xs, totals + kernel, size)
    whole.curve(ends, kernel, KERNEL, "kernel, 4.9 KB each", "6 4", dots=False)
    whole.curve(xs, totals, OURS, f"tenmil, {size(float(f'{totals[-1]:.3g}'))}")
    single = Panel(top_each, height_each, "Bytes a connection", xs, each + [10, KERNEL_BYTES], size)
    single.curve(ends, [KERNEL_BYTES] * 2, KERNEL, "kernel, 4.9 KB", "6 4", dots=False)
    single.curve(xs, each, OURS, f"tenmil, {each[-1]:.0f} B")
    bottom = top_each + height_each
    label = text((LEFT + WIDTH - RIGHT) / 2, bottom + 40, "established connections", MUTED, 12, "middle")
    body = "\n".join(whole.parts + single.parts + [label])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 56}" '
        f'width="{WIDTH}" font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    summaries, into, hold, heartbeat = sys.argv[1:]
    runs = load(summaries)
    steps = " ".join(str(run["connections"]["requested"]) for run in runs)
    command = f"scripts/ten-million.sh --hold {hold} --heartbeat {heartbeat} {steps}"
    os.makedirs(os.path.join(into, "img"), exist_ok=True)
    with open(os.path.join(into, "img", "ladder.svg"), "w") as file:
        file.write(plot(runs))
    write_section(os.path.join(into, "benchmarks.md"), section(runs, command))


main()
