"""The methods: one record each, and the one way to make a learner or to restore it."""

import contextlib
import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.methods import settings


@dataclasses.dataclass(frozen=True)
class Method:
    """Record of a method, for `register_method`.

    Attributes:
        name: as commands call it: lower-case letters, digits and _, a letter first.
        label: as tables call it.
        settings: its settings class.
        learner: its learner, a class, or "module:class", which is imported when it is used, so that
            a command line can be checked without TensorFlow. It takes the settings, and the stream
            where `needs_stream`.
        about: what it is, in a few words.
        needs_stream: whether it may read the images of finished tasks, through the stream.
        private: whether it keeps no real image of a finished task, and reads none.
        preset: the row of `dgm_tf.methods.presets` that its settings begin with, as far as it has
            them; one of `PRESET_ROWS`.

    Example:
        ```python
        method = dgm_tf.Method(
            "mine", "Mine", dgm_tf.MethodSettings, "my_package.mine:Mine", "the nearest mean again"
        )
        ```
    """

    name: str
    label: str
    settings: type[settings.MethodSettings]
    learner: str | type
    about: str
    needs_stream: bool = False
    private: bool = True
    preset: str = "gan"


PRESET_ROWS = ("dgm", "joint", "gan")

# In the order of tables.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "dgm",
            "DGM",
            settings.DGMSettings,
            "dgm_tf.learners.dgm:DGM",
            "Dynamic Generative Memory, with masks on weights (w) or units (a)",
            preset="dgm",
        ),
        Method(
            "joint",
            "joint training",
            settings.JointSettings,
            "dgm_tf.learners.joint:JointClassifier",
            "upper bound of accuracy: the classifier trained on all real images seen",
            needs_stream=True,
            private=False,
            preset="joint",
        ),
        Method(
            "joint_gan",
            "joint training of the GAN",
            settings.GANSettings,
            "dgm_tf.learners.joint:JointGAN",
            "the GAN trained on all real images seen, in as many steps",
            needs_stream=True,
            private=False,
        ),
        Method(
            "experience_replay",
            "experience replay",
            settings.ExperienceReplaySettings,
            "dgm_tf.learners.experience_replay:ExperienceReplay",
            "the classifier trained on new and on stored real images, as many bytes as DGM's "
            "memory",
            private=False,
            preset="joint",
        ),
        Method(
            "nearest_mean",
            "nearest mean",
            settings.NearestMeanSettings,
            "dgm_tf.learners.nearest_mean:NearestMean",
            "the nearest class mean in pixels: nothing is trained",
            preset="joint",
        ),
        Method(
            "fine_tune",
            "fine-tuning",
            settings.GANSettings,
            "dgm_tf.learners.shared_gan:FineTune",
            "the floor: the GAN trained on task after task, nothing against forgetting",
        ),
        Method(
            "ewc",
            "EWC",
            settings.EWCSettings,
            "dgm_tf.learners.ewc:EWC",
            "elastic weight consolidation of the generator (Seff et al. 2017)",
        ),
        Method(
            "dgr",
            "DGR",
            settings.DGRSettings,
            "dgm_tf.learners.dgr:DGR",
            "deep generative replay (Shin et al. 2017)",
        ),
        Method(
            "mergan_jtr",
            "MeRGAN-JTR",
            settings.MeRGANSettings,
            "dgm_tf.learners.mergan:MeRGANJTR",
            "memory replay GAN with joint training on replayed images (Wu et al. 2018)",
        ),
        Method(
            "mergan_ra",
            "MeRGAN-RA",
            settings.AlignedSettings,
            "dgm_tf.learners.mergan:MeRGANRA",
            "memory replay GAN with replay alignment (Wu et al. 2018)",
        ),
    )
}


def register_method(method: Method) -> None:
    """Adds your own method, for presets, saved learners and commands.

    Args:
        method: its record. The learner is a `dgm_tf.Learner` whose `method` is the record's name.

    Raises:
        InputError: the name is taken or malformed, settings or preset are not of this package's
            kind, or the record does not fit its learner.

    Example:
        ```python
        class Mine(dgm_tf.NearestMean):
            method = "mine"

        about = "the nearest mean again"
        dgm_tf.register_method(dgm_tf.Method("mine", "Mine", dgm_tf.MethodSettings, Mine, about))
        model = Mine(seed=1)
        ```
    """
    if not isinstance(method.name, str) or not re.fullmatch("[a-z][a-z0-9_]*", method.name):
        raise InputError(
            "the name of a method must be lower-case letters, digits and _, a letter first, as "
            f"folders and commands have it; received {method.name!r:.100}"
        )
    kind = method.settings
    if not (isinstance(kind, type) and issubclass(kind, settings.MethodSettings)):
        raise InputError(
            f"the settings of the method {method.name} must be a class on dgm_tf.MethodSettings, "
            f"received {_checks.one_line(kind, 80)}"
        )
    _checks.one_of("preset row", method.preset, PRESET_ROWS)
    if method.name in METHODS and not _is_again(method, METHODS[method.name]):
        raise InputError(f"there is a method {method.name} already: name it otherwise")
    if isinstance(method.learner, type):
        _check_learner(method.name, method.learner)
        method.learner.name_arguments(kind)  # It was made before its method was known.
    METHODS[method.name] = method


def _is_again(method: Method, known: Method) -> bool:
    """Whether a class is defined again, as the cell of a notebook does that is run again."""
    learners = method.learner, known.learner
    if not all(isinstance(each, type) for each in learners):
        return False
    return len({(each.__module__, each.__qualname__) for each in learners}) == 1


def _check_learner(name: str, learner: Any) -> None:
    if not hasattr(learner, "name_arguments"):
        raise InputError(f"the learner {learner.__name__} must be a class on dgm_tf.Learner")
    if getattr(learner, "method", "") != name:
        raise InputError(
            f"the method {name} has a learner {learner.__name__} whose method is "
            f"{getattr(learner, 'method', None)!r}: give both one name"
        )
    missing = sorted(getattr(learner, "__abstractmethods__", ()))
    if missing:
        raise InputError(
            f"the learner {learner.__name__} of the method {name} lacks {', '.join(missing)}"
        )


def is_private(learner: str) -> bool | None:
    """Returns whether a learner, such as `dgm-w`, keeps no real images of finished tasks.

    None of an unknown one, of which nothing is claimed.
    """
    method = METHODS.get(learner.partition("-")[0])
    return None if method is None else method.private


def generates(learner: str) -> bool:
    """Returns whether a learner, such as `dgm-w`, has a generator; an unknown one may have."""
    method = learner.partition("-")[0]
    return method not in METHODS or _class_of(method).generates


def _class_of(method: str) -> Any:
    learner = METHODS[method].learner
    if isinstance(learner, type):
        return learner
    module, name = learner.split(":")
    return getattr(importlib.import_module(module), name)


def label_of(learner: str) -> str:
    """Returns what tables call a learner, such as "DGMw" for `dgm-w`; its name if it is unknown."""
    method, _, variant = learner.partition("-")
    return METHODS[method].label + variant if method in METHODS else learner


def new_learner(
    method: str,
    chosen: settings.MethodSettings,
    stream: Any = None,
    *,
    classifier: Callable[..., Any] | None = None,
) -> Any:
    """Returns a learner that has learnt nothing.

    Args:
        method: one of `METHODS`.
        chosen: settings of the method.
        stream: for joint training, which reads the images of finished tasks.
        classifier: a function that makes the classifier, in place of the method's own.
    """
    record, kind = METHODS[method], _class_of(method)
    options = {} if classifier is None else {"classifier": classifier}
    return kind(chosen, *([stream] if record.needs_stream else []), **options)


def check_known(method: Any, what: str) -> None:
    """Refuses a method that is not in `METHODS`.

    Args:
        method: what a file names.
        what: is of that method, for the error.

    Raises:
        InputError: there is no such method.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(
            f"{what} is of the method {_checks.one_line(method, 60)!r}, which dgm_tf does not "
            f"have; it has {', '.join(METHODS)}; import the module that registers your own method "
            "first, for commands by DGM_METHODS=MODULE"
        )


def load_state(
    meta: Mapping[str, Any],
    arrays: Mapping[str, Any],
    *,
    stream: Any = None,
    classifier: Callable[..., Any] | None = None,
) -> Any:
    """Returns the learner whose `state()` is given.

    Args:
        meta: its dictionary, which names its method and settings.
        arrays: its arrays by name.
        stream: for joint training that is to learn on; without one it only classifies.
        classifier: the function that made its classifier, if that is none of the method's own and
            the learner is to learn on.

    Raises:
        InputError: there is no such method, it has no classifier that a function could make, or
            the state is not that of one of its learners.
    """
    method = meta.get("method")
    check_known(method, "the saved state")
    parameters = inspect.signature(_class_of(method)).parameters
    if classifier is not None and "classifier" not in parameters:
        raise InputError(
            f"the method {method} has no classifier that a function could make: leave classifier= "
            "out"
        )
    with reading_state():
        learner = new_learner(
            method, METHODS[method].settings(**meta["settings"]), stream, classifier=classifier
        )
        learner.load(meta, arrays)
    return learner


@contextlib.contextmanager
def reading_state() -> Iterator[None]:
    """A block that makes a learner of a state that a file held.

    Raises:
        InputError: the state is not what a learner gave.
    """
    try:
        yield
    except InputError:
        raise
    # A dictionary that anyone can have written makes constructors raise nearly anything.
    except Exception as error:
        reason = _checks.one_line(f"{type(error).__name__}: {error}")
        raise InputError(
            f"the saved state is not that of such a learner ({reason}); use another checkpoint"
        ) from error
