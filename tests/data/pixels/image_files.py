"""Files in memory of every kind that people have: JPEG and PNG in all their forms, damaged and
mislabelled ones, other formats, and arrays.
"""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

# even factors of the side that the table's net sees, so that no average lies between two levels
# and is rounded otherwise by the graph
SIDE, HEIGHT, WIDTH = 32, 64, 128
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# first row, first column, row step, column step
ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)),
    (1, 0, 2, 1),
)
COLOUR_TYPES = {"grey": 0, "RGB": 2, "palette": 3, "grey with alpha": 4, "RGBA": 6}
DEPTHS = {"grey": (1, 2, 4, 8, 16), "palette": (1, 2, 4, 8)}


def smooth(height=HEIGHT, width=WIDTH, seed=0):
    """Grey ramps and waves with some noise, (H, W) uint8, unlike themselves when turned."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).normal(0, 6, (height, width))
    waves = 70 * np.sin((x + seed) / 9) * np.cos(y / 7) + 60 * x / width - 30 * y / height
    return np.clip(110 + waves + noise, 0, 255).astype(np.uint8)


def colours(height=HEIGHT, width=WIDTH):
    return np.dstack([smooth(height, width, seed) for seed in (1, 2, 3)])


def saved(image, kind, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        stream, kind, **options
    )
    return stream.getvalue()


def exif(orientation, order="II", kind=3, before=()):
    """An EXIF block, from the byte order on, with one orientation of a TIFF type."""
    mark = "<" if order == "II" else ">"
    form = {1: "Bxxx", 3: "Hxx", 4: "I"}[kind]
    entries = [struct.pack(f"{mark}HHII", tag, 4, 1, value) for tag, value in before]
    entries.append(struct.pack(f"{mark}HHI{form}", 0x0112, kind, 1, orientation))
    head = order.encode() + struct.pack(f"{mark}HIH", 42, 8, len(entries))
    return head + b"".join(entries) + bytes(4)


def turned(image, orientation):
    """The picture as it is stored under an orientation, so that viewers show `image`."""
    way = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    picture = Image.fromarray(image)
    return np.asarray(picture if way is None else picture.transpose(way))


def app(data, *payloads, marker=0xE1):
    """A JPEG with further segments after its start."""
    parts = [struct.pack(">BBH", 0xFF, marker, len(p) + 2) + p for p in payloads]
    return data[:2] + b"".join(parts) + data[2:]


def frame(data, width=None, height=None, process=None, bits=None, components=None):
    """A JPEG whose frame header was rewritten."""
    data = bytearray(data)
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    old_height, old_width = struct.unpack_from(">HH", data, at + 5)
    sides = (old_height if height is None else height, old_width if width is None else width)
    struct.pack_into(">HH", data, at + 5, *sides)
    data[at + 1] = process or data[at + 1]
    data[at + 4] = bits or data[at + 4]
    data[at + 9] = components or data[at + 9]
    return bytes(data)


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def claimed(width, height, *chunks, bits=8, colour=0, interlace=0):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + b"".join(chunks)


def insert(data, *chunks):
    """A PNG with chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def packed_rows(samples, bits):
    """Rows of samples (h, w, channels) as PNG stores them, each after filter type 0."""
    rows = samples.reshape(len(samples), -1)
    if bits == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    if bits == 8:
        return b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in rows)
    places = np.arange(bits - 1, -1, -1)
    spread = (rows[..., None].astype(int) >> places & 1).reshape(len(rows), -1)
    return b"".join(b"\0" + np.packbits(row.astype(np.uint8)).tobytes() for row in spread)


def written_png(kind, bits, interlaced, *chunks):
    """A PNG of any colour type and depth, written from the specification alone."""
    grey, colour = smooth().astype(np.uint16), colours().astype(np.uint16)
    alpha = np.full((HEIGHT, WIDTH, 1), 200, np.uint16)
    samples = {
        "grey": grey[..., None],
        "RGB": colour,
        "palette": grey[..., None],
        "grey with alpha": np.dstack([grey, alpha]),
        "RGBA": np.dstack([colour, alpha]),
    }[kind]
    samples = samples * 257 if bits == 16 else samples >> 8 - bits
    steps = ADAM7 if interlaced else ((0, 0, 1, 1),)
    data = b"".join(packed_rows(samples[y::dy, x::dx], bits) for y, x, dy, dx in steps)
    if kind == "palette":
        levels = np.arange(1 << bits) * (255 // ((1 << bits) - 1))
        table = np.stack([levels, levels // 2, levels * 3 // 4], 1).astype(np.uint8)
        chunks = (chunk(b"PLTE", table.tobytes()), *chunks)
    ends = (chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND"))
    number = COLOUR_TYPES[kind]
    return claimed(
        WIDTH, HEIGHT, *chunks, *ends, bits=bits, colour=number, interlace=int(interlaced)
    )


def png_suite():
    """Every colour type, depth and order of the PNG specification: name -> bytes."""
    return {
        f"{kind}, {bits} bit{'s' if bits > 1 else ''}{', interlaced' if late else ''}": written_png(
            kind, bits, late
        )
        for kind in COLOUR_TYPES
        for bits in DEPTHS.get(kind, (8, 16))
        for late in (False, True)
    }


def jpegs():
    """Name -> bytes."""
    grey, colour = Image.fromarray(smooth()), Image.fromarray(colours())
    plain, rgb = saved(grey, "JPEG", quality=90), saved(colour, "JPEG", quality=90)
    half = len(plain) // 2
    found = {
        "grey": plain,
        "colour, 4:2:0": saved(colour, "JPEG", subsampling=2),
        "colour, 4:2:2": saved(colour, "JPEG", subsampling=1),
        "colour, 4:4:4": saved(colour, "JPEG", subsampling=0),
        "colour stored as RGB": saved(colour, "JPEG", keep_rgb=True),
        "progressive, grey": saved(grey, "JPEG", progressive=True),
        "progressive, colour": saved(colour, "JPEG", progressive=True),
        "optimised Huffman tables": saved(grey, "JPEG", optimize=True),
        "restart markers": saved(grey, "JPEG", restart_marker_rows=1),
        "quality 5": saved(grey, "JPEG", quality=5),
        "quality 100": saved(grey, "JPEG", quality=100),
        "extended sequential, 8 bits (SOF1)": frame(plain, process=0xC1),
        "a comment": saved(grey, "JPEG", comment=b"kept by a camera"),
        "a colour profile": app(rgb, b"ICC_PROFILE\0\1\1" + bytes(200), marker=0xE2),
        "XMP before EXIF": app(plain, b"http://ns.adobe.com/xap/1.0/\0<x/>", b"Exif\0\0" + exif(1)),
        "bytes behind the end": plain + b"tail",
        "another picture behind the end (MPO)": plain + saved(smooth(seed=9), "JPEG"),
        "fill bytes before a marker": plain[:2] + b"\xff\xff" + plain[2:],
        "16 x 16": saved(smooth(16, 16), "JPEG", quality=90),
        "below twice the side": saved(smooth(48, 32), "JPEG", quality=90),
    }
    for number in range(1, 9):
        stored = saved(turned(smooth(), number), "JPEG", quality=90)
        found[f"EXIF orientation {number}"] = app(stored, b"Exif\0\0" + exif(number))
    six = saved(turned(smooth(), 6), "JPEG", quality=90)
    found |= {
        "EXIF orientation 6, big endian": app(six, b"Exif\0\0" + exif(6, "MM")),
        "EXIF orientation 6 as a byte": app(six, b"Exif\0\0" + exif(6, kind=1)),
        "EXIF orientation 6 as 32 bits": app(six, b"Exif\0\0" + exif(6, "MM", kind=4)),
        "EXIF orientation 6 behind other tags": app(
            six, b"Exif\0\0" + exif(6, before=((0x0100, 64), (0x0101, 128)))
        ),
        "EXIF orientation 0, which does not exist": app(plain, b"Exif\0\0" + exif(0)),
        "EXIF orientation 9, which does not exist": app(plain, b"Exif\0\0" + exif(9)),
        "EXIF that is cut": app(plain, b"Exif\0\0" + exif(6)[:12]),
        "EXIF of noise": app(plain, b"Exif\0\0" + bytes(range(40))),
        "EXIF twice: the first counts": app(plain, b"Exif\0\0" + exif(1), b"Exif\0\0" + exif(6)),
        "two bytes": b"\xff\xd8",
        "no frame": b"\xff\xd8\xff\xd9",
        "cut in the middle": plain[:half],
        "cut before the end marker": plain[:-2],
        "cut and filled with zeros": plain[:half] + bytes(half),
        "cut, with an end marker": plain[:half] + b"\xff\xd9",
        "cut, another behind it": plain[:half] + plain,
        "cut inside its header": plain[:30],
        "CMYK": saved(colour.convert("CMYK"), "JPEG"),
        "12 bits": frame(plain, bits=12),
        "two components": frame(plain, components=2),
        "lossless (SOF3)": frame(plain, process=0xC3),
        "hierarchical (SOF5)": frame(plain, process=0xC5),
        "arithmetic coding (SOF9)": frame(plain, process=0xC9),
        "JPEG-LS": frame(plain, process=0xF7),
        "no height": frame(plain, height=0),
        "no width": frame(plain, width=0),
        "a header that claims 65,000 x 65,000": frame(plain, 65_000, 65_000),
        "a header that claims 9,000 x 9,000": frame(plain, 9_000, 9_000),
        "one pixel": saved(smooth(1, 1), "JPEG"),
        "15 x 40": saved(smooth(40, 15), "JPEG"),
        "one grey level": saved(np.full((HEIGHT, WIDTH), 90, np.uint8), "JPEG"),
        "black": saved(np.zeros((HEIGHT, WIDTH), np.uint8), "JPEG"),
        "8 bits, 0 to 15 only": saved(smooth() >> 4, "JPEG", quality=100),
    }
    return found


def pngs():
    """Name -> bytes."""
    plain = written_png("grey", 8, False)
    data = plain[41 : plain.index(b"IEND") - 8]
    parts = [chunk(b"IDAT", data[i : i + 99]) for i in range(0, len(data), 99)]
    deep = smooth().astype(np.uint16)
    mask = (smooth() > 128).astype(np.uint8)
    moving = [Image.fromarray(smooth(seed=seed)) for seed in range(2)]
    found = {
        **png_suite(),
        "a gamma chunk": insert(plain, chunk(b"gAMA", bytes((0, 0, 0xB1, 0x8F)))),
        "text and time": insert(plain, chunk(b"tEXt", b"Title\0x"), chunk(b"tIME", bytes(7))),
        "transparent grey": insert(plain, chunk(b"tRNS", b"\0\x40")),
        "a palette with transparency": written_png(
            "palette", 8, False, chunk(b"tRNS", bytes(range(256)))
        ),
        "pixels in many chunks": claimed(WIDTH, HEIGHT, *parts, chunk(b"IEND")),
        "an empty chunk of pixels first": claimed(
            WIDTH, HEIGHT, chunk(b"IDAT"), *parts, chunk(b"IEND")
        ),
        "bytes behind the end": plain + b"tail",
        "16 x 16": saved(smooth(16, 16), "PNG"),
        "an ancillary chunk with a wrong checksum": insert(
            plain, chunk(b"tEXt", b"a\0b")[:-1] + b"?"
        ),
        "16 bits of whole range": cv2.imencode(".png", deep * 257 + 100)[1].tobytes(),
    }
    for number in range(1, 9):
        stored = saved(turned(smooth(), number), "PNG")
        found[f"EXIF orientation {number}"] = insert(stored, chunk(b"eXIf", exif(number)))
    six = saved(turned(smooth(), 6), "PNG")
    found |= {
        "EXIF orientation 6 behind the pixels": (
            six[:-12] + chunk(b"eXIf", exif(6, "MM")) + six[-12:]
        ),
        "EXIF that is cut": insert(plain, chunk(b"eXIf", exif(6)[:12])),
        **{
            f"{bits} bits in 16": cv2.imencode(".png", deep << bits - 8)[1].tobytes()
            for bits in (10, 12, 13, 14)
        },
        "12 bits in 16, RGB": cv2.imencode(".png", np.dstack([deep << 4] * 3))[1].tobytes(),
        "8 bits, 0 and 1 (a mask)": saved(mask, "PNG"),
        "8 bits, 0 and 255 (a mask)": saved(mask * 255, "PNG"),
        "8 bits, 0 to 15": saved(smooth() >> 4, "PNG"),
        "one grey level": saved(np.full((HEIGHT, WIDTH), 90, np.uint8), "PNG"),
        "black": saved(np.zeros((HEIGHT, WIDTH), np.uint8), "PNG"),
        "white on black text": saved(np.where(smooth() > 225, 255, 0).astype(np.uint8), "PNG"),
        "animated": saved(moving[0], "PNG", save_all=True, append_images=moving[1:]),
        "the signature alone": plain[:8],
        "cut inside its header": plain[:20],
        "cut in the middle": plain[: len(plain) // 2],
        "no end chunk": plain[:-12],
        "no pixels": claimed(WIDTH, HEIGHT, chunk(b"IEND")),
        "a flipped bit": plain[:60] + bytes([plain[60] ^ 4]) + plain[61:],
        "pixels that are no zlib stream": claimed(
            WIDTH, HEIGHT, chunk(b"IDAT", bytes(99)), chunk(b"IEND")
        ),
        "fewer rows than declared": claimed(WIDTH, 2 * HEIGHT, *parts, chunk(b"IEND")),
        "3 bits": claimed(WIDTH, HEIGHT, *parts, chunk(b"IEND"), bits=3),
        "colour type 1": claimed(WIDTH, HEIGHT, *parts, chunk(b"IEND"), colour=1),
        "an unknown interlacing": claimed(WIDTH, HEIGHT, *parts, chunk(b"IEND"), interlace=7),
        "a palette that is missing": claimed(WIDTH, HEIGHT, *parts, chunk(b"IEND"), colour=3),
        "no width": claimed(0, HEIGHT, *parts, chunk(b"IEND")),
        "a header that claims 100,000 x 100,000": claimed(100_000, 100_000, *parts, chunk(b"IEND")),
        "a header of 4 billion pixels a side": claimed(
            0xFFFFFFFF, 0xFFFFFFFF, *parts, chunk(b"IEND")
        ),
        "one pixel": saved(smooth(1, 1), "PNG"),
        "a line": saved(smooth(1, 900), "PNG"),
    }
    return found


def others():
    """Name -> bytes of what is neither JPEG, PNG nor DICOM."""
    grey = Image.fromarray(smooth())
    raw = smooth()
    return {
        "no bytes": b"",
        "one byte": b"\xff",
        "zeros": bytes(5000),
        "text": b"Patient: anonymous\n" * 20,
        "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "WebP": saved(grey.convert("RGB"), "WEBP"),
        "WebP, lossless": saved(grey.convert("RGB"), "WEBP", lossless=True),
        "BMP": saved(grey, "BMP"),
        "BMP, colour": saved(grey.convert("RGB"), "BMP"),
        "TIFF, 8 bits": saved(grey, "TIFF"),
        "TIFF, 8 bits, packed": saved(grey, "TIFF", compression="packbits"),
        "TIFF, 16 bits": saved(raw.astype(np.uint16) * 257, "TIFF"),
        "TIFF, 32-bit float": saved(Image.fromarray(raw.astype(np.float32)), "TIFF"),
        "TIFF, big endian": b"MM\0*" + bytes(60),
        "TIFF, big (64-bit offsets)": b"II+\0\x08\0\0\0" + bytes(60),
        "GIF": saved(grey, "GIF"),
        "JPEG 2000": saved(grey, "JPEG2000"),
        "JPEG 2000, a bare codestream": saved(grey, "JPEG2000", no_jp2=True),
        "JPEG XL": b"\xff\x0a" + bytes(60),
        "HEIF": b"\0\0\0\x18ftypheic" + bytes(60),
        "AVIF": b"\0\0\0\x18ftypavif" + bytes(60),
        "PDF": b"%PDF-1.7\n" + bytes(60),
        "zip": b"PK\x03\x04" + bytes(60),
        "gzip": b"\x1f\x8b\x08\0" + bytes(60),
        "PGM": saved(grey, "PPM"),
        "NumPy": b"\x93NUMPY\1\0v\0" + bytes(118),
        "NIfTI": struct.pack("<i", 348) + bytes(340) + b"n+1\0",
        "MetaImage": b"ObjectType = Image\nNDims = 2\n",
        "Photoshop": b"8BPS\0\1" + bytes(60),
        "icon": saved(grey, "ICO", sizes=[(64, 64)]),
        "OpenEXR": b"\x76\x2f\x31\x01" + bytes(60),
    }


def arrays():
    """Name -> array as given to `predict` and to the endpoint `pixels`."""
    stack = np.stack([smooth(seed=seed) for seed in range(20)])
    colour = colours()
    return {
        "(H, W) uint8": stack[0],
        "(N, H, W) uint8": stack,
        "(1, H, W) uint8": stack[:1],
        "(H, W, N), few": np.moveaxis(stack[:5], 0, -1),
        "(H, N, W), few": np.moveaxis(stack[:5], 0, 1),
        "(H, W, 3), colour": colour,
        "(H, W, 4)": np.dstack([colour, colour[..., 0]]),
        "(B, H, W, 1)": stack[..., None],
        "(B, H, W, 3)": np.stack([colour] * 2),
        "(B, 1, H, W)": stack[:, None],
        "(B, 3, H, W)": np.moveaxis(np.stack([colour] * 2), -1, 1),
        "float32 in [0, 255]": stack[0].astype(np.float32),
        "float32 in [0, 1]": stack[0] / np.float32(255),
        "uint16": stack[0].astype(np.uint16),
        "int64": stack[0].astype(np.int64),
        "bool": stack[0] > 100,
        "one grey level": np.full((HEIGHT, WIDTH), 90, np.uint8),
        "0 and 1": (stack[0] > 128).astype(np.uint8),
        "0 to 15": stack[0] >> 4,
        "8 x 8": smooth(8, 8),
        "no pixels": np.zeros((0, WIDTH), np.uint8),
        "one axis": stack[0, 0],
    }
