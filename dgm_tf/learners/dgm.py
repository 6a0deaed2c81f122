"""Dynamic Generative Memory: DGMw and DGMa."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.task import Task
from dgm_tf.errors import InputError
from dgm_tf.learners.adversarial import AdversarialPhase
from dgm_tf.learners.classifier_learner import position_table
from dgm_tf.learners.classifier_phase import ConsolidationImages
from dgm_tf.learners.generating_learner import GeneratingLearner
from dgm_tf.networks import Critic, Generator, OwnClassifier, drawing
from dgm_tf.networks.generator_state import (
    check_fixed,
    generator_arrays,
    keep_finished,
    restored_generator,
)
from dgm_tf.networks.replay import FullReplay, Replay
from dgm_tf.serving.export import Export, export

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dgm_tf.learners.arguments import DGMArguments
    from dgm_tf.methods.settings import DGMSettings

_CALIBRATION_IMAGES = 1024


class TaskMemory:
    """A `replay.Memory`: each class by the binary masks of the task that brought it.

    Args:
        generator: with any number of finished tasks; the one being learnt is not touched.
        exact: whether an image must have the same bits next to any others, as it must for all who
            ask for images; a replayed one must only have the same bits in the same step.
    """

    def __init__(self, generator: Generator, *, exact: bool = False):
        self._generator = generator
        self._images = drawing.in_groups if exact else drawing.drawn
        self.classes = sum(generator.finished)
        self.latent_dim = generator.latent_dim

    def recall(self, position: int, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [n, S, S, C] of one class; see `replay.Memory`."""
        task = int(self._generator.class_tasks[position])
        classes = self._generator.finished[task - 1]
        own = position - sum(self._generator.finished[: task - 1])
        latent = self._generator.latent(noise, tf.fill([noise.shape[0]], own), classes)
        return self._images(latent, self._generator.finished_generator(task))


class DGM(GeneratingLearner):
    """A classifier that learns classes task by task and replays the old ones from a generator.

    Args:
        settings: all settings, such as `dgm_tf.settings_for` gives; None for those that suit data
            without a preset.
        **changes: settings that replace those, by name, and `classifier`:

            - `variant`: masks on weights, "w" (DGMw), or on units, "a" (DGMa).
            - `epochs`: passes over a task's images; 0 makes as many as `steps` takes.
            - `steps`: training steps for each class of a task.
            - `batch_size`: real images in a training step.
            - `generator_size`: g; the generator starts with ..., 4g, 2g and g units.
            - `generator_widths`: units of each of its blocks, instead.
            - `upsampling`: what its kernels see of a pixel: "zeros" around it (4x4) or "nearest",
              the pixel repeated (3x3).
            - `critic_size`: d; critic and classifier have d, 2d, 4d, ... channels.
            - `latent_dim`: length of the generator's input vector.
            - `learning_rate`: Adam's rate for the generator.
            - `critic_learning_rate`: Adam's rate for the critic.
            - `penalty_weight`: weight of the gradient penalty.
            - `class_weight`: weight of the classification of generated images in the generator's
              loss.
            - `s_max`: steepest mask (Eq. 2 and 3).
            - `sparsity`: weight lambda of the sparsity term (Eq. 5).
            - `replay`: "balanced" (a fixed number of images per step) or "full" (a batch per old
              class).
            - `replay_batch`: replayed images per step, of all old classes together.
            - `replay_buffer`: images held by the buffer of balanced replay.
            - `consolidation_steps`: steps that train the classifier on generated images of all
              classes; 0 leaves them out.
            - `consolidation_start`: the classifier's initial weights: those of the task's "critic",
              "new" ones, or the "previous" task's.
            - `penalty_fraction`: fraction of a step's images that the penalty is taken of.
            - `consolidation_batch`: generated images in a step of consolidation.
            - `real_margins`: fraction of the images in consolidation with margins of real ones.
            - `augmentation`: of the classifier's images: "none", "light" for other contrasts and
              tints, "photo" for inverted images, too, "mirror" for things without a left and a
              right, or "light+mirror".
            - `recipe`: constants of training, "tuned" or "paper".
            - `seed`: source of all randomness.
            - `jit_compile`: compile training steps by XLA; for accelerators.
            - `classifier`: a function of the images' shape (S, S, channels) and the number of
              classes, in place of a classifier of the critic's shape. It returns a Keras model
              of images float32 [B, S, S, channels] in [-1, 1] to logits [B, classes]. It is
              called for each task, with all classes up to then.

    `dgm_tf.DGMSettings` has the ranges and default values, `dgm_tf.settings_for` the values for a
    data set.

    Raises:
        InputError: an unknown setting, or a value out of range.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.DGM.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in stream.tasks(last=2):
            model.learn(task)
            print(task, model.evaluate(stream.seen_test(task)))
        model.save("digits.dgm")

        model = dgm_tf.load("digits.dgm")  # another day, another process
        model.classify(np.zeros([16, 16, 1], np.uint8), names=True)
        images = model.generate([0, 1], seed=7)  # the same bits, whatever was learnt since
        ```
    """

    method = "dgm"
    shares_steps = True

    if TYPE_CHECKING:

        def __init__(
            self,
            settings: DGMSettings | None = None,
            **changes: Unpack[DGMArguments],
        ) -> None: ...

        @classmethod
        def from_preset(
            cls,
            dataset: str,
            *,
            preset: str = "tuned",
            **changes: Unpack[DGMArguments],
        ) -> "DGM": ...

    @property
    def name(self) -> str:
        return f"{self.method}-{self.settings.variant}"

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
        generator = self._finish_generator(phase.generator, task)
        classifier, classified = self.train_classifier(generator, task, phase.critic, callbacks)
        self._generator = generator.widen(generator.grown_widths())
        self.task_learnt(task, classifier)
        return history | classified

    def train_classifier(
        self, generator: Generator, task: Task, critic: Critic, callbacks: Sequence[Any] = ()
    ) -> tuple[Critic | OwnClassifier, dict[str, list[float]]]:
        """Returns the classifier of all classes seen, and what its training logged.

        Args:
            generator: with the task finished.
            task: the newest one, still open.
            critic: as the adversarial phase has left it; in the paper it is the classifier.
            callbacks: Keras callbacks.
        """
        settings = self.settings
        if not settings.consolidation_steps:  # the paper's way
            if critic.norm == "batch":
                critic.calibrate(self._of_each_class(TaskMemory(generator)))
            return critic, {}
        if settings.consolidation_start == "critic":
            classifier = critic
        else:
            classifier = self.initial_classifier(task)
        images = ConsolidationImages(
            self.balanced_replay(
                TaskMemory(generator),
                "consolidation replay",
                batch_size=settings.consolidation_batch,
            ),
            known=len(self.classes_seen),
            weight_in_class=settings.details.real_weight,
            margins=settings.real_margins,
        )
        teacher = self._classifier if settings.details.distillation_weight else None
        history = self.consolidate(classifier, task, callbacks, images=images, teacher=teacher)
        return classifier, history

    def _of_each_class(self, memory: TaskMemory) -> tf.Tensor:
        """Generated images float32 [about 1024, S, S, C], equally many of each class seen."""
        each = -(-_CALIBRATION_IMAGES // memory.classes)
        noise = randomness.normal(
            [memory.classes, each, memory.latent_dim],
            randomness.pair(self.settings.seed, "critic calibration", self.finished_tasks + 1),
        )
        return tf.concat([memory.recall(*pair) for pair in enumerate(tf.unstack(noise))], axis=0)

    def adversarial_phase(
        self, task: Task, *, epochs: int, steps_per_epoch: int
    ) -> AdversarialPhase:
        """Returns the Keras model whose `run` trains generator and critic on the next task.

        Args:
            task: the task to learn, still open.
            epochs: passes over its images.
            steps_per_epoch: training steps in a pass.
        """
        settings = self.settings
        number = self.finished_tasks + 1
        classes = self.classes_with(task)
        settings.check_task(side=task.image_shape[0], classes=len(task.classes))
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
        generator = Generator(
            image_shape,
            self.settings.first_widths(image_shape[0]),
            variant=self.settings.variant,
            latent_dim=self.settings.latent_dim,
            upsampling=self.settings.upsampling,
            seed=randomness.derive(self.settings.seed, "generator"),
            dtype="float32",
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

    def _finish_generator(self, generator: Generator, task: Task) -> Generator:
        """The generator with the task finished: masks binary, statistics measured under them.

        Raises:
            MemoryChanged: training has moved a weight that finished tasks have reserved.
        """
        classes = len(task.classes)
        noise = randomness.normal(
            [_CALIBRATION_IMAGES, generator.latent_dim],
            randomness.pair(self.settings.seed, "calibration", self.finished_tasks + 1),
        )
        own = tf.range(_CALIBRATION_IMAGES) % classes
        generator.calibrate(generator.latent(noise, own, classes))
        if self._generator is not None:
            check_fixed(generator, self._generator)
        finished = generator.finish_task(classes)
        keep_finished(finished, generator)
        return finished

    # Use.

    def memory(self) -> TaskMemory:
        """Returns what `generate` draws from: the same bits for as long as the learner lives."""
        return TaskMemory(self.generator, exact=True)

    def export(self, path: str | Path, *, classifier: bool = False) -> Export:
        """Writes the memory as a SavedModel; see `dgm_tf.serving.export.export`.

        Args:
            path: NAME for its next version NAME/<n>, or NAME/<n> itself.
            classifier: export the classifier, too.

        Returns:
            The version's folder and what it holds.

        Raises:
            InputError: nothing has been learnt, or the folder cannot be written.
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
        return meta, arrays | generator_arrays(self.generator)

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        generator = restored_generator(meta["generator"], arrays)
        if [*generator.finished] != [len(classes) for classes in self._tasks]:
            raise InputError(
                f"the saved state has tasks of {[*map(len, self._tasks)]} classes and a generator "
                f"of {[*generator.finished]}; use another checkpoint"
            )
        self._generator = generator
