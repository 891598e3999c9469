"""The attackers of `siege.py`. They run in a process of their own: `Attackers` starts it.

An attack is a coroutine that does its worst with one connection, `Wire`, and returns when that is
over. So many are begun a second, each from the next address. The docstring of an attack is its row
in the table.
"""

import asyncio
import base64
import contextlib
import json
import multiprocessing
import os
import socket
import struct

from OpenSSL import SSL

AT_ONCE = 2_000  # connections that the attackers hold at most
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: no farewell


class Over(Exception):
    """The server has closed the connection."""


class Wire:
    """One connection to the server, and TLS over it after `handshake`."""

    def __init__(self, attackers, number):
        self.attackers, self.number = attackers, number
        source = attackers.sources[number % len(attackers.sources)]
        self.loop = asyncio.get_running_loop()
        self.socket = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((source, 0))
        self.tls = None
        self.unread = b""

    async def connect(self):
        await self.loop.sock_connect(self.socket, self.attackers.target)

    def cut(self):
        self.socket.close()

    async def write(self, data):
        """Bytes as they are, below TLS."""
        await self.loop.sock_sendall(self.socket, data)

    async def read(self):
        data = await self.loop.sock_recv(self.socket, 65_536)
        if not data:
            raise Over
        return data

    async def ended(self):
        """Says nothing more, and waits for the server to close."""
        while True:
            await self.read()

    async def pause(self, seconds):
        """The same, for so long only."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended(), seconds)

    async def handshake(self, key):
        """Proves one of the attackers' keys."""
        self.tls = SSL.Connection(self.attackers.contexts[key])
        self.tls.set_connect_state()
        while True:
            try:
                self.tls.do_handshake()
                return await self.flush()
            except SSL.WantReadError:
                await self.flush()
                self.tls.bio_write(await self.read())

    async def flush(self):
        with contextlib.suppress(SSL.WantReadError):
            while True:
                await self.write(self.tls.bio_read(65_536))

    async def send(self, data):
        self.tls.sendall(data)
        await self.flush()

    async def frame(self):
        """The next frame's kind."""
        while b"\n" not in self.unread:
            try:
                self.unread += self.tls.recv(65_536)
            except SSL.WantReadError:
                self.tls.bio_write(await self.read())
        line, _, self.unread = self.unread.partition(b"\n")
        return next(iter(json.loads(line)))

    async def welcomed(self, conversation=None):
        """Whether `hello` gets a `welcome`."""
        await self.send(hello(conversation))
        while (kind := await self.frame()) == "wait":
            pass
        return kind == "welcome"


def frame(kind, **members):
    return json.dumps({kind: members}).encode() + b"\n"


def hello(conversation=None):
    conversation = conversation or base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    return frame("hello", conversation=conversation, heard=0)


# Strangers


async def silent(wire):
    """connections on which nothing is sent"""
    await wire.ended()


async def half(wire):
    """half a ClientHello, then nothing"""
    clienthello = wire.attackers.clienthello
    await wire.write(clienthello[: len(clienthello) // 2])
    await wire.ended()


async def endless(wire):
    """60 KB of a ClientHello that does not end, then nothing"""
    start = b"\x01" + (60_000).to_bytes(3, "big") + b"\x03\x03" + bytes(59_000)
    for at in range(0, len(start), 16_384):
        part = start[at : at + 16_384]
        await wire.write(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part)
    await wire.ended()


async def stalled(wire):
    """a whole ClientHello, then nothing"""
    await wire.write(wire.attackers.clienthello)
    await wire.ended()


async def trickle(wire):
    """a ClientHello of which a byte comes each second"""
    for byte in wire.attackers.clienthello:
        await wire.write(bytes([byte]))
        await wire.pause(1)


async def drip(wire):
    """a `hello` of an unknown key, of which a byte comes each second"""
    await wire.handshake(0)
    for byte in hello():
        await wire.send(bytes([byte]))
        await wire.pause(1)


async def withheld(wire):
    """an unknown key is proven, and no `hello` comes"""
    await wire.handshake(0)
    await wire.ended()


async def unknown(wire):
    """`hello`s of eight unknown keys"""
    await wire.handshake(wire.number % wire.attackers.unknown)
    await wire.send(hello())
    await wire.ended()


# One key that the server admits: the last one


async def pings(wire):
    """`ping`s from one admitted key, in 4 conversations"""
    await wire.handshake(-1)
    if await wire.welcomed():
        reading = asyncio.ensure_future(wire.ended())
        try:
            while not reading.done():
                await wire.send(frame("ping") * 25)
                wire.attackers.did += 25
                await asyncio.sleep(0.01)
        finally:
            reading.cancel()


async def hellos(wire):
    """`hello`s from one admitted key, for ever more conversations"""
    await wire.handshake(-1)
    await wire.send(hello())
    await wire.ended()


async def conversations(wire):
    """conversations that one admitted key begins and quits"""
    await wire.handshake(-1)
    if await wire.welcomed():
        await wire.send(frame("quit"))
        await wire.ended()


async def cuts(wire):
    """an admitted key that cuts eight conversations, and goes on with them"""
    await wire.handshake(-1)
    await wire.welcomed("BOB" + str(wire.number % 8) * 17 + "AA")


async def parks(wire):
    """an admitted key that begins conversations, says 64 KiB in each and cuts it"""
    await wire.handshake(-1)
    if await wire.welcomed():
        while await wire.frame() != "say":
            pass
        await wire.send(frame("heard", turn=1) + frame("say", turn=2, text="x" * 65_536))
        while await wire.frame() != "heard":
            pass


async def deaf(wire):
    """an admitted key that says 64 KiB in each turn of 4 conversations, and reads nothing"""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await wire.handshake(-1)
    await wire.send(hello())
    turn = 2
    while True:
        await asyncio.sleep(0.02)  # in which the server has said its own
        await wire.send(frame("say", turn=turn, text="x" * 65_536))
        wire.attackers.did += 1
        turn += 2


STRANGERS = [silent, half, endless, stalled, trickle, drip, withheld, unknown]
ADMITTED = [pings, hellos, conversations, cuts, parks, deaf]
# How many connections are begun a second.
RATES = {silent: 500, half: 500, endless: 200, stalled: 500, trickle: 200, drip: 100, withheld: 100,
         unknown: 100, pings: 100, hellos: 100, conversations: 100, cuts: 100, parks: 100, deaf: 100}
# Of these there are four at once, and what they do is counted: so many things each.
FOUR = [pings, deaf]


class Attackers:
    """The process of an attack. `on` begins it, `off` ends it and says how much was done."""

    def __init__(self, attack, target, sources, keys):
        """`keys` are directories with a key each; the last one is admitted."""
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        self.orders = ours
        arguments = attack.__name__, target, sources, [str(key) for key in keys], theirs
        self.process = multiprocessing.get_context("spawn").Process(
            target=_run, args=arguments, daemon=True)
        self.process.start()
        ours.recv()

    def on(self):
        self.orders.send("on")

    def off(self):
        """What was done a second, on average."""
        self.orders.send("off")
        return self.orders.recv()

    def end(self):
        self.process.kill()
        self.process.join()


def _run(name, target, sources, keys, orders):
    attack = globals()[name]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_Crowd(attack, target, sources, keys).obey(orders))


class _Crowd:
    def __init__(self, attack, target, sources, keys):
        self.attack, self.target, self.sources = attack, target, sources
        self.contexts = [_context(key) for key in keys]
        self.unknown = len(keys) - 1
        first = SSL.Connection(self.contexts[0])
        first.set_connect_state()
        with contextlib.suppress(SSL.WantReadError):
            first.do_handshake()
        self.clienthello = first.bio_read(65_536)
        self.begun = self.did = 0

    async def obey(self, orders):
        ordered = asyncio.Event()
        asyncio.get_running_loop().add_reader(orders.fileno(), ordered.set)
        orders.send("ready")
        storming, since = None, 0
        clock = asyncio.get_running_loop().time
        while True:
            await ordered.wait()
            ordered.clear()
            while orders.poll():
                if orders.recv() == "on":
                    self.begun = self.did = 0
                    since = clock()
                    storming = asyncio.ensure_future(self.storm())
                else:
                    rate = (self.did or self.begun) / (clock() - since)
                    storming.cancel()
                    await asyncio.gather(storming, return_exceptions=True)
                    orders.send(rate)

    async def storm(self):
        clock = asyncio.get_running_loop().time
        at_once = 4 if self.attack in FOUR else AT_ONCE
        rate, last, due, connections = RATES[self.attack], clock(), 0, set()
        try:
            while True:
                now = clock()
                # What could not be begun is not made up for later, but for a quarter of a second.
                due, last = min(due + rate * (now - last), rate / 4), now
                while due >= 1 and len(connections) < at_once:
                    connection = asyncio.ensure_future(self.connection(self.begun))
                    connections.add(connection)
                    connection.add_done_callback(connections.discard)
                    self.begun += 1
                    due -= 1
                await asyncio.sleep(0.005)
        finally:
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def connection(self, number):
        wire = Wire(self, number)
        try:
            await wire.connect()
            await self.attack(wire)
        except (OSError, Over, SSL.Error):
            pass  # The server has ended it.
        finally:
            wire.cut()


def _context(key):
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_certificate_file(os.path.join(key, "cert.pem"))
    context.use_privatekey_file(os.path.join(key, "key.pem"))
    context.set_alpn_protos([b"turnchat/1"])
    return context
