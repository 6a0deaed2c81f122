"""Learns images from a folder, one subfolder per class, with DGM, class after class."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_folder", "folder", __doc__)
main = functools.partial(train.main, "split_folder", "folder", __doc__)

if __name__ == "__main__":
    sys.exit(main())
