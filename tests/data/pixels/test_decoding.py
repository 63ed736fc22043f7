"""The decoding rule against other decoders, slow references and hand numbers, and its refusals."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from xray_tf.data.pixels import decoding, header
from xray_tf.data.pixels.decoding import decode, describe_rule, grey_of, read_header
from xray_tf.data.pixels.exif import orientation_of
from xray_tf.data.pixels.header import DecodeError, Header
from xray_tf.data.pixels.square import DARK, RESIZE_MODES, resize_pixels, see

ORIGINALS = Path(__file__).parents[4] / "shared" / "data" / "originals"
needs_originals = pytest.mark.skipif(
    not ORIGINALS.is_dir(), reason="needs the real radiographs of ../shared/data/originals"
)


def smooth(height, width, seed=0):
    """Grey ramps with some noise, (H, W) uint8: enough structure that a wrong offset or factor
    shows.
    """
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).normal(0, 6, (height, width))
    return np.clip(
        128 + 70 * np.sin(x / 9) * np.cos(y / 7) + 30 * x / width + noise, 0, 255
    ).astype(np.uint8)


def colours(height, width):
    return np.dstack(
        [
            smooth(height, width, 1),
            smooth(height, width, 2)[::-1],
            smooth(height, width, 3)[:, ::-1],
        ]
    )


def jpeg(pixels, **options):
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(
        stream, "JPEG", quality=90, **options
    )
    return stream.getvalue()


def png(pixels, **options):
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(
        stream, "PNG", **options
    )
    return stream.getvalue()


def png16(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def claimed_png(width, height, *chunks, bits=8, colour=0):
    return (
        decoding.PNG_SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
        + b"".join(chunks)
    )


def claimed_jpeg(width, height, data=None, process=None):
    """A JPEG whose frame header was rewritten."""
    data = bytearray(jpeg(smooth(32, 32)) if data is None else data)
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    struct.pack_into(">HH", data, at + 5, height, width)
    data[at + 1] = process or data[at + 1]
    return bytes(data)


def grey(rgb):
    return ((rgb.astype(int) @ [9798, 19235, 3735] + 16384) >> 15).astype(np.uint8)


def area_matrix(source, target):
    """The share of each source pixel in each target pixel, (target, source) float64."""
    edges = np.arange(target + 1) * source / target
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * target / source


def bilinear_matrix(source, target):
    """Half-pixel centres, the outermost pixels continued."""
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return np.clip(1 - np.abs(centres[:, None] - np.arange(source)), 0, None)


def slow_scale(image, height, width):
    matrix = (
        area_matrix if height <= image.shape[0] and width <= image.shape[1] else bilinear_matrix
    )
    return np.floor(
        matrix(image.shape[0], height) @ image.astype(float) @ matrix(image.shape[1], width).T + 0.5
    )


def assert_alike(actual, expected):
    """At most one level on 0.5 % of the pixels: the tolerance of the rule between
    implementations.
    """
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert actual.dtype == np.uint8 and difference.max() <= 1 and (difference > 0).mean() <= 0.005


# ---- headers


@pytest.mark.parametrize(
    "data, expected",
    [
        (jpeg(smooth(40, 60)), Header("jpeg", 60, 40, "L")),
        (jpeg(colours(40, 60)), Header("jpeg", 60, 40, "RGB")),
        (jpeg(colours(40, 60), progressive=True), Header("jpeg", 60, 40, "RGB")),
        (jpeg(Image.new("CMYK", (60, 40))), Header("jpeg", 60, 40, "CMYK")),
        (png(smooth(40, 60)), Header("png", 60, 40, "L")),
        (png(colours(40, 60)), Header("png", 60, 40, "RGB")),
        (png(np.dstack([colours(40, 60), smooth(40, 60)])), Header("png", 60, 40, "RGBA")),
        (png(np.dstack([smooth(40, 60), smooth(40, 60)])), Header("png", 60, 40, "LA")),
        (png(Image.fromarray(colours(40, 60)).quantize(16)), Header("png", 60, 40, "P")),
        (png(smooth(40, 60) > 99), Header("png", 60, 40, "L1")),
        (png16(np.zeros((40, 60), np.uint16)), Header("png", 60, 40, "L16")),
        (png16(np.zeros((40, 60, 3), np.uint16)), Header("png", 60, 40, "RGB16")),
        (png16(np.zeros((40, 60, 4), np.uint16)), Header("png", 60, 40, "RGBA16")),
        (claimed_png(100_000, 100_000), Header("png", 100_000, 100_000, "L")),
    ],
)
def test_header_says_format_size_and_mode(data, expected):
    assert read_header(data) == expected


# ---- decoding against other decoders


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"subsampling": 2},
        {"restart_marker_blocks": 3},
    ],
    ids=["baseline", "progressive", "4:4:4", "4:2:0", "restarts"],
)
@pytest.mark.parametrize("source", [smooth(48, 48), colours(48, 48)], ids=["grey", "colour"])
def test_jpeg_gives_the_luminance_plane(source, options):
    data = jpeg(source, **options)
    luminance = (
        Image.open(io.BytesIO(data)).convert("YCbCr").getchannel(0)
        if source.ndim == 2
        else Image.open(io.BytesIO(data))
    )
    if source.ndim == 3:
        luminance.draft("L", None)
    np.testing.assert_array_equal(decode(data, 48, "crop"), np.asarray(luminance))


def test_jpeg_is_decoded_at_half_scale_from_twice_the_size_on_and_not_before():
    for height, width, half in ((64, 90, True), (63, 90, False), (64, 65, True), (200, 63, False)):
        data = jpeg(smooth(height, width))
        reference = Image.open(io.BytesIO(data))
        if half:
            reference.draft("L", (width // 2, height // 2))
            assert reference.size == (-(-width // 2), -(-height // 2))
        assert_alike(decode(data, 32, "squash"), slow_scale(np.asarray(reference), 32, 32))


def test_png_gives_high_bytes_and_fixed_colour_weights_and_ignores_alpha():
    rng = np.random.default_rng(0)
    image, rgb, alpha = smooth(48, 48), colours(48, 48), rng.integers(0, 256, (48, 48), np.uint8)
    deep, deep_rgba = (
        rng.integers(0, 65536, (48, 48), np.uint16),
        rng.integers(0, 65536, (48, 48, 4), np.uint16),
    )
    palette = Image.fromarray(rgb).quantize(16)
    table = [
        (png(image), image),
        (png(rgb), grey(rgb)),
        (png(np.dstack([rgb, alpha])), grey(rgb)),
        (png(np.dstack([image, alpha])), image),
        (png(image, transparency=3), image),
        (png(palette), grey(np.asarray(palette.convert("RGB")))),
        (png(palette, transparency=3), grey(np.asarray(palette.convert("RGB")))),
        (png(image > 128), np.where(image > 128, 255, 0)),
        (png16(deep), deep >> 8),
        (png16(deep_rgba), grey((deep_rgba >> 8)[..., 2::-1])),
        (png(image)[:33] + chunk(b"gAMA", struct.pack(">I", 100_000)) + png(image)[33:], image),
    ]
    for data, expected in table:
        np.testing.assert_array_equal(
            grey_of(data, read_header(data), 48), expected, err_msg=read_header(data).mode
        )


def test_grey_weights_are_those_opencv_uses_for_every_colour():
    blue, green = np.meshgrid(np.arange(256), np.arange(256))
    for red in range(0, 256, 5):
        rgb = np.dstack([np.full_like(blue, red), green, blue]).astype(np.uint8)
        np.testing.assert_array_equal(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), grey(rgb))


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("save", [jpeg, png])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_file_is_read_upright_as_viewers_show_it(orientation, save):
    for shape in ((40, 60), (65, 47), (90, 64)):  # the last two at half scale
        data = save(smooth(*shape), exif=oriented(orientation))
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        header = read_header(data)
        assert (header.width, header.height, header.orientation) == (*upright.size, orientation)
        expected = np.asarray(upright)
        native = grey_of(data, header, 64)
        np.testing.assert_array_equal(native, expected)
        plain = save(smooth(*shape))
        stored = png(grey_of(plain, read_header(plain), 31), exif=oriented(orientation))
        turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(stored))))
        np.testing.assert_array_equal(decode(data, 31, "pad"), resize_pixels(turned, 31, "pad"))


def test_a_thumbnail_a_second_block_and_a_damaged_one_do_not_turn_a_file():
    def block(order, entries, magic=42, offset=8):
        packed = b"".join(struct.pack(order + "HHI", *e[:3]) + e[3] for e in entries)
        mark = b"II" if order == "<" else b"MM"
        head = mark + struct.pack(order + "HI", magic, offset)
        return head + struct.pack(order + "H", len(entries)) + packed + bytes(4)

    def six(order, tag=0x0112, kind=3):
        width = {1: "B", 3: "H", 4: "I"}.get(kind, "H")
        return tag, kind, 1, struct.pack(order + width, 6).ljust(4, b"\0")

    table = {
        "little": (block("<", [six("<")]), 6),
        "big": (block(">", [six(">", 0x0100), six(">")]), 6),
        "LONG": (block(">", [six(">", kind=4)]), 6),
        "BYTE": (block("<", [six("<", kind=1)]), 6),
        "another type": (block("<", [six("<", kind=2)]), 1),
        "number 9": (block("<", [(0x0112, 3, 1, b"\x09\0\0\0")]), 1),
        "no magic": (block("<", [six("<")], magic=43), 1),
        "beyond the end": (block("<", [six("<")], offset=1 << 30), 1),
        "cut": (block("<", [six("<")])[:-8], 1),
        "empty": (b"", 1),
    }
    plain = jpeg(smooth(40, 60))

    def with_blocks(*blocks):
        parts = [b"Exif\0\0" + b for b in blocks]
        app1 = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in parts)
        return plain[:2] + app1 + plain[2:]

    for name, (data, expected) in table.items():
        assert orientation_of(data) == expected, name
        assert read_header(with_blocks(data)).orientation == expected, name
        assert read_header(WHOLE_PNG[:33] + chunk(b"eXIf", data) + WHOLE_PNG[33:]).orientation == (
            expected
        ), name
    first = with_blocks(table["empty"][0], table["little"][0])
    assert read_header(first).orientation == 1


# ---- resizing


@pytest.mark.parametrize("resize", RESIZE_MODES)
def test_an_image_of_the_target_size_is_left_as_it_is(resize):
    image = smooth(32, 32)
    np.testing.assert_array_equal(resize_pixels(image, 32, resize), image)
    np.testing.assert_array_equal(decode(png(image), 32, resize), image)


@pytest.mark.parametrize(
    "shape", [(50, 70), (71, 33), (20, 30), (16, 90), (64, 128), (33, 32), (1, 5)]
)
def test_resize_equals_a_slow_reference(shape):
    image, size = smooth(*shape), 32
    height, width = shape
    assert_alike(resize_pixels(image, size, "squash"), slow_scale(image, size, size))
    side = min(shape)
    top, left = (height - side) // 2, (width - side) // 2
    assert_alike(
        resize_pixels(image, size, "crop"),
        slow_scale(image[top : top + side, left : left + side], size, size),
    )
    new_height, new_width = (max(1, int(side * size / max(shape) + 0.5)) for side in shape)
    expected = np.zeros((size, size))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    expected[top : top + new_height, left : left + new_width] = slow_scale(
        image, new_height, new_width
    )
    assert_alike(resize_pixels(image, size, "pad"), expected)


def test_resize_by_hand():
    image = np.array([[0, 1, 10, 11], [0, 1, 20, 21]], np.uint8)
    # 0.5, 10.5, 20.5 go up
    np.testing.assert_array_equal(resize_pixels(image, 2, "squash"), [[1, 11], [1, 21]])
    np.testing.assert_array_equal(resize_pixels(image, 2, "crop"), [[1, 10], [1, 20]])
    np.testing.assert_array_equal(
        resize_pixels(image, 4, "pad"), [[0, 0, 0, 0], *image.tolist(), [0, 0, 0, 0]]
    )
    # one row of (0 + 1 + 0 + 1) / 4 and 62 / 4, the odd offset down
    np.testing.assert_array_equal(resize_pixels(image, 2, "pad"), [[1, 16], [0, 0]])
    np.testing.assert_array_equal(
        resize_pixels(np.array([[0, 100]], np.uint8), 4, "squash"), [[0, 25, 75, 100]] * 4
    )


@pytest.mark.parametrize(
    "image, size, resize, message",
    [
        (np.zeros((9, 9), np.float32), 8, "crop", "uint8.*float32"),
        (np.zeros((9, 9, 1), np.uint8), 8, "crop", r"\(9, 9, 1\)"),
        (np.zeros((0, 9), np.uint8), 8, "crop", r"\(0, 9\)"),
        ([[1]], 8, "crop", "list"),
        (np.zeros((9, 9), np.uint8), 0, "crop", "size=0"),
        (np.zeros((9, 9), np.uint8), 8, "stretch", "crop.*pad.*squash.*'stretch'"),
    ],
)
def test_resize_refuses_what_is_no_grey_image(image, size, resize, message):
    with pytest.raises(ValueError, match=message):
        resize_pixels(image, size, resize)


# ---- refusals

WHOLE_PNG = png(smooth(40, 60))
ROWS = zlib.compress(bytes(41 * 40))
TABLE = {
    "empty": (b"", "empty", "no bytes"),
    "text": (b"Patient: anonymous\n" * 20, "not-an-image", "starts as neither.*Supported are JPEG"),
    "one byte": (b"\xff", "not-an-image", "neither"),
    "two bytes of JPEG": (b"\xff\xd8", "truncated", "2 bytes"),
    "signature of PNG": (WHOLE_PNG[:8], "truncated", "inside its header"),
    "WebP": (
        cv2.imencode(".webp", smooth(32, 32))[1].tobytes(),
        "unsupported-format",
        "WebP. Supported are JPEG .*, PNG and DICOM",
    ),
    "BMP": (cv2.imencode(".bmp", smooth(32, 32))[1].tobytes(), "unsupported-format", "BMP"),
    "TIFF": (b"II*\0" + bytes(50), "unsupported-format", "TIFF"),
    "DICOM": (bytes(128) + b"DICM" + bytes(50), "missing-tag", "DICOM has no transfer syntax"),
    "CMYK": (jpeg(Image.new("CMYK", (60, 40))), "unsupported-mode", "CMYK"),
    "lossless JPEG": (claimed_jpeg(32, 32, process=0xC3), "unsupported-mode", "SOF3"),
    "arithmetic JPEG": (claimed_jpeg(32, 32, process=0xC9), "unsupported-mode", "SOF9"),
    "animated PNG": (
        WHOLE_PNG[:33] + chunk(b"acTL", bytes(8)) + WHOLE_PNG[33:],
        "unsupported-mode",
        "animated",
    ),
    "JPEG without frame": (b"\xff\xd8\xff\xd9", "unreadable", "no frame header"),
    "JPEG of no height": (claimed_jpeg(32, 0), "unreadable", "32 x 0"),
    "PNG of no width": (claimed_png(0, 50, chunk(b"IEND")), "unreadable", "0 x 50"),
    "PNG of 3 bits": (claimed_png(50, 50, chunk(b"IEND"), bits=3), "unreadable", "3 bits"),
    "one pixel PNG": (
        png(np.zeros((1, 1), np.uint8)),
        "too-small",
        "1 x 1 pixels; each side must have at least 16",
    ),
    "one pixel JPEG": (jpeg(np.zeros((1, 1), np.uint8)), "too-small", "1 x 1"),
    "a line": (png(np.zeros((1, 900), np.uint8)), "too-small", "900 x 1"),
    "huge PNG": (
        claimed_png(100_000, 100_000, chunk(b"IDAT", ROWS), chunk(b"IEND")),
        "too-large",
        "100000 x 100000 pixels; at most 100,000,000",
    ),
    "huge JPEG": (claimed_jpeg(65_000, 65_000), "too-large", "65000 x 65000"),
    "JPEG that claims more than it holds": (
        claimed_jpeg(9_000, 9_000),
        "truncated",
        "cannot fill 9000 x 9000",
    ),
    "PNG that claims more than it holds": (
        claimed_png(40, 90, chunk(b"IDAT", ROWS), chunk(b"IEND")),
        "unreadable",
        "cannot be decoded",
    ),
    "PNG without pixels": (claimed_png(40, 40, chunk(b"IEND")), "unreadable", "cannot be decoded"),
    "PNG with a flipped bit": (
        WHOLE_PNG[:60] + bytes([WHOLE_PNG[60] ^ 4]) + WHOLE_PNG[61:],
        "unreadable",
        "IDAT.*checksum",
    ),
    "JPEG cut and zero-filled": (
        jpeg(smooth(64, 64))[:1000] + bytes(3000),
        "truncated",
        "end marker",
    ),
    "one grey": (
        png(np.full((40, 60), 7, np.uint8)),
        "constant",
        "Every pixel has the grey level 7",
    ),
    "12 bits in 16": (
        png16(smooth(40, 60).astype(np.uint16) * 16),
        "low-depth",
        "one of 9 grey levels, all below 64; the picture has 3 to 13. .*whole range",
    ),
    "14 bits in 16, colour": (
        png16(np.repeat(smooth(40, 60).astype(np.uint16)[..., None] * 64, 3, 2)),
        "low-depth",
        f"all below {DARK}",
    ),
    "JPEG cut, another behind it": (
        jpeg(smooth(64, 64))[:1000] + jpeg(smooth(32, 32)),
        "truncated",
        "end marker",
    ),
}


@pytest.mark.parametrize("data, kind, message", TABLE.values(), ids=TABLE)
def test_refuses(data, kind, message, capfd):
    with pytest.raises(DecodeError, match=message) as caught:
        decode(data, 32, "crop")
    assert caught.value.kind == kind and kind in header.KINDS
    assert not str(caught.value).startswith("OpenCV") and "libjpeg" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "name", ["huge PNG", "huge JPEG", "one pixel PNG", "CMYK", "JPEG cut and zero-filled"]
)
def test_refuses_by_the_header_before_anything_is_decoded(name, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DecodeError):
        decode(TABLE[name][0], 32, "crop")


THUMBNAIL = jpeg(smooth(16, 16))
WITH_THUMBNAIL = (
    b"\xff\xd8\xff\xe1"
    + struct.pack(">H", len(THUMBNAIL) + 8)
    + b"Exif\0\0"
    + THUMBNAIL
    + jpeg(smooth(48, 64))[2:]
)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(smooth(48, 64)),
        jpeg(colours(48, 64), progressive=True),
        jpeg(smooth(48, 64), restart_marker_blocks=2),
        WITH_THUMBNAIL,
        WHOLE_PNG,
    ],
    ids=["baseline", "progressive", "restarts", "thumbnail", "png"],
)
def test_a_file_cut_anywhere_is_refused_and_trailing_bytes_are_not(data):
    expected = decode(data, 32, "crop")
    for tail in (b"\0", bytes(100), b"\xff\xd9", b"\r\n<!-- -->"):
        np.testing.assert_array_equal(decode(data + tail, 32, "crop"), expected)
    for length in range(2, len(data)):
        with pytest.raises(DecodeError) as caught:
            decode(data[:length], 32, "crop")
        assert caught.value.kind == "truncated", length


@needs_originals
def test_real_radiographs_decode_and_are_refused_when_cut(capfd):
    for file in sorted(ORIGINALS.glob("*/*"))[::23]:
        data = file.read_bytes()
        assert decode(data, 224, "crop").std() > 10
        for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.999):
            with pytest.raises(DecodeError) as caught:
                decode(data[: int(share * len(data))], 224, "crop")
            assert caught.value.kind == "truncated"
        with pytest.raises(DecodeError):
            decode(data[:-1], 224, "crop")
    assert capfd.readouterr().err == ""


def test_the_card_names_the_numbers_the_code_uses():
    text = describe_rule()
    assert text.startswith(f"Rule {decoding.DECODING_RULE}.") and f">> {header.GREY_SHIFT}" in text
    assert "{} R + {} G + {} B".format(*header.GREY_WEIGHTS) in text
    assert all(f"{mode} =" in text for mode in RESIZE_MODES)


SPOILT = {
    "0 and 1": (smooth(60, 60) > 128).astype(np.uint8),
    "0 to 15": smooth(60, 60) // 16,
    "0 to 31": smooth(60, 60) // 8,
    "12 bits and a white mark": np.where(
        np.arange(3600).reshape(60, 60) < 90, 255, smooth(60, 60) // 16
    ),
    "12 bits in a high corner": 128 + smooth(60, 60) // 16,
    "mask": (smooth(60, 60) > 128) * np.uint8(255),
}


@pytest.mark.parametrize("name", SPOILT)
def test_too_few_grey_levels_are_refused_whatever_the_resize(name):
    for resize in RESIZE_MODES:
        with pytest.raises(DecodeError) as caught:
            see(SPOILT[name].astype(np.uint8), 60, resize)
        assert caught.value.kind == "low-depth"
    with pytest.raises(DecodeError):
        see(np.full((40, 80), 90, np.uint8), 32, "pad")  # the border does not count


def test_a_faint_radiograph_is_read():
    faint = 100 + smooth(60, 60) // 3
    np.testing.assert_array_equal(see(faint.astype(np.uint8), 60, "crop"), faint)
