"""Blocks that read text in a format: XML and CSV. Both may take a second, so they run beside the event loop."""

import csv
import io
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from graphs.blocks.base import Block, BlockError, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.blocks.fields import pin
from graphs.blocks.files import read_file

MAX_TEXT = 10_000_000
MAX_DEPTH = 100


class XMLParserBlock(Block):
    """Reads XML."""

    id = "286380af-9529-4b55-8be0-1d7c854abdb5"
    description = (
        "Reads XML into dictionaries by tag name in lower case; an element with two children of one name becomes a "
        "list of dictionaries with one key each. Attributes are kept as keys that start with @, the text of an "
        "element that has attributes or children as #text. At most 10 MB and 100 levels, and no document type."
    )
    categories = frozenset()
    effect = Effect.READ
    examples = (
        Example(
            {"input_xml": "<Person><Name>Ada</Name><Age>36</Age></Person>"},
            (("parsed_xml", {"person": {"name": "Ada", "age": "36"}}),),
        ),
        Example(
            {"input_xml": "<list><i>1</i><i a='x'>2</i><j/></list>"},
            (("parsed_xml", {"list": [{"i": "1"}, {"i": {"@a": "x", "#text": "2"}}, {"j": ""}]}),),
        ),
    )

    class Input(BlockInput):
        """A text."""

        input_xml: str = pin("The XML.", placeholder="<person><name>Ada</name></person>")

    class Output(BlockOutput):
        """What it says."""

        parsed_xml: dict[str, Any] = pin("The document, by the name of its root.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the document."""
        _limit(input.input_xml, "input_xml")
        yield "parsed_xml", _Reader().read(input.input_xml)


class ReadSpreadsheetBlock(Block):
    """Reads CSV."""

    id = "acf7625e-d2cb-4941-bfeb-2819fc6fc015"
    description = (
        "Reads rows from CSV text, or from a CSV file given as a data URI or workspace URI, into a dictionary each: by "
        "the names in the first row, or by the column's number without a header. At most 10 MB."
    )
    categories = frozenset({Category.DATA, Category.TEXT})
    effect = Effect.READ
    examples = (
        Example(
            {"contents": 'name,age\nAda, 36\n"Bo, Jr",7'},
            (("rows", [{"name": "Ada", "age": "36"}, {"name": "Bo, Jr", "age": "7"}]),),
        ),
        Example(
            {"contents": "a;b\nc;d", "delimiter": ";", "has_header": False, "produce_singular_result": True},
            (("row", {"0": "a", "1": "b"}), ("row", {"0": "c", "1": "d"})),
        ),
        Example({"file_input": "data:text/csv,x%0A1%0A2", "skip_rows": 1}, (("rows", [{"x": "2"}]),)),
    )

    class Input(BlockInput):
        """CSV, and how it is written."""

        contents: str | None = pin("The CSV text.", default=None, advanced=False)
        file_input: str | None = pin(
            "A CSV file as a data URI or workspace URI.", default=None, advanced=False, format="file"
        )
        delimiter: str = pin("What separates columns.", default=",", min_length=1, max_length=1)
        quotechar: str = pin("What encloses a value.", default='"', min_length=1, max_length=1)
        escapechar: str = pin("What makes the next character ordinary.", default="\\", min_length=1, max_length=1)
        has_header: bool = pin("Whether the first row holds the columns' names.", default=True)
        skip_rows: int = pin("How many rows to leave out behind the header.", default=0, ge=0)
        strip: bool = pin("Whether to trim each value.", default=True)
        skip_columns: list[str] = pin("The columns to leave out, by name, or by number without a header.", default=[])
        produce_singular_result: bool = pin("Whether to emit each row by itself.", default=False)

    class Output(BlockOutput):
        """Rows."""

        row: dict[str, str] = pin("One row at a time, on request.")
        rows: list[dict[str, str]] = pin("All rows.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit all rows, or each."""
        rows = _rows(input, context)
        if input.produce_singular_result:
            for row in rows:
                yield "row", row
        else:
            yield "rows", list(rows)


class _Reader:
    """Builds dictionaries while expat reads."""

    def __init__(self) -> None:
        self._open: list[tuple[str, dict[str, Any], list[tuple[str, Any]], list[str]]] = []
        self._root: dict[str, Any] = {}

    def read(self, text: str) -> dict[str, Any]:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        # A document type can define entities that unfold into gigabytes, or name files and addresses.
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        try:
            parser.Parse(text.encode("utf-8", "surrogatepass"), True)
        except expat.ExpatError as error:
            raise BlockError(f"input_xml is not XML: {error}") from None
        return self._root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise BlockError(f"the XML is nested deeper than {MAX_DEPTH} levels")
        self._open.append((tag.lower(), {f"@{name}": value for name, value in attributes.items()}, [], []))

    def _end(self, tag: str) -> None:
        name, attributes, children, texts = self._open.pop()
        value = _element(attributes, children, "".join(texts).strip())
        if self._open:
            self._open[-1][2].append((name, value))
        else:
            self._root = {name: value}

    def _text(self, text: str) -> None:
        self._open[-1][3].append(text)

    def _refuse_doctype(self, *declaration: Any) -> None:
        raise BlockError("XML with a document type is not read")


def _element(attributes: dict[str, Any], children: list[tuple[str, Any]], text: str) -> Any:
    if not attributes and not children:
        return text
    parts = [*attributes.items(), *children, *([("#text", text)] if text else [])]
    by_name = dict(parts)
    return by_name if len(by_name) == len(parts) else [{name: value} for name, value in parts]


def _rows(input: ReadSpreadsheetBlock.Input, context: Context) -> Iterator[dict[str, str]]:
    text = input.contents or (_file_text(input.file_input, context) if input.file_input else "")
    if not text.strip():
        raise BlockError("there is no CSV in contents or file_input")
    _limit(text, "the CSV")
    reader = csv.reader(
        io.StringIO(text), delimiter=input.delimiter, quotechar=input.quotechar, escapechar=input.escapechar
    )
    skipped = set(input.skip_columns)
    try:
        names = [name.strip() if input.strip else name for name in next(reader)] if input.has_header else None
        for number, values in enumerate(reader):
            if number >= input.skip_rows and values:
                yield _row(values, names, input.strip, skipped, reader.line_num)
    except csv.Error as error:
        raise BlockError(f"line {reader.line_num} is not CSV: {error}") from None


def _row(values: list[str], names: list[str] | None, strip: bool, skipped: set[str], line: int) -> dict[str, str]:
    if names is not None and len(values) > len(names):
        raise BlockError(f"line {line} has {len(values)} values, but the header has {len(names)} names")
    keys = names if names is not None else [str(number) for number in range(len(values))]
    return {
        key: value.strip() if strip else value for key, value in zip(keys, values, strict=False) if key not in skipped
    }


def _file_text(uri: str, context: Context) -> str:
    file = read_file(uri, context)
    try:
        return file.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BlockError(f"file_input is no UTF-8 text but {file.media_type}") from None


def _limit(text: str, name: str) -> None:
    if len(text) > MAX_TEXT:
        raise BlockError(f"{name} has {len(text)} characters; the limit is {MAX_TEXT}")
