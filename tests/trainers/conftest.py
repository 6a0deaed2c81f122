"""One run of the digits' trainer that all tests of commands read."""

import pytest

from dgm_tf.evaluation.oracle import Oracle
from tests.trainers.moved import train


@pytest.fixture(scope="session")
def oracle():
    """An oracle that has learnt nothing: as good as another to see what is done with it."""
    return Oracle((16, 16, 1), 10, test_accuracy=0.5)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, oracle):
    """Folder with a finished run, `run`, and the memory that it exported, `memory`; not to touch.

    Its generated images were scored by `oracle`.
    """
    folder = tmp_path_factory.mktemp("finished")
    places = (f"--run_dir={folder}/run", f"--export_dir={folder}/memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Oracle, "of", lambda stream, **_: oracle)
        assert train(patch, *places, "--verbosity=0", "--oracle") == 0
    return folder
