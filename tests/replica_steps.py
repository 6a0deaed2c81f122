"""A program: the same training steps by one replica and by two.

    python -m tests.replica_steps OUT mirrored|multiworker METHOD:NAME=VALUE,... ...

The two are devices of this process, or this one and another, as TF_CONFIG says. OUT gets every
variable of each case as one replica leaves it and as two do.
"""

import functools
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_tf import class_incremental
from dgm_tf.devices import distribution
from dgm_tf.learners.classifier_phase import ConsolidationImages
from dgm_tf.methods.registry import METHODS, load_state, new_learner

STEPS = 20
# Differences in the last bit are to stay small for so long: masks that become steep and high rates
# make every one of them a large one.
TAME = {
    "epochs": 1, "batch_size": 32, "latent_dim": 16, "generator_size": 4, "critic_size": 4,
    "replay_batch": 16, "replay_buffer": 64, "consolidation_steps": STEPS, "fisher_samples": 32,
    "s_max": 10.0, "sparsity": 0.0, "learning_rate": 1e-4, "critic_learning_rate": 1e-4,
}  # fmt: skip


def settings_of(case: str) -> tuple[str, Any]:
    """Method and settings of a case."""
    method, _, options = case.partition(":")
    kind = METHODS[method].settings
    fields = kind.__dataclass_fields__
    chosen = {name: value for name, value in TAME.items() if name in fields}
    for option in filter(None, options.split(",")):
        name, value = option.split("=")
        chosen[name] = fields[name].type(value)
    return method, kind(**chosen)


def taken_steps(learner, task) -> dict[str, np.ndarray]:
    """Variables and logs after steps of the task's first phase and of consolidation."""
    make = getattr(learner, "adversarial_phase", None) or learner.gan_phase
    phase = make(task, epochs=STEPS, steps_per_epoch=1)
    before = {name: variable.numpy() for name, variable in named(phase).items()}
    batches = functools.partial(task.batches, learner.settings.batch_size, epochs=STEPS, seed=3)
    history = phase.run(batches, epochs=1, steps_per_epoch=STEPS)
    found = {f"log/{name}": np.array(values) for name, values in history.items()}
    found |= {f"before/{name}": value for name, value in before.items()}
    found |= {name: variable.numpy() for name, variable in named(phase).items()}
    below = None
    for index, block in enumerate(getattr(phase.generator, "blocks", ())):
        reserved = block.reserved_weights(below).numpy()
        found[f"kept/{index}"] = kept(block, reserved, before[f"generator/{block.kernel.path}"])
        below = block.reserved
    if learner.generates:
        images = ConsolidationImages(learner.balanced_replay(learner.memory(), "test"))
        history = learner.consolidate(phase.critic, task, (), images=images)
        found |= {f"log/{name}": np.array(values) for name, values in history.items()}
        found |= {f"solver/{each.path}": each.numpy() for each in phase.critic.weights}
    return found


def named(phase) -> Mapping[str, Any]:
    """Every variable that the phase trains or goes by."""
    found = {}
    for network, net in phase.networks().items():
        found |= {f"{network}/{variable.path}": variable for variable in net.weights}
    for owner, variables in phase.own_variables().items():
        found |= {f"{owner}/{place}": variable for place, variable in enumerate(variables)}
    return found


def kept(block, reserved: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Replicas, those whose reserved weights have their bits, and counts of reserved and free."""
    copies = getattr(block.kernel.value, "values", [block.kernel])
    same = [np.array_equal(copy.numpy()[reserved], before[reserved]) for copy in copies]
    return np.array([len(copies), sum(same), reserved.sum(), (~reserved).sum()])


def main(out: str, mode: str, *cases: str) -> None:
    two = distribution.start(mode, replicas=2 if mode == "mirrored" else None)
    assert two.replicas == 2
    found = {}
    for case in cases:
        method, settings = settings_of(case)
        tasks = class_incremental("digits", classes_per_task=[2, 2, 6]).tasks()
        learner = new_learner(method, settings, None)
        learner.learn(next(tasks))
        state, task = learner.state(), next(tasks)
        for name, place in (("one", distribution.start()), ("two", two)):
            with distribution.used(place):
                mine = load_state(*state)
                steps = taken_steps(mine, task)
            found |= {f"{case}/{name}/{key}": value for key, value in steps.items()}
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
