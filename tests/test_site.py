"""The site of the documents: it builds without a warning, and asks no other host."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site_hook import hook

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.com/css">',
        '<img src="https://img.example.com/badge.svg">',
        '<style>@import "https://fonts.example.com/css";</style>',
        '<p style="background: url(https://a.example.com/b.png)">x</p>',
        '<script>import("https://cdn.example.org/mermaid.mjs")</script>',
        '<svg><use xlink:href="https://a.example.com/b.svg#c"></use></svg>',
        '<pre class="mermaid"><code>graph LR</code></pre>',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(page):
    assert len(hook.foreign(page)) == 1


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://example.org">a link</a>',
        '<link rel="canonical" href="https://example.org/">',
        '<script src="../assets/x.js"></script><img src="a.png"><img src="data:image/png;base64,">',
        '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"></use></svg>',
        "<p>import(&quot;https://example.org&quot;)</p>",
        '<script>// see https://example.org\nconst a = "b"</script>',
    ],
)
def test_links_and_own_files_are_not(page):
    assert hook.foreign(page) == []


def test_a_notebook_loses_the_programs_that_it_would_fetch():
    page = (
        '<script>copy()</script><script src="https://cdn.example.org/MathJax.js"></script>'
        '<script type="module">\nimport("https://cdn.example.org/mermaid.mjs")\n</script><p>x</p>'
    )
    assert hook.without_programs(page) == "<script>copy()</script><p>x</p>"


class Page:
    """A file of MkDocs, as far as links look at it."""

    src_uri = "tutorials/serve.ipynb"

    def get_file_from_path(self, path):
        return self if path == "how-to/serve.md" else None

    def url_relative_to(self, other):
        return "../../how-to/serve/"


def test_a_notebooks_links_lead_to_pages():
    exceptions = pytest.importorskip("mkdocs.exceptions")
    page = '<a href="../how-to/serve.md#a-server">x</a><a href="#here">y</a><a href="https://e.org/a.md">'
    assert hook.with_links(page, Page(), Page()) == page.replace(
        "../how-to/serve.md", "../../how-to/serve/"
    )
    with pytest.raises(exceptions.PluginError, match="gone.md, which is no page"):
        hook.with_links('<a href="gone.md">z</a>', Page(), Page())


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs_jupyter")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "reference/settings/index.html", "results/digits.svg"):
        assert (tmp_path / page).is_file()
