"""config.toml: what it may say, and how what it may not say is refused."""

import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from jqueue.daemon.config import Config, read
from jqueue.errors import QueueFailed


def write(path, text):
    (path / "config.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


def test_without_a_file_or_a_queue_the_defaults_count(tmp_path):
    assert read(tmp_path) == read(tmp_path / "none") == Config()
    assert write(tmp_path, "") == Config()


def test_what_it_says_counts(tmp_path):
    config = write(tmp_path, 'workers = 7\nstop_limit_s = 1.5\nload = ["units"]\nfiles = "behind"')
    assert (config.workers, config.stop_limit_s, config.load) == (7, 1.5, ("units",))
    assert config.options().workers == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker = 3", "unknown setting 'worker'; is workers meant?"),
        ("zzz = 1", "known are aging_s"),
        ("[workers]\na = 1", "workers must be an integer"),
        ("workers = -1", "from 0"),
        ("workers = true", "workers must be"),
        ('workers = "2"', "workers must be"),
        ("max_running_jobs = 0", "from 1"),
        ("silence_s = -1", "0 or more"),
        ("silence_s = nan", "0 or more"),
        ("kill_grace_s = inf", "0 or more"),
        ("load = [1]", "a list of modules"),
        ('load = "units"', "a list of modules"),
        ("archive_after_s = true", "or false"),
        ("archive_after_s = -1", "or false"),
        ("max_live_jobs = 0", "from 1"),
        ("aging_s = 0", "more than 0"),
        ("reserve_bytes = 4096", "from 1048576"),
        ("journal_retention_bytes = 1.5", "number of bytes"),
        ("metrics_port = 65536", "to 65535"),
        ('log_format = "xml"', '"text" or "json"'),
        ("log_level = 3", '"debug" or "info"'),
        ('durability = "maybe"', '"full" or "process"'),
        ("workers = ", "Invalid value"),
        (b"\xff\xfe", "decode"),
        (b"#" * ((1 << 20) + 1), "longer than"),
    ],
)
def test_what_it_may_not_say_is_refused_by_name(tmp_path, text, said):
    with pytest.raises(QueueFailed) as refused:
        write(tmp_path, text)
    assert said in str(refused.value)
    assert "config.toml" in str(refused.value)


README = Path(__file__).parents[3] / "README.md"


def test_the_table_in_the_readme_lists_every_setting_with_its_default():
    settings = README.read_text().partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S.*?) \|", settings, re.MULTILINE)
    written = {"none": None, "as `workers`": None}
    listed = {name: written[said] if said in written else literal(said) for name, said in rows}
    assert listed == asdict(Config())


def literal(said):
    value = tomllib.loads(f"value = {said.strip('`').replace(',', '')}")["value"]
    return tuple(value) if isinstance(value, list) else value
