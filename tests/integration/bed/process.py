"""One server process: started with a clean environment, awaited by sd_notify or its log, ended for certain.

Nothing here sleeps: waits end by an event (a datagram, a line of log, the process's end) or fail by their limit.
"""

import os
import re
import selectors
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


class Log:
    """What a process writes, kept in a file and in memory, a line at a time."""

    def __init__(self, stream, path):
        self.path = path
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.reader.start()

    def _read(self, stream):
        with open(self.path, "ab") as out:
            for line in stream:
                out.write(line)
                out.flush()
                with self.changed:
                    self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self.changed.notify_all()
        stream.close()
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
                    raise BedError(f"{self.path}: {wanted!r} did not come ({why}):\n" + "\n".join(self.lines[-40:]))
                self.changed.wait(left)

    def tail(self, lines=40):
        with self.changed:
            return "\n".join(self.lines[-lines:])


def fields(line):
    """The fields of a logfmt line."""
    return {name: value[1:-1].encode().decode("unicode_escape", "replace") if value.startswith('"') else value
            for name, value in FIELD.findall(line)}


class Process:
    """A running program. With notify=True it must say READY=1 as sd_notify(3) has it."""

    def __init__(self, name, argv, folder, notify=False, env=None, cwd=None, pass_fds=()):
        self.name, self.folder = name, folder
        self.notify = self._notify_socket(name) if notify else None
        env = clean_environment(**(env or {}))
        if self.notify:
            env["NOTIFY_SOCKET"] = self.notify.getsockname()
        self.popen = subprocess.Popen(DIES_WITH_US + [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, env=env, cwd=cwd, pass_fds=pass_fds)
        self.pid = self.popen.pid
        self.log = Log(self.popen.stdout, os.path.join(folder, f"{name}.log"))

    def _notify_socket(self, name):
        path = os.path.join(self.folder, f"{name}.notify")
        if os.path.exists(path):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sock.bind(path)
        return sock

    def wait_notify(self, wanted, limit=PATIENCE):
        """Waits for a notification that has this line ("READY=1"); gives all of its lines."""
        deadline = time.monotonic() + limit
        pidfd = os.pidfd_open(self.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.notify, selectors.EVENT_READ)
                selector.register(pidfd, selectors.EVENT_READ)
                while True:
                    ready = [key.fileobj for key, _ in selector.select(max(0, deadline - time.monotonic()))]
                    if self.notify in ready:
                        lines = self.notify.recv(65536).decode().splitlines()
                        if wanted in lines:
                            return lines
                    elif pidfd in ready:
                        self.popen.wait()
                        self.log.reader.join(PATIENCE)
                        raise BedError(f"{self.name} ended with {self.popen.returncode} before {wanted}:\n{self.log.tail()}")
                    else:
                        raise BedError(f"{self.name} did not say {wanted} within {limit} s:\n{self.log.tail()}")
        finally:
            os.close(pidfd)

    def ready(self):
        self.wait_notify("READY=1")
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
        self.log.reader.join(PATIENCE)
        if self.notify:
            self.notify.close()
            os.unlink(os.path.join(self.folder, f"{self.name}.notify"))
            self.notify = None
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
