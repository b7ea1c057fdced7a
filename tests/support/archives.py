"""Archives and pictures as bytes, the same every time."""

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Mapping


def tarred(contents: Mapping[str, bytes], *links: str) -> bytes:
    """A tar.gz of files, and of symbolic links to elsewhere after them."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "../elsewhere"
            archive.addfile(member)
    return gzip.compress(plain.getvalue(), 1, mtime=0)


def png(width: int = 3, height: int = 2, shade: int = 128) -> bytes:
    """A picture of one grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = (b"\0" + bytes([shade]) * width) * height
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
