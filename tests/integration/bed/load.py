"""Sign-ins from many clients at once, for as long as a test wants."""

import threading

from .process import PATIENCE


class Load:
    """`clients` threads sign in, one request after the other, as (username, password, verdict) of `people` in turn. Every
    answer is kept with what it should have been."""

    def __init__(self, service, people, clients=8):
        self.service, self.people = service, people
        self.results, self.errors = [], []
        self.ending = threading.Event()
        self.more = threading.Condition()
        self.threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def _run(self, number):
        client = self.service.client()
        turn = number
        while not self.ending.is_set():
            username, password, expected = self.people[turn % len(self.people)]
            turn += len(self.threads)
            try:
                answer = client.signin(username, password)
            except OSError as error:
                with self.more:
                    self.errors.append(error)
                client.close()
                continue
            with self.more:
                self.results.append((username, expected, answer))
                self.more.notify_all()
        client.close()

    def wait(self, number):
        """Waits for so many further answers."""
        with self.more:
            wanted = len(self.results) + number
            if not self.more.wait_for(lambda: len(self.results) >= wanted, PATIENCE):
                raise AssertionError(f"only {len(self.results)} answers, {len(self.errors)} errors: {self.errors[-1:]}")

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(PATIENCE)
