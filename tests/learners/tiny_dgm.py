"""DGM on real digits, as small as it learns them."""

from dgm_tf.data.stream import class_incremental
from dgm_tf.learners.dgm import DGM

TASKS = ((7, 0), (4,), (1,), (2, 3, 5, 6, 8, 9))
TINY = {
    "epochs": 20,
    "batch_size": 32,
    "latent_dim": 16,
    "generator_size": 6,
    "critic_size": 8,
    "learning_rate": 8e-3,
    "critic_learning_rate": 8e-3,
    "sparsity": 0.08,
    "replay": "balanced",
    "replay_batch": 32,
    "replay_buffer": 120,
    "consolidation_steps": 42,
}
BY_VARIANT = {"w": {}, "a": {"s_max": 1e5, "sparsity": 0.01}}


def digits():
    return class_incremental(
        "digits",
        classes_per_task=[len(classes) for classes in TASKS],
        class_order=[label for classes in TASKS for label in classes],
    )


def tiny(variant="w", **changes):
    return DGM(**{"variant": variant, **TINY, **BY_VARIANT[variant], **changes})
