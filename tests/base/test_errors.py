"""The tree of errors: `cpms_actors.base.errors`."""

from cpms_actors.base.errors import CpmsError, OperatorError, RemoteFault, Unavailable


def test_every_error_of_ours_has_one_root() -> None:
    assert all(issubclass(error, CpmsError) for error in (OperatorError, RemoteFault, Unavailable))


def test_an_operators_error_has_a_code_for_programs_and_a_sentence_for_people() -> None:
    error = OperatorError("no_such_charger", "there is no charger CP-9; `cpms charger list` shows them")
    assert (error.code, error.text, str(error)) == ("no_such_charger", error.text, error.text)
    assert error.exit_code == 2
