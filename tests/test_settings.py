"""What options and ini keys give: a value of the kind that its setting is, the command line before the ini file."""

from __future__ import annotations

from dataclasses import fields

import pytest

from pytest_dogfood import plugin
from pytest_dogfood.settings import Leaks, Provision, Settings, Shard, Size

OF_PYTEST_DEPENDENCY = {"automark_dependency", "ignore_unknown_dependency"}


def read(pytester: pytest.Pytester, *options: str) -> Settings:
    return plugin.read_settings(pytester.parseconfig(*options))


def test_each_setting_has_an_option_or_an_ini_key_of_its_name() -> None:
    named = {name.removeprefix("dogfood_") for name in plugin.INI_KEYS}
    named |= {name.removeprefix("--dogfood").removeprefix("-").replace("-", "_") for name in plugin.OPTIONS}
    named |= {kind.get("dest", "").removeprefix("dogfood_") for kind, _ in plugin.OPTIONS.values()}
    assert {field.name for field in fields(Settings)} - named == OF_PYTEST_DEPENDENCY


def test_without_options_settings_are_the_usual_ones(pytester: pytest.Pytester) -> None:
    assert read(pytester) == Settings()


@pytest.mark.parametrize(
    "options,name,value",
    [
        (["-o", "dogfood_files=*.a *.b"], "files", ("*.a", "*.b")),
        (["--dogfood-shard=2/3"], "shard", Shard(2, 3)),
        (["-o", "dogfood_shard=2/3"], "shard", Shard(2, 3)),
        (["--dogfood-manifest=here.json"], "manifest", "here.json"),
        (["--dogfood-provision=never"], "provision", Provision.NEVER),
        (["-o", "dogfood_leaks=fail"], "leaks", Leaks.FAIL),
        (["--dogfood-blocked=a", "--dogfood-blocked=b"], "blocked", ("a", "b")),
        (["-o", "dogfood_blocked=a b"], "blocked", ("a", "b")),
        (["--dogfood-keep"], "keep", True),
        (["-o", "dogfood_keep=true"], "keep", True),
        (["--dogfood-format=json"], "format", "json"),
        (["-o", "dogfood_timeout=1.5"], "timeout", 1.5),
        (["-o", "dogfood_actor_actions=7"], "actor_actions", 7),
        (["-o", "dogfood_actor=act"], "actor", "act"),
        (["-o", "dogfood_shard="], "shard", None),
        (["-o", "dogfood_copy_limit=500MB"], "copy_limit", Size(500_000_000)),
        (["-o", "dogfood_copy_limit=1.5 gib"], "copy_limit", Size(1_610_612_736)),
        (["-o", "dogfood_copy_limit=4096"], "copy_limit", Size(4096)),
        (["-o", "dogfood_copy_limit=0"], "copy_limit", Size(0)),
    ],
)
def test_a_setting_is_a_value_of_its_kind(
    pytester: pytest.Pytester, options: list[str], name: str, value: object
) -> None:
    found = getattr(read(pytester, *options), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "options,name,value",
    [
        (["-o", "dogfood_provision=never", "--dogfood-provision=auto"], "provision", Provision.AUTO),
        (["-o", "dogfood_blocked=a", "--dogfood-blocked=b"], "blocked", ("b",)),
        (["-o", "dogfood_actor=act", "--dogfood-actor="], "actor", None),
    ],
)
def test_the_command_line_goes_before_the_ini_file(
    pytester: pytest.Pytester, options: list[str], name: str, value: object
) -> None:
    assert getattr(read(pytester, *options), name) == value


@pytest.mark.parametrize(
    "option,words",
    [
        ("dogfood_provision=once", "dogfood_provision is auto or never, not 'once'"),
        ("dogfood_leaks=forbid", "dogfood_leaks is allow, warn or fail, not 'forbid'"),
        ("dogfood_timeout=soon", "dogfood_timeout is a number, such as 300.0, not 'soon'"),
        ("dogfood_copy_limit=much", "dogfood_copy_limit is a size, such as 500MB or 2GiB, not 'much'"),
        ("dogfood_copy_limit=-1", "dogfood_copy_limit is a size, such as 500MB or 2GiB, not '-1'"),
        ("dogfood_copy_limit=2Gb/s", "dogfood_copy_limit is a size, such as 500MB or 2GiB, not '2Gb/s'"),
        ("dogfood_actor_turns=1.5", "dogfood_actor_turns is a number, such as 20, not '1.5'"),
    ],
)
def test_what_is_not_of_its_kind_is_refused_in_words(
    pytester: pytest.Pytester, option: str, words: str
) -> None:
    with pytest.raises(pytest.UsageError) as refused:
        read(pytester, "-o", option)
    assert str(refused.value) == words
