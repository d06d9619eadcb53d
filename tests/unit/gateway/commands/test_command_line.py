# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Help, shell completion and manual page of the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailgate.cli import main
from mailgate.commands.help_texts import EXAMPLES

ROOT = Path(__file__).parents[4]
SHELL = ROOT / "roles" / "gateway" / "files" / "shell"


def complete(*words: str) -> set[str]:
    """Return what bash offers for the last word."""
    script = (
        f'source {SHELL}/mailgate.bash; COMP_WORDS=(mailgate "$@"); COMP_CWORD=$#; _mailgate;'
        " printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_completion_and_manual_page_are_generated_from_the_command_line():
    command = [sys.executable, ROOT / "tests" / "sanity" / "commands", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bash_completes_commands_options_and_values():
    assert {"search", "trace", "quarantine"} <= complete("")
    assert complete("sea") == {"search"}
    assert complete("--config", "x", "search", "--verd") == {"--verdict"}
    assert complete("search", "--verdict", "re") == {"refused"}
    assert complete("quarantine", "de") == {"delete"}
    assert {"--keep", "--to"} <= complete("quarantine", "release", "--")
    assert complete("search", "--to", "") == set()


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_can_read_its_completion():
    subprocess.run(["zsh", "-n", SHELL / "_mailgate"], check=True)


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_the_manual_page_has_no_errors():
    done = subprocess.run(["man", "--warnings", "-l", SHELL / "mailgate.8"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "EXIT STATUS" in done.stdout


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_has_examples_and_exit_statuses(command, capsys):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    out = capsys.readouterr().out
    assert all(line in out for line, _text in EXAMPLES[command])
    assert "exit status:" in out


def test_check_prints_json(tmp_path, capsys):
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    settings = tmp_path / "mailgate.toml"
    settings.write_text(f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\n')
    assert main(["check", "--json", "--config", str(settings)]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "routes": 1, "problems": []}
    settings.write_text("hostname = 1\n")
    assert main(["check", "--json", "--config", str(settings)]) == 2
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 2


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (["--version"], {"mailgate.config", "mailgate.commands.search", "json", "asyncio"}),
        (["unpack", "--help"], {"mailgate.config", "mailgate.commands.search", "asyncio"}),
        (["status", "--help"], {"mailgate.event_index", "mailgate.commands.report", "asyncio"}),
        (["report", "--help"], {"mailgate.commands.trace", "mailgate.server"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_no_other(arguments: list[str], needless: set[str]) -> None:
    """The archive has no compiled code, so that what a command imports is most of its time."""
    script = (
        "import contextlib, sys\nfrom mailgate.cli import main\nwith contextlib.suppress(SystemExit):\n"
        f"    main({arguments!r})\nprint(*sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SHELL.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    imported = set(done.stderr.split())
    assert "mailgate.cli" in imported
    assert not imported & needless
