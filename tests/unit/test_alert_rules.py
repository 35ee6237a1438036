"""The alert rules ask for metrics that exist, and each says what to run next."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from ops.cli import app
from streams import metrics

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "ops/prometheus/alerts.yml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
NAMES = {sample for family in REGISTRY.collect() for sample in (family.name, f"{family.name}_total")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert metrics
    asked = set(re.findall(r"\bheadrace_\w+", rule["expr"]))
    assert asked <= NAMES
    assert asked or rule["expr"].startswith("up{")
    assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_what_to_do_next_with_commands_that_exist(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    named = re.findall(r"\bheadrace ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", rule["annotations"]["runbook"])
    assert named
    for words in named:
        group, *rest = words.split()
        takes_more = group in {"cost", "cache", "ledger", "dead-letters", "budget"}
        command = [group, *rest] if takes_more else [group]
        assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0, command


def test_prometheus_loads_the_rules_and_the_container_has_them() -> None:
    config = yaml.safe_load((ROOT / "ops/prometheus/prometheus.yml").read_text())
    volumes = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]["volumes"]
    assert [f"./ops/prometheus/alerts.yml:{path}:ro" for path in config["rule_files"]] == volumes[1:2]
