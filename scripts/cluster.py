"""Three turnchat servers of one identity, behind a balancer, on an etcd of three machines, under
faults.

    cluster.py [--seed N] [--nodes N] [--clients N] [--turns N] [--think S] [--seconds S] [--calm]

Each client says its turns, with a pause of up to a second before each, 1 in 20 of 64 KiB, to a
program that answers each with what it cannot say twice. Every 5 to 10 seconds there is a fault: a
node, a store or the store's leader is killed or paused for 15 s; two machines do not reach each
other, in one direction or both; the balancer begins anew. It is mended some seconds later. After
`--seconds` nothing goes wrong any more. Wanted are:

- each message of a client is told to the programs as it was said, and each answer is on the
  client's side as the one program has said it whose answer counted: the transcripts are the same;
- within 30 s of the last mending every conversation has gone on, and each comes to its last turn;
- in no conversation is anything told twice, but for a message marked `again`.

The seed decides the faults and what is said, not how the machines are scheduled. The result is a
table in Markdown; the exit code is 1 if anything was missed. Run it through `scripts/cluster`.
"""

import argparse
import asyncio
import json
import pathlib
import random
import shutil
import statistics
import sys
import tempfile
import time

from cluster_machines import (
    PORT, TURNCHAT, Machine, bridge, leader, metric, run, start_balancer, start_nodes,
    start_stores, text_of)

LONG = 64 * 1024
HEALED = 30  # seconds
SILENT = 60  # seconds without any answer, after which a calm network has failed
GIVES_UP = 200  # times that a client is started again


class Client:
    """One that talks, and writes down what it has said and heard."""

    def __init__(self, number, machine, directory, target, arguments):
        self.home = directory / f"client-{number}"
        self.machine, self.target, self.turns = machine, f"{target}:{PORT}", arguments.turns
        self.think, self.dice = arguments.think, random.Random(f"{arguments.seed} {number}")
        self.transcript, self.conversation, self.told_twice = {}, None, []
        self.took, self.answered, self.restarts, self.last_turn = [], [], 0, time.monotonic()
        self.is_done = False
        run(TURNCHAT, "--quiet", "gen-cert", "--home", str(self.home))
        self.key = run(TURNCHAT, "fingerprint", "--home", str(self.home))

    async def talk(self, server_key):
        """Until all is said: a client that gives up in a fault is started again."""
        while not self.is_done:
            process = await asyncio.create_subprocess_exec(
                "ip", "netns", "exec", self.machine.name, TURNCHAT, "client", self.target,
                "--home", str(self.home), "--pin", server_key, "--json", "--journal",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=open(self.home / "words", "ab"), limit=4 << 20)
            async for line in process.stdout:
                await self.hear(json.loads(line), process.stdin)
            await process.wait()
            if not self.is_done:
                self.restarts += 1
                if self.restarts > GIVES_UP:
                    return
                await asyncio.sleep(0.5)

    async def hear(self, event, commands):
        kind = event["event"]
        if kind == "connected":
            if self.conversation not in (None, event["conversation"]):
                raise SystemExit(f"{self.home}: another conversation has begun: {event}")
            self.conversation = event["conversation"]
        elif kind == "turn":
            turn, text = event["turn"], event["text"]
            if turn in self.transcript and not event.get("again"):
                self.told_twice.append(turn)
            if self.transcript.setdefault(turn, text) != text:
                self.told_twice.append(turn)
            now = time.monotonic()
            if event["speaker"] == "peer":
                self.took.append(now - self.last_turn)
                self.answered.append(now)
        elif kind == "your-turn":
            turn = event["turn"]
            if turn > 2 * self.turns:
                commands.write(b'{"quit":{}}\n')
            else:
                text = f"{turn} {self.dice.getrandbits(64):x} "
                if self.dice.random() < 1 / 20:
                    text = text.ljust(LONG, "y")
                await asyncio.sleep(self.dice.uniform(0, self.think))
                self.last_turn = time.monotonic()
                say = {"text": text, "turn": turn}
                commands.write(json.dumps({"say": say}).encode() + b"\n")
            await commands.drain()
        elif kind == "ended" and len(self.transcript) > 2 * self.turns:
            self.is_done = True

    def went_on(self, since):
        """How long after that it had an answer; 0 if it was over by then."""
        return next((at - since for at in self.answered if at > since), 0.0 if self.is_done else None)


class Faults:
    """What goes wrong, and how it is mended."""

    KINDS = ["node killed", "node paused", "store killed", "store paused", "leader killed",
             "leader paused", "apart", "apart in one direction", "balancer begins anew"]

    def __init__(self, kinds, dice, nodes, stores, balancer):
        self.kinds = kinds or self.KINDS
        self.dice, self.nodes, self.stores, self.balancer = dice, nodes, stores, balancer
        self.made = {}

    async def make(self):
        kind = self.dice.choice(self.kinds)
        self.made[kind] = self.made.get(kind, 0) + 1
        if kind == "balancer begins anew":
            self.balancer.kill()
            return self.balancer.restart()
        if kind.startswith("apart"):
            return await self.part(both=kind == "apart")
        who, how = kind.split()
        if who == "leader":
            machine = await asyncio.to_thread(leader, self.stores) or self.dice.choice(self.stores)
        else:
            machine = self.dice.choice({"node": self.nodes, "store": self.stores}[who])
        if how == "paused":
            machine.pause()
            await asyncio.sleep(15)
            return machine.resume()
        machine.kill()
        await asyncio.sleep(self.dice.uniform(1, 5))
        machine.restart()

    async def part(self, both):
        one, other = self.dice.sample([*self.nodes, *self.stores, self.balancer], 2)
        one.ignore(other)
        if both:
            other.ignore(one)
        await asyncio.sleep(self.dice.uniform(3, 10))
        one.hear(other)
        if both:
            other.hear(one)


def compare(clients, nodes):
    """What was lost, doubled or changed between the two sides."""
    wrong, told = [], {}
    for node in nodes:
        for path in sorted((node.directory / "said").iterdir()):
            seen = set()
            for line in path.read_text().splitlines():
                try:
                    event = json.loads(line)
                except json.JSONDecodeError:
                    continue  # its writer was killed
                if event["event"] != "turn":
                    continue
                turn = (event["conversation"], event["turn"])
                if turn in seen:
                    wrong.append(f"{turn} was told twice to one program")
                seen.add(turn)
                told.setdefault(turn, []).append(event)
    again = 0
    for client in clients:
        if client.told_twice:
            wrong.append(f"{client.home.name}: told twice: {client.told_twice}")
        for turn, text in client.transcript.items():
            events = told.pop((client.conversation, turn), [])
            if not events:
                wrong.append(f"{client.home.name}: {turn} is nowhere at the nodes")
            if any(event["text"] != text for event in events):
                wrong.append(f"{client.home.name}: {turn} differs: {text[:30]!r}")
            fresh = [event for event in events if not event.get("again")]
            if len(fresh) > 1:
                wrong.append(f"{client.home.name}: {turn} was told {len(fresh)} times as new")
            again += len(events) - len(fresh)
        if sorted(client.transcript) != list(range(1, 2 * client.turns + 2)):
            wrong.append(f"{client.home.name}: {len(client.transcript)} turns")
    wrong.extend(f"{turn} is at no client" for turn in told)
    return wrong, again


async def main(arguments, directory):
    dice = random.Random(arguments.seed)
    bridge()
    count = 0 if arguments.journal else 3
    stores = [Machine(f"store-{n}", 10 + n, directory) for n in range(count)]
    nodes = [Machine(f"node-{n}", 20 + n, directory) for n in range(3)][:arguments.nodes]
    balancer = Machine("balancer", 30, directory)
    outside = Machine("outside", 40, directory)
    if stores:
        start_stores(stores)
    making = [asyncio.to_thread(
        Client, n, outside, directory, balancer.address, arguments)
        for n in range(arguments.clients)]
    clients = await asyncio.gather(*making)
    bot = pathlib.Path(__file__).with_name("cluster_bot.py")
    key = start_nodes(
        nodes, stores, [client.key for client in clients], bot, arguments.think / 4)
    start_balancer(balancer, nodes)
    while stores and await asyncio.to_thread(leader, stores) is None:
        await asyncio.sleep(0.2)
    began = time.monotonic()
    talks = asyncio.gather(*(client.talk(key) for client in clients))
    faults, healed = Faults(arguments.fault, dice, nodes, stores, balancer), began
    while not talks.done():
        if arguments.calm or healed - began > arguments.seconds:
            break
        await asyncio.wait([talks], timeout=dice.uniform(5, 10))
        if not talks.done():
            await faults.make()
            healed = time.monotonic()
    wrong = []
    while not talks.done():
        await asyncio.wait([talks], timeout=1)
        latest = max((client.answered[-1] for client in clients if client.answered), default=began)
        if time.monotonic() - max(latest, healed) > SILENT:
            break
    ended = time.monotonic()
    late = [client.home.name for client in clients if not client.is_done]
    if late:
        wrong.append(f"{', '.join(late)} did not come to the end")
    on = sum(not client.is_done or client.answered[-1] > healed for client in clients)
    went_on = [client.went_on(healed) for client in clients]
    slow = [client.home.name for client, took in zip(clients, went_on) if took is None or took > HEALED]
    if slow and not arguments.calm:
        wrong.append(f"{', '.join(slow)} had not gone on {HEALED} s after the last mending")
    went_on = f"{on}; {max((took for took in went_on if took is not None), default=0):.1f} s"
    for node in nodes:
        if not node.is_running():
            wrong.append(f"{node.name} has stopped: {text_of(node.directory / 'words')[-300:]}")
    differences, again = compare(clients, nodes)
    report(arguments, clients, stores, faults, wrong + differences, again, ended - began, went_on)
    for machine in [*nodes, *stores, balancer]:
        machine.kill()
    return not wrong and not differences


def report(arguments, clients, stores, faults, wrong, again, seconds, went_on):
    took = sorted(time for client in clients for time in client.took)
    turns = sum(len(client.transcript) for client in clients)
    sizes = [metric(one, "etcd_mvcc_db_total_size_in_use_in_bytes") or 0 for one in stores]
    print(f"""
| what | |
|---|---|
| seed, nodes, clients, turns of each | {arguments.seed}, {arguments.nodes}, {arguments.clients}, {arguments.turns} |
| messages; a second | {turns}; {turns / seconds:.0f} in {seconds:.0f} s |
| lost, doubled or changed | {len(wrong)} |
| told a second time, as `again` | {again} |
| client programs that gave up and were started again | {sum(client.restarts for client in clients)} |
| from a message to its answer: median, 99th of 100, longest | {statistics.median(took):.3f} s, {took[len(took) * 99 // 100]:.1f} s, {took[-1]:.1f} s |
| conversations on at the last mending; all had gone on after | {went_on} |
| in use in etcd at the end | {max(sizes, default=0) / 2**20:.1f} MiB |""")
    for kind, count in sorted(faults.made.items()):
        print(f"| {kind} | {count} |")
    for what in wrong[:40]:
        print(f"cluster: {what}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3, choices=[1, 2, 3])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--think", type=float, default=1, help="seconds at most before a client's turn")
    parser.add_argument("--seconds", type=float, default=600, help="after which nothing goes wrong any more")
    parser.add_argument("--fault", action="append", choices=Faults.KINDS, help="this one alone; may be repeated")
    parser.add_argument("--calm", action="store_true", help="nothing goes wrong")
    parser.add_argument("--journal", action="store_true", help="one server without etcd, to compare; --calm")
    parser.add_argument("--keep", action="store_true", help="keep what the machines have written")
    arguments = parser.parse_args()
    if arguments.journal:
        arguments.nodes, arguments.calm = 1, True
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cluster-"))
    try:
        is_right = asyncio.run(main(arguments, directory))
    finally:
        if arguments.keep:
            print(directory, file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(not is_right)
