"""The image is what the charts take it for. That it builds and starts is `make image`'s to show."""

from __future__ import annotations

import json
import re

from tests.helm import charts
from tests.tracked import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
LAST = DOCKERFILE.rpartition("\nFROM ")[2]


def test_arguments_of_a_container_follow_the_entry_point() -> None:
    """The charts name no command: the image's is `holdfast`, found on its path."""
    assert re.search(r"^ENTRYPOINT (.*)$", LAST, re.MULTILINE)[1] == '["holdfast"]'  # type: ignore[index]
    venv = re.search(r"^COPY --from=build (\S+) \1$", LAST, re.MULTILINE)[1]  # type: ignore[index]
    assert f"PATH={venv}/bin:" in LAST


def test_user_is_the_one_that_the_charts_name_and_is_not_root() -> None:
    """By number: Kubernetes does not look names up."""
    user, group = re.search(r"^USER (\d+):(\d+)$", LAST, re.MULTILINE).groups()  # type: ignore[union-attr]
    context = charts.container_of({"spec": {"containers": [*sidecars()]}})["securityContext"]
    assert (int(user), int(group)) == (context["runAsUser"], context["runAsGroup"])
    assert int(user) > 0


def sidecars() -> list[dict[str, object]]:
    """Return the init containers of the agent's chart."""
    found: list[dict[str, object]] = charts.pod_of(charts.only(charts.render(charts.AGENT), "Deployment"))["spec"][
        "initContainers"
    ]
    return found


def test_base_is_named_by_whoever_builds_and_the_rest_by_hash() -> None:
    """No base is taken by a tag that moves, and nothing is installed that no lock names."""
    assert re.findall(r"^ARG (.*)$", DOCKERFILE, re.MULTILINE) == ["BASE_IMAGE"]
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE_IMAGE}"}
    for line in re.findall(r"pip install ([^&\n]*)", DOCKERFILE):
        assert "--require-hashes" in line or "--no-index" in line, line


def test_build_sees_what_it_needs_and_nothing_else() -> None:
    """No secret, no history and no test of the checkout can get into a layer."""
    first, *others = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert first == "*"
    packages = json.dumps(re.findall(r"^include = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    rooms = set(re.findall(r"(\w+)\*", packages))
    assert {line.removeprefix("!") for line in others if line.startswith("!")} == rooms | {
        "LICENSE", "README.md", "pyproject.toml", "requirements/package.txt", "requirements/image.txt",
    }  # fmt: skip
