# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files inside archives that Python has no parser for, by bsdtar (Debian: libarchive-tools) in its own process.

bsdtar is written in C and reads hostile data, so it never runs inside the service: it has the archive as its standard
input, writes a plain tar to a pipe, and may use little time and memory, write no file and start no program. An exploit
ends with that process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from mailgate.archives import rar

ISO = "application/x-iso9660-image"
RAR = "application/x-rar"
KINDS = frozenset({
    RAR, "application/x-7z-compressed", "application/vnd.ms-cab-compressed", ISO,
    "application/x-lzh-compressed",
})  # fmt: skip

CPU_SECONDS = 10
ADDRESS_SPACE = 256 * 1024 * 1024
_LIMITS = (f"--cpu={CPU_SECONDS}", f"--as={ADDRESS_SPACE}", "--fsize=0", "--nproc=0", "--core=0")
# Names come as they are in the archive, in any charset: GNU's tar format does not recode them either.
_CONVERT = ("-c", "--format=gnutar", "-f", "-", "@-")
_LIST = ("-t", "-f", "-")
_MAX_NAME = 4096
_PADDING = 10240
# The system area of an ISO image (before its first sector) is unused; bsdtar might recognize another format in it.
_ISO_AREA = 0x8000


class UnpackError(ValueError):
    """An archive that cannot be unpacked: encrypted, damaged, or larger than the bounds allow."""


class Bound(Protocol):
    """What may still be unpacked: `size` in bytes, until `deadline`, as time.monotonic()."""

    size: int
    deadline: float

    def take(self, size: int) -> None:
        """Count one file; raise UnpackError when that is too much."""


def files_inside(archive: bytes, kind: str, bound: Bound) -> Generator[tuple[str, bytes], None, None]:
    """Yield names and contents of the files in an archive of one of KINDS; contents are empty if only names are known.

    Raises:
        UnpackError: The archive cannot be unpacked, or not to its end; the files before that are yielded.
    """
    source = os.memfd_create("archive")
    try:
        with open(source, "wb", closefd=False) as file:
            if kind == ISO:
                file.write(bytes(_ISO_AREA))
            file.write(memoryview(archive)[_ISO_AREA if kind == ISO else 0 :])
        seen = set()
        with _bsdtar(_CONVERT, source, bound) as (process, out):
            for name, content in _tar(out, bound):
                seen.add(name)
                yield name, content
            # The end of a tar is padded; do not wait for more output than that.
            out.read(_PADDING)
            out.close()
            failed = process.wait()
        if not failed and not (kind == RAR and rar.is_encrypted(archive)):
            return
        with _bsdtar(_LIST, source, bound) as (_process, out):
            for name in _lines(out):
                if name not in seen:
                    bound.take(0)
                    yield name, b""
        raise UnpackError("exceeds the limits for unpacking" if failed < 0 else "encrypted or damaged")
    finally:
        os.close(source)


@contextmanager
def _bsdtar(
    arguments: tuple[str, ...], source: int, bound: Bound
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run the program until the deadline; return its process and output."""
    program, limiter = shutil.which("bsdtar"), shutil.which("prlimit")
    if not program or not limiter:
        raise UnpackError(f"{'prlimit' if program else 'bsdtar'} is not installed on the gateway")
    seconds = bound.deadline - time.monotonic()
    if seconds <= 0:
        raise UnpackError("takes too long")
    os.lseek(source, 0, os.SEEK_SET)
    with subprocess.Popen(
        [limiter, *_LIMITS, program, *arguments],
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"LC_ALL": "C.UTF-8"},
    ) as process:
        alarm = threading.Timer(seconds, process.kill)
        alarm.start()
        try:
            assert process.stdout
            yield process, process.stdout
        finally:
            alarm.cancel()
            process.kill()


def _tar(out: IO[bytes], bound: Bound) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=out, mode="r|", encoding="utf-8", errors="replace") as archive:
            for entry in archive:
                if entry.isdir():
                    continue
                stream = archive.extractfile(entry) if entry.isfile() else None
                content = stream.read(bound.size + 1) if stream else b""
                bound.take(len(content))
                yield entry.name, content
    except tarfile.TarError:
        # Cut short; the exit status of the program tells why.
        return


def _lines(out: IO[bytes]) -> Iterator[str]:
    while line := out.readline(_MAX_NAME):
        name = line.decode("utf-8", "replace").rstrip("\n")
        if not name.endswith("/"):
            yield name
