# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail from outside to a gateway with a front, and take the front away and back; exit status 1 on a difference.

In the end, the same flood to the gateway without the front and with it, as a table.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections import Counter
from pathlib import Path

from lab import flood as flood_clients
from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter, as_received, without_trace
from lab.twin import Twin

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
GATEWAY, DOMAIN, MAILBOX = "198.18.0.25", "mech.eng.univ.example", "/var/mail/bob"
ARRIVAL_SECONDS = 60
FLOOD_RATE, FLOOD_SECONDS = 200, 15
QUEUED = "ls /var/lib/mailgate-front | grep -c ^qf || true"

FLOOD_CLIENTS = Path(flood_clients.__file__).read_bytes()
campus = Campus(Twin(SCENARIO / "inventory", os.environ["MAILGATE_TWIN"]))


def apply(front: str) -> None:
    """Apply the roles to the gateway, with a front or without one."""
    options = ("--limit", "gw1.univ.example", "-e", f"gateway_front={front}")
    done = campus.twin.playbook("molecule/two_stage/converge.yml", options)
    if done.returncode:
        raise SystemExit(f"converge.yml: {done.stdout.decode()[-6000:]}{done.stderr.decode()}")


def front_files() -> str:
    """Return what there is of a front."""
    return campus.sh("gw1", "ls -d /etc/mailgate/front* /var/lib/mailgate-front || true")


def rcpt_reply(recipient: str) -> str:
    """Send RCPT from outside; return the stage of the reply and its codes."""
    answer = campus.probe("outside", "send", to=[recipient], sender="stranger@elsewhere.example", via=GATEWAY)
    return f"{answer['stage']} {answer['code']} {answer['text'].split()[0]}"


def within(seconds: float, script: str, expected: str, host: str) -> str:
    """Run a shell line until it prints what is expected; return what it printed last."""
    deadline = time.monotonic() + seconds
    while (seen := campus.sh(host, script).strip()) != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    return seen


def listeners() -> list[str]:
    """Return the programs that listen on port 25 of the gateway, and on that of the service behind a front."""
    text = campus.sh("gw1", "ss -Hltnp '( sport = :25 or sport = :10026 )'")
    return sorted({f"{port} {name}" for port, name in re.findall(r":(\d+) .*?\(\(\"([\w-]+)\"", text)})


def flood() -> dict[str, object]:
    """Flood the gateway beside ordinary mail; return the row of the table."""
    cpu = "cat /sys/fs/cgroup/system.slice/mailgate*.service/cpu.stat | awk '/^usage_usec/ {s += $2} END {print s}'"
    bounces = "journalctl --quiet --unit mailgate-front --output cat | grep -c ' DSN: ' || true"
    unknown = "journalctl --quiet --output cat | grep -c '<[a-z]*@.*User unknown' || true"

    def counts() -> list[int]:
        return [int(campus.sh("gw1", cpu)), int(campus.sh("gw1", bounces)), int(campus.sh("mech", unknown))]

    before = counts()
    words = ["python3", "-", GATEWAY, "25", f"alice@{DOMAIN}", str(FLOOD_RATE), str(FLOOD_SECONDS)]
    done = campus.twin.exec("outside", words, input=FLOOD_CLIENTS)
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    met = json.loads(done.stdout)
    processor, bounced, asked = (after - each for after, each in zip(counts(), before, strict=True))
    replies = Counter(met["replies"])
    return {
        "attempts": met["attempts"],
        "refused at RCPT": sum(number for reply, number in replies.items() if reply[:1] in ("4", "5")),
        "accepted": replies["250"],
        "no connection or no reply": replies["none"],
        "bounces": bounced,
        "invented users at the inner server": asked,
        "ordinary messages": met["flood"]["messages"],
        "of these not accepted": met["flood"]["not_accepted"],
        "their median and p99, ms": [met["flood"]["median_ms"], met["flood"]["p99_ms"]],
        "without the flood, ms": [met["quiet"]["median_ms"], met["quiet"]["p99_ms"]],
        "processor time, ms": processor // 1000,
    }


WITH, WITHOUT = ["10026 mailgate", "25 sendmail-mta"], ["25 mailgate"]
check("who listens", WITH, listeners())
check("a relay attempt", "RCPT 550 5.7.1", rcpt_reply("victim@elsewhere.example"))
check("one through a domain of the campus", "RCPT 550 5.7.1", rcpt_reply(f"victim%elsewhere.example@{DOMAIN}"))
check("an unknown user", "RCPT 250 2.1.5", rcpt_reply(f"nobody-here@{DOMAIN}"))

letter = Letter(f"bob@{DOMAIN}")
check("mail", 250, campus.send("outside", letter, GATEWAY))
copies = campus.copies("mech", letter)
check("it arrives unchanged", [as_received(letter)], [without_trace(copy) for copy in copies])
check("the hosts on its path", ["gw1", "mech"], campus.path(copies))
check("both stages", 2, len(re.findall(rb"\bby gw1\.univ\.example", copies[0] if copies else b"")))

letter = Letter(f"bob@{DOMAIN}", infected=True)
check("infected mail", 250, campus.send("outside", letter, GATEWAY))
check("it arrives without the virus", [False], [letter.attachment() in copy for copy in campus.copies("mech", letter)])

# The paper's case: a forged sender of the campus gets the bounce; an invented one gets nothing, and nothing is left.
BOUNCE = f"grep -c '^Final-Recipient: RFC822; nobody-here@{DOMAIN}' {MAILBOX} || true"
letter = Letter(f"nobody-here@{DOMAIN}", sender=f"bob@{DOMAIN}")
check("mail for an unknown user", 250, campus.send("outside", letter, GATEWAY))
check("its bounce reaches the forged sender", "1", within(20, BOUNCE, "1", "mech"))
letter = Letter(f"nobody-here@{DOMAIN}", sender=f"invented@{DOMAIN}")
check("mail for one from another", 250, campus.send("outside", letter, GATEWAY))
check("nothing is left in the queue", "0", within(20, QUEUED, "0", "gw1"))

# Away and back while mail flows. Senders whose connection is refused try again; the stream does not.
STREAM = "systemd-run -q --collect --unit=stream python3 /run/stream/stream.py front"
STOP = "touch /run/stream/stop; timeout 60 sh -c 'while systemctl -q is-active stream; do sleep 0.1; done'"
stream = (SCENARIO.parent / "move" / "stream.py").read_bytes()
campus.sh("outside", "mkdir -p /run/stream; cat > /run/stream/stream.py", stream)
campus.sh("outside", f"{STREAM} {GATEWAY}")
apply("none")
check("who listens without the front", WITHOUT, listeners())
# While messages wait in its queue, it stays to deliver them, and the role is applied again.
for _again in range(5):
    if not front_files():
        break
    within(60, QUEUED, "0", "gw1")
    apply("none")
check("its unit and its files", "", front_files())
check("an unknown user without it", "RCPT 550 5.1.1", rcpt_reply(f"nobody-here@{DOMAIN}"))
apply("sendmail")
check("who listens with it again", WITH, listeners())
campus.sh("outside", STOP)
results = [json.loads(line) for line in campus.sh("outside", "cat /run/stream/front.*").splitlines()]
accepted = Counter(message_id for message_id, _stage, code, _text in results if code == 250)
stages = Counter((stage, code, text[:40]) for _id, stage, code, text in results if code != 250)
print(f"     {len(results)} messages, {accepted.total()} accepted, others {dict(stages)}", flush=True)
check("enough messages were accepted", True, accepted.total() > 20)
check("refused for good", [], [result for result in results if result[2] >= 500])
arrived: Counter[str] = Counter()
deadline = time.monotonic() + ARRIVAL_SECONDS
while arrived.total() < accepted.total() and time.monotonic() < deadline:
    text = campus.sh("mech", "cat /var/mail/alice")
    arrived = Counter(re.findall(r"^Message-ID: <(front\..*)>$", text, re.MULTILINE))
    time.sleep(0.5)
check("accepted, but not in a mailbox", [], sorted((accepted - arrived).elements()))

# A message that waits in the front's queue is delivered after the front has gone.
campus.sh("mech", "systemctl stop sendmail; pkill -x sendmail-mta; true")
letter = Letter(f"alice+{uuid.uuid4().hex}@{DOMAIN}")
check("mail for a new recipient while the server is down", 250, campus.send("outside", letter, GATEWAY))
check("it waits in the queue of the front", "1", campus.sh("gw1", QUEUED).strip())
apply("none")
check("the gateway has port 25, and the front delivers", WITHOUT, listeners())
check("the message is still there", "1", campus.sh("gw1", QUEUED).strip())
campus.sh("mech", "systemctl start sendmail")
check("it leaves the queue", "0", within(60, QUEUED, "0", "gw1"))
arrival = f"grep -c '^Message-ID: <{letter.message_id}>' /var/mail/alice || true"
check("it arrives", "1", within(20, arrival, "1", "mech"))
apply("none")
alone = flood()
check("then the front is removed", "", front_files())
apply("sendmail")
check("who listens in the end", WITH, listeners())

behind = flood()
for what, figure in alone.items():
    print(f"     {what:40} {figure!s:>20} {behind[what]!s:>20}", flush=True)
check("the gateway alone refuses every attempt at RCPT", alone["attempts"], alone["refused at RCPT"])
check("and bounces nothing", 0, alone["bounces"])
check("ordinary mail that it does not accept", 0, alone["of these not accepted"])
check("the front accepts some", True, int(str(behind["accepted"])) > 0)
check("and bounces them", True, int(str(behind["bounces"])) > 0)

finish()
