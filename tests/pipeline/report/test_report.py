"""The report, parsed as by a browser, against the published version and scikit-learn's numbers."""

import base64
import colorsys
import io
import json
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from pipeline.config.presets import load_preset
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.evaluation.version_diff import PredictionChanges, compare_predictions
from pipeline.publishing.candidate_publishing import publish_candidate
from pipeline.report import figures, plane
from pipeline.report.page import render_page
from pipeline.report.plane import choose_colours, make_plane
from pipeline.training.candidate_training import train_candidate
from quadnet import quadrants
from quadnet.errors import Unsupported
from quadnet.registry import Registry
from tests.pipeline.report.page_parser import parse, tables
from tests.pipeline.report.reported import HOSTILE, make_evaluation, shown_name
from tests.support.exact_models import exact_predictor, publish
from tests.support.serving import ROOT

SMALL = {
    "quadrants": [
        "data.points=400", "test.points=1000", "network.max_iter=25", "gate.accuracy=0.5",
    ],
    "digits": [
        "network.max_iter=8", "network.hidden_layer_sizes=[30]", "gate.accuracy=0.5",
        "scale=true", "validation=0.2", "calibrate=true",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return Registry(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def published(registry):
    """Return, by preset, the evaluation, the version, its page, and the page's root."""

    def run(name):
        done = evaluate_candidate(train_candidate(load_preset(name, SMALL[name])))
        model = publish_candidate(done, registry)
        text = registry.attachment(model, "report.html").decode()
        return done, model, text, parse(text)

    return {name: run(name) for name in SMALL}


def page(done, version=1, forced=None):
    text = render_page(done, done.make_record(forced), version)
    return text, parse(text)


def svg_of(node):
    kind, _, content = node.attributes["src"].partition(";base64,")
    assert kind == "data:image/svg+xml"
    return base64.b64decode(content, validate=True).decode()


def image_of(uri):
    kind, _, content = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


@pytest.mark.parametrize("name", SMALL)
def test_the_page_is_self_contained(published, name):
    _, model, text, root = published[name]
    assert len(text.encode()) < 300_000
    assert not re.search(r"https?:|<script|javascript:|url\(|@import", text)
    assert root.the("html").attributes["lang"] == "en"
    assert root.the("title").text == f"{name}, version {model.manifest.version}"
    metas = [meta.attributes for meta in root.all("meta")]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert {"http-equiv": "Content-Security-Policy", "content": policy} in metas
    assert {"charset": "utf-8"} in metas
    assert len(root.all("h1")) == len(root.all("main")) == 1
    ids = [node.attributes["id"] for node in root.walk() if "id" in node.attributes]
    assert len(set(ids)) == len(ids) == len(root.all("h2")) == len(root.all("a")) > 8
    assert [a.attributes["href"] for a in root.all("a")] == [f"#{key}" for key in ids]
    for node in root.all("img"):
        assert node.attributes["src"].startswith("data:image/")
        assert len(node.attributes["alt"]) > 10
    for node in root.all("table"):
        assert node.content[0].name == "caption"
        assert {th.attributes["scope"] for th in node.all("th")} == {"col", "row"}
        assert len({len(row.all("th", "td")) for row in node.all("tr")}) == 1


def close(text):
    """Return the number in the text, and its largest rounding error."""
    number = text.rstrip("%")
    decimals = len(number.partition(".")[2])
    unit = 100 if text.endswith("%") else 1
    return pytest.approx(float(number) / unit, abs=0.5000001 * 10**-decimals / unit)


@pytest.mark.parametrize("name", SMALL)
def test_the_numbers_are_scikit_learns(published, name):
    done, model, _, root = published[name]
    X, y = done.test.X, done.test.y
    answers, P = model.predictor.predict(X), model.predictor.probabilities(X)
    tiles = [node.text for node in root.all("dd") if node.attributes.get("class") == "value"]
    assert metrics.accuracy_score(y, answers) == close(tiles[0])
    assert float(tiles[1]) == pytest.approx(metrics.log_loss(y, P), rel=1e-3)
    found = tables(root)
    precision, recall, _, rows = metrics.precision_recall_fscore_support(
        y, answers, zero_division=0
    )
    body = found["Classes, on the test part"][1:]
    assert [row[0] for row in body] == model.manifest.signature.classes
    for i, row in enumerate(body):
        assert int(row[1]) == (done.candidate.splits.train.y == row[0]).sum()
        assert int(row[2]) == rows[i]
        assert precision[i] == close(row[3])
        assert recall[i] == close(row[4])
    (matrix,) = [rows for caption, rows in found.items() if caption.startswith("Test rows by")]
    counts = [[int(cell) for cell in row[1:]] for row in matrix[1:]]
    assert counts == metrics.confusion_matrix(y, answers).tolist()
    measured = {row[0]: row[1:] for row in found["Metrics"][1:]}
    train = done.candidate.splits.train
    trained = metrics.accuracy_score(train.y, model.predictor.predict(train.X))
    assert trained == close(measured["train part"][0])
    bins = found["Calibration, by certainty of the answer"][1:]
    assert sum(int(row[1]) for row in bins) == len(y)
    error = sum(
        int(row[1]) * abs(float(row[3].rstrip("%")) - float(row[4].rstrip("%"))) for row in bins
    )
    assert float(tiles[2].rstrip("%")) == pytest.approx(error / len(y), abs=0.01)


HUES = {"purple": 300, "green": 120, "blue": 240, "red": 0}


def hue(rgb):
    return 360 * colorsys.rgb_to_hsv(*(np.asarray(rgb) / 255))[0]


def test_the_map_shows_each_quadrant_in_its_colour(published):
    _, model, _, root = published["quadrants"]
    (drawn,) = [node for node in root.all("img") if node.attributes["alt"].startswith("Map")]
    svg = ET.fromstring(svg_of(drawn))
    (image,) = svg.iter("{http://www.w3.org/2000/svg}image")
    uri = image.get("{http://www.w3.org/1999/xlink}href").replace("\n", "")
    pixels = image_of(uri)
    # The image may be stored upside down; the SVG's transformation then turns it.
    *_, down, _, _ = map(float, re.findall(r"[-\d.]+", image.get("transform")))
    pixels = pixels if down > 0 else pixels[::-1]
    ranges = [(f.min, f.max) for f in model.manifest.signature.features]
    for quadrant in quadrants.QUADRANTS:
        # The training range is shown with a margin of 15% on either side.
        column, from_below = (
            round(len(pixels) * ((0.5 * sign - low) / (high - low) + 0.15) / 1.3)
            for sign, (low, high) in zip((quadrant.x_sign, quadrant.y_sign), ranges, strict=True)
        )
        row = len(pixels) - from_below
        square = pixels[row - 10 : row + 10, column - 10 : column + 10].reshape(-1, 3)
        colours, counts = np.unique(square, axis=0, return_counts=True)
        seen = hue(colours[counts.argmax()])
        off = {name: abs((seen - h + 180) % 360 - 180) for name, h in HUES.items()}
        assert min(off, key=off.get) == quadrant.colour
    labels = {
        node.text: [float(n) for n in re.findall(r"[\d.]+", node.attributes["style"])]
        for node in root.all("span")
        if "left:" in node.attributes.get("style", "")
    }
    for quadrant in quadrants.QUADRANTS:
        x, y = labels[quadrant.name]
        assert ((x > 50) - (x < 50), (y < 50) - (y > 50)) == (quadrant.x_sign, quadrant.y_sign)


def test_the_gallery_shows_the_scans(published):
    done, _, _, root = published["digits"]
    scans = [n for n in root.all("img") if n.attributes["alt"].startswith("Row")]
    assert len(scans) == 16 + 10
    for node in scans:
        row, label, answer = re.fullmatch(
            r"Row (\d+), a scan of (\d), answered (\d)", node.attributes["alt"]
        ).groups()
        x = done.test.X[int(row)]
        assert done.test.y[int(row)] == label
        assert done.candidate.predictor.predict(x[np.newaxis])[0] == answer
        ink = 255 - image_of(node.attributes["src"])[:, :, 0].astype(int)
        np.testing.assert_allclose(ink, x.reshape(8, 8) * 255 / 16, atol=1)
        assert node.attributes["class"] == ("right" if label == answer else "wrong")
    typical = [n.attributes["alt"].split(" of ")[1][0] for n in scans[16:]]
    assert typical == sorted(typical) == [str(i) for i in range(10)]


def test_pictures_follow_the_readers_choice_of_dark_or_light(published):
    for _, _, _, root in published.values():
        drawn = [n for n in root.all("img") if "svg" in n.attributes["src"][:20]]
        assert len(drawn) >= 2
        for node in drawn:
            svg = svg_of(node)
            assert "prefers-color-scheme:dark" in svg
            assert "var(--c0)" in svg
            assert not any(colour in svg.partition("</style>")[2] for colour in (figures.INK,))
            assert "<dc:date>" not in svg


def test_the_same_run_gives_the_same_bytes(published, registry):
    for done, model, text, _ in published.values():
        again = publish_candidate(done, registry)
        first, second = model.manifest.version, again.manifest.version
        other = registry.attachment(again, "report.html").decode()
        name = model.manifest.model
        for before in (f"version {first}", f"{name}:{first}", f", version={first})"):
            text = text.replace(before, before.replace(str(first), str(second)))  # noqa: PLW2901
        assert text == other


def test_without_matplotlib_there_is_no_page_but_a_card_and_with_it_no_pyplot(tmp_path):
    code = f"""
import sys
sys.path.insert(0, ".")
sys.modules["matplotlib"] = None
from pathlib import Path
from pipeline.publishing.candidate_publishing import publish_candidate
from quadnet.registry import Registry
from tests.pipeline.report.reported import make_evaluation
done = make_evaluation("xy", "ab")
for _ in range(2):
    model = publish_candidate(done, Registry(Path({str(tmp_path)!r})))
    print(*sorted(model.manifest.files))
    if sys.modules["matplotlib"] is None:
        del sys.modules["matplotlib"]
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    without, with_it = done.stdout.splitlines()
    assert "card.md" in without
    assert with_it == without.replace("history.jsonl", "history.jsonl report.html")


def test_matplotlib_is_left_as_it_was():
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 40, "axes.facecolor": "red", "lines.linewidth": 9}):
        mine = page(make_evaluation("xy", "ab"))[0]
    assert page(make_evaluation("xy", "ab"))[0] == mine
    assert dict(mpl.rcParams) == before


ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "p", "h1",
    "h2", "small", "a", "dl", "div", "dt", "dd", "figure", "figcaption", "img", "span", "ul", "li",
    "table", "caption", "thead", "tbody", "tr", "th", "td", "bdi", "b", "br", "details", "summary",
    "pre", "code",
}  # fmt: skip


@pytest.mark.parametrize("n_features", [2, 3, 11])
def test_hostile_names_come_out_as_they_are_and_do_nothing(n_features):
    names = [name for name in HOSTILE if name.strip()]
    reason = "because <b>I</b>\n</p><script>"
    text, root = page(make_evaluation(names[:n_features], HOSTILE), forced=reason)
    assert len(text.encode()) < 1_000_000
    assert {node.name for node in root.walk()} - {""} <= ELEMENTS
    for node in root.walk():
        assert not any(key.startswith("on") for key in node.attributes)
        assert node.attributes.get("href", "#").startswith("#")
        assert node.attributes.get("src", "data:").startswith("data:")
    assert root.the("title").text == "strange, version 1"
    classes = [row[0] for row in tables(root)["Classes, on the test part"][1:]]
    assert classes == [shown_name(name) for name in sorted(HOSTILE)]
    features = [row[0] for row in tables(root)["Features"][1:]]
    assert features == [shown_name(name) for name in names[:n_features]]
    assert shown_name(reason) in root.the("header").text
    for node in root.all("img"):
        if "svg" in node.attributes["src"][:20]:
            assert not any(name in svg_of(node) for name in names if name != "#")


def test_no_template_turns_escaping_off():
    for path in (ROOT / "pipeline/report/templates").iterdir():
        assert not re.search(r"\|\s*safe|autoescape", path.read_text()), path


def test_bidirectional_control_characters_are_shown_as_escapes():
    text, _ = page(make_evaluation("xy", ["\u202eevil", "\u05e9\u05dc\u05d5\u05dd"]))
    assert "\u202e" not in text
    assert "\\u202eevil" in text
    assert "<bdi>\u05e9\u05dc\u05d5\u05dd</bdi>" in text


@pytest.mark.parametrize(("n_classes", "n_features"), [(2, 3), (2, 2), (20, 2), (30, 2), (100, 2)])
def test_any_number_of_classes_has_a_page(n_classes, n_features):
    names = [f"class {i:03}" for i in range(n_classes)]
    done = make_evaluation(
        [f"feature {i}" for i in range(n_features)], names, rows=2 * n_classes + 50
    )
    text, root = page(done)
    assert len(text.encode()) < 1_000_000
    found = tables(root)
    assert [row[0] for row in found["Classes, on the test part"][1:]] == names
    maps = [n for n in root.all("img") if n.attributes["alt"].startswith("Map")]
    assert len(maps) == (n_features == 2)
    confusion = np.array(done.evaluations["test"].confusion)
    np.fill_diagonal(confusion, 0)
    if n_classes > 20:
        (listed,) = [rows for caption, rows in found.items() if caption.startswith("Confusions")]
        counts = [int(row[2]) for row in listed[1:]]
        assert counts == sorted(confusion[confusion > 0].tolist(), reverse=True)[:20]
        for label, answer, count, _ in listed[1:]:
            assert confusion[names.index(label), names.index(answer)] == int(count)
    else:
        assert any(caption.startswith("Test rows by") for caption in found)
    assert "The test rows whose label was given the least probability" in found


def test_the_page_of_a_model_without_mistakes():
    said = "Every test row was predicted correctly."
    assert said not in page(make_evaluation("xyz", "ab"))[0]
    assert said in page(make_evaluation("xyz", "ab", mistakes=False))[0]


def curve(n, **more):
    return [{"epoch": i + 1, "loss": 1.0 / (i + 1), **more} for i in range(n)]


@pytest.mark.parametrize("epochs", [[], curve(1), curve(2), curve(50_000)], ids=len)
def test_any_number_of_epochs_has_a_page(epochs):
    text, root = page(make_evaluation("xyz", "ab", epochs=epochs))
    drawn = [n for n in root.all("img") if n.attributes["alt"].startswith("The loss")]
    assert len(drawn) == (len(epochs) > 1)
    assert len(text.encode()) < 200_000


@pytest.mark.parametrize(
    "losses", [[0.5, 0.5], [1.0, 0.0], [3e-5, 2e-5], [1e300, 1e-300], [0.2, 0.01]]
)
def test_any_losses_are_drawn(losses):
    epochs = [
        {"epoch": i + 1, "loss": loss, "validation_loss": loss, "validation_score": 0.5}
        for i, loss in enumerate(losses)
    ]
    _, root = page(make_evaluation("xyz", "ab", epochs=epochs))
    assert [n for n in root.all("img") if n.attributes["alt"].startswith("The loss")]


@pytest.mark.parametrize(
    ("scale", "offset", "drawn"),
    [(1e-9, 0, True), (1, 1e6, True), (1e300, 0, True), (1e-9, 1e6, False), (0, 7, True)],
)
def test_a_map_of_any_range_is_drawn_or_left_out(scale, offset, drawn):
    done = make_evaluation("xy", "abc", scale=scale, offset=offset)
    _, root = page(done)
    maps = [n for n in root.all("img") if n.attributes["alt"].startswith("Map")]
    assert len(maps) == drawn
    for node in maps:
        marks = re.findall(r">([-\u2212\d.e+]+)</text>", svg_of(node))
        across = marks[: len(marks) // 2]
        assert len(set(across)) == len(across) > 1


def test_the_page_of_a_forced_version_has_the_reason_and_the_champion(registry, published):
    champion = registry.load("quadrants", 1)
    changes = ["network.max_iter=3", "gate.accuracy=0.99"]
    done = evaluate_candidate(
        train_candidate(load_preset("quadrants", [*SMALL["quadrants"], *changes])),
        champion,
    )
    assert not done.passed
    _, root = page(done, 2, forced="it is smaller")
    head = root.the("header").text
    assert "Failed its gate" in head
    assert "It was published anyway, because: it is smaller" in head
    theirs = metrics.accuracy_score(done.test.y, champion.predictor.predict(done.test.X))
    (said,) = re.findall(r"([\d.]+%): the champion, version 1", head.replace("\n", " "))[:1]
    assert theirs == close(said)
    verdicts = tables(root)["The gate's verdicts"][1:]
    assert [(row[0], row[3]) for row in verdicts] == [
        (v.metric, "passed" if v.passed else "FAILED") for v in done.gate
    ]
    assert "Champion's recall" in tables(root)["Classes, on the test part"][0]


def test_everything_that_was_set_is_on_the_page(published):
    for _, model, _, root in published.values():
        found = tables(root)
        said = {
            row[0]: row[1]
            for caption in found
            if caption.startswith(("Settings of", "Parameters of"))
            for row in found[caption][1:]
        }
        config = model.manifest.config
        assert said["network.solver"] == config["network"]["solver"]
        assert (
            json.loads(said["network.hidden_layer_sizes"])
            == (config["network"]["hidden_layer_sizes"])
        )
        assert config["network"].keys() >= {
            key.partition(".")[2] for key in said if key.startswith("network.")
        }
        digests = [row[4] for row in found["The parts of the data"][1:]]
        assert model.manifest.data.train.sha256 in digests
        assert model.manifest.data.test.sha256 in digests
        made = {row[0]: row[1] for row in found["Code, libraries and machine"][1:]}
        assert made["numpy"] == np.__version__


def luminance(colour):
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    dark, light = sorted([luminance(a), luminance(b)])
    return (light + 0.05) / (dark + 0.05)


def test_text_and_pictures_stand_out_from_the_page_light_and_dark(published):
    *_, root = published["quadrants"]
    style = root.the("style").text
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    for rules in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", rules))
        for name in ("ink", "muted", "good", "bad", "link"):
            for ground in ("paper", "soft"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    shades = choose_colours(quadrants.NAMES)
    assert all(contrast(c, g) >= 3 for c in shades for g in ("#ffffff", "#121212"))
    curves = re.findall(r"--c(\d):(#\w{6})", svg_of(root.all("img")[-1]))
    half = len(curves) // 2
    for colours_, ground in ((curves[:half], "#ffffff"), (curves[half:], "#121212")):
        assert all(contrast(colour, ground) >= 3 for _, colour in colours_), ground


def test_changes_between_versions_are_drawn(registry, tmp_path):
    names = ["\u4e2d\u6587", "$x^2$ \\frac", "</text><script>", "I" * 60]
    for scale in (1.0, 10.0):
        publish(registry, "strange", scale=scale, classes=sorted(names))
    versions = [registry.load("strange", n) for n in (1, 2)]
    found = compare_predictions(*versions)
    for name in ("a.png", "a.svg", "b.png"):
        figures.draw_changes(found, ["strange:1", "strange:2"], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"<script" not in (tmp_path / "a.svg").read_bytes()
    ET.fromstring((tmp_path / "a.svg").read_text())


def test_changes_of_other_than_planes_are_not_drawn(tmp_path):
    found = PredictionChanges("rows", (np.array(["a"]), np.array(["b"])), 0.0)
    with pytest.raises(Unsupported, match="needs versions with 2 features"):
        figures.draw_changes(found, ["a", "b"], tmp_path / "a.png")


def test_the_exact_map_by_hand():
    done = make_evaluation("xy", quadrants.NAMES, predictor=exact_predictor())
    found = make_plane(done)
    n = plane.CELLS
    steps = (np.arange(n) + 0.5) / n
    x, y = (low + steps * (high - low) for low, high in zip(found.low, found.high, strict=True))
    names = np.array(quadrants.NAMES)[found.winners]
    right, above = np.broadcast_arrays((x > 0)[np.newaxis, :], (y > 0)[:, np.newaxis])
    expected = np.select([right & above, above, ~right & ~above], ["I", "II", "III"], "IV")
    assert (names == expected).all()
