"""The law of the house: who may import whom, what starts light, what every command promises."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xray_tf

PACKAGE = Path(xray_tf.__file__).parent
FLOOR = {"registry": 0, "options": 0.5, "published": 0, "artifact": 1, "shipped": 1.2, "data": 1.5, "nets": 2, "stats": 2, "pages": 3, "jobs": 4}
BOUND = {"tensorflow": "nets", "keras": "nets", "sklearn": "stats", "scipy": "stats", "matplotlib": "pages", "seaborn": "pages", "cv2": "data"}
COMMANDS = sorted(p.stem for p in PACKAGE.glob("*.py") if "argparse.ArgumentParser(" in p.read_text(encoding="utf-8"))
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "cv2", "pandas", "numpy"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def own_room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down_or_stay_in_the_room(path):
    room = own_room(path)
    floor = FLOOR.get(room, 5)
    for name in imports_of(path):
        if name.split(".")[0] in BOUND and (room, name) not in {("jobs", "cv2"), ("pages", "cv2")}:
            assert room == BOUND[name.split(".")[0]], f"only {BOUND[name.split('.')[0]]} imports {name}"
        if not name.startswith("xray_tf."):
            continue
        other = room_of(name)
        if other == room or room == "__init__":
            continue
        assert other not in COMMANDS, "no module imports a command"
        if other == "commands":
            assert room in COMMANDS
            continue
        assert FLOOR[other] < floor, f"{room} (floor {floor}) may not import {name}"
        assert {room, other} != {"nets", "stats"}


def test_importing_the_package_brings_nothing_heavy():
    code = f"import sys, xray_tf; found = {HEAVY} & set(sys.modules); sys.exit(str(found) if found else 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_before_anything_heavy_is_loaded(command):
    code = (f"import sys; from xray_tf import {command} as c\ntry: c.main(['--help'])\nexcept SystemExit as e: assert not e.code\n"
            f"found = {HEAVY} & set(sys.modules); sys.exit(str(found) if found else 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and f"python -m xray_tf.{command}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_docstring_opens_with_the_line_that_runs_it(command):
    docstring = ast.get_docstring(ast.parse((PACKAGE / f"{command}.py").read_text(encoding="utf-8")))
    assert docstring.startswith(f"python -m xray_tf.{command} ")


def test_public_names_load_on_first_use_and_none_is_a_command():
    for name in xray_tf.__all__:
        assert getattr(xray_tf, name) is not None
        assert name not in COMMANDS and name in dir(xray_tf)
        if callable(getattr(xray_tf, name)):
            assert getattr(xray_tf, name).__doc__
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = xray_tf.no_such_name


def test_tensorflow_proper_stays_where_the_job_is_tensorflows():
    users = {p.name for p in (PACKAGE / "nets").glob("*.py") if "tensorflow" in imports_of(p)}
    assert users <= {"__init__.py", "images.py", "inference.py", "devices.py", "training.py", "serving.py", "gradcam.py"}
