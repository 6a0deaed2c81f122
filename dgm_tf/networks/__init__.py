"""Generators and critic."""

from dgm_tf.networks.conditional_generator import ConditionalGenerator
from dgm_tf.networks.critic import Critic
from dgm_tf.networks.generator import Generator

__all__ = ["ConditionalGenerator", "Critic", "Generator"]
