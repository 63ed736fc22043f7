"""xray-tf COMMAND: commands are found, help and version answer, spelling is corrected."""

import re
import subprocess
import sys

import pytest

import xray_tf
from xray_tf import explain, train
from xray_tf.__main__ import main
from xray_tf.commands import CommandParser, add_file_arguments, find_commands, summary
from xray_tf.options import ExplainOptions, add_flags

HELLO = '''"""xray-tf say-hello --to NAME [options]

Greet somebody.

Examples:
  xray-tf say-hello --to Ada
"""

from xray_tf.commands import CommandParser
from xray_tf.exit_status import run


def main(args=None):
    parser = CommandParser(__doc__)
    parser.add_argument("--to", required=True, help="100 % of the time")
    given = parser.parse_args(args)
    return run(lambda: print(f"Hello {given.to}"))
'''


def test_a_new_command_is_one_file_that_is_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "say_hello.py").write_text(HELLO)
    (tmp_path / "bow.py").write_text('"""xray-tf bow\n\nBow.\n"""\n')
    (tmp_path / "helper.py").write_text('"""Help the commands, without being one."""\n')
    monkeypatch.setattr(xray_tf, "__path__", [*xray_tf.__path__, str(tmp_path)])
    assert main(["--help"]) == 0
    assert re.search(r"^  say-hello +Greet somebody$", capsys.readouterr().out, re.M)
    assert "helper" not in find_commands() and "bow" in find_commands()
    assert main(["say-hello", "--to", "Ada"]) == 0 and capsys.readouterr().out == "Hello Ada\n"


def test_a_command_and_its_module_are_the_same():
    ways = (["xray_tf", "audit"], ["xray_tf.audit"])
    done = [
        subprocess.run(
            [sys.executable, "-m", *way, "--data", "nowhere"], capture_output=True, text=True
        )
        for way in ways
    ]
    assert [d.returncode for d in done] == [2, 2] and done[0].stderr == done[1].stderr


def test_help_lists_every_command_in_a_line_of_its_own(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    for name, text in find_commands().items():
        assert any(line.split() == [name, *summary(text).split()] for line in lines)


def test_without_a_command_help_goes_to_stderr_and_the_status_is_2(capsys):
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("usage: xray-tf COMMAND")


@pytest.mark.parametrize("args", [["--version"], ["train", "--version"]])
def test_every_command_tells_the_version(args, capsys):
    try:
        status = main(args)
    except SystemExit as stop:
        status = stop.code
    assert status == 0 and capsys.readouterr().out == f"xray_tf {xray_tf.__version__}\n"


def test_an_error_names_the_command_alone():
    for name, text in find_commands().items():
        assert re.fullmatch(rf"xray-tf {name}( [a-z]+)?", CommandParser(text).prog)


def test_a_mistyped_command_is_suggested_and_another_spelling_is_accepted(capsys):
    assert main(["trian"]) == 2
    assert "'trian' is not a command. Did you mean 'train'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["TRAIN", "--help"])
    assert stop.value.code == 0


@pytest.mark.parametrize(
    ("command", "args", "message"),
    [
        (train, ["--dta", "x"], "unknown option --dta. Did you mean '--data'?"),
        (train, ["--frobnicate"], "unknown option --frobnicate.\n"),
        (train, ["--augment", "robst"], "Did you mean 'robust'?"),
        (explain, ["x", "--out", "y", "--method", "gradcm"], "Did you mean 'grad_cam'?"),
    ],
)
def test_a_mistyped_option_or_choice_is_suggested(command, args, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(args)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_options_and_choices_are_accepted_in_other_spellings():
    parser = CommandParser("xray-tf explain FILES... --out DIR\n\nExplain.")
    add_file_arguments(parser)
    add_flags(parser, ExplainOptions)
    given = parser.parse_args(["--out=y", "--Method=GradCAM", "--grid_columns", "3", "--", "--f"])
    assert (given.out, given.method, given.grid_columns, given.files) == (
        "y",
        "grad_cam",
        3,
        ["--f"],
    )
