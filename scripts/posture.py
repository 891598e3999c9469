"""What a server and a client of ours show of their TLS (docs/PROTOCOL.md, section 1).

Run it through `scripts/posture`. The result is a table in Markdown; the exit code is 1 if anything
is not as it should be. A row whose tool is not installed says so and is no deviation.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree

TURNCHAT = os.environ.get("TURNCHAT", "turnchat")
OWN = "a look at the bytes"
CIPHERS = {0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384",
           0x1303: "TLS_CHACHA20_POLY1305_SHA256"}
X25519, X25519MLKEM768 = 0x001D, 0x11EC
SNI, TICKET, PSK, EARLY_DATA, VERSIONS, KEY_SHARE = 0, 35, 41, 42, 43, 51
HELLO = b'{"hello":{"conversation":"MDEyMzQ1Njc4OWFiY2RlZg","heard":0}}\n'
# What testssl.sh has against a certificate that is only the dress of a key: names, dates and
# issuers are without meaning (PROTOCOL 1.7).
OF_NO_MEANING = {"cert_subjectAltName", "cert_trust", "cert_chain_of_trust", "cert_validityPeriod",
                 "cert_revocation", "DNS_CAArecord", "cert_notAfter", "cert_expirationStatus"}
FINE = {"OK", "INFO", "DEBUG"}


class Table:
    """The rows, and whether all is well."""

    def __init__(self):
        self.is_well = True
        print("| what | seen by | verdict |\n|---|---|---|")

    def row(self, what, by, is_so, otherwise=""):
        self.is_well &= is_so
        verdict = "yes" if is_so else "NO: " + " ".join(str(otherwise).split())
        print(f"| {what} | {by} | {verdict} |", flush=True)

    def absent(self, by):
        print(f"| (all that it looks at) | {by} | not installed, so not checked |", flush=True)


def run(*command, given=None, seconds=60):
    """What it prints, also on standard error."""
    ran = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         timeout=seconds)
    return ran.stdout.decode(errors="replace")


# The scanners


def by_sslscan(table, address):
    if not shutil.which("sslscan"):
        return table.absent("sslscan")
    printed = run("sslscan", "--xml=-", address)
    scan = xml.etree.ElementTree.fromstring(printed[printed.index("<?xml"):])
    enabled = {p.get("type") + p.get("version") for p in scan.iter("protocol")
               if p.get("enabled") == "1"}
    table.row("TLS 1.3, and nothing older", "sslscan", enabled == {"tls1.3"}, enabled)
    ciphers = {cipher.get("cipher") for cipher in scan.iter("cipher")}
    table.row("the three AEAD ciphers of TLS 1.3, and no other", "sslscan",
              ciphers == set(CIPHERS.values()), ciphers)
    groups = {group.get("name").lower() for group in scan.iter("group")}
    table.row("no key exchange but X25519, alone or with ML-KEM-768", "sslscan",
              "x25519" in groups <= {"x25519", "x25519mlkem768"}, groups)
    renegotiates = {each.get("supported") for each in scan.iter("renegotiation")}
    table.row("no renegotiation", "sslscan", renegotiates == {"0"}, renegotiates)
    compresses = {each.get("supported") for each in scan.iter("compression")}
    table.row("no compression", "sslscan", "1" not in compresses, compresses)


def by_testssl(table, address, directory):
    tool = shutil.which("testssl.sh") or shutil.which("testssl")
    if not tool:
        return table.absent("testssl.sh")
    found = directory / "testssl.json"
    run(tool, "--openssl", shutil.which("openssl"), "--warnings", "off", "--quiet", "--color", "0",
        "--jsonfile", str(found), address, seconds=600)
    findings = json.loads(found.read_text())
    says = {each["id"]: each["finding"] for each in findings}

    def all_say(words, *ids):
        wrong = {i: says.get(i) for i in ids if not re.match(words, says.get(i, ""))}
        return not wrong, wrong

    old = all_say("not offered", "SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2")
    new = all_say("offered", "TLS1_3")
    table.row("TLS 1.3, and nothing older", "testssl.sh", old[0] and new[0], old[1] | new[1])
    ciphers = {int(i[8:], 16) for i in says if re.fullmatch("cipher_x[0-9a-f]+", i)}
    table.row("the three AEAD ciphers of TLS 1.3, and no other", "testssl.sh",
              ciphers == set(CIPHERS), ciphers)
    table.row("no tickets and no resumption", "testssl.sh", *all_say(
        "[Nn]o |no$|not supported", "TLS_session_ticket", "SSL_sessionID_support",
        "sessionresumption_ticket", "sessionresumption_ID"))
    table.row("no renegotiation and no compression", "testssl.sh", *all_say(
        "TLS 1.3 only|not vulnerable", "secure_renego", "secure_client_renego", "CRIME_TLS"))
    faults = {each["id"]: each["finding"] for each in findings
              if each["severity"] not in FINE and each["id"] not in OF_NO_MEANING}
    table.row("nothing else that it warns of, but names, dates and issuers", "testssl.sh",
              not faults, faults)


# openssl(1)


def by_openssl(table, address, bob):
    command = ["openssl", "s_client", "-connect", address, "-alpn", "turnchat/1", "-msg",
               "-ign_eof"]
    identity = ["-cert", str(bob / "cert.pem"), "-key", str(bob / "key.pem")]
    # It is answered with `quit`, and the connection is closed.
    said = HELLO + b'{"quit":{}}\n'
    unproven = run(*command, "-tls1_3", given=said)
    table.row("a client without a certificate gets the alert `certificate_required`", "openssl",
              "fatal certificate_required" in unproven, unproven[-200:])
    proven = run(*command, "-tls1_3", *identity, given=said)
    table.row("a client with one is answered", "openssl", '{"welcome"' in proven, proven[-200:])
    table.row("no ticket comes, up to the end of the connection", "openssl",
              "NewSessionTicket" not in proven and "close_notify" in proven, proven[-200:])
    old = run(*command, "-tls1_2", *identity, given=said)
    table.row("TLS 1.2 gets the alert `protocol_version`", "openssl",
              "fatal protocol_version" in old, old[-200:])


# The bytes


class Hello:
    """A ClientHello or a ServerHello (RFC 8446, 4.1)."""

    def __init__(self, stream):
        """From the start of what one side has sent."""
        if stream[0] != 22:
            raise ValueError(f"no handshake record, but {stream[:7].hex()}")
        body = stream[9 : 9 + int.from_bytes(stream[6:9], "big")]
        self.is_server = stream[5] == 2
        at = 34 + 1 + body[34]
        if self.is_server:
            self.ciphers, at = [int.from_bytes(body[at : at + 2], "big")], at + 3
        else:
            size = int.from_bytes(body[at : at + 2], "big")
            self.ciphers = _pairs(body[at + 2 : at + 2 + size])
            at += 2 + size
            self.compressions = body[at + 1 : at + 1 + body[at]]
            at += 1 + body[at]
        self.extensions, at = {}, at + 2
        while at < len(body):
            kind, size = _pairs(body[at : at + 4])
            self.extensions[kind] = body[at + 4 : at + 4 + size]
            at += 4 + size

    def groups(self):
        """Those of its key shares."""
        share = self.extensions.get(KEY_SHARE, b"")
        if self.is_server:
            return _pairs(share[:2])
        found, at = [], 2
        while at < len(share):
            group, size = _pairs(share[at : at + 4])
            found.append(group)
            at += 4 + size
        return found


def _pairs(data):
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)]


class Recorder:
    """A relay for one connection, that keeps what each side has sent."""

    def __init__(self, target):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.target, self.sent = target, {"client": b"", "server": b""}
        threading.Thread(target=self._relay, daemon=True).start()

    def _relay(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(self.target)
        threading.Thread(target=self._pass, args=(server, client, "server"), daemon=True).start()
        self._pass(client, server, "client")

    def _pass(self, source, sink, who):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.sent[who] += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def between_ours(table, recorder, bob, pin):
    """Two of ours, who hold a conversation."""
    ended = subprocess.run(
        [TURNCHAT, "client", recorder.address, "--home", str(bob), "--pin", pin, "--quiet"],
        input=b"QUIT\n", capture_output=True, timeout=30)
    table.row("two of ours hold a conversation through a relay", OWN,
              ended.returncode == 0, ended.stderr)
    client, server = Hello(recorder.sent["client"]), Hello(recorder.sent["server"])
    table.row("they agree on X25519MLKEM768 (group 0x11EC) at the first try", OWN,
              server.groups() == [X25519MLKEM768] and X25519MLKEM768 in client.groups(),
              (client.groups(), server.groups()))
    table.row("the client offers TLS 1.3 alone, its three ciphers, and no compression", OWN,
              client.extensions.get(VERSIONS) == b"\x02\x03\x04"
              and set(client.ciphers) - {0x00FF} == set(CIPHERS)
              and client.compressions == b"\x00", (client.extensions, client.ciphers))
    hidden = {SNI, TICKET, PSK, EARLY_DATA} & set(client.extensions)
    table.row("it sends no name, no ticket and no early data", OWN, not hidden, hidden)
    clear = recorder.sent["client"] + recorder.sent["server"]
    table.row("no certificate and no word can be read in between", OWN,
              not any(word in clear for word in (b"turnchat\x30", b"hello", b"Hello.")), "clear text")


def early_data(table, target):
    """A ClientHello with a ticket, made up as no server gives one, and with early data."""
    def extension(kind, data):
        return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data

    def sized(data, size=2):
        return len(data).to_bytes(size, "big") + data

    share = X25519.to_bytes(2, "big") + sized(os.urandom(32))
    identity = sized(sized(os.urandom(64)) + bytes(4)) + sized(sized(os.urandom(32), 1))
    extensions = b"".join([
        extension(VERSIONS, b"\x02\x03\x04"), extension(10, sized(b"\x00\x1d")),
        extension(13, sized(b"\x04\x03\x08\x07")), extension(16, sized(sized(b"turnchat/1", 1))),
        extension(KEY_SHARE, sized(share)), extension(45, b"\x01\x01"),
        extension(EARLY_DATA, b""), extension(PSK, identity)])
    body = (b"\x03\x03" + os.urandom(32) + sized(os.urandom(32), 1) + sized(b"\x13\x01")
            + b"\x01\x00" + sized(extensions))
    message = b"\x01" + sized(body, 3)
    with socket.create_connection(target, timeout=10) as stream:
        stream.sendall(b"\x16\x03\x01" + sized(message))
        answer = stream.recv(65_536)
    server = Hello(answer)
    table.row("a client that offers a ticket and early data gets a whole handshake", OWN,
              server.is_server and PSK not in server.extensions, answer.hex())


@contextlib.contextmanager
def server(directory):
    """Alice's, who admits Bob; its address."""
    command = [TURNCHAT, "server", "--home", str(directory / "alice"), "--listen", "127.0.0.1:0",
               "--allow", str(directory / "bob" / "cert.pem"), "--first", "Hello."]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    try:
        said = b""
        for line in process.stderr:
            said += line
            if line.startswith(b"Listening on "):
                break
        else:
            sys.exit(f"The server does not begin: {said.decode()}")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield line.split()[-1].decode()
    finally:
        process.kill()
        process.wait()


def main():
    with tempfile.TemporaryDirectory(prefix="posture-") as directory:
        directory = pathlib.Path(directory)
        for name in ("alice", "bob"):
            run(TURNCHAT, "gen-cert", "--out", str(directory / name))
        pin = run(TURNCHAT, "fingerprint", str(directory / "alice" / "cert.pem")).strip()
        table = Table()
        with server(directory) as address:
            host, _, port = address.rpartition(":")
            target = host, int(port)
            between_ours(table, Recorder(target), directory / "bob", pin)
            early_data(table, target)
            by_openssl(table, address, directory / "bob")
            by_sslscan(table, address)
            by_testssl(table, address, directory)
    sys.exit(0 if table.is_well else 1)


if __name__ == "__main__":
    main()
