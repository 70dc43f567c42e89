"""One server process: started with a clean environment, awaited by sd_notify or its log, ended for certain.

Nothing here sleeps: waits end by an event (a datagram, a line of log, the process's end) or fail by their limit.
"""

import os
import re
import signal
import socket
import subprocess
import threading
import time

# Long enough for a loaded machine under sanitizers: a limit for failures, never a delay.
PATIENCE = 60
# The child is killed when the process that started it ends, however it ends.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]
FIELD = re.compile(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)')


class BedError(Exception):
    """Something of the bed did not start, stop or answer; the text carries what it said."""


def clean_environment(**extra):
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    for name in ("TMPDIR",):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update({name: str(value) for name, value in extra.items()})
    return env


def run(argv, **options):
    """Runs a command to its end and gives its output; a failure carries it."""
    options.setdefault("env", clean_environment())
    options.setdefault("timeout", PATIENCE)
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise BedError(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


class Lines:
    """Lines that a process gives, collected by a thread of ours so that the process never waits for us."""

    def __init__(self, name):
        self.name = name
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        for lines in self._sources():
            with self.changed:
                self.lines += lines
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, wanted, start=0, limit=PATIENCE):
        """The first line from `start` on that the pattern or predicate `wanted` takes."""
        test = wanted if callable(wanted) else re.compile(wanted).search
        deadline = time.monotonic() + limit
        with self.changed:
            while True:
                for line in self.lines[start:]:
                    if test(line):
                        return line
                start = len(self.lines)
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = "the process ended" if self.ended else f"not within {limit} s"
                    raise BedError(f"{self.name}: {wanted!r} did not come ({why}):\n" + self.tail())
                self.changed.wait(left)

    def tail(self, lines=40):
        return "\n".join(self.lines[-lines:])


class Log(Lines):
    """What a process writes, kept in a file as well. Ends with the process."""

    def __init__(self, stream, path):
        super().__init__(path)
        self.path, self.stream = path, stream
        self.reader.start()

    def _sources(self):
        with self.stream, open(self.path, "ab") as out:
            for line in self.stream:
                out.write(line)
                out.flush()
                yield [line.decode("utf-8", "replace").rstrip("\n")]


class Notifications(Lines):
    """What a process says by sd_notify(3)."""

    def __init__(self, path):
        super().__init__(path)
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(path)
        self.reader.start()

    def _sources(self):
        # An empty datagram is ours: the end.
        while data := self.socket.recv(65536):
            yield data.decode("utf-8", "replace").splitlines()

    def end(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(self.path)
            sock.send(b"")
        self.reader.join(PATIENCE)
        self.socket.close()
        os.unlink(self.path)


def fields(line):
    """The fields of a logfmt line."""
    return {name: value[1:-1].encode().decode("unicode_escape", "replace") if value.startswith('"') else value
            for name, value in FIELD.findall(line)}


class Process:
    """A running program. With notify=True it must say READY=1 as sd_notify(3) has it."""

    def __init__(self, name, argv, folder, notify=False, env=None):
        self.name, self.folder = name, folder
        self.notify = Notifications(os.path.join(folder, f"{name}.notify")) if notify else None
        env = clean_environment(**(env or {}))
        if self.notify:
            env["NOTIFY_SOCKET"] = self.notify.path
        self.popen = subprocess.Popen(DIES_WITH_US + [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, env=env, start_new_session=True)
        self.pid = self.popen.pid
        self.log = Log(self.popen.stdout, os.path.join(folder, f"{name}.log"))
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self):
        """Whoever waits for a notification hears of the process's end."""
        self.popen.wait()
        if self.notify:
            self.notify.end()

    def ready(self):
        try:
            self.notify.wait("^READY=1$")
        except BedError:
            raise BedError(f"{self.name} did not become ready (exit status {self.popen.poll()}):\n{self.log.tail()}") from None
        return self

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, limit=PATIENCE):
        try:
            self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            raise BedError(f"{self.name} (process {self.pid}) does not end:\n{self.log.tail()}") from None
        self.watcher.join(PATIENCE)
        self.log.reader.join(PATIENCE)
        return self.popen.returncode

    def stop(self, limit=PATIENCE):
        """SIGTERM and the exit status; what does not end is killed, and that is an error."""
        if self.alive():
            self.signal(signal.SIGTERM)
        try:
            return self.wait(limit)
        except BedError:
            self.kill()
            raise

    def kill(self):
        if self.alive():
            self.signal(signal.SIGKILL)
        return self.wait()


def free_port():
    """A TCP port on loopback that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until(test, what, limit=PATIENCE):
    """Returns test()'s first true value. For what has no event to wait for: it asks again, and fails at the limit."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BedError(f"waited {limit} s for {what}")
        pause.wait(0.02)


def wait_port(address, port, process):
    """Returns once the process accepts there."""
    def accepts():
        if not process.alive():
            process.wait()
            raise BedError(f"{process.name} ended with {process.popen.returncode}:\n{process.log.tail()}")
        try:
            socket.create_connection((address, port), timeout=PATIENCE).close()
            return True
        except ConnectionRefusedError:
            return False
    until(accepts, f"{process.name} to accept at {address}:{port}")
