"""The recipes in the documentation are what the scenario `third_party` deploys."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT

PAGE = (Path(COLLECTION_ROOT) / "docs" / "recipes.md").read_text()
INVENTORY = Path(COLLECTION_ROOT) / "molecule" / "third_party" / "inventory"


def test_each_entry_is_one_that_the_scenario_deploys_and_none_is_missing() -> None:
    shown = [entry for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for entry in yaml.safe_load(block)]
    deployed = [
        entry
        for path in sorted((INVENTORY / "host_vars").glob("*.yml"))
        for entry in yaml.safe_load(path.read_text())["wsgi_apps"]
    ]
    by_name = {entry["name"]: entry for entry in deployed}
    assert {entry["name"]: entry for entry in shown} == by_name
    assert len(shown) == len(deployed) == len(by_name)


def test_each_file_is_the_one_that_the_scenario_deploys() -> None:
    shown = re.findall(r"`apps/(\S+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    for path, text in shown:
        assert text == (INVENTORY / "apps" / path).read_text(), path
