"""What the menu gives, as JSON."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, RootModel

from graphs.schemas import BlockModel, GraphSettings, TriggerSetupInfo


class PaginationModel(BaseModel):
    """Where a page stands in its list."""

    total_items: int
    total_pages: int
    current_page: int
    page_size: int


class RecentSearch(BaseModel):
    """A search as it was asked for."""

    search_id: str
    search_query: str
    filter: list[str]
    by_creator: list[str]


class Suggestions(BaseModel):
    """What the menu shows before anything is looked for."""

    otto_suggestions: list[str]
    recent_searches: list[RecentSearch]
    providers: list[str]
    top_blocks: list[BlockModel]


class CategoryOfBlocks(BaseModel):
    """A category with some of its blocks."""

    name: str
    total_blocks: int
    blocks: list[BlockModel]


class CategoriesOfBlocks(RootModel[list[CategoryOfBlocks]]):
    """All categories."""


class PageOfBlocks(BaseModel):
    """Some blocks."""

    blocks: list[BlockModel]
    pagination: PaginationModel


class ProviderModel(BaseModel):
    """Another service that blocks work with."""

    name: str
    description: str
    integration_count: int


class PageOfProviders(BaseModel):
    """Some providers."""

    providers: list[ProviderModel]
    pagination: PaginationModel


class LibraryAgentModel(BaseModel):
    """A graph as something to run or to place."""

    id: str
    graph_id: str
    graph_version: int
    owner_user_id: str
    image_url: str | None
    creator_name: str
    creator_image_url: str
    status: str
    created_at: datetime
    updated_at: datetime
    name: str
    description: str
    instructions: str | None
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    credentials_input_schema: dict[str, Any]
    has_external_trigger: bool
    has_human_in_the_loop: bool
    has_sensitive_action: bool
    trigger_setup_info: TriggerSetupInfo | None
    new_output: bool
    can_access_graph: bool
    is_latest_version: bool
    is_favorite: bool
    recommended_schedule_cron: str | None
    settings: GraphSettings
    marketplace_listing: None


class SearchTotals(BaseModel):
    """How many things were found."""

    blocks: int
    integrations: int
    marketplace_agents: int
    my_agents: int


class SearchResults(BaseModel):
    """What was found, best first."""

    items: list[BlockModel | LibraryAgentModel]
    search_id: str
    total_items: SearchTotals
    pagination: PaginationModel


class MenuCounts(BaseModel):
    """How much there is of what."""

    all_blocks: int
    input_blocks: int
    action_blocks: int
    output_blocks: int
    integrations: int
    marketplace_agents: int
    my_agents: int
