"""turnchat beside `socat`, `ncat --ssl` and `openssl`, over this machine's loopback.

    compare.py [--quick] [--rounds N] [--lines N] [TOOL]...

TOOL is turnchat, socat, ncat or openssl; without one, all are compared. A column is a tool with
flags of its server's that matter: no flags are the best ones for everything.

First come nine probes: what each tool does, measured. Then, unless it is `--quick`, come speed
and memory: rounds of starts, then rounds of N lines and replies. A round holds a conversation
with each, one after another, in any order.
Its ratios, turnchat's figure by the other's, are taken within the round; shown are the median
of all rounds (31), and the quartiles. Each client is driven through its pipes.

The result is Markdown on stdout. The exit code is 1 if turnchat does not pass a probe. Linux only:
/proc says who listens, and how much memory there was. Run it through `scripts/compare`, which
brings what it needs.
"""

import argparse
import contextlib
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from compare_probes import PROBES, Scene
from compare_tools import PATIENCE, TOOLS, Failure, Turnchat, forget, make_keys

GREETER = ["/bin/cat", "greeting", "-"]  # says what is in the file, then what it hears
START = "Start of a client to the server's first line"
LINE = "Line and reply"
MEMORY = "Peak of a client's resident memory (`VmHWM`)"


def row(*cells):
    print("|", " | ".join(cells), "|", flush=True)


def heading(first, names):
    row(first, *names)
    print("|---" * (len(names) + 1) + "|")


def probe(tools, directory):
    """The table of the probes, and whether turnchat passes all."""
    heading("", [tool.name for tool in tools])
    passed = dict.fromkeys(tools, 0)
    for one in PROBES:
        cells = []
        for tool in tools:
            try:
                with Scene(tool, directory) as scene:
                    verdict = one(scene)
            except (Failure, OSError) as why:
                print(f"{tool.name}, {one.__name__}: {why}", file=sys.stderr)
                cells.append("not measured")
                continue
            passed[tool] += verdict
            cells.append("yes" if verdict else "no")
        row(one.__doc__, *cells)
    row(f"of {len(PROBES)}", *(str(passed[tool]) for tool in tools))
    return all(passed[tool] == len(PROBES) for tool in tools if isinstance(tool, Turnchat))


def conversation(scene, lines):
    """The figures of one: seconds, seconds and KiB."""
    heard, own = scene.tool.heard, scene.tool.own
    begun = time.perf_counter()
    client = scene.client()
    client.expect(heard + b"Hello.\n")
    started = time.perf_counter()
    for number in range(lines):
        line = b"This is line %d of a conversation.\n" % number
        client.say(line[:-1])
        client.expect((own + line if own else b"") + heard + line)
    replied = time.perf_counter()
    memory = client.memory()
    client.kill()
    scene.started.remove(client)
    return {START: started - begun, LINE: replied - started, MEMORY: memory}


def rounds_of(lines, contenders, rounds, directory):
    """What each contender's conversations of so many lines take, round by round."""
    found = {tool: [] for tool in contenders}
    with contextlib.ExitStack() as stack:
        lasting = {tool: stack.enter_context(Scene(tool, directory, GREETER))
                   for tool in contenders if tool.takes_another}
        for number in range(rounds + 1):
            # Not in turn: who came before has left the caches as they are.
            for tool in random.sample(contenders, len(contenders)):
                signal.alarm(60)  # which ends it all
                if tool in lasting:
                    figures = conversation(lasting[tool], lines)
                else:
                    with Scene(tool, directory, GREETER) as scene:
                        figures = conversation(scene, lines)
                if number:  # the first round is to fill the caches
                    found[tool].append(figures)
        signal.alarm(0)
    return found


def measure(tools, rounds, lines, directory):
    """The table of the ratios. The first tool is turnchat."""
    (directory / "greeting").write_text("Hello.\n")
    ours, *others = tools
    others.append(Turnchat())
    others[-1].name = "itself, again"
    heading("turnchat ÷", [tool.name for tool in others])
    # Apart: a server that waits while others talk for long finds other caches than a new one.
    for of, measures in (1, [START]), (lines, [LINE, MEMORY]):
        found = rounds_of(of, [ours, *others], rounds, directory)
        for what in measures:
            cells = []
            for other in others:
                pairs = zip(found[ours], found[other])
                ratios = [mine[what] / its[what] for mine, its in pairs]
                low, middle, high = statistics.quantiles(ratios, n=4)
                cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f})")
            row(what, *cells)


def describe(names, tools):
    """Versions and flags."""
    for name in names:
        asked = subprocess.run(TOOLS[name].version, capture_output=True, text=True, timeout=PATIENCE)
        said = asked.stdout + asked.stderr
        print("-", re.search(r"^.*\d\.\d.*$", said, re.MULTILINE)[0])
    print()
    for tool in tools:
        print(f"- {tool.name}:")
        for command in (tool.server("PORT"), tool.client("PORT")):
            print("  `" + " ".join([pathlib.Path(command[0]).name, *command[1:]]) + "`")
    print(flush=True)


def stop(*_):
    sys.exit("It takes too long, or was stopped.")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("names", nargs="*", choices=[*TOOLS, []])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=31)
    # Before some thousands the system has not found a place for each program.
    parser.add_argument("--lines", type=int, default=10_000)
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    names = arguments.names or list(TOOLS)
    tools = [TOOLS[name](flags) for name in names for flags in TOOLS[name].columns]
    with tempfile.TemporaryDirectory(prefix="compare-") as directory:
        directory = pathlib.Path(directory)
        make_keys(names, directory)
        forget(names)
        describe(names, tools)
        passed = probe(tools, directory)
        if not arguments.quick and isinstance(tools[0], Turnchat):
            print()
            measure(tools, arguments.rounds, arguments.lines, directory)
    sys.exit(0 if passed else 1)


main()
