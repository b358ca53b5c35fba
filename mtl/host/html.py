"""HTML pages from jinja2 templates that lie in the packages beside their modules."""

import importlib.resources

import jinja2


def render(template: str, **data: object) -> str:
    """Renders a template as a page that UTF-8 can encode.

    All values are escaped. Bytes of file names that are not UTF-8, which Python holds
    as surrogates, become U+FFFD, as in a browser that decodes such a name.

    Args:
      template: package and path of the file, such as "structured/report/report.html".
      data: the template's variables.

    Raises:
      jinja2.UndefinedError: the template uses a variable that `data` does not hold.
    """
    page = _ENVIRONMENT.get_template(template).render(data)
    return page.encode(errors="surrogateescape").decode(errors="replace")


def _read_template(name: str) -> str:
    """Reads a template from the data of an installed package."""
    package, _, path = name.partition("/")
    return importlib.resources.files(package).joinpath(path).read_text("utf-8")


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FunctionLoader(_read_template),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
