# The commands of a developer. `just` lies in the virtual environment (rust-just), and so does all it runs.

bin := parent_directory(just_executable())

# What there is.
_default:
    @{{ just_executable() }} --list --unsorted

# Everything that is checked before a commit, quickest first.
check: lint types floors generated test

# ruff: rules and format.
lint:
    {{ bin }}/ruff check .
    {{ bin }}/ruff format --check .

# mypy, strict.
types:
    {{ bin }}/mypy

# import-linter: imports go down only.
floors:
    {{ bin }}/lint-imports

# The OCPP messages are what the generator makes of the published schemas.
generated:
    {{ bin }}/python -m cpms_actors.ocpp.generate --check

# Make the OCPP messages anew.
generate:
    {{ bin }}/python -m cpms_actors.ocpp.generate

# All tests, in two processes; arguments go to pytest.
test *ARGS:
    {{ bin }}/python -m pytest -n 2 {{ ARGS }}

# The tests that start no server: rules, protocol, actors.
test-fast *ARGS:
    {{ bin }}/python -m pytest tests/base tests/domain tests/ocpp tests/observe tests/supervisors tests/charger {{ ARGS }}

# A whole system in a scratch directory, with simulated chargers and a verdict.
demo *ARGS:
    {{ bin }}/python -m cpms_actors.cli.main demo {{ ARGS }}

# A whole system that stays, its data in .cpms/.
up *ARGS:
    {{ bin }}/python -m cpms_actors.cli.main up {{ ARGS }}

# The whole system in virtual time under seeded faults, such as `just simulate --seeds 1000 --json`; `--seed S` shows one.
simulate *ARGS:
    {{ bin }}/python tests/simulation {{ ARGS }}

# Small bugs, planted one at a time: the simulation must find each.
mutants *ARGS:
    {{ bin }}/python tests/simulation/mutants.py {{ ARGS }}

# One question of bench/, such as `just bench turn --json`.
bench NAME *ARGS:
    {{ bin }}/python -m bench {{ NAME }} {{ ARGS }}

# A storm of chargers on a scratch stack and a verdict, such as `just storm power-outage --chargers 2000 --json`.
storm NAME *ARGS:
    {{ bin }}/python -m loadtests {{ NAME }} {{ ARGS }}

# Kills and freezes every process of a scratch stack in turn while chargers charge, and a verdict, such as `just chaos --kills 1000 --json`.
chaos *ARGS:
    {{ bin }}/python -m loadtests.chaos {{ ARGS }}

# Traffic and reconnections for so many minutes, and whether memory and files stay flat, such as `just soak --minutes 10 --json`.
soak *ARGS:
    {{ bin }}/python -m loadtests.soak {{ ARGS }}
