"""Dynamic Generative Memory: DGMw and DGMa."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.export import Export, export
from dgm_tf.learners.adversarial import AdversarialPhase
from dgm_tf.learners.base import position_table
from dgm_tf.learners.classifier import ClassifierPhase
from dgm_tf.learners.critic_learner import CriticLearner, assign_arrays, network_arrays, traced
from dgm_tf.learners.phase import divisor_up_to
from dgm_tf.networks import Critic, Generator
from dgm_tf.replay import BalancedReplay, FullReplay, Replay, class_tasks, recalled
from dgm_tf.settings import DGMSettings
from dgm_tf.stream import Task

_CHUNK = 256
_CALIBRATION_IMAGES = 1024
_CONSOLIDATION_EPOCHS = 10


class DGM(CriticLearner):
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
        super().__init__(DGMSettings(**settings))
        self._generator: Generator | None = None
        self._recall_functions: dict[int, Any] = {}

    @classmethod
    def from_settings(cls, settings: DGMSettings) -> "DGM":
        return cls(**dataclasses.asdict(settings))

    @property
    def name(self) -> str:
        return f"dgm-{self.settings.variant}"

    @property
    def generator(self) -> Generator:
        """The generator, once a task has been learnt."""
        if self._generator is None:
            raise InputError("nothing has been learnt yet: call learn(task) first")
        return self._generator

    # Learning.

    def learn(
        self, task: Task, *, epochs: int | None = None, callbacks: Sequence[Any] = ()
    ) -> dict[str, list[float]]:
        settings = self.settings
        number = self.finished_tasks + 1
        epochs = settings.epochs if epochs is None else epochs
        phase = self.adversarial_phase(task, epochs=epochs)
        generator, critic = phase.generator, phase.critic
        history = phase.fit(
            task.batches(
                settings.batch_size,
                epochs=epochs,
                seed=randomness.derive(settings.seed, "order", number),
            ),
            epochs=epochs,
            steps_per_epoch=task.steps_per_epoch(settings.batch_size),
            verbose=0,
            shuffle=False,
            callbacks=list(callbacks),
        ).history
        generator = self._finished(generator, task, critic.classes, number)
        if settings.consolidation_steps:
            history |= self._consolidate(generator, critic, task, number, callbacks)
        self._generator = generator.widen(generator.grown_widths())
        self._recall_functions = {}
        self.task_learnt(task, critic)
        return history

    def adversarial_phase(self, task: Task, *, epochs: int) -> AdversarialPhase:
        """The Keras model whose `fit` learns the next task; `learn` does this and what follows."""
        settings = self.settings
        number = self.finished_tasks + 1
        classes = self.classes_with(task)
        if len(classes) >= settings.latent_dim:
            raise InputError(
                f"latent_dim must be larger than the number of classes seen, whose label takes its "
                f"first entries: {len(classes)} classes and latent_dim {settings.latent_dim}"
            )
        generator = self._generator or self._first_generator(task.image_shape)
        return AdversarialPhase(
            generator,
            self.new_critic(task.image_shape, len(classes)),
            settings,
            positions=position_table(classes),
            replay=self._replay(generator, number),
            steps_per_epoch=task.steps_per_epoch(settings.batch_size),
            epochs=epochs,
            seed=randomness.pair(settings.seed, "adversarial", number),
        )

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

    def _replay(self, generator: Generator, number: int) -> Replay | None:
        settings = self.settings
        if not generator.finished or not settings.replay_batch:
            return None
        if settings.replay == "full":
            seed = randomness.pair(settings.seed, "replay", number)
            return FullReplay(generator, batch_size=settings.batch_size, seed=seed)
        return self._balanced(generator, settings.replay_batch, "replay", number)

    def _balanced(
        self, generator: Generator, batch_size: int, use: str, number: int
    ) -> BalancedReplay:
        return BalancedReplay(
            generator,
            batch_size=batch_size,
            size=self.settings.replay_buffer,
            seed=randomness.pair(self.settings.seed, use, number),
        )

    def _finished(self, generator: Generator, task: Task, classes: int, number: int) -> Generator:
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
        task: Task,
        number: int,
        callbacks: Sequence[Any],
    ) -> dict[str, list[float]]:
        settings = self.settings
        phase = ClassifierPhase(
            critic,
            settings,
            replay=self._balanced(
                generator, settings.consolidation_batch, "consolidation replay", number
            ),
            positions=position_table(self.classes_with(task)),
            steps=settings.consolidation_steps,
            seed=randomness.pair(settings.seed, "consolidation", number),
        )
        batches = tf.data.Dataset.range(settings.consolidation_steps)  # of no images
        if settings.consolidation_real_weight:
            passes = -(-settings.consolidation_steps // task.steps_per_epoch(settings.batch_size))
            batches = task.batches(
                settings.batch_size,
                epochs=passes,
                seed=randomness.derive(settings.seed, "consolidation order", number),
            )
        epochs = divisor_up_to(_CONSOLIDATION_EPOCHS, settings.consolidation_steps)
        return phase.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=settings.consolidation_steps // epochs,
            verbose=0,
            shuffle=False,
            callbacks=list(callbacks),
        ).history

    # Use.

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
        positions = position_table(self.classes_seen).numpy()[labels]
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
            self._recall_functions[task] = traced(
                lambda positions, noise: recalled(generator, task, positions, noise),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None, generator.latent_dim]),
            )
        return self._recall_functions[task]

    def export(self, path: str | Path, *, classifier: bool = False) -> Export:
        """Writes the memory as a SavedModel; see `dgm_tf.export.export`.

        Args:
            path: NAME for its next version NAME/<n>, or NAME/<n> itself.
            classifier: take the critic along, for `classify`.
        """
        return export(self, path, classifier=classifier)

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
        meta, arrays = self.critic_state()
        meta["generator"] = self.generator.get_config()
        return meta, arrays | network_arrays(self.generator)

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "DGM":
        learner = cls(**meta["settings"])
        learner.restore_critic(meta, arrays)
        learner._generator = Generator.from_config(meta["generator"])
        assign_arrays(learner._generator, arrays)
        return learner
