"""Sequential fine-tuning (SFT): the GAN is trained on each task in turn. The floor."""

from dgm_tf.learners.shared_gan import SharedGANLearner


class FineTune(SharedGANLearner):
    """Nothing against forgetting."""

    name = "fine_tune"
