# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse an app that this host cannot run as it is described."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import (
    CONTROLLERS,
    Supervisor,
    SupervisorError,
    host_controllers,
    mount_problem,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.home import ReleaseError, UnfitHostError


def refuse_limits(app: dict[str, Any]) -> None:
    """Refuse limits that this host cannot hold: they would have no effect."""
    wanted = {
        CONTROLLERS[key]: key
        for limits in (app["limits"], *(program["limits"] for program in app["programs"]))
        for key, value in limits.items()
        if value and key in CONTROLLERS
    }
    if not wanted:
        return
    try:
        offered = Supervisor().controllers()
    except SupervisorError:  # before the first run there is none
        offered = host_controllers()
    for controller in sorted(wanted.keys() - offered):
        raise ReleaseError(
            f"limits has {wanted[controller]}, which this host cannot hold. supervisord's control groups have no "
            f"controller {controller}. Boot the host with control groups of version 2 (the kernel's parameter "
            "systemd.unified_cgroup_hierarchy=1), or delegate them to the container. Or leave the limit out."
        )


def refuse_private_tmp(app: dict[str, Any]) -> None:
    """Refuse an app whose programs would not start, because nothing can be mounted for them alone."""
    problem = mount_problem()
    if problem and app["private_tmp"]:
        raise UnfitHostError(
            f"private_tmp is true, and this host cannot give the app a /tmp of its own. The cause: {problem}. Give a "
            "container CAP_SYS_ADMIN, and no profile of AppArmor that denies mount. Or set private_tmp: false, and the "
            "app shares /tmp, /var/tmp and /dev/shm with all accounts of the host."
        )
    # Before the first run there is none. Where nobody can mount, supervisord has the host's /tmp anyway.
    with suppress(SupervisorError):
        if not problem and not Supervisor().can_mount():
            raise ReleaseError(
                "supervisord of this host may not mount, which private_tmp needs. An earlier version of this "
                "collection has set it up. Run site.yml first, which brings supervisord up to date."
            )
