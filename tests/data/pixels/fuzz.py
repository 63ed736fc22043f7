"""Spoil files and read them: `python fuzz.py SEED COUNT` prints, for each format, how many of COUNT
spoilt files were read and refused, the seconds of the processor, those of the slowest file, and at
last the largest memory in MB.

A process of its own, so that a hang or a crash of a decoder is seen, and memory is its own. Time is
the processor's: a busy machine is no hang.
"""

import json
import re
import resource
import struct
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
from dicom_files import BYTES, RAMP, VARIANTS, WINDOW, encapsulated
from image_files import app, chunk, claimed, exif, frame, insert, saved, smooth
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from xray_tf.data.pixels.decoding import decode
from xray_tf.data.pixels.header import KINDS, DecodeError

SIDE, SECONDS = 32, 120
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)


def sources():
    """Format -> small whole files."""
    grey, colour = smooth(40, 48), np.dstack([smooth(40, 48, seed) for seed in range(3)])
    plain, png = saved(grey, "JPEG"), saved(grey, "PNG")
    coded = {"pixels": BYTES, "bits": 8}
    raw = (
        "12 bits, a window of everything",
        "VOI LUT before window",
        "modality LUT",
        "implicit VR",
    )
    deep = saved(RAMP, "JPEG2000", no_jp2=True, irreversible=False)
    return {
        "JPEG": [
            app(plain, b"Exif\0\0" + exif(6)),
            saved(colour, "JPEG", progressive=True),
            saved(grey, "JPEG", restart_marker_rows=1),
        ],
        "PNG": [
            insert(png, chunk(b"eXIf", exif(6))),
            saved(colour, "PNG"),
            saved(Image.fromarray(colour).quantize(200), "PNG"),
            saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        ],
        "DICOM": [VARIANTS[name][0] for name in raw],
        "DICOM, RLE": [VARIANTS["RLE"][0]],
        "DICOM, JPEG": [encapsulated(saved(BYTES, "JPEG"), JPEGBaseline8Bit, **coded)],
        "DICOM, JPEG 2000": [
            encapsulated(saved(BYTES, "JPEG2000", no_jp2=True), JPEG2000Lossless, **coded),
            encapsulated(deep, JPEG2000Lossless, pixels=RAMP, **WINDOW),
        ],
        "another format": [
            saved(grey, kind) for kind in ("TIFF", "BMP", "WEBP", "GIF", "JPEG2000")
        ],
    }


def large_sides():
    """Files of a few bytes that declare much, up to what is read at all."""
    plain = saved(smooth(40, 48), "JPEG")
    sides = [(9_999, 10_000), (100_000_000, 1), (65_500, 65_500), (1 << 31, 1 << 31)]
    rows = chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND")
    found = [frame(plain, w, h) for w, h in sides if max(w, h) < 1 << 16]
    for width, height in sides:
        for bits, colour in ((1, 0), (16, 0), (8, 3), (16, 6)):
            found.append(claimed(width, height, *rows, bits=bits, colour=colour))
            found.append(claimed(width, height, *rows, bits=bits, colour=colour, interlace=1))
    coded = {"pixels": BYTES, "bits": 8}
    stream = bytearray(saved(BYTES, "JPEG2000", no_jp2=True))
    for width, height in sides:
        for at in (8, 24):  # of the picture, and of a tile
            struct.pack_into(">II", stream, at, width, height)
            found.append(encapsulated(bytes(stream), JPEG2000Lossless, **coded))
            more = {"Rows": min(height, 65_535), "Columns": min(width, 65_535)}
            found.append(encapsulated(bytes(stream), JPEG2000Lossless, **coded, **more))
    found.append(encapsulated(frame(plain, 65_500, 65_500), JPEGBaseline8Bit, **coded))
    return found


def with_checksums(data):
    """A spoilt PNG whose chunks have right checksums again, so that its decoder is reached."""
    data, at = bytearray(data), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        found = zlib.crc32(data[at + 4 : at + 8 + length])
        struct.pack_into(">I", data, at + 8 + length, found)
        at += 12 + length
    return bytes(data)


def spoil(data, chance):
    """Change a few bytes, most often among the first ones; cut, repeat or leave out a part."""
    data = bytearray(data)
    reach = len(data) if chance.random() < 0.5 else min(len(data), 700)
    for _ in range(int(chance.integers(1, 7))):
        at = int(chance.integers(0, reach))
        extreme = chance.random() < 0.5
        data[at] = int(chance.choice(EXTREMES)) if extreme else int(chance.integers(0, 256))
        if chance.random() < 0.1:
            data[at : at + 4] = struct.pack(">I", int(chance.integers(0, 1 << 32)))
    start, stop = sorted(int(v) for v in chance.integers(0, len(data), 2))
    way = chance.random()
    if way < 0.05:
        del data[start:]
    elif way < 0.1:
        del data[start : min(stop, start + 50)]
    elif way < 0.15:
        data[start:start] = data[start : min(stop, start + 500)]
    return bytes(data)


def tried(data):
    """Tell whether a file was read; another end than pixels or a refusal shows the file."""
    try:
        square = decode(data, SIDE, "crop")
    except DecodeError as error:
        assert error.kind in KINDS
        return False
    except BaseException as error:
        raise AssertionError(data[:4000].hex()) from error
    assert square.shape == (SIDE, SIDE) and square.dtype == np.uint8
    return True


def spoilt(name, files, count, seed):
    chance = np.random.default_rng(seed)
    for number in range(count):
        data = spoil(files[number % len(files)], chance)
        yield with_checksums(data) if name == "PNG" and number % 4 else data


def main(seed, count):
    asked = {name: spoilt(name, files, count, seed) for name, files in sources().items()}
    counted = {}
    for name, files in (asked | {"large sides": large_sides()}).items():
        read, refused, seconds = 0, 0, []
        for data in files:
            began = time.process_time()
            done = tried(data)
            seconds.append(time.process_time() - began)
            read, refused = read + done, refused + (not done)
        counted[name] = [read, refused, round(sum(seconds), 1), round(max(seconds), 2)]
    print(json.dumps({"counted": counted, "megabytes": peak_memory()}))


def peak_memory():
    """Return the megabytes of this process alone: ru_maxrss counts what its parent had when it was
    forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / (1 << 10)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # pydicom's on damaged values
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    main(int(sys.argv[1]), int(sys.argv[2]))
