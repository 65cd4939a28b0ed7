"""Every reason that anything is parked under is explained, and nothing else is."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import cpms_actors
from cpms_actors.domain.parking import REASONS, UNKNOWN, reason_of

ROOT: Final = Path(cpms_actors.__file__).parent
MODULES: Final = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}

KEYWORD_ONLY: Final = 99
# What holds the reason, and which argument it is; the conversation has another Refused.
STRUCTS: Final = {"Parked": 0, "ParkedMessage": KEYWORD_ONLY}
REFUSED_IN: Final = "domain/charging.py"
# Where a reason is read from what is parked already, not given.
TAKEN_OVER: Final = ("body.reason", "outcome.parked.reason")

Passing = dict[tuple[str, str], int]


def place_of_reason(call: ast.Call, module: str, passing: Passing) -> int | None:
    """Which argument of the call is what something is parked under; None for any other call."""
    called = call.func
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    if name in STRUCTS:
        return STRUCTS[name]
    if name == "Refused" and module == REFUSED_IN:
        return 0
    if isinstance(called, ast.Attribute) and ast.unparse(called.value) != "self":
        return None  # functions that park are called by their own name
    places = [place for (home, known), place in passing.items() if known == name and (home == module or not name.startswith("_"))]
    return places[0] if places else None


def reasons_given(tree: ast.AST, module: str, passing: Passing) -> Iterator[ast.expr]:
    """The reason of every call that parks."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and (place := place_of_reason(call, module, passing)) is not None:
            yield from (keyword.value for keyword in call.keywords if keyword.arg == "reason")
            yield from call.args[place : place + 1]


def passing_functions() -> Passing:
    """Functions that park under a reason that they are given: which argument it is, `self` not counted."""
    found: Passing = {}
    for module, tree in MODULES.items():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                names = [argument.arg for argument in function.args.args if argument.arg != "self"]
                given = [ast.unparse(reason) for reason in reasons_given(function, module, {})]
                if "reason" in names and "reason" in given:
                    found[module, function.name] = names.index("reason")
    return found


def named_words() -> dict[str, str]:
    """What modules call their words: `POISON: Final = "poison"`."""
    return {
        ast.unparse(node.target): node.value.value
        for tree in MODULES.values()
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def parked_under() -> dict[str, set[str]]:
    """Every word that a call in the code parks under, with the modules that do; a reason that cannot be told, as it is written."""
    named, passing = named_words(), passing_functions()
    found: dict[str, set[str]] = {}
    for module, tree in MODULES.items():
        for reason in reasons_given(tree, module, passing):
            written = ast.unparse(reason)
            if written == "reason" or written in TAKEN_OVER:
                continue  # it comes from whoever calls this function, or was given before
            word = reason.value if isinstance(reason, ast.Constant) else named.get(written, written)
            found.setdefault(str(word), set()).add(module)
    return found


def test_every_reason_that_the_code_parks_under_is_in_the_table_and_the_table_has_no_other() -> None:
    found = parked_under()
    assert found.keys() == REASONS.keys(), found


def test_the_search_for_reasons_finds_them_where_they_are_known_to_be() -> None:
    found = parked_under()
    assert found["malformed"] == {"charger/charger.py"}, "the argument of a Struct"
    assert found["unknown_action"] == {"charger/behaviour.py"}, "the argument of a method that passes it on"
    assert found["second-stop"] == {"domain/charging.py"}, "a constant"
    assert found["oversize"] == {"bus/sealing.py"}
    assert found["poison"] == {"pools/fold.py", "pools/lane.py"}, "a constant of another module"
    assert found["journal-gap"] == {"pools/fold.py"}, "a keyword"


@pytest.mark.parametrize("word", REASONS)
def test_a_reason_is_told_in_whole_sentences_with_a_remedy(word: str) -> None:
    reason = REASONS[word]
    for sentence in (reason.means, reason.causes, reason.remedy):
        assert sentence.endswith(".")
        assert sentence[0].isupper()
        assert len(sentence) < 400
    assert reason.replay
    assert not reason.replay.endswith(".")
    assert (reason.replayed_as is not None) or "discard" in reason.remedy.lower() or "reconcile" in reason.remedy


def test_a_word_of_another_release_is_explained_as_one() -> None:
    assert reason_of("invented-later") is UNKNOWN
    assert UNKNOWN.replayed_as is None
