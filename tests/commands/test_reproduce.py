"""The command of the whole study: its plan, its exit status, and what it says when something is
wrong.
"""

import pytest

from xray_tf import reproduce


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "no/such/folder"], "no/such/folder does not exist"),
        (["--data", "PHANTOMS", "--only", "cook"], "cook"),
        (["--data", "PHANTOMS", "--backbone", "resnet19", "--dry-run"], "resnet19"),
        (["--data", "PHANTOMS", "--weights", "vgg=none"], "NAME=VALUE"),
        (["--data", "PHANTOMS", "--weights", "no_such_file.h5"], "no_such_file.h5"),
        (["--data", "PHANTOMS", "--rows", "-3"], "rows must be at least 0"),
        (["--data", "PHANTOMS", "--split", "mine.csv"], "mine.csv"),
        (["--data", "PHANTOMS", "--out", "INTHEWAY"], "INTHEWAY"),
        (["--data", "PHANTOMS", "--out", "FULL"], "never overwritten"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(
    args, message, phantoms, cache, tmp_path, capsys
):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    places = {
        "PHANTOMS": str(phantoms),
        "INTHEWAY": str(tmp_path / "file" / "study"),
        "FULL": str(tmp_path / "full"),
    }
    args = [
        "--out",
        str(tmp_path / "out"),
        "--preset",
        "quick",
        "--cache",
        str(cache),
        *(places.get(a, a) for a in args),
    ]
    assert reproduce.main(args) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        error.startswith("error: ") and message.replace("INTHEWAY", str(tmp_path / "file")) in error
    )
    assert not (tmp_path / "out").exists() and [p.name for p in (tmp_path / "full").iterdir()] == [
        "thesis.txt"
    ]
