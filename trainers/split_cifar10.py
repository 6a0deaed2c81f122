"""Learns the ten kinds of objects of CIFAR-10, class after class."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_cifar10", "cifar10", __doc__)
main = functools.partial(train.main, "split_cifar10", "cifar10", __doc__)

if __name__ == "__main__":
    sys.exit(main())
