"""Being asked to stop: a signal is noted, and the work ends where it can."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interruption:
    """SIGTERM, SIGINT and SIGHUP, noted instead of obeyed for as long as `listening`.

    `signal` is the last one that came, None if none did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note signals from now on, until the end of the block; only the main thread may, others hear none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGTERM, signal.SIGINT]
        # A terminal was closed or a connection dropped; who began a run under `nohup` wants it to go on.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        self.signal = signal.Signals(number)
