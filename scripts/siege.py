"""Attacks a turnchat server while an honest peer talks to it.

    siege.py [--seconds N] [ATTACK]...

ATTACK is one of those below; without one, all are made: each from this machine's loopback or from
networks of its own, each on a server of its own.

A case takes N seconds (30): a sixth of them calm, a third under attack, and both once more. All the
while Bob connects, talks three turns, is cut and goes on, says a fourth, quits, and begins anew. So
the calm and the attacked attempts are of the same run. Wanted are, for each case:

- every attempt succeeds;
- an attacked one takes at most 5 times as long as the calm ones, as medians, and none takes more
  than 15 times as long;
- the server's memory stays within what its limits allow: see `bound`;
- after each storm its descriptors and threads are as few as before, but for four records that the
  journal keeps open. Its memory is as it was, but for what the limits say is remembered, and for
  12 MiB that the allocator may keep; a second storm adds at most 2 MiB to that;
- it ends with exit code 0.

The result is a table in Markdown; the exit code is 1 if anything was missed. Run it through
`scripts/siege`, which gives it what it needs. For example: scripts/siege --seconds 12 stalled
"""

import argparse
import asyncio
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from siege_attacks import (
    ADMITTED, STRANGERS, Attackers, drip, endless, half, parks, silent, stalled, trickle, unknown,
    withheld)
from siege_honest import TURNCHAT, Client, Failure, Line, Server

MEDIAN, WORST = 5, 15
RECORDS = 4  # files that a journal keeps open
KEPT, MORE = 12_288, 2_048  # KiB that the allocator may keep of a storm, and of a second one
SERVER = "alice"  # its network namespace

# The limits of docs/PROTOCOL.md, 2.4, 2.6 and 5.4, in KiB.
STRANGERS_AT_ONCE, QUEUE, REMEMBERED = 128, 16, 1_000
TEXT, LINE, EARLY_LINE = 64, 512, 4
HANDSHAKE, RECORD, STATE = 64, 16, 32  # the most that rustls takes of each; our values


class Origin:
    """Where attackers and Bob come from."""

    def __init__(self, name, bob, attackers, server):
        self.name, self.bob, self.attackers, self.server = name, bob, attackers, server


def v4(name, bob, count):
    attackers = [f"10.99.100.{n}" for n in range(count)]
    return Origin(name, f"10.99.{bob}.1", attackers, "10.98.0.1")


def v6(name, bob):
    attackers = [f"2001:db8:0:{0x1000 + n:x}::1" for n in range(256)]
    return Origin(name, f"2001:db8:0:{bob}::1", attackers, "2001:db8:1::1")


LOOPBACK = Origin("loopback, as Bob", "127.0.0.1", ["127.0.0.1"], "127.0.0.1")
ONE = v4("1 address", 1, 1)
SOME = v4("128 addresses", 1, 128)
V4_ABOVE = v4("256 addresses above Bob's", 1, 256)
V4_BELOW = v4("256 addresses below Bob's", 255, 256)
V6_ABOVE = v6("256 IPv6 /64s above Bob's", 1)
V6_BELOW = v6("256 IPv6 /64s below Bob's", "f000")
EVERYWHERE = [LOOPBACK, ONE, SOME, V4_ABOVE, V4_BELOW, V6_ABOVE, V6_BELOW]
BOTH = [LOOPBACK, V4_BELOW]

FEW = 48  # descriptors of a server that has few
CASES = [
    *((silent, origin, "json", None) for origin in EVERYWHERE),
    *((half, origin, "json", None) for origin in BOTH),
    *((endless, origin, "json", None) for origin in BOTH),
    *((stalled, origin, "json", None) for origin in EVERYWHERE),
    *((trickle, origin, "json", None) for origin in BOTH),
    *((drip, origin, "json", None) for origin in BOTH),
    *((withheld, origin, "json", None) for origin in BOTH),
    *((unknown, origin, kind, None) for kind in ("json", "terminal") for origin in BOTH),
    *((attack, ONE, "exec", None) for attack in ADMITTED),
    (silent, LOOPBACK, "json", FEW),
    (stalled, LOOPBACK, "json", FEW),
]


def bound(attack, kind):
    """How much memory the limits allow beyond that of a calm server, in KiB.

    A connection that is not admitted, or is in the queue, holds what rustls keeps of a handshake,
    a record, what was read of it, and a line. One more may be on its way in and one on its way
    out. A conversation holds a long line in place of a short one, what was read and decoded of it,
    and a message each way, one of them also as it is sent. What is parked holds a message each
    way, and what has ended a name.
    """
    connection = HANDSHAKE + 2 * RECORD + EARLY_LINE + STATE
    conversation = connection + 2 * LINE + 4 * TEXT
    admitted = 64 // 4 if kind == "exec" else 0  # a quarter of the places is one key's share
    kept = connection * (STRANGERS_AT_ONCE + 2 + QUEUE) + conversation * (admitted + 1)
    return kept + remembered(attack) + KEPT


def remembered(attack):
    """What of it stays afterwards."""
    parked = REMEMBERED // 4 * 2 * TEXT if attack is parks else 0  # one key's share
    return parked + REMEMBERED * 2 if attack in ADMITTED else 0


def run(*command, given=None):
    return subprocess.run(
        command, check=True, text=True, input=given, stdout=subprocess.PIPE).stdout.strip()


def make_networks():
    """Alice's network and that of all others, with a line between them."""
    run("ip", "link", "set", "lo", "up")
    run("mount", "-t", "tmpfs", "siege", "/run")
    run("ip", "netns", "add", SERVER)
    run("ip", "link", "add", "to-alice", "type", "veth", "peer", "name", "to-all", "netns", SERVER)
    distant = [origin for origin in EVERYWHERE if origin is not LOOPBACK]
    addresses = {a for origin in distant for a in (origin.bob, *origin.attackers)}
    here = ["addr add 10.98.0.2/30 dev to-alice", "addr add 2001:db8:1::2/64 dev to-alice nodad",
            "link set to-alice up"]
    here += [f"addr add {address} dev lo" + " nodad" * (":" in address) for address in addresses]
    there = ["link set lo up", "addr add 10.98.0.1/30 dev to-all",
             "addr add 2001:db8:1::1/64 dev to-all nodad", "link set to-all up",
             "route add 10.99.0.0/16 via 10.98.0.2", "route add 2001:db8::/48 via 2001:db8:1::2"]
    run("ip", "-batch", "-", given="\n".join(here))
    run("ip", "netns", "exec", SERVER, "ip", "-batch", "-", given="\n".join(there))


def make_homes(directory):
    """Alice, who admits Bob and the last of the attackers; and Alice's key."""
    names = ["alice", "bob", *(f"stranger{n}" for n in range(8)), "mallory"]
    for name in names:
        run(TURNCHAT, "gen-cert", "--out", str(directory / name), "--quiet")
    for name in ("bob", "mallory"):
        run(TURNCHAT, "peers", "add", name, str(directory / name / "cert.pem"), "--quiet",
            "--home", str(directory / "alice"))
    key = run(TURNCHAT, "fingerprint", str(directory / "alice" / "cert.pem"))
    return key, [directory / name for name in names[2:]]


class Tally:
    """Bob's attempts: the times of those that succeeded, and why others did not."""

    def __init__(self):
        self.times, self.failures = [], []

    async def fill(self, client, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                # One that failed may have left a conversation.
                self.times.append(await client.attempt(begins_anew=bool(self.failures)))
            except Failure as failure:
                self.failures.append(failure)
                print(f"   failed: {failure}", file=sys.stderr)

    def count(self):
        return len(self.times) + len(self.failures)


async def rest(server, before):
    """What the server spends after a storm, once its descriptors and threads are as few as before;
    after 60 s in any case: a write that a peer does not take is given up after 30, a conversation
    is held for 5, and a thread that waits for the disk ends after 10."""
    for _ in range(240):
        now = server.spends()
        if is_back(before, now):
            break
        await asyncio.sleep(0.25)
    return now


def is_back(before, now):
    return (now.descriptors <= before.descriptors + RECORDS) and now.threads <= before.threads


async def case(attack, origin, kind, descriptors, seconds, directory, key, keys):
    """One row of the table, and what was missed."""
    namespace = None if origin is LOOPBACK else SERVER
    for journal in (directory / "alice" / "journal", directory / "bob" / "journal"):
        shutil.rmtree(journal, ignore_errors=True)
    server = Server(kind, origin.server, directory, namespace, descriptors)
    line = Line(origin.bob, server.target)
    calm, attacked = Tally(), Tally()
    attackers = Attackers(attack, server.target, origin.attackers, keys)
    rates, rests = [], []
    try:
        await server.start()
        await line.open()
        client = Client(directory, key, line)
        await Tally().fill(client, 1)  # caches and threads
        before = server.spends()
        for _ in range(2):
            await calm.fill(client, seconds / 6)
            attackers.on()
            await asyncio.sleep(1)  # so that it is in full force
            await attacked.fill(client, seconds / 3)
            rates.append(attackers.off())
            rests.append(await rest(server, before))
    finally:
        attackers.end()
        line.close()
        code = await server.stop()
    return row(attack, origin, kind, descriptors, calm, attacked, rates, before, rests, code)


def row(attack, origin, kind, descriptors, calm, attacked, rates, before, spent, code):
    missed = []
    for tally, when in ((calm, "calm"), (attacked, "under attack")):
        if tally.failures or not tally.times:
            missed.append(f"{len(tally.failures)} of {tally.count()} attempts failed, {when}")
    if calm.times and attacked.times:
        usual = statistics.median(whole for _, _, whole in calm.times)
        ratios = [whole / usual for _, _, whole in attacked.times]
        median, worst = statistics.median(ratios), max(ratios)
        if median > MEDIAN or worst > WORST:
            missed.append(f"{median:.1f} and at worst {worst:.1f} times as long")
        longer = f"{usual * 1_000:.0f} ms", f"{median:.2f}", f"{worst:.1f}"
    else:
        longer = "", "", ""
    first, last = spent
    grown, most = last.peak - before.memory, bound(attack, kind)
    if grown > most:
        missed.append(f"{grown} KiB of memory, of {most}")
    rests = is_back(before, first) and is_back(before, last)
    rests &= first.memory - before.memory <= KEPT + remembered(attack)
    rests &= last.memory - first.memory <= MORE + remembered(attack)
    if not rests:
        missed.append(f"it does not come to rest: {before}, then {first}, then {last}")
    if code != 0:
        missed.append(f"the server ended with {code}")
    users = {"json": "a program", "terminal": "a person", "exec": "many programs"}[kind]
    user = f"{users}, `ulimit -n {descriptors}`" if descriptors else users
    rate = f"{statistics.mean(rates):,.0f}"
    success = f"{len(attacked.times)} of {attacked.count()}"
    cells = [attack.__doc__, origin.name, user, rate, success, *longer,
             f"{grown / 1_024:.1f} of {most / 1_024:.0f} MiB", "yes" if rests else "no"]
    return cells, missed


def stop(*_):
    sys.exit("Stopped, or it takes too long.")


async def main():
    names = [attack.__name__ for attack in STRANGERS + ADMITTED]
    parser = argparse.ArgumentParser(usage=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    attacks = "\n".join(f"{a.__name__}: {a.__doc__}" for a in STRANGERS + ADMITTED)
    parser.add_argument("attack", nargs="*", choices=[*names, []], metavar="ATTACK", help=attacks)
    parser.add_argument("--seconds", type=int, default=30, metavar="N", help="for each case (30)")
    arguments = parser.parse_args()
    cases = [c for c in CASES if not arguments.attack or c[0].__name__ in arguments.attack]
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.alarm(len(cases) * (arguments.seconds + 180))
    make_networks()
    missed = []
    print("| attack | from | the server's user | a second | Bob succeeds | calm attempt | median ÷ calm"
          " | worst ÷ calm | memory | back |\n" + "|---" * 10 + "|", flush=True)
    with tempfile.TemporaryDirectory(prefix="siege-") as directory:
        directory = pathlib.Path(directory)
        key, keys = make_homes(directory)
        for attack, origin, kind, descriptors in cases:
            cells, faults = await case(
                attack, origin, kind, descriptors, arguments.seconds, directory, key, keys)
            print("|", " | ".join(cells), "|", flush=True)
            for fault in faults:
                print(f"   MISSED: {fault}", file=sys.stderr, flush=True)
            missed += [(attack.__name__, origin.name, fault) for fault in faults]
    print(f"\n{len(cases)} cases, of which {len({m[:2] for m in missed})} missed a goal.")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":  # and not in the attackers' process
    asyncio.run(main())
