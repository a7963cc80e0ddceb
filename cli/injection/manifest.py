"""A manifest as text: read to its documents, and written again so that only what was changed is different.

A document that nobody changed comes out as it went in, byte for byte. A changed one keeps its comments, quotes and
order; its lists are indented as they were.
"""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import LiteralScalarString

SEPARATOR = re.compile(r"^---(?:[ \t].*)?\r?\n", re.MULTILINE)
INDENTED_LIST = re.compile(r"^( *)[\w.\"'/-]+:[ \t]*(?:#.*)?\n(?:\s*#.*\n)*\1  - ", re.MULTILINE)
WIDTH = 4096
"""Lines are never broken: a long argument is one."""

LISTS_INDENTED, LISTS_FLUSH = {"mapping": 2, "sequence": 4, "offset": 2}, {"mapping": 2, "sequence": 2, "offset": 0}


class Document:
    """One document: its text with the separator before it, and the object that it says."""

    def __init__(self, separator: str, text: str) -> None:
        self._separator, self._text = separator, text
        self._yaml = YAML(pure=True)
        self._yaml.preserve_quotes = True
        self._yaml.width = WIDTH
        self._yaml.indent(**(LISTS_INDENTED if INDENTED_LIST.search(text) else LISTS_FLUSH))
        self.thing: Any = self._yaml.load(text)
        self._before = self._dumped()

    def text(self) -> str:
        """Return it as it is now."""
        now = self._dumped()
        return self._separator + (self._text if now == self._before else now)

    def _dumped(self) -> str:
        if self.thing is None:
            return self._text
        written = io.StringIO()
        self._yaml.dump(self.thing, written)
        return written.getvalue()


def read(text: str) -> list[Document]:
    """Return a manifest's documents. Raises ValueError for what is no YAML: in which document, and where in that."""
    documents, at, separator = [], 0, ""
    try:
        for found in SEPARATOR.finditer(text):
            if text[at : found.start()] or separator:
                documents.append(Document(separator, text[at : found.start()]))
            at, separator = found.end(), found[0]
        documents.append(Document(separator, text[at:]))
    except YAMLError as error:
        raise ValueError(f"document {len(documents) + 1}: {error}") from None
    return documents


def write(documents: list[Document]) -> str:
    """Return the manifest."""
    texts = [document.text() for document in documents]
    return "".join(text if text.endswith("\n") or text is texts[-1] else text + "\n" for text in texts)


def put_config_map(documents: list[Document], name: str, namespace: str, texts: dict[str, str]) -> None:
    """Make the policies' ConfigMap one of the documents; one of its name that is there already becomes this one."""
    data = {file: LiteralScalarString(text.strip() + "\n") for file, text in sorted(texts.items())}
    for document in documents:
        match document.thing:
            case {"kind": "ConfigMap", "metadata": {"name": found}} if found == name:
                if document.thing.get("data") != data:
                    document.thing["data"] = data
                return
            case _:
                pass
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    added = Document("---\n", "")
    added.thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    documents.append(added)
