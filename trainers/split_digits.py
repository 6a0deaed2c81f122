"""Learns the handwritten digits that scikit-learn ships with DGM, class after class."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_digits", "digits", __doc__)
main = functools.partial(train.main, "split_digits", "digits", __doc__)

if __name__ == "__main__":
    sys.exit(main())
