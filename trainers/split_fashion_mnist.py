"""Learns the ten garments of Fashion-MNIST, class after class."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_fashion_mnist", "fashion_mnist", __doc__)
main = functools.partial(train.main, "split_fashion_mnist", "fashion_mnist", __doc__)

if __name__ == "__main__":
    sys.exit(main())
