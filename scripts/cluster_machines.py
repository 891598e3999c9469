"""The machines of `cluster.py`: each has a network namespace, an address and a process."""

import os
import pathlib
import signal
import subprocess
import urllib.request

TURNCHAT = os.environ.get("TURNCHAT", "turnchat")
PORT = 8876
NETWORK = "10.77.0"


def run(*command, given=None):
    return subprocess.run(
        command, check=True, text=True, input=given, stdout=subprocess.PIPE).stdout.strip()


class Machine:
    """A namespace on the bridge that joins them all, and what runs there."""

    def __init__(self, name, number, directory):
        self.name, self.address = name, f"{NETWORK}.{number}"
        self.directory = directory / name
        self.directory.mkdir()
        self.process = None
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"to-{name}", "master", "bridge", "up")
        self.within("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.within("ip", "link", "set", "eth0", "up")
        self.within("ip", "link", "set", "lo", "up")

    def within(self, *command):
        return run("ip", "netns", "exec", self.name, *command)

    def start(self, *command):
        self.command = command
        words = open(self.directory / "words", "ab")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *map(str, command)], stdin=subprocess.DEVNULL,
            stdout=words, stderr=words, start_new_session=True)

    def restart(self):
        self.start(*self.command)

    def kill(self):
        """All that runs there, at once."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self._signal(signal.SIGSTOP)

    def resume(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        for pid in run("ip", "netns", "pids", self.name).split():
            try:
                os.kill(int(pid), number)
            except ProcessLookupError:
                pass

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def ignore(self, other):
        """What comes from there is dropped, from now on."""
        self.within("iptables", "-w", "-A", "INPUT", "-s", other.address, "-j", "DROP")

    def hear(self, other):
        self.within("iptables", "-w", "-D", "INPUT", "-s", other.address, "-j", "DROP")


def bridge():
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")


def start_stores(machines):
    """One etcd of them all."""
    cluster = ",".join(f"{one.name}=http://{one.address}:2380" for one in machines)
    for one in machines:
        peer, client = f"http://{one.address}:2380", f"http://{one.address}:2379"
        one.start(
            "etcd", "--name", one.name, "--data-dir", one.directory / "data",
            "--initial-cluster", cluster, "--initial-advertise-peer-urls", peer,
            "--listen-peer-urls", peer, "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-metrics-urls", f"http://{one.address}:2381",
            "--snapshot-count", "5000", "--quota-backend-bytes", str(2 << 30),
            "--logger", "zap", "--log-outputs", "stderr")


def metric(store, name):
    """What a store says of itself; `None` if it says nothing."""
    try:
        with urllib.request.urlopen(f"http://{store.address}:2381/metrics", timeout=1) as told:
            for line in told.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
    except OSError:
        return None


def leader(stores):
    return next((one for one in stores if metric(one, "etcd_server_is_leader") == 1), None)


def start_nodes(machines, stores, allowed, *bot):
    """Servers of one identity, each with a copy of it. Without stores, one with a journal."""
    hosts = ",".join(f"{one.address}:2379" for one in stores)
    kept = ["--store", f"etcd://{hosts}/talks"] if stores else ["--journal"]
    first, *others = machines
    run(TURNCHAT, "--quiet", "gen-cert", "--home", str(first.directory / "home"))
    for one in others:
        run("cp", "-a", str(first.directory / "home"), str(one.directory / "home"))
    for one in machines:
        keys = [word for key in allowed for word in ("--allow", key)]
        one.start(
            TURNCHAT, "server", "--home", one.directory / "home", *keys,
            "--listen", f"{one.address}:{PORT}", *kept,
            "--conversations", "128", "--hold", "60s", "--json",
            "--exec", "python3", bot[0], one.directory / "said", *bot[1:])
    return run(TURNCHAT, "fingerprint", "--home", str(first.directory / "home"))


def start_balancer(machine, nodes):
    servers = "\n".join(
        f"    server {one.name} {one.address}:{PORT} check inter 1s fall 2 rise 1" for one in nodes)
    at = machine.directory / "haproxy.cfg"
    at.write_text(f"""
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen turnchat
    bind {machine.address}:{PORT}
    balance roundrobin
{servers}
""")
    machine.start("haproxy", "-db", "-f", at)


def text_of(path):
    path = pathlib.Path(path)
    return path.read_text() if path.exists() else ""
