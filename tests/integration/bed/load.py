"""Sign-ins from many clients at once, for as long as a test wants."""

import threading
import time

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


class Sample:
    """One sign-in: when it was sent and answered (monotonic seconds), for whom, and what should have come."""

    def __init__(self, sent, username, expected):
        self.sent, self.username, self.expected = sent, username, expected
        self.answered, self.answer = None, None

    @property
    def verdict(self):
        return self.answer.json["verdict"]

    @property
    def right(self):
        return self.answer.status == 200 and self.verdict == self.expected


class PacedLoad:
    """Sign-ins at a steady rate, whether or not those before are answered, as people come. `people` as for Load; each sample
    is in `samples` from the moment when it was sent."""

    def __init__(self, service, people, rate, most=64):
        self.service, self.people, self.rate = service, people, rate
        self.samples, self.errors = [], []
        self.turn, self.started = 0, None
        self.ending = threading.Event()
        self.more = threading.Condition()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(most)]

    def __enter__(self):
        self.started = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def _next(self):
        with self.more:
            turn, self.turn = self.turn, self.turn + 1
        return self.people[turn % len(self.people)], self.started + turn / self.rate

    def _run(self):
        client = self.service.client()
        while True:
            (username, password, expected), due = self._next()
            if self.ending.wait(max(0, due - time.monotonic())):
                break
            sample = Sample(time.monotonic(), username, expected)
            with self.more:
                self.samples.append(sample)
            try:
                answer = client.signin(username, password)
            except OSError as error:
                with self.more:
                    self.errors.append(error)
                client.close()
                continue
            with self.more:
                sample.answer, sample.answered = answer, time.monotonic()
                self.more.notify_all()
        client.close()

    def answered(self):
        with self.more:
            return [sample for sample in self.samples if sample.answer]

    def wait(self, test, what, limit=PATIENCE):
        """Waits until test(answered samples) is true; gives its value."""
        with self.more:
            if not self.more.wait_for(lambda: self.errors or test([sample for sample in self.samples if sample.answer]), limit):
                raise AssertionError(f"waited {limit} s for {what}: {len(self.samples)} sign-ins, {self.errors[-1:]}")
            return test([sample for sample in self.samples if sample.answer])

    def rate_between(self, since, until):
        """Right answers a second."""
        return sum(since <= sample.answered < until and sample.right for sample in self.answered()) / (until - since)

    def stop(self):
        """No more are sent; what was sent is answered."""
        self.ending.set()
        for thread in self.threads:
            thread.join(PATIENCE)
