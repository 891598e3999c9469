"""A whole peer for turnchat/1, from docs/PROTOCOL.md alone. Either side goes on after cuts.

    peer.py server [--listen HOST:PORT] --pin SHA256:... [--home DIR]
    peer.py client HOST:PORT --pin SHA256:... [--home DIR]

Each line of stdin is a message, QUIT ends the conversation, and stdout is its transcript. The key is made on the
first run, by openssl(1). Nothing else is stored: a crash ends the conversation (4.10). What `ssl` cannot do, pyOpenSSL
can (Debian: python3-openssl): ask a client for a certificate and take any. A pin is only a key, not a certificate.
In brackets: rules of that page.
"""
import argparse, base64, contextlib, hashlib, itertools, json, os, pathlib, random, re, select, socket, subprocess, sys
from time import monotonic
from OpenSSL import SSL, crypto

class Cut(Exception): "The stream ends, and no frame says why (3.16)."
class Broken(Exception): "What `error` the peer gets: its code and detail."
def tell(why): print("peer.py:", why, file=sys.stderr, flush=True)
def show(who, text):  # (2.4)
    try:
        print(who, "".join(c if c.isprintable() else "\\u{%x}" % ord(c) for c in text), flush=True)
    except OSError as why:
        raise Broken("internal", "its messages cannot be shown") from why

def identity(certificate):  # (1.9)
    spki = crypto.dump_publickey(crypto.FILETYPE_ASN1, certificate.get_pubkey())
    return "SHA256:" + base64.b64encode(hashlib.sha256(spki).digest()).decode().rstrip("=")

def own_certificate(home):
    """A P-256 key and its certificate (1.5), made unless they are there."""
    key, certificate = home / "key.pem", home / "cert.pem"
    if not certificate.exists():
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=turnchat"
        subprocess.run([*made.split(), "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL)
    return crypto.load_certificate(crypto.FILETYPE_PEM, certificate.read_bytes())

def tls_context(home, pin, is_server):
    def judge(connection, certificate, error, depth, _):
        link = connection.get_app_data()
        link.key = identity(certificate) if depth == 0 else link.key
        # The signature is checked in any case (1.8), and 34 is an unknown critical extension (1.6). A client judges
        # before its own certificate goes out (1.10), a server at `hello` (1.11).
        return depth > 0 or error != 34 and (is_server or link.key == pin)
    tls, count = SSL.Context(SSL.TLS_METHOD), itertools.count(1)
    tls.set_min_proto_version(SSL.TLS1_3_VERSION)  # (1.2)
    tls.use_certificate_file(str(home / "cert.pem"))
    tls.use_privatekey_file(str(home / "key.pem"))
    tls.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, judge)  # (1.4)
    tls.set_alpn_protos([b"turnchat/1"])
    tls.set_alpn_select_callback(lambda _, offered: offered[offered.index(b"turnchat/1")])  # Else an alert (1.3).
    tls.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # (1.12)
    tls.set_options(SSL.OP_NO_TICKET)
    # Called as the ClientHello has come (4.25).
    tls.set_tlsext_servername_callback(lambda it: setattr(it.get_app_data(), "number", next(count)))
    return tls

FRAMES = {"hello": "conversation heard", "welcome": "conversation heard", "wait": "ahead", "refuse": "reason",
          "say": "turn text", "heard": "turn", "quit": "", "ping": "", "pong": "", "error": "code detail"}  # (2.1)
WORDS = {"conversation": "[A-Za-z0-9_-]{21}[AQgw]", "text": "(?s:.*)", "detail": "(?s:.*)",  # (2.2)
         "reason": "unknown-peer|declined|busy|no-answer|asked-too-often|closing|ended",
         "code": "protocol-error|out-of-turn|timeout|internal|replaced"}
def is_right(name, it):
    if name not in WORDS:
        return type(it) is int and it < 2**53  # (2.3)
    is_short = type(it) is str and len(it.encode()) <= (256 if name == "detail" else 65536)  # (2.4, 2.5)
    return is_short and re.fullmatch(WORDS[name], it)
def parse(line, limit=524288):
    """The kind of a frame and its members; or Broken (2.9)."""
    def once(pairs): return dict(pairs) if len(dict(pairs)) == len(pairs) else None
    def digits(number): return int(number) if number.isdigit() else None
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        numbers = dict.fromkeys(["parse_int", "parse_float", "parse_constant"], digits)
        [(kind, it)] = json.loads(line.decode(), object_pairs_hook=once, **numbers).items()
        names = set(FRAMES[kind].split())
        if len(line) < limit and names - {"detail"} <= it.keys() <= names and all(map(is_right, it, it.values())):
            return kind, it
    raise Broken("protocol-error", "that is no frame")

class Link:
    """A connection: frames over TLS over TCP. Nothing in it waits."""
    is_open = is_answered = is_on = has_quit = owes_pong = is_closing = False
    key, number, unread, unsent = None, 0, b"", b""
    def __init__(self, stream, tls, is_server):
        self.stream, self.tls = stream, SSL.Connection(tls, stream)
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # (1.1)
        self.tls.set_app_data(self)
        (self.tls.set_accept_state if is_server else self.tls.set_connect_state)()
        self.received = self.begun = self.pinged = monotonic()
        self.until = self.received + (10 if is_server else 20)  # For what comes first (5.1).
    def send(self, kind, **members):
        self.has_quit |= kind == "quit"
        line = json.dumps({kind: members}, ensure_ascii=False).encode() + b"\n"
        self.unsent += b"" if self.is_closing else line
    def close(self, *_):  # (3.15)
        self.is_closing, self.unread, self.until = True, b"", monotonic() + 2
    def work(self, handle):
        """Writes and reads what can be by now, and hands over each frame."""
        if not self.is_open:
            self.tls.do_handshake()
            if self.tls.get_alpn_proto_negotiated() != b"turnchat/1":  # (1.3)
                raise Cut("no protocol was agreed on")
            self.is_open = True
        while self.unsent:
            self.unsent = self.unsent[self.tls.send(self.unsent):]
        if self.is_closing and not self.tls.get_shutdown() & SSL.SENT_SHUTDOWN:
            self.tls.shutdown()
            self.stream.shutdown(socket.SHUT_WR)
        for _ in range(64):
            *lines, rest = (self.unread + self.tls.recv(16384)).split(b"\n")
            self.received = monotonic()
            self.begun = self.received if lines or not self.unread else self.begun
            for line in lines:
                self.is_closing or handle(self, *parse(line, self.limit()))
            self.unread = b"" if self.is_closing else rest
    def limit(self): return 524288 if self.is_on else 4096  # (2.6)
    def look(self):
        """What is due by now (5.2)."""
        now = monotonic()
        silent, line = now - self.received, now - self.begun if self.unread else 0
        if now > self.until or silent > 60:
            raise Cut("it took too long")
        is_long = len(self.unread) >= self.limit()
        if is_long or line > (600 if self.is_on else 30) or self.unread and silent > 30:
            raise Broken("protocol-error" if is_long else "timeout", "a line is too long, or takes too long")
        if self.owes_pong and not self.unsent:  # One answers all pings (2.8).
            self.owes_pong = self.send("pong")
        if self.is_answered and max(silent, line) > 20 < now - self.pinged:
            self.pinged = self.send("ping") or now

class Peer:
    """One side of one conversation, over all of its connections. It has `said` and `heard` these turns (4.2)."""
    said = heard = tries = redial_at = newest = 0
    link = result = text = None  # The text is kept until it is acknowledged.
    quits, was_answered, was_on, ended, typed, over_at = False, False, False, "", b"", float("inf")
    def __init__(self, options):
        self.is_server, self.pin, self.links = options.role == "server", options.pin, []
        self.tls = tls_context(options.home, options.pin, self.is_server)
        self.id = None if self.is_server else base64.urlsafe_b64encode(os.urandom(16)).decode()[:22]  # (2.2)
    def turn(self): return max(self.said, self.heard) + 1
    def is_mine(self): return self.turn() % 2 == self.is_server  # (3.1)
    def finish(self, code, why):
        tell(why)
        if self.text is not None:
            code = tell("Your message of turn %d was not acknowledged." % self.said) or code or 4
        self.result, self.over_at = code, monotonic() + 10 * self.was_on  # (4.29)
        self.ended, self.newest, self.link = self.id, 0, self.link and self.link.close()  # (4.24)
    def enter(self):
        """A line of stdin, in our turn."""
        (line, _, self.typed), is_on = self.typed.partition(b"\n"), self.link and self.link.is_on
        text = "QUIT" if line == b"\\QUIT" else line.decode(errors="replace")
        if len(text.encode()) > 65536:  # (2.4)
            return tell("Not sent: it is longer than 65,536 bytes.")
        show("Your message:", text)
        if line == b"QUIT":
            self.quits, self.tries, self.over_at = True, 0, monotonic() + 10  # (5.3)
            return is_on and self.link.send("quit")
        self.said, self.text = self.turn(), text
        return is_on and self.link.send("say", turn=self.said, text=text)
    def attach(self, link, heard):
        """This connection carries the conversation from now on."""
        if heard not in (self.said, max(self.said - 2, 0)) or heard < self.heard - 1:  # (4.4)
            raise Broken("protocol-error", "`heard` cannot be %d" % heard)
        if self.link not in (None, link):  # (4.8, 4.26)
            self.link.close(self.link.send("error", code="replaced"))
        self.link, link.is_on, link.is_answered, self.was_on = link, True, True, True
        link.until, self.over_at = float("inf"), self.over_at if self.quits else float("inf")
        self.is_server and link.send("welcome", conversation=self.id, heard=self.heard)
        link.send("say", turn=self.said, text=self.text) if self.said > heard else self.acknowledged()  # (4.5)
        self.quits and not link.has_quit and link.send("quit")  # (4.9)
    def acknowledged(self):
        self.tries, self.text = self.tries if self.text is None else 0, None  # (4.13)
    def hello(self, link, conversation, heard):
        """What is refused changes nothing (4.20)."""
        is_over = conversation != self.id and heard > 0 or conversation == self.ended  # (4.23, 4.24)
        if link.key == self.pin and not is_over and self.id not in (None, conversation) and self.result is None:
            self.finish(0, self.link and self.link.send("quit") or "The peer has begun anew.")  # (4.30)
        if link.key != self.pin or is_over or self.result is not None:
            reason = "unknown-peer" if link.key != self.pin else "ended" if is_over else "closing"
            return link.close(link.send("refuse", reason=reason))
        if link.number < self.newest:  # (4.25)
            raise Cut("a newer connection has come before")
        self.newest, self.id = link.number, conversation
        self.attach(link, heard)
    def receive(self, link, kind, it):
        if kind == "hello" and self.is_server and not link.is_on:
            return self.hello(link, **it)
        if link is not self.link or not link.is_answered and kind in ("ping", "pong"):  # (2.8)
            raise Broken("protocol-error", "`%s` is no first frame" % kind)
        link.until, link.is_answered, self.was_answered = float("inf"), True, True
        if kind in ("ping", "pong"):
            link.owes_pong = link.owes_pong or kind == "ping"
        elif kind == "error" or kind == "refuse" and not self.is_server and (link.has_quit or not link.is_on):
            link.close()
            word = it.get("code") or it["reason"]
            if word in ("timeout", "busy", "no-answer", "asked-too-often", "closing") and self.was_on:
                return self.lost(link, word)  # (4.10, 4.12)
            self.finish(0 if word == "ended" and self.quits else 5, "The conversation is over: `%s`." % word)
        elif kind == "quit" and (link.is_on or link.has_quit):
            link.has_quit or link.send("quit")  # (3.9)
            self.finish(0, "The conversation is over.")
        elif kind == "heard" and link.is_on and 0 < self.said == it["turn"]:  # (3.6)
            self.acknowledged()
        elif link.has_quit:
            pass  # (3.11)
        elif kind == "wait" and not link.is_on:
            tell("Waiting: %d are before you." % it["ahead"])
            self.quits and link.send("quit")  # (4.9)
        elif kind == "welcome" and not link.is_on and it["conversation"] == self.id:
            self.attach(link, it["heard"])
        elif kind == "say" and link.is_on and not self.is_mine() and it["turn"] == self.turn():
            self.acknowledged()  # (3.7)
            show("They say:", it["text"])
            self.heard, self.tries = it["turn"], 0
            link.send("heard", turn=self.heard)  # (3.5)
        else:
            raise Broken("out-of-turn" if kind == "say" and link.is_on else "protocol-error", "no place for " + kind)
    def lost(self, link, why):
        """The conversation is to go on over another connection."""
        self.link, is_stranger = None, link.key not in (None, self.pin)
        tell("Another key answers." if is_stranger else "The link is lost." if link.is_on else "No link: %s." % why)
        self.over_at = min(self.over_at, monotonic() + 900)  # (5.3)
        is_short, is_reason = not self.was_answered or self.quits, re.search("alert|REFUSED", str(why))  # (4.14)
        if not self.is_server and (is_short and self.tries == 3 or (is_stranger or is_reason) and not self.was_on):
            return self.finish(4, "There is no connection.")
        pause = (0.05, 1.5, 3)[self.tries] if is_short else min(0.05 * 2**self.tries, 3)  # (4.13)
        self.redial_at, self.tries = monotonic() + pause * (1 + random.random()), self.tries + (not self.is_server)
    def step(self, link):
        try:
            with contextlib.suppress(SSL.WantReadError, SSL.WantWriteError):
                link.work(self.receive)
            link.look()
        except Broken as why:
            link.close(link.send("error", code=why.args[0], detail=why.args[1]))
            if link is self.link:
                self.lost(link, why) if why.args[0] == "timeout" else self.finish(5, "They are at fault: %s" % why)
        except Exception as why:  # A cut; a library's, too: nobody's certificate ends the program.
            self.links.remove(link)
            link.stream.close()
            if self.result is not None:  # Unless the peer closed in order, it may come again to hear of the end.
                self.over_at = min(self.over_at, monotonic() + 2 * (not link.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN))
            link is self.link and self.lost(link, why)
    def run(self, family, address):
        listener = self.is_server and socket.create_server(address[:2], family=family)
        listener and tell("Listening on %s:%d" % listener.getsockname()[:2])
        while self.result is None or self.links or listener and monotonic() < self.over_at:
            if not self.is_server and not self.link and self.result is None and monotonic() >= self.redial_at:
                stream = socket.socket(family)
                self.link = Link(stream, self.tls, False)
                self.links.append(self.link)
                stream.connect_ex(address)
                self.link.send("hello", conversation=self.id, heard=self.heard)  # (3.2)
            asks = self.was_on and self.result is None and not self.quits and self.is_mine()
            if asks and b"\n" in self.typed:
                asks = self.enter()
            reads = [*filter(None, [listener, asks and sys.stdin]), *(it.stream for it in self.links)]
            ready = select.select(reads, [it.stream for it in self.links if it.unsent and it.is_open], [], 0.05)[0]
            if listener in ready:
                with contextlib.suppress(OSError):
                    self.links.append(Link(listener.accept()[0], self.tls, True))
            for link in [it for it in self.links if not it.is_on][:-64]:
                link.until = 0  # Too many strangers: the oldest goes (5.4).
            if sys.stdin in ready:
                self.typed += os.read(0, 65536) or b"\nQUIT\n"[not self.typed:]  # The end is QUIT, too.
            for link in [*self.links]:
                self.step(link)
            self.result is None and monotonic() > self.over_at and self.finish(4, "The peer has not come back.")
        return self.result

if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("address", metavar="HOST:PORT", nargs="?", default=argparse.SUPPRESS)
    parser.add_argument("--listen", metavar="HOST:PORT", dest="address", default="127.0.0.1:8876")
    parser.add_argument("--pin", required=True)
    parser.add_argument("--home", type=pathlib.Path, default=pathlib.Path.home() / ".config/turnchat-peer")
    options = parser.parse_args()
    tell("I am " + identity(own_certificate(options.home)))
    where = socket.getaddrinfo(*re.sub(r"[][]", "", options.address).rsplit(":", 1), type=socket.SOCK_STREAM)
    sys.exit(Peer(options).run(where[0][0], where[0][4]))
