"""Every method by name: its label, its settings and its learner."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from dgm_tf import settings
from dgm_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: on the command line.
        label: in texts.
        settings: class of its settings.
        learner: its class, as "module:class".
    """

    name: str
    label: str
    settings: type
    learner: str


METHODS = {
    name: Method(name, label, settings.METHODS[name], f"dgm_tf.learners.{learner}")
    for name, label, learner in (
        ("dgm", "DGM", "dgm:DGM"),
        ("joint", "joint training", "joint:JointClassifier"),
        ("joint_gan", "joint training of the GAN", "joint:JointGAN"),
        ("fine_tune", "fine-tuning", "fine_tune:FineTune"),
        ("ewc", "EWC", "ewc:EWC"),
        ("dgr", "DGR", "dgr:DGR"),
        ("mergan_jtr", "MeRGAN-JTR", "mergan:MeRGANJTR"),
        ("mergan_ra", "MeRGAN-RA", "mergan:MeRGANRA"),
    )
}


def new_learner(method: str, chosen: Any, stream: Any = None) -> Any:
    """A learner that has learnt nothing."""
    module, _, name = METHODS[method].learner.partition(":")
    kind = getattr(importlib.import_module(module), name)
    if method == "joint":
        return kind(stream, chosen)
    if method == "joint_gan":
        return kind(stream, **dataclasses.asdict(chosen))
    return kind.from_settings(chosen)


def load_state(meta: Mapping[str, Any], arrays: Mapping[str, Any], *, stream: Any = None) -> Any:
    """The learner of a checkpoint."""
    from dgm_tf.learners.base import reading_state

    if meta.get("method") not in METHODS:
        raise InputError(f"unknown method {meta.get('method')!r}")
    with reading_state():
        chosen = settings.recorded(METHODS[meta["method"]].settings, meta["settings"])
        return new_learner(meta["method"], chosen, stream).restored(meta, arrays)
