"""A whole peer for turnchat/1, from docs/PROTOCOL.md alone. In brackets: the rules it keeps.

    peer.py server|client HOST:PORT CERT DIR

Each line of stdin is a message, QUIT ends the conversation, and stdout is its transcript. It takes
nothing but Python 3.11. CERT is the peer's certificate; DIR has our own, cert.pem, and key.pem, as
`turnchat gen-cert --out DIR` makes them. Left out: a journal, so a crash ends the conversation
(4.10), and a second one; a queue and questions, since one peer is let in; what asyncio's TLS does
not do: an alert for others, draining, a certificate that Python objects to (1.11, 3.15, 1.6, 1.7);
limits for a slow line, for the hold and for strangers (5.2 to 5.4); pings of our own (5.6), so that
between two of these a link is cut after a minute of silence, and goes on.
"""
import asyncio, functools, json, os, random, re, secrets, signal, ssl, sys, time
from contextlib import suppress

FRAMES = {kind: set(members) for kind, *members in map(str.split, [  # (2.1)
    "hello conversation heard", "welcome conversation heard", "wait ahead", "refuse reason",
    "say turn text", "heard turn", "quit", "ping", "pong", "error code detail"])}
STRINGS = {  # In UTF-8 (2.2, 2.4, 2.5). The other members are integers (2.3).
    "conversation": rb"[\w-]{21}[AQgw]", "text": rb"(?s).{,65536}", "detail": rb"(?s).{,256}",
    "reason": rb"unknown-peer|declined|busy|no-answer|asked-too-often|closing|ended",
    "code": rb"protocol-error|out-of-turn|timeout|internal|replaced",
}
STDIN = open(0, encoding="utf-8", errors="replace", closefd=False)
tell = functools.partial(print, "peer.py:", file=sys.stderr, flush=True)

class Broken(Exception):
    """The peer gets `error`, with this code and this detail (2.9)."""

def show(by, text):  # Without what could steer a terminal (2.4).
    try:
        print(by, "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text), flush=True)
    except (OSError, ValueError) as why:
        raise Broken("internal", "nobody reads the messages") from why

def parse(line):  # The kind of a frame, and its members. Anything else is Broken (2.9).
    with suppress(ValueError, KeyError, AttributeError, RecursionError):  # It is no such object.
        [(kind, members)] = json.loads(
            line.decode(), object_pairs_hook=lambda it: dict(it) if len(dict(it)) == len(it) else 0,
            parse_int=lambda it: int(it) if it.isdigit() and int(it) < 2**53 else None).items()
        if FRAMES[kind] - {"detail"} <= members.keys() <= FRAMES[kind] and all(
                re.fullmatch(STRINGS[name], it.encode()) if name in STRINGS else type(it) is int
                for name, it in members.items()):
            return kind, members
    raise Broken("protocol-error", "that is no frame")

def tls_options(is_server, pin, home):  # TLS 1.3, and the peer as the only CA (1.2, 1.4).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | 0x200000  # At any time (1.7).
    context.load_verify_locations(pin)
    context.load_cert_chain(f"{home}/cert.pem", f"{home}/key.pem")
    context.set_alpn_protocols(["turnchat/1"])
    if is_server:
        number = lambda it, *_: vars(it).setdefault("number", time.monotonic_ns()) and None
        context.num_tickets, context.sni_callback = 0, number  # (1.12, 4.25)
    return {"ssl": context, "ssl_handshake_timeout": 10, "ssl_shutdown_timeout": 2}

class Link:  # One connection. `is_on` is true from `welcome` on.
    is_on, is_answered, unread = False, False, b""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer  # With TCP_NODELAY, by asyncio (1.1).
        self.tls = writer.get_extra_info("ssl_object")

    async def frame(self):  # The kind of the next one, and its members.
        while True:
            line, end, rest = self.unread.partition(b"\n")
            if len(line) >= (524_288 if self.is_on else 4_096):  # (2.6)
                raise Broken("protocol-error", "a line is too long")
            if end:
                self.unread = rest
                return parse(line)
            data = await asyncio.wait_for(self.reader.read(16_384), 60)  # (5.2)
            if not data:
                raise ConnectionError("it was cut")
            self.unread += data

    def send(self, kind, **members):
        self.writer.write(json.dumps({kind: members}, ensure_ascii=False).encode() + b"\n")
        if self.writer.transport.get_write_buffer_size() > 2**20:
            self.writer.transport.abort()  # The peer leaves a MiB unread.

class Peer:
    """One side of the conversation, which goes on where a link ends."""
    said = heard = acknowledged = newest = 0  # The first three: the highest turn (4.2).
    id = text = link = is_held = was_on = quits = None

    def __init__(self, is_server, pin):
        self.is_server, self.over = is_server, asyncio.Future()  # The exit code.
        self.pin = ssl.PEM_cert_to_DER_cert(open(pin).read())

    def finish(self, code, why):  # After code 0 the peer has our `quit` as well (3.9, 4.30).
        if self.over.done():
            return
        is_lost = self.acknowledged < self.said
        self.over.set_result(code or 4 * is_lost)
        if self.link:
            if code == 0 and not self.quits:
                self.link.send("quit")
            self.link.writer.close()
            self.link = None
        tell(why + f" Your message of turn {self.said} was not acknowledged." * is_lost)

    async def ask(self):  # It is our turn. A character has 4 bytes (2.4); the end of stdin is QUIT.
        line = (await asyncio.to_thread(STDIN.readline, 16_384) or "QUIT").removesuffix("\n")
        if line == "QUIT":
            self.quits = True
            asyncio.get_running_loop().call_later(10, self.finish, 4, "Nobody answers.")  # (5.3)
        else:
            self.said, self.text = max(self.said, self.heard) + 1, line
        if self.link:
            self.catch_up(self.acknowledged)
        if not self.over.done():
            show("Your message:", line)

    def catch_up(self, heard):  # Sends what a peer lacks that has heard so much (4.5, 4.9).
        if self.quits:
            self.link.send("quit")
        elif self.link.is_on and self.said > heard:
            self.link.send("say", turn=self.said, text=self.text)

    def attach(self, link, heard):  # From its `welcome` on, this link carries the conversation.
        if heard not in (self.said, max(self.said - 2, 0)) or heard < self.heard - 1:  # (4.4)
            raise Broken("protocol-error", f"`heard` cannot be {heard}")
        if self.link not in (None, link):
            self.link.send("error", code="replaced")  # (4.8, 4.26)
            self.link.writer.close()
        self.link, self.acknowledged = link, max(self.acknowledged, heard)
        link.is_on = link.is_answered = self.is_held = self.was_on = True
        if self.is_server:
            link.send("welcome", conversation=self.id, heard=self.heard)
        self.catch_up(heard)

    def hello(self, link, conversation, heard):  # Where it is refused, nothing changes (4.20).
        is_new = conversation != self.id
        if link.tls.number < self.newest and not self.over.done():  # (4.25)
            raise ConnectionError("a newer connection has come before")
        if heard > 0 if is_new else self.over.done():  # (4.23, 4.24)
            return link.send("refuse", reason="ended")
        if is_new and self.id:
            self.finish(0, "The peer has begun anew.")  # (4.30)
            return link.send("refuse", reason="closing")
        if is_new:
            self.id, self.asking = conversation, asyncio.create_task(self.ask())  # (3.1)
        self.newest = link.tls.number
        self.attach(link, heard)

    def receive(self, link, kind, members):
        is_answer, is_other = not self.is_server and not link.is_on, link is not self.link
        match kind, members:
            case _ if link.is_on and is_other or self.quits and kind in ("wait", "welcome", "say"):
                link.is_answered, link.is_on = True, link.is_on or kind == "welcome"  # (3.11, 4.8)
            case "hello", it if self.is_server and not link.is_on:
                self.hello(link, **it)
            case "wait", {"ahead": ahead} if is_answer:
                tell(f"Waiting: {ahead} are before you.")
                link.is_answered = self.is_held = True
            case "welcome", {"conversation": self.id, "heard": heard} if is_answer:
                self.attach(link, heard)
            case "refuse", {"reason": reason} if is_answer:
                if self.was_on and reason in ("busy", "no-answer", "asked-too-often", "closing"):
                    raise ConnectionError(reason)  # (4.12)
                self.finish(0 if self.quits and reason == "ended" else 5, f"It is over: {reason}.")
            case "say", {"turn": turn, "text": text} if link.is_on:
                if turn != max(self.said, self.heard) + 1 or turn % 2 == self.is_server:  # (3.4)
                    raise Broken("out-of-turn", "not the next turn, or not yours")  # (2.10)
                self.acknowledged = self.said  # (3.7)
                show("They say:", text)
                self.heard, self.asking = turn, asyncio.create_task(self.ask())
                link.send("heard", turn=turn)  # (3.5)
            case "heard", {"turn": turn} if link.is_on and turn == self.said > 0:  # (3.6)
                self.acknowledged = turn
            case "quit", _ if not is_other and (link.is_on or self.quits):
                self.finish(0, "The conversation is over.")
            case "error", {"code": code}:
                if not is_other and not (code == "timeout" and self.is_held):
                    self.finish(5, f"The conversation is over: {code}.")
                raise ConnectionError(code)  # (4.10)
            case "ping" | "pong", _ if link.is_answered:
                if kind == "ping":
                    link.send("pong")  # (2.8)
            case _:
                raise Broken("protocol-error", f"`{kind}` has no place here")

    async def carry(self, reader, writer):  # A link, as long as it is ours. Gives why it ended.
        link = Link(reader, writer)
        try:
            if link.tls.getpeercert(True) != self.pin or not link.tls.selected_alpn_protocol():
                raise ssl.SSLError(1, "it has another certificate, or no protocol")  # (1.3, 1.10)
            if not self.is_server:
                self.link = link
                link.send("hello", conversation=self.id, heard=self.heard)  # (3.2)
                self.catch_up(self.said)  # By `quit` alone, before `welcome`.
            self.receive(link, *await asyncio.wait_for(link.frame(), 10))  # (5.1)
            while link is self.link:
                self.receive(link, *await link.frame())
        except Broken as broken:
            link.send("error", code=broken.args[0], detail=broken.args[1])
            if link is self.link:
                self.finish(5, f"The peer is at fault: {broken.args[1]}.")
        except ssl.SSLError as alert:
            return alert
        except OSError:
            pass  # A cut (3.16).
        finally:
            writer.close()
            if link is self.link:
                self.link = None
                if link.is_on:
                    tell("The link is lost.")

    async def dial(self, *where, **tls):  # One handshake at a time (4.11).
        self.id, tries, progress = secrets.token_urlsafe(16), 0, None  # (2.2)
        while not self.over.done():
            try:
                link = asyncio.open_connection(*where, server_hostname="", **tls)  # (1.13)
                why = await self.carry(*await asyncio.wait_for(link, 10))
            except OSError as error:
                why = None if isinstance(error, ConnectionResetError) else error
            if isinstance(why, ssl.SSLCertVerificationError):
                tell("Another key answers.")  # It does not get our certificate (1.10, 4.15).
            before, progress = progress, (self.heard, self.acknowledged, self.quits)
            tries = tries + 1 if progress == before else 0  # (4.13)
            is_brief = self.quits or not self.is_held
            if why and not self.is_held or is_brief and tries == 3:  # (4.14)
                return self.finish(4, f"There is no connection: {why or 'it was cut'}.")
            pause = (0.05, 1.5, 3)[tries] if is_brief else min(3, 0.05 * 2 ** min(tries, 6))
            await asyncio.wait([self.over], timeout=pause * random.uniform(1, 2))

async def main(role, address, pin, home):
    peer, (host, _, port) = Peer(("client", "server").index(role), pin), address.rpartition(":")
    tls = tls_options(peer.is_server, pin, home)
    if peer.is_server:
        listener = await asyncio.start_server(peer.carry, host.strip("[]"), port, **tls)
        tell("Listening on %s:%d" % listener.sockets[0].getsockname()[:2])
        await asyncio.wait([peer.over])
    else:
        await peer.dial(host.strip("[]"), port, **tls)
    await asyncio.sleep(2)  # The last frame arrives, and who missed the end may ask (3.15, 4.29).
    os._exit(peer.over.result())  # A thread may still wait for stdin.

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (OSError, OverflowError, TypeError, ValueError) as why:
        sys.exit(f"{__doc__}\nThat is no command, or it names no such file: {why}")
