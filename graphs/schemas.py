"""Graphs as JSON: what clients send (drafts) and what they get back.

Ids in a draft are opaque texts that only say which link means which node; saving replaces them. Keys that a draft
does not know are ignored, so that an export can be imported unchanged.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StrictBool, StrictInt, model_validator

from core.ids import uuid7

MAX_NODES = 2_000
MAX_LINKS = 10_000
MAX_SUB_GRAPHS = 100
NAME_LENGTH = 500
CRON_LENGTH = 200
# Two pin names of this many characters still fit one index entry of Postgres.
PIN_NAME_LENGTH = 255


def _new_id() -> str:
    return str(uuid7())


# An empty id asks for a new one, like an absent one.
DraftId = Annotated[str, AfterValidator(lambda value: value or _new_id()), Field(max_length=255)]
PinName = Annotated[str, Field(min_length=1, max_length=PIN_NAME_LENGTH)]
Version = Annotated[StrictInt, Field(ge=1, le=2_147_483_647)]


class _Draft(BaseModel):
    model_config = ConfigDict(extra="ignore")


class NodeDraft(_Draft):
    """A block to be placed, with the constants for its pins."""

    id: DraftId = Field(default_factory=_new_id)
    block_id: str = Field(max_length=255)
    input_default: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class LinkDraft(_Draft):
    """A wire to be drawn from an output pin to an input pin."""

    id: DraftId = Field(default_factory=_new_id)
    source_id: str = Field(max_length=255)
    source_name: PinName
    sink_id: str = Field(max_length=255)
    sink_name: PinName
    is_static: StrictBool = False


class SubGraphDraft(_Draft):
    """A graph to be saved, without the graphs it calls."""

    id: str = Field("", max_length=255)
    version: Version = 1
    is_active: StrictBool = True
    name: str = Field(min_length=1, max_length=NAME_LENGTH)
    description: str
    instructions: str | None = None
    recommended_schedule_cron: str | None = Field(None, max_length=CRON_LENGTH)
    nodes: list[NodeDraft] = Field([], max_length=MAX_NODES)
    links: list[LinkDraft] = Field([], max_length=MAX_LINKS)
    forked_from_id: UUID | None = None
    forked_from_version: Version | None = None

    @model_validator(mode="after")
    def _origin_is_whole(self) -> "SubGraphDraft":
        if (self.forked_from_id is None) != (self.forked_from_version is None):
            raise ValueError("forked_from_id and forked_from_version go together")
        return self


class GraphDraft(SubGraphDraft):
    """A graph to be saved, with the graphs it calls."""

    sub_graphs: list[SubGraphDraft] = Field([], max_length=MAX_SUB_GRAPHS)


class CreateGraph(_Draft):
    """The body of POST /api/graphs; `source` says where the drawing came from."""

    graph: GraphDraft
    source: str | None = Field(None, pattern="^(builder|upload)$")


class ActivateVersion(_Draft):
    """The body of PUT /api/graphs/{graph_id}/versions/active."""

    active_graph_version: Version


class ChangeSettings(_Draft):
    """The body of PATCH /api/graphs/{graph_id}/settings; what is absent or null stays as it is."""

    human_in_the_loop_safe_mode: StrictBool | None = None
    sensitive_action_safe_mode: StrictBool | None = None


class LinkModel(BaseModel):
    """A wire between two pins."""

    id: UUID
    source_id: UUID
    sink_id: UUID
    source_name: str
    sink_name: str
    is_static: bool


class NodeModel(BaseModel):
    """A placed block, with the links that touch it."""

    id: UUID
    block_id: str
    input_default: dict[str, Any]
    metadata: dict[str, Any]
    input_links: list[LinkModel]
    output_links: list[LinkModel]
    graph_id: UUID
    graph_version: int
    webhook_id: UUID | None
    webhook: None


class TriggerSetupInfo(BaseModel):
    """What a graph that starts from a webhook needs to be set up."""

    provider: str | None
    config_schema: dict[str, Any]
    credentials_input_name: str | None


class _Described(BaseModel):
    id: UUID
    version: int
    is_active: bool
    name: str
    description: str
    instructions: str | None
    recommended_schedule_cron: str | None
    forked_from_id: UUID | None
    forked_from_version: int | None
    user_id: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    has_external_trigger: bool
    has_human_in_the_loop: bool
    has_sensitive_action: bool
    trigger_setup_info: TriggerSetupInfo | None


class SubGraphModel(_Described):
    """A graph that another one calls."""

    created_at: datetime
    nodes: list[NodeModel]
    links: list[LinkModel]


class GraphModel(SubGraphModel):
    """One version of a graph; `user_id` is empty in an export."""

    sub_graphs: list[SubGraphModel]
    credentials_input_schema: dict[str, Any]


class GraphMeta(_Described):
    """One version of a graph without its drawing."""

    sub_graphs: list[SubGraphModel]
    credentials_input_schema: dict[str, Any]


class GraphSettings(BaseModel):
    """Whether runs of a graph ask people: where the drawing says so, and before each block that is sensitive."""

    model_config = ConfigDict(from_attributes=True)

    human_in_the_loop_safe_mode: bool
    sensitive_action_safe_mode: bool


class DeletedVersions(BaseModel):
    """How many versions a deletion removed."""

    version_counts: int


class GraphModels(RootModel[list[GraphModel]]):
    """Versions of a graph."""


class GraphMetas(RootModel[list[GraphMeta]]):
    """Graphs without their drawings."""


class CategoryModel(BaseModel):
    """Where the editor's menu shows a block."""

    category: str
    description: str


class ContributorModel(BaseModel):
    """Who made a block."""

    name: str


class CostModel(BaseModel):
    """What a use costs when the filter is a subset of the inputs."""

    cost_amount: int | float
    cost_filter: dict[str, Any]
    cost_type: str


class ExternalBlockModel(BaseModel):
    """A block as programs know it."""

    id: str
    name: str
    inputSchema: dict[str, Any]  # noqa: N815  the contract's spelling
    outputSchema: dict[str, Any]  # noqa: N815
    description: str
    categories: list[CategoryModel]
    contributors: list[ContributorModel]
    staticOutput: bool  # noqa: N815
    uiType: str  # noqa: N815


class ExternalBlockModels(RootModel[list[ExternalBlockModel]]):
    """The catalogue without prices."""


class BlockModel(ExternalBlockModel):
    """A block as the editor knows it."""

    costs: list[CostModel]


class BlockModels(RootModel[list[BlockModel]]):
    """The catalogue."""
