"""Write DICOM objects on files, folders and globs into a new folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from xray_tf.clinic.extra import check_extra, quiet_libraries
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.sources.files import list_files
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import PredictOptions


@dataclass
class Written:
    """What was written: `objects` on `radiographs`, and why others were not answered, {path:
    reason}.
    """

    objects: int = 0
    radiographs: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        more = f", {len(self.refused)} not answered" if self.refused else ""
        return f"{self.objects} objects on {self.radiographs} radiographs{more}"


@takes(PredictOptions)
def write_objects(
    model: str | os.PathLike | Classifier | None,
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    options: Options,
) -> Written:
    """Write a report, a picture and outlines on each DICOM radiograph, and a folder, completely or
    not at all.

    The files are named by their SOP Instance UIDs, which depend on the radiograph's, the model, the
    operating point and the version, so a second run writes the same files.

    Args:
        model: as for `predict_files`.
        files: files, folders or globs; what is not a frontal chest radiograph in DICOM is told and
            left out.
        out: the folder to create.
        options: `PredictOptions`, or single options by name.

    Raises:
        FileExistsError: `out` exists.
        ImportError: a package of the extra `clinic` is not installed.
        ValueError: no file was found, none was answered or, with `strict`, not every one.
    """
    run, how = options[Run].at(out), options[PredictOptions]
    check_extra()
    from xray_tf.clinic.objects.answer import ask
    from xray_tf.clinic.objects.bundle import objects_of
    from xray_tf.clinic.objects.source import Refused, read_source

    classifier, done, seen = load(model, kind="classifier"), Written(), {}
    records = list_files(files, classifier.card.to_task())
    with run.folder() as folder, run.line("writing", len(records)) as line, quiet_libraries():
        for row in records:
            try:
                with open(records.file(row), "rb") as stream:
                    source = read_source(stream.read())
                sha256 = hashlib.sha256(source.data).hexdigest()
                if seen.setdefault(source.uid, sha256) != sha256:
                    raise Refused("another file has the same SOP Instance UID")
                found = objects_of(ask(classifier, source, how.operating_point))
            except (Refused, DecodeError, OSError) as error:
                done.refused[row.path] = str(error)
                run.say(f"{row.path}: {error}")
                if how.strict:
                    raise ValueError(f"{row.path} is not answered: {error}") from None
                continue
            finally:
                line.step()
            for uid, data in found.items():
                (folder / f"{uid}.dcm").write_bytes(data)
            done.objects += len(found)
            done.radiographs += 1
        if not done.radiographs:
            raise ValueError(
                f"none of {len(records)} file(s) is a frontal chest radiograph in DICOM. The "
                f"first: {next(iter(done.refused.values()))}"
            )
    return done
