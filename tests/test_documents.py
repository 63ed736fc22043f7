"""What we tell people: the README's lines are accepted, its Python runs, the notebooks run."""

import importlib
import os
import re
import shlex
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMAND_LINES = re.findall(r"python -m xray_tf\.\w+[^\n`]*", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S)))
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


class Parsed(Exception):
    pass


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_of_the_readme_is_accepted(line, monkeypatch):
    words = shlex.split(line, comments=True)
    command = importlib.import_module(words[2])

    def parsed(job):
        raise Parsed

    monkeypatch.setattr(command, "run", parsed)
    with pytest.raises(Parsed):
        command.main(words[3:])


def test_the_readme_has_command_lines_and_its_links_lead_somewhere():
    assert len(COMMAND_LINES) >= 5
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        away = target.startswith("saved_models/") and not (REPOSITORY / "saved_models").exists()  # a clone may do without the models
        assert away or (REPOSITORY / target).exists(), target


def test_the_readmes_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "cache"))
    code = re.search(r"```python\n(import xray_tf.*?)```", README, re.S)[1]
    names = {}
    exec(compile(code.replace("epochs=5", "epochs=1").replace("image_size=96", "image_size=32"), "README.md", "exec"), names)
    assert names["answer"].probabilities.shape == (1, 2) and names["again"].card == names["model"].card and names["metrics"]["rows"] > 10


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_run_and_are_stored_with_their_outputs(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "cache"))
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code), "store the notebook with its outputs"
    stored = "".join(str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", "")) for cell in code for o in cell.outputs)
    assert not re.search(r"/(home|root|tmp|work)/\w", stored) and "WARNING" not in stored
    assert "you will learn" in notebook.cells[0].source.lower()
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": os.fspath(tmp_path)}}).execute()
