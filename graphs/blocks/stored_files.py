"""Blocks that store files in the workspace, and read them."""

import asyncio
from collections.abc import Iterator

from graphs.blocks.base import (
    AsyncEmissions,
    Block,
    BlockError,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Effect,
    Emissions,
    Example,
)
from graphs.blocks.fields import pin
from graphs.blocks.files import MAX_BYTES, fetch_file, read_file, store_file, to_data_uri


class FileStoreBlock(Block):
    """Keeps a file."""

    id = "cbb50872-625b-42f0-8203-a2ae78242d8a"
    description = (
        "Keeps a copy of a file in the workspace of the run's owner and emits its URI, workspace://…, or with base_64 "
        "its content as a data URI, which keeps nothing. Files of runs are kept for TASKLOOM_RUN_FILE_HOURS. At most "
        "100 MB, from an address 10 MB."
    )
    categories = frozenset({Category.BASIC, Category.MULTIMEDIA})
    effect = Effect.KEYED
    static_output = True
    examples = (
        Example(
            {"file_in": "data:text/plain,hello", "base_64": True}, (("file_out", "data:text/plain;base64,aGVsbG8="),)
        ),
    )

    class Input(BlockInput):
        """A file."""

        file_in: str = pin("A data URI, workspace URI or http(s) address.", format="file")
        base_64: bool = pin("Whether to emit a data URI and keep nothing.", default=False)

    class Output(BlockOutput):
        """The file."""

        file_out: str = pin("The URI of the file.")

    async def run(self, input: Input, context: Context) -> AsyncEmissions:
        """Fetch the file, keep it, and emit its URI."""
        file = await fetch_file(input.file_in, context)
        if len(file.content) > MAX_BYTES:
            raise BlockError(f"the file has {len(file.content):,} bytes, more than the {MAX_BYTES:,} that are allowed")
        if input.base_64:
            yield "file_out", to_data_uri(file.content, file.media_type)
        else:
            yield "file_out", await asyncio.to_thread(store_file, file, context)


class FileReadBlock(Block):
    """Reads text from a file."""

    id = "3735a31f-7e18-4aca-9e90-08a7120674bc"
    description = (
        "Emits the text of a file, read as UTF-8 or else as Latin-1: without its first skip_size characters and, split "
        "by the delimiter, its first skip_rows rows, at most row_limit rows. With a size_limit in pieces of as many "
        "characters. Limits of 0 are none; without a delimiter the text is one row."
    )
    categories = frozenset({Category.DATA, Category.TEXT})
    effect = Effect.READ
    examples = (
        Example({"file_input": "data:text/plain,hello"}, (("content", "hello"),)),
        Example(
            {"file_input": "data:text/plain,a;b;c;d", "delimiter": ";", "skip_rows": 1, "row_limit": 2},
            (("content", "b;c"),),
        ),
        Example({"file_input": "data:text/plain,hello", "size_limit": 3}, (("content", "hel"), ("content", "lo"))),
        Example({"file_input": "data:text/plain;base64,/w==", "skip_size": 0}, (("content", "ÿ"),)),
    )

    class Input(BlockInput):
        """A file, and what of it."""

        file_input: str = pin("A data URI or workspace URI.", format="file")
        delimiter: str = pin("What separates rows.", default="", placeholder="\\n")
        size_limit: int = pin("How many characters a piece has; 0 for one piece.", default=0, ge=0)
        row_limit: int = pin("How many rows to read; 0 for all.", default=0, ge=0)
        skip_size: int = pin("How many characters to leave out at the beginning.", default=0, ge=0)
        skip_rows: int = pin("How many rows to leave out behind them.", default=0, ge=0)

    class Output(BlockOutput):
        """The text."""

        content: str = pin("The text, or a piece of it.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the text, whole or in pieces."""
        text = _rows_of(_decoded(read_file(input.file_input, context).content)[input.skip_size :], input)
        for piece in _pieces(text, input.size_limit):
            yield "content", piece


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _rows_of(text: str, input: FileReadBlock.Input) -> str:
    rows = text.split(input.delimiter) if input.delimiter else [text]
    end = input.skip_rows + input.row_limit if input.row_limit else None
    return input.delimiter.join(rows[input.skip_rows : end])


def _pieces(text: str, size: int) -> Iterator[str]:
    if not size:
        yield text
    for start in range(0, len(text) if size else 0, size or 1):
        yield text[start : start + size]
