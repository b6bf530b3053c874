"""The examples of the documentation run as they stand."""

import pathlib
import re

import matplotlib.pyplot as plt
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page.name, code)
    for page in PAGES
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
]
# Pages whose code writes files: as their reader may, it runs twice in one folder.
WRITING = ["streaming.md", "catalog.md"]


def test_pages_have_examples():
    assert {name for name, _ in BLOCKS} >= {"README.md", "binning.md", "actions.md"}


ONCE = sorted({name for name, _ in BLOCKS} - set(WRITING))


@pytest.mark.parametrize("name", ONCE)
def test_page_runs(name, capsys, tmp_path, monkeypatch):
    """A page's blocks one after another, as its reader would paste them."""
    monkeypatch.chdir(tmp_path)
    space = {}
    for code in [code for page, code in BLOCKS if page == name]:
        exec(compile(code, name, "exec"), space)
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("name", WRITING)
def test_page_runs_twice_in_one_folder(name, capsys, tmp_path, monkeypatch):
    codes = [code for page, code in BLOCKS if page == name]
    assert any("write_" in code for code in codes)
    monkeypatch.chdir(tmp_path)
    for code in codes * 2:
        exec(compile(code, name, "exec"), {})
        assert capsys.readouterr().out.strip()


def test_tutorial_runs(monkeypatch, tmp_path):
    """The notebook's cells, one after another, with shorter chains and without the real map."""
    page = (ROOT / "docs" / "tutorials" / "vertical-gradient.md").read_text()
    cells = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```", page, re.M | re.S)
    assert len(cells) > 6
    steps = "num_warmup=500, num_steps=500"
    assert sum(steps in cell for cell in cells) == 1
    cells = [cell.replace(steps, "num_warmup=200, num_steps=100") for cell in cells]
    monkeypatch.chdir(tmp_path)
    space = {"display": print}
    for cell in cells:
        exec(compile(cell, "vertical-gradient.md", "exec"), space)
        plt.close("all")
    assert space["result"].state.success and max(space["state"].rhat.values()) < 1.1
