# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate a dictionary against the options of an argument spec, and fill in their defaults."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.keys_and_types import value_problems, without_empty
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.secrets import without_credentials


class DescriptionError(ValueError):
    """A description cannot work; the text has one sentence for each problem."""


def apply_options(options: Mapping[str, Any], value: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Validate a dictionary against options; return it with its defaults, and the errors."""
    given = plain(value)
    if errors := [without_credentials(error) for error in value_problems(options, given)]:
        return given, errors
    # Copied, for the validator hands out the very defaults of the options.
    result = ArgumentSpecValidator(copy.deepcopy(dict(options))).validate(without_empty(options, given))
    return result.validated_parameters, list(map(str, result.errors.errors))
