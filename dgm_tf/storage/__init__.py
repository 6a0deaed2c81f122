"""Files that are whole or not there, arrays without pickles, and checkpoints made of them."""
