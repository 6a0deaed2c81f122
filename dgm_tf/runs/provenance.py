"""Origin of a number: versions, machine class and date."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

import dgm_tf
from dgm_tf.devices import onednn


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide about numbers."""
    found = {"python": platform.python_version(), "dgm_tf": dgm_tf.__version__}
    for package in ("tensorflow", "keras", "numpy", "tensorflow-datasets", "scikit-learn"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def machine() -> dict[str, Any]:
    """The class of machine, without anything that names this one.

    Its `onednn` tells whether TensorFlow computes by oneDNN, its `cores` are those of this process.
    """
    return {
        "cores": _cores(),
        "cpu": _cpu_model(),
        "onednn": onednn.enabled(),
        "memory_gib": _memory_gib(),
        "gpus": [_gpu_model(device) for device in tf.config.list_physical_devices("GPU")],
        "system": f"{platform.system()} {platform.machine()}",
    }


def elsewhere(then: Mapping[str, Any]) -> str:
    """A line if this is another machine or build than a run's; empty if it is not.

    Args:
        then: the content of the run's `settings.json`.
    """
    there = {**then["versions"], **then["machine"]}
    here = {**versions(), **machine()}
    other = [
        f"{key} {there[key]} then, {here[key]} here"
        for key in ("tensorflow", "cpu", "gpus", "onednn")
        if key in there and there[key] != here[key]
    ]
    if not other:
        return ""
    return f"images can differ because this is another machine or build: {'; '.join(other)}"


def peak_memory_mib() -> float | None:
    """The most memory that this process has held, in MiB; None where it is not known."""
    try:
        import resource
    except ImportError:  # Windows.
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def today() -> str:
    """The date in UTC, as 2018-12-01."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on macOS and Windows.
        return os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:  # Not a Linux machine.
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows.
        return None


def _gpu_model(device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    return details.get("device_name", device.device_type)
