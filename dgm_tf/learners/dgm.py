"""Dynamic Generative Memory: DGMw and DGMa."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.adversarial import AdversarialPhase
from dgm_tf.learners.base import position_table
from dgm_tf.learners.critic_learner import network_arrays, restored_network
from dgm_tf.learners.generating import GeneratingLearner
from dgm_tf.learners.task_memory import TaskMemory
from dgm_tf.networks import Critic, Generator
from dgm_tf.replay import FullReplay, Replay
from dgm_tf.serving.export import Export, export
from dgm_tf.settings import DGMSettings, recorded
from dgm_tf.stream import Task

_CALIBRATION_IMAGES = 1024


class DGM(GeneratingLearner):
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

    @property
    def name(self) -> str:
        return f"dgm-{self.settings.variant}"

    # Learning.

    def learn(
        self, task: Task, *, epochs: int | None = None, callbacks: Sequence[Any] = ()
    ) -> dict[str, list[float]]:
        settings = self.settings
        number = self.finished_tasks + 1
        history, generator, critic = self._learn_generator(task, epochs, callbacks)
        if settings.consolidation_steps:
            if settings.consolidation_start != "critic":
                critic = self.first_classifier(task)
            replay = self.balanced_replay(
                TaskMemory(generator), settings.consolidation_batch, "consolidation replay", number
            )
            history |= self.consolidate(
                critic,
                task,
                callbacks,
                replay=replay,
                own_share=settings.consolidation_real_share,
                margin_share=settings.real_margin_share,
                teacher=self._critic if settings.distillation_share else None,
            )
        self._generator = self._widened(generator)
        self.task_learnt(task, critic)
        return history

    def _learn_generator(
        self, task: Task, epochs: int | None, callbacks: Sequence[Any]
    ) -> tuple[dict[str, list[float]], Generator, Critic]:
        """What is logged, the generator with the task finished, and the critic beside it."""
        settings = self.settings
        number = self.finished_tasks + 1
        steps_per_epoch = task.steps_per_epoch(settings.batch_size)
        epochs = settings.epochs_for(steps_per_epoch) if epochs is None else epochs
        phase = self.adversarial_phase(task, epochs=epochs)
        generator, critic = phase.generator, phase.critic
        history = phase.run(
            functools.partial(
                task.batches,
                settings.batch_size,
                epochs=epochs,
                seed=randomness.derive(settings.seed, "order", number),
            ),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
        )
        return history, self._finished(generator, task, critic.classes, number), critic

    def _widened(self, generator: Generator) -> Generator:
        """What the next task begins with."""
        wider = generator.widen(generator.grown_widths())
        if self.settings.output_follows_width:
            wider.shrink_output()
        return wider

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
        # A copy: a task that is not learnt to its end leaves the learner as it was.
        kept = self._generator
        generator = kept.widen(kept.widths) if kept else self._first_generator(task.image_shape)
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
            dtype=self.settings.dtype,
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
            return FullReplay(TaskMemory(generator), batch_size=settings.batch_size, seed=seed)
        return self.balanced_replay(TaskMemory(generator), settings.replay_batch, "replay", number)

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

    # Use.

    def memory(self) -> TaskMemory:
        """What `generate` draws from: the same bits for as long as the learner lives."""
        return TaskMemory(self.generator)

    def export(self, path: str | Path, *, classifier: bool = False) -> Export:
        """Writes the memory as a SavedModel; see `dgm_tf.serving.export.export`.

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
            "mask_overlap": generator.mask_overlap(self.finished_tasks),
        }

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta, arrays = self.critic_state()
        meta["generator"] = self.generator.get_config()
        return meta, arrays | network_arrays(self.generator)

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "DGM":
        learner = cls.from_settings(recorded(DGMSettings, meta["settings"]))
        learner.restore_critic(meta, arrays)
        generator = restored_network(Generator, meta["generator"], arrays)
        if [*generator.finished] != [len(classes) for classes in learner.task_classes]:
            raise InputError(
                f"the saved state has tasks of {[*map(len, learner.task_classes)]} classes and a "
                f"generator of {[*generator.finished]}; use another checkpoint"
            )
        learner._generator = generator
        return learner
