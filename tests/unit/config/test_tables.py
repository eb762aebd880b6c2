"""The table itself: names, flags, defaults, and the page that is written from it."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenhorn.config import Settings
from greenhorn.config.setting import Row
from greenhorn.config.tables import ROWS
from greenhorn.config.tables.gunicorn import FOREIGN

ROOT = Path(__file__).parents[3]
NEW = {
    "access_log_exclude",
    "certificates",
    "crl_file",
    "key_password",
    "reload_certificates",
    "tls_ciphersuites",
    "tls_min_version",
    "verify_flags",
    "forwarded_fields",
    "forwarded_header",
    "forwarded_hops",
    "log_format",
    "request_id_header",
    "body_min_rate",
    "boot_timeout",
    "handshake_timeout",
    "keepalive_requests",
    "linger_timeout",
    "max_stuck_threads",
    "max_worker_lifetime",
    "max_worker_lifetime_jitter",
    "max_worker_memory",
    "queue_size",
    "queue_timeout",
    "request_timeout",
    "shutdown_delay",
    "stream_request_body",
    "tmp_files_max",
    "write_min_rate",
    "limit_request_head", "limit_request_body", "body_buffer_size", "response_buffer_size",
    "response_buffer_max", "first_byte_timeout", "header_timeout", "body_timeout", "write_timeout",
}  # fmt: skip


def test_the_record_holds_every_row_and_nothing_else():
    assert {field.name for field in dataclasses.fields(Settings)} == set(ROWS)


def test_the_record_without_arguments_holds_the_defaults():
    settings = Settings()
    assert all(getattr(settings, name) == row.default for name, row in ROWS.items())
    assert Settings(workers=2).workers == 2


def test_the_record_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().workers = 2


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_default_is_valid_and_stays_as_it_is(row: Row):
    parsed = row.parse(row.default)
    assert parsed == (str(Path.cwd()) if row.name == "chdir" else row.default)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_row_tells_what_it_is_for(row: Row):
    assert row.doc.endswith(".")
    assert "\n" not in row.doc
    assert not row.differs or row.differs.endswith(".")
    assert row.meta or not row.flags or isinstance(row.bare, bool)


def test_all_120_settings_of_gunicorn_27_are_known_once():
    names = [*(set(ROWS) - NEW), *(foreign.name for foreign in FOREIGN)]
    assert len(names) == len(set(names)) == 120


def test_no_flag_stands_for_two_settings():
    flags = [flag for row in ROWS.values() for flag in row.flags]
    flags += [flag for foreign in FOREIGN for flag in foreign.flags]
    assert len(flags) == len(set(flags))


def test_a_new_setting_says_that_gunicorn_has_none():
    assert all(ROWS[name].differs.startswith("has no such setting") for name in NEW)


def test_all_that_concerns_tls_is_there_and_what_has_no_effect_says_why():
    of_tls = [row for row in ROWS.values() if row.section == ROWS["certfile"].section]
    assert [row.name for row in of_tls if row.pending] == []
    assert [row.name for row in of_tls if row.moot] == ["do_handshake_on_connect"]


def test_the_settings_page_is_what_the_table_says():
    command = [sys.executable, str(ROOT / "scripts" / "settings-doc"), "--check"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_settings_have_what_hooks_written_for_gunicorn_ask_of_cfg():
    cfg = Settings(raw_env=("A=1", "B=x=y"), bind=("127.0.0.1:80",), user=7)
    assert cfg.env == {"A": "1", "B": "x=y"}
    assert (cfg.uid, cfg.gid) == (7, os.getegid())
    assert cfg.address == ("127.0.0.1:80",)
    assert (cfg.is_ssl, Settings(certfile="c.pem").is_ssl) == (False, True)
    assert cfg.worker_class_str == "gthread"
