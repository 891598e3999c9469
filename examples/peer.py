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
import argparse, asyncio, base64, hashlib, json, pathlib, random, re, secrets
import subprocess, sys, threading, time
from contextlib import suppress
from OpenSSL import SSL, crypto

ALPN = b"turnchat/1"
UNKNOWN_CRITICAL_EXTENSION = 34  # X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION
FEW_PAUSES = 0.05, 1.5, 3  # (4.14)
PAUSES = 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3  # (4.13)

class Cut(Exception):
    """This link ends, and another is to go on (3.16)."""

class Broken(Exception):
    """The peer gets `error`, with this code and this detail (2.9)."""

def tell(line):
    print("peer.py:", line, file=sys.stderr, flush=True)

def show(who, text):
    escaped = "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)  # (2.4)
    try:
        print(who, escaped, flush=True)
    except OSError as why:
        raise Broken("internal", "nobody reads the messages") from why

# Identity and TLS

def identity(certificate):  # (1.9)
    key = crypto.dump_publickey(crypto.FILETYPE_ASN1, certificate.get_pubkey())
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")

def own_identity(pem):
    """Makes a P-256 key and its certificate (1.5), unless they are there."""
    if not pem.exists():
        pem.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9999"
        command = [*make.split(), "-subj", "/CN=turnchat", "-keyout", pem, "-out", pem]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return identity(crypto.load_certificate(crypto.FILETYPE_PEM, pem.read_bytes()))

def tls_context(pem, expected):
    """TLS 1.3 alone (1.2). A server expects no key yet: it judges at `hello` (1.11)."""
    def judge(connection, certificate, error, depth, is_fine):
        if depth == 0 and expected and identity(certificate) != expected:
            tell("Another key answers.")  # It does not get our certificate (1.10, 4.15).
            return False
        return depth > 0 or error != UNKNOWN_CRITICAL_EXTENSION  # (1.6, 1.7)

    def choose(connection, offered):
        if ALPN not in offered:
            raise Cut("the peer speaks another protocol")  # It gets an alert (1.3).
        return ALPN

    def number(connection):
        if connection.get_app_data() is None:  # Its first ClientHello has come (4.25).
            connection.set_app_data(time.monotonic_ns())

    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_certificate_file(str(pem))
    context.use_privatekey_file(str(pem))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, judge)  # (1.4, 1.8)
    context.set_alpn_protos([ALPN])
    context.set_alpn_select_callback(choose)
    context.set_tlsext_servername_callback(number)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # (1.12)
    context.set_options(SSL.OP_NO_TICKET)
    return context

# Frames

FRAMES = {  # (2.1)
    "hello": {"conversation", "heard"}, "welcome": {"conversation", "heard"}, "wait": {"ahead"},
    "refuse": {"reason"}, "say": {"turn", "text"}, "heard": {"turn"}, "quit": set(),
    "ping": set(), "pong": set(), "error": {"code", "detail"},
}
STRINGS = {
    "conversation": "[A-Za-z0-9_-]{21}[AQgw]", "text": "(?s).*", "detail": "(?s).*",  # (2.2)
    "reason": "unknown-peer|declined|busy|no-answer|asked-too-often|closing|ended",
    "code": "protocol-error|out-of-turn|timeout|internal|replaced",
}

def is_right(name, value):
    if name not in STRINGS:
        return type(value) is int and value < 2**53  # (2.3)
    if type(value) is not str or not re.fullmatch(STRINGS[name], value):
        return False
    return len(value.encode()) <= (256 if name == "detail" else 65_536)  # (2.4, 2.5)

def parse(line):
    """The kind of a frame, and its members. Anything else is Broken (2.9)."""
    def once(pairs):
        return dict(pairs) if len(dict(pairs)) == len(pairs) else None

    def unsigned(digits):
        return int(digits) if digits.isdigit() else None

    with suppress(ValueError, KeyError, AttributeError, RecursionError):  # It is no such object.
        frame = json.loads(line.decode(), object_pairs_hook=once, parse_int=unsigned)
        [(kind, members)] = frame.items()
        is_whole = FRAMES[kind] - {"detail"} <= members.keys() <= FRAMES[kind]
        if is_whole and all(is_right(*member) for member in members.items()):
            return kind, members
    raise Broken("protocol-error", "that is no frame")

# A link

class Link(asyncio.Protocol):
    """One connection: frames over TLS over TCP. `is_on` is true from `welcome` on."""
    is_on = is_answered = has_quit = is_closing = False
    key, why, unread = None, None, b""

    def __init__(self, peer):
        self.peer, self.gone = peer, asyncio.Future()
        self.tls = SSL.Connection(peer.context)  # It has no socket: we move its bytes.
        start = self.tls.set_accept_state if peer.is_server else self.tls.set_connect_state
        start()

    def connection_made(self, transport):
        self.transport = transport  # With TCP_NODELAY, by asyncio (1.1).
        transport.set_write_buffer_limits(2**20)
        self.timer = asyncio.get_running_loop().call_later(10, transport.abort)  # (5.1)
        self.advance()

    def data_received(self, data):
        if self.is_closing:
            return  # (3.15)
        self.tls.bio_write(data)
        self.advance()
        if self.is_answered and not self.is_closing:
            self.expect(20, self.ask)  # (5.2)

    def expect(self, seconds, otherwise):
        """Something is to come by then (section 5)."""
        self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(seconds, otherwise)

    def ask(self):
        self.send("ping")
        self.expect(40, self.transport.abort)

    def advance(self):
        """Does what the bytes that have come allow, and ends the link if it has to end."""
        try:
            if not self.key:
                self.open()
            while not self.is_closing:
                self.unread += self.tls.recv(16_384)
                self.take_lines()
        except SSL.WantReadError:
            self.flush()
        except Broken as why:
            self.send("error", code=why.args[0], detail=why.args[1])
            if self is self.peer.link:
                self.peer.finish(5, f"The peer is at fault: {why.args[1]}.")
            self.close()
        except (Cut, SSL.ZeroReturnError):
            self.close()
        except (SSL.Error, crypto.Error) as why:
            self.why = why  # An alert, say: no cut (4.14).
            self.close()

    def open(self):
        self.tls.do_handshake()
        if self.tls.get_alpn_proto_negotiated() != ALPN:  # (1.3)
            raise Cut("no protocol was agreed on")
        self.key = identity(self.tls.get_peer_certificate())
        if not self.peer.is_server:
            self.peer.begin(self)

    def take_lines(self):
        while not self.is_closing:
            line, end, rest = self.unread.partition(b"\n")
            if len(line) >= (524_288 if self.is_on else 4_096):  # (2.6)
                raise Broken("protocol-error", "a line is too long")
            if not end:
                return
            self.unread = rest
            self.peer.receive(self, *parse(line))
            self.is_answered = True

    def send(self, kind, **members):
        self.has_quit = self.has_quit or kind == "quit"
        self.tls.sendall(json.dumps({kind: members}, ensure_ascii=False).encode() + b"\n")
        self.flush()

    def flush(self):
        with suppress(SSL.WantReadError):  # There is no more.
            while not self.is_closing:
                self.transport.write(self.tls.bio_read(65_536))

    def pause_writing(self):
        self.transport.abort()  # The peer leaves a MiB unread.

    def close(self):
        """So that the last frame arrives (3.15)."""
        if self.is_closing:
            return
        with suppress(SSL.Error):
            self.tls.shutdown()
        self.flush()
        self.is_closing = True
        with suppress(OSError):
            self.transport.write_eof()
        self.expect(2, self.transport.abort)
        self.peer.detach(self)

    def connection_lost(self, why):
        self.timer.cancel()
        self.peer.detach(self)
        self.gone.set_result(self.why)
        if why and not isinstance(why, OSError):
            self.peer.over.set_exception(why)  # A bug: let it be seen.

# The conversation, over all of its links

class Peer:
    """One side of it. It has no sockets, and goes on where a link ends."""
    said = heard = acknowledged = 0  # Each time the highest turn (4.2).
    id = text = link = None
    is_held = was_on = quits = False
    tries = newest = 0

    def __init__(self, is_server, pin, context):
        self.is_server, self.pin, self.context = is_server, pin, context
        self.over = asyncio.Future()  # The exit code.
        self.asked = threading.Semaphore(0)  # How often our user was given the turn.

    def finish(self, code, why):
        if self.over.done():
            return
        tell(why)
        if self.acknowledged < self.said:
            tell(f"Your message of turn {self.said} was not acknowledged.")
            code = code or 4
        self.over.set_result(code)
        if self.link:
            self.link.close()

    def enter(self, text):
        """A line of our user's, who has the turn."""
        show("Your message:", text)
        if text == "QUIT":
            self.quits, self.tries = True, 0
            asyncio.get_running_loop().call_later(10, self.finish, 4, "Nobody answers.")  # (5.3)
        else:
            self.said, self.text = max(self.said, self.heard) + 1, text
        if self.link and self.link.is_on:
            self.catch_up(self.acknowledged)

    def catch_up(self, heard):
        """Sends what the peer lacks, if it has heard up to this turn (4.5, 4.9)."""
        if self.said > heard:
            self.link.send("say", turn=self.said, text=self.text)
        if self.quits and not self.link.has_quit:
            self.link.send("quit")

    def acknowledge(self, turn):
        if turn > self.acknowledged:
            self.acknowledged, self.tries = turn, 0  # (4.13)

    def begin(self, link):
        if self.over.done():
            raise Cut("the conversation ended meanwhile")
        self.link = link
        link.send("hello", conversation=self.id, heard=self.heard)  # (3.2)

    def attach(self, link, heard):
        """From its `welcome` on, this link carries the conversation."""
        if heard not in (self.said, max(self.said - 2, 0)) or heard < self.heard - 1:  # (4.4)
            raise Broken("protocol-error", f"`heard` cannot be {heard}")
        old, self.link = self.link, link
        if old not in (None, link):  # (4.8, 4.26)
            old.send("error", code="replaced")
            old.close()
        link.is_on = self.is_held = self.was_on = True
        if self.is_server:
            link.send("welcome", conversation=self.id, heard=self.heard)
        self.acknowledge(heard)
        self.catch_up(heard)

    def hello(self, link, conversation, heard):
        """Whoever is refused changes nothing (4.20)."""
        is_new, number = conversation != self.id, link.tls.get_app_data()
        if link.key != self.pin:
            return self.refuse(link, "unknown-peer")
        if number < self.newest and not self.over.done():  # (4.25)
            raise Cut("a newer connection has come before")
        if is_new and heard > 0 or not is_new and self.over.done():  # (4.23, 4.24)
            return self.refuse(link, "ended")
        if is_new and self.id:  # (4.30)
            if self.link:
                self.link.send("quit")
            self.finish(0, "The peer has begun anew.")
            return self.refuse(link, "closing")
        if is_new:
            self.id = conversation
            self.asked.release()  # (3.1)
        self.attach(link, heard)
        self.newest = number

    def refuse(self, link, reason):
        link.send("refuse", reason=reason)
        link.close()

    def receive(self, link, kind, it):
        """What a frame does, with these members."""
        is_answer = not self.is_server and not link.is_on
        match kind:
            case "hello" if self.is_server and not link.is_on:
                self.hello(link, **it)
            case "wait" | "welcome" | "say" if link.has_quit:
                pass  # (3.11)
            case "wait" if is_answer:
                tell(f"Waiting: {it['ahead']} are before you.")
                self.is_held = True
                if self.quits:
                    link.send("quit")  # (4.9)
            case "welcome" if is_answer and it["conversation"] == self.id:
                self.attach(link, it["heard"])
            case "refuse" if is_answer:
                self.refused(it["reason"])
            case "say" if link.is_on:
                self.hear(link, **it)
            case "heard" if link.is_on and it["turn"] == self.said > 0:  # (3.6)
                self.acknowledge(self.said)
            case "quit" if link.is_on or link.has_quit:
                if not link.has_quit:
                    link.send("quit")  # (3.9)
                self.finish(0, "The conversation is over.")
            case "error":
                if link is self.link and not (it["code"] == "timeout" and self.is_held):
                    self.finish(5, f"The conversation is over: {it['code']}.")
                raise Cut(it["code"])  # (4.10)
            case "ping" if link.is_answered:
                link.send("pong")  # (2.8)
            case "pong" if link.is_answered:
                pass
            case _:
                raise Broken("protocol-error", f"`{kind}` has no place here")

    def refused(self, reason):
        if self.was_on and reason in ("busy", "no-answer", "asked-too-often", "closing"):
            raise Cut(reason)  # (4.12)
        is_end = self.quits and reason == "ended"
        self.finish(0 if is_end else 5, f"The conversation is over: {reason}.")

    def hear(self, link, turn, text):
        if turn != max(self.said, self.heard) + 1 or turn % 2 == self.is_server:  # (3.1, 3.4)
            raise Broken("out-of-turn", "that turn is not the next, or not yours")  # (2.10)
        self.acknowledge(self.said)  # (3.7)
        show("They say:", text)
        self.heard, self.tries = turn, 0
        link.send("heard", turn=turn)  # (3.5)
        self.asked.release()

    def detach(self, link):
        if link is self.link:
            self.link = None
            if link.is_on and not self.over.done():
                tell("The link is lost.")

    # Going on after a cut

    async def listen(self, host, port):
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: Link(self), host, port)
        tell("Listening on %s:%d" % listener.sockets[0].getsockname()[:2])
        await asyncio.wait([self.over])
        await asyncio.sleep(2)  # Who has missed the end may ask (4.29).

    async def dial(self, host, port):
        """One handshake at a time (4.11), as long as the conversation is held (4.12)."""
        loop = asyncio.get_running_loop()
        self.id = secrets.token_urlsafe(16)  # (2.2)
        while not self.over.done():
            try:
                async with asyncio.timeout(10):
                    _, link = await loop.create_connection(lambda: Link(self), host, port)
                why = await link.gone
            except OSError as error:
                why = error
            is_brief = self.quits or not self.is_held
            pauses = FEW_PAUSES if is_brief else PAUSES
            if is_brief and self.tries == len(pauses) or why and not self.is_held:
                self.finish(4, f"There is no connection: {why or 'it was cut'}.")
            pause = pauses[min(self.tries, len(pauses) - 1)]
            self.tries += 1
            await asyncio.wait([self.over], timeout=pause * random.uniform(1, 2))

def read_stdin(peer, loop):
    """Reads a line each time that our user has the turn; the end is QUIT, too."""
    with open(0, encoding="utf-8", errors="replace", closefd=False) as stdin:
        while peer.asked.acquire():
            line = stdin.readline(16_000) or "QUIT"  # Of 4 bytes each, at most (2.4).
            loop.call_soon_threadsafe(peer.enter, line.removesuffix("\n"))

async def main(options):
    pem = options.home / "peer.pem"
    tell("I am " + own_identity(pem))
    is_server = options.role == "server"
    peer = Peer(is_server, options.pin, tls_context(pem, None if is_server else options.pin))
    arguments = peer, asyncio.get_running_loop()
    threading.Thread(target=read_stdin, args=arguments, daemon=True).start()
    host, _, port = options.address.rpartition(":")
    run = peer.listen if is_server else peer.dial
    await run(host.strip("[]"), int(port))
    sys.exit(peer.over.result())

if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("address", nargs="?", default=argparse.SUPPRESS)
    parser.add_argument("--listen", dest="address", default="127.0.0.1:8876")
    parser.add_argument("--pin", required=True)
    parser.add_argument("--home", type=pathlib.Path, default=pathlib.Path.home() / ".turnchat-peer")
    asyncio.run(main(parser.parse_args()))
