"""The renderer of HTML pages, on templates of its own."""

import importlib
import sys

import jinja2
import pytest

from mtl.host import html


@pytest.fixture
def template(tmp_path, monkeypatch):
    """Writes a template into a package that can be imported; returns its name."""

    def write(text):
        package = f"pages_{tmp_path.name.rstrip('_').replace('-', '_')}"
        folder = tmp_path / package / "report"
        folder.mkdir(parents=True)
        (tmp_path / package / "__init__.py").touch()
        (folder / "page.html").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, package, raising=False)
        return f"{package}/report/page.html"

    return write


def test_values_are_escaped(template):
    name = template('<p title="{{ text }}">{{ text }}</p>\n')
    page = html.render(name, text="<b>\"a\" & 'b'</b> {{ 1 }}")
    text = "&lt;b&gt;&#34;a&#34; &amp; &#39;b&#39;&lt;/b&gt; {{ 1 }}"
    assert page == f'<p title="{text}">{text}</p>\n'


def test_bytes_that_are_not_utf8_become_replacement_characters(template):
    name = template("{{ text }}")
    raw = b"a\xff \xe2\x82 \xc3\xa9"
    text = raw.decode(errors="surrogateescape")
    page = html.render(name, text=text)
    assert page == "a\ufffd \ufffd é"
    assert page.encode().decode() == page


def test_a_variable_without_a_value_is_an_error(template):
    name = template("{{ absent }}")
    with pytest.raises(jinja2.UndefinedError, match="'absent' is undefined"):
        html.render(name)


def test_pages_extend_the_base_template(template):
    name = template(
        '{% extends "mtl/host/templates/base.html" %}'
        "{% block sources %}img-src data:{% endblock %}"
        "{% block width %}10rem{% endblock %}"
        "{% block style %}p { margin: 0; }{% endblock %}"
        "{% block body %}<p>{{ title }}</p>{% endblock %}"
    )
    page = html.render(name, title="a & b")
    assert page.startswith("<!DOCTYPE html>\n")
    assert "<title>a &amp; b</title>" in page
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f'content="{policy}"' in page
    assert "max-width: 10rem" in page
    assert "p { margin: 0; }</style>" in page
    assert page.endswith("<p>a &amp; b</p></body>\n</html>\n")
