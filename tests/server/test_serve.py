"""xray-tf serve: what its API answers and refuses, and its page in a real browser."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from xray_tf import serve
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.load import load
from xray_tf.models.reader import Reader

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra `serve`")

from chromium import PATIENCE_S, Chromium  # noqa: E402

from xray_tf.server.app import create_app  # noqa: E402
from xray_tf.server.desk import Desk  # noqa: E402
from xray_tf.server.guard import is_loopback  # noqa: E402
from xray_tf.server.uploads import Limits, Refused, Upload, clean_name, unpack  # noqa: E402

LIMITS = Limits(size=4_000_000, pixels=2_000_000)


class Served:
    """A server in a thread of this process."""

    def __init__(self, reader, token="", limits=LIMITS):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.desk = Desk(reader, limits)
        config = uvicorn.Config(create_app(self.desk, token), log_level="warning", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))
        self.thread.start()
        while not self.desk.ready:
            assert self.thread.is_alive()
            time.sleep(0.05)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(PATIENCE_S)
        self.socket.close()

    def ask(self, path="/api/read", data=None, headers=None):
        """Return status and what was answered."""
        request = urllib.request.Request(self.address + path, data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                status, text, head = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            status, text, head = error.code, error.read(), error.headers
        is_json = head["content-type"].startswith("application/json")
        return status, json.loads(text) if is_json else text.decode()

    def post(self, data, path="/api/read", name="scan.png", field="file", **headers):
        return self.ask(path, *form(data, name, field, headers))


def form(data, name="scan.png", field="file", headers=None, times=1):
    head = f'--cut\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    body = (head.encode() + data + b"\r\n") * times + b"--cut--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=cut", **(headers or {})}


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def packed(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


SCAN = png(draw_phantom("bacterial", seed=5).image)


@pytest.fixture(scope="module")
def classifier(remembered):
    """A classifier with a reference."""
    return load(remembered[0].folder)


@pytest.fixture(scope="module")
def served(classifier, phantoms):
    server = Served(Reader(classifier, data=phantoms))
    yield server
    server.stop()


def test_it_answers_what_read_answers(served, classifier):
    status, told = served.post(SCAN)
    evidence = classifier.read(SCAN)
    names = classifier.card.class_names
    assert status == 200 and told["decision"] == evidence.prediction.predicted
    assert list(told["probability"]) == list(names) and told["model"] == classifier.card.name
    np.testing.assert_allclose(
        list(told["probability"].values()), evidence.prediction.probabilities, atol=1e-6
    )
    assert told["operating_point"] == classifier.card.default_operating_point
    assert told["name"] == "scan.png" and told["sha256"] == evidence.sha256
    assert all(isinstance(text, str) for text in told["warnings"] + told["notes"])
    assert not {"heatmap", "embedding", "neighbors", "detector", "picture", "html"} & set(told)


def test_more_is_answered_on_request(served, classifier, phantoms):
    _, told = served.post(SCAN, "/api/read?include=heatmap,lungs,neighbors,embedding,picture,html")
    evidence = classifier.read(SCAN, data=phantoms)
    assert told["heatmap"]["class_name"] == told["decision"]
    assert told["heatmap"]["png"].startswith("data:image/png;base64,")
    np.testing.assert_allclose(told["embedding"], evidence.embedding, atol=1e-5)
    near = told["neighbors"]["cases"]
    assert [n["sha256"] for n in near] == [r.sha256 for r in evidence.neighbors.rows]
    assert all(n["picture"].startswith("data:image/jpeg;base64,") for n in near)
    whole = cv2.imdecode(np.frombuffer(SCAN, np.uint8), cv2.IMREAD_GRAYSCALE)
    sent = cv2.imdecode(
        np.frombuffer(urllib.request.urlopen(told["picture"]).read(), np.uint8),
        cv2.IMREAD_UNCHANGED,
    )
    np.testing.assert_array_equal(sent, whole)
    assert told["html"].startswith("<article") and "What to distrust" in told["html"]


def test_what_is_refused_is_refused_with_the_reason(served):
    wide = png(np.zeros((1000, 2001), np.uint8))
    for status, kind, (body, headers) in (
        (422, "not-an-image", form(b"no picture")),
        (422, "empty", form(b"")),
        (413, "too-large", form(wide)),
        (413, "too-large", form(bytes(LIMITS.size + 1))),
        (413, "too-large", form(bytes(3 * LIMITS.size))),
        (422, "constant", form(png(np.full((64, 64), 7, np.uint8)))),
        (400, "bad-request", form(SCAN, field="picture")),
        (400, "bad-request", form(SCAN, times=2)),
        (415, "not-multipart", (SCAN, {"Content-Type": "image/png"})),
        (400, "bad-request", (SCAN, {"Content-Type": "multipart/form-data"})),
    ):
        got, told = served.ask("/api/read", body, headers)
        assert (got, told["kind"]) == (status, kind) and told["error"], told
    assert served.post(SCAN, "/api/read?include=soul")[0] == 422
    assert "soul" in served.post(SCAN, "/api/read?include=soul")[1]["error"]
    assert served.ask("/nowhere")[1]["error"] == "Not Found"
    assert served.ask("/api/read")[0] == 405
    assert served.post(SCAN)[0] == 200


def test_a_zip_is_read_file_by_file_or_unpacked(served):
    data = packed(**{"a/one.png": SCAN, "__MACOSX/a/._one.png": b"x", "bad.png": b"no picture"})
    status, told = served.post(data, name="all.zip")
    assert status == 200 and [c["name"] for c in told["cases"]] == ["a/one.png", "bad.png"]
    assert told["cases"][0]["decision"] and told["cases"][1]["kind"] == "not-an-image"
    files = served.post(data, "/api/unpack")[1]["files"]
    assert [f["name"] for f in files] == ["a/one.png", "bad.png"]
    bomb = packed(**{"big.png": bytes(LIMITS.size + 1)})
    assert len(bomb) < 10_000 and served.post(bomb)[0] == 413
    assert served.post(data[:-30])[0] == 422
    assert served.post(SCAN, "/api/unpack")[0] == 422
    many = Upload("x.zip", packed(**{f"{i}.png": b"" for i in range(501)}))
    with pytest.raises(Refused, match="501 files"):
        unpack(many, LIMITS)


def test_names_lose_what_could_do_harm():
    assert clean_name("..\\..\\a\x00b\n/../c.png") == "ab/c.png"
    assert clean_name("") == "radiograph" and len(clean_name("x" * 999)) == 300


def test_posts_of_other_sites_are_refused(served):
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": served.address.replace("http", "https").replace("1:", "2:")},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        status, told = served.ask("/api/read", *form(SCAN, headers=headers))
        assert (status, told["kind"]) == (403, "cross-site")
    assert served.ask("/", headers={"Host": "evil.example"})[0] == 403
    assert served.ask("/", headers={"Host": "[::"})[0] == 403
    for headers in ({"Origin": served.address}, {"Sec-Fetch-Site": "same-origin"}):
        assert served.ask("/api/read", *form(SCAN, headers=headers))[0] == 200
    assert is_loopback("::1") and is_loopback("localhost") and not is_loopback("127.0.0.1.evil")


def test_fifty_clients_at_once_are_all_answered(served):
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: served.post(SCAN), range(50)))
    assert [status for status, _ in answers] == [200] * 50
    assert len({json.dumps(told["probability"]) for _, told in answers}) == 1
    assert served.ask("/api/health")[1]["waiting"] == 0


def test_nothing_is_written(served, monkeypatch, tmp_path):
    noise = np.random.default_rng(0).integers(0, 120, (1200, 1200), dtype=np.uint8)
    data = png(noise + np.linspace(0, 120, 1200).astype(np.uint8))
    assert len(data) > 1 << 20

    def refuse(*_, **__):
        raise AssertionError("a file was written")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert served.post(data, "/api/read?include=heatmap,picture,html")[0] == 200
    assert served.post(packed(**{"a.png": data}))[0] == 200


def test_the_api_is_described_without_a_network(served):
    described = served.ask("/openapi.json")[1]
    assert set(described["paths"]) == {"/api/health", "/api/read", "/api/unpack"}
    fields = described["components"]["schemas"]["Answer"]["properties"]
    assert {"probability", "decision", "operating_point", "warnings", "model"} <= set(fields)
    page = served.ask("/docs")[1]
    assert "POST /api/read" in page and "://" not in page.replace("http://127.0.0.1:8000", "")


def test_a_token_opens_everything_but_the_health(classifier):
    server = Served(Reader(classifier), token="sesame open")
    try:
        assert server.ask("/api/health")[0] == 200
        for path in ("/", "/docs", "/openapi.json", "/?token=wrong"):
            assert server.ask(path)[0] == 401
        assert server.post(SCAN)[0] == 401
        assert server.ask("/api/read", *form(SCAN, headers={"Authorization": "Bearer x"}))[0] == 401
        right = {"Authorization": "Bearer sesame open", "Host": "any.name"}
        assert server.ask("/api/read", *form(SCAN, headers=right))[0] == 200
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        page = opener.open(f"{server.address}/?token=sesame%20open")
        assert page.url == f"{server.address}/" and b"Drop radiographs" in page.read()
        assert opener.open(urllib.request.Request(f"{server.address}/api/read", *form(SCAN)))
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--host", "0.0.0.0"], "needs --token"),
        (["--port", "70000"], "65535"),
        (["--max-megabytes", "0"], "above 0"),
        (["--model", "none such"], "none such is not an xray_tf artifact"),
        (["--data", "none such"], "none such is not a folder"),
    ],
)
def test_options_that_do_not_fit_are_refused(args, message, capsys):
    try:
        status = serve.main(args)
    except SystemExit as error:
        status = error.code
    assert status == 2 and message in capsys.readouterr().err


def test_the_command_prints_its_port_and_a_signal_ends_it(classifier):
    line = [sys.executable, "-m", "xray_tf", "serve", "--port", "0", "--detector", "none"]
    process = subprocess.Popen(
        [*line, "--model", str(classifier.folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines[1].startswith("Listening on http://127.0.0.1:")
        status = ""
        while status != "ok":
            with urllib.request.urlopen(
                lines[1].split()[2] + "api/health", timeout=PATIENCE_S
            ) as answer:
                status = json.load(answer)["status"]
            assert status in ("starting", "ok")
            time.sleep(0.2)
        taken = lines[1].split(":")[2].split("/")[0]
        again = subprocess.run(
            [*line[:5], taken, "--model", str(classifier.folder), "--detector", "none"],
            capture_output=True,
            text=True,
        )
        assert again.returncode == 2 and f"port {taken}" in again.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    status = process.returncode
    assert status == (143 if os.name == "posix" else status)


def test_a_person_drops_a_file_moves_the_slider_and_reads_the_answer(served, tmp_path):
    scan, other, text = (tmp_path / n for n in ("scan.png", "other.png", "notes.txt"))
    scan.write_bytes(SCAN)
    other.write_bytes(png(draw_phantom("normal", seed=9).image))
    text.write_text("no picture")
    (tmp_path / "two.zip").write_bytes(packed(**{"in/third.png": other.read_bytes()}))
    told = served.post(SCAN)[1]
    with Chromium(tmp_path / "profile") as tab:
        tab.open(served.address + "/")
        assert tab.js("getComputedStyle(document.getElementById('work')).display") == "none"
        tab.drop(scan)
        tab.until("document.querySelector('#panel .verdict')")
        verdict = tab.js("document.querySelector('#panel .verdict').innerText")
        chance = f"{told['probability']['pneumonia']:.3f}"
        assert told["decision"] in verdict and chance in verdict
        assert tab.js("document.querySelector('#cases small').innerText").startswith(
            told["decision"]
        )
        # at its own resolution, and all of it is to be seen
        size = [draw_phantom("bacterial", seed=5).image.shape[k] for k in (1, 0)]
        tab.until("document.getElementById('picture').complete")
        assert tab.js("[picture.naturalWidth, picture.naturalHeight]") == size
        scale = tab.js("zoom.scale")
        tab.js("document.querySelector('[data-zoom=in]').click()")
        assert tab.js("zoom.scale") == pytest.approx(1.4 * scale)
        # the slider, with the mouse
        before = float(tab.js("heat.style.opacity"))
        tab.drag("#opacity", 0.9)
        assert float(tab.js("heat.style.opacity")) > before + 0.2
        assert tab.js("document.querySelector('output[for=opacity]').innerText") != "45 %"
        painted = "[...heat.getContext('2d').getImageData(0, 0, heat.width, heat.height).data]"
        if not tab.js("current.told.heatmap.empty"):
            assert tab.js(f"{painted}.some((v, i) => i % 4 === 3 && v > 0)")
        tab.drag("#level", 0.2)
        assert "window" in tab.js("picture.style.filter")
        # more files, one of them in a ZIP and one that is none
        tab.choose("#files", other, text, tmp_path / "two.zip")
        tab.until("cases.length === 4 && cases.every((c) => /done|failed/.test(c.state))")
        names = tab.js("cases.map((c) => c.name + ' ' + c.state)")
        assert names[0] == "scan.png done" and "in/third.png done" in names
        assert "notes.txt failed" in names
        # one page goes out, and it needs nothing else
        exported = tab.js(
            "new Promise((done) => { URL.createObjectURL = (b) => (b.text().then(done), 'blob:x');"
            " document.getElementById('export').click(); })"
        )
        assert exported.count("<article") == 3 and "notes.txt is not read" in exported
        assert "fetch(" not in exported and "radiographs" in exported.lower()
        assert all(url.startswith(served.address) for url in tab.requested())
        complaints = [c for c in tab.complaints() if "422" not in c and "blob:x" not in c]
        assert not complaints
