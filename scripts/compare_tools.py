"""The tools that `compare.py` compares: how each is started, its flags, and its keys.

Two kinds of server are started: one for a person, whose pipes are the person, and one that starts
a program for each client. All speak TLS 1.3 alone, and each side insists on the other's certificate
where its flags allow that.
"""

import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import time

PATIENCE = 5  # seconds for what has to come


class Failure(Exception):
    """A measurement that cannot be taken."""


class Program:
    """A program with pipes, or at a terminal. It leads a process group, which ends with it."""

    def __init__(self, command, directory, terminal=None):
        self.words = open(directory / "words", "w+b")
        os.unlink(self.words.name)
        end = subprocess.PIPE if terminal is None else terminal
        self.process = subprocess.Popen(
            command, bufsize=0, stdin=end, stdout=end, stderr=self.words, cwd=directory,
            start_new_session=True)
        self.chunks = []

    def say(self, line):
        try:
            self.process.stdin.write(line + b"\n")
        except BrokenPipeError:
            pass  # it has ended, which its output will show

    def end_input(self):
        self.process.stdin.close()

    def output(self):
        return b"".join(self.chunks)

    def hear(self, text, seconds=PATIENCE, source=None):
        """Whether its output has this within these seconds."""
        source = source or self.process.stdout.fileno()
        until = time.monotonic() + seconds
        while text not in self.output():
            if not select.select([source], [], [], max(0, until - time.monotonic()))[0]:
                return False
            try:
                chunk = os.read(source, 65536)
            except OSError:  # so does a terminal end
                chunk = b""
            if not chunk:
                return False
            self.chunks.append(chunk)
        return True

    def expect(self, text):
        """Reads exactly this, without looking at a clock: for what is timed."""
        source, left = self.process.stdout.fileno(), text
        while left:
            chunk = os.read(source, len(left))
            if not chunk or not left.startswith(chunk):
                raise Failure(f"{self.process.args}: {chunk}, and not {left}. {self.told()}")
            left = left[len(chunk):]

    def told(self):
        """What it has written on standard error."""
        return os.pread(self.words.fileno(), 65536, 0).decode(errors="replace")

    def ended(self, seconds=PATIENCE):
        """Its exit code, or None if it goes on."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def memory(self):
        """The peak of its resident memory so far, in KiB.

        The `ru_maxrss` of `wait4` would do less well: it begins with the peak of this process.
        """
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for end in (self.process.stdin, self.process.stdout, self.words):
            if end:
                end.close()


class Tool:
    """A tool with flags of its server's, which make a column of the tables."""

    alpn = []
    hello = b""  # what a client writes before anything else
    heard = b""  # what stands before a message that came
    own = None  # what stands before one's own, if it is written too
    keys = ("bob.crt", "bob.pem")
    columns = [()]
    takes_another = False  # a server that has had a client

    def __init__(self, flags=()):
        self.flags = list(flags)
        self.takes_another = self.takes_another or bool(flags)
        self.name = f"`{' '.join([self.tool, *self.flags])}`"

    def answer(self, text):
        """What a client writes to answer the first message with this."""
        return text + b"\n"


class Turnchat(Tool):
    tool = "turnchat"
    program = os.environ.get("TURNCHAT", "turnchat")
    version = [program, "--version"]
    alpn = ["turnchat/1"]
    hello = b'{"hello":{"conversation":"MDEyMzQ1Njc4OWFiY2RlZg","heard":0}}\n'
    heard = b"They say: "
    own = b"Your message: "
    keys = ("bob/cert.pem", "bob/key.pem")
    takes_another = True

    def server(self, port, program=()):
        return [self.program, "server", "--listen", f"127.0.0.1:{port}", "--home", "alice",
                "--allow", "bob/cert.pem", "--allow", "carol/cert.pem",
                *(["--exec", *program] if program else [])]

    def client(self, port, name="bob"):
        return [self.program, "client", f"127.0.0.1:{port}", "--home", name,
                "--pin", "alice/cert.pem"]

    def answer(self, text):
        return b'{"heard":{"turn":1}}\n{"say":{"turn":2,"text":"%s"}}\n' % text


class Socat(Tool):
    tool = "socat"
    version = ["socat", "-V"]
    columns = [("fork",), ()]

    @staticmethod
    def options(name, trusted):
        return (f"cert={name}.crt,key={name}.pem,cafile={trusted}.crt,verify=1,"
                "openssl-min-proto-version=TLS1.3,nodelay")

    def server(self, port, program=()):
        listen = ["OPENSSL-LISTEN:" + str(port), "bind=127.0.0.1", "reuseaddr", *self.flags]
        return ["socat", ",".join(listen) + "," + self.options("alice", "guests"),
                "EXEC:" + " ".join(program) if program else "STDIO"]

    def client(self, port, name="bob"):
        return ["socat", "STDIO", f"OPENSSL:localhost:{port},pf=ip4," + self.options(name, "alice")]


class Ncat(Tool):
    tool = "ncat"
    version = ["ncat", "--version"]
    columns = [("--keep-open",), ()]

    def server(self, port, program=()):
        return ["ncat", "--listen", "127.0.0.1", str(port), *self.flags, "--ssl",
                "--ssl-cert", "alice.crt", "--ssl-key", "alice.pem",
                *(["--exec", " ".join(program)] if program else [])]

    def client(self, port, name="bob"):
        return ["ncat", "-4", "localhost", str(port), "--ssl",
                "--ssl-cert", f"{name}.crt", "--ssl-key", f"{name}.pem",
                "--ssl-verify", "--ssl-trustfile", "alice.crt"]


class Openssl(Tool):
    """Its server starts no programs: there, its client has `socat fork` for a server."""

    tool = "openssl"
    version = ["openssl", "version"]
    takes_another = True

    def server(self, port, program=()):
        if program:
            return Socat(["fork"]).server(port, program)
        return ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_3", "-quiet",
                "-cert", "alice.crt", "-key", "alice.pem", "-CAfile", "guests.crt",
                "-Verify", "1", "-verify_return_error", "-verify_quiet"]

    def client(self, port, name="bob"):
        return ["openssl", "s_client", "-connect", f"localhost:{port}", "-4", "-tls1_3", "-quiet",
                "-cert", f"{name}.crt", "-key", f"{name}.pem", "-CAfile", "alice.crt",
                "-verify_return_error", "-verify_quiet"]


TOOLS = {kind.tool: kind for kind in (Turnchat, Socat, Ncat, Openssl)}


def forget(tools):
    """Has the system read their programs from the disk. Of a file that was just written it maps
    larger pieces, which count as a process's memory."""
    for tool in tools:
        with open(shutil.which(TOOLS[tool].version[0]), "rb") as program:
            os.fsync(program.fileno())
            os.posix_fadvise(program.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make_keys(tools, directory):
    """Keys for all, ECDSA P-256. turnchat makes its own; the others' certificates are
    self-signed too, and name localhost. Those of bob and carol are the guests'."""
    names = ("alice", "bob", "carol", "eve")
    run = {"cwd": directory, "check": True, "capture_output": True, "timeout": PATIENCE}
    if "turnchat" in tools:
        for name in names:
            subprocess.run([Turnchat.program, "gen-cert", "--quiet", "--out", name], **run)
    if set(tools) != {"turnchat"}:
        for name in names:
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", f"{name}.pem",
                 "-out", f"{name}.crt", "-subj", "/CN=localhost",
                 "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], **run)
        guests = [(directory / f"{name}.crt").read_text() for name in ("bob", "carol")]
        (directory / "guests.crt").write_text("".join(guests))
