"""Taking a few of many."""

from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Any

from graphs.blocks.base import Block, BlockError, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.blocks.fields import pin

PEOPLE = [{"n": 1, "team": "a"}, {"n": 2, "team": "a"}, {"n": 3, "team": "b"}, {"n": 4, "team": "b"}]


class Method(StrEnum):
    """How a sample is taken."""

    RANDOM = "random"
    SYSTEMATIC = "systematic"
    TOP = "top"
    BOTTOM = "bottom"
    STRATIFIED = "stratified"
    WEIGHTED = "weighted"
    RESERVOIR = "reservoir"
    CLUSTER = "cluster"


class DataSamplingBlock(Block):
    """Takes a sample."""

    id = "4a448883-71fa-49cf-91cf-70d793bd7d87"
    description = (
        "Takes a sample of a list: random, systematic (evenly spaced from a random start), top, bottom, stratified "
        "(each group of stratify_key by its share), weighted (by weight_key, with repetitions), reservoir, or cluster "
        "(whole groups of cluster_key until there are enough). One node repeats its choice when it is repeated. To "
        "collect data over several runs of a node use AddToList: accumulate must be off."
    )
    categories = frozenset({Category.LOGIC})
    effect = Effect.PURE
    examples = (
        Example(
            {"data": PEOPLE, "sample_size": 2, "sampling_method": "top"},
            (("sampled_data", PEOPLE[:2]), ("sample_indices", [0, 1])),
        ),
        Example(
            {"data": PEOPLE, "sample_size": 1, "sampling_method": "bottom"},
            (("sampled_data", PEOPLE[3:]), ("sample_indices", [3])),
        ),
    )

    class Input(BlockInput):
        """Data, and how to choose of it."""

        data: dict[str, Any] | list[dict[Any, Any] | list[Any]] = pin(
            "A list of dictionaries or lists, or a single one."
        )
        sample_size: int = pin("How many to take.", default=10, ge=0)
        sampling_method: Method = pin("How to choose.", default=Method.RANDOM, advanced=False)
        accumulate: bool = pin("Must be off.", default=False, hidden=True)
        random_seed: int | None = pin("Makes the choice the same each time.", default=None)
        stratify_key: str | None = pin("The key whose values make the strata.", default=None)
        weight_key: str | None = pin("The key whose value is the weight.", default=None)
        cluster_key: str | None = pin("The key whose values make the clusters.", default=None)

    class Output(BlockOutput):
        """The sample."""

        sampled_data: list[dict[Any, Any] | list[Any]] = pin("The chosen items.")
        sample_indices: list[int] = pin("Their places in the data, from 0.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the chosen items, then their places."""
        if input.accumulate:
            raise BlockError("accumulate must be off: collect the data with AddToList first")
        data = [input.data] if isinstance(input.data, dict) else input.data
        if input.sample_size > len(data):
            raise BlockError(f"sample_size is {input.sample_size}, but there are only {len(data)} items")
        # The key makes a repeated attempt choose the same again.
        random = Random(context.key if input.random_seed is None else input.random_seed)  # noqa: S311  not a secret
        places = _CHOOSE[input.sampling_method](data, input, random)
        yield "sampled_data", [data[place] for place in places]
        yield "sample_indices", places


Choose = Callable[[list[Any], DataSamplingBlock.Input, Random], list[int]]


def _systematic(data: list[Any], input: DataSamplingBlock.Input, random: Random) -> list[int]:
    step = len(data) / input.sample_size if input.sample_size else 0
    start = random.random() * step
    # Rounding may carry the last one just over the end.
    return [min(int(start + step * number), len(data) - 1) for number in range(input.sample_size)]


def _stratified(data: list[Any], input: DataSamplingBlock.Input, random: Random) -> list[int]:
    strata = list(_groups(data, input.stratify_key, "stratify_key").values())
    shares = [len(stratum) * input.sample_size / len(data) for stratum in strata]
    sizes = [int(share) for share in shares]
    # The places that rounding left over go to the strata that lost most by it.
    by_loss = sorted(range(len(strata)), key=lambda number: sizes[number] - shares[number])
    for number in by_loss[: input.sample_size - sum(sizes)]:
        sizes[number] += 1
    return sorted(place for stratum, size in zip(strata, sizes, strict=True) for place in random.sample(stratum, size))


def _weighted(data: list[Any], input: DataSamplingBlock.Input, random: Random) -> list[int]:
    weights = [_value(item, input.weight_key, "weight_key") for item in data]
    if not all(isinstance(weight, (int, float)) and weight >= 0 for weight in weights) or not sum(weights):
        raise BlockError("the weights must be numbers of 0 or more, and not all 0")
    return random.choices(range(len(data)), weights, k=input.sample_size)


def _clustered(data: list[Any], input: DataSamplingBlock.Input, random: Random) -> list[int]:
    clusters = list(_groups(data, input.cluster_key, "cluster_key").values())
    random.shuffle(clusters)
    return [place for cluster in clusters for place in cluster][: input.sample_size]


def _groups(data: list[Any], key: str | None, pin_name: str) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(data):
        groups.setdefault(repr(_value(item, key, pin_name)), []).append(place)
    return groups


def _value(item: Any, key: str | None, pin_name: str) -> Any:
    if key is None:
        raise BlockError(f"this sampling_method needs {pin_name}")
    if not isinstance(item, dict) or key not in item:
        raise BlockError(f"{pin_name}: an item has no {key!r}")
    return item[key]


def _top(data: list[Any], input: DataSamplingBlock.Input, random: Random) -> list[int]:
    return list(range(input.sample_size))


def _bottom(data: list[Any], input: DataSamplingBlock.Input, random: Random) -> list[int]:
    return list(range(len(data) - input.sample_size, len(data)))


def _random(data: list[Any], input: DataSamplingBlock.Input, random: Random) -> list[int]:
    return random.sample(range(len(data)), input.sample_size)


_CHOOSE: dict[Method, Choose] = {
    Method.RANDOM: _random,
    # The whole list is at hand, where a reservoir serves those who see it pass by: the same chances.
    Method.RESERVOIR: _random,
    Method.SYSTEMATIC: _systematic,
    Method.TOP: _top,
    Method.BOTTOM: _bottom,
    Method.STRATIFIED: _stratified,
    Method.WEIGHTED: _weighted,
    Method.CLUSTER: _clustered,
}
