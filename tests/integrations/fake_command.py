"""Stands for the command `stylecrafter`: writes down how it was called, and makes what it was told to beforehand.

    python fake_command.py FOLDER ARGUMENTS…

FOLDER holds `clip.webp`, which every output is a copy of. Where it holds `behaviour`, that is what happens instead.
"""

import json
import os
import shutil
import signal
import sys
import time

folder, arguments = sys.argv[1], sys.argv[2:]
with open(os.path.join(folder, "calls.jsonl"), "a", encoding="utf-8") as calls:
    calls.write(json.dumps(arguments) + "\n")


def value(flag: str) -> str:
    return arguments[arguments.index(flag) + 1]


def keep(flag: str) -> None:
    """What lies in the client's temporary folder is gone once the command ends."""
    for at, word in enumerate(arguments):
        if word == flag and os.path.isfile(arguments[at + 1]):
            shutil.copy(
                arguments[at + 1], os.path.join(folder, f"seen-{at}-{os.path.basename(arguments[at + 1])}")
            )


def say(**content: object) -> None:
    print(json.dumps(content), file=sys.stderr, flush=True)


behaviour = ""
if os.path.exists(os.path.join(folder, "behaviour")):
    with open(os.path.join(folder, "behaviour"), encoding="utf-8") as file:
        behaviour = file.read()
if behaviour == "fail":
    print("warning: the prompt has 90 words", file=sys.stderr)
    say(step=1, steps=2)
    print("error: unknown model 'nowhere'.", file=sys.stderr)
    sys.exit(2)
if behaviour == "crash":
    print("Traceback (most recent call last):\n  in a line\nValueError: odd", file=sys.stderr)
    sys.exit(1)
if behaviour == "silent":
    sys.exit(137)
if behaviour == "chat":
    print("hello")
    sys.exit(0)
if behaviour in ("hang", "deaf"):
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(os.path.join(folder, "pid"), "w", encoding="utf-8") as file:
        file.write(str(os.getpid()))
    say(step=1, steps=2)
    time.sleep(600)

keep("--style")
keep("--video")
clip = os.path.join(folder, "clip.webp")
with open(os.path.join(folder, "record.json"), encoding="utf-8") as file:
    record = json.load(file)
if arguments[0] == "generate":
    say(step=1, steps=2)
    say(step=2, steps=2)
    os.makedirs(os.path.dirname(value("--output")), exist_ok=True)
    shutil.copy(clip, value("--output"))
    print(json.dumps({"path": value("--output"), **record}))
else:
    with open(arguments[1], encoding="utf-8") as file:
        entries = json.load(file)
    shutil.copy(arguments[1], os.path.join(folder, "seen-prompts.json"))
    os.makedirs(value("--output"))
    with open(os.path.join(value("--output"), "results.jsonl"), "w", encoding="utf-8") as results:
        for i, _ in enumerate(entries):
            say(step=1, steps=2)
            say(step=2, steps=2)
            say(entry=i, entries=len(entries), name=f"{i:04}", status="done")
            shutil.copy(clip, os.path.join(value("--output"), f"{i:04}.webp"))
            results.write(
                json.dumps({"index": i, "name": f"{i:04}", "file": f"{i:04}.webp", "record": record}) + "\n"
            )
    print(json.dumps({"folder": value("--output"), "done": [], "skipped": [], "failed": {}}))
