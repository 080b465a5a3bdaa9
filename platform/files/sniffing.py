"""What a file is by its first bytes, and whether its name and its content type say the same. Pure.

A table of our own: of the libraries for this, the one that is kept up asks for a newer Python than we do, another needs
a library of the system, and all guess where two bytes may be a picture or a word. Here a format counts only when its
beginning cannot be an accident.
"""

import mimetypes
import re
from collections.abc import Callable
from dataclasses import dataclass

from files.errors import ContentMismatch
from files.naming import extension_of

# How many bytes of a file are looked at.
HEAD = 4096
UNKNOWN = "application/octet-stream"
_GENERIC = frozenset({"", UNKNOWN, "binary/octet-stream", "application/x-binary"})
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/javascript", "image/svg+xml"})
_TEXT_EXTENSIONS = frozenset({
    "txt", "csv", "tsv", "md", "rst", "log", "json", "jsonl", "ndjson", "xml", "html", "htm", "css", "js", "mjs", "svg",
    "yaml", "yml", "toml", "ini", "cfg", "sql", "py", "rb", "sh", "c", "h",
})  # fmt: skip
# Text in two or four bytes a character says so in its first, or is taken for binary.
_WIDE_TEXT = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
# What Python itself knows, whatever the system's tables say, and what older ones do not know.
_BY_EXTENSION = mimetypes.MimeTypes()
for _extension, _kind in (
    ("docx", "wordprocessingml.document"),
    ("xlsx", "spreadsheetml.sheet"),
    ("pptx", "presentationml.presentation"),
):
    _BY_EXTENSION.add_type(f"application/vnd.openxmlformats-officedocument.{_kind}", f".{_extension}")


@dataclass(frozen=True)
class Format:
    """A format that is known by its first bytes. The first of its `media_types` is the one that it gets."""

    name: str
    media_types: tuple[str, ...]
    extensions: frozenset[str]
    begins: Callable[[bytes], bool]

    def may_be(self, media_type: str) -> bool:
        """Whether a file of this format may be called so; a type that ends in a star stands for all that begin so."""
        return any(
            media_type.startswith(known[:-1]) if known.endswith("*") else media_type == known
            for known in self.media_types
        )


def media_type_of(head: bytes, name: str, declared: str) -> str:
    """The content type of a file with these first bytes, from what its name and `declared` say and the bytes allow.

    `declared` may be empty or application/octet-stream, which say nothing. Raises `ContentMismatch`.
    """
    declared = declared.partition(";")[0].strip().lower()
    if declared in _GENERIC or not _MEDIA_TYPE.fullmatch(declared):
        declared = ""
    extension = extension_of(name)
    by_name = _BY_EXTENSION.guess_type(f"x.{extension}")[0] or "" if extension else ""
    found = format_of(head)
    if found is None:
        _must_not_claim_a_format(name, extension, declared)
        is_text = _is_text(head)
        if not is_text:
            _must_not_claim_text(name, extension, declared)
        return declared or by_name or ("text/plain" if is_text and head else UNKNOWN)
    if extension in _KNOWN_EXTENSIONS - found.extensions:
        raise ContentMismatch(f"{name!r} is not what its ending says: its content is {found.name}")
    if declared and not found.may_be(declared):
        raise ContentMismatch(f"{name!r} is not {declared}: its content is {found.name}")
    return declared or (by_name if found.may_be(by_name) else found.media_types[0])


def format_of(head: bytes) -> Format | None:
    """The format of a file that begins so, or None for text and for what is not known."""
    return next((known for known in FORMATS if known.begins(head)), None)


def _must_not_claim_a_format(name: str, extension: str, declared: str) -> None:
    for known in FORMATS:
        if extension in known.extensions and not _shares(extension):
            raise ContentMismatch(f"{name!r} is not what its ending says: its content does not begin like {known.name}")
        if declared in known.media_types:
            raise ContentMismatch(f"{name!r} is not {declared}: its content does not begin like {known.name}")


def _must_not_claim_text(name: str, extension: str, declared: str) -> None:
    if extension in _TEXT_EXTENSIONS:
        raise ContentMismatch(f"{name!r} is not what its ending says: its content is no text")
    if declared.startswith("text/") or declared in _TEXT_TYPES or declared.endswith(("+json", "+xml")):
        raise ContentMismatch(f"{name!r} is not {declared}: its content is no text")


def _is_text(head: bytes) -> bool:
    return b"\0" not in head or head.startswith(_WIDE_TEXT)


def _shares(extension: str) -> bool:
    """Whether other files than those of the table have this ending, too."""
    return extension in _SHARED_EXTENSIONS


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _riff(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"RIFF") and head[8:12] == kind


_STILL_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")


def _is_still(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS


def _is_film(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] not in _STILL_BRANDS


def _is_bitmap(head: bytes) -> bool:
    return head.startswith(b"BM") and head[6:10] == bytes(4) and len(head) >= 26


def _is_icon(head: bytes) -> bool:
    return head.startswith(b"\0\0\1\0") and head[4:6] != b"\0\0" and head[9:10] == b"\0"


def _is_windows_program(head: bytes) -> bool:
    if not head.startswith(b"MZ"):
        return False
    place = int.from_bytes(head[60:64], "little")
    return head[place : place + 4] == b"PE\0\0"


def _format(name: str, media_types: str, extensions: str, begins: Callable[[bytes], bool]) -> Format:
    return Format(name, tuple(media_types.split()), frozenset(extensions.split()), begins)


FORMATS = (
    _format("a PNG image", "image/png image/apng", "png apng", _starts(b"\x89PNG\r\n\x1a\n")),
    _format("a JPEG image", "image/jpeg image/jpg image/pjpeg", "jpg jpeg jpe jfif", _starts(b"\xff\xd8\xff")),
    _format("a GIF image", "image/gif", "gif", _starts(b"GIF87a", b"GIF89a")),
    _format("a WebP image", "image/webp", "webp", _riff(b"WEBP")),
    _format("a TIFF image", "image/tiff", "tif tiff dng", _starts(b"II*\0", b"MM\0*")),
    _format("a bitmap", "image/bmp image/x-ms-bmp", "bmp dib", _is_bitmap),
    _format("an icon", "image/vnd.microsoft.icon image/x-icon", "ico", _is_icon),
    _format("a Photoshop file", "image/vnd.adobe.photoshop", "psd", _starts(b"8BPS")),
    _format("a HEIF or AVIF image", "image/heic image/heif image/avif", "heic heif hif avif", _is_still),
    _format(
        "an MP4 or QuickTime file",
        "video/mp4 audio/mp4 audio/x-m4a audio/m4a video/quicktime video/x-m4v video/3gpp video/3gpp2",
        "mp4 m4a m4b m4v mov 3gp 3g2",
        _is_film,
    ),
    _format(
        "a Matroska or WebM file",
        "video/webm audio/webm video/x-matroska audio/x-matroska video/matroska audio/matroska",
        "webm mkv mka",
        _starts(b"\x1aE\xdf\xa3"),
    ),
    _format("an AVI film", "video/x-msvideo video/avi video/msvideo", "avi", _riff(b"AVI ")),
    _format("an Ogg file", "application/ogg audio/ogg video/ogg audio/opus", "ogg oga ogv opus", _starts(b"OggS")),
    _format("a WAVE sound", "audio/wav audio/x-wav audio/wave audio/vnd.wave", "wav", _riff(b"WAVE")),
    _format("a FLAC sound", "audio/flac audio/x-flac", "flac", _starts(b"fLaC")),
    _format("an MP3 sound", "audio/mpeg audio/mp3", "mp3 mpga", _starts(b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")),
    _format("a MIDI file", "audio/midi audio/x-midi", "mid midi", _starts(b"MThd\0\0\0\x06")),
    _format("a PDF document", "application/pdf application/x-pdf", "pdf", _starts(b"%PDF-")),
    _format("a PostScript document", "application/postscript image/x-eps", "ps eps", _starts(b"%!PS-")),
    _format("an RTF document", "application/rtf text/rtf", "rtf", _starts(b"{\\rtf")),
    _format(
        "a ZIP archive",
        "application/zip application/x-zip-compressed application/x-zip application/java-archive application/epub+zip "
        "application/vnd.openxmlformats-officedocument.* application/vnd.oasis.opendocument.* "
        "application/vnd.ms-excel.sheet.macroenabled.12 application/vnd.ms-word.document.macroenabled.12 "
        "application/vnd.android.package-archive application/vnd.google-earth.kmz",
        "zip docx docm xlsx xlsm pptx pptm odt ods odp epub jar apk whl kmz",
        _starts(b"PK\3\4", b"PK\5\6", b"PK\7\x08"),
    ),
    _format("a gzip archive", "application/gzip application/x-gzip", "gz tgz", _starts(b"\x1f\x8b\x08")),
    _format("a bzip2 archive", "application/x-bzip2", "bz2 tbz2", lambda head: head[:3] + head[4:7] == b"BZh1AY"),
    _format("an xz archive", "application/x-xz", "xz txz", _starts(b"\xfd7zXZ\0")),
    _format("a Zstandard archive", "application/zstd", "zst", _starts(b"\x28\xb5\x2f\xfd")),
    _format("a 7z archive", "application/x-7z-compressed", "7z", _starts(b"7z\xbc\xaf\x27\x1c")),
    _format("a RAR archive", "application/vnd.rar application/x-rar-compressed", "rar", _starts(b"Rar!\x1a\x07")),
    _format("a tar archive", "application/x-tar", "tar", lambda head: head[257:262] == b"ustar"),
    _format(
        "an older Office document",
        "application/x-ole-storage application/msword application/vnd.ms-excel application/vnd.ms-powerpoint "
        "application/vnd.ms-outlook application/x-msi",
        "doc xls ppt msg msi",
        _starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ),
    _format("an SQLite database", "application/vnd.sqlite3 application/x-sqlite3", "sqlite", _starts(b"SQLite ")),
    _format("a Parquet file", "application/vnd.apache.parquet", "parquet", _starts(b"PAR1")),
    _format(
        "a program for Windows",
        "application/vnd.microsoft.portable-executable application/x-msdownload application/x-dosexec",
        "exe dll sys scr",
        _is_windows_program,
    ),
    _format(
        "a program for Unix",
        "application/x-executable application/x-elf application/x-sharedlib application/x-pie-executable "
        "application/x-mach-binary",
        "elf so dylib",
        _starts(b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe"),
    ),
    _format("a WebAssembly module", "application/wasm", "wasm", _starts(b"\0asm")),
    _format("a web font", "font/woff font/woff2", "woff woff2", _starts(b"wOFF", b"wOF2")),
)  # fmt: skip
# A text may be called letter.doc as well, and a table data.xls: word processors write both.
_SHARED_EXTENSIONS = frozenset({"doc", "xls", "ppt", "msg", "so", "sys", "mid"})
_KNOWN_EXTENSIONS = frozenset().union(*(known.extensions for known in FORMATS)) | _TEXT_EXTENSIONS
