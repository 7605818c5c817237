"""The wheel: what is in it, and that the four import names are ours once it is installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("watchdog", "checks", "detectors", "config")
OWNERS = """
import importlib.metadata, importlib.util, json
owners = importlib.metadata.packages_distributions()
print(json.dumps({
    name: [owners.get(name, []), importlib.util.find_spec(name).origin]
    for name in ("watchdog", "checks", "detectors", "config")
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from a copy of the checkout, so that nothing is left behind in it."""
    source = tmp_path_factory.mktemp("source")
    for name in NAMES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    if shutil.which("uv") and subprocess.run(["uv", "--version"], capture_output=True).returncode == 0:
        command = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(out), str(source)]
    else:
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command = [*pip, "--wheel-dir", str(out), str(source)]
    # The build backend is used once: pip need not compile it. 0, as in test_dockerfile.py.
    env = {**os.environ, "PIP_NO_COMPILE": "0"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    if "hatchling" in ran.stderr and ran.returncode != 0:
        pytest.skip(
            f"the package index did not give the build backend: {ran.stderr.strip().splitlines()[-1]}"
        )
    assert ran.returncode == 0, ran.stderr
    (built,) = out.glob("deploy_watchdog-*.whl")
    return built


def test_the_wheel_holds_the_four_packages_with_all_their_files(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name in NAMES:
        ours = {
            str(path.relative_to(ROOT))
            for path in (ROOT / name).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert ours <= inside, sorted(ours - inside)
    assert "watchdog/demo/scenario.yaml" in inside
    assert any(path.startswith("watchdog/api/dashboard/static/") and path.endswith(".js") for path in inside)
    others = {path for path in inside if path.split("/")[0] not in NAMES and ".dist-info/" not in path}
    assert not others


def test_installed_alone_the_four_names_are_ours(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "clean", with_pip=False)
    python = tmp_path / "clean" / "bin" / "python"
    site = next((tmp_path / "clean" / "lib").glob("python3*")) / "site-packages"
    # A wheel of pure Python is installed by unpacking it; the scripts it declares are checked below.
    zipfile.ZipFile(wheel).extractall(site)
    ran = subprocess.run([python, "-c", OWNERS], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert ran.returncode == 0, ran.stderr
    for name, (owners, origin) in json.loads(ran.stdout).items():
        assert owners == ["deploy-watchdog"], (name, owners)
        assert Path(origin).is_relative_to(site), (name, origin)
    (script,) = importlib.metadata.Distribution.at(
        next(site.glob("deploy_watchdog-*.dist-info"))
    ).entry_points
    assert script.name == "deploy-watchdog"
    assert callable(script.load()), "what the script calls is in the checkout, hence in the wheel"


def test_no_other_distribution_has_taken_our_names() -> None:
    ran = subprocess.run([sys.executable, "-c", OWNERS], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert ran.returncode == 0, ran.stderr
    for name, (owners, origin) in json.loads(ran.stdout).items():
        assert set(owners) <= {"deploy-watchdog"}, f"{name} also comes from {owners}: uninstall that one"
        assert Path(origin).is_relative_to(ROOT), (name, origin)


def test_the_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert ran.returncode == 0, ran.stdout
