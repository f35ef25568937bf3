"""Not a test: `zuora-jobs` as a process of its own, without the half second of CPU that importing takes each time.

    python tests/forked.py serve FD      # one for all: imports the command once, and forks for each who connects to FD,
                                         # until stdin ends
    python -IS tests/forked.py PATH ...  # in place of `python -m zuora_jobs ...`: has that one fork, and stands for it

The fork has the arguments, environment, folder, stdin, stdout and stderr of the one that it is forked for, has run nothing
but imports before, and ends as any Python does. Its signals are passed on, `kill -9` too, and it ends as the fork has ended.
"""

# whoever stands for a fork must start fast: what only the server needs is imported there
import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STANDARD = (0, 1, 2)
LENGTH = 4


def stand_for_a_fork(path: str, arguments: list[str]) -> None:
    """Ask for a fork, give it what is ours, pass signals on, and end as it ends."""
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than all of this
    words = [folder, str(len(arguments)), *arguments, *(f"{name}={value}" for name, value in os.environ.items())]
    request = "\0".join(words).encode("utf-8", "surrogateescape")
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        for number in PASSED_ON:
            signal.signal(number, lambda number, _: line.send(bytes([number])))
        socket.send_fds(line, [len(request).to_bytes(LENGTH, "big")], STANDARD)
        line.sendall(request)
        for descriptor in STANDARD:  # who reads them waits for the fork and not for us
            os.close(descriptor)
        status = int.from_bytes(line.recv(LENGTH), "big", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


class Server:
    """Forks, and tells each who asked how its fork has ended."""

    def __init__(self, listening: int) -> None:
        self.listener = socket.socket(fileno=listening)
        self.lines: dict[int, socket.socket] = {}
        """By the fork's process id."""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        self.woken, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        self.selector.register(self.woken, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker)

    def serve(self) -> None:
        """Serve until stdin ends; only a fork returns."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is sys.stdin:
                    sys.exit()
                if key.fileobj is self.listener:
                    line, _ = self.listener.accept()
                    if not self.fork(line):
                        return
                elif key.fileobj == self.woken:
                    os.read(self.woken, 4096)
                    self.reap()
                elif key.data in self.lines:
                    self.pass_on(key.data)

    def fork(self, line: socket.socket) -> int:
        """Fork for whoever is on the line; the fork gets 0 and is what was asked for."""
        head, descriptors, _, _ = socket.recv_fds(line, LENGTH, len(STANDARD))
        length = int.from_bytes(head, "big")
        request = b""
        while len(request) < length and (more := line.recv(length - len(request))):
            request += more
        if len(request) < length or len(descriptors) < len(STANDARD):  # it was killed as soon as it was there
            line.close()
            return -1
        if child := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            self.lines[child] = line
            self.selector.register(line, selectors.EVENT_READ, child)
            return child
        self.become(request.decode("utf-8", "surrogateescape").split("\0"), descriptors)
        line.close()
        return 0

    def become(self, words: list[str], descriptors: list[int]) -> None:
        """Let go of all that is the server's, and take what belongs to whom this is forked for."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        self.listener.close()
        for line in self.lines.values():
            line.close()
        os.close(self.woken)
        os.close(self.waker)
        for standard, descriptor in zip(STANDARD, descriptors, strict=True):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        folder, count, *rest = words
        os.chdir(folder)
        sys.argv[1:] = rest[: int(count)]
        os.environ.clear()
        for word in rest[int(count) :]:
            name, _, value = word.partition("=")
            os.environ[name] = value
        # as Python opens them when it starts, for as long as it runs
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, errors="backslashreplace")  # noqa: SIM115

    def reap(self) -> None:
        while self.lines:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            line = self.lines.pop(child)
            with suppress(OSError, KeyError):  # whoever was killed does not hear it
                self.selector.unregister(line)
                line.send(os.waitstatus_to_exitcode(status).to_bytes(LENGTH, "big", signed=True))
            line.close()

    def pass_on(self, child: int) -> None:
        """Signals come as bytes; who has gone was killed."""
        try:
            numbers = self.lines[child].recv(16)
        except ConnectionError:
            numbers = b""
        for number in numbers or (signal.SIGKILL,):
            os.kill(child, number)
        if not numbers:
            self.selector.unregister(self.lines[child])


if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    if path != "serve":
        stand_for_a_fork(path, arguments)
    import gc
    import selectors
    from contextlib import suppress

    import zuora_jobs.cli.app  # noqa: F401 - what the command imports, before anybody waits for it
    from zuora_jobs.cli import main

    gc.freeze()
    Server(int(arguments[0])).serve()
    main()
