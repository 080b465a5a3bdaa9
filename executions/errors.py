"""How runs fail."""

from collections.abc import Mapping

from core.errors import Conflict, DomainError, Invalid, NotFound, Refused, Unavailable
from graphs.errors import first_of, told


class NoSuchRun(NotFound):
    """There is no such run."""


class NoSuchLink(NotFound):
    """This link leads nowhere: the run is not shared, or no longer by this link."""


class TooManyStreams(Conflict):
    """You have as many event streams open as one user may have."""

    hint = "Close one that is no longer needed, or watch many runs by one WebSocket."


class NoSuchNode(NotFound):
    """The graph of the run has no such node."""


class RunUnderWay(Conflict):
    """The run has not ended."""

    hint = "Wait for its end, or stop it first."


class NothingToRetry(Conflict):
    """Every node of the run succeeded."""

    hint = "Replay the run from a node to run that and what follows again, or start a new run."


class NotComparable(Invalid):
    """The runs are not of one version of one graph."""

    hint = "Compare a run with one that was started, retried or replayed from the same version."


class NotRunnable(Invalid):
    """The graph cannot run with these inputs; `node_errors` says why as {node id: {pin: message}}."""

    hint = "Values go by the names of the graph's inputs in `inputs`; in the external API, in `node_input`."

    def __init__(self, node_errors: Mapping[str, Mapping[str, str]]) -> None:
        self.messages = told(node_errors)
        super().__init__(f"The graph cannot run with these inputs. {first_of(self.messages)}")
        self.data["detail"] = {
            "type": "validation_error",
            "message": self.message,
            "node_errors": node_errors,
        }


class RefusedInBatch(Invalid):
    """One of the runs cannot start, so none was started; `run_index` says which, counted from 0."""

    hint = "Correct or leave out this run, and send the others again with it or without."

    def __init__(self, run_index: int, error: Invalid) -> None:
        super().__init__(f"Run {run_index}: {error.message}", **error.data, run_index=run_index)


class KeyReused(Conflict):
    """This key has started a run by another request."""

    hint = "Choose a new key for each request; repeat a key only to repeat the same request."


class TooDeep(Conflict):
    """The graph calls itself, or others, deeper than the limit."""


class NoSuchReview(NotFound):
    """There is no such review."""

    hint = "GET /api/review/pending lists what waits for you."


class SeveralRuns(Conflict):
    """The reviews belong to several runs."""

    hint = "Decide the reviews of one run in one request."


class NotWaiting(Conflict):
    """Nothing waits for this decision: the run has ended, or this part of it."""

    hint = "GET /api/review/pending lists what waits for you."


class DecisionInvalid(Invalid):
    """The decision is not acceptable."""

    status = 422


class DecidedOtherwise(Invalid):
    """The review was decided before, and otherwise."""


class NotEditable(Invalid):
    """The data of this review can only be approved or rejected as it is."""

    hint = "Leave reviewed_data out."


class EditedForRest(Invalid):
    """Edited data cannot be approved together with the rest of the run."""

    hint = "Leave out auto_approve_future, or reviewed_data."


class NoSuchSchedule(NotFound):
    """There is no such schedule."""

    hint = "GET /api/schedules?include_paused=true lists all of yours."


class TooManySchedules(Conflict):
    """You have as many schedules as one user may have."""

    hint = "Delete one that is no longer needed."


class InputsTooLarge(Invalid):
    """The inputs of a schedule are larger than they may be."""

    hint = "Pass a reference to a large value, such as an address."


class CronInvalid(Invalid):
    """The cron expression cannot be used."""

    hint = 'Write minute, hour, day of month, month and day of week, as in "30 9 * * MON-FRI".'


class ZoneUnknown(Invalid):
    """There is no such time zone."""

    hint = 'Use a name of the IANA database, such as "Europe/Berlin" or "UTC".'


class TooLarge(Invalid):
    """A value is larger than values may be."""

    hint = "Pass a reference to it, such as an address, or raise TASKLOOM_VALUE_BYTES."

    def __init__(self, *, size: int, limit: int) -> None:
        super().__init__(f"The value takes {size:,} bytes as JSON, more than the {limit:,} that are allowed")


class OverLimit(DomainError):
    """The run has used up what it was given."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class TooMuchOwed(DomainError):
    """What a run has used would put its user deeper in debt than can be counted."""


class Fenced(DomainError):
    """Another worker has taken the run over: everything this one still holds is dropped."""


class BlockDisabled(Refused):
    """The block is switched off."""

    hint = "GET /api/blocks lists the blocks that can be used."


class BlockInputInvalid(Invalid):
    """The block cannot run with these inputs; `pins` says of each what is wrong with it."""

    hint = "GET /api/blocks shows the schema of the block's inputs."


class BlockFailed(Invalid):
    """The block did not come to its end; `outputs` is what it gave before, lists by pin."""


class BlockWaits(Invalid):
    """The block waits for something, which only a run can do."""

    hint = "Put it into a graph and run that."


class BlocksBusy(Unavailable):
    """As many single blocks run as may at once."""

    hint = "Try again in a moment, or put the block into a graph: runs wait for their turn."
