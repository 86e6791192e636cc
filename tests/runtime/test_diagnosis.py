from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stylecrafter.runtime import diagnosis


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(diagnosis, "_HUB_SECONDS", 0.5)


class _Answers(BaseHTTPRequestHandler):
    code = 200

    def do_HEAD(self) -> None:
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("code", "online"), [(200, True), (404, True), (407, False), (503, False)])
def test_the_hub_is_asked(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, code: int, online: bool
) -> None:
    monkeypatch.setattr(_Answers, "code", code)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    found = diagnosis._hub()
    assert found.found.startswith("online (http://127.0.0.1" if online else "offline: http://127.0.0.1")
    assert found.advice is None


def test_a_hub_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert "cannot be reached" in diagnosis._hub().found


def test_a_hub_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        assert diagnosis._hub().found.startswith("offline")
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "huggingface.co", "http://", "http://[", "http://a b/"]
)
def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert diagnosis._hub().found.startswith(f"offline: {address} cannot be reached")


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_switched_off_is_not_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_ENDPOINT", "file:///never looked at")
    assert diagnosis._hub().found == f"offline ({name})"
    monkeypatch.setenv(name, "0")
    assert "never looked at" in diagnosis._hub().found


def test_a_working_folder_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    found = diagnosis._disk()
    assert "cannot be looked at" in found.found and found.advice is not None
