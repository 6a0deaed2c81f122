"""Everything that a user may hand to a classifier, and what comes of it.

`python -m tests.input_table` asks a learner and an exported model all of it, in a process of its
own: some of it once ended the process.
"""

import pathlib
import sys
import tempfile

import numpy as np

SIDE = 16


def pixels(*shape):
    return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def floats(*shape):
    return (pixels(*shape) / 127.5 - 1).astype(np.float32)


def with_value(value):
    images = floats(2, SIDE, SIDE, 1)
    images[1, 3, 4, 0] = value
    return images


# Row: what is given, and the number of images that it is.
TAKEN = {
    "uint8": (pixels(3, SIDE, SIDE, 1), 3),
    "one uint8": (pixels(SIDE, SIDE, 1), 1),
    "one uint8 without channels": (pixels(SIDE, SIDE), 1),
    "uint8 without channels": (pixels(4, 28, 28), 4),
    "uint8 of another size": (pixels(2, 40, 24, 1), 2),
    "one uint8 of another size": (pixels(7, 90, 1), 1),
    "one pixel": (pixels(1, 1, 1, 1), 1),
    "more than are looked at together": (pixels(300, 8, 8, 1), 300),
    "float32": (floats(3, SIDE, SIDE, 1), 3),
    "one float32": (floats(SIDE, SIDE, 1), 1),
    "one float32 without channels": (floats(SIDE, SIDE), 1),
    "float64": (floats(2, SIDE, SIDE, 1).astype(np.float64), 2),
    "float16": (np.zeros([2, SIDE, SIDE, 1], np.float16), 2),
    "a list of images": (list(pixels(2, 9, 9, 1)), 2),
    "not in one piece": (pixels(6, 32, 32, 1)[::2, ::2, ::-1], 3),
    "none": (pixels(0, 40, 24, 1), 0),
    "none of floats": (floats(0, SIDE, SIDE, 1), 0),
    "none of a list": ([], 0),
}


# Row: what is given, and words of the refusal.
REFUSED = {
    "two channels": (pixels(2, SIDE, SIDE, 2), "uint8 of shape (2, 16, 16, 2)"),
    "four channels": (pixels(SIDE, SIDE, 4), "(16, 16, 4)"),
    "channels first": (pixels(2, 1, SIDE, SIDE), "(2, 1, 16, 16)"),
    "five axes": (pixels(1, 1, SIDE, SIDE, 1), "(1, 1, 16, 16, 1)"),
    "one axis": (pixels(SIDE), "(16,)"),
    "no pixel": (pixels(2, 0, SIDE, 1), "(2, 0, 16, 1)"),
    "a range of 0 to 255": (pixels(2, SIDE, SIDE, 1) * 1.0, "pixels / 127.5 - 1"),
    "a little too much": (with_value(1.001), "to 1.001"),
    "NaN": (with_value(np.nan), "not finite"),
    "infinity": (with_value(-np.inf), "not finite"),
    "floats of another size": (floats(2, 28, 28, 1), "give uint8, which may be of any size"),
    "int64": (pixels(2, SIDE, SIDE, 1).astype(np.int64), "images.astype('uint8')"),
    "uint16": (pixels(2, SIDE, SIDE, 1).astype(np.uint16), "images.astype('uint8')"),
    "bool": (pixels(2, SIDE, SIDE, 1) > 99, "bool of shape"),
    "complex": (floats(2, SIDE, SIDE, 1) * 1j, "complex"),
    "a file's name": ("photo.png", "open files first"),
    "a path": (pathlib.Path("photo.png"), "Path"),
    "texts": (["a", "b"], "open files first"),
    "bytes": (b"\x89PNG", "open files first"),
    "objects": (np.zeros([2, SIDE, SIDE, 1], object), "objects of shape"),
    "images of two ranks": ([pixels(8, 8, 1), pixels(2, 8, 8, 1)], "is given one by one"),
    "a dictionary": ({"image": pixels(SIDE, SIDE)}, "type dict"),
    "None": (None, "type NoneType"),
    "a number": (7, "int64 of shape ()"),
}


def tensors():
    """More rows, whose making needs TensorFlow."""
    import keras
    import tensorflow as tf

    taken = {
        "a tensor": (tf.constant(pixels(2, SIDE, SIDE, 1)), 2),
        "three channels": (pixels(2, SIDE, SIDE, 3), 2),
        "one image of three channels": (pixels(40, 30, 3), 1),
    }
    refused = {
        "a ragged tensor": (tf.ragged.constant([[[1.0]], [[1.0], [0.5]]]), "RaggedTensor"),
        "a sparse tensor": (tf.sparse.from_dense(floats(2, SIDE, SIDE, 1)), "SparseTensor"),
        "a symbolic tensor": (keras.Input((SIDE, SIDE, 1)), "KerasTensor"),
        "a data set": (tf.data.Dataset.from_tensors(0), "Dataset"),
        "bfloat16": (tf.zeros([2, SIDE, SIDE, 1], tf.bfloat16), "bfloat16"),
    }
    return taken, refused


def main():
    import dgm_tf
    from tests import tiny_run

    model = tiny_run.MovedDGM()
    for task in tiny_run.stream():
        model.learn(task, verbose=0)
    taken, refused = tensors()
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, classifier=True)
        exported = dgm_tf.load_exported(folder)
        for name, (images, count) in (TAKEN | taken).items():
            print("taken", name, flush=True)
            found = [asked.predict(images) for asked in (model, exported)]
            assert found[0].shape == found[1].shape == (count, 4), (name, found[0].shape)
            assert found[0].dtype == np.float32
            np.testing.assert_allclose(found[0].sum(axis=1), 1, rtol=1e-5)
            # The learner computes them together, and rounds otherwise.
            np.testing.assert_allclose(found[0], found[1], atol=1e-6)
            classes = model.classify(images)
            assert classes.dtype == np.int32 and classes.shape == (count,)
            np.testing.assert_array_equal(exported.classify(images), classes)
        for asked in (model, exported):
            print("none", flush=True)
            assert asked.generate([]).shape == (0, SIDE, SIDE, 1)
        for name, (images, words) in (REFUSED | refused).items():
            for asked in (model, exported):
                for method, *more in (["predict"], ["classify"], ["evaluate", [0]]):
                    print("refused", name, flush=True)
                    try:
                        answer = getattr(asked, method)(images, *more)
                    except dgm_tf.InputError as error:
                        line = str(error)
                        assert words in line, line
                        assert line.startswith("expected one image or many with 1 or 3 channels"), (
                            line
                        )
                        assert len(line) < 600 and "\n" not in line
                    else:
                        raise AssertionError(f"{name}: {answer}")
    print("alive")


if __name__ == "__main__":
    sys.exit(main())
