"""Generators and critic."""

from dgm_tf.networks.conditional_generator import ConditionalGenerator
from dgm_tf.networks.critic import Critic
from dgm_tf.networks.generator import Generator
from dgm_tf.networks.own_classifier import OwnClassifier

__all__ = ["ConditionalGenerator", "Critic", "Generator", "OwnClassifier"]
