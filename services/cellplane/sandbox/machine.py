"""What a machine must have for nodes whose pods are real: root, and programs of its distribution.

They are found, never installed: what is missing is told all at once, with the packages to install.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellplane.sandbox.rooms import ENVIRONMENT

_PROGRAMS: Mapping[str, str] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
"""Programs, and Debian's packages of them."""

_COMPILERS = ("clang-19", "clang-18", "clang-17")
"""What compiles Cilium's programs for the kernel, best first."""

_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_PLUGIN = "loopback"


class Unfit(Exception):
    """This machine cannot have real nodes; the message says all that it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the programs lie whose place differs."""

    clang: Path
    loopback: Path
    """A CNI plugin that the container runtime insists on."""


def inspect(path: str = ENVIRONMENT["PATH"], plugins: Sequence[Path] = _PLUGINS) -> Machine:
    """Find what real nodes need in these folders. Raises Unfit."""
    if sys.platform != "linux":
        raise Unfit(f"real nodes need Linux, and this is {sys.platform}")
    lacks = [] if os.geteuid() == 0 else ["root"]
    packages = {package for program, package in _PROGRAMS.items() if _find(program, path) is None}
    clang = next((at for name in _COMPILERS if (at := _find(name, path))), None)
    loopback = next((at for each in plugins if (at := each / _PLUGIN).exists()), None)
    if clang is None:
        packages.add(_COMPILERS[0])
    if loopback is None:
        packages.add("containernetworking-plugins")
    if packages:
        lacks.append(f"the packages {' '.join(sorted(packages))}")
    if not Path("/sys/kernel/btf/vmlinux").exists():
        lacks.append("a kernel that describes its types (CONFIG_DEBUG_INFO_BTF)")
    if lacks or clang is None or loopback is None:
        raise Unfit(f"real nodes need {', and '.join(lacks)}")
    return Machine(clang=clang, loopback=loopback)


def _find(program: str, path: str) -> Path | None:
    found = shutil.which(program, path=path)
    return Path(found) if found else None
