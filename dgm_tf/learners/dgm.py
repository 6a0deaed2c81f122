"""Dynamic Generative Memory: DGMw and DGMa."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.base import Learner
from dgm_tf.learners.dgm_training import AdversarialPhase, ConsolidationPhase
from dgm_tf.networks import Critic, Generator
from dgm_tf.replay import BalancedReplay, FullReplay, Replay, class_tasks, recalled
from dgm_tf.settings import DGMSettings

_CHUNK = 256
_CALIBRATION_IMAGES = 1024
_CONSOLIDATION_EPOCHS = 10


class DGM(Learner):
    """A classifier that learns classes task by task and replays the old ones from a generator.

    Args:
        **settings: fields of `dgm_tf.settings.DGMSettings`, such as `variant="w"`, `s_max=1e4`.

    Example:

        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.DGM(variant="w", epochs=30)
        for task in stream:
            model.learn(task)
            print(task, model.evaluate(stream.seen_test(task)))
    """

    def __init__(self, **settings: Any):
        self.settings = DGMSettings(**settings)
        self._tasks: list[tuple[int, ...]] = []
        self._generator: Generator | None = None
        self._critic: Critic | None = None
        self._recall_functions: dict[int, Any] = {}
        self._classify_function: Any = None

    @classmethod
    def from_settings(cls, settings: DGMSettings) -> "DGM":
        return cls(**dataclasses.asdict(settings))

    @property
    def name(self) -> str:
        return f"dgm-{self.settings.variant}"

    @property
    def classes_seen(self) -> tuple[int, ...]:
        return tuple(label for classes in self._tasks for label in classes)

    @property
    def finished_tasks(self) -> int:
        return len(self._tasks)

    @property
    def generator(self) -> Generator:
        """The generator, once a task has been learnt."""
        if self._generator is None:
            raise InputError("nothing has been learnt yet: call learn(task) first")
        return self._generator

    @property
    def critic(self) -> Critic:
        """The critic of the last task, which is the classifier."""
        if self._critic is None:
            raise InputError("nothing has been learnt yet: call learn(task) first")
        return self._critic

    # Learning.

    def learn(
        self, task: Any, *, epochs: int | None = None, callbacks: Sequence[Any] = ()
    ) -> dict[str, list[float]]:
        settings = self.settings
        epochs = settings.epochs if epochs is None else epochs
        number = self.finished_tasks + 1
        again = set(task.classes) & set(self.classes_seen)
        if again:
            raise InputError(f"classes {sorted(again)} have been learnt before; each comes once")
        classes = (*self.classes_seen, *task.classes)
        generator = self._generator or self._first_generator(task.image_shape)
        critic = self._new_critic(task.image_shape, len(classes), number)
        positions = _position_table(classes)

        steps_per_epoch = task.steps_per_epoch(settings.batch_size)
        phase = AdversarialPhase(
            generator,
            critic,
            settings,
            positions=positions,
            replay=self._replay(generator, "replay", number),
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            seed=randomness.pair(settings.seed, "adversarial", number),
        )
        batches = task.batches(
            settings.batch_size,
            epochs=epochs,
            seed=randomness.derive(settings.seed, "order", number),
        )
        history = phase.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            verbose=0,
            shuffle=False,
            callbacks=list(callbacks),
        ).history

        generator = self._finished(generator, task, len(classes), number)
        if settings.consolidation_steps:
            history |= self._consolidate(generator, critic, task, positions, number, callbacks)
        self._tasks.append(tuple(task.classes))
        self._generator = generator.widen(generator.grown_widths())
        self._critic = critic
        self._recall_functions = {}
        self._classify_function = None
        return history

    def _first_generator(self, image_shape: tuple[int, ...]) -> Generator:
        size = self.settings.generator_size
        generator = Generator(
            image_shape,
            (4 * size, 2 * size, size),
            variant=self.settings.variant,
            latent_dim=self.settings.latent_dim,
            seed=randomness.derive(self.settings.seed, "generator"),
            name="generator",
        )
        generator.build()
        return generator

    def _new_critic(self, image_shape: tuple[int, ...], classes: int, number: int) -> Critic:
        critic = Critic(
            image_shape,
            classes,
            size=self.settings.critic_size,
            norm=self.settings.critic_norm,
            seed=randomness.derive(self.settings.seed, "critic", number),
            name="critic",
        )
        critic.build()
        return critic

    def _replay(self, generator: Generator, use: str, number: int) -> Replay | None:
        if not generator.finished:
            return None
        settings = self.settings
        seed = randomness.pair(settings.seed, use, number)
        if settings.replay == "full":
            return FullReplay(generator, batch_size=settings.batch_size, seed=seed)
        return BalancedReplay(
            generator, batch_size=settings.replay_batch, size=settings.replay_buffer, seed=seed
        )

    def _finished(self, generator: Generator, task: Any, classes: int, number: int) -> Generator:
        """The generator with the task finished: masks binary, statistics measured under them."""
        own = len(task.classes)
        positions = classes - own + tf.range(_CALIBRATION_IMAGES) % own
        noise = randomness.normal(
            [_CALIBRATION_IMAGES, generator.latent_dim],
            randomness.pair(self.settings.seed, "calibration", number),
        )
        generator.calibrate(generator.latent(noise, positions, classes))
        return generator.finish_task(own)

    def _consolidate(
        self,
        generator: Generator,
        critic: Critic,
        task: Any,
        positions: tf.Tensor,
        number: int,
        callbacks: Sequence[Any],
    ) -> dict[str, list[float]]:
        settings = self.settings
        phase = ConsolidationPhase(
            critic,
            settings,
            replay=BalancedReplay(
                generator,
                batch_size=settings.consolidation_batch,
                size=settings.replay_buffer,
                seed=randomness.pair(settings.seed, "consolidation replay", number),
            ),
            positions=positions,
            steps=settings.consolidation_steps,
            seed=randomness.pair(settings.seed, "consolidation", number),
        )
        passes = -(-settings.consolidation_steps // task.steps_per_epoch(settings.batch_size))
        batches = task.batches(
            settings.batch_size,
            epochs=passes,
            seed=randomness.derive(settings.seed, "consolidation order", number),
        )
        epochs = min(_CONSOLIDATION_EPOCHS, settings.consolidation_steps)
        return phase.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=settings.consolidation_steps // epochs,
            verbose=0,
            shuffle=False,
            callbacks=list(callbacks),
        ).history

    # Use.

    def classify(self, images: np.ndarray) -> np.ndarray:
        critic = self.critic
        if self._classify_function is None:
            self._classify_function = tf.function(
                lambda batch: tf.argmax(critic(batch)[1], axis=1, output_type=tf.int32),
                autograph=False,
                input_signature=[tf.TensorSpec([None, *critic.image_shape])],
            )
        parts = [
            self._classify_function(tf.cast(images[first : first + _CHUNK], tf.float32)).numpy()
            for first in range(0, len(images), _CHUNK)
        ]
        return np.asarray(self.classes_seen, np.int32)[np.concatenate(parts)]

    def generate(self, labels: Sequence[int] | np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Images float32 [N, H, W, C] in [-1, 1] of the given class ids [N].

        The same `labels` and `seed` give bit-identical images for as long as the learner lives,
        saved, grown or not.

        Raises:
            InputError: a class that has not been learnt.
        """
        labels = np.asarray(labels)
        unknown = sorted(set(labels.tolist()) - set(self.classes_seen))
        if unknown:
            raise InputError(
                f"classes {unknown} have not been learnt; known are {sorted(self.classes_seen)}"
            )
        generator = self.generator
        positions = _position_table(self.classes_seen).numpy()[labels]
        noise = randomness.normal(
            [len(labels), generator.latent_dim], randomness.pair(seed, "generate")
        )
        images = np.empty((len(labels), *generator.image_shape), np.float32)
        tasks = class_tasks(generator)[positions]
        for task in np.unique(tasks):
            rows = np.flatnonzero(tasks == task)
            for first in range(0, len(rows), _CHUNK):
                part = rows[first : first + _CHUNK]
                images[part] = self._recall_function(int(task))(
                    tf.constant(positions[part], tf.int32), tf.gather(noise, part)
                ).numpy()
        return images

    def _recall_function(self, task: int) -> Any:
        if task not in self._recall_functions:
            generator = self.generator
            self._recall_functions[task] = tf.function(
                lambda positions, noise: recalled(generator, task, positions, noise),
                autograph=False,
                input_signature=[
                    tf.TensorSpec([None], tf.int32),
                    tf.TensorSpec([None, generator.latent_dim]),
                ],
            )
        return self._recall_functions[task]

    # Size and state.

    def growth(self) -> dict[str, Any]:
        generator = self.generator
        layers = generator.layer_report()
        capacity = sum(row["free"] + row["reserved"] for row in layers)
        return {
            "layer_widths": list(generator.widths),
            "initial_layer_widths": list(generator.initial_widths),
            "generator_parameters": generator.parameters(),
            "free_fraction": sum(row["free"] for row in layers) / capacity,
            "layers": layers,
        }

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta = {
            "settings": dataclasses.asdict(self.settings),
            "tasks": [list(classes) for classes in self._tasks],
            "generator": self.generator.get_config(),
            "critic": self.critic.get_config(),
        }
        networks: tuple[keras.Model, ...] = (self.generator, self.critic)
        variables = [variable for network in networks for variable in network.weights]
        return meta, {variable.path: to_numpy(variable) for variable in variables}

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "DGM":
        learner = cls(**meta["settings"])
        learner._tasks = [tuple(classes) for classes in meta["tasks"]]
        learner._generator = Generator.from_config(meta["generator"])
        learner._critic = Critic.from_config(meta["critic"])
        for network in (learner._generator, learner._critic):
            network.build()
            for variable in network.weights:
                variable.assign(arrays[variable.path])
        return learner


def _position_table(classes: Sequence[int]) -> tf.Tensor:
    """Position in order of arrival by class id, int32 [largest id + 1]; -1 for no class."""
    table = np.full(max(classes) + 1, -1, np.int32)
    table[list(classes)] = np.arange(len(classes))
    return tf.constant(table)
