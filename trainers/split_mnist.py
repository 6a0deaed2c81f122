"""Learns the ten digits of MNIST, class after class."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_mnist", "mnist", __doc__)
main = functools.partial(train.main, "split_mnist", "mnist", __doc__)

if __name__ == "__main__":
    sys.exit(main())
