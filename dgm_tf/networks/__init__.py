"""Generator and critic."""

from dgm_tf.networks.critic import Critic
from dgm_tf.networks.generator import Generator

__all__ = ["Critic", "Generator"]
