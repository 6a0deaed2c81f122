import math

import pytest

from dgm_tf.storage.schema import (
    ANY,
    IMAGE_SHAPE,
    LINE,
    NULL,
    NUMBER,
    POSITIVE,
    TEXT,
    check,
    exactly,
    integer,
)

SCHEMA = {
    "name": LINE,
    "sizes?": [integer(1, 9)],
    "means?": {"loss": NUMBER | NULL, ANY: POSITIVE},
    "layers?": [{"text": TEXT}],
    "format?": exactly("mine"),
    "shape?": IMAGE_SHAPE,
    "any?": {},
}


@pytest.mark.parametrize(
    "content",
    [
        {"name": "a"},
        {"name": "日本", "sizes": [], "means": {"loss": None}, "unknown": [None]},
        {"name": "", "sizes": [1, 9], "means": {"loss": -1e18, "other": 0.5, "more": 3}},
        {"name": "a", "layers": [{"text": "two\nlines"}], "format": "mine", "any": {"a": 1}},
        {"name": "a", "shape": [1, 2**16, 3]},
    ],
)
def test_what_fits_is_let_pass(content):
    check(content, SCHEMA)


WRONG = {
    "no object": ([], "it is not an object"),
    "missing": ({}, "name is not there"),
    "of lines": ({"name": "a\nb"}, "name is not a text of one line"),
    "half a pair": ({"name": "a", "else": "\ud800"}, "surrogates not allowed"),
    "half a pair as a key": ({"name": "a", "any": {"\ud800": 1}}, "surrogates not allowed"),
    "no list": ({"name": "a", "sizes": {}}, "sizes is not a list"),
    "too small": ({"name": "a", "sizes": [1, 0]}, r"sizes\[1\] is not an integer from 1 to 9"),
    "too large": ({"name": "a", "sizes": [10]}, r"sizes\[0\] is not an integer from 1 to 9"),
    "a bool": ({"name": "a", "sizes": [True]}, r"sizes\[0\] is not an integer"),
    "a real": ({"name": "a", "sizes": [1.0]}, r"sizes\[0\] is not an integer"),
    "nested": ({"name": "a", "layers": [{}]}, r"layers\[0\]\.text is not there"),
    "no number": ({"name": "a", "means": {"loss": math.nan}}, "means.loss is not a number or null"),
    "infinite": ({"name": "a", "means": {"loss": 10**400}}, "means.loss is not a number or null"),
    "another": ({"name": "a", "means": {"loss": 1, "b": 0}}, "means.b is not a number above 0"),
    "another's": ({"name": "a", "format": "yours"}, 'format is not "mine"'),
    "a shape": ({"name": "a", "shape": [16, 16]}, "shape is not a list of three sizes"),
    "a side": ({"name": "a", "shape": [16, 0, 1]}, "shape is not a list of three sizes"),
}


@pytest.mark.parametrize("content, message", WRONG.values(), ids=list(WRONG))
def test_what_does_not_fit_is_named_with_its_place(content, message):
    with pytest.raises(ValueError, match=message):
        check(content, SCHEMA)
