"""A whole peer for turnchat/1, from docs/PROTOCOL.md alone. In brackets: the rules it keeps.

    peer.py server [--listen HOST:PORT] --pin SHA256:... [--home DIR]
    peer.py client HOST:PORT --pin SHA256:... [--home DIR]

Each line of stdin is a message, QUIT ends the conversation, and stdout is its transcript. The key
is made on the first run, by openssl(1). It takes Python 3.11 and pyOpenSSL (python3-openssl), as
Python's own `ssl` cannot ask a client for a certificate and take any.

Left out: a journal, so a crash ends the conversation (4.10); a queue and questions, since one key
is pinned; limits for a slow line, for the hold after a cut, and for the number of strangers, who
have 10 s each (5.2 to 5.4). A server stays for only 2 s to tell of the end again (4.29).
"""
import argparse, asyncio, base64, functools, hashlib, json, pathlib, random, re, secrets
import subprocess, sys, threading, time
from contextlib import suppress
from OpenSSL import SSL, crypto

ALPN = b"turnchat/1"
MAKE_KEY = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=turnchat"
FRAMES = {  # Their members (2.1).
    "hello": {"conversation", "heard"}, "welcome": {"conversation", "heard"}, "wait": {"ahead"},
    "refuse": {"reason"}, "say": {"turn", "text"}, "heard": {"turn"}, "quit": set(),
    "ping": set(), "pong": set(), "error": {"code", "detail"},
}
STRINGS = {  # In UTF-8 (2.2, 2.4, 2.5). The other members are integers.
    "conversation": rb"[\w-]{21}[AQgw]", "text": rb"(?s).{,65536}", "detail": rb"(?s).{,256}",
    "reason": rb"unknown-peer|declined|busy|no-answer|asked-too-often|closing|ended",
    "code": rb"protocol-error|out-of-turn|timeout|internal|replaced",
}
STDIN = open(0, encoding="utf-8", errors="replace", closefd=False)
tell = functools.partial(print, "peer.py:", file=sys.stderr, flush=True)

class Broken(Exception):
    """The peer gets `error`, with this code and this detail (2.9)."""

def show(who, text):
    escaped = "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)  # (2.4)
    try:
        print(who, escaped, flush=True)
    except OSError as why:
        raise Broken("internal", "nobody reads the messages") from why

def parse(line):
    """The kind of a frame, and its members. Anything else is Broken (2.9)."""
    def once(pairs):
        return dict(pairs) if len(dict(pairs)) == len(pairs) else None

    def is_right(name, value):
        if name in STRINGS:
            return re.fullmatch(STRINGS[name], value.encode())
        return type(value) is int and value < 2**53  # (2.3)

    with suppress(ValueError, KeyError, AttributeError, RecursionError):  # It is no such object.
        frame = json.loads(line.decode(), object_pairs_hook=once,
                           parse_int=lambda digits: int(digits) if digits.isdigit() else None)
        [(kind, members)] = frame.items()
        is_whole = FRAMES[kind] - {"detail"} <= members.keys() <= FRAMES[kind]
        if is_whole and all(is_right(*member) for member in members.items()):
            return kind, members
    raise Broken("protocol-error", "that is no frame")

def identity(certificate):  # (1.9)
    key = crypto.dump_publickey(crypto.FILETYPE_ASN1, certificate.get_pubkey())
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")

def tls_context(pem, pin):
    """TLS 1.3 alone (1.2). A server has no pin here: it judges at `hello` (1.11)."""
    def judge(connection, certificate, error, depth, is_fine):
        if depth == 0 and pin and identity(certificate) != pin:
            tell("Another key answers.")  # It does not get our certificate (1.10, 4.15).
            return False
        return depth > 0 or error != 34  # An unknown critical extension (1.6, 1.7).

    def choose(connection, offered):
        if connection.get_app_data() is None:  # Its first ClientHello has come (4.25).
            connection.set_app_data(time.monotonic_ns())
        if ALPN not in offered:
            raise ConnectionError("the peer speaks another protocol")  # It gets an alert (1.3).
        return ALPN

    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_certificate_file(str(pem))
    context.use_privatekey_file(str(pem))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, judge)  # (1.4, 1.8)
    context.set_alpn_protos([ALPN])
    context.set_alpn_select_callback(choose)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # (1.12)
    context.set_options(SSL.OP_NO_TICKET)
    return context

class Link:
    """One connection: frames over TLS over TCP. `is_on` is true from `welcome` on."""
    is_on = is_answered = False
    unread = b""

    def __init__(self, peer, reader, writer):
        self.reader, self.writer = reader, writer  # With TCP_NODELAY, by asyncio (1.1).
        self.tls = SSL.Connection(peer.context)  # It has no socket: we move its bytes.
        start = self.tls.set_accept_state if peer.is_server else self.tls.set_connect_state
        start()

    async def drive(self, step, *arguments):
        """Takes a step of TLS, once the bytes for it have come."""
        while True:
            with suppress(SSL.WantReadError):
                return step(*arguments)
            with suppress(SSL.WantReadError):
                self.writer.write(self.tls.bio_read(2**20))
            try:
                data = await asyncio.wait_for(self.reader.read(65_536), 20)
            except TimeoutError:  # Whoever is silent is asked (5.2).
                self.send("ping")
                data = await asyncio.wait_for(self.reader.read(65_536), 40)
            if not data:
                raise ConnectionError("it was cut")
            self.tls.bio_write(data)

    async def frame(self):
        """The kind of the next one, and its members."""
        while True:
            line, end, rest = self.unread.partition(b"\n")
            if len(line) >= (524_288 if self.is_on else 4_096):  # (2.6)
                raise Broken("protocol-error", "a line is too long")
            if end:
                self.unread = rest
                return parse(line)
            self.unread += await self.drive(self.tls.recv, 16_384)

    def send(self, kind, **members):
        self.tls.sendall(json.dumps({kind: members}, ensure_ascii=False).encode() + b"\n")
        self.writer.write(self.tls.bio_read(2**20))
        if self.writer.transport.get_write_buffer_size() > 2**20:
            self.writer.transport.abort()  # The peer leaves a MiB unread.

    def close(self):
        """So that the last frame arrives (3.15)."""
        with suppress(SSL.Error):
            self.tls.shutdown()
        with suppress(SSL.WantReadError):
            self.writer.write(self.tls.bio_read(2**20))
        with suppress(OSError):
            self.writer.write_eof()
        asyncio.get_running_loop().call_later(2, self.writer.transport.abort)

class Peer:
    """One side of the conversation, which goes on where a link ends."""
    said = heard = acknowledged = newest = 0  # The first three: the highest turn (4.2).
    id = text = link = None
    is_held = was_on = quits = False

    def __init__(self, is_server, pin, context):
        self.is_server, self.pin, self.context = is_server, pin, context
        self.over = asyncio.Future()  # The exit code.

    def finish(self, code, why):
        """Code 0 is an orderly end: the peer has to have our `quit` as well (3.9, 4.30)."""
        if self.over.done():
            return
        if code == 0 and self.link and not self.quits:
            self.link.send("quit")
        tell(why)
        if self.acknowledged < self.said:
            tell(f"Your message of turn {self.said} was not acknowledged.")
            code = code or 4
        self.over.set_result(code)
        if self.link:
            self.link.close()
            self.link = None

    def ask(self):
        """Gives our user the turn: reads a line; the end of stdin is QUIT, too."""
        def read(loop):
            line = STDIN.readline(16_000) or "QUIT"  # Of 4 bytes each, at most (2.4).
            loop.call_soon_threadsafe(self.enter, line.removesuffix("\n"))

        threading.Thread(target=read, args=[asyncio.get_running_loop()], daemon=True).start()

    def enter(self, line):
        show("Your message:", line)
        if line == "QUIT":
            self.quits = True
            asyncio.get_running_loop().call_later(10, self.finish, 4, "Nobody answers.")  # (5.3)
        else:
            self.said, self.text = max(self.said, self.heard) + 1, line
        if self.link:
            self.catch_up(self.acknowledged)

    def catch_up(self, heard):
        """Sends what the peer lacks, if it has heard up to this turn (4.5, 4.9)."""
        if self.quits:
            self.link.send("quit")
        elif self.link.is_on and self.said > heard:
            self.link.send("say", turn=self.said, text=self.text)

    def attach(self, link, heard):
        """From its `welcome` on, this link carries the conversation."""
        if heard not in (self.said, max(self.said - 2, 0)) or heard < self.heard - 1:  # (4.4)
            raise Broken("protocol-error", f"`heard` cannot be {heard}")
        if self.link not in (None, link):  # (4.8, 4.26)
            self.link.send("error", code="replaced")
            self.link.close()
        self.link, self.acknowledged = link, max(self.acknowledged, heard)
        link.is_on = link.is_answered = self.is_held = self.was_on = True
        if self.is_server:
            link.send("welcome", conversation=self.id, heard=self.heard)
        self.catch_up(heard)

    def hello(self, link, conversation, heard):
        """Begins, or goes on. Or gives the reason to refuse, which changes nothing (4.20)."""
        number, is_new = link.tls.get_app_data(), conversation != self.id
        if identity(link.tls.get_peer_certificate()) != self.pin:
            return "unknown-peer"
        if number < self.newest and not self.over.done():  # (4.25)
            raise ConnectionError("a newer connection has come before")
        if heard > 0 if is_new else self.over.done():  # (4.23, 4.24)
            return "ended"
        if is_new and self.id:  # (4.30)
            self.finish(0, "The peer has begun anew.")
            return "closing"
        if is_new:
            self.id = conversation
            self.ask()  # (3.1)
        self.newest = number
        self.attach(link, heard)

    def receive(self, link, *frame):
        is_answer = not self.is_server and not link.is_on
        match frame:
            case _ if link.is_on and link is not self.link:
                pass  # (4.8)
            case "hello", it if self.is_server and not link.is_on:
                if reason := self.hello(link, **it):
                    link.send("refuse", reason=reason)
            case "wait" | "welcome" | "say", _ if self.quits and link is self.link:
                pass  # (3.11)
            case "wait", {"ahead": ahead} if is_answer:
                tell(f"Waiting: {ahead} are before you.")
                link.is_answered = self.is_held = True
            case "welcome", {"conversation": self.id, "heard": heard} if is_answer:
                self.attach(link, heard)
            case "refuse", {"reason": reason} if is_answer:
                if self.was_on and reason in ("busy", "no-answer", "asked-too-often", "closing"):
                    raise ConnectionError(reason)  # (4.12)
                is_end = self.quits and reason == "ended"
                self.finish(0 if is_end else 5, f"The conversation is over: {reason}.")
            case "say", {"turn": turn, "text": text} if link.is_on:
                if turn != max(self.said, self.heard) + 1 or turn % 2 == self.is_server:  # (3.4)
                    raise Broken("out-of-turn", "not the next turn, or not yours")  # (2.10)
                self.acknowledged = self.said  # (3.7)
                show("They say:", text)
                self.heard = turn
                link.send("heard", turn=turn)  # (3.5)
                self.ask()
            case "heard", {"turn": turn} if link.is_on and turn == self.said > 0:  # (3.6)
                self.acknowledged = turn
            case "quit", _ if link is self.link and (link.is_on or self.quits):
                self.finish(0, "The conversation is over.")
            case "error", {"code": code}:
                if link is self.link and not (code == "timeout" and self.is_held):
                    self.finish(5, f"The conversation is over: {code}.")
                raise ConnectionError(code)  # (4.10)
            case "ping" | "pong" as kind, _ if link.is_answered:
                if kind == "ping":
                    link.send("pong")  # (2.8)
            case kind, _:
                raise Broken("protocol-error", f"`{kind}` has no place here")

    async def carry(self, reader, writer):
        """One link, from its first byte to its last. Gives the reason to dial no more (4.14)."""
        link = Link(self, reader, writer)
        try:
            async with asyncio.timeout(10):  # (5.1)
                await link.drive(link.tls.do_handshake)
                if link.tls.get_alpn_proto_negotiated() != ALPN:  # (1.3)
                    raise ConnectionError("no protocol was agreed on")
                if not self.is_server:
                    self.link = link
                    link.send("hello", conversation=self.id, heard=self.heard)  # (3.2)
                    self.catch_up(self.said)  # By `quit` alone, before `welcome`.
                self.receive(link, *await link.frame())
            while link is self.link:
                self.receive(link, *await link.frame())
        except Broken as broken:
            code, detail = broken.args
            link.send("error", code=code, detail=detail)
            if link is self.link:
                self.finish(5, f"The peer is at fault: {detail}.")
        except (OSError, SSL.ZeroReturnError):
            pass  # A cut (3.16).
        except (SSL.Error, crypto.Error) as error:
            return error
        finally:
            if link is self.link:
                self.link = None
                if link.is_on:
                    tell("The link is lost.")
            link.close()
            with suppress(OSError):
                while await reader.read(65_536):
                    pass

    async def dial(self, host, port):
        """One handshake at a time (4.11), as long as the conversation is held (4.12)."""
        self.id, tries, progress = secrets.token_urlsafe(16), 0, None  # (2.2)
        while not self.over.done():
            try:
                link = await asyncio.wait_for(asyncio.open_connection(host, port), 10)
                why = await self.carry(*link)
            except OSError as error:
                why = error
            before, progress = progress, (self.heard, self.acknowledged, self.quits)
            tries = tries + 1 if progress == before else 0  # (4.13)
            is_brief = self.quits or not self.is_held
            if why and not self.is_held or is_brief and tries == 3:  # (4.14)
                return self.finish(4, f"There is no connection: {why or 'it was cut'}.")
            pause = (0.05, 1.5, 3)[tries] if is_brief else min(3, 0.05 * 2 ** min(tries, 6))
            await asyncio.wait([self.over], timeout=pause * random.uniform(1, 2))

async def main(options):
    pem, is_server = options.home / "peer.pem", options.role == "server"
    if not pem.exists():  # (1.5)
        options.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        subprocess.run([*MAKE_KEY.split(), "-keyout", pem, "-out", pem], check=True,
                       stderr=subprocess.DEVNULL)
    tell("I am " + identity(crypto.load_certificate(crypto.FILETYPE_PEM, pem.read_bytes())))
    peer = Peer(is_server, options.pin, tls_context(pem, None if is_server else options.pin))
    host, _, port = options.address.rpartition(":")
    if is_server:
        listener = await asyncio.start_server(peer.carry, host.strip("[]"), int(port))
        tell("Listening on %s:%d" % listener.sockets[0].getsockname()[:2])
        await asyncio.wait([peer.over])
        await asyncio.sleep(2)  # Who has missed the end may ask (4.29).
    else:
        await peer.dial(host.strip("[]"), int(port))
    sys.exit(peer.over.result())

if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("address", nargs="?", default=argparse.SUPPRESS)
    parser.add_argument("--listen", dest="address", default="127.0.0.1:8876")
    parser.add_argument("--pin", required=True)
    parser.add_argument("--home", type=pathlib.Path, default=pathlib.Path.home() / ".turnchat-peer")
    asyncio.run(main(parser.parse_args()))
