"""Dynamic Generative Memory: DGMw and DGMa."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.adversarial import AdversarialPhase
from dgm_tf.learners.classifier import ConsolidationImages
from dgm_tf.learners.learner import GeneratingLearner, position_table
from dgm_tf.networks import Critic, Generator
from dgm_tf.networks.state import network_arrays, restored_network
from dgm_tf.replay import FullReplay, Replay
from dgm_tf.serving.export import Export, export
from dgm_tf.stream import Task

_CALIBRATION_IMAGES = 1024


class TaskMemory:
    """A `dgm_tf.replay.Memory`: each class by the binary masks of the task that brought it.

    Args:
        generator: with any number of finished tasks; the one being learnt is not touched.
    """

    def __init__(self, generator: Generator):
        self._generator = generator
        self.classes = sum(generator.finished)
        self.latent_dim = generator.latent_dim
        self.tasks = generator.class_tasks

    def recall(self, position: int | tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [n, S, S, C] of one class; see `dgm_tf.replay.Memory`."""
        positions = tf.fill([noise.shape[0] or tf.shape(noise)[0]], position)
        if isinstance(position, int):
            return self.recall_task(int(self.tasks[position]), positions, noise)

        def of_task(task: int):
            return lambda: self.recall_task(task, positions, noise)

        branches = [of_task(task) for task in range(1, len(self._generator.finished) + 1)]
        return tf.switch_case(tf.gather(self.tasks.astype(np.int32), position) - 1, branches)

    def recall_task(self, task: int, positions: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [B, S, S, C] of one finished task.

        Args:
            task: from 1.
            positions: int32 [B], positions of its classes.
            noise: float32 [B, latent].
        """
        seen = sum(self._generator.finished[:task])
        return self._generator.recall(self._generator.latent(noise, positions, seen), task)


class DGM(GeneratingLearner):
    """A classifier that learns classes task by task and replays the old ones from a generator.

    Args:
        settings: all settings, such as `dgm_tf.presets.settings_for` gives; None for those that
            suit data without a preset.
        **changes: settings that replace those, such as `variant="a"` or `steps=1000`; see
            `dgm_tf.settings.DGMSettings`.

    Example:

        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.DGM.from_preset("digits", variant="w")
        for task in stream:
            model.learn(task)
            print(task, model.evaluate(stream.seen_test(task)))
    """

    method = "dgm"

    @property
    def name(self) -> str:
        return f"dgm-{self.settings.variant}"

    # Learning.

    def learn_task(self, task: Task, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        settings, number = self.settings, self.finished_tasks + 1
        budget = self.budget(task)
        phase = self.adversarial_phase(task, **budget)
        batches = functools.partial(
            task.batches,
            settings.batch_size,
            epochs=budget["epochs"],
            seed=randomness.derive(settings.seed, "order", number),
        )
        history = phase.run(batches, **budget, callbacks=callbacks)
        generator = self._finished(phase.generator, task)
        classifier, classified = self.train_classifier(generator, task, phase.critic, callbacks)
        self._generator = generator.widen(generator.grown_widths())
        self.task_learnt(task, classifier)
        return history | classified

    def train_classifier(
        self, generator: Generator, task: Task, critic: Critic, callbacks: Sequence[Any] = ()
    ) -> tuple[Critic, dict[str, list[float]]]:
        """Returns the classifier of all classes seen, and what its training logged.

        Args:
            generator: with the task finished.
            task: the newest one, still open.
            critic: as the adversarial phase has left it; the classifier itself in the paper.
            callbacks: Keras callbacks.
        """
        settings = self.settings
        if not settings.consolidation_steps:
            return critic, {}
        if settings.consolidation_start == "critic":
            classifier = critic
        else:
            classifier = self.initial_classifier(task)
        images = ConsolidationImages(
            self.balanced_replay(TaskMemory(generator), "consolidation replay"),
            known=len(self.classes_seen),
            own_weight=settings.details.real_weight,
            margins=settings.real_margins,
        )
        teacher = self._classifier if settings.details.distillation_weight else None
        history = self.consolidate(classifier, task, callbacks, images=images, teacher=teacher)
        return classifier, history

    def adversarial_phase(
        self, task: Task, *, epochs: int, steps_per_epoch: int
    ) -> AdversarialPhase:
        """Returns the Keras model whose `run` trains generator and critic on the next task."""
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
            steps_per_epoch=steps_per_epoch,
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
        memory = TaskMemory(generator)
        if settings.replay == "full":
            seed = randomness.pair(settings.seed, "replay", number)
            return FullReplay(memory, batch_size=settings.batch_size, seed=seed)
        return self.balanced_replay(memory, "replay", batch_size=settings.replay_batch)

    def _finished(self, generator: Generator, task: Task) -> Generator:
        """The generator with the task finished: masks binary, statistics measured under them."""
        own, classes = len(task.classes), len(self.classes_with(task))
        positions = classes - own + tf.range(_CALIBRATION_IMAGES) % own
        noise = randomness.normal(
            [_CALIBRATION_IMAGES, generator.latent_dim],
            randomness.pair(self.settings.seed, "calibration", self.finished_tasks + 1),
        )
        generator.calibrate(generator.latent(noise, positions, classes))
        return generator.finish_task(own)

    # Use.

    def memory(self) -> TaskMemory:
        """Returns what `generate` draws from: the same bits for as long as the learner lives."""
        return TaskMemory(self.generator)

    def export(self, path: str | Path, *, classifier: bool = False) -> Export:
        """Writes the memory as a SavedModel; see `dgm_tf.serving.export.export`.

        Args:
            path: NAME for its next version NAME/<n>, or NAME/<n> itself.
            classifier: export the classifier, too.
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
        meta, arrays = super().state()
        meta["generator"] = self.generator.get_config()
        return meta, arrays | network_arrays(self.generator)

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        generator = restored_network(Generator, meta["generator"], arrays)
        if [*generator.finished] != [len(classes) for classes in self._tasks]:
            raise InputError(
                f"the saved state has tasks of {[*map(len, self._tasks)]} classes and a generator "
                f"of {[*generator.finished]}; use another checkpoint"
            )
        self._generator = generator
