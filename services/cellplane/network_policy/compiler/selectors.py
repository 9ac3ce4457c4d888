"""Label selectors of Kubernetes (apimachinery's ``LabelSelector``), for both engines' verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def selects(
    selector: Mapping[str, Any],
    labels: Mapping[str, str],
    key: Callable[[str], str] = lambda key: key,
) -> bool:
    """Tell whether *selector* takes *labels*; *key* translates a selector's key to a label's.

    The empty selector takes everything. An unknown operator takes nothing.
    """
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key(name)) != value:
            return False
    for expression in selector.get("matchExpressions") or ():
        name, values = key(expression["key"]), expression.get("values") or ()
        match expression["operator"]:
            case "In":
                taken = labels.get(name) in values
            case "NotIn":
                taken = labels.get(name) not in values
            case "Exists":
                taken = name in labels
            case "DoesNotExist":
                taken = name not in labels
            case _:
                taken = False
        if not taken:
            return False
    return True
