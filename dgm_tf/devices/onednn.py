"""TensorFlow's oneDNN, which is faster on many processors and rounds differently."""

import functools
import os
import platform
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.terminal import printing

SWITCH = "TF_ENABLE_ONEDNN_OPTS"  # TensorFlow reads it as it is imported


def enabled() -> bool | None:
    """True if TensorFlow uses oneDNN; None where it does not tell."""
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return None
    return bool(_pywrap_util_port.IsMklEnabled())


@functools.cache
def advise() -> None:
    """Says, once in a process, that TensorFlow leaves oneDNN off, where the user can turn it on.

    On Linux TensorFlow turns it on for x86 processors with AVX-VNNI, AVX-512 VNNI or BF16, or AMX.
    It is not turned on here, because all programs that use one memory have to agree: TensorFlow
    Serving, or a program that imports TensorFlow first, would make images with other bits.
    """
    theirs = SWITCH in os.environ or (platform.system(), platform.machine()) != ("Linux", "x86_64")
    if enabled() is False and not theirs and not _gpus():
        printing.say(
            f"{SWITCH}=1 in the environment, before TensorFlow is imported, makes training faster "
            "here: a step took 0.72 of the time on an AMD EPYC. What was begun without it goes on "
            f"without it. {SWITCH}=0 hides this line."
        )


def check_unchanged(what: Any, machine: Mapping[str, Any]) -> None:
    """Refuses to resume what was begun with oneDNN on if it is off here, and the reverse.

    Args:
        what: the folder that is resumed.
        machine: where it was begun, as `dgm_tf.runs.provenance.machine` has it.

    Raises:
        InputError: the images of finished tasks would have other bits.
    """
    then, here = machine.get("onednn"), enabled()
    if None in (then, here) or then == here or machine.get("gpus") or _gpus():
        return
    states = {True: "on", False: "off"}
    raise InputError(
        f"{what} was begun with oneDNN {states[then]}, and here it is {states[here]}: images of "
        f"finished tasks would have other bits; set {SWITCH}={then:d} in the environment"
    )


def _gpus() -> list[Any]:
    return tf.config.list_physical_devices("GPU")
