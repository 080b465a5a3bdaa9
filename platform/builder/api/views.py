"""The endpoints of the menu of the graph editor."""

from collections.abc import Sequence
from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from builder import menu, services
from builder.api.serializers import BatchQuery, BlocksQuery, CategoriesQuery, SearchQuery
from builder.errors import OneFilterOnly
from builder.menu import BlockType, Entry
from builder.models import Search
from builder.schemas import (
    CategoriesOfBlocks,
    MenuCounts,
    PageOfBlocks,
    PageOfProviders,
    SearchResults,
    Suggestions,
)
from builder.services import Filter
from core.api import checked_query, error_responses
from core.paging import Paging, page_parameters
from graphs.schemas import BlockModels

PAGE = 50
MOST_PROVIDERS_SUGGESTED = 6
QUESTIONS = (
    "Which blocks do I need for what I have in mind?",
    "How do I get a value from one block into another?",
    "How can my graph wait until I have approved something?",
)


def _user(request: Request) -> User:
    return cast(User, request.user)


class SuggestionsView(APIView):
    """What the menu begins with."""

    @extend_schema(
        tags=["builder"],
        operation_id="get_suggestions",
        summary="Get what the menu begins with",
        responses={200: Suggestions, **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """Questions to ask, what you looked for last, the largest providers, and the blocks that are used most."""
        by_size = sorted(menu.providers(), key=lambda provider: (-provider["integration_count"], provider["name"]))
        return Response(
            {
                "otto_suggestions": list(QUESTIONS),
                "recent_searches": [_recent(search) for search in services.recent_searches(_user(request))],
                "providers": [provider["name"] for provider in by_size[:MOST_PROVIDERS_SUGGESTED]],
                "top_blocks": _infos(services.top_blocks()),
            }
        )


class CategoriesView(APIView):
    """The categories of blocks."""

    @extend_schema(
        tags=["builder"],
        operation_id="list_block_categories",
        summary="List the categories with some blocks of each",
        parameters=[CategoriesQuery],
        responses={200: CategoriesOfBlocks, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Every category by name, with the number of its blocks and the first of them by name."""
        query = checked_query(CategoriesQuery, request)
        return Response(menu.categories(query["blocks_per_category"]))


class BlocksView(APIView):
    """The blocks, sorted."""

    @extend_schema(
        tags=["builder"],
        operation_id="list_menu_blocks",
        summary="List the blocks of a category, a type or a provider",
        parameters=[BlocksQuery, *page_parameters(default=PAGE)],
        responses={200: PageOfBlocks, **error_responses(400, 401, 422)},
    )
    def get(self, request: Request) -> Response:
        """A page of the blocks that have it, by name; of all blocks unless one of the three is given."""
        query = checked_query(BlocksQuery, request)
        if len(query) > 1:
            raise OneFilterOnly
        paging = Paging.of(request, default=PAGE)
        page, pagination = paging.cut_list([entry for entry in menu.entries() if _fits(entry, query)])
        return Response({"blocks": _infos(page), "pagination": pagination})


class BatchView(APIView):
    """Some blocks by their ids."""

    @extend_schema(
        tags=["builder"],
        operation_id="get_menu_blocks",
        summary="Get blocks by their ids",
        parameters=[BatchQuery],
        responses={200: BlockModels, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """The blocks in the order of the ids; those that do not exist are left out."""
        query = checked_query(BatchQuery, request)
        return Response(_infos(menu.placed_by(dict.fromkeys(query["block_ids"]))))


class ProvidersView(APIView):
    """The services that blocks work with."""

    @extend_schema(
        tags=["builder"],
        operation_id="list_menu_providers",
        summary="List the providers with the number of their blocks",
        parameters=page_parameters(default=PAGE),
        responses={200: PageOfProviders, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """A page of the providers, by name."""
        page, pagination = Paging.of(request, default=PAGE).cut_list(menu.providers())
        return Response({"providers": page, "pagination": pagination})


class SearchView(APIView):
    """Where people look for blocks and graphs."""

    @extend_schema(
        tags=["builder"],
        operation_id="search_menu",
        summary="Search blocks and your graphs",
        parameters=[SearchQuery, *page_parameters(default=PAGE)],
        responses={200: SearchResults, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """A page of what fits, best first.

        The search is remembered under `search_id`: send that with the next one to go on with it.
        """
        query = checked_query(SearchQuery, request)
        paging = Paging.of(request, default=PAGE)
        user, text = _user(request), query["search_query"].strip()
        filters = [Filter(name) for name in dict.fromkeys(query.get("filter", ()))]
        found = services.search(user, text, filters)
        page, pagination = paging.cut_list(found.items)
        search_id = ""
        if text:
            search_id = str(services.remember(user, query.get("search_id"), text, filters, query.get("by_creator", ())))
        return Response(
            {
                "items": services.shown(user, page),
                "search_id": search_id,
                "total_items": found.totals,
                "pagination": pagination,
            }
        )


class CountsView(APIView):
    """How much there is."""

    @extend_schema(
        tags=["builder"],
        operation_id="get_menu_counts",
        summary="Count blocks, providers and your graphs",
        responses={200: MenuCounts, **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """The numbers that the menu shows."""
        mine = services.number_of_graphs(_user(request))
        return Response({**menu.counts(), "marketplace_agents": 0, "my_agents": mine})


def _fits(entry: Entry, query: dict[str, Any]) -> bool:
    if "category" in query:
        return query["category"].lower() in entry.categories
    if "provider" in query:
        return query["provider"].lower() in entry.providers
    return entry.is_of(BlockType(query.get("type", BlockType.ALL)))


def _infos(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [entry.info for entry in entries]


def _recent(search: Search) -> dict[str, Any]:
    return {
        "search_id": str(search.pk),
        "search_query": search.query,
        "filter": search.filters,
        "by_creator": search.creators,
    }
