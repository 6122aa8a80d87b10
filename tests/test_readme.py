"""The README: its code runs as it stands, its links lead somewhere, and the gate finds its two commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 2
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    assert names["y"].shape == (64, 1)  # type: ignore[attr-defined]
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    ("marker", "says"), [("demo", "pip install . && lstmcore demo"), ("tests", "pip install -c constraints.txt")]
)
def test_the_gate_finds_its_commands(marker: str, says: str) -> None:
    found = re.search(rf"<!-- command: {marker} -->\n```\n(.*?)\n```", README, re.DOTALL)
    assert found is not None
    assert found[1].startswith(says)
