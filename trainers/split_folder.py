"""Learns a folder of images, one subfolder per class, class after class."""

import functools
import sys

from trainers import train

define = functools.partial(train.define, "split_folder", "folder", __doc__)
main = functools.partial(train.main, "split_folder", "folder", __doc__)

if __name__ == "__main__":
    sys.exit(main())
