"""Learns the handwritten digits that scikit-learn ships, class after class; no download."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_digits", "digits", __doc__)
main = functools.partial(train.main, "split_digits", "digits", __doc__)

if __name__ == "__main__":
    sys.exit(main())
