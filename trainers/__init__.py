"""Commands that train: flags and defaults, no logic."""

from trainers import own_methods

own_methods.register()
