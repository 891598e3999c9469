"""The probes of `compare.py`: what each tool does, measured. Each gets a fresh server.

The server is a person's, so that its pipes show what it says and hears. Where something must not
happen, a second run shows that it would have been seen.
"""

import contextlib
import os
import pathlib
import re
import socket
import ssl
import threading
import time

from compare_tools import PATIENCE, Failure, Program

PAUSE = 0.4  # seconds for what must not come, or for a program to get ready


class Scene:
    """A server of this tool, and its clients; all of it ends with the scene."""

    def __init__(self, tool, directory, program=()):
        self.tool, self.directory, self.started, self.open = tool, directory, [], []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.server = self.start(tool.server(self.port, program))
        # Not tried by a connection, which some would take for their only client.
        until, row = time.monotonic() + PATIENCE, f"0100007F:{self.port:04X} 00000000:0000 0A"
        while row not in pathlib.Path("/proc/net/tcp").read_text():
            if time.monotonic() > until:
                words = self.server.told()
                self.__exit__()
                raise Failure(f"the server does not listen: {words}")
            time.sleep(0.005)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.started:
            program.kill()
        for connection in self.open:
            connection.close()

    def start(self, command, terminal=None):
        self.started.append(Program(command, self.directory, terminal))
        return self.started[-1]

    def client(self, name="bob", port=None, terminal=None):
        return self.start(self.tool.client(port or self.port, name), terminal)

    def another(self):
        """The same once more."""
        return Scene(self.tool, self.directory)

    def connect(self):
        """A connection with nothing on it."""
        self.open.append(socket.create_connection(("127.0.0.1", self.port), PATIENCE))
        return self.open[-1]

    def tls(self, with_certificate=True):
        """A client that is none of the tools, with bob's certificate or without one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.tool.alpn:
            context.set_alpn_protocols(self.tool.alpn)
        if with_certificate:
            context.load_cert_chain(*(self.directory / file for file in self.tool.keys))
        connection = context.wrap_socket(self.connect())
        self.open.append(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(self.tool.hello)
        return connection

    def says(self, speaker, line, listener, seconds=PATIENCE):
        """Whether the other hears it."""
        speaker.say(line)
        return listener.hear(self.tool.heard + line, seconds)

    def converses_with(self, client):
        hello = self.says(self.server, b"Hello.", client)
        return hello and self.says(client, b"Hi.", self.server)


def receives(connection, text):
    """Whether this comes over a TLS connection before it ends."""
    received = b""
    while text not in received:
        try:
            chunk = connection.recv(65536)
        except OSError:
            return False
        if not chunk:
            return False
        received += chunk
    return True


def idle(scene):
    """An idle connection does not keep a client out"""
    scene.connect()
    time.sleep(PAUSE)
    return scene.converses_with(scene.client())


def garbage(scene):
    """Nor does one that has sent garbage"""
    scene.connect().sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(range(256)))
    time.sleep(PAUSE)
    return scene.converses_with(scene.client())


def without_certificate(scene):
    """A client without a certificate is refused"""
    def hears(scene, **with_or_without):
        scene.server.say(b"Hello.")
        try:
            return receives(scene.tls(**with_or_without), b"Hello.")
        except OSError:
            return False

    if hears(scene, with_certificate=False):
        return False
    with scene.another() as control:
        if not hears(control):
            raise Failure("with a certificate it hears nothing either")
    return True


def stranger(scene):
    """A client with another key is refused, and knows, also if all it says was piped in"""
    client = scene.client("eve")
    if scene.says(scene.server, b"Hello.", client, PAUSE):
        return False
    client.say(b"Hi.")
    if scene.server.hear(b"Hi.", PAUSE) or client.hear(b"Hello.", 0):
        return False
    client.end_input()
    return knows(client) and all(knows_at_once(scene) for _ in range(5))


def knows_at_once(scene):
    """The same where it says all it has to say before anybody has looked at its key."""
    with scene.another() as scene:
        client = scene.client("eve")
        client.say(b"Hi.")
        client.end_input()
        return knows(client)


def knows(client):
    """Whether it says so; of one that goes on nobody can tell."""
    return client.ended() not in (0, None) or "alert" in client.told()


def cut(scene):
    """A cut is told apart from an orderly end"""
    def outcome(scene, cuts):
        """Of a client that has heard one message: its exit code, and what it said."""
        with socket.create_server(("127.0.0.1", 0)) as relay:
            relay.settimeout(PATIENCE)
            client = scene.client(port=relay.getsockname()[1])
            ends = [relay.accept()[0], scene.connect()]
        scene.open.append(ends[0])
        for pair in (ends, ends[::-1]):
            threading.Thread(target=pump, args=pair, daemon=True).start()
        if not scene.converses_with(client):
            raise Failure(f"no conversation through a relay: {client.told()}")
        before, until = client.told(), time.monotonic() + PATIENCE
        if cuts:
            for end in ends:
                with contextlib.suppress(OSError):  # the other one may have been quicker
                    end.shutdown(socket.SHUT_RDWR)
        else:
            scene.server.end_input()
        while client.told() == before and time.monotonic() < until:
            if client.ended(0.05) is not None:
                break
        # turnchat says something, then goes on, and dials.
        return client.ended(PAUSE), re.sub(r"\d+", "N", client.told())

    status, words = outcome(scene, cuts=True)
    with scene.another() as control:
        orderly = outcome(control, cuts=False)
    return (status, words) != orderly and (status not in (0, None) or words != orderly[1])


def pump(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def escapes(scene):
    """Escape sequences of the peer do not reach the terminal"""
    terminal, end = os.openpty()
    try:
        client = scene.client(terminal=end)
        os.close(end)
        scene.server.say(b"\x1b]0;a title\x07seen")
        if not client.hear(b"seen", source=terminal):
            raise Failure("the client shows nothing")
        return b"\x1b]0;a title" not in client.output()
    finally:
        os.close(terminal)


def split(scene):
    """A message in two TLS records, cut within an `é`, arrives in one piece"""
    connection = scene.tls()
    scene.server.say(b"Hello.")
    text = "caf\u00e9".encode()
    first, second = scene.tool.answer(text).split(b"\xa9")
    if not receives(connection, b"Hello."):
        raise Failure("no message arrives")
    connection.sendall(first)
    scene.server.hear(text, PAUSE)
    connection.sendall(b"\xa9" + second)
    if not scene.server.hear(text):
        raise Failure("the message does not arrive")
    return any(text in chunk for chunk in scene.server.chunks)


def letters(scene):
    """Messages that begin with Q, R or K are messages"""
    client = scene.client()
    sides = (scene.server, client)
    return all(scene.says(sides[turn], line, sides[1 - turn])
               for line in (b"Q", b"R", b"K", b"Quite", b"Read", b"Kept") for turn in (0, 1))


def two_clients(scene):
    """With two clients, a host's line reaches the one that it talks with"""
    first = scene.client()
    if not scene.converses_with(first):
        raise Failure("no conversation with the first client")
    second = scene.client("carol")
    second.hear(b"Hello.", PAUSE)
    # So many, as two processes that share a host's pipe may let the same one win for a while.
    for number in range(200):
        if not (scene.says(scene.server, b"For bob, %d." % number, first)
                and scene.says(first, b"From bob, %d." % number, scene.server)):
            return False
    return not second.hear(b"For bob", PAUSE)


PROBES = [idle, garbage, without_certificate, stranger, cut, escapes, split, letters, two_clients]
