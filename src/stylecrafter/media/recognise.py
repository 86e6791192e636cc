"""What a file is by its first bytes, for messages that name what was brought instead of what was wanted."""

from __future__ import annotations

import os

#: As many first bytes as `recognise` looks at.
HEAD_BYTES = 1024

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (b"GIF87a", "a GIF"),
    (b"GIF89a", "a GIF"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM clip"),
    (b"fLaC", "a FLAC sound file"),
    (b"ID3", "an MP3 sound file"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript program (export it as PNG or JPEG first)"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript program (export it as PNG or JPEG first)"),
    (b"\xff\x0a", "a JPEG XL image (export it as JPEG or PNG first)"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image (export it as JPEG or PNG first)"),
    (b"\0\0\x01\xba", "an MPEG clip"),
    (b"\0\0\x01\xb3", "an MPEG clip"),
    (b"8BPS", "a Photoshop document"),
    (b"GGUF", "a GGUF checkpoint"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_HEIF_SEQUENCES = (b"hevc", b"hevx", b"hevm", b"hevs", b"msf1")
_PLAYLISTS = (b"#extm3u", b"ffconcat version", b"<mpd", b"v=0\r\no=", b"v=0\no=")


def recognise(head: bytes) -> str | None:
    """What a file that begins with `head` (`HEAD_BYTES` or fewer) is, as words such as "a PNG image".

    Returns:
        None where it is nothing that this module knows; plain text is not told apart from other text.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself (run `git lfs pull` where it came from)"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (
        text.startswith((b"<!--", b"<?xml")) and b"<html" in text
    ):
        return "a web page (HTML), not the file itself (its download went wrong, or needs a login)"
    if text.startswith(b"<") and b"<svg" in text:
        return "an SVG drawing (export it as PNG or JPEG first)"
    if text.startswith(_PLAYLISTS) or (text.startswith(b"<?xml") and b"<mpd" in text):
        return "a playlist that only names other files (fetch the clip itself)"
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "a BMP image"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP image"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "an AVI clip"
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "a WAV sound file"
    if head[4:8] == b"ftyp":
        return _of_brands(head[8:12], head[16 : max(16, min(int.from_bytes(head[:4], "big"), 256))])
    if _is_safetensors(head):
        return "a safetensors checkpoint"
    if head.startswith(b"PK\x03\x04"):
        # torch files are zip archives whose first member is NAME/data.pkl.
        return "a torch checkpoint" if b"/data.pkl" in head[:256] else "a zip archive"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "a Python pickle"
    return None


def _of_brands(brand: bytes, compatible: bytes) -> str:
    """Of a file whose first box names what it can be read as: `brand` first, then the `compatible` ones."""
    # "mif1" and "msf1" stand for pictures and sequences of any codec.
    if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avi" in compatible):
        return "an AVIF image"
    if brand in _HEIF_BRANDS:
        return "a HEIC photo (export it as JPEG or PNG first)"
    if brand in _HEIF_SEQUENCES:
        return "a HEIC sequence (export it as MP4 first)"
    return "an M4A sound file" if brand in (b"M4A ", b"M4B ") else "an MP4 or MOV clip"


def recognise_file(path: str | os.PathLike[str]) -> str | None:
    """As `recognise`, of a plain file; None also where it cannot be read."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return recognise(file.read(HEAD_BYTES))
    except (OSError, ValueError):
        return None


def _is_safetensors(head: bytes) -> bool:
    # Eight bytes of length, then that many bytes of json.
    return (
        len(head) > 9 and int.from_bytes(head[:8], "little") < 2**32 and head[8:10] in (b'{"', b"{}", b"{ ")
    )
