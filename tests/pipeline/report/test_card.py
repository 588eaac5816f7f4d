"""The card, parsed by an independent Markdown parser, against scikit-learn's numbers."""

import re
import shlex

import numpy as np
import pytest
from markdown_it import MarkdownIt
from sklearn import metrics

from pipeline.config.presets import load_preset
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.publishing.candidate_publishing import publish_candidate
from pipeline.report.card import escape_markdown, render_card
from pipeline.report.facts import make_commands_table
from pipeline.training.candidate_training import train_candidate
from quadnet.cli import parser
from quadnet.cli.main import _import_attribute
from quadnet.cli.verbs import VERBS
from quadnet.layers import Activation, Conv2D, Dense, Flatten, LayerNorm, Residual
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from tests.pipeline.report.page_parser import parse
from tests.pipeline.report.reported import HOSTILE, make_evaluation, shown_name

SMALL = ["data.points=400", "test.points=1000", "network.max_iter=25", "gate.accuracy=0.5"]


def card_of(done, version=1, forced=None):
    return render_card(done, done.make_record(forced), version)


def parse_card(text):
    """Return the card's Markdown tokens, with the inner ones."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return [inner for token in tokens for inner in [token, *(token.children or [])]]


def cells(text):
    """Return the card's tables: rows of texts, by the bold line before each."""
    html = MarkdownIt("commonmark").enable("table").render(text)
    found, caption = {}, None
    for node in parse(html.replace("<br />", "<br>").replace("<hr />", "")).content:
        if isinstance(node, str):
            continue
        if node.name == "table":
            found[caption] = [[c.text for c in tr.all("th", "td")] for tr in node.all("tr")]
        caption = node.text
    return found


@pytest.mark.parametrize(
    ("layers", "shape", "rows"),
    [
        ([Dense(3), Activation("tanh")], (9,), ("9-3-4", "tanh")),
        ([], (9,), ("9-4", "none: no hidden layer")),
        (
            [Conv2D(2, 2), Activation("relu"), Residual([Conv2D(2, 1)]), Flatten()],
            (1, 3, 3),
            (
                "1 x 3 x 3",
                (
                    "conv2d(filters=2, kernel=2), relu, residual(layers=[conv2d(filters=2, "
                    "kernel=1)]), flatten, dense(units=4)"
                ),
            ),
        ),
        ([LayerNorm()], (9,), ("9", "layer_norm, dense(units=4)")),
    ],
)
def test_the_card_names_layers_of_every_kind(layers, shape, rows):
    network = Network([*layers, Dense(4)], shape, loss="softmax_cross_entropy")
    network.initialize(INITIALIZERS["he_normal"], np.random.RandomState(0))
    predictor = Predictor(network, list("abcd"))
    done = make_evaluation([f"x{i}" for i in range(9)], "abcd", predictor=predictor)
    table = dict(row[:2] for row in cells(card_of(done))["Training"][1:])
    names = ("Layers", "Activations") if "Activations" in table else ("Input", "Layers")
    assert tuple(table[name] for name in names) == rows


def test_the_card_of_a_published_version_holds_scikit_learns_numbers(registry):
    done = evaluate_candidate(train_candidate(load_preset("quadrants", SMALL)))
    model = publish_candidate(done, registry)
    text = registry.attachment(model, "card.md").decode()
    assert text.startswith("# quadrants, version 1\n")
    found = cells(text)
    X, y = done.test.X, done.test.y
    answers = model.predictor.predict(X)
    measured = {row[0]: row[1:] for row in found["Metrics"][1:]}
    assert measured["test part"][0] == f"{metrics.accuracy_score(y, answers):.2%}"
    assert float(measured["test part"][1]) == pytest.approx(
        metrics.log_loss(y, model.predictor.probabilities(X)), rel=1e-3
    )
    recall = metrics.recall_score(y, answers, average=None)
    said = [row[4] for row in found["Classes, on the test part"][1:]]
    assert [float(share.rstrip("%")) / 100 for share in said] == pytest.approx(recall, abs=6e-5)
    assert [row[0] for row in found["Features"][1:]] == ["x", "y"]
    assert model.manifest.data.train.sha256 in text
    assert model.manifest.config_sha256 in text
    # In this preset the validation part chooses only the temperature.
    assert {row[0]: row[1] for row in found["The parts of the data"][1:]}["validation"] == (
        "to choose the temperature"
    )


def test_its_commands_are_quadnets():
    done = evaluate_candidate(train_candidate(load_preset("quadrants", SMALL)))
    typed = [row[1] for row in make_commands_table(done.make_record(), 7).rows]
    text = card_of(done, 7)
    commands = [shlex.split(line) for line in typed if line.startswith("quadnet ")]
    assert len(commands) == len(typed) - 1 == 5
    for words in commands:
        assert f"    {shlex.join(words)}\n" in text
        n = 2 if words[1] == "models" else 1
        verb = VERBS[" ".join(words[1 : 1 + n])]
        parser.parse(_import_attribute(verb.settings), "test", words[1 + n :])
    # The server classifies only models of the quadrants' features and classes.
    assert "quadnet serve" not in card_of(make_evaluation("xyz", "ab"))


@pytest.mark.parametrize("n_features", [2, 13])
def test_hostile_names_come_out_as_they_are_and_do_nothing(n_features):
    reason = "because | <b>I</b>\n\n# say so `"
    features = sorted(HOSTILE)[:n_features]
    text = card_of(make_evaluation(features, HOSTILE), forced=reason)
    tokens = parse_card(text)
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "fence", "s_open"}
    assert "em_open" not in kinds
    headings = [t for t in tokens if t.type == "heading_open"]
    assert len(headings) == 7
    for row in re.findall(r"^\|.*$", text, re.MULTILINE):
        assert "|" not in row.replace(" | ", "")[2:-2]
    found = cells(text)
    assert all(len({len(row) for row in rows}) == 1 for rows in found.values())
    names = [shown_name(name) for name in sorted(HOSTILE)]
    assert [row[0] for row in found["Classes, on the test part"][1:]] == names
    assert [row[0] for row in found["Features"][1:]] == names[:n_features]
    limits = {row[0] for row in found["The gate's verdicts"][1:]}
    assert {shown_name(f"recall of {name}") for name in HOSTILE if name.strip()} < limits
    assert shown_name(reason) in "".join(
        t.content for t in tokens if t.type in {"text", "code_inline"}
    )
    # Some readers make links of addresses in plain text too, and formulas between dollars.
    plain = "".join(token.content for token in tokens if token.type == "text")
    assert not re.search(r"www|://|@|\$|~~", plain)


@pytest.mark.parametrize(
    "name",
    [*HOSTILE, "|", "||", "`", "``", "\\", "\\|", "` a", "a `", " a ", "*", "1)", "-", "a|", "`|`"],
)
def test_any_name_reads_as_itself_in_a_table(name):
    if name == " ":
        name = "' '"
    text = f"| a |\n| --- |\n| {escape_markdown(name)} |\n"
    ((_,), (cell,)) = cells("**x**\n\n" + text)["x"]
    assert cell.strip() == shown_name(name).strip()


def limits_of(*arguments, **options):
    text = card_of(make_evaluation(*arguments, **options))
    return text.partition("## Limits\n")[2].partition("\n## ")[0]


def test_the_limits_are_what_the_data_show():
    said = limits_of("xyz", "ab", rows=20)
    assert "Outside the training range" in said
    assert "Fewer than 30 test rows are of" in said
    assert "never varied" not in said
    assert "x, y, z never varied in training" in limits_of("xyz", "ab", scale=0, offset=2)
    # Of equal rows with different labels each is contradicted by another.
    contradicted = re.search(
        r"(\d+) training rows", limits_of("xyz", "ab", scale=0, offset=2, rows=100)
    )
    assert int(contradicted[1]) == 100
    noisy = evaluate_candidate(
        train_candidate(load_preset("quadrants", [*SMALL, "data.label_noise=0.25"]))
    )
    assert "25.00% of the training points were given a wrong label" in card_of(noisy)


def test_overfitting_is_listed_as_a_limit():
    done = evaluate_candidate(
        train_candidate(
            load_preset(
                "quadrants",
                [
                    "data.points=60", "data.seed=3", "test.points=2000", "gate.accuracy=0",
                    "validation=0", "calibrate=false",
                ],
            )
        )
    )  # fmt: skip
    train, test = (done.evaluations[part].metrics.accuracy for part in ("train", "test"))
    assert train - test > 0.02
    assert f"right on {train:.0%} of the training rows" in card_of(done)


def test_the_card_of_a_forced_version_has_the_reason_and_the_champion(registry):
    champion = publish_candidate(
        evaluate_candidate(train_candidate(load_preset("quadrants", SMALL))),
        registry,
    )
    config = load_preset("quadrants", [*SMALL, "network.max_iter=3", "gate.accuracy=0.99"])
    done = evaluate_candidate(train_candidate(config), champion)
    text = card_of(done, 2, forced="it is smaller")
    met = sum(verdict.passed for verdict in done.gate)
    assert f"It FAILED its gate, {met} of {len(done.gate)} limits met" in text
    assert "because: it is smaller." in text
    assert "compared with the champion at that time, version 1" in text
    theirs = metrics.accuracy_score(done.test.y, champion.predictor.predict(done.test.X))
    row = cells(text)["Metrics"][-1]
    assert row[:2] == ["test part, champion (version 1)", f"{theirs:.2%}"]
    passed = card_of(evaluate_candidate(train_candidate(load_preset("quadrants", SMALL))))
    assert "It passed its gate, 4 of 4 limits met." in passed
    assert "It was not compared with a champion." in passed


def test_of_many_features_the_first_are_listed_and_the_rest_together():
    rows = cells(card_of(make_evaluation([f"f{i}" for i in range(64)], "ab")))["Features"][1:]
    assert [row[0] for row in rows] == [*(f"f{i}" for i in range(10)), "and 54 more"]


def test_of_very_many_classes_those_that_are_found_least_often_are_listed():
    names = [f"c{i:03}" for i in range(250)]
    done = make_evaluation("xyz", names, rows=600)
    found = cells(card_of(done))
    (caption,) = [c for c in found if c and c.startswith("The 200 of 250 classes")]
    recall = done.evaluations["test"].metrics.classes
    listed = {row[0] for row in found[caption][1:]}
    worst = max(recall[name].recall for name in listed if recall[name].recall is not None)
    rest = [recall[name].recall for name in set(names) - listed]
    assert all(share is None or share >= worst for share in rest)
