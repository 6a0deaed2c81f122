"""JSON that says something else here and there."""

from hypothesis import strategies as st

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["\ud800", "../../etc", "a\nb", "1", "w", "dgm-w"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(content, so_far=()):
    """The paths to all that a JSON value holds."""
    yield so_far
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from places(value, (*so_far, key))


def replaced(content, path, value):
    """A JSON value with something else in one place."""
    if not path:
        return value
    whole = dict(content) if isinstance(content, dict) else list(content)
    whole[path[0]] = replaced(content[path[0]], path[1:], value)
    return whole


@st.composite
def changed(draw, content):
    """`content` with something else in one to three places."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(content))))
        content = replaced(content, path, draw(anything))
    return content
