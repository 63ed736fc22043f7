"""The documents are true: command lines in README, docs and --help are accepted, Python examples
and notebooks run, and every public name is listed.
"""

import importlib
import importlib.util
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import xray_tf

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
DOCS = {p: p.read_text(encoding="utf-8") for p in sorted((REPOSITORY / "docs").glob("*.md"))}
SHELL = "\n".join(
    block
    for text in (README, *DOCS.values())
    for block in re.findall(r"```sh\n(.*?)```", text, re.S)
)
RUN = r"(?:xray-tf [a-z]|python -m xray_tf\.)(?:[^\n`\\]|\\\n)*"
EXAMPLES = "\n".join(
    path.read_text(encoding="utf-8").replace("\\\\", "\\")
    for path in sorted((REPOSITORY / "xray_tf").glob("*.py"))
)
COMMAND_LINES = sorted(
    {line.replace("\\\n", "") for line in re.findall(RUN, SHELL)}
    | {line.replace("\\\n", "") for line in re.findall(f"(?<=\n  ){RUN}", EXAMPLES)}
)
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


class Parsed(Exception):
    pass


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_in_the_documents_and_in_help_is_accepted(line, monkeypatch):
    words = shlex.split(line, comments=True)
    if words[0] == "xray-tf":
        words = ["python", "-m", f"xray_tf.{words[1].replace('-', '_')}", *words[2:]]
    command = importlib.import_module(words[2])

    def parsed(job):
        raise Parsed

    monkeypatch.setattr(command, "run", parsed)
    with pytest.raises(Parsed):
        command.main(words[3:])


def test_the_readme_has_command_lines_and_its_links_lead_somewhere():
    assert len(COMMAND_LINES) >= 5
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        # a clone may do without the models
        away = target.startswith("saved_models/") and not (REPOSITORY / "saved_models").exists()
        assert away or (REPOSITORY / target).exists(), target


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_the_links_of_the_docs_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", DOCS[path]):
        away = "saved_models/" in target and not (REPOSITORY / "saved_models").exists()
        assert away or (path.parent / target).exists(), target
        if anchor and target.endswith(".md"):
            headings = re.findall(
                r"^#+ (.*)$", (path.parent / target).read_text(encoding="utf-8"), re.M
            )
            assert anchor in [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]


def test_every_public_name_is_told_in_one_line():
    told = dict(
        re.findall(r"^\| `(\w+)` \| (.+\.) \|$", DOCS[REPOSITORY / "docs" / "api.md"], re.M)
    )
    assert sorted(told) == sorted(xray_tf.__all__), "run python docs/api.py"
    spec = importlib.util.spec_from_file_location("api", REPOSITORY / "docs" / "api.py")
    spec.loader.exec_module(writer := importlib.util.module_from_spec(spec))
    assert writer.page() == DOCS[REPOSITORY / "docs" / "api.md"], "run python docs/api.py"


@pytest.fixture(scope="module")
def place(binary, exported, tmp_path_factory):
    """A folder with what the docs' Python finds: an exported model, a JPEG and a DICOM file."""
    import cv2
    import pydicom

    from xray_tf.data.synthetic.phantom import draw_phantom

    place = tmp_path_factory.mktemp("docs")
    shutil.copytree(exported(binary), place / "runs" / "first")
    image = draw_phantom("bacterial", 1).image
    (place / "scan.jpeg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    file = pydicom.Dataset()
    file.SOPClassUID, file.SOPInstanceUID, file.Modality, file.PhotometricInterpretation = (
        "1.2.840.10008.5.1.4.1.1.1",
        "1.2.3",
        "CR",
        "MONOCHROME2",
    )
    file.Rows, file.Columns, file.SamplesPerPixel, file.PixelRepresentation = *image.shape, 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelData = 8, 8, 7, image.tobytes()
    file["PixelData"].VR = "OB"
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    pydicom.dcmwrite(place / "scan.dcm", file, enforce_file_format=True)
    return place


@pytest.mark.parametrize("path", [p for p in DOCS if "```python" in DOCS[p]], ids=lambda p: p.name)
def test_the_python_of_the_docs_runs_and_its_ways_agree(path, place, monkeypatch):
    monkeypatch.chdir(place)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", DOCS[path], re.S):
        exec(compile(block, path.name, "exec"), names)
    if path.name == "own-data.md":
        assert names["pixels"].dtype == "uint8" and names["pixels"].ndim == 2
    if path.name == "load-a-model.md":
        answer, served = names["answer"], names["served"]
        assert list(answer.errors) == ["", ""] and names["out"]["probability"].shape == (1, 2)
        jpeg, plain = answer.probabilities[0, 1], names["probability"]
        encoded = served.encoded(names["tf"].constant([(place / "scan.jpeg").read_bytes()]))[
            "probability"
        ].numpy()[0, 1]
        assert (
            abs(encoded - jpeg) < 0.01
            and abs(plain - jpeg) < 0.05
            and abs(answer.probabilities[1, 1] - jpeg) < 0.05
        )


def test_the_readmes_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "cache"))
    code = re.search(r"```python\n(import xray_tf.*?)```", README, re.S)[1]
    names = {}
    exec(
        compile(
            code.replace("epochs=5", "epochs=1").replace("image_size=96", "image_size=32"),
            "README.md",
            "exec",
        ),
        names,
    )
    assert (
        names["answer"].probabilities.shape == (1, 2)
        and names["again"].card == names["model"].card
        and names["metrics"]["rows"] > 10
    )


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """IPython with a namespace of its own, in an empty folder; in this process, because a kernel
    of its own takes longer to import TensorFlow than most notebooks take to run.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # IPython replaces it
    return InteractiveShell(config=Config(HistoryManager={"enabled": False}))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_run_and_are_stored_with_their_outputs(path, shell):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code), "store the notebook with its outputs"
    stored = "".join(
        str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", ""))
        for cell in code
        for o in cell.outputs
    )
    assert not re.search(r"/(home|root|tmp|work)/\w", stored) and "WARNING" not in stored
    assert "you will learn" in notebook.cells[0].source.lower()
    for cell in code:
        shell.run_cell(cell.source).raise_error()


@pytest.mark.parametrize(
    "text", [README, *DOCS.values()], ids=["README.md", *(p.name for p in DOCS)]
)
def test_no_line_of_prose_or_code_is_longer_than_100_columns(text):
    long = [
        line for line in text.splitlines() if len(line) > 100 and not line.startswith(("|", "!["))
    ]
    assert long == []
