"""What a file may be called. Pure."""

import re
import unicodedata

LONGEST = 200
_LONGEST_EXTENSION = 20
_NAMELESS = "file"
# Windows and shells give these a meaning of their own.
_SPECIAL = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")


def clean(name: str) -> str:
    """A name that is safe on every system, from what a client or a block calls a file.

    Only what stands behind the last slash or backslash counts. Invisible characters, such as those that turn the
    direction of writing and so hide an ending, are left out; what is longer than 200 characters loses its middle.
    """
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join(char for char in last if not unicodedata.category(char).startswith("C"))
    text = _SPECIAL.sub("_", unicodedata.normalize("NFC", visible)).strip(" .")
    if _DEVICE.match(text):
        text = f"_{text}"
    return _shortened(text) or _NAMELESS


def extension_of(name: str) -> str:
    """What stands behind the last dot, in lower case; empty without one."""
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot else ""


def _shortened(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > _LONGEST_EXTENSION:
        return name[:LONGEST]
    return stem[: LONGEST - 1 - len(extension)] + dot + extension
