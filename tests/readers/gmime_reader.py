# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print, for each path of a message on standard input, the files that GMime extracts and that contain a mark.

One line of JSON for each message: [[reader, file in base64], …]. The marks are arguments, in hexadecimal. Debian's
Python runs this file, because it has the bindings.
"""

import base64
import json
import sys
from pathlib import Path

import gi

gi.require_version("GMime", "3.0")
from gi.repository import GMime  # noqa: E402


def files(raw):
    """Yield the decoded content of each part."""
    message = GMime.Parser.new_with_stream(GMime.StreamMem.new_with_buffer(raw)).construct_message(None)
    if message is None:
        return
    parts = GMime.PartIter.new(message)
    more = True
    while more:
        current = parts.get_current()
        content = current.get_content() if isinstance(current, GMime.Part) else None
        if content is not None:
            out = GMime.StreamMem.new()
            content.write_to_stream(out)
            yield bytes(out.get_byte_array() or b"")
        more = parts.next()


def main():
    """Read paths until the end of standard input."""
    GMime.init()
    marks = [bytes.fromhex(mark) for mark in sys.argv[1:]]
    for line in sys.stdin:
        found = [one for one in files(Path(line.rstrip("\n")).read_bytes()) if any(mark in one for mark in marks)]
        print(json.dumps([["GMime", base64.b64encode(one).decode()] for one in found]), flush=True)


if __name__ == "__main__":
    main()
