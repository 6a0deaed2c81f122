"""Images two rows at a time, by products, are those that transposed convolutions generate."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dgm_tf.networks import drawing
from tests.networks.tiny_generator import FORMS, made

IMAGES = [(8, (5, 4, 3)), (16, (4, 3)), (28, (6, 5)), (32, (7, 6, 5, 4))]  # 1, 4, 7, 2 pixels first


@pytest.mark.parametrize(("side", "widths"), IMAGES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_they_are_the_images_of_the_convolutions(side, widths, form, rows):
    generator = made(form, widths=widths, image_shape=(side, side, 3))
    random = np.random.RandomState(0)
    for block in generator.blocks:
        block.kernel.assign(random.normal(size=block.kernel.shape) / 2)
        block.embedding.assign(random.normal(size=block.embedding.shape) + 1)
        block.norm.beta.assign(random.normal(size=block.norm.beta.shape))
    generator.head.kernel.assign(random.normal(size=generator.head.kernel.shape) / 4)
    finished = generator.finish_task(1).finished_generator(1)
    latent = random.normal(size=(rows, generator.latent_dim)).astype(np.float32)
    expected = drawing.drawn(latent, finished).numpy()
    assert expected.shape == (rows, side, side, 3) and expected.std() > 0.1
    np.testing.assert_allclose(drawing.in_groups(latent, finished), expected, atol=2e-5)


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_an_image_depends_on_its_own_row_alone_without_avx512(onednn):
    """Other processors put other numbers of rows through a product at a time."""
    switches = {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": onednn}
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "tests/networks/test_generator.py", "-k", "depends_on_its_own_row_alone",
        ],
        cwd=Path(__file__).parents[2], env=os.environ | switches,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout
