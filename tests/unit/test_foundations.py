"""What a newcomer runs and reads first: make, the run of a change, links between pages."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "ops/decisions").glob("*.md")]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@needs_make
def test_make_alone_lists_every_target_in_one_line_each() -> None:
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    told = make().stdout.splitlines()
    assert sorted(line.split()[1] for line in told) == sorted(targets)


@needs_make
def test_an_old_python_is_refused_with_the_command_to_run(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    refused = make("venv", f"PYTHON={old}", folder=tmp_path)
    assert refused.returncode != 0
    assert "run: make venv PYTHON=python3.11" in refused.stderr
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_the_installer_is_taken_from_the_lock_with_its_hashes() -> None:
    script = re.findall(r"awk '(/\^uv==.*?)' requirements-dev\.lock", (ROOT / "Makefile").read_text())[0]
    command = ["awk", script.replace("$$", "$"), str(ROOT / "requirements-dev.lock")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
    assert re.fullmatch(r"uv==[\d.]+ \\", lines[0])
    assert len(lines) > 1
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines[1:])


def test_the_run_of_a_change_stops_at_the_first_failure() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in script
    steps = re.findall(r"^step (?:timeout \S+ \S+ )?(.*)$", script, re.MULTILINE)
    assert steps == ["make venv", "make check", "make test"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_decision_is_listed() -> None:
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (ROOT / "ops/decisions/README.md").read_text()))
    assert listed == {page.name for page in (ROOT / "ops/decisions").glob("[0-9]*.md")}
