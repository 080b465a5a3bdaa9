"""Show a run to whoever has the link to it, and to nobody any more."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models.functions import Now

from executions import previews
from executions.errors import NoSuchLink, NoSuchRun
from executions.kinds import Status
from executions.links import digest_of, token_of
from executions.models import GraphExecution
from executions.reading import Wire, outputs_of, time_text
from graphs.models import GraphVersion, Node
from graphs.stripping import is_secret_key, strip_value

log = logging.getLogger(__name__)

# Characters of JSON that are shown of all outputs together, and of each in any case.
SHOWN_LENGTH = 1024 * 1024
_LEAST_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Link:
    """What opens a shared run: the token, and the address of the front end's page with it."""

    token: str
    url: str


def share(run_id: UUID, *, by: UUID) -> Link:
    """Show the run to whoever has the link, from now on; links given before lead nowhere. Raises `NoSuchRun`.

    The log says which user it was.
    """
    nonce = uuid4()
    token = token_of(nonce)
    runs = GraphExecution.objects.filter(pk=run_id, is_deleted=False)
    if not runs.update(share_nonce=nonce, share_digest=digest_of(token), shared_at=Now()):
        raise NoSuchRun(run_id=str(run_id))
    log.info("User %s shared run %s by a new link", by, run_id)
    return Link(token, f"{settings.FRONTEND_URL.rstrip('/')}/share/{token}")


def unshare(run_id: UUID, *, by: UUID) -> bool:
    """Take back the link to the run; whether there was one. The log says which user it was."""
    shared = GraphExecution.objects.filter(pk=run_id).shared()
    was_shared = shared.update(share_nonce=None, share_digest=None, shared_at=None) > 0
    if was_shared:
        log.info("User %s took back the link to run %s", by, run_id)
    return was_shared


def shared_run(token: str) -> Wire:
    """What everybody with the link may see of the run: its graph's name, its status and its outputs.

    Outputs that are marked secret are left out, and what looks like a secret in the others is replaced. Raises
    `NoSuchLink`, also when the run was deleted or its owner is switched off.
    """
    runs = GraphExecution.objects.filter(share_digest=digest_of(token), is_deleted=False, user__is_active=True)
    run = runs.defer("inputs", "credential_inputs", "nodes_input_masks").first()
    if run is None:
        raise NoSuchLink
    version = GraphVersion.objects.only("name", "description").get(graph=run.graph_id, version=run.graph_version)
    found = outputs_of([run], whole=True)[run.pk]
    hidden = _secret_outputs(version)
    outputs, is_cut = _shown(
        {
            name: values
            for name, values in found.values.items()
            if name not in hidden and not is_secret_key(name, values)
        }
    )
    return {
        "id": str(run.pk),
        "graph_name": version.name,
        "graph_description": version.description,
        "status": Status(run.status).wire,
        "created_at": time_text(run.created_at),
        "outputs": outputs,
        "truncated": found.truncated or is_cut,
    }


def _secret_outputs(version: GraphVersion) -> set[str]:
    """The names of the outputs that are marked secret."""
    marked = Node.objects.filter(graph_version=version, input_default__secret=True)
    return set(marked.values_list("input_default__name", flat=True))


def _shown(outputs: Mapping[str, Sequence[Any]]) -> tuple[dict[str, list[Any]], bool]:
    """The outputs without secrets, as long as may be, and whether that is less than there is."""
    room = SHOWN_LENGTH
    is_cut = False
    shown: dict[str, list[Any]] = {}
    for name, values in outputs.items():
        for value in values:
            kept = previews.preview(value, max(room, _LEAST_LENGTH))
            is_cut = is_cut or kept is not value
            room -= previews.length_of(kept)
            shown.setdefault(name, []).append(strip_value(kept))
    return shown, is_cut
