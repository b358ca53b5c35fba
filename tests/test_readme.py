"""The example in docs/extending.md runs as it stands, and links lead to files."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
)
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
FOLDERS = "mtl|structured|l3spot|configs|experiments|tests|benchmarks|docs"
README_LINES = 150


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_paths_in_code_spans_exist(page):
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./]+\.\w+)(?::\w+)?`", page.read_text())
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= README_LINES


def test_the_example_of_your_own_tasks():
    page = (ROOT / "docs" / "extending.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)

    def denoise_loss(params, batch, key):
        given = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
        back = jnp.tanh(given @ params["encoder"]) @ params["decoder"]
        return jnp.square(back - batch["x"]).sum(1)

    def class_loss(params, batch, key):
        z = jnp.tanh(batch["x"] @ params["encoder"]) @ params["head"]
        return -jax.nn.log_softmax(z)[jnp.arange(len(z)), batch["y"]]

    x = jax.random.normal(jax.random.key(0), (60, 4))
    names = {
        "jax": jax,
        "denoise_loss": denoise_loss,
        "class_loss": class_loss,
        "falling": lambda t: np.exp(-t / 10),
        "rising": lambda t: 1 - np.exp(-t / 10),
        "data": {"x": x, "y": jnp.where(jnp.arange(60) < 30, x[:, 0] > 0, -1)},
        "rate": 0.1,
        "key": jax.random.key(1),
        "params": {
            "encoder": jax.random.normal(jax.random.key(2), (4, 3)),
            "decoder": jnp.zeros((3, 4)),
            "head": jnp.zeros((3, 2)),
        },
    }
    exec(code, names)
    assert names["metrics"].loss[1] / names["metrics"].rows[1] < 0.1
