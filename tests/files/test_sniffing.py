"""What files are by their first bytes."""

import pytest

from files.errors import ContentMismatch
from files.naming import LONGEST, clean
from files.sniffing import FORMATS, format_of, media_type_of

# One beginning of each format, and the name and type that go with it.
SAMPLES = {
    "a PNG image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a.png", "image/png"),
    "a JPEG image": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a.jpg", "image/jpeg"),
    "a GIF image": (b"GIF89a\1\0\1\0", "a.gif", "image/gif"),
    "a WebP image": (b"RIFF\x24\0\0\0WEBPVP8 ", "a.webp", "image/webp"),
    "a TIFF image": (b"II*\0\x08\0\0\0", "a.tiff", "image/tiff"),
    "a bitmap": (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0" + bytes(20), "a.bmp", "image/bmp"),
    "an icon": (b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0", "a.ico", "image/vnd.microsoft.icon"),
    "a Photoshop file": (b"8BPS\0\1", "a.psd", "image/vnd.adobe.photoshop"),
    "a HEIF or AVIF image": (b"\0\0\0\x20ftypavif\0\0\0\0", "a.avif", "image/avif"),
    "an MP4 or QuickTime file": (b"\0\0\0\x20ftypisom\0\0\2\0", "a.mp4", "video/mp4"),
    "a Matroska or WebM file": (b"\x1aE\xdf\xa3\x9fB\x86", "a.webm", "video/webm"),
    "an AVI film": (b"RIFF\x24\0\0\0AVI LIST", "a.avi", "video/x-msvideo"),
    "an Ogg file": (b"OggS\0\2\0\0", "a.ogg", "application/ogg"),
    "a WAVE sound": (b"RIFF\x24\0\0\0WAVEfmt ", "a.wav", "audio/x-wav"),
    "a FLAC sound": (b"fLaC\0\0\0\x22", "a.flac", "audio/flac"),
    "an MP3 sound": (b"ID3\4\0\0\0\0", "a.mp3", "audio/mpeg"),
    "a MIDI file": (b"MThd\0\0\0\x06\0\1", "a.midi", "audio/midi"),
    "a PDF document": (b"%PDF-1.7\n%\xe2\xe3", "a.pdf", "application/pdf"),
    "a PostScript document": (b"%!PS-Adobe-3.0\n", "a.ps", "application/postscript"),
    "an RTF document": (b"{\\rtf1\\ansi", "a.rtf", "application/rtf"),
    "a ZIP archive": (b"PK\3\4\x14\0\6\0", "a.zip", "application/zip"),
    "a gzip archive": (b"\x1f\x8b\x08\0\0\0", "a.gz", "application/gzip"),
    "a bzip2 archive": (b"BZh91AY&SY", "a.bz2", "application/x-bzip2"),
    "an xz archive": (b"\xfd7zXZ\0\0\4", "a.xz", "application/x-xz"),
    "a Zstandard archive": (b"\x28\xb5\x2f\xfd\x24\0", "a.zst", "application/zstd"),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c\0\4", "a.7z", "application/x-7z-compressed"),
    "a RAR archive": (b"Rar!\x1a\x07\1\0", "a.rar", "application/vnd.rar"),
    "a tar archive": (b"notes.txt" + bytes(248) + b"ustar\x0000", "a.tar", "application/x-tar"),
    "an older Office document": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.doc", "application/msword"),
    "an SQLite database": (b"SQLite format 3\0", "a.sqlite", "application/vnd.sqlite3"),
    "a Parquet file": (b"PAR1\x15\4", "a.parquet", "application/vnd.apache.parquet"),
    "a program for Windows": (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0", "a.exe", "application/x-msdownload"),
    "a program for Unix": (b"\x7fELF\2\1\1\0", "a.elf", "application/x-executable"),
    "a WebAssembly module": (b"\0asm\1\0\0\0", "a.wasm", "application/wasm"),
    "a web font": (b"wOF2\0\1\0\0", "a.woff2", "font/woff2"),
}
OFFICE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def refused(head: bytes, name: str, declared: str) -> bool:
    try:
        media_type_of(head, name, declared)
    except ContentMismatch:
        return True
    return False


def test_each_format_is_known_by_its_beginning_and_gets_its_type() -> None:
    assert {name: format_of(head) and format_of(head).name for name, (head, _, _) in SAMPLES.items()} == {  # type: ignore[union-attr]
        known.name: known.name for known in FORMATS
    }
    for head, name, media_type in SAMPLES.values():
        assert media_type_of(head, name, media_type) == media_type
        assert media_type_of(head, name, "application/octet-stream") in (media_type, *_types_of(head))
        assert media_type_of(head, "nameless", "") == _types_of(head)[0]


def _types_of(head: bytes) -> tuple[str, ...]:
    found = format_of(head)
    assert found is not None
    return found.media_types


def test_no_content_passes_for_another() -> None:
    tried, passed = 0, []
    for actual, (head, _, _) in SAMPLES.items():
        for claimed, (_, name, media_type) in SAMPLES.items():
            if claimed == actual:
                continue
            for said in ((name, ""), ("nameless", media_type), (name, media_type)):
                tried += 1
                if not refused(head, *said):
                    passed.append((actual, *said))
    assert passed == []
    assert tried == 35 * 34 * 3


def test_text_and_unknown_bytes_pass_for_nothing_that_has_a_beginning_of_its_own() -> None:
    tried, passed = 0, []
    for head in (
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\1\2\3\0\4",
        b"",
        b"BMX",
        b"MZ, hello",
        b"PK",
    ):
        for _, name, media_type in SAMPLES.values():
            for said in ((name, ""), ("nameless", media_type)):
                tried += 1
                if not refused(head, *said) and said[0] != "a.doc":
                    passed.append((head, *said))
    assert passed == []
    assert tried == 7 * 35 * 2


def test_nothing_with_a_beginning_of_its_own_passes_for_text() -> None:
    claims = [("a.txt", ""), ("a.csv", ""), ("a.json", ""), ("a.html", ""), ("a.svg", ""), ("a", "text/plain"),
              ("a", "application/json"), ("a", "image/svg+xml"), ("a", "application/atom+xml")]  # fmt: skip
    heads = [*(head for head, _, _ in SAMPLES.values()), b"\1\2\3\0\4"]

    passed = [(head, said) for head in heads for said in claims if not refused(head, *said)]

    assert passed == []
    assert len(heads) * len(claims) == 324


@pytest.mark.parametrize(
    ("head", "name", "declared", "media_type"),
    [
        (b"hello", "notes.txt", "", "text/plain"),
        (b"hello", "notes", "", "text/plain"),
        (b"hello", "notes.txt", "application/octet-stream", "text/plain"),
        (b"hello", "notes.txt", "text/markdown; charset=utf-8", "text/markdown"),
        (b"hello", "notes.txt", "TEXT/PLAIN", "text/plain"),
        (b"hello", "notes.txt", "nonsense", "text/plain"),
        (b"hello", "notes.txt", "text/plain\r\nX-Evil: 1", "text/plain"),
        (b"\xff\xfeh\0i\0", "notes.txt", "", "text/plain"),
        (b"BM is how this text begins", "notes.txt", "", "text/plain"),
        (b"MZ is how this text begins", "notes.txt", "", "text/plain"),
        (b"a letter", "letter.doc", "", "application/msword"),
        (b"\1\2\3\0\4", "data.bin", "", "application/octet-stream"),
        (b"\1\2\3\0\4", "data.unheard", "application/x-unheard", "application/x-unheard"),
        (b"PK\3\4", "table.xlsx", OFFICE, OFFICE),
        (b"PK\3\4", "table.xlsx", "", OFFICE),
        (b"PK\3\4", "table.unheard", "", "application/zip"),
        (b"", "empty.txt", "", "text/plain"),
        (b"", "empty", "", "application/octet-stream"),
    ],
)
def test_names_and_types_that_agree_decide(head: bytes, name: str, declared: str, media_type: str) -> None:
    assert media_type_of(head, name, declared) == media_type


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("../../../etc/shadow", "shadow"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a/b\\c/d.txt", "d.txt"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        ("\0\n\t", "file"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\ud800b.txt", "ab.txt"),
        ("A\u030angström.txt", "Ångström.txt"),
        ("NUL", "_NUL"),
        ("com1.tar.gz", "_com1.tar.gz"),
        (" .. spaced .. ", "spaced"),
        ("x" * 300 + ".jpeg", "x" * 195 + ".jpeg"),
        ("x" * 300, "x" * LONGEST),
        ("a." + "x" * 300, "a." + "x" * 198),
        ("文件.txt", "文件.txt"),
    ],
)
def test_names_are_made_safe(name: str, cleaned: str) -> None:
    assert clean(name) == cleaned
    assert clean(cleaned) == cleaned
