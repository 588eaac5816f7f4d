"""The command line adds to an error what its user can type."""

import importlib
import pickle
import re

import pytest

from quadnet.cli.advice import ADVICE, explain_error
from quadnet.cli.main import VERBS
from quadnet.errors import Conflict, ErrorKind, FileUnusable, InvalidInput, Violation

NOT_PROMOTED = Conflict(
    "Late.",
    kind=ErrorKind.NOT_PROMOTED,
    facts={"model": "m", "version": 2, "alias": "champion"},
)


def options():
    for verb in VERBS.values():
        module, name = verb.settings.split(":")
        for field in getattr(importlib.import_module(module), name).model_fields:
            yield f"--{field.replace('_', '-')}"


def test_there_is_advice_on_every_kind_of_error():
    assert ADVICE.keys() == set(ErrorKind)


@pytest.mark.parametrize("kind", ErrorKind, ids=lambda kind: kind.name)
def test_advice_names_options_and_verbs_that_exist(kind):
    advice = ADVICE[kind]
    assert set(re.findall(r"--[a-z][a-z-]*", advice)) <= set(options())
    for verb in re.findall(r"quadnet ([a-z]+(?: [a-z]+)?)", advice):
        assert verb in VERBS


def test_advice_follows_the_message_as_a_sentence_with_the_errors_facts():
    full = FileUnusable("l.jsonl cannot be written: No space left on device.")
    assert explain_error(full) == str(full)
    limit = {"max_points": 7}
    many = InvalidInput([Violation("x", "no")], kind=ErrorKind.TOO_MANY_POINTS, facts=limit)
    assert explain_error(many) == "x: no. Set --points-a-call to 7 or less."
    command = "quadnet models alias m champion=2"
    assert explain_error(NOT_PROMOTED) == f"Late. To make it champion anyway: {command}"


def test_kind_and_facts_survive_the_way_from_another_process():
    received = pickle.loads(pickle.dumps(NOT_PROMOTED))
    assert explain_error(received) == explain_error(NOT_PROMOTED)
