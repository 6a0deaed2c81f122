"""Learns the ten digits of SVHN's house numbers, class after class."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_svhn", "svhn_cropped", __doc__)
main = functools.partial(train.main, "split_svhn", "svhn_cropped", __doc__)

if __name__ == "__main__":
    sys.exit(main())
