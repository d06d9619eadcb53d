# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding of message data: dot-stuffing, end of data, size limit and line ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailgate.smtp import data, lines

LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"x", b"x.", b"\xff\xe9", b"\0", b"a\rb", b"c\nd", b"\n.\n"])
)


class TestDataDecoder:
    @given(LINES, st.integers(1, 7), st.binary(max_size=9))
    def test_dot_stuffing_is_removed_from_any_pieces(self, lines, step, after):
        content = b"".join(line + b"\r\n" for line in lines)
        stream = data.stuff(content) + b".\r\n" + after
        decoder = data.DataDecoder(10_000)
        rest = b""
        for start in range(0, len(stream), step):
            piece = stream[start : start + step]
            rest += piece if decoder.done else decoder.feed(piece)
        assert decoder.done
        assert rest == after
        assert decoder.content() == content

    @given(st.binary(max_size=60).filter(lambda payload: b"\r\n.\r\n" not in b"\r\n" + payload))
    def test_only_crlf_dot_crlf_ends_the_data(self, payload):
        decoder = data.DataDecoder(10_000)
        assert decoder.feed(payload) == b""
        assert not decoder.done

    def test_excess_data_is_read_to_its_end_but_not_kept(self):
        decoder = data.DataDecoder(1000)
        for _ in range(50):
            assert decoder.feed(b"x" * 98 + b"\r\n") == b""
        assert decoder.feed(b".\r\nQUIT\r\n") == b"QUIT\r\n"
        assert decoder.too_big
        assert decoder.content() == b""

    @given(st.binary(max_size=200))
    def test_normalized_content_has_only_crlf(self, payload):
        once = lines.normalize(payload)
        assert not lines.lines_of(once).have_bare_newlines()
        assert lines.normalize(once) == once
        if not lines.lines_of(payload).have_bare_newlines():
            assert once == payload
