"""Any header, any lines and any name are described, and nothing in them acts."""

import json
from xml.etree import ElementTree

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inspection.recorded import changed, inspected, planned, terminal


def test_names_are_shown_as_plain_text():
    """Neither rich's markup nor a terminal's escapes act."""
    acquisitions = changed(planned(), "phantom_t1_axial", "[bold]t1[/nothing] &#x9b;2J&#x202e;oops")
    text = terminal(inspected(acquisitions))
    assert "[bold]t1[/nothing] 2J oops" in text
    assert not any(not letter.isprintable() for letter in text.replace("\n", ""))


ODD = st.sampled_from(["", "-1", "0", "nan", "inf", "1e400", "99999999999999999999", "abc", "1.5", "\u0085 [x] é"])


@settings(max_examples=15)
@given(data=st.data())
def test_any_header_is_described(recorded, data):
    """Elements left out or with odd content: every inspection is told, as JSON and in 60 columns."""
    acquisitions = recorded()
    acquisitions.heads = acquisitions.heads[:30]
    root = ElementTree.fromstring(acquisitions.header_xml)
    for _ in range(data.draw(st.integers(1, 6))):
        parents = [element for element in root.iter() if len(element)]
        parent = data.draw(st.sampled_from(parents))
        child = parent[data.draw(st.integers(0, len(parent) - 1))]
        if data.draw(st.booleans()) or len(child):
            parent.remove(child)
        else:
            child.text = data.draw(ODD)
        if not len(root):
            break
    acquisitions.header_xml = ElementTree.tostring(root, encoding="unicode")
    found = inspected(acquisitions)
    json.loads(found.to_json())
    assert max(map(len, terminal(found, 60).splitlines())) <= 60


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 20), n_changes=st.integers(1, 5))
def test_any_heads_are_described(recorded, seed, n_changes):
    acquisitions = recorded()
    random = np.random.default_rng(seed)
    heads = acquisitions.heads[random.permutation(len(acquisitions.heads))[:40]].copy()
    for _ in range(n_changes):
        name = random.choice(["flags", "number_of_samples", "center_sample", "discard_pre", "position", "slice_dir"])
        field = (
            heads[name] if random.random() < 0.6 else heads["idx"][random.choice(["slice", "repetition", "segment"])]
        )
        rows = random.integers(0, len(heads), 1 + random.integers(0, len(heads)))
        odd = [0, 1, 7, 300, 65535] if field.dtype.kind == "u" else [0, np.nan, np.inf, -1e30]
        field[rows] = random.choice(odd)
    acquisitions.heads = heads
    found = inspected(acquisitions)
    json.loads(found.to_json())
    assert terminal(found)
