"""Blocks that join, cut and count text."""

import re
from bisect import bisect_right

from graphs.blocks.base import Block, BlockError, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.blocks.fields import pin

TEXT = frozenset({Category.TEXT})
MAX_TEXT = 10_000_000


class CombineTextsBlock(Block):
    """Joins texts."""

    id = "e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85"
    description = "Joins texts, with a delimiter between each two."
    categories = TEXT
    effect = Effect.PURE
    examples = (
        Example({"input": ["Hello", "World"], "delimiter": ", "}, (("output", "Hello, World"),)),
        Example({"input": ["n = ", 7]}, (("output", "n = 7"),)),
    )

    class Input(BlockInput):
        """Texts and what goes between them."""

        input: list[str] = pin("The texts.", placeholder='["Hello", "World"]')
        delimiter: str = pin("What goes between each two.", default="", placeholder=", ")

    class Output(BlockOutput):
        """One text."""

        output: str = pin("The joined text.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the joined text."""
        _limit(sum(map(len, input.input)) + len(input.delimiter) * len(input.input))
        yield "output", input.delimiter.join(input.input)


class TextSplitBlock(Block):
    """Cuts a text at a delimiter."""

    id = "d5ea33c8-a575-477a-b42f-2fe3be5055ec"
    description = "Cuts a text at each delimiter; an empty text gives no parts."
    categories = TEXT
    effect = Effect.PURE
    examples = (
        Example({"text": "a, b", "delimiter": ","}, (("texts", ["a", "b"]),)),
        Example({"text": "", "delimiter": ","}, (("texts", []),)),
    )

    class Input(BlockInput):
        """A text and where to cut."""

        text: str = pin("The text.")
        delimiter: str = pin("Where to cut.", min_length=1)
        strip: bool = pin("Whether to trim each part.", default=True)

    class Output(BlockOutput):
        """The parts."""

        texts: list[str] = pin("The parts in order.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the parts."""
        parts = input.text.split(input.delimiter) if input.text else []
        yield "texts", [part.strip() for part in parts] if input.strip else parts


class TextReplaceBlock(Block):
    """Replaces a text in another."""

    id = "7e7c87ab-3469-4bcc-9abe-67705091b713"
    description = "Replaces every occurrence of a text."
    categories = TEXT
    effect = Effect.PURE
    examples = (Example({"text": "red, red", "old": "red", "new": "blue"}, (("output", "blue, blue"),)),)

    class Input(BlockInput):
        """A text, and what to replace by what."""

        text: str = pin("The text.")
        old: str = pin("What to replace.")
        new: str = pin("What to put there.")

    class Output(BlockOutput):
        """The changed text."""

        output: str = pin("The changed text.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the changed text."""
        _limit(len(input.text) + input.text.count(input.old) * len(input.new))
        yield "output", input.text.replace(input.old, input.new)


class WordCharacterCountBlock(Block):
    """Counts words and characters."""

    id = "ab2a782d-22cf-4587-8a70-55b59b3f9f90"
    description = "Counts the words, which white space separates, and the characters of a text."
    categories = TEXT
    effect = Effect.PURE
    examples = (Example({"text": "two words"}, (("word_count", 2), ("character_count", 9))),)

    class Input(BlockInput):
        """A text."""

        text: str = pin("The text.")

    class Output(BlockOutput):
        """Two numbers."""

        word_count: int = pin("How many words.")
        character_count: int = pin("How many characters.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit both counts."""
        yield "word_count", len(input.text.split())
        yield "character_count", len(input.text)


class TextDecoderBlock(Block):
    """Resolves backslash escapes."""

    id = "2570e8fe-8447-43ed-84c7-70d657923231"
    description = (
        "Turns escapes such as \\n, \\t and \\u00e9 into the characters they stand for; other text stays as it is."
    )
    categories = TEXT
    effect = Effect.PURE
    examples = (Example({"text": "one\\ntwo \\u00e9 é"}, (("decoded_text", "one\ntwo é é"),)),)

    class Input(BlockInput):
        """A text with escapes."""

        text: str = pin("The text.")

    class Output(BlockOutput):
        """The text without them."""

        decoded_text: str = pin("The decoded text.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the decoded text."""
        # Escape by escape, since Python's codec would also mangle every character beyond Latin-1.
        yield "decoded_text", _ESCAPES.sub(_decoded, input.text)


_LANGUAGES = {
    "html": ("html", "htm"),
    "css": ("css",),
    "javascript": ("javascript", "js"),
    "python": ("python", "py"),
    "sql": ("sql",),
    "java": ("java",),
    "cpp": ("cpp", "c++"),
    "csharp": ("csharp", "c#", "cs"),
    "json_code": ("json",),
    "bash": ("bash", "shell", "sh"),
    "php": ("php",),
    "ruby": ("ruby", "rb"),
    "yaml": ("yaml", "yml"),
    "markdown": ("markdown", "md"),
    "typescript": ("typescript", "ts"),
    "xml": ("xml",),
}
_LANGUAGE_OF = {label: language for language, labels in _LANGUAGES.items() for label in labels}


class CodeExtractionBlock(Block):
    """Takes fenced code out of a text."""

    id = "d3a7d896-3b78-4f44-8b4b-48fbf4f0bcd8"
    description = (
        "Collects the blocks fenced by ``` of each language, joined by an empty line, and emits the languages found; "
        "what remains, blocks without a known language included, is emitted as remaining_text."
    )
    categories = TEXT
    effect = Effect.PURE
    examples = (
        Example(
            {"text": "Run this:\n```py\nprint(1)\n```\nand this:\n```python\nprint(2)\n```"},
            (("python", "print(1)\n\nprint(2)"), ("remaining_text", "Run this:\nand this:")),
        ),
    )

    class Input(BlockInput):
        """A text."""

        text: str = pin("A text with fenced code, such as a language model writes.")

    class Output(BlockOutput):
        """Code by language."""

        html: str = pin("HTML.")
        css: str = pin("CSS.")
        javascript: str = pin("JavaScript.")
        python: str = pin("Python.")
        sql: str = pin("SQL.")
        java: str = pin("Java.")
        cpp: str = pin("C++.")
        csharp: str = pin("C#.")
        json_code: str = pin("JSON.")
        bash: str = pin("Shell.")
        php: str = pin("PHP.")
        ruby: str = pin("Ruby.")
        yaml: str = pin("YAML.")
        markdown: str = pin("Markdown.")
        typescript: str = pin("TypeScript.")
        xml: str = pin("XML.")
        remaining_text: str = pin("The text without this code.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit each language's code, then the rest."""
        code, rest = _without_code(input.text)
        for language in _LANGUAGES:
            if language in code:
                yield language, "\n\n".join(code[language])
        if rest:
            yield "remaining_text", rest


_ESCAPES = re.compile(r"\\(?:[\\'\"abfnrtv]|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})")


def _decoded(match: re.Match[str]) -> str:
    try:
        character = match[0].encode().decode("unicode_escape")
    except UnicodeDecodeError:
        raise BlockError(f"{match[0]} stands for no character") from None
    if "\ud800" <= character <= "\udfff":
        raise BlockError(f"{match[0]} is half a character, which cannot be stored")
    return character


def _without_code(text: str) -> tuple[dict[str, list[str]], str]:
    """The code by language, and the other lines without empty ones. Line by line: any text takes linear time."""
    code: dict[str, list[str]] = {}
    rest: list[str] = []
    lines = text.splitlines()
    fences = [index for index, line in enumerate(lines) if line.strip() == "```"]
    position = 0
    while position < len(lines):
        line = lines[position].strip()
        language = _LANGUAGE_OF.get(line[3:].strip().lower()) if line.startswith("```") else None
        following = bisect_right(fences, position)
        if language and following < len(fences):
            end = fences[following]
            code.setdefault(language, []).append("\n".join(lines[position + 1 : end]).strip("\n"))
            position = end
        elif line:
            rest.append(lines[position])
        position += 1
    return code, "\n".join(rest).strip()


def _limit(length: int) -> None:
    if length > MAX_TEXT:
        raise BlockError(f"the text would have {length} characters; the limit is {MAX_TEXT}")
