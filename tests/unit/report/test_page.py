"""The report's page and the sentences it is made of, drawn from documents alone."""

import re
from html.parser import HTMLParser

import pytest

from hpsearch.report.endings import endings
from hpsearch.report.figures.drawing import PICTURES
from hpsearch.report.figures.material import Material
from hpsearch.report.page.page import CAPTIONS, _marked_up
from tests.unit.report.figures.conftest import make_spec, make_trial  # noqa: F401 - fixtures


def trial_with(make_trial, number, rate, **changes):  # noqa: F811 - the fixture
    return make_trial(number, {"learning_rate": rate, "weight_decay": 1e-6}, **changes)


@pytest.fixture
def material(make_spec, make_trial):  # noqa: F811 - the fixtures
    """Ten trials, of which the three with the highest learning rates diverged."""
    lost = {"state": "diverged", "score": None}
    trials = [
        trial_with(make_trial, n, 1e-6 * 2.5**n, **(lost if n > 6 else {})) for n in range(10)
    ]
    return Material.of(make_spec(search={"rounds": 1, "trials": 10}), trials)


def test_diverged_trials_are_summed_up_with_where_they_lie(material):
    """How many, how far they came, and the range that all of them keep to."""
    (sentence,) = endings(material)
    assert sentence == (
        "3 trials diverged: a loss or a weight was no longer finite; after 3 epochs; "
        "all of them at learning rate 0.00061 .. 0.00381."
    )


def test_a_search_without_losses_says_so(make_spec, make_trial):  # noqa: F811 - the fixtures
    """Nothing to sum up is a sentence too."""
    found = Material.of(make_spec(), [trial_with(make_trial, 0, 1e-3)])
    assert endings(found) == ["Every trial was trained to its end and has a score."]


def test_every_picture_has_a_caption():
    """Who cannot see a figure is told what it shows."""
    assert CAPTIONS.keys() == PICTURES.keys()


def test_what_people_named_is_never_markup():
    """A name with angle brackets is text on the page, and a command is code."""
    assert str(_marked_up("`hpsearch start <b>` of [bold]<i>[/]")) == (
        "<code>hpsearch start &lt;b&gt;</code> of &lt;i&gt;"
    )


class Page(HTMLParser):
    """What a page refers to, and its headings."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.tags, self.alternatives = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.addresses += [given[key] for key in ("src", "href") if key in given]
        if tag == "img":
            self.alternatives.append(given["alt"])


def test_the_template_needs_nothing_but_itself():
    """No script, no address of another file: it opens offline and prints."""
    from importlib.resources import files

    text = files("hpsearch.report.page").joinpath("page.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert all(a.startswith(("data:", "{{")) for a in page.addresses)
    assert not re.search(r"@import|url\(|https?://", text)
