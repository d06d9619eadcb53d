# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that opens archives: its limits, what it does with bombs, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import gzip
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gateway_doubles import wait_for
from infected_mail import zipped
from sample_archives import cab, rar5, through, zip_with_holes

from mailgate.archives import frames, server
from mailgate.archives.unpacker import LARGE, SLICE, NotOpened, Unpacker, UnpackerError

# Begins like an image that only 7zz opens.
IMAGE = b"MSWIM\0\0\0" + bytes(200)


@pytest.fixture
def unpacker():
    own = Unpacker()
    yield own
    own.close()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Replace 7zz by a shell script, for an unpacker that starts after this."""

    def write(text: str) -> None:
        path = tmp_path / "7zz"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def opened(unpacker: Unpacker, data: bytes, **words: bool) -> tuple[list[str], list[NotOpened]]:
    """Return the names of the files, and what was not opened."""
    found = [item async for item in unpacker.inside(data, **words)]
    problems = [item for item in found if isinstance(item, NotOpened)]
    return [item.name for item in found if not isinstance(item, NotOpened) and item.first], problems


async def reasons(unpacker: Unpacker, data: bytes) -> list[str]:
    return [f"{problem.kind}: {problem.reason}" for problem in (await opened(unpacker, data))[1]]


def sparse_tar(directory: Path) -> bytes:
    """Return a small tar of a file of 50 GB that is nearly all holes."""
    with (directory / "sparse").open("wb") as file:
        for number in range(3000):
            file.seek(number << 24)
            file.write(b"x")
    subprocess.run(["tar", "-C", directory, "--sparse", "-cf", directory / "a.tar", "sparse"], check=True)
    return (directory / "a.tar").read_bytes()


class TestAnswers:
    async def test_files_that_clamd_opens_are_sent_only_if_wanted(self, unpacker):
        data = zip_with_holes({"a.txt": b"x", "b.rar": rar5(b"y", b"c.txt")})
        assert (await opened(unpacker, data))[0] == ["/b.rar/c.txt"]
        assert (await opened(unpacker, data, everything=True))[0] == ["/a.txt", "/b.rar", "/b.rar/c.txt"]

    @pytest.mark.slow
    async def test_a_large_file_comes_in_slices_that_overlap(self, unpacker):
        content = os.urandom(1024) * (2 * SLICE // 1024 + 3)
        slices = [item.content async for item in unpacker.inside(rar5(content, b"a"))]
        assert len(slices) == 3
        assert all(len(piece) <= SLICE for piece in slices)
        assert content.startswith(slices[0])
        assert content.endswith(slices[-1])
        assert slices[0][-65536:] == slices[1][:65536]

    async def test_names_of_any_kind(self, unpacker):
        assert (await opened(unpacker, cab(b"x", b"\xff\n\0"[:2] + b"a")))[0] == ["/\ufffd\na"]

    async def test_an_unpacker_that_is_killed_gives_no_verdict(self, unpacker, program):
        program("exec sleep 600")
        task = asyncio.create_task(opened(unpacker, IMAGE))
        child = await self._child(unpacker)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(UnpackerError):
            await task
        assert (await opened(unpacker, rar5(b"y", b"c.txt")))[0] == ["/c.txt"]

    async def _child(self, unpacker: Unpacker) -> int:
        def found() -> list[int]:
            own = children(unpacker._process.pid) if unpacker._process else []
            return [child for child in own if children(child)]

        await wait_for(found)
        return found()[0]

    async def test_it_ends_when_nobody_waits_any_more(self, unpacker, program):
        program("exec sleep 600")
        task = asyncio.create_task(opened(unpacker, IMAGE))
        child = await self._child(unpacker)
        task.cancel()
        await wait_for(lambda: child not in children(unpacker._process.pid))

    async def test_it_is_started_again(self, unpacker):
        assert (await opened(unpacker, rar5(b"y", b"c.txt")))[0] == ["/c.txt"]
        unpacker._process.kill()
        unpacker._process.wait()
        assert (await opened(unpacker, rar5(b"y", b"c.txt")))[0] == ["/c.txt"]

    @pytest.mark.slow
    def test_it_ends_with_the_gateway(self, tmp_path):
        script = (
            "import asyncio, sys\nfrom mailgate.archives.unpacker import OWN\n"
            "async def main():\n    async for found in OWN.inside(bytes.fromhex(sys.argv[1])): pass\n"
            "    print(OWN._process.pid, flush=True)\n    import os; os._exit(0)\nasyncio.run(main())\n"
        )
        command = [sys.executable, "-c", script, rar5(b"y", b"c").hex()]
        environment = {**os.environ, "PYTHONPATH": str(Path(server.__file__).parents[2])}
        pid = int(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
        for _attempt in range(1200):
            state = Path(f"/proc/{pid}/stat")
            if not state.exists() or " Z " in state.read_text():
                return
            time.sleep(0.05)
        raise AssertionError("the unpacker is still there")


@pytest.mark.slow
class TestLimits:
    async def test_the_program_has_limits_and_an_empty_environment(self, unpacker, program, monkeypatch, tmp_path):
        monkeypatch.setenv("SECRET", "x")
        program(
            'if [ "$1" = l ]; then printf "Path = a\\nSize = \\n\\n"; exit; fi; ulimit -a; export -p;'
            f" grep -i privs /proc/self/status; head -c 400000000 /dev/zero >{tmp_path}/w"
        )
        [found] = [item async for item in unpacker.inside(IMAGE) if not isinstance(item, NotOpened)]
        text = found.content.decode()
        assert re.search(rf"time\(seconds\) +{server.CPU_SECONDS}\b", text)
        assert re.search(rf"vmemory\(kbytes\) +{server.MEMORY // 1024}\b", text)
        assert re.search(r"coredump\(blocks\) +0\b", text)
        assert re.search(rf"nofiles +{server.OPEN_FILES}\b", text)
        assert "NoNewPrivs:\t1" in text
        assert "SECRET" not in text
        assert (tmp_path / "w").stat().st_size <= server.FILE_SIZE

    async def test_a_program_that_takes_too_long(self, unpacker, program):
        program("while :; do :; done")
        assert await reasons(unpacker, IMAGE) == [f"unchecked: x-ms-wim: {frames.TOO_LONG}"]

    def test_a_process_that_takes_too_long(self):
        script = "from mailgate.archives import server\nserver.CPU_SECONDS = 1\nserver.limit(0)\nwhile True: pass"
        environment = {**os.environ, "PYTHONPATH": str(Path(server.__file__).parents[2])}
        ended = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
        assert server.cause(ended.returncode) == frames.TOO_LONG
        assert server.cause(-signal.SIGSEGV) == frames.CRASHED
        assert server.cause(-signal.SIGKILL) == frames.KILLED

    async def test_excessive_or_invalid_output(self, unpacker, program):
        program('if [ "$1" = l ]; then printf "Path = a\\nSize = 5\\n\\n"; else exec cat /dev/zero; fi')
        assert await reasons(unpacker, IMAGE) == ["unchecked: x-ms-wim: more content than listed"]
        program('if [ "$1" = l ]; then printf "Path = a\\nSize = \\n\\n"; else exec cat /dev/zero; fi')
        assert await reasons(unpacker, IMAGE) == ["unchecked: more than 200 MiB unpacked"]
        program("exec head -c 100000 /dev/urandom")
        assert len(await reasons(unpacker, IMAGE)) == 1

    @pytest.mark.parametrize(
        "bomb",
        [
            lambda: gzip.compress(bytes(201 << 20), 1),
            lambda: zipped(zipped(bytes(201 << 20)), "a.zip"),
            lambda: lzma.compress(bytes(201 << 20), preset=0),
            lambda: zip_with_holes({f"{number}.zip": zipped(bytes(20 << 20)) for number in range(16)}),
            lambda: zip_with_holes({str(number): b"" for number in range(10_001)}),
            # A dictionary of 3 GiB.
            lambda: b"\x5d\0\0\0\xc0" + lzma.compress(b"x" * 999, lzma.FORMAT_ALONE)[5:],
        ],
        ids=["gzip", "zip in zip", "xz", "many in one", "many files", "dictionary"],
    )  # fmt: skip
    async def test_bombs(self, unpacker, bomb):
        found = await reasons(unpacker, bomb())
        assert found and all(reason.startswith("unchecked: ") for reason in found)

    @pytest.mark.skipif(not shutil.which("tar"), reason="tar is not installed here")
    async def test_a_sparse_tar(self, unpacker, tmp_path):
        found = await reasons(unpacker, sparse_tar(tmp_path))
        assert found and all(reason.startswith("unchecked: ") for reason in found)


@pytest.mark.slow
class TestLargeArchives:
    DATA = gzip.compress(bytes(SLICE + 1))

    async def test_few_are_passed_on_at_once_and_small_ones_beside_them(self, unpacker):
        iterators = [unpacker.inside(self.DATA, everything=True) for _ in range(LARGE + 1)]
        first = [asyncio.ensure_future(anext(each)) for each in iterators]
        while sum(task.done() for task in first) < LARGE:
            await asyncio.wait([task for task in first if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        assert await opened(unpacker, gzip.compress(b"small"), everything=True) == ([""], [])
        (waiting,) = (task for task in first if not task.done())
        await next(each for each, task in zip(iterators, first, strict=True) if task.done()).aclose()
        assert len((await waiting).content) == SLICE
        for each in iterators:
            await each.aclose()

    async def test_place_is_left_after_an_error(self, unpacker):
        for _ in range(LARGE + 1):
            iterator = unpacker.inside(self.DATA, everything=True)
            await anext(iterator)
            with pytest.raises(ZeroDivisionError):
                await iterator.athrow(ZeroDivisionError())


@pytest.mark.slow
class TestEventLoop:
    async def test_a_short_archive_does_not_wait_for_long_ones(self, unpacker, program):
        program("exec sleep 600")
        slow = [asyncio.create_task(opened(unpacker, IMAGE + bytes([number]))) for number in range(100)]
        await asyncio.sleep(1)
        assert (await opened(unpacker, through("gzip", data=b"x")))[0] == [""]
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    async def test_the_loop_goes_on_while_a_bomb_is_opened(self, unpacker):
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                # The unpacker has the lower priority: a task that never rests would keep it from its processor.
                await asyncio.sleep(0 if turns <= 100 else 0.01)
                turns += 1

        task = asyncio.create_task(turn())
        await opened(unpacker, gzip.compress(bytes(100 << 20), 1))
        task.cancel()
        assert turns > 100
