"""CLIP's byte-pair tokenizer from the vocabulary that the package ships, whole or cut to a small world.

The vocabulary is OpenAI CLIP's (MIT licence, `vocab/LICENSE`).
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Iterable
from importlib import resources

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT_LENGTH = 77
#: Merges that CLIP uses of the list: 49,152 entries less 256 bytes, as many word-final bytes and two marks.
_NUM_MERGES = 49152 - 256 - 2
Merge = tuple[str, str]


@functools.cache
def _merges() -> tuple[Merge, ...]:
    data = (resources.files("stylecrafter.weights") / "vocab" / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(data).decode("utf-8").split("\n")
    pairs = (line.split() for line in lines[1 : _NUM_MERGES + 1])
    return tuple((left, right) for left, right in pairs)


def _build(merges: Iterable[Merge], pad: str) -> CLIPTokenizer:
    merges = list(merges)
    symbols = list(bytes_to_unicode().values())  # printable bytes first, as CLIP has them
    tokens = [*symbols, *(s + "</w>" for s in symbols), *(left + right for left, right in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    # Marks are put in, never read from a text: otherwise every "!" that someone types would become padding.
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        pad_token=pad,
        model_max_length=CONTEXT_LENGTH,
        split_special_tokens=True,
    )


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer: 49,408 tokens, 77 a text.

    Texts are padded with token 0 ("!"), as OpenCLIP does, which the published video model was trained with.
    """
    return _build(_merges(), pad="!")


def compact_tokenizer(words: Iterable[str], extra_merges: int = 512) -> CLIPTokenizer:
    """CLIP's tokenizer cut to what `words` need, for small models.

    It keeps all bytes, the `extra_merges` most frequent merges and those on the way to each word of `words`; any
    other word falls into pieces, none is unknown.
    """
    merges = _merges()
    rank = {merge: index for index, merge in enumerate(merges)}
    kept = set(range(extra_merges))
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            ranked = [
                (rank[pair], i)
                for i, pair in enumerate(zip(pieces, pieces[1:], strict=False))
                if pair in rank
            ]
            if not ranked:
                break
            best, at = min(ranked)
            kept.add(best)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return _build((merges[index] for index in sorted(kept)), pad=END)
