"""Learners with a classifier that grows with the classes."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dgm_tf import _checks, randomness
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.learners.learner import Learner
from dgm_tf.methods.settings import LearnerSettings
from dgm_tf.networks import Critic, OwnClassifier
from dgm_tf.networks.own_classifier import MakeClassifier, check_maker
from dgm_tf.networks.state import network_arrays, restored_network

_log = logging.getLogger(__name__)

# With fewer steps for each class some were visibly not learnt; see studies/budget.
FEWEST_STEPS = 300


class ClassifierLearner(Learner):
    """Base class of learners whose classifier has the critic's shape, or is one of your own.

    Args:
        settings: of the method; None for those of data without a preset.
        classifier: a function of the images' shape (S, S, channels) and the number of classes that
            makes a Keras model of images float32 [B, S, S, channels] in [-1, 1] to logits
            [B, classes]. It is called for each task, with all classes up to then. It takes the
            place of the classifier; a critic that judges a generator stays.
        **changes: settings that replace those; None stands for what is there.

    Raises:
        InputError: a setting is out of range, or would make a classifier of the critic.
    """

    def __init__(
        self,
        settings: LearnerSettings | None = None,
        *,
        classifier: MakeClassifier | None = None,
        **changes: Any,
    ):
        super().__init__(settings, **changes)
        if classifier is not None:
            check_maker(classifier)
            _check_apart(self.settings, self.generates)
        self._make_classifier = classifier
        self._tried: OwnClassifier | None = None
        self._classifier: Critic | OwnClassifier | None = None
        self._probabilities: Any = None

    @property
    def classifier(self) -> Critic | OwnClassifier:
        """The classifier of all classes seen.

        Raises:
            InputError: nothing has been learnt.
        """
        return learnt(self._classifier)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.classifier.image_shape

    def keras_model(self) -> keras.Model:
        """The classifier as it is now, as a plain Keras model: a copy.

        Nothing that is done with it changes the learner, and it learns no new class by itself. The
        layers of a method's own classifier are Keras', so that a `.keras` file of it needs nothing
        of this package, and its layer `features` gives what the last one sees. A classifier that
        your function made has your layers.

        Returns:
            Images float32 [B, S, S, channels] in [-1, 1], of the learner's `image_shape`, to
            probabilities float32 [B, classes] in the order of `classes_seen`.

        Raises:
            InputError: nothing has been learnt.

        Example:
            ```python
            learner = dgm_tf.load("digits-demo")
            model = learner.keras_model()
            model.save("digits.keras")
            features = keras.Model(model.input, model.get_layer("features").output)
            ```
        """
        return self.classifier.keras_model()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return learnt(self._probabilities)(images)

    def _use(self, classifier: Critic | OwnClassifier) -> None:
        # A graph keeps the classifier that it was traced for: another thread may be predicting.
        self._classifier, self._probabilities = classifier, _Probabilities(classifier)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta, _ = super().state()
        classifier = self.classifier
        if isinstance(classifier, OwnClassifier):
            return meta | {"own_classifier": classifier.get_config()}, classifier.arrays()
        return meta | {"critic": classifier.get_config()}, network_arrays(classifier)

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        if "own_classifier" in meta:
            self._use(OwnClassifier.restored(meta["own_classifier"], arrays))
        else:
            self._use(restored_network(Critic, meta["critic"], arrays))
        if len(self.classes_seen) != self._classifier.classes:
            raise InputError(
                f"the saved state has tasks {_checks.one_line(self._tasks)} and a classifier of "
                f"{self._classifier.classes} classes, which do not fit; use another checkpoint"
            )

    # For subclasses.

    def classes_with(self, task: Any) -> tuple[int, ...]:
        """Returns classes in order of arrival once `task` is learnt."""
        return (*self.classes_seen, *task.classes)

    def budget(self, task: Any) -> dict[str, int]:
        """Returns a task's `epochs` and `steps_per_epoch`, and warns if they are too few.

        Raises:
            InputError: a classifier of one's own cannot be made for the task. After the generator's
                training this would come hours too late.
        """
        self._tried = None
        if self._has_own():
            _check_apart(self.settings, self.generates)  # They may have changed since.
            self._tried = self._own_classifier(task)
        settings, classes = self.settings, len(task.classes)
        steps_per_epoch = task.steps_per_epoch(settings.batch_size)
        epochs = settings.passes(classes=classes, steps_per_epoch=steps_per_epoch)
        # Where epochs are set, steps is what a data set's preset found to be enough.
        fewest = min(settings.steps, FEWEST_STEPS) if settings.epochs else FEWEST_STEPS
        wanted = classes * fewest
        if epochs * steps_per_epoch < wanted:
            _log.warning(
                "%s gets %d training step%s; its classes need about %d to be learnt: raise epochs "
                "or steps",
                task,
                epochs * steps_per_epoch,
                "s" * (epochs * steps_per_epoch != 1),
                wanted,
            )
        return {"epochs": epochs, "steps_per_epoch": steps_per_epoch}

    def new_critic(self, image_shape: tuple[int, ...], classes: int) -> Critic:
        """Returns a critic for the task to be learnt, with random weights."""
        settings, recipe = self.settings, self.settings.details
        critic = Critic(
            image_shape,
            classes,
            size=settings.critic_size,
            norm=recipe.critic_norm,
            initializer=recipe.critic_initializer,
            seed=randomness.derive(settings.seed, "critic", self.finished_tasks + 1),
            dtype="float32",
            name="critic",
        )
        critic.build()
        return critic

    def initial_classifier(self, task: Any) -> Critic | OwnClassifier:
        """Returns what the classifier of `task` is trained from, by `consolidation_start`.

        Raises:
            InputError: a classifier of one's own cannot be made.
        """
        if self._has_own():
            tried, self._tried = self._tried, None
            return tried or self._own_classifier(task)
        classes = len(self.classes_with(task))
        if self.settings.consolidation_start == "previous" and self._classifier is not None:
            return self._classifier.successor(classes)
        return self.new_critic(task.image_shape, classes)

    def _has_own(self) -> bool:
        return self._make_classifier is not None or isinstance(self._classifier, OwnClassifier)

    def _own_classifier(self, task: Any) -> OwnClassifier:
        if self._make_classifier is None:
            raise InputError(
                "the learner was saved with a classifier of its own, which a new class makes anew: "
                "give the function again, as dgm_tf.load(path, classifier=...)"
            )
        if distribution.present().replicas > 1:
            raise InputError("a classifier of one's own learns on one device, not on several")
        classifier = OwnClassifier.made(
            self._make_classifier,
            task.image_shape,
            len(self.classes_with(task)),
            seed=randomness.derive(self.settings.seed, "classifier", self.finished_tasks + 1),
        )
        earlier = self._classifier
        if self.settings.consolidation_start == "previous" and isinstance(earlier, OwnClassifier):
            classifier.inherit(earlier)
        return classifier

    def task_learnt(self, task: Any, classifier: Critic | OwnClassifier) -> None:
        """Counts the task as finished; `classifier` predicts from now on."""
        self.count_task(task)
        self._use(classifier)


class _Probabilities:
    """What a classifier says of images, by a graph that is traced when it is first asked."""

    def __init__(self, classifier: Critic | OwnClassifier):
        self._classifier = classifier

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._graph(tf.constant(images)).numpy()

    def __getstate__(self) -> dict[str, Any]:
        return {"_classifier": self._classifier}  # A graph cannot be pickled.

    @functools.cached_property
    def _graph(self) -> Callable[..., tf.Tensor]:
        graph = tf.function(
            lambda batch: tf.nn.softmax(self._classifier.class_logits(batch)), autograph=False
        )
        # A function that is called would warn of one graph per task.
        return graph.get_concrete_function(tf.TensorSpec([None, *self._classifier.image_shape]))


def position_table(classes: Sequence[int]) -> tf.Tensor:
    """Returns positions in order of arrival by class id, int32 [largest id + 1]; -1 for none."""
    table = np.full(max(classes) + 1, -1, np.int32)
    table[list(classes)] = np.arange(len(classes))
    return tf.constant(table)


def _check_apart(settings: LearnerSettings, generates: bool) -> None:
    """Refuses a recipe in which the critic becomes the classifier."""
    if settings.consolidation_start == "critic" or (generates and not settings.consolidation_steps):
        raise InputError(
            "a classifier of one's own is trained apart from the critic: it needs "
            "consolidation_steps above 0 and consolidation_start new or previous, not "
            f"{settings.consolidation_steps} and {settings.consolidation_start}"
        )


def learnt(part: Any) -> Any:
    """Returns the part of a learner, or refuses: nothing has been learnt."""
    if part is None:
        raise InputError("nothing has been learnt yet: call learn(data) first")
    return part
