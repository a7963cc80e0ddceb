"""Manifests as text: what nobody changed is as it was."""

from __future__ import annotations

import pytest

from cli.injection import manifest

TWO = """\
# Ours.
kind:   Service   # aligned
metadata: {name:   agent}
---
kind: Deployment
spec:
    replicas:   3
    names:
    - 'one'
    # of two
    - "two"
"""


@pytest.mark.parametrize(
    "text", [TWO, "---\n" + TWO, TWO + "---\n", "", "---\n", "# nothing\n", TWO.rstrip(), "a: 1\n---\n---\nb: 2\n"]
)
def test_manifest_that_is_not_changed_comes_out_as_it_went_in(text: str) -> None:
    """Byte for byte, whatever its layout."""
    assert manifest.write(manifest.read(text)) == text


def test_change_of_one_document_leaves_the_others() -> None:
    """And its own comments, quotes and order."""
    documents = manifest.read(TWO)
    documents[1].thing["spec"]["replicas"] = 4
    written = manifest.write(documents)
    assert written.partition("---\n")[0] == TWO.partition("---\n")[0]
    for kept in ("replicas: 4", "- 'one'", "# of two", '- "two"'):
        assert kept in written


@pytest.mark.parametrize("lists", ["- a\n", "  - a\n"])
def test_lists_are_indented_as_they_were(lists: str) -> None:
    """Both customs are kept."""
    documents = manifest.read(f"kind: Pod\nitems:\n{lists}")
    documents[0].thing["more"] = ["b"]
    assert manifest.write(documents) == f"kind: Pod\nitems:\n{lists}more:\n{lists.replace('a', 'b')}"


def test_config_map_is_added_once() -> None:
    """Again it is changed where it stands, and only if the policies are others."""
    documents = manifest.read("kind: Pod")
    manifest.put_config_map(documents, "ours", "agents", {"a.yaml": "tool: a\n# end"})
    once = manifest.write(documents)
    assert once == (
        "kind: Pod\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ours\n  namespace: agents\n"
        "data:\n  a.yaml: |\n    tool: a\n    # end\n"
    )
    documents = manifest.read(once)
    manifest.put_config_map(documents, "ours", "agents", {"a.yaml": "tool: a\n# end"})
    assert manifest.write(documents) == once
    manifest.put_config_map(documents, "ours", "agents", {"b.yaml": "tool: b"})
    assert manifest.write(documents).endswith("data:\n  b.yaml: |\n    tool: b\n")


def test_what_is_no_yaml_is_said_with_its_place() -> None:
    """The document, and line and column in it."""
    with pytest.raises(ValueError, match=r"(?s)document 2: .*line 2, column 1"):
        manifest.read("a: 1\n---\na: [\n")
