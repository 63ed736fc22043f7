"""The laws of the house: who may import whom, what starts light, what every command promises."""

import ast
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import xray_tf
from xray_tf.commands import find_commands

PACKAGE = Path(xray_tf.__file__).parent
FLOOR = {
    "registry": 0,
    "spelling": 0,
    "untrusted": 0,
    "progress": 0,
    "quiet": 0,
    "operating_point": 0.7,
    "options": 0.5,
    "machine": 0.6,
    "locks": 0.3,
    "writing": 0.6,
    "card": 0.9,
    "artifact": 1,
    "shipped": 1.2,
    "data": 1.5,
    "plain": 1.8,
    "nets": 2,
    "stats": 2,
    "pages": 3,
    "models": 4,
    "jobs": 5,
    "clinic": 5.5,
    "engines": 5.5,
    "study": 6,
    "server": 6,
}
TOP = 7
MEET = 4  # `nets` and `stats` are imported side by side from this floor up
BOUND = {
    "tensorflow": {"nets"},
    "keras": {"nets"},
    "sklearn": {"stats"},
    "scipy": {"stats"},
    "matplotlib": {"pages"},
    "seaborn": {"pages"},
    "jinja2": {"pages"},
    "markupsafe": {"pages"},
    "cv2": {"data", "pages", "models", "jobs", "study", "clinic"},
    "pydicom": {"clinic"},  # `data` reads it on first use: it is an extra
    "highdicom": {"clinic"},
    "pynetdicom": {"clinic"},
    "cryptography": {"clinic"},
    "ray": {"engines"},
    "openvino": {"engines"},
    "pyarrow": {"engines"},
    "fsspec": {"engines"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "pydantic": {"server"},
}
COMMANDS = [name.replace("-", "_") for name in find_commands()]
HEAVY = {
    "tensorflow",
    "keras",
    "sklearn",
    "scipy",
    "matplotlib",
    "cv2",
    "pandas",
    "numpy",
    "jinja2",
    "pydicom",
    "highdicom",
    "pynetdicom",
}
MOST_ENTRIES = 14
MOST_ARGUMENTS = 7
MODULES = {
    ".".join(("xray_tf", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): p
    for p in sorted(PACKAGE.rglob("*.py"))
}


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Return every module that a file imports; `from xray_tf import train` is one of
    `xray_tf.train`.
    """
    assert path.is_relative_to(PACKAGE)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports name their module in full"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & set(MODULES)) or {node.module}
    return frozenset(found)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_or_stay_in_the_room(module):
    room = room_of(module)
    floor = FLOOR.get(room, TOP)
    for name in imports_of(MODULES[module]):
        library = name.split(".")[0]
        if library in BOUND:
            assert room in BOUND[library], f"{module} may not import {name}"
        if library != "xray_tf" or not room:
            continue
        other = room_of(name)
        if other in ("", room):
            continue
        assert other not in COMMANDS, f"{module}: no module imports a command"
        if other in ("commands", "exit_status"):
            assert room in (*COMMANDS, "__main__")
            continue
        assert FLOOR[other] < floor, f"{room} (floor {floor}) may not import {name}"


def test_nets_and_stats_meet_only_from_models_up():
    for module, path in MODULES.items():
        rooms = {room_of(name) for name in imports_of(path) if name.startswith("xray_tf")}
        if FLOOR.get(room_of(module), TOP) < MEET:
            assert not {"nets", "stats"} <= rooms | {room_of(module)}, module


def test_no_files_import_each_other_in_a_circle():
    edges = {
        m: {
            n for n in imports_of(p) if n in MODULES and n != m and MODULES[n].name != "__init__.py"
        }
        for m, p in MODULES.items()
    }
    while leaves := [m for m, below in edges.items() if not below & set(edges)]:
        for leaf in leaves:
            del edges[leaf]
    assert not edges, f"circles among {sorted(edges)}"


@pytest.mark.parametrize(
    "folder", [p for p in PACKAGE.rglob("*") if (p / "__init__.py").is_file()], ids=lambda p: p.name
)
def test_a_folder_can_be_taken_in_at_a_glance(folder):
    entries = {p.name for p in folder.iterdir()} - {"__pycache__", "__init__.py"}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_importing_the_package_brings_nothing_heavy():
    code = (
        f"import sys, xray_tf; found = {HEAVY} & set(sys.modules);"
        " sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_before_anything_heavy_is_loaded(command):
    code = (
        f"import sys; from xray_tf import {command} as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit as e: assert not e.code\n"
        f"found = {HEAVY} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: xray-tf {command.replace('_', '-')} ")
    assert "\nExamples:\n  xray-tf " in done.stdout


def test_public_names_load_on_first_use_and_none_is_a_command():
    for name in xray_tf.__all__:
        assert getattr(xray_tf, name) is not None
        assert name not in COMMANDS and name in dir(xray_tf)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = xray_tf.no_such_name


SHAPE = re.compile(r"\((?:[A-Z]\w*|\d+|[a-z])(?:[\s,/*+-]+(?:[A-Z]\w*|\d+|[a-z]))*,?\)")
KIND = re.compile(r"\b(?:u?int\d*|float\d*|floats|numbers|bool|str)\b")


def public_functions():
    """Yield (name, function) of what a person calls: public names, and methods of what they
    return.
    """
    from xray_tf.models.classifier import Classifier
    from xray_tf.models.detector import Detector

    public = {name: getattr(xray_tf, name) for name in xray_tf.__all__ if name != "__version__"}
    for name, thing in {**public, "Classifier": Classifier, "Detector": Detector}.items():
        if not inspect.isclass(thing):
            yield name, thing
            continue
        for word, method in vars(thing).items():
            if inspect.isfunction(method) and (word == "__call__" or not word.startswith("_")):
                yield f"{name}.{word}", method


def test_every_public_name_has_a_docstring_with_the_shape_and_dtype_of_every_array():
    for name, function in public_functions():
        text = inspect.getdoc(function)
        assert text, f"{name} has no docstring"
        signature = inspect.signature(function)
        first = text.split("\n\n")[0]
        told = {}
        for word, parameter in signature.parameters.items():
            entry = re.search(rf"^ *(?:\w+, )*{word}(?:, \w+)*: (.*(?:\n {{8}}.*)*)", text, re.M)
            words = entry[1] if entry else first
            if "ndarray" in str(parameter.annotation) or "array" in words:
                told[word] = words
        if "ndarray" in str(signature.return_annotation):
            entry = re.search(r"^Returns:\n((?: +.*\n?)+)", text, re.M)
            told["what it returns"] = entry[1] if entry else first
        for word, words in told.items():
            assert "as in `__call__`" in words or (SHAPE.search(words) and KIND.search(words)), (
                f"{name}: {word} is an array without shape or dtype: {words!r}"
            )


def test_tensorflow_proper_stays_where_the_job_is_tensorflows():
    nets = PACKAGE / "nets"
    users = {
        p.relative_to(nets).as_posix() for p in nets.rglob("*.py") if "tensorflow" in imports_of(p)
    }
    assert users <= {
        "__init__.py",
        "images.py",
        "inference.py",
        "serving.py",
        "serving_exif.py",
        "serving_files.py",
        "heatmaps/gradients.py",
        "training/devices.py",
        "training/loop.py",
        "training/lung_loop.py",
    }


def test_no_public_function_takes_more_than_seven_arguments():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                names = [a.arg for a in taken if a.arg not in ("self", "cls")]
                if not node.name.startswith("_") and node.name != "html_page":  # it will go
                    assert len(names) <= MOST_ARGUMENTS, f"{module}.{node.name}: {names}"


def test_rooms_tell_through_the_logger_and_never_print():
    for module, path in MODULES.items():
        if FLOOR.get(room_of(module), TOP) < TOP:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = (
                    node.func.id if isinstance(node, ast.Call) and hasattr(node.func, "id") else ""
                )
                assert name != "print", f"{module}, line {node.lineno}"


def test_every_test_asserts_something():
    tests = Path(__file__).parent
    for path in tests.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.unparse(node)
                asserts = any(isinstance(n, ast.Assert) for n in ast.walk(node))
                assert asserts or "raises(" in text or "assert_" in text or "check(" in text, (
                    f"{path.name}: {node.name} asserts nothing"
                )
