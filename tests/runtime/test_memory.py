from __future__ import annotations

from stylecrafter.runtime.memory import available_memory, format_bytes


def test_free_memory_is_less_than_the_machine_has() -> None:
    import psutil

    assert 2**20 < available_memory() <= psutil.virtual_memory().total


def test_format_bytes() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1536, 3 * 2**20, 2**31, 2**42)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "3.0 MiB",
        "2.0 GiB",
        "4.0 TiB",
    ]
