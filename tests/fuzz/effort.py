"""How hard hypothesis tries: the same each time in brief, something new in a long search."""

import os

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def brief(examples):
    return settings(max_examples=examples, derandomize=True, **_COMMON)


def long(examples):
    return settings(max_examples=examples, derandomize="CI" in os.environ, **_COMMON)
