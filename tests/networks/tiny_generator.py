"""A generator of a few units, and updates as training could make them."""

import numpy as np
import tensorflow as tf

from dgm_tf.networks import Generator

SIDE, CHANNELS, LATENT, WIDTHS = 16, 2, 6, (5, 4, 3)


FORMS = ("w", "a", "w-nearest", "a-nearest")  # variant and, where it is not zeros, upsampling


def settings_of(form):
    variant, _, upsampling = form.partition("-")
    return {"variant": variant, "upsampling": upsampling or "zeros"}


def made(form="w", widths=WIDTHS, image_shape=(SIDE, SIDE, CHANNELS), **options):
    options = {"latent_dim": LATENT, "seed": 3, "name": "g", **settings_of(form), **options}
    generator = Generator(image_shape, widths, **options)
    generator.build()
    return generator


def latents(seed=0, count=4, length=LATENT):
    return tf.constant(np.random.RandomState(seed).normal(size=(count, length)), tf.float32)


def train(generator, seed):
    """Moves everything that training may move, far, and as training may: through the gate."""
    random = np.random.RandomState(seed)
    variables = generator.learning_variables()
    gradients = [tf.constant(random.normal(size=v.shape), tf.float32) for v in variables]
    masks = generator.soft_masks(1.0)
    gated = generator.gated(gradients, masks, s_max_i=tf.constant(1.0))
    for variable, gradient in zip(variables, gated, strict=True):
        variable.assign_sub(gradient * 0.3)
    for embedding in generator.embeddings():
        embedding.assign(random.uniform(-1, 1, embedding.shape))
    generator.calibrate(latents(seed, count=16, length=generator.latent_dim))


def after(*tasks, form="w"):
    """A generator that has finished tasks of so many classes each, trained and grown each time."""
    generator = made(form)
    for seed, classes in enumerate(tasks, start=1):
        train(generator, seed)
        generator = generator.finish_task(classes)
        generator = generator.widen(generator.grown_widths())
    return generator
