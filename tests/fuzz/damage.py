"""Strategies: valid files and documents, damaged the way disks, editors, downloads and jokers damage them."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

#: In place of any value of a document.
ABSURD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, -1e308, float("nan"), float("inf"),
    "", " ", "0", "-1", "nan", "null", "on", "2024-01-15", "12:30", "x" * 5000, "ä" * 300, "\ud800", "\x00", "\x1b[2J",
    "\u202e", "~", "~nobody-at-all", "~nobody-at-all/x.png", "/", ".", "..", "../" * 50, "/dev/zero", "/dev/stdin",
    "/proc/self/mem", "file:x.png", "http://localhost:1/x", "concat:a|b", "%03d.png", "a\nb", "n" * 300, "a/b",
    "org/repo", [], {}, [None], [[]], [{}], {"": None}, [0] * 1000, ["x"] * 1000, {"__class__": "x"},
    {"a": {"b": {"c": []}}},
)  # fmt: skip


def nested(depth: int) -> list[Any]:
    """Lists inside each other."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from([value for value in ABSURD if isinstance(value, str)]),
)
absurd = st.one_of(
    # Copies: a document that is changed further must not change what the next one is given.
    st.sampled_from(ABSURD).map(copy.deepcopy),
    st.integers(60, 900).map(nested),
    st.integers(),
    st.floats(),
    texts,
)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A document of lists and mappings with a few values replaced, removed, added or renamed."""
    whole = [copy.deepcopy(document)]
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(_places(whole)))
        action = draw(st.sampled_from(("replace", "replace", "replace", "remove", "add", "rename", "repeat")))
        if action == "replace" or holder is whole:
            holder[key] = draw(absurd)
        elif action == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            name = draw(texts)
            holder[name] = copy.deepcopy(holder[key]) if action == "repeat" else draw(absurd)
            if action == "rename":
                holder[name] = holder.pop(key, None)
        else:
            holder.append(copy.deepcopy(holder[key]) if action == "repeat" else draw(absurd))
    return whole[0]


def _places(holder: Any) -> list[tuple[Any, Any]]:
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    found = []
    for key in keys:
        found.append((holder, key))
        if isinstance(holder[key], (dict, list)):
            found += _places(holder[key])
    return found


def json_of(document: Any) -> st.SearchStrategy[bytes]:
    """Files: the document changed and written, or written and then damaged."""
    good = json.dumps(document).encode()
    return st.one_of(changed(document).map(_dumped), damaged([good]), st.just(good))


def _dumped(document: Any) -> bytes:
    # Without the escapes of json lone surrogates would be no UTF-8: that is one of the damages.
    return json.dumps(document).encode()


JUNK = (
    b"",
    b"\x00" * 64,
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    b"<!DOCTYPE html><html><body>Not found</body></html>",
    b"[" * 5000,
    b'{"a":' * 5000,
    b"&a [*a, *a]",
    b"PK\x03\x04" + b"\x00" * 60,
    b"\x80\x02cos\nsystem\n(S'true'\ntR.",
    (2**40).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
)


@st.composite
def damaged(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """One of the files, cut, patched, spliced or replaced by something else."""
    data = bytearray(draw(st.sampled_from(list(originals))))
    for _ in range(draw(st.integers(1, 4))):
        action = draw(st.sampled_from(("flip", "flip", "patch", "cut", "insert", "drop", "double", "junk")))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if action == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif action == "patch":
            patch = draw(
                st.one_of(
                    st.binary(max_size=16), st.sampled_from((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00" * 8))
                )
            )
            data[at : at + len(patch)] = patch
        elif action == "cut":
            del data[at:]
        elif action == "insert":
            data[at:at] = draw(st.binary(max_size=32))
        elif action == "drop":
            del data[at : at + draw(st.integers(1, 64))]
        elif action == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 512))]
        elif action == "junk" and draw(st.integers(0, 9)) == 0:
            return draw(st.sampled_from(JUNK))
    return bytes(data)
