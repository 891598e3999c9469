"""The honest ones of `siege.py`: a server and who talks at it, a client, and the line between them."""

import asyncio
import contextlib
import json
import os
import pathlib
import pty
import re
import resource
import time
from typing import NamedTuple

TURNCHAT = os.environ.get("TURNCHAT", "turnchat")
PORT = 8876
WORDS = "Hello."  # what both sides say, each time
TURNS = 3  # that the client says before a cut; one more comes after it
HOLD = "5s"  # in place of 15 minutes, where many talk
PATIENCE = 30  # seconds for a whole attempt


class Failure(Exception):
    """What an honest peer must not meet."""


class Spending(NamedTuple):
    """Of a server: the memory is the resident one, in KiB, now and at its highest so far."""

    descriptors: int
    threads: int
    memory: int
    peak: int


class Server:
    """A server under attack, whose user answers. `kind` says who that is: a program that keeps to
    JSON, a person at a terminal, or, in many conversations at once, `cat`."""

    def __init__(self, kind, host, directory, namespace=None, descriptors=None):
        self.kind, self.directory, self.descriptors = kind, directory, descriptors
        self.target = (host, PORT)
        address = f"[{host}]" if ":" in host else host
        within = ["ip", "netns", "exec", namespace] if namespace else []
        self.command = [*within, TURNCHAT, "server", "--home", str(directory / "alice"),
                        "--listen", f"{address}:{PORT}", "--journal"]
        if kind == "json":
            self.command += ["--json"]
        if kind == "exec":
            # What attackers cut is to be over when its cost is counted.
            self.command += ["--hold", HOLD, "--first", WORDS, "--exec", "cat"]

    async def start(self):
        pipe, own, theirs = asyncio.subprocess.PIPE, None, None
        if self.kind == "terminal":
            own, theirs = pty.openpty()
        self.words = open(self.directory / "alice.words", "wb")
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=theirs or pipe, stdout=theirs or pipe, stderr=theirs or self.words,
            start_new_session=True, preexec_fn=self._limit)
        talk = self._at_a_terminal(own) if theirs else self._in_json()
        if theirs:
            os.close(theirs)
        self.user = asyncio.ensure_future(talk)
        for _ in range(200):
            if b"Listening on" in (self.directory / "alice.words").read_bytes():
                return
            await asyncio.sleep(0.05)
        raise Failure(f"The server does not begin: {self.said()}")

    def _limit(self):
        if self.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    async def _in_json(self):
        async for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "your-turn":
                say = {"text": WORDS, "turn": event["turn"], "conversation": event["conversation"]}
                self.process.stdin.write(json.dumps({"say": say}).encode() + b"\n")

    async def _at_a_terminal(self, terminal):
        loop, shown = asyncio.get_running_loop(), asyncio.Event()
        os.set_blocking(terminal, False)
        loop.add_reader(terminal, shown.set)
        screen, answers = "", {"Your message: ": WORDS, "`decline`: ": "decline",
                               "Press Enter to begin. ": ""}
        while True:
            await shown.wait()
            shown.clear()
            try:
                read = os.read(terminal, 65_536)
            except BlockingIOError:
                continue
            self.words.write(read)
            self.words.flush()
            screen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode(errors="replace"))
            for question, answer in answers.items():
                if screen.endswith(question):
                    os.write(terminal, answer.encode() + b"\r")
                    screen = ""

    def said(self):
        return (self.directory / "alice.words").read_text(errors="replace")[-2_000:]

    def spends(self):
        process = pathlib.Path(f"/proc/{self.process.pid}")
        status = (process / "status").read_text()
        number = lambda name: int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[1])
        descriptors = len(os.listdir(process / "fd"))
        return Spending(descriptors, number("Threads"), number("VmRSS"), number("VmHWM"))

    async def stop(self):
        """Its exit code: 0 is right."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            code = await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            code = await self.process.wait()
        self.user.cancel()
        self.words.close()
        return code


class _End(asyncio.Protocol):
    """One end of a line."""

    def __init__(self, line):
        self.line, self.other, self.early = line, None, []

    def connection_made(self, transport):
        self.transport = transport
        self.line.ends.add(self)

    def join(self, other):
        self.other = other
        for data in self.early:
            other.transport.write(data)

    def data_received(self, data):
        if self.other:
            self.other.transport.write(data)
        else:
            self.early.append(data)

    def eof_received(self):
        if self.other:
            self.other.transport.write_eof()
        return True

    def connection_lost(self, why):
        self.line.ends.discard(self)
        if self.other:
            self.other.transport.abort() if why else self.other.transport.close()


class Line:
    """Passes on what the client and the server send, from a given address, and can cut."""

    def __init__(self, source, target):
        self.source, self.target, self.ends = source, target, set()

    async def open(self):
        listener = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)
        self.listener = listener
        self.address = "127.0.0.1:%d" % listener.sockets[0].getsockname()[1]

    def _accept(self):
        here = _End(self)
        asyncio.ensure_future(self._go_on(here))
        return here

    async def _go_on(self, here):
        loop = asyncio.get_running_loop()
        try:
            _, there = await loop.create_connection(
                lambda: _End(self), *self.target, local_addr=(self.source, 0))
        except OSError:
            return here.transport.abort()
        if here.transport.is_closing():
            return there.transport.abort()
        here.join(there)
        there.join(here)

    def cut(self):
        for end in list(self.ends):
            end.transport.abort()

    def close(self):
        self.listener.close()
        self.cut()


class Client:
    """Bob, who talks to Alice's server over a line."""

    def __init__(self, directory, key, line):
        self.line, self.heard = line, 0
        self.words = directory / "bob.words"
        self.command = [TURNCHAT, "client", line.address, "--home", str(directory / "bob"),
                        "--pin", key, "--json"]

    async def attempt(self, begins_anew=False):
        """Connects, talks, is cut, goes on and quits. How many seconds each of three takes: up to
        `connected`, from the cut to `resumed`, and the whole."""
        self.heard, command = 0, self.command + (["--new"] if begins_anew else [])
        with open(self.words, "wb") as words:
            begun = time.monotonic()
            self.process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=words)
            try:
                return await asyncio.wait_for(self._converse(begun), PATIENCE)
            except TimeoutError:
                raise Failure(f"nothing comes for {PATIENCE} s: {self._said()}") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()

    async def _converse(self, begun):
        await self._until("connected")
        connected = time.monotonic()
        for _ in range(TURNS):
            await self._speak()
        await self._until("your-turn")
        cut = time.monotonic()
        self.line.cut()
        await self._until("resumed")
        resumed = time.monotonic()
        self._say()
        await self._until("your-turn")
        self._command({"quit": {}})
        await self._until("ended")
        code = await self.process.wait()
        if code != 0 or self.heard != TURNS + 2:
            raise Failure(f"exit code {code} after {self.heard} messages: {self._said()}")
        return connected - begun, resumed - cut, time.monotonic() - begun

    async def _speak(self):
        await self._until("your-turn")
        self._say()

    def _say(self):
        self._command({"say": {"text": WORDS}})

    def _command(self, command):
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _until(self, wanted):
        while line := await self.process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "turn" and event["speaker"] == "peer":
                self.heard += 1
                if (event["turn"], event["text"]) != (2 * self.heard - 1, WORDS):
                    raise Failure(f"as message {self.heard} came {event}")
            if event["event"] == wanted:
                return
            if event["event"] == "ended":
                raise Failure(f"no `{wanted}`: {event}; {self._said()}")
        raise Failure(f"no `{wanted}`: {self._said()}")

    def _said(self):
        return self.words.read_text(errors="replace").strip()[-500:]
