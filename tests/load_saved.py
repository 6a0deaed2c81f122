"""`python -m tests.load_saved PATH THREADS` loads a learner and says in JSON what bits it gives."""

import hashlib
import json
import sys


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def main(path, threads):
    import numpy as np
    import tensorflow as tf

    import dgm_tf

    if int(threads):
        tf.config.threading.set_intra_op_parallelism_threads(int(threads))
        tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    model = dgm_tf.load(path)
    images = np.random.RandomState(0).randint(0, 256, [40, 20, 16, 1]).astype(np.uint8)
    _, arrays = model.state()
    found = {
        "python": sys.version_info[:2],
        "state": {name: digest(array) for name, array in arrays.items()},
        "images": digest(model.generate(np.repeat(model.classes_seen, 5), seed=1)),
        "probabilities": model.predict(images).astype(float).tolist(),
        "audit": model.audit(),
        "repr": repr(model),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
