"""The files in config/ are what their readers accept: `config/`."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from cpms_actors.base.settings import Settings, load
from cpms_actors.node import broker

CONFIG = Path(__file__).parents[2] / "config"


def test_cpms_toml_shows_every_setting_with_its_default() -> None:
    assert load({}, CONFIG / "cpms.toml") == Settings()
    text = (CONFIG / "cpms.toml").read_text()
    for name, value in msgspec.to_builtins(Settings()).items():
        for field in value if isinstance(value, dict) else (name,):
            assert re.search(rf"^{field} = ", text, re.MULTILINE), f"cpms.toml does not show {field} of {name}"


@pytest.mark.parametrize("profile", ["development", "production"])
def test_a_profile_is_made_of_settings(profile: str) -> None:
    assert load({}, CONFIG / f"{profile}.toml") != Settings()


def test_the_broker_accepts_nats_conf() -> None:
    names = ("NATS_NAME", "NATS_STORE", "NATS_SYSTEM_PASSWORD", "NATS_ALICE_PASSWORD", "NATS_CLUSTER_PASSWORD")
    checked = subprocess.run(
        [str(broker.program()), "-t", "-c", str(CONFIG / "nats.conf")],
        env=os.environ | dict.fromkeys(names, "/tmp/a"),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert checked.returncode == 0
    assert "is valid" in checked.stdout + checked.stderr
    assert "invalid use" not in checked.stdout + checked.stderr


def test_haproxy_sends_a_charger_to_the_same_worker() -> None:
    """By the whole path, consistently, and for longer than a worker needs to notice a dead connection."""
    text = (CONFIG / "haproxy.cfg").read_text()
    assert re.search(r"^    balance uri$", text, re.MULTILINE)
    assert re.search(r"^    hash-type consistent\b", text, re.MULTILINE)
    tunnel = re.search(r"^    timeout tunnel (\d+)s$", text, re.MULTILINE)
    gateway = Settings().gateway
    assert tunnel is not None
    assert int(tunnel[1]) > gateway.ping_interval_s + gateway.pong_deadline_s


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_haproxy_accepts_haproxy_cfg(tmp_path: Path) -> None:
    text = (CONFIG / "haproxy.cfg").read_text().replace("bind :443 ssl crt /etc/cpms/gateway.pem alpn http/1.1", "bind 127.0.0.1:8443")
    (tmp_path / "haproxy.cfg").write_text(text)
    assert subprocess.run(["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], check=False, timeout=20).returncode == 0
