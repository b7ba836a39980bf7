"""Options of pytest and its other plugins that a project gives to all its runs, and that some of our runs do without.

A run that only checks, tries or looks around must neither write over the reports of the user's own runs, nor choose or
order its items in another way. The options stay known, because a project names them in `addopts`.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping

COVERAGE: Mapping[str, object] = {"no_cov": True}
"""What pytest-cov measures and writes: nothing can be measured where nothing runs, and it ends with an error then."""

REPORTS: Mapping[str, object] = {
    **COVERAGE,
    "xmlpath": None,
    "log_file": os.devnull,  # also in place of the ini key
    "pastebin": None,
    "htmlpath": None,
    "report_log": None,
    "json_report": False,
    "allure_report_dir": None,
    "cacheclear": False,
}
"""What would write, or remove, files of the user: pytest's own options, those of pytest-cov, pytest-html,
pytest-reportlog, pytest-json-report and allure-pytest."""

ORDER: Mapping[str, object] = {
    "failedfirst": False,
    "newfirst": False,
    "randomly_reorganize": False,
    "randomly_reset_seed": False,
    "randomly_seed": 1,
}
"""What would order items, or make them random."""

REPETITION: Mapping[str, object] = {"reruns": 0, "force_reruns": 0}
"""What would run a failed item again; the second one counts for marks and ini keys as well."""


def leave_out(options: Namespace, *which: Mapping[str, object]) -> None:
    """Set options so that their plugins have no effect; an option that no plugin declares is not added."""
    for name, value in ((name, value) for one in which for name, value in one.items()):
        if hasattr(options, name):
            setattr(options, name, value)
