"""Settings: `cpms_actors.base.settings`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Gateway, Logs, Nats, Settings, load, to_environment


def test_nothing_set_is_the_defaults() -> None:
    assert load({"PATH": "/bin", "HOME": "/"}) == Settings()


def test_a_variable_beats_the_file_and_the_file_beats_the_default(tmp_path: Path) -> None:
    file = tmp_path / "cpms.toml"
    file.write_text('data = "here"\n[gateway]\nport = 1\nhost = "0.0.0.0"\n')
    found = load({"CPMS_GATEWAY_PORT": "2"}, file)
    assert (found.gateway.port, found.gateway.host, found.gateway.engine) == (2, "0.0.0.0", "picows")
    assert found.data == "here"


def test_cpms_config_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cpms.toml"
    file.write_text("[nats]\nreplicas = 3\n")
    assert load({"CPMS_CONFIG": str(file)}).nats == Nats(replicas=3)


VARIABLES = [
    # variable, value, where it lands, as what
    ("CPMS_GATEWAY_PORT", "9100", ("gateway", "port"), 9100),
    ("CPMS_NATS_PING_INTERVAL_S", "2.5", ("nats", "ping_interval_s"), 2.5),
    ("CPMS_CHARGING_PLANTED_BUG", "true", ("charging", "planted_bug"), True),
    ("CPMS_LOGS_LEVEL", "debug", ("logs", "level"), "debug"),
    ("CPMS_POSTGRES_OWNER_DSN", "postgresql://o@h/d", ("postgres", "owner_dsn"), "postgresql://o@h/d"),
]


@pytest.mark.parametrize(("variable", "text", "place", "value"), VARIABLES)
def test_a_variable_is_named_after_its_section_and_field(variable: str, text: str, place: tuple[str, str], value: object) -> None:
    section, field = place
    assert getattr(getattr(load({variable: text}), section), field) == value


def test_the_fields_outside_any_section_have_variables_too() -> None:
    found = load({"CPMS_CREDENTIAL_KEY": "k", "CPMS_DATA": "d"})
    assert (found.credential_key, found.data) == ("k", "d")


WRONG = [
    # environment, file, what the sentence says
    ({"CPMS_NOPE": "1"}, None, "unknown variable CPMS_NOPE"),
    ({"CPMS_GATEWAY_PROT": "1"}, None, "prot"),
    ({"CPMS_GATEWAY_PORT": "many"}, None, "gateway.port"),
    ({"CPMS_LOGS_LEVEL": "loud"}, None, "logs.level"),
    ({}, "[gateway]\nporrt = 1\n", "porrt"),
    ({}, "gateway\n", "is no TOML"),
    ({}, "[nope]\n", "nope"),
]


@pytest.mark.parametrize(("environment", "text", "said"), WRONG)
def test_a_wrong_setting_is_an_error_that_names_it(environment: dict[str, str], text: str | None, said: str, tmp_path: Path) -> None:
    file = None
    if text is not None:
        file = tmp_path / "cpms.toml"
        file.write_text(text)
    with pytest.raises(OperatorError, match=said) as caught:
        load(environment, file)
    assert caught.value.code == "settings"


def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.toml"):
        load({}, tmp_path / "none.toml")


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(
    st.builds(
        Settings,
        nats=st.builds(Nats, url=WORDS, request_timeout_s=st.floats(0, 1e6), replicas=st.integers(1, 5)),
        gateway=st.builds(Gateway, port=st.integers(0, 65535), engine=st.sampled_from(["picows", "trio-websocket"])),
        logs=st.builds(Logs, level=st.sampled_from(["debug", "info", "warning", "error"])),
        credential_key=WORDS,
    )
)
def test_a_child_reads_what_its_parent_wrote(settings: Settings) -> None:
    """`load` undoes `to_environment`."""
    assert load(to_environment(settings)) == settings
