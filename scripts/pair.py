"""A peer for docs/PAIRING.md, by that page alone: PyPI's `spake2`, and OpenSSL for TLS.

    pair.py vector                    checks the page's test vector
    pair.py client HOST:PORT          tries the code on stdin
    pair.py server                    listens; its code is the one on stdin

Run it through `scripts/pair`, which brings what it needs.
"""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import re
import signal
import socket
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from spake2 import SPAKE2_A, SPAKE2_B

ALPN = b"turnchat-pair/1"
CLIENT = b"turnchat-pair/1 client"
SERVER = b"turnchat-pair/1 server"
LENGTHS = {"spake2": 33, "confirm": 32}


class Refused(Exception):
    """What the other side said, or did not say."""


def identity(certificate):
    """PROTOCOL 1.9."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashlib.sha256(spki).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def confirmations(key, exporter, client, server):
    """PAIRING 3.5: the client's, and the server's."""
    info = f"{server}\n{client}".encode("ascii")
    secret = hmac.new(exporter, key, hashlib.sha256).digest()
    expanded = block = b""
    for counter in (1, 2):
        block = hmac.new(secret, block + info + bytes([counter]), hashlib.sha256).digest()
        expanded += block
    return expanded[:32], expanded[32:]


def context():
    """TLS 1.3 with a certificate of this run's; whoever proves a key is taken."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    tls = SSL.Context(SSL.TLS_METHOD)
    tls.set_min_proto_version(SSL.TLS1_3_VERSION)
    tls.use_certificate(certificate)
    tls.use_privatekey(key)
    # OpenSSL checks the signature in any case.
    tls.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    tls.set_alpn_protos([ALPN])
    tls.set_alpn_select_callback(
        lambda _, offered: ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    return tls, identity(certificate)


class Link:
    """Frames over TLS, and what the exchange needs of TLS itself."""

    def __init__(self, tls, stream, is_client):
        self.tls = SSL.Connection(tls, stream)
        self.unread = b""
        if is_client:
            self.tls.set_connect_state()
        else:
            self.tls.set_accept_state()
        self.tls.do_handshake()
        if self.tls.get_alpn_proto_negotiated() != ALPN:
            raise Refused("no protocol was agreed on")
        self.peer = identity(self.tls.get_peer_certificate(as_cryptography=True))
        self.exporter = self.tls.export_keying_material(b"EXPORTER-turnchat-pairing", 32, b"")

    def send(self, member, value):
        encoded = base64.urlsafe_b64encode(value).decode().rstrip("=")
        self.say({"pair": {member: encoded}})

    def say(self, frame):
        self.tls.sendall(json.dumps(frame).encode() + b"\n")

    def receive(self, member):
        while b"\n" not in self.unread:
            try:
                self.unread += self.tls.recv(4096)
            except (SSL.ZeroReturnError, SSL.SysCallError) as end:
                raise Refused("the connection was cut") from end
            if len(self.unread) > 4096:
                raise Refused("a line is too long")
        line, self.unread = self.unread.split(b"\n", 1)
        frame = json.loads(line)
        if set(frame) != {"pair"} or set(frame["pair"]) != {member}:
            raise Refused(line.decode())
        encoded = frame["pair"][member]
        value = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        canonical = base64.urlsafe_b64encode(value).decode().rstrip("=")
        if encoded != canonical or len(value) != LENGTHS[member]:
            raise Refused(line.decode())
        return value

    def close(self):
        """PROTOCOL 3.15, for whoever sent the last frame."""
        self.tls.shutdown()
        try:
            while self.tls.recv(4096):
                pass
        except SSL.Error:
            pass


def client(address, code):
    tls, own = context()
    host, port = address.rsplit(":", 1)
    link = Link(tls, socket.create_connection((host.strip("[]"), int(port))), True)
    spake2 = SPAKE2_A(code, idA=CLIENT, idB=SERVER)
    link.send("spake2", spake2.start())
    key = spake2.finish(link.receive("spake2"))
    ours, theirs = confirmations(key, link.exporter, own, link.peer)
    link.send("confirm", ours)
    if not hmac.compare_digest(link.receive("confirm"), theirs):
        raise Refused("somebody answered in the peer's place")
    print("I am", own)
    print("Paired with", link.peer, flush=True)
    link.close()


def server(code):
    tls, own = context()
    listener = socket.create_server(("127.0.0.1", 0))
    print("Listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    link = Link(tls, listener.accept()[0], False)
    spake2 = SPAKE2_B(code, idA=CLIENT, idB=SERVER)
    message = spake2.start()
    key = spake2.finish(link.receive("spake2"))
    link.send("spake2", message)
    theirs, ours = confirmations(key, link.exporter, link.peer, own)
    if not hmac.compare_digest(link.receive("confirm"), theirs):
        link.say({"refuse": {"reason": "pairing-failed"}})
        link.close()
        raise Refused("a wrong code")
    print("I am", own)
    print("Paired with", link.peer, flush=True)
    link.send("confirm", ours)
    link.close()


def vector():
    page = pathlib.Path(__file__).parent.parent / "docs" / "PAIRING.md"
    block = re.search(r"```text vector\n(.*?)```", page.read_text(), re.DOTALL)
    lines = (line.split(" = ") for line in block[1].splitlines())
    page = {name.strip(): value for name, value in lines}

    def begun(side, scalar):
        begun = side(page["code"].encode(), idA=CLIENT, idB=SERVER)
        begun.start()
        state = json.loads(begun.serialize())
        state["xy_scalar"] = page[scalar]
        begun = side.from_serialized(json.dumps(state).encode())
        return begun, begun.side + begun.outbound_message

    (a, from_a), (b, from_b) = begun(SPAKE2_A, "x"), begun(SPAKE2_B, "y")
    key = a.finish(from_b)
    exporter = bytes.fromhex(page["exporter"])
    ours = confirmations(key, exporter, page["client"], page["server"])
    found = [from_a, from_b, key, b.finish(from_a), *ours]
    names = ["client spake2", "server spake2", "key", "key", "client confirm", "server confirm"]
    for name, value in zip(names, found):
        if value.hex() != page[name]:
            raise Refused(f"{name} is {value.hex()}, and not {page[name]}")
    print("The test vector is right.")


def main():
    signal.alarm(30)
    command, *rest = sys.argv[1:] or [""]
    code = b"" if command == "vector" else sys.stdin.readline().strip().encode()
    try:
        match command, *rest:
            case ["vector"]:
                vector()
            case ["client", address]:
                client(address, code)
            case ["server"]:
                server(code)
            case _:
                sys.exit(__doc__)
    except (Refused, SSL.Error) as why:
        sys.exit(f"Not paired: {why}")


main()
